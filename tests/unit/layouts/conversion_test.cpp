#include "layouts/conversion.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <cstdio>
#include <string>

#include "layouts/parser.h"
#include "tests/unit/layouts/allocations.h"
#include "tests/unit/layouts/random_layout.h"

namespace dipc::layout_test {
namespace {

using testing::HasSubstr;

// A struct (the last of a text) on its way between two machines; "" is the canonical form. Bytes are written in
// hexadecimal, with blanks where they help.
struct Way {
  Way(const std::string& text, const std::string& from, const std::string& to)
      : types(std::make_shared<const TypeSet>(parsed(text))),
        conversion(*Conversion::compile(types, Kind::kMessageQueue, types->structs.size() - 1, form(from), form(to))) {}

  static Form form(const std::string& machine) {
    return machine.empty() ? Form::canonical() : *Form::native(*known_abi(machine));
  }

  struct Options {
    std::size_t room = 1000;
    IdRewriter* rewriter = nullptr;
    Ending ending = Ending::kLastField;
  };
  // The result, or "EINVAL: why".
  std::string run(const std::string& payload, const Options& options) const {
    std::vector<std::byte> in;
    std::string digits;
    for (const char c : payload) {
      if (c == ' ') continue;
      digits.push_back(c);
      if (digits.size() < 2) continue;
      in.push_back(static_cast<std::byte>(std::stoi(digits, nullptr, 16)));
      digits.clear();
    }
    std::vector<std::byte> out(options.room, std::byte{0xaa});
    const Converted done = conversion.convert({in, options.ending}, out, options.rewriter);
    if (done.error != Error::kNone) return std::string(errno_name(done.error)) + ": " + conversion.describe(done).what;
    std::string text;
    for (std::size_t i = 0; i < done.bytes; ++i) {
      char shown[3];
      std::snprintf(shown, sizeof shown, "%02x", static_cast<unsigned>(out[i]));
      text += shown;
    }
    return text;
  }
  std::string run(const std::string& payload) const { return run(payload, Options{}); }

  std::shared_ptr<const TypeSet> types;
  Conversion conversion;
};

constexpr const char* kMessage = "struct m { long mtype; short a; int b; long c; char d; };";

TEST(Conversion, TurnsPacksAndWidens) {
  const Way out(kMessage, "m68k", "");
  EXPECT_EQ(out.run("0102 03040506 fffffffe 7a 00"),
            "02010605"
            "0403feffffffffffffff7a");
}

TEST(Conversion, UnpacksAndZeroesPadding) {
  const Way in(kMessage, "", "x86-64");
  EXPECT_EQ(in.run("0201 06050403 feffffffffffffff 7a", {1000, nullptr, Ending::kPadded}),
            "0201"
            "0000"
            "06050403"
            "feffffffffffffff"
            "7a00000000000000");
}

TEST(Conversion, ThePayloadEndsWhereTheSendersDid) {
  const Way straight(kMessage, "x86-64", "m68k");
  const std::string fields = "0201 0000 06050403 feffffffffffffff 7a";
  EXPECT_EQ(straight.run(fields), "010203040506fffffffe7a");
  EXPECT_EQ(straight.run(fields + "00000000000000"), "010203040506fffffffe7a00");
}

TEST(Conversion, PaddingBetweenMtypeAndTheFirstFieldIsPayload) {
  Abi armhf = *known_abi("i386");
  armhf[CType::kLongLong].align_bytes = 8;
  const auto types = std::make_shared<const TypeSet>(parsed("struct m { long mtype; long long x; };"));
  const auto in =
      *Conversion::compile(types, Kind::kMessageQueue, 0, *Form::native(*known_abi("i386")), *Form::native(armhf));
  const std::vector<std::byte> payload(8, std::byte{7});
  std::vector<std::byte> out(12, std::byte{0xaa});
  const Converted done = in.convert({payload, {}}, out);
  ASSERT_EQ(done.error, Error::kNone);
  ASSERT_EQ(done.bytes, 12U);
  EXPECT_EQ(out[3], std::byte{0});
  EXPECT_EQ(out[4], std::byte{7});
}

TEST(Conversion, AValueThatDoesNotFitIsNamed) {
  const Way narrow("struct p { int n; unsigned long w; }; struct m { long mtype; long a[2]; struct p items[2]; };",
                   "x86-64", "i386");
  const std::string good = "0100000000000000 ffffffffffffffff";
  const std::string item = "05000000 00000000 ffffffff00000000";
  EXPECT_EQ(narrow.run(good + item + item), "01000000ffffffff05000000ffffffff05000000ffffffff");
  EXPECT_EQ(narrow.run(good + item + "05000000 00000000 0000000001000000"),
            "EOVERFLOW: m.items[1].w is 4294967296, which does not fit the field on the other side");
  EXPECT_EQ(narrow.run("0100000000000000 ffffff7fffffffff" + item + item),
            "EOVERFLOW: m.a[1] is -2147483649, which does not fit the field on the other side");
}

TEST(Conversion, APayloadOfAnotherLengthIsNoneOfThisLayout) {
  const Way out(kMessage, "x86-64", "");
  EXPECT_EQ(out.run("020100000605"),
            "EINVAL: struct m: a payload of 6 bytes ends at m.b; the struct has 24, or 17 up to its last field");
  EXPECT_THAT(out.run(std::string(50, '0')), HasSubstr("EINVAL: struct m: a payload of 25 bytes"));
  EXPECT_THAT(out.run(""), HasSubstr("EINVAL"));
}

TEST(Conversion, AnOpenArrayHasTheElementsThatThePayloadHas) {
  const Way out("struct m { long mtype; int n; short tail[]; };", "s390x", "i386");
  EXPECT_EQ(out.run("00000001"), "01000000");
  EXPECT_EQ(out.run("00000001 0002 0003 0004"), "01000000020003000400");
  EXPECT_THAT(out.run("00000001 0002 00"), HasSubstr("EINVAL: struct m: a payload of 7 bytes ends at m.tail[1]"));
  EXPECT_THAT(out.run("0000"), HasSubstr("EINVAL"));
}

TEST(Conversion, TextKeepsItsLengthWhateverTheAlignmentOfTheStruct) {
  const Way text("struct m { long mtype; char text[]; };", "m68k", "x86-64");
  for (const char* bytes : {"", "41", "4142", "414243444546", "4142434445464748"}) EXPECT_EQ(text.run(bytes), bytes);
}

TEST(Conversion, ACountedArrayHasAsManyAsItSays) {
  const std::string layout =
      "struct h { short a; short n; }; struct m { long mtype; struct h head; int values[head.n]; };";
  const Way out(layout, "m68k", "");
  EXPECT_EQ(out.run("0007 0002 00000001 00000002"), "070002000100000002000000");
  EXPECT_EQ(out.run("0007 0003 00000001 00000002"), "EINVAL: m.head.n is 3, but the payload has 2 of values");
  EXPECT_EQ(out.run("0007 0001 00000001 00000002"), "EINVAL: m.head.n is 1, but the payload has 2 of values");
  EXPECT_EQ(out.run("0007 ffff 00000001"), "EINVAL: m.head.n is -1: no array has so many elements");
  const Way in(layout, "", "m68k");
  EXPECT_EQ(in.run("0700 0100 01000000"), "0007000100000001");
  EXPECT_THAT(in.run("0700 ff7f 01000000"), HasSubstr("EINVAL: m.head.n is 32767"));
}

TEST(Conversion, ACounterOf64BitsCantWrapTheLength) {
  const Way out("struct m { long mtype; uint64_t n; uint64_t values[n]; };", "x86-64", "");
  EXPECT_THAT(out.run("0000000000000020"), HasSubstr("EINVAL: m.n is 2305843009213693952"));
  EXPECT_THAT(out.run("ffffffffffffffff 0000000000000000"), HasSubstr("EINVAL: m.n is 18446744073709551615"));
}

TEST(Conversion, AResultThatHasNoRoomIsTooBig) {
  const Way in(kMessage, "", "x86-64");
  const std::string payload = "0201 06050403 feffffffffffffff 7a";
  const auto with_room = [&](std::size_t room) { return in.run(payload, {room, nullptr, Ending::kPadded}); };
  EXPECT_EQ(with_room(24).size(), 2 * 24U);
  EXPECT_EQ(with_room(23).size(), 2 * 17U) << "padding that has no room is left out";
  EXPECT_EQ(with_room(17).size(), 2 * 17U);
  EXPECT_EQ(with_room(16), "E2BIG: struct m: the message has 17 bytes for its receiver, who has room for 16");
}

TEST(Conversion, SaysWhatTheKernelMayTakeForAReceiversRoom) {
  const Way fixed(kMessage, "m68k", "x86-64");
  EXPECT_EQ(fixed.conversion.largest_source_bytes(24), 12U);
  EXPECT_EQ(fixed.conversion.largest_source_bytes(17), 12U);
  EXPECT_EQ(fixed.conversion.largest_source_bytes(16), std::nullopt);
  const Way longs("struct m { long mtype; int n; long values[]; };", "i386", "x86-64");
  EXPECT_EQ(longs.conversion.largest_source_bytes(8), 4U);
  EXPECT_EQ(longs.conversion.largest_source_bytes(23), 8U);
  EXPECT_EQ(longs.conversion.largest_source_bytes(24), 12U);
  const Way text("struct m { long mtype; char text[]; };", "x86-64", "m68k");
  EXPECT_EQ(text.conversion.largest_source_bytes(5), 5U)
      << "five characters, not the eight that are as long when padded";
}

// Whatever the kernel then gives fits: every native length up to the largest one.
TEST(Conversion, WhatIsNoLargerThanTheLargestSourceFits) {
  for (const char* layout :
       {"struct m { long mtype; double d; int n; short tail[]; };", "struct m { long mtype; char c; long tail[]; };",
        "struct m { long mtype; double d; char n; char tail[n]; };"}) {
    for (const char* to : {"x86-64", "i386", "m68k"}) {
      const Way way(layout, "s390x", to);
      for (std::size_t room = 16; room < 80; ++room) {
        const std::size_t largest = way.conversion.largest_source_bytes(room).value_or(0);
        for (std::size_t bytes = 0; bytes <= largest; ++bytes) {
          std::string payload(2 * bytes, '0');
          if (bytes > 8 && std::string(layout).find("[n]") != std::string::npos) {
            constexpr char kDigits[] = "0123456789abcdef";
            payload[16] = kDigits[(bytes - 9) / 16];
            payload[17] = kDigits[(bytes - 9) % 16];
          }
          EXPECT_EQ(way.run(payload, {room, nullptr, {}}).find("E2BIG"), std::string::npos)
              << layout << " to " << to << ", room " << room << ", " << bytes << " bytes";
        }
      }
    }
  }
}

// Composes pids as hosts do, and knows one login.
class TestRewriter final : public IdRewriter {
 public:
  Answer rewrite(Meaning meaning, std::int64_t value) override {
    asked += std::to_string(static_cast<int>(meaning)) + ":" + std::to_string(value) + " ";
    if (meaning == Meaning::kPid) return {Error::kNone, value > 0 ? value | (5LL << 22) : value};
    if (value == 1001) return {Error::kNone, 2001};
    return {Error::kInvalid, 0};
  }
  std::string asked;
};

TEST(Conversion, AsksTheRewriterForEachIdInTheOrderOfThePayload) {
  const std::string layout = "struct m { long mtype; int a; pid p; uid u; struct { gid g; pid q; } inner[2]; };";
  for (const char* to : {"s390x", "arm64"}) {
    const Way way(layout, "x86-64", to);
    TestRewriter rewriter;
    const std::string group = "e9030000 00000000";
    const std::string done = way.run("01000000 07000000 e9030000" + group + "e9030000 ffffffff", {1000, &rewriter, {}});
    EXPECT_EQ(done, std::string(to) == "arm64" ? "0100000007004001d1070000d107000000000000d1070000ffffffff"
                                               : "0000000101400007000007d1000007d100000000000007d1ffffffff");
    EXPECT_EQ(rewriter.asked, "1:7 2:1001 3:1001 1:0 3:1001 1:-1 ");
  }
}

TEST(Conversion, AnIdThatStandsForNothingIsNamed) {
  const Way way("struct m { long mtype; pid p; uid u; };", "x86-64", "");
  TestRewriter rewriter;
  EXPECT_EQ(way.run("07000000 05000000", {1000, &rewriter, {}}),
            "EINVAL: m.u is 5, which stands for nothing on the other side");
}

TEST(Conversion, AnIdThatNoLongerFitsItsFieldOverflows) {
  const Way way("struct m { long mtype; pid short p; };", "", "m68k");
  TestRewriter rewriter;
  EXPECT_EQ(way.run("0700000000000000"), "0007");
  EXPECT_EQ(way.run("0700000000000000", {1000, &rewriter, {}}),
            "EOVERFLOW: m.p is 7, which does not fit the field on the other side");
}

TEST(Conversion, AnUnsignedIdOfAllOnesComesBackAsItWas) {
  const std::string layout = "struct m { long mtype; uid u; };";
  EXPECT_EQ(Way(layout, "m68k", "").run("ffffffff"), "ffffffff00000000");
  EXPECT_EQ(Way(layout, "", "m68k").run("ffffffff00000000"), "ffffffff");
}

TEST(Conversion, AnUnsignedIdOf64BitsPassesWithItsHighestBit) {
  const Way out("struct m { long mtype; uid unsigned long u; };", "x86-64", "");
  TestRewriter rewriter;
  EXPECT_EQ(out.run("ffffffffffffffff"), "ffffffffffffffff");
  EXPECT_EQ(Way("struct m { long mtype; uid unsigned long u; };", "", "s390x").run("00000000000000f0"),
            "f000000000000000");
  EXPECT_EQ(
      Way("struct m { long mtype; pid unsigned long u; };", "", "s390x").run("fbffffffffffffff", {1000, &rewriter, {}}),
      "fffffffffffffffb");
  EXPECT_THAT(Way("struct m { long mtype; uid unsigned long u; };", "", "i386").run("ffffffffffffffff"),
              HasSubstr("EOVERFLOW: m.u is 18446744073709551615"));
}

TEST(Conversion, BetweenEqualMachinesIsACopy) {
  const Way way(kMessage, "x86-64", "arm64");
  EXPECT_TRUE(way.conversion.is_copy());
  const std::string payload = "0201aaaa06050403feffffffffffffff7abbbbbbbbbbbbbb";
  EXPECT_EQ(way.run(payload), payload) << "padding too";
  EXPECT_FALSE(Way(kMessage, "x86-64", "s390x").conversion.is_copy());
  EXPECT_FALSE(Way(kMessage, "x86-64", "i386").conversion.is_copy());
  EXPECT_TRUE(Way("struct m { long mtype; int a; short b[]; };", "x86-64", "x86-64").conversion.is_copy());
}

TEST(Conversion, AMessageCostsNoAllocation) {
  const Way way("struct p { char c; long l; }; struct m { long mtype; int n; double d; pid q; struct p tail[n]; };",
                "s390x", "i386");
  std::vector<std::byte> payload(24 + 2 * 16);
  payload[3] = std::byte{2};
  std::vector<std::byte> out(way.conversion.largest_result_bytes(payload.size()));
  const std::size_t before = allocations();
  const Converted good = way.conversion.convert({payload, {}}, out);
  payload[24 + 8] = std::byte{1};
  const Converted overflow = way.conversion.convert({payload, {}}, out);
  payload[3] = std::byte{9};
  const Converted refused = way.conversion.convert({payload, {}}, out);
  EXPECT_EQ(allocations(), before);
  EXPECT_GT(before, 0U);
  EXPECT_EQ(good.error, Error::kNone);
  EXPECT_EQ(overflow.error, Error::kOverflow);
  EXPECT_EQ(refused.error, Error::kInvalid);
}

TEST(Conversion, AResultThatNoMessageHasIsTooBig) {
  const Way out("struct m { long mtype; long values[]; };", "m68k", "");
  std::byte none{};
  // Nothing of these is touched: the lengths say it.
  const std::span<const std::byte> payload(&none, std::size_t{1} << 30U);
  const std::span<std::byte> room(&none, SIZE_MAX);
  const Converted done = out.conversion.convert({payload, {}}, room);
  EXPECT_EQ(done.error, Error::kTooBig);
  EXPECT_THAT(out.conversion.describe(done).what, HasSubstr("2147483648 bytes"));
  EXPECT_LE(out.conversion.largest_result_bytes(payload.size()), kPayloadBytesMax);
}

TEST(Conversion, ElementsTooLargeForAnyPayloadAreRefused) {
  const auto types = std::make_shared<const TypeSet>(parsed("struct m { long mtype; pid short t[][134217728]; };"));
  EXPECT_TRUE(Conversion::compile(types, Kind::kMessageQueue, 0, Form::canonical(), Way::form("m68k")).has_value());
  const TypeFile file{"a.types", "struct m { long mtype; pid short t[][536870912]; };"};
  const auto refused = parse_types({&file, 1});
  ASSERT_FALSE(refused.has_value());
  EXPECT_THAT(refused.error().front().what, HasSubstr("'t' has more than 1 GiB"));
}

TEST(Conversion, TheTypeOfAMessageCountsNothing) {
  const auto types = std::make_shared<const TypeSet>(parsed("struct s { long n; int v[n]; };"));
  const auto message = Conversion::compile(types, Kind::kMessageQueue, 0, Way::form("x86-64"), Form::canonical());
  ASSERT_FALSE(message.has_value());
  EXPECT_THAT(message.error().what, HasSubstr("n is its mtype"));
  const auto segment = Conversion::compile(types, Kind::kSegment, 0, Way::form("x86-64"), Form::canonical());
  ASSERT_TRUE(segment.has_value());
  const std::vector<std::byte> payload = {std::byte{1}, {}, {}, {}, {}, {}, {}, {}, std::byte{7}, {}, {}, {}};
  std::vector<std::byte> out(segment->largest_result_bytes(payload.size()));
  EXPECT_EQ(segment->convert({payload, {}}, out).bytes, 12U);
}

// What a struct is bound to says whether it is a message, not what it looks like.
TEST(Conversion, ASegmentKeepsTheLongThatItBeginsWith) {
  const auto types = std::make_shared<const TypeSet>(parsed("struct table { long version; int n; };"));
  const auto out = *Conversion::compile(types, Kind::kSegment, 0, Way::form("m68k"), Form::canonical());
  const std::vector<std::byte> page = {{}, {}, {}, std::byte{1}, {}, {}, {}, std::byte{2}};
  std::vector<std::byte> result(out.largest_result_bytes(page.size()));
  const Converted done = out.convert({page, {}}, result);
  ASSERT_EQ(done.error, Error::kNone) << out.describe(done).what;
  ASSERT_EQ(done.bytes, 12U);
  EXPECT_EQ(result[0], std::byte{1});
  EXPECT_EQ(result[8], std::byte{2});
}

TEST(Conversion, ThePayloadBeginsBehindATypeInANestedStruct) {
  const Way out("struct head { long mtype; short n; }; struct m { struct head head; int values[head.n]; };", "m68k",
                "x86-64");
  EXPECT_EQ(out.run("0001 00000005"),
            "0100000000000000"
            "05000000")
      << "the padding of head, too";
  EXPECT_EQ(out.run("0002 00000005"), "EINVAL: m.head.n is 2, but the payload has 1 of values");
}

TEST(Conversion, AMessageMayBeItsTypeAlone) {
  const Way way("struct m { long mtype; };", "m68k", "x86-64");
  EXPECT_EQ(way.run(""), "");
  EXPECT_THAT(way.run("00"), HasSubstr("EINVAL"));
}

}  // namespace
}  // namespace dipc::layout_test
