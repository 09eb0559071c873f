#include "daemon/core/id_passage.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dipc {
namespace {

using testing::ElementsAre;

constexpr std::uint16_t kSun = 5;
constexpr std::uint16_t kMoon = 511;
constexpr std::int64_t kPids = 4194304;

std::int64_t carried(std::int64_t pid, std::uint16_t from, std::uint16_t to) {
  const auto left = pid_leaving(pid, from);
  EXPECT_EQ(left.error, Error::kNone);
  const auto entered = pid_entering(left.value, to);
  EXPECT_EQ(entered.error, Error::kNone);
  return entered.value;
}

TEST(IdPassage, APidOfAnotherHostIsComposedAndComesHomeAsItWas) {
  EXPECT_EQ(carried(77, kSun, kMoon), kSun * kPids + 77);
  EXPECT_EQ(carried(carried(77, kSun, kMoon), kMoon, kSun), 77);
  EXPECT_EQ(carried(carried(77, kSun, kMoon), kMoon, 9), kSun * kPids + 77) << "a third host";
  EXPECT_NE(carried(77, kSun, 9), carried(77, kMoon, 9)) << "two processes of one number";
}

TEST(IdPassage, TheLargestPidOfTheLargestNumberHas31Bits) {
  EXPECT_EQ(carried(kPids - 1, kMoon, kSun), 0x7fffffff);
  EXPECT_EQ(carried(0x7fffffff, kSun, kMoon), kPids - 1);
}

TEST(IdPassage, WhatIsNoPidPassesOrIsRefused) {
  EXPECT_EQ(carried(0, kSun, kMoon), 0);
  EXPECT_EQ(carried(-7, kSun, kMoon), -7);
  EXPECT_EQ(pid_leaving(0x80000000, kSun).error, Error::kInvalid);
  EXPECT_EQ(pid_entering(0x80000000, kSun).error, Error::kInvalid);
  EXPECT_EQ(pid_entering(77, kSun).error, Error::kInvalid) << "it would be taken for one of sun";
}

TEST(IdPassage, AHostWithoutANumberHasNoPidsForOthers) {
  EXPECT_EQ(pid_leaving(77, 0).error, Error::kHostUnreachable);
  EXPECT_EQ(pid_leaving(kSun * kPids + 77, 0).value, kSun * kPids + 77) << "it is not its own";
}

TEST(IdPassage, LoginsTravelAsNamesAndEachOnce) {
  int asked = 0;
  IdsLeaving leaving(kSun, [&](Meaning meaning, std::uint32_t id) -> std::string {
    ++asked;
    if (id == 9) return "";
    return (meaning == Meaning::kUid ? "login" : "group") + std::to_string(id);
  });
  EXPECT_EQ(leaving.rewrite(Meaning::kUid, 1).value, 0);
  EXPECT_EQ(leaving.rewrite(Meaning::kGid, 1).value, 1);
  EXPECT_EQ(leaving.rewrite(Meaning::kUid, 1).value, 0);
  EXPECT_EQ(leaving.rewrite(Meaning::kUid, -1).value, 2);
  EXPECT_EQ(asked, 3);
  EXPECT_EQ(leaving.rewrite(Meaning::kUid, 9).error, Error::kInvalid);
  EXPECT_EQ(leaving.rewrite(Meaning::kUid, std::int64_t{1} << 32).error, Error::kOverflow) << "not that of 0";
  EXPECT_EQ(leaving.rewrite(Meaning::kUid, -(std::int64_t{1} << 32)).error, Error::kOverflow);
  const std::vector<std::string> logins = leaving.take_logins();
  EXPECT_THAT(logins, ElementsAre("login1", "group1", "login4294967295"));

  IdsEntering entering(kMoon, logins, [](Meaning meaning, const std::string& name) -> std::optional<std::uint32_t> {
    if (name == "login1" && meaning == Meaning::kUid) return 2001;
    if (name == "group1" && meaning == Meaning::kGid) return 3001;
    return std::nullopt;
  });
  EXPECT_EQ(entering.rewrite(Meaning::kUid, 0).value, 2001);
  EXPECT_EQ(entering.rewrite(Meaning::kGid, 1).value, 3001);
  EXPECT_EQ(entering.rewrite(Meaning::kUid, 2).error, Error::kInvalid);
  EXPECT_EQ(entering.unknown(), "login4294967295");
  EXPECT_EQ(entering.rewrite(Meaning::kUid, 3).error, Error::kInvalid) << "no such name came";
  EXPECT_EQ(entering.rewrite(Meaning::kUid, -1).error, Error::kInvalid);
}

TEST(IdPassage, ANameThatNoHostCanHaveIsNotLookedUpAndNotRepeated) {
  const std::vector<std::string> logins = {std::string(257, 'x')};
  IdsEntering entering(kSun, logins, [](Meaning, const std::string&) -> std::optional<std::uint32_t> { return 7; });
  EXPECT_EQ(entering.rewrite(Meaning::kUid, 0).error, Error::kInvalid);
  EXPECT_EQ(entering.unknown(), "a name of 257 bytes");
}

}  // namespace
}  // namespace dipc
