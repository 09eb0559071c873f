#include "layouts/page_swaps.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <map>

#include "tests/unit/layouts/allocations.h"
#include "tests/unit/layouts/random_layout.h"

namespace dipc::layout_test {
namespace {

Shapes shapes_on(const char* machine, const TypeSet& types) {
  return Shapes(types, *Form::native(*known_abi(machine)));
}

// A struct of one field and more, declared last, in a segment.
struct Subject {
  Subject(const std::string& text, const char* machine, std::uint64_t segment_bytes, std::uint64_t unit_bytes)
      : types(parsed(text)),
        shapes(shapes_on(machine, types)),
        swaps(types, types.structs.size() - 1, shapes, segment_bytes, unit_bytes) {}
  std::string straddler() const {
    const auto at = swaps.straddler();
    return at ? path_at(types, types.structs.size() - 1, shapes, *at) : "";
  }
  TypeSet types;
  Shapes shapes;
  PageSwaps swaps;
};

std::vector<std::byte> counted_up(std::size_t bytes) {
  std::vector<std::byte> all(bytes);
  for (std::size_t i = 0; i < bytes; ++i) all[i] = static_cast<std::byte>(i);
  return all;
}

// "0 1 3 2 ..." of what counted_up() became.
std::string turned(const PageSwaps& swaps, std::size_t bytes, std::uint64_t page = 0) {
  auto contents = counted_up(bytes);
  swaps.run(page, contents);
  std::string text;
  for (const std::byte one : contents) text += (text.empty() ? "" : " ") + std::to_string(std::to_integer<int>(one));
  return text;
}

TEST(PageSwaps, EveryScalarIsTurnedRoundInItsPlaceAndNothingElse) {
  const Subject plain("struct s { char c; short s; int i; bool b; char text[3]; float f; double d; };", "x86-64", 32,
                      32);
  EXPECT_EQ(turned(plain.swaps, 32),
            "0 1 3 2 7 6 5 4 8 9 10 11 15 14 13 12 23 22 21 20 19 18 17 16 24 25 26 27 28 29 30 31");
  const Subject wide("struct s { int64_t a aligned(8); uint16_t b[2]; time_t t; };", "m68k", 16, 16);
  EXPECT_EQ(turned(wide.swaps, 16), "7 6 5 4 3 2 1 0 9 8 11 10 15 14 13 12");
}

TEST(PageSwaps, PaddingStays) {
  const Subject padded("struct s { char c; int i; char end; };", "x86-64", 12, 16);
  EXPECT_EQ(turned(padded.swaps, 16), "0 1 2 3 7 6 5 4 8 9 10 11 12 13 14 15");
}

TEST(PageSwaps, ArraysOfStructsInStructsAreDoneByElement) {
  const Subject nested(
      "struct p { char c; short s; }; struct q { struct p p[2]; char end; }; struct s { struct q q[2]; };", "x86-64",
      20, 24);
  EXPECT_EQ(turned(nested.swaps, 24), "0 1 3 2 4 5 7 6 8 9 10 11 13 12 14 15 17 16 18 19 20 21 22 23");
}

TEST(PageSwaps, AnOpenArrayFillsTheRestOfTheSegmentUpToItsEnd) {
  const Subject open("struct s { short n; short rest[]; };", "x86-64", 7, 8);
  EXPECT_EQ(turned(open.swaps, 8), "1 0 3 2 5 4 6 7") << "the last one is cut off by the segment's end";
  const Subject only("struct s { int first; int all[]; };", "x86-64", 64, 8);
  EXPECT_EQ(turned(only.swaps, 8, 7), "3 2 1 0 7 6 5 4");
  EXPECT_EQ(turned(only.swaps, 8, 8), "0 1 2 3 4 5 6 7") << "no page of this segment";
}

TEST(PageSwaps, WhatIsBehindTheStructStays) {
  const Subject small("struct s { short a; };", "x86-64", 4096, 8);
  EXPECT_EQ(turned(small.swaps, 8), "1 0 2 3 4 5 6 7");
  EXPECT_EQ(turned(small.swaps, 8, 1), "0 1 2 3 4 5 6 7");
}

TEST(PageSwaps, TextNeedsNothing) {
  EXPECT_TRUE(Subject("struct s { char text[80]; bool b; };", "m68k", 4096, 4096).swaps.empty());
  EXPECT_TRUE(
      Subject("struct r { char c; int8_t i; }; struct s { char c; struct r r[]; };", "m68k", 4096, 4096).swaps.empty());
  EXPECT_FALSE(Subject("struct s { char c; short n; };", "m68k", 4096, 4096).swaps.empty());
}

TEST(PageSwaps, AScalarInTwoPagesIsNamed) {
  const auto straddler = [](const std::string& text, std::uint64_t segment_bytes) {
    return Subject(text, "m68k", segment_bytes, 16).straddler();
  };
  EXPECT_EQ(straddler("struct s { short a; double d; int i; int j; };", 18), "j");
  EXPECT_EQ(straddler("struct s { short a; double d; int i; int j; };", 16), "") << "the segment ends in it";
  EXPECT_EQ(straddler("struct s { double d; int i; int j; };", 4096), "");
  EXPECT_EQ(straddler("struct r { char c; int n; } packed; struct s { char c; struct r rows[]; };", 4096), "rows[9].n");
  EXPECT_EQ(straddler("struct r { char text[3]; short n; } packed; struct s { char c; struct r rows[]; };", 4096),
            "rows[15].n");
  EXPECT_EQ(straddler("struct r { char text[3]; short n; } packed; struct s { char c; struct r rows[]; };", 64), "")
      << "the first one would be in a later page";
  EXPECT_EQ(straddler("struct r { char text[6]; int n; } packed; struct s { short a[3]; struct r rows[]; };", 4096),
            "rows[5].n");
}

TEST(PageSwaps, ThoseInTwoPagesAreFoundInLargeSegmentsWithoutLookingAtAllOfThem) {
  // 16 TiB.
  constexpr std::uint64_t kBytes = std::uint64_t{1} << 44U;
  const std::string row = "struct r { char text[11]; short n; } packed; struct s { char c; ";
  EXPECT_NE(Subject(row + "struct r rows[]; };", "m68k", kBytes, 4096).straddler(), "");
  EXPECT_EQ(Subject("struct s { char c; char text[]; };", "m68k", kBytes, 4096).straddler(), "");
  EXPECT_EQ(
      Subject("struct r { short a; short b; short c; }; struct s { short n; struct r rows[]; };", "m68k", kBytes, 4096)
          .straddler(),
      "");
  EXPECT_EQ(Subject("struct r { char text[9]; char c; short n; } packed; struct s { short n; struct r rows[]; };",
                    "m68k", kBytes, 4096)
                .straddler(),
            "");
  // Each table lies otherwise in its pages than the 1023 before, and has as many pages as there is room for in a
  // struct.
  const auto tables = [](const char* gap) {
    return std::string("struct cell { char head; short n; char tail; } packed; ") +
           "struct row { struct cell cells[4097]; }; struct half { struct row rows[31999]; char gap[4]; }; "
           "struct table { struct half half[2]; char gap[" +
           gap + "]; }; struct s { int n; struct table tables[]; };";
  };
  EXPECT_EQ(Subject(tables("4"), "m68k", kBytes, 4096).straddler(), "");
  EXPECT_EQ(Subject(tables("2"), "m68k", kBytes, 4096).straddler(), "tables[1].half[0].rows[0].cells[510].n");
}

TEST(PageSwaps, RunningAllocatesNothing) {
  const Subject table("struct r { int64_t a aligned(8); char c; short s[3]; }; struct s { int n; struct r rows[]; };",
                      "m68k", 1u << 20U, 4096);
  std::vector<std::byte> page(4096);
  const std::size_t before = allocations();
  for (std::uint64_t i = 0; i < 256; ++i) table.swaps.run(i, page);
  EXPECT_EQ(allocations(), before);
}

// Random structs, on random machines, in segments and pages of random sizes: the scalars that places() has, one by one.
// DIPC_SEED=N repeats the run that failed.
void check(std::uint64_t seed) {
  SCOPED_TRACE("DIPC_SEED=" + std::to_string(seed));
  sim::Random random(seed);
  const TypeSet types = parsed(random_layout(random, "s", false).declaration);
  const std::size_t structure = types.structs.size() - 1;
  const Shapes shapes = shapes_on(random.pick(std::vector<const char*>{"x86-64", "i386", "m68k", "s390x"}), types);
  const std::uint64_t unit = random.between(1, 16) * 8;
  const std::uint64_t most = random.chance(50) ? 64 : random.chance(90) ? 1000 : 30'000;
  const std::uint64_t bytes = random.between(1, most);
  const PageSwaps swaps(types, structure, shapes, bytes, unit);

  std::uint64_t elements = 0;
  if (types.structs[structure].is_open() && shapes[structure].fields.back().offset < bytes) {
    elements = bytes - shapes[structure].fields.back().offset;  // more than there is room for
  }
  const std::uint64_t pages = (bytes + unit - 1) / unit;
  std::vector<std::byte> expected(static_cast<std::size_t>(pages * unit));
  for (std::byte& one : expected) one = static_cast<std::byte>(random.below(256));
  std::vector<std::byte> contents = expected;
  std::optional<std::uint64_t> straddler;
  for (const Place& place : places(types, structure, shapes, elements)) {
    const std::uint64_t end = place.offset + shapes.form().shape(place.scalar).size_bytes;
    if (end > bytes) continue;
    if (place.offset / unit != (end - 1) / unit) {
      if (!straddler) straddler = place.offset;
      continue;
    }
    std::reverse(expected.begin() + static_cast<std::ptrdiff_t>(place.offset),
                 expected.begin() + static_cast<std::ptrdiff_t>(end));
  }
  EXPECT_EQ(swaps.straddler(), straddler);
  const std::vector<std::byte> before = contents;
  const auto run_all = [&] {
    for (std::uint64_t page = pages; page-- > 0;) {
      swaps.run(page,
                std::span(contents).subspan(static_cast<std::size_t>(page * unit), static_cast<std::size_t>(unit)));
    }
  };
  run_all();
  EXPECT_EQ(contents, expected);
  run_all();
  EXPECT_EQ(contents, before) << "and back";
}

TEST(PageSwaps, RandomStructsAreTurnedRoundScalarByScalar) {
  if (const char* seed = std::getenv("DIPC_SEED")) return check(std::strtoull(seed, nullptr, 10));
  for (std::uint64_t seed = 1; seed <= SEEDS && !HasFailure(); ++seed) check(seed);
}

}  // namespace
}  // namespace dipc::layout_test
