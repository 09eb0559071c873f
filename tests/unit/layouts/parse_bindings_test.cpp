// What a binding may say of the structs that are declared, and what is told of the one that may not.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/layouts/random_layout.h"
#include "tests/unit/layouts/refusals.h"

namespace dipc::layout_test {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

TEST(TypesBindings, NoSegmentHasAnIdThatNothingWouldRewrite) {
  const Trouble plain = trouble_of("struct table { int n; uid owner; };\nbind shm 1 to table;");
  EXPECT_EQ(
      plain.what,
      "a.types:2:15: struct table can't be a segment: 'owner', at a.types:1:27, is a uid, and nothing is rewritten "
      "in memory that hosts share");
  EXPECT_THAT(plain.remedy, HasSubstr("write unsigned int owner"));
  const Trouble nested = trouble_of(
      "struct slot { int n; pid short by; }; struct table { long n; struct { struct slot slots[4]; } in; };"
      "bind shm 1 to table;");
  EXPECT_THAT(nested.what, HasSubstr("'in.slots.by', at a.types:1:32, is a pid,"));
  EXPECT_THAT(nested.remedy, HasSubstr("write short by"));
  EXPECT_THAT(trouble_of("typedef struct { gid g[2]; } t; bind shm all to t;").remedy, HasSubstr("unsigned int g"));
  // The same struct is a message, and a field of that name a number.
  EXPECT_TRUE(
      troubles("struct m { long mtype; pid p; }; struct s { int pid; }; bind msg 1 to m; bind shm 1 to s;").empty());
}

TEST(TypesBindings, EveryIdOfASegmentIsSaid) {
  const Troubles all = troubles("struct in { gid g; }; struct t { pid a; struct in b, c; uid d; }; bind shm 1 to t;");
  ASSERT_EQ(all.size(), 4U);
  EXPECT_THAT(all[0].what, HasSubstr("'a', at a.types:1:38, is a pid"));
  EXPECT_THAT(all[1].what, HasSubstr("'b.g', at a.types:1:17, is a gid"));
  EXPECT_THAT(all[2].what, HasSubstr("'c.g', at a.types:1:17, is a gid"));
  EXPECT_THAT(all[3].what, HasSubstr("'d', at a.types:1:61, is a uid"));
}

TEST(TypesBindings, ASegmentMayEndOpenAndIsNotCounted) {
  EXPECT_TRUE(troubles("struct t { int n; char text[]; }; bind shm 1 to t;").empty());
  const Trouble counted = trouble_of("struct t { int n; char text[n]; }; bind shm 1 to t;");
  EXPECT_THAT(counted.what, HasSubstr("'text', at a.types:1:24, is counted by n, which changes while hosts share"));
  EXPECT_THAT(counted.remedy, HasSubstr("write text[], which fills the rest of the segment"));
}

// What is said, and of the remedy the part after the '|'.
std::vector<std::string> said(std::string_view text) {
  std::vector<std::string> all;
  for (const Trouble& one : troubles(text)) all.push_back(one.what + " | " + one.remedy);
  return all;
}

TEST(TypesBindings, AllThatIsWrongIsSaidInOneGoInTheOrderOfTheLines) {
  EXPECT_THAT(
      said("struct s { long mtype; char *p; };\n"
           "bind msg 1-9 to { 1: nosuch; 2: s; 3: neither; };\n"
           "bind msg 5 to s;\n"
           "struct t { strange x; };\n"
           "bind msg 0, 7, 9-8 to nothing;\n"),
      ElementsAre(HasSubstr("a.types:1:29: 'p' is a pointer"), HasSubstr("a.types:2:22: struct nosuch is not"),
                  HasSubstr("a.types:2:39: struct neither is not"),
                  HasSubstr("a.types:3:10: these keys are bound already, at a.types:2:10"),
                  HasSubstr("a.types:4:12: 'strange'"), HasSubstr("a.types:5:10: key 0 is IPC_PRIVATE"),
                  HasSubstr("a.types:5:13: these keys are bound already"),
                  HasSubstr("a.types:5:16: this range ends before"), HasSubstr("a.types:5:23: struct nothing is not")));
}

TEST(TypesBindings, WhatFollowsFromARefusalIsNotSaid) {
  // Without its first field it is no message; it is none that can be named; it has none of its constants.
  EXPECT_THAT(trouble_of("struct s { lnog mtype; }; bind msg 1 to s; bind shm 1 to s;").what, HasSubstr("'lnog'"));
  EXPECT_THAT(trouble_of("struct s { struct { pid_t p; } in; long x; }; bind msg 1 to { 5: s; };").what,
              HasSubstr("pid_t"));
  EXPECT_THAT(trouble_of("typedef struct { int x : 1; } t; struct s { t in; }; bind shm 2 to t;").what,
              HasSubstr("bit-field"));
  EXPECT_THAT(trouble_of("struct s { long m; } aligned(3); struct t { struct s a; }; bind msg 1 to s;").what,
              HasSubstr("alignment of 3"));
  EXPECT_THAT(trouble_of("enum { A = 1, LENGTH = 4 + 1, B }; struct s { char a[LENGTH], b[B]; };").what,
              HasSubstr("not calculated"));
  EXPECT_THAT(trouble_of("typedef void *handle; struct s { handle h; };").what, HasSubstr("'handle' is a pointer"));
}

TEST(TypesBindings, KeysMayBeConstants) {
  const TypeSet types = parsed(
      "enum { FIRST = 0x1000, LAST = 0x10ff }; enum top : int64_t { HIGH = 0xfffffffe };"
      "struct s { long m; }; bind msg FIRST-LAST, HIGH to s;");
  EXPECT_EQ(types.binding_for(Kind::kMessageQueue, 0x10ff), &types.bindings[0]);
  EXPECT_EQ(types.binding_for(Kind::kMessageQueue, -2), &types.bindings[0]);
  EXPECT_EQ(types.binding_for(Kind::kMessageQueue, 0x1100), nullptr);
}

TEST(TypesBindings, WhatCWritesForAKeyHasItsRemedy) {
  const std::string s = "enum { DESK = 5, NEGATIVE = -5 }; struct s { long m; };\nbind msg ";
  EXPECT_THAT(said(s + "IPC_PRIVATE to s;"),
              ElementsAre("a.types:2:10: IPC_PRIVATE is written private | bind msg private to request;"));
  EXPECT_THAT(said(s + "ftok(\"/tmp/x\", 'a') to s;"), ElementsAre(AllOf(HasSubstr(":2:10: a key that ftok makes is "),
                                                                         HasSubstr("| list its path under [ftok]"))));
  EXPECT_THAT(said(s + "DESK_KEY to s;"),
              ElementsAre(AllOf(HasSubstr("'DESK_KEY' is no key and no constant"),
                                HasSubstr("| write the number, or declare it above: enum {"))));
  EXPECT_THAT(said(s + "DESKS to s;"), ElementsAre(HasSubstr("| did you mean DESK?")));
  EXPECT_THAT(said(s + "-2 to s;"),
              ElementsAre(HasSubstr("found '-' | write a negative key as ipcs does: 0xfffffffe")));
  EXPECT_THAT(said(s + "-5 to s;"), ElementsAre(HasSubstr("ipcs does: 0xfffffffb")));
  EXPECT_THAT(said(s + "5, to s;"), ElementsAre("a.types:2:11: there is no key behind this ',' | leave the ',' out"));
  EXPECT_THAT(said(s + "NEGATIVE to s;"), ElementsAre(HasSubstr("'NEGATIVE' is no key | keys go from 1")));
  EXPECT_THAT(said(s + "0x100000000 to s;"), ElementsAre(HasSubstr("'0x100000000' is no key | keys go from 1")));
}

}  // namespace
}  // namespace dipc::layout_test
