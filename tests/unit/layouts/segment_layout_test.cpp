#include "layouts/segment_layout.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "layouts/parser.h"

namespace dipc {
namespace {

using testing::HasSubstr;

TypeSet types_of(const std::string& text) {
  const std::vector<TypeFile> files = {{"table.types", text}};
  auto types = parse_types(files);
  EXPECT_TRUE(types) << types.error().front().what;
  return std::move(*types);
}

std::shared_ptr<const SegmentLayout> layout_of(const std::string& text) {
  const TypeSet types = types_of(text);
  auto layout = SegmentLayout::of(types, types.bindings.front());
  EXPECT_TRUE(layout) << layout.error().what;
  return *layout;
}

// Why x86-64 and the other machine can't share it.
std::string difference(const std::string& text, const char* other) {
  return layout_of(text + "bind shm 1 to s;")
      ->difference_between(*known_abi("x86-64"), "vax", *known_abi(other), "sun")
      .value_or("");
}

TEST(SegmentLayout, ItsTextSaysAllOfItAndReadsBackAsTheSame) {
  const auto layout = layout_of(
      "struct unused { int i; };\n"
      "struct cell { int32_t n; float f; };\n"
      "struct table { int32_t count; int32_t pad; struct cell cells[]; };\n"
      "bind shm 0x10-0x11, private to table;\n");
  EXPECT_THAT(layout->text(), Not(HasSubstr("unused")));
  EXPECT_THAT(layout->text(), HasSubstr("bind shm all to table;"));
  const auto again = SegmentLayout::parse(layout->text());
  ASSERT_TRUE(again) << again.error().what;
  EXPECT_EQ((*again)->text(), layout->text());
  EXPECT_EQ((*again)->types().structs[(*again)->structure()].name, "table");
}

TEST(SegmentLayout, TheFirstDifferenceBetweenDeclarationsIsNamed) {
  const auto a = layout_of("struct note { int n; };\nbind shm 0x10 to note;");
  const auto same = layout_of("/* . */ struct  note{int n;};\nbind shm all to note;");
  const auto b = layout_of("struct note { unsigned n; };\nbind shm 0x10 to note;");
  const auto c = layout_of("struct text { int n; };\nbind shm 0x10 to text;");
  EXPECT_EQ(SegmentLayout::difference(*a, "sun", *same, "vax"), "");
  EXPECT_THAT(SegmentLayout::difference(*a, "sun", *b, "vax"), HasSubstr("'int n' there, 'unsigned n' here"));
  EXPECT_EQ(SegmentLayout::difference(*a, "sun", *c, "vax"), "sun: bind shm KEY to note;  vax: bind shm KEY to text;");
}

TEST(SegmentLayout, TheFirstFieldThatMachinesPlaceOrSizeOtherwiseIsNamed) {
  EXPECT_EQ(difference("struct s { int i; char c[4]; int64_t n; double d[2]; };", "m68k"), "");
  EXPECT_EQ(difference("struct s { int i; char c[4]; int64_t n; double d[2]; };", "s390x"), "");
  EXPECT_EQ(difference("struct s { int i; long n; };", "m68k"), "s.n is at byte 8 on vax, at byte 4 on sun");
  EXPECT_EQ(difference("struct s { long n; };", "m68k"), "s.n has 8 bytes on vax, 4 bytes on sun");
  EXPECT_EQ(difference("struct s { int i; double d; };", "m68k"), "s.d is at byte 8 on vax, at byte 4 on sun");
  EXPECT_EQ(difference("struct s { int i; double d; };", "i386"), "s.d is at byte 8 on vax, at byte 4 on sun");
  EXPECT_EQ(difference("struct r { char c; int n; }; struct s { int i; struct r rows[]; };", "m68k"),
            "s.rows.n is at byte 8 on vax, at byte 6 on sun");
  EXPECT_EQ(difference("struct r { int n; char c; }; struct s { int i; struct r rows[]; };", "m68k"),
            "s.rows has 8 bytes on vax, 6 bytes on sun");
  EXPECT_EQ(difference("struct s { int i; short n; };", "m68k"), "struct s has 8 bytes on vax, 6 bytes on sun");
}

TEST(SegmentLayout, AnAbiOfNoCompilerIsRefused) {
  const auto layout = layout_of("struct s { int i; };\nbind shm 1 to s;");
  EXPECT_TRUE(layout->difference_between(*known_abi("m68k"), "vax", Abi{}, "sun").has_value());
  EXPECT_TRUE(layout->difference_between(Abi{}, "vax", *known_abi("m68k"), "sun").has_value());
}

TEST(SegmentLayout, WhatIsNotTheDeclarationOfOneSegmentIsNone) {
  for (const char* text :
       {"", "struct note { int n; };", "struct", "struct note { long mtype; };\nbind msg all to note;",
        "struct note { int n; };\nbind shm 1 to note;\nbind shm 2 to note;",
        "struct note { pid n; };\nbind shm all to note;",
        "struct note { int n; char c[n]; };\nbind shm all to note;"}) {
    EXPECT_FALSE(SegmentLayout::parse(text)) << text;
  }
}

TEST(SegmentLayouts, TheOneOfAKeyIsThatOfItsBinding) {
  const auto layouts =
      SegmentLayouts::of(types_of("struct t { int n; };\nstruct m { long mtype; };\nbind shm 0x10-0x11, private to t;\n"
                                  "bind msg all to m;\n"));
  ASSERT_TRUE(layouts);
  const SegmentLayouts copy = *layouts;
  EXPECT_NE(copy.find(0x10), nullptr);
  EXPECT_EQ(copy.find(0x10), copy.find(0x11));
  EXPECT_EQ(copy.find(0), copy.find(0x11)) << "private";
  EXPECT_EQ(copy.find(0x12), nullptr);
  EXPECT_EQ(SegmentLayouts().find(0x10), nullptr);
}

}  // namespace
}  // namespace dipc
