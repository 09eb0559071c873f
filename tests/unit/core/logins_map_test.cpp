#include "daemon/core/logins_map.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>

#include "tests/unit/core/damaged_text.h"

namespace dipc {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

LoginsMap good(std::string_view text) {
  auto parsed = LoginsMap::parse(text, "logins.map");
  EXPECT_TRUE(parsed) << (parsed ? "" : parsed.error()[0].what);
  return parsed ? *parsed : LoginsMap{};
}

std::string local(const LoginsMap& logins, std::string_view login, std::string_view host) {
  const auto mapped = logins.map(login, host);
  return mapped ? mapped->local : "(refused)";
}

const char* kExample =
    "# login@host   local login\n"
    "alice@vax      alicia\n"
    "build-*@lab*   builder\n"
    "*@vax          *\n"
    "root@*         nobody\n";

TEST(LoginsMap, WithoutAFileNamesStayAndRootIsNobody) {
  const LoginsMap logins;
  EXPECT_EQ(local(logins, "alice", "vax"), "alice");
  EXPECT_EQ(local(logins, "root", "vax"), "nobody");
  EXPECT_EQ(logins.explain("root", "vax"), "root@vax maps to nobody (built-in rule, no logins.map)");
}

TEST(LoginsMap, TheFirstLineThatFitsDecides) {
  const LoginsMap logins = good(kExample);
  EXPECT_EQ(local(logins, "alice", "vax"), "alicia");
  EXPECT_EQ(local(logins, "bob", "vax"), "bob");
  EXPECT_EQ(logins.map("bob", "vax")->line, 4u);
  EXPECT_EQ(local(logins, "build-7", "lab12"), "builder");
  EXPECT_EQ(local(logins, "root", "sun"), "nobody");
  EXPECT_EQ(logins.explain("root", "sun"), "root@sun maps to nobody (logins.map:5)");
}

TEST(LoginsMap, WhatNoLineFitsIsRefused) {
  const LoginsMap logins = good(kExample);
  EXPECT_EQ(local(logins, "bob", "sun"), "(refused)");
  EXPECT_EQ(local(logins, "build-7", "vax2"), "(refused)");
  EXPECT_EQ(logins.explain("eve", "sun"), "eve@sun matches no line of logins.map");
  EXPECT_EQ(local(good("# nobody\n"), "alice", "vax"), "(refused)");
}

TEST(LoginsMap, TheSameNameIsNeverRoot) {
  const LoginsMap logins = good("*@vax *\n");
  EXPECT_EQ(local(logins, "root", "vax"), "nobody");
  EXPECT_FALSE(logins.map("root", "vax")->same_name);
  EXPECT_TRUE(logins.map("alice", "vax")->same_name);
  EXPECT_EQ(local(good("root@vax *\n"), "root", "vax"), "nobody");
}

TEST(LoginsMap, RootIsRootOnlyWhereALineWritesIt) {
  EXPECT_EQ(local(good("root@vax root\n*@* *\n"), "root", "vax"), "root");
  EXPECT_EQ(local(good("root@vax root\n*@* *\n"), "root", "sun"), "nobody");
}

TEST(LoginsMap, HostNamesKnowNoCaseAndLoginsDo) {
  const LoginsMap logins = good("Alice@VAX alicia\n");
  EXPECT_EQ(local(logins, "Alice", "vax"), "alicia");
  EXPECT_EQ(local(logins, "alice", "vax"), "(refused)");
}

TEST(LoginsMap, WhatIsNoLoginNameIsRefusedWhateverTheLinesSay) {
  const LoginsMap logins = good("*@* *\n");
  for (const std::string& login :
       {std::string(), std::string("a b"), std::string("a\n"), std::string("a/b"), std::string("a:b"), std::string("*"),
        std::string("-f"), std::string("a@b"), std::string("r\0t", 3), std::string(257, 'x')}) {
    EXPECT_EQ(local(logins, login, "vax"), "(refused)") << login;
    EXPECT_THAT(logins.explain(login, "vax"), HasSubstr("is not a login name"));
  }
  EXPECT_EQ(local(logins, "m\xc3\xbcller", "vax"), "m\xc3\xbcller");
}

TEST(LoginsMap, StarsStandForAnyCharactersAnywhere) {
  const LoginsMap logins = good("a*b*c@* x\n");
  for (const char* login : {"abc", "a1b2c", "abbcc", "abcbc"}) EXPECT_EQ(local(logins, login, "h"), "x") << login;
  for (const char* login : {"ab", "acb", "abcd", "xabc"}) EXPECT_EQ(local(logins, login, "h"), "(refused)") << login;
}

TEST(LoginsMap, TheWayBackLeadsToTheLoginThatCameFromThere) {
  const LoginsMap logins = good(kExample);
  EXPECT_EQ(logins.login_at_peer("alicia", "vax"), "alice");
  EXPECT_EQ(logins.login_at_peer("bob", "vax"), "bob");
  EXPECT_EQ(logins.login_at_peer("bob", "sun"), std::nullopt);
}

TEST(LoginsMap, TheWayBackIsNoneWhereManyLoginsBecameOne) {
  const LoginsMap logins = good("*@vax guest\n");
  EXPECT_EQ(logins.login_at_peer("guest", "vax"), "guest");  // guest@vax is guest here
  EXPECT_EQ(logins.login_at_peer("alice", "vax"), std::nullopt);
  EXPECT_EQ(good("w*@vax guest\n").login_at_peer("guest", "vax"), std::nullopt);
}

TEST(LoginsMap, TheWayBackHeedsEarlierLines) {
  // alice@vax is already taken by line 1, so local bob can't be her.
  const LoginsMap logins = good("alice@vax carol\nalice@* bob\n");
  EXPECT_EQ(logins.login_at_peer("bob", "vax"), std::nullopt);
  EXPECT_EQ(logins.login_at_peer("bob", "sun"), "alice");
}

TEST(LoginsMap, WhatNobodyOwnsIsNotRootsOnTheOtherSide) {
  EXPECT_EQ(LoginsMap().login_at_peer("nobody", "vax"), "nobody");
  EXPECT_EQ(LoginsMap().login_at_peer("root", "vax"), std::nullopt);
  EXPECT_EQ(good("root@vax root\n").login_at_peer("root", "vax"), "root");
  EXPECT_EQ(good("root@* nobody\n").login_at_peer("nobody", "vax"), std::nullopt);
}

TEST(LoginsMap, WhatTheWayBackSaysLeadsHereAgain) {
  const char* names[] = {"root", "nobody", "alice", "bob", "guest", "*", "a*"};
  const char* hosts[] = {"vax", "sun", "*", "v*"};
  std::mt19937 random(1);
  for (int round = 0; round < 2000; ++round) {
    std::string text;
    const std::size_t lines = 1 + static_cast<std::size_t>(random()) % 5;
    for (std::size_t i = 0; i < lines; ++i) {
      const char* login = names[random() % 7];
      const char* host = hosts[random() % 4];
      const char* to = names[random() % 6];  // all but the last, which has no place on the right
      text += std::string(login) + "@" + host + " " + to + "\n";
    }
    const LoginsMap logins = good(text);
    for (const char* name : {"root", "nobody", "alice", "bob", "guest"}) {
      const auto back = logins.login_at_peer(name, "vax");
      if (!back) continue;
      ASSERT_EQ(local(logins, *back, "vax"), name) << text;
      ASSERT_TRUE(*back != "root" || std::string_view(name) == "root") << text;
    }
  }
}

struct Mistake {
  const char* name;
  std::string text;
  const char* what;
  const char* remedy;
};
class LoginsMapMistake : public testing::TestWithParam<Mistake> {};

TEST_P(LoginsMapMistake, IsReportedWithFileLineAndRemedy) {
  const auto parsed = LoginsMap::parse(GetParam().text, "logins.map");
  ASSERT_FALSE(parsed);
  ASSERT_EQ(parsed.error().size(), 1u);
  EXPECT_THAT(parsed.error()[0].what, StartsWith(std::string("logins.map:") + GetParam().what));
  EXPECT_THAT(parsed.error()[0].remedy, HasSubstr(GetParam().remedy));
}

INSTANTIATE_TEST_SUITE_P(
    EveryKindOfMistake, LoginsMapMistake,
    testing::Values(
        Mistake{"NoLocal", "\nalice@vax\n", "2: the local login for 'alice@vax' is missing", "same name"},
        Mistake{"NoHost", "alice bob\n", "1: 'alice' is not login@host", "login@* is that login"},
        Mistake{"EmptyLogin", "@vax bob\n", "1: '' before the @ is not a login", "login@host"},
        Mistake{"EmptyHost", "alice@ bob\n", "1: '' after the @ is not a host name", "* stands for any"},
        Mistake{"TwoAt", "alice@vax@sun bob\n", "1: 'vax@sun' after the @ is not a host name", "login@host"},
        Mistake{"BadLogin", "al/ice@vax bob\n", "1: 'al/ice' before the @ is not a login", "login@host"},
        Mistake{"PatternOnTheRight", "*@vax guest-*\n", "1: 'guest-*' is not a local login", "* alone"},
        Mistake{"HostOnTheRight", "alice@vax alicia@sun\n", "1: 'alicia@sun' is not a local login", "write one login"},
        Mistake{"TooMuch", "alice@vax alicia bob\n", "1: there is more after the local login: 'bob'",
                "comments begin with #"}),
    [](const testing::TestParamInfo<Mistake>& mistake) { return std::string(mistake.param.name); });

TEST(LoginsMap, AllMistakesOfAFileAreReported) {
  const auto parsed = LoginsMap::parse("alice\nbob@vax bob\ncarol@ -c x\n", "logins.map");
  ASSERT_FALSE(parsed);
  EXPECT_EQ(parsed.error().size(), 5u);
}

TEST(LoginsMap, GarbageIsAnErrorAndNothingWorse) {
  std::mt19937 random(99);
  std::size_t refused = 0;
  for (int round = 0; round < 5000; ++round) {
    const std::string text = damaged(kExample, random);
    const auto parsed = LoginsMap::parse(text, "logins.map");
    if (parsed) {
      ASSERT_NE(local(*parsed, "root", "sun"), "root");
      continue;
    }
    ++refused;
    for (const Trouble& trouble : parsed.error()) {
      ASSERT_THAT(trouble.what, StartsWith("logins.map:"));
      ASSERT_FALSE(trouble.remedy.empty()) << trouble.what;
    }
  }
  EXPECT_GT(refused, 1000u);
}

TEST(LoginsMap, ItsLinesSayTheSameWhenTheyAreReadAgain) {
  const auto first = LoginsMap::parse("alice@VAX\talicia # a comment\n*@vax *\nroot@* nobody\n", "logins.map");
  ASSERT_TRUE(first);
  EXPECT_EQ(first->lines(), (std::vector<std::string>{"alice@vax alicia", "*@vax *", "root@* nobody"}));
  EXPECT_EQ(LoginsMap().lines(), (std::vector<std::string>{"root@* nobody", "*@* *"}));
}

}  // namespace
}  // namespace dipc
