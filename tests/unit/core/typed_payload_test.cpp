#include "daemon/core/typed_payload.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "layouts/parser.h"

namespace dipc {
namespace {

using testing::HasSubstr;

constexpr std::uint16_t kSun = 5;  // a big-endian 32-bit machine
constexpr std::uint16_t kVax = 6;  // a little-endian 64-bit one
constexpr std::int64_t kPids = 4194304;
constexpr std::uint64_t kAnyRoom = UINT64_MAX;

Abi sun() { return *known_abi("m68k"); }
Abi vax() { return *known_abi("x86-64"); }

std::shared_ptr<const QueueLayout> layout_of(const std::string& text) {
  const std::vector<TypeFile> files = {{"a.types", text}};
  const auto types = parse_types(files);
  EXPECT_TRUE(types) << types.error().front().what;
  return *QueueLayout::of(*types, types->bindings.front());
}

std::shared_ptr<const QueueLayout> notes() {
  return layout_of(
      "struct note { long mtype; short n; long big; };\n"
      "struct line { long mtype; char text[]; };\n"
      "struct receipt { pid long mtype; uid who; pid of; };\n"
      "bind msg 0x10 to { 1: note; 2-3: line; 7000000: note; default: receipt; };");
}

Bytes bytes(std::initializer_list<int> values) {
  Bytes made;
  for (const int value : values) made.push_back(static_cast<std::byte>(value));
  return made;
}

IdsLeaving leaving_from(std::uint16_t host) {
  return IdsLeaving(host, [](Meaning, std::uint32_t id) { return id == 1001 ? "alice" : ""; });
}

std::optional<std::uint32_t> alice_is_2001(Meaning, const std::string& name) {
  return name == "alice" ? std::optional<std::uint32_t>(2001) : std::nullopt;
}

TEST(TypedPayload, ItLeavesOneMachineAndEntersAnother) {
  const auto layout = notes();
  std::int64_t type = 1;
  Bytes text = bytes({1, 2, 0, 0, 3, 4});  // m68k: a short, and a long right behind it
  IdsLeaving ids = leaving_from(kSun);
  const auto form = leaving(*layout, sun(), type, text, ids);
  ASSERT_TRUE(form) << form.error().why.what;
  EXPECT_EQ(text, bytes({2, 1, 4, 3, 0, 0, 0, 0, 0, 0}));
  EXPECT_EQ(form->layout, layout->fingerprint());
  EXPECT_EQ(form->structure, *layout->structure_for(1) + 1);
  IdsEntering there(kVax, form->logins, alice_is_2001);
  ASSERT_TRUE(entering(*layout, vax(), *form, type, text, there, kAnyRoom));
  EXPECT_EQ(text, bytes({2, 1, 0, 0, 0, 0, 0, 0, 4, 3, 0, 0, 0, 0, 0, 0}));
  EXPECT_EQ(type, 1);
}

TEST(TypedPayload, PidsAreRewrittenInFieldsAndTypesAndLoginsGoByName) {
  const auto layout = notes();
  std::int64_t type = kVax * kPids + 77;            // sun replies to a process of vax
  Bytes text = bytes({0, 0, 3, 0xe9, 0, 0, 0, 9});  // 1001, 9
  IdsLeaving ids = leaving_from(kSun);
  const auto form = leaving(*layout, sun(), type, text, ids);
  ASSERT_TRUE(form) << form.error().why.what;
  EXPECT_THAT(form->logins, testing::ElementsAre("alice"));
  IdsEntering there(kVax, form->logins, alice_is_2001);
  ASSERT_TRUE(entering(*layout, vax(), *form, type, text, there, kAnyRoom));
  EXPECT_EQ(type, 77);
  EXPECT_EQ(text, bytes({0xd1, 7, 0, 0, 9, 0, 0x40, 1})) << "2001; process 9 of host 5";
}

TEST(TypedPayload, WhatTheOtherSideCannotHoldIsAnOverflowWithItsField) {
  const auto layout = notes();
  std::int64_t type = 1;
  Bytes text = bytes({1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0});  // big is 2^32
  IdsLeaving ids = leaving_from(kVax);
  const auto form = leaving(*layout, vax(), type, text, ids);
  ASSERT_TRUE(form);
  IdsEntering there(kSun, form->logins, alice_is_2001);
  const auto entered = entering(*layout, sun(), *form, type, text, there, kAnyRoom);
  ASSERT_FALSE(entered);
  EXPECT_EQ(entered.error().error, Error::kOverflow);
  EXPECT_THAT(entered.error().why.what, HasSubstr("note.big is 4294967296"));
  EXPECT_NE(entered.error().why.remedy, "");
}

TEST(TypedPayload, ALoginThatIsNobodyOnTheOtherSideIsNamed) {
  const auto layout = notes();
  std::int64_t type = kPids * 9;
  Bytes text(16);
  const std::vector<std::string> logins = {"eve"};
  IdsEntering there(kSun, logins, alice_is_2001);
  EXPECT_FALSE(entering(*layout, sun(), {layout->fingerprint(), 50, false, logins}, type, text, there, kAnyRoom))
      << "a struct that is not declared";
  const auto structure = static_cast<std::uint16_t>(*layout->structure_for(100) + 1);
  IdsEntering again(kSun, logins, alice_is_2001);
  const auto refused =
      entering(*layout, sun(), {layout->fingerprint(), structure, false, logins}, type, text, again, kAnyRoom);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().error, Error::kInvalid);
  EXPECT_THAT(refused.error().why.what, HasSubstr("receipt.who"));
  EXPECT_THAT(refused.error().why.what, HasSubstr("(eve)"));
}

TEST(TypedPayload, TypesThatAreNotDeclaredStayBytes) {
  const auto layout = layout_of("struct note { long mtype; short n; };\nbind msg 0x10 to { 1: note; };");
  std::int64_t type = 2;
  Bytes text = bytes({1, 2, 3});
  IdsLeaving ids = leaving_from(kSun);
  const auto form = leaving(*layout, sun(), type, text, ids);
  ASSERT_TRUE(form);
  EXPECT_EQ(form->structure, 0u);
  EXPECT_EQ(form->layout, layout->fingerprint());
  IdsEntering there(kVax, form->logins, alice_is_2001);
  ASSERT_TRUE(entering(*layout, vax(), *form, type, text, there, kAnyRoom));
  EXPECT_EQ(text, bytes({1, 2, 3}));
}

TEST(TypedPayload, AMachineThatThereCannotBeIsRefused) {
  const auto layout = notes();
  std::int64_t type = 1;
  Bytes text(6);
  IdsLeaving ids = leaving_from(kSun);
  EXPECT_EQ(leaving(*layout, Abi{}, type, text, ids).error().error, Error::kInvalid);
}

// ---- msgrcv

MessageReceive receive_of(std::int64_t type) {
  MessageReceive receive;
  receive.type = type;
  receive.max_bytes = 100;
  return receive;
}

TEST(TypedPayload, AReplyIsAskedForByItsPid) {
  const auto layout = notes();
  MessageReceive receive = receive_of(77);
  ASSERT_TRUE(type_leaving(*layout, receive, kSun));
  EXPECT_EQ(receive.type, kSun * kPids + 77);
  EXPECT_EQ(receive.structure, *layout->structure_for(77) + 1);
  ASSERT_TRUE(type_entering(*layout, receive, kVax));
  EXPECT_EQ(receive.type, kSun * kPids + 77);
  ASSERT_TRUE(type_entering(*layout, receive, kSun)) << "were the owner its own host";
  EXPECT_EQ(receive.type, 77);
}

TEST(TypedPayload, ACaseIsNoPidWhateverNumberItHas) {
  const auto layout = notes();
  for (const std::int64_t type : {1, 3, 7000000}) {
    MessageReceive receive = receive_of(type);
    ASSERT_TRUE(type_leaving(*layout, receive, kSun));
    EXPECT_EQ(receive.type, type);
    ASSERT_TRUE(type_entering(*layout, receive, kVax));
    EXPECT_EQ(receive.type, type);
  }
}

TEST(TypedPayload, ARangeOfPidsIsInvalidAndAnyTypeIsNot) {
  const auto layout = notes();
  MessageReceive range = receive_of(-5);
  EXPECT_EQ(type_leaving(*layout, range, kSun).error().error, Error::kInvalid);
  MessageReceive any = receive_of(0);
  EXPECT_TRUE(type_leaving(*layout, any, kSun));
  EXPECT_EQ(any.structure, 0u);
  MessageReceive place = receive_of(77);
  place.copy = true;
  EXPECT_TRUE(type_leaving(*layout, place, kSun));
  EXPECT_EQ(place.type, 77) << "with MSG_COPY it is a place in the queue";
  MessageReceive all_but = receive_of(-5);
  const auto numbers = layout_of("struct note { long mtype; short n; };\nbind msg 0x10 to note;");
  EXPECT_TRUE(type_leaving(*numbers, all_but, kSun)) << "no pids there";
}

TEST(TypedPayload, RoomIsThatOfTheReceiversFormForEachType) {
  const auto layout = notes();
  MessageReceive receive = receive_of(0);
  receive.max_bytes = 6;  // exactly a note of m68k
  const auto any = room_for(*layout, vax(), sun(), receive);
  ASSERT_TRUE(any);
  EXPECT_EQ(any->of(1), 16u);
  EXPECT_EQ(any->of(2), 6u) << "text is as long everywhere";
  EXPECT_EQ(any->of(7000000), 16u);
  EXPECT_EQ(any->of(77), 0u) << "a receipt has 8 bytes";
  EXPECT_EQ(any->least(), 0u);
  EXPECT_EQ(any->next_above(0), 6u);
  EXPECT_EQ(any->next_above(6), 16u);
  EXPECT_EQ(any->next_above(16), 16u);
  EXPECT_FALSE(any->cut);
  MessageReceive one = receive_of(1);
  one.max_bytes = 5;
  ASSERT_TRUE(type_leaving(*layout, one, kSun));
  EXPECT_EQ(room_for(*layout, vax(), sun(), one)->least(), 0u);
  one.no_error = true;
  const auto cut = room_for(*layout, vax(), sun(), one);
  EXPECT_TRUE(cut->cut);
  EXPECT_GT(cut->least(), 1000000u);
  EXPECT_FALSE(room_for(*layout, vax(), Abi{}, receive));
}

}  // namespace
}  // namespace dipc
