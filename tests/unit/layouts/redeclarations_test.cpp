// What is declared again: the same is taken, as where two imports of one program lie one behind the other; what is not
// the same is said with both places.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/layouts/random_layout.h"
#include "tests/unit/layouts/refusals.h"

namespace dipc::layout_test {
namespace {

using testing::HasSubstr;

constexpr const char* kPoint = "struct point { int x, y; };\n";

TEST(TypesRedeclarations, TheSameStructAgainIsTheOneThatIsKnown) {
  const TypeFile files[] = {
      {"a.types", "struct point { int x, y; }; struct order { long mtype; struct point at; };"},
      {"b.types", "/* as C */ struct point { int x; signed int y; }; struct reply { long mtype; struct point at; };"}};
  const auto types = parse_types(files);
  ASSERT_TRUE(types.has_value()) << types.error().front().what;
  ASSERT_EQ(types->structs.size(), 3U) << "the second point is none of its own";
  EXPECT_EQ(types->structs[2].name, "reply");
  EXPECT_EQ(types->structs[2].fields[1].type.structure, 0U);
  EXPECT_EQ(types->structs[0].place, "a.types:1:8");
}

TEST(TypesRedeclarations, WhatAStructHasInItIsTakenAgainWithIt) {
  const std::string both =
      "struct outer { struct inner { int n; } one; struct { char c; struct { short s; } deep; } two[3];\n"
      "  enum color { red, green = 5 } color; enum { LENGTH = 4, MORE = LENGTH } plain; char text[MORE];\n"
      "  unsigned char count; struct inner items[2]; } packed;\n"
      "typedef int key_t; typedef struct { long l; } pair_t; typedef struct inner inner_t;\n"
      "enum { WIDTH = 8 }; enum small { tiny } packed;\n";
  const TypeSet once = parsed(both);
  const TypeSet twice = parsed(both + both + "struct m { long mtype; pair_t pair; key_t key; struct outer rest; };");
  EXPECT_EQ(twice.structs.size(), once.structs.size() + 1);
  EXPECT_EQ(twice.enums.size(), once.enums.size());
  EXPECT_EQ(twice.structs.back().fields[3].type.structure, *once.find("outer"));
  EXPECT_EQ(twice.structs[*twice.find("outer.two.deep")].fields[0].name, "s");
}

// Sixteen levels that double: a second is more than it may take.
TEST(TypesRedeclarations, NestedStructsWithoutANameAreComparedOnce) {
  std::string text = "int n;";
  for (int i = 0; i < 16; ++i) text = "struct { " + text + " } a, b;";
  EXPECT_TRUE(troubles("struct s { " + text + " }; struct s { " + text + " };").empty());
  const std::string other = text.substr(0, text.find("int")) + "long" + text.substr(text.find("int") + 3);
  EXPECT_THAT(trouble_of("struct s { " + text + " }; struct s { " + other + " };").what,
              HasSubstr("'int n' in 'a' in"));
}

// The enums that were refused are not there to compare with.
TEST(TypesRedeclarations, WhatIsWrongInAnEnumIsNotLookedUpInIt) {
  EXPECT_EQ(troubles("enum { A, 5 }; enum { A };").size(), 2U);
  EXPECT_EQ(troubles("enum a { A }; enum b { A }; enum b { B };").size(), 1U);
  EXPECT_EQ(trouble_of("struct b { int n; }; struct b { struct b b; };").what.substr(0, 12), "a.types:1:29");
}

// What was refused is known by its place in the set, which what is declared again does not take.
TEST(TypesRedeclarations, WhatIsWrongInAStructIsSaidOnceWhateverWasDeclaredTwice) {
  const std::string point = "struct point { int x; };\n";
  const Troubles all = troubles(point + point + "struct bad { lnog mtype; }; struct other { int n; };\n" +
                                "bind msg 1 to bad; bind msg 2 to other;");
  ASSERT_EQ(all.size(), 2U);
  EXPECT_THAT(all[0].what, HasSubstr("a.types:3:14: 'lnog'"));
  EXPECT_THAT(all[1].what, HasSubstr("struct other is no message"));
  EXPECT_EQ(troubles("struct s { lnog n; }; struct s { struct in { int x; } in; }; struct t { struct in in; };").size(),
            1U)
      << "the first s is not known, so nothing can be said of the second";
}

struct Other {
  std::string first, second;
  const char* what;  // part of it
};

TEST(TypesRedeclarations, AnotherStructOfTheNameIsSaidWithBothPlacesAndWhatDiffers) {
  const Other others[] = {
      {kPoint, "struct point { int x; long y; };",
       "a.types:2:8: struct point is declared twice, first at a.types:1:8, and not the same: 'int y' there, 'long y' "
       "here"},
      {kPoint, "struct point { int x; };", "not the same: 'int y' there, nothing here"},
      {kPoint, "struct point { int x, y, z; };", "not the same: nothing there, 'int z' here"},
      {kPoint, "struct point { int y, x; };", "'int x' there, 'int y' here"},
      {kPoint, "struct point { int x, y[1]; };", "'int y' there, 'int y[1]' here"},
      {kPoint, "struct point { int x, y packed; };", "'int y' there, 'int y packed' here"},
      {kPoint, "struct point { int x, y; } packed;", "without attributes there, packed here"},
      {"struct s { int n; struct { char a, b; } in; };\n", "struct s { int n; struct { char a, c; } in; };",
       "'char b' in 'in' there, 'char c' in 'in' here"},
      {"struct s { unsigned n, m; int a[n]; };\n", "struct s { unsigned n, m; int a[m]; };",
       "'int a[n]' there, 'int a[m]' here"},
      {"struct s { int n; int a[]; };\n", "struct s { int n; int a[n]; };", "'int a[]' there, 'int a[n]' here"},
      {"struct s { pid n; };\n", "struct s { int n; };", "'pid n' there, 'int n' here"},
      {"typedef struct { int a; } t;\n", "typedef struct { int b; } t;",
       "a.types:2:27: struct t is declared twice, first at a.types:1:9, and not the same: 'int a' there, 'int b' here"},
      {"typedef int key;\n", "typedef long key;",
       "a.types:2:14: 'key' is declared twice, first at a.types:1:13, and not the same: 'int' there, 'long' here"},
      {"enum e { A, B };\n", "enum e { A, B = 2 };",
       "a.types:2:6: enum e is declared twice, first at a.types:1:6, and not the same: 'B = 1' there, 'B = 2' here"},
      {"enum e { A, B };\n", "enum e { A };", "'B = 1' there, nothing here"},
      {"enum e { A };\n", "enum e : uint8_t { A };", "held by int there, by uint8_t here"},
      {"enum { A, B };\n", "enum { A, B = 2 };", "a.types:2:8: 'A' is declared twice, first at a.types:1:8"},
      {"enum { A, B };\n", "enum { C, B };", "a.types:2:11: 'B' is declared twice, first at a.types:1:11"},
  };
  for (const Other& other : others) {
    const Trouble found = trouble_of(other.first + other.second);
    EXPECT_THAT(found.what, HasSubstr(other.what)) << other.first << other.second;
    EXPECT_THAT(found.remedy, testing::AnyOf(HasSubstr("another name"), HasSubstr("rename"))) << other.second;
  }
}

}  // namespace
}  // namespace dipc::layout_test
