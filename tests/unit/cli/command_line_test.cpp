#include "cli/command_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dipc {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(CommandLine, EverythingAfterTheSeparatorIsTheProgram) {
  const auto line = split_command_line({"run", "--strict", "--", "./client", "--", "-x"});
  EXPECT_THAT(line.own, ElementsAre("run", "--strict"));
  EXPECT_THAT(line.program, ElementsAre("./client", "--", "-x"));
  EXPECT_TRUE(line.has_separator);
}

TEST(CommandLine, ProgramOfRunNeedsNoSeparator) {
  const auto line = split_command_line({"run", "--strict", "./client", "--strict", "5"});
  EXPECT_THAT(line.own, ElementsAre("run", "--strict"));
  EXPECT_THAT(line.program, ElementsAre("./client", "--strict", "5"));
  EXPECT_FALSE(line.has_separator);
}

TEST(CommandLine, ProgramOfExecFollowsTheHostAndTheOptions) {
  const auto line = split_command_line(
      {"lab", "--name", "mine", "exec", "--as", "bob", "vax", "--timeout", "5", "--no-preload", "./client", "--help"});
  EXPECT_THAT(line.own,
              ElementsAre("lab", "--name", "mine", "exec", "--as", "bob", "vax", "--timeout", "5", "--no-preload"));
  EXPECT_THAT(line.program, ElementsAre("./client", "--help"));
}

TEST(CommandLine, OptionWithItsValueInOneWordTakesNoSecond) {
  EXPECT_THAT(split_command_line({"lab", "exec", "--as=bob", "vax", "id"}).program, ElementsAre("id"));
}

TEST(CommandLine, OtherVerbsHaveNoProgram) {
  const auto line = split_command_line({"lab", "cut", "vax", "amiga", "--one-way"});
  EXPECT_THAT(line.own, ElementsAre("lab", "cut", "vax", "amiga", "--one-way"));
  EXPECT_THAT(line.program, IsEmpty());
  EXPECT_THAT(split_command_line({"lab", "exec", "vax"}).program, IsEmpty());
}

}  // namespace
}  // namespace dipc
