#include "daemon/core/segment_form.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "layouts/parser.h"

namespace dipc {
namespace {

using testing::AllOf;
using testing::HasSubstr;

const Abi kPc = *known_abi("x86-64");
const Abi kAmiga = *known_abi("m68k");
const Abi kOldPc = *known_abi("i386");
const Abi kBigPc = [] {
  Abi abi = kPc;
  abi.byte_order = ByteOrder::kBig;
  return abi;
}();

std::shared_ptr<const SegmentLayout> layout(const std::string& structs) {
  const std::string text = structs + "bind shm all to s;";
  const std::vector<TypeFile> files = {{"x.types", text}};
  const auto types = parse_types(files);
  EXPECT_TRUE(types) << types.error().front().what;
  return *SegmentLayout::of(*types, types->bindings.front());
}

// Of vax, which is a machine of `owner`.
AttachReply segment(const std::string& structs, const Abi& owner, std::uint64_t bytes = 16384) {
  AttachReply reply{bytes, 4096, 0};
  if (!structs.empty()) reply.declarations = layout(structs)->text();
  reply.abi = owner;
  return reply;
}

std::string why(const AttachReply& of, const Abi& here, const Abi& program, const SegmentLayout* own = nullptr) {
  const auto found = objection(of, "vax", here, program, own);
  return found ? found->what : "";
}

TEST(SegmentForm, MachinesThatPlaceAStructAlikeShareIt) {
  const AttachReply same = segment("struct s { int n; float f; double d; char text[]; };", kPc);
  for (const Abi& abi : {kPc, kAmiga, kOldPc, kBigPc}) EXPECT_EQ(why(same, abi, abi), "");
}

TEST(SegmentForm, TheFirstFieldThatTheProgramHasOtherwiseIsNamed) {
  const AttachReply late = segment("struct s { int n; double d; };", kPc);
  EXPECT_EQ(why(late, kAmiga, kAmiga), "s.d is at byte 4 on this program's machine, at byte 8 on vax");
  EXPECT_EQ(why(late, kPc, kOldPc), "s.d is at byte 4 on this program's machine, at byte 8 on vax")
      << "its own ABI, not its host's";
  EXPECT_EQ(why(late, kPc, kPc), "");
  EXPECT_EQ(why(segment("struct s { long n; };", kAmiga), kPc, kPc),
            "s.n has 8 bytes on this program's machine, 4 bytes on vax");
}

TEST(SegmentForm, ANumberAcrossTwoPagesIsRefusedOnlyWhereItWouldBeTurnedRound) {
  const std::string across = "struct s { char c; int n[2000]; } packed;";
  for (const Abi& abi : {kAmiga, kBigPc}) {
    EXPECT_EQ(why(segment(across, kPc), abi, abi),
              "s.n[1023] lies across two pages (of 4096 bytes), and vax writes numbers the other way round than this "
              "host");
  }
  EXPECT_EQ(why(segment(across, kPc), kOldPc, kOldPc), "");
  EXPECT_EQ(why(segment(across, kAmiga), kAmiga, kAmiga), "") << "big-endian hosts among themselves";
  EXPECT_EQ(why(segment(across, kPc, 4000), kAmiga, kAmiga), "") << "the segment ends before";
}

TEST(SegmentForm, AProgramOfAnotherByteOrderThanItsHostIsRefused) {
  EXPECT_THAT(why(segment("struct s { int n; };", kPc), kPc, kBigPc), HasSubstr("the other way round than its host"));
  EXPECT_EQ(why(segment("", kPc), kPc, kBigPc), "") << "bytes are bytes";
}

TEST(SegmentForm, AHostThatDeclaresOtherwiseIsToldWhere) {
  const auto own = layout("struct s { int n; short m; };");
  EXPECT_EQ(why(segment("struct s { int n; short m; };", kPc), kPc, kPc, own.get()), "");
  EXPECT_THAT(why(segment("struct s { int n; unsigned short m; };", kPc), kPc, kPc, own.get()),
              AllOf(HasSubstr("declared otherwise here"), HasSubstr("'short m'")));
  EXPECT_THAT(why(segment("", kPc), kPc, kPc, own.get()), HasSubstr("this host declares it, and vax did not"));
}

TEST(SegmentForm, BothWaysToMendADifferenceAreNamed) {
  const auto own = layout("struct s { int n; short m; };");
  const auto remedy = [&](const AttachReply& of, const Abi& here, const SegmentLayout* declared) {
    const auto found = objection(of, "vax", here, here, declared);
    return found ? found->remedy : "";
  };
  EXPECT_THAT(
      remedy(segment("struct s { int n; };", kPc), kPc, own.get()),
      AllOf(HasSubstr("here as vax does, or not at all"), HasSubstr("or change that of vax and make the segment")));
  EXPECT_THAT(remedy(segment("", kPc), kPc, own.get()),
              AllOf(HasSubstr("take it out of types.d here"), HasSubstr("or declare it on vax and make the segment")));
  EXPECT_THAT(remedy(segment("struct s { char c; int n[2000]; } packed;", kPc), kAmiga, nullptr),
              AllOf(HasSubstr("a multiple of its size"), HasSubstr("unit = \"segment\" in [[keys]] on vax")));
}

TEST(SegmentForm, WhatAPeerSaysMayBeNonsense) {
  AttachReply odd{4096, 4096, 0, "struct s {", kPc};
  EXPECT_THAT(why(odd, kPc, kPc), HasSubstr("vax declares what this host can't read"));
  EXPECT_EQ(swaps_for(odd, kAmiga), nullptr);
  odd = segment("struct s { int n; };", kPc);
  odd.abi = Abi{};
  EXPECT_NE(why(odd, kPc, kPc), "");
  odd.abi.byte_order = ByteOrder::kBig;
  EXPECT_EQ(swaps_for(odd, kPc), nullptr);
}

TEST(SegmentForm, OnlyHostsOfTheOtherByteOrderHaveAnythingToTurnRound) {
  const AttachReply numbers = segment("struct s { int n; };", kPc);
  EXPECT_EQ(swaps_for(numbers, kPc), nullptr);
  EXPECT_EQ(swaps_for(numbers, kOldPc), nullptr);
  EXPECT_NE(swaps_for(numbers, kAmiga), nullptr);
  EXPECT_NE(swaps_for(segment("struct s { int n; };", kAmiga), kPc), nullptr);
  EXPECT_EQ(swaps_for(segment("struct s { int n; };", kAmiga), kAmiga), nullptr);
  EXPECT_EQ(swaps_for(segment("struct s { char text[100]; };", kPc), kAmiga), nullptr);
  EXPECT_EQ(swaps_for(segment("", kPc), kAmiga), nullptr);
}

TEST(SegmentForm, APageIsCopiedAndChanged) {
  const auto swaps = swaps_for(segment("struct s { int first; int n[]; };", kPc), kAmiga);
  Bytes bytes(4096);
  bytes[4] = std::byte{1};
  const auto page = std::make_shared<const Bytes>(bytes);
  EXPECT_EQ(turned(nullptr, PageIndex{1}, page)->data(), page->data());
  EXPECT_EQ(turned(swaps.get(), PageIndex{1}, nullptr), nullptr);
  const PageContents other = turned(swaps.get(), PageIndex{1}, page);
  EXPECT_EQ(*page, bytes);
  EXPECT_EQ((*other)[7], std::byte{1});
  EXPECT_EQ(turned(swaps.get(), PageIndex{1}, other).copy(), bytes);
}

}  // namespace
}  // namespace dipc
