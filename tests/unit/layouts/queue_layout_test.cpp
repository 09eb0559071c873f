#include "layouts/queue_layout.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "layouts/parser.h"

namespace dipc {
namespace {

using testing::HasSubstr;

TypeSet types_of(const std::string& text) {
  const std::vector<TypeFile> files = {{"desk.types", text}};
  auto types = parse_types(files);
  EXPECT_TRUE(types) << types.error().front().what;
  return std::move(*types);
}

std::shared_ptr<const QueueLayout> layout_of(const std::string& text) {
  const TypeSet types = types_of(text);
  auto layout = QueueLayout::of(types, types.bindings.front());
  EXPECT_TRUE(layout) << layout.error().what;
  return *layout;
}

constexpr char kDesk[] =
    "enum colour : uint8_t { RED, GREEN = 7 };\n"
    "struct unused { int i; };\n"
    "struct point { int x, y; };\n"
    "typedef struct point place;\n"
    "struct order { long mtype; pid client; place at[2]; enum colour c; struct { short a; } b, d; };\n"
    "struct line { long mtype; char text[]; };\n"
    "struct receipt { pid long mtype; int count; char text[count]; } packed;\n"
    "bind msg 0x10-0x11, private to { 1-3: order; 7: line; 9: order; default: receipt; };\n";

TEST(QueueLayout, ItsTextSaysAllOfItAndReadsBackAsTheSame) {
  const auto layout = layout_of(kDesk);
  EXPECT_THAT(layout->text(), Not(HasSubstr("unused")));
  EXPECT_THAT(layout->text(), HasSubstr("bind msg all to { 1-3: order; 7: line; 9: order; default: receipt; };"));
  const auto again = QueueLayout::parse(layout->text());
  ASSERT_TRUE(again) << again.error().what;
  EXPECT_EQ((*again)->text(), layout->text());
  EXPECT_EQ((*again)->fingerprint(), layout->fingerprint());
  for (const std::int64_t type : {1, 3, 4, 7, 9, 100}) {
    EXPECT_EQ((*again)->structure_for(type), layout->structure_for(type)) << type;
  }
  EXPECT_EQ(layout->types().structs[*layout->structure_for(3)].name, "order");
  EXPECT_TRUE(layout->mtype_is_pid(*layout->structure_for(4)));
  EXPECT_FALSE(layout->mtype_is_pid(*layout->structure_for(1)));
  EXPECT_TRUE(layout->any_mtype_is_pid());
}

TEST(QueueLayout, HowADeclarationIsWrittenDownMakesNoDifference) {
  const auto a = layout_of("struct note { long mtype; unsigned int n; };\nbind msg 0x10 to note;");
  const auto b =
      layout_of("/* the same */ struct  note{long mtype;unsigned int n;};struct x{int i;};bind msg all to note;");
  EXPECT_EQ(a->fingerprint(), b->fingerprint());
  EXPECT_EQ(QueueLayout::difference(*a, "sun", *b, "vax"), "");
}

TEST(QueueLayout, TheFirstDifferenceIsNamed) {
  const auto a = layout_of("struct note { long mtype; int n; };\nbind msg 0x10 to note;");
  const auto b = layout_of("struct note { long mtype; short n; };\nbind msg 0x10 to note;");
  EXPECT_NE(a->fingerprint(), b->fingerprint());
  const std::string difference = QueueLayout::difference(*a, "sun", *b, "vax");
  EXPECT_THAT(difference, HasSubstr("struct note"));
  EXPECT_THAT(difference, HasSubstr("'int n' there, 'short n' here"));
  const auto c = layout_of("struct note { long mtype; int n; };\nbind msg 0x10 to { 1: note; };");
  EXPECT_EQ(QueueLayout::difference(*a, "sun", *c, "vax"),
            "sun: bind msg KEY to note;  vax: bind msg KEY to { 1: note; };");
}

TEST(QueueLayout, WhatIsNotTheDeclarationsOfOneQueueIsNone) {
  for (const char* text :
       {"", "struct note { long mtype; };", "struct", "struct note { int a; };\nbind shm all to note;",
        "struct note { long mtype; };\nbind msg 1 to note;\nbind msg 2 to note;"}) {
    EXPECT_FALSE(QueueLayout::parse(text)) << text;
  }
}

TEST(QueueLayout, DeclarationsOfMoreThanAHostTakesAreRefused) {
  const auto text = [](int fields) {
    std::string all = "struct many { long mtype;";
    for (int i = 0; i < fields; ++i) all += " int field" + std::to_string(i) + ";";
    return all + " };\nbind msg all to many;\n";
  };
  EXPECT_TRUE(QueueLayout::parse(text(3000)));
  const auto refused = QueueLayout::parse(text(5000));
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().what, HasSubstr("more than 60000 bytes"));
}

TEST(QueueLayout, ConversionsAreMadeOnceAndOnlyForMachinesThatThereAre) {
  const auto layout = layout_of("struct note { long mtype; long n; };\nbind msg 0x10 to note;");
  const Abi m68k = *known_abi("m68k");
  const auto out = layout->to_canonical(0, m68k);
  ASSERT_NE(out, nullptr);
  EXPECT_EQ(out, layout->to_canonical(0, m68k));
  EXPECT_NE(out, layout->to_canonical(0, *known_abi("i386")));
  EXPECT_EQ(out->largest_result_bytes(4), 8u);
  EXPECT_EQ(layout->from_canonical(0, m68k)->largest_result_bytes(8), 4u);
  EXPECT_EQ(layout->between(0, m68k, *known_abi("x86-64"))->largest_result_bytes(4), 8u);
  EXPECT_EQ(layout->to_canonical(0, Abi{}), nullptr);
}

TEST(QueueLayouts, TheOneOfAKeyIsThatOfItsBinding) {
  const auto layouts = QueueLayouts::of(types_of(kDesk));
  ASSERT_TRUE(layouts);
  const QueueLayouts copy = *layouts;
  EXPECT_NE(copy.find(0x10), nullptr);
  EXPECT_EQ(copy.find(0x10), copy.find(0x11));
  EXPECT_EQ(copy.find(0), copy.find(0x11)) << "private";
  EXPECT_EQ(copy.find(0x12), nullptr);
  EXPECT_EQ(QueueLayouts().find(0x10), nullptr);
}

}  // namespace
}  // namespace dipc
