// A program prints the same bare and through the shim, where the daemon makes its calls in the same kernel.

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <tuple>

#include "tests/shim/machine.h"

namespace dipc::test {
namespace {

class SameAsBare : public testing::TestWithParam<std::tuple<const char*, const char*>> {
 protected:
  const Machine& machine() const { return test::machine(std::get<0>(GetParam())); }
  std::string scenario() const { return std::get<1>(GetParam()); }
};

// Where qemu's own calls die, or find some errors in another order than the kernel: held against the native kernel,
// with the same (fewer) combinations of mistakes.
bool is_qemu_wrong(const std::string& scenario) {
  static const std::set<std::string> wrong{"send_errors", "receive_errors", "large_messages"};
  return wrong.contains(scenario);
}

TEST_P(SameAsBare, ProgramPrintsTheSame) {
  if (std::string why = machine().missing(); !why.empty()) GTEST_SKIP() << why;
  Environment environment;
  const Machine* oracle = &machine();
  if (machine().is_emulated() && is_qemu_wrong(scenario())) {
    oracle = &test::machine("native");
    environment["SUBJECT_OTHER_MACHINE"] = "1";
  }
  Program bare(*oracle, "shim_subject", {scenario()}, environment);
  Program::Ending expected = bare.finish();
  ASSERT_EQ(expected.status, 0) << expected.output;

  Folder folder;
  TestDaemon daemon(machine(), folder.file("socket"));
  environment["DIPC_SOCKET"] = folder.file("socket");
  Program shimmed(machine(), "shim_subject", {scenario()}, environment, machine().shim);
  Program::Ending got = shimmed.finish();
  EXPECT_EQ(got.output, expected.output);
  EXPECT_EQ(got.status, 0);
}

// Without a daemon everything goes to the kernel.
TEST_P(SameAsBare, ProgramPrintsTheSameWithoutADaemon) {
  if (std::string why = machine().missing(); !why.empty()) GTEST_SKIP() << why;
  if (machine().is_emulated() && is_qemu_wrong(scenario())) GTEST_SKIP() << "qemu makes these calls, and fails at them";
  Program bare(machine(), "shim_subject", {scenario()});
  Program::Ending expected = bare.finish();
  Program shimmed(machine(), "shim_subject", {scenario()}, {{"DIPC_SOCKET", "/nonexistent/socket"}}, machine().shim);
  Program::Ending got = shimmed.finish();
  EXPECT_EQ(got.output, expected.output);
  EXPECT_EQ(got.status, 0);
}

const char* const kScenarios[] = {
    "queue_calls",
    "queue_copies",
    "send_errors",
    "receive_errors",
    "queue_control",
    "set_calls",
    "set_errors",
    "segment_control",
    "gets",
    "by_number",
    "large_messages",
    "interrupted_plain",
    "interrupted_restarting",
    "not_interrupted",
    "stopped_and_continued",
    "left_by_jump",
    "calls_in_handlers",
    "nested_handlers",
    "storm",
    "many_children",
    "forked_during_a_call",
    "vforked",
    "forked_in_a_handler",
    "cloned",
    "executed",
    "daemonized",
    "descriptors_closed",
    "identities",
    "descriptors_closed_in_a_handler",
    "many_threads",
    "threads_come_and_go",
    "cancelled",
    "cancellation_disabled",
    "identity_of_all_threads",
};

std::string name_of(const testing::TestParamInfo<SameAsBare::ParamType>& info) { return std::get<1>(info.param); }
// Not s390x: some of these programs do not end on qemu-s390x 7.2 without us (semtimedop), or print what is wrong
// (msgctl).
INSTANTIATE_TEST_SUITE_P(native, SameAsBare, testing::Combine(testing::Values("native"), testing::ValuesIn(kScenarios)),
                         name_of);
INSTANTIATE_TEST_SUITE_P(m68k, SameAsBare, testing::Combine(testing::Values("m68k"), testing::ValuesIn(kScenarios)),
                         name_of);
INSTANTIATE_TEST_SUITE_P(i386, SameAsBare, testing::Combine(testing::Values("i386"), testing::ValuesIn(kScenarios)),
                         name_of);

}  // namespace
}  // namespace dipc::test
