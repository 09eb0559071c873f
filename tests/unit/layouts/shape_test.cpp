#include "layouts/shape.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/layouts/random_layout.h"

namespace dipc::layout_test {
namespace {

using testing::HasSubstr;

Shapes shapes(const TypeSet& types, std::string_view machine) {
  return Shapes(types, *Form::native(*known_abi(machine)));
}

TEST(Shapes, AreThoseOfTheCompilerThatBuiltThisTest) {
  struct Inner {
    char c;
    long long wide;
  };
  struct Outer {
    short s;
    Inner inner[2];
    double d;
    char tail;
  };
  const TypeSet types = parsed(
      "struct inner { char c; long long wide; }; struct outer { short s; struct inner inner[2]; double d; char tail; "
      "};");
  const Shapes here(types, *Form::native(measured_abi()));
  const StructShape& outer = here[*types.find("outer")];
  EXPECT_EQ(outer.fields[1].offset, offsetof(Outer, inner));
  EXPECT_EQ(outer.fields[2].offset, offsetof(Outer, d));
  EXPECT_EQ(outer.size, sizeof(Outer));
  EXPECT_EQ(outer.align, alignof(Outer));
}

TEST(Shapes, FollowPackedAndAligned) {
  const TypeSet types = parsed(R"(
    struct packed_one { char c; int i; short s; } packed;
    struct aligned_one { char c; int i aligned(16); char e; } aligned(32);
    struct both { char c; int i __attribute__((packed, aligned(2))); };
    struct inside { char c; struct aligned_one a; } packed;
  )");
  const Shapes x86 = shapes(types, "x86-64");
  EXPECT_EQ(x86[0].fields[1].offset, 1U);
  EXPECT_EQ(x86[0].size, 7U);
  EXPECT_EQ(x86[1].fields[1].offset, 16U);
  EXPECT_EQ(x86[1].size, 32U);
  EXPECT_EQ(x86[2].fields[1].offset, 2U);
  EXPECT_EQ(x86[2].size, 6U);
  EXPECT_EQ(x86[3].fields[1].offset, 1U);
  EXPECT_EQ(x86[3].size, 33U);
}

TEST(Shapes, TimeHasTheBitsThatTheProgramWasBuiltWith) {
  const TypeSet types = parsed("struct s { char c; time_t t; };");
  const Abi i386 = *known_abi("i386");
  EXPECT_EQ(Shapes(types, *Form::native(i386))[0].size, 8U);
  EXPECT_EQ(Shapes(types, *Form::native(with_time_bits(i386, 64)))[0].size, 12U);
}

TEST(Shapes, CanonicalFormIsPackedWithFixedWidths) {
  const TypeSet types = parsed("struct s { char c; long l; short s aligned(8); pid p; size_t n; int i; } aligned(16);");
  const Shapes canonical(types, Form::canonical());
  EXPECT_EQ(canonical[0].size, 1U + 8 + 2 + 8 + 8 + 4);
  EXPECT_EQ(canonical[0].fields[2].offset, 9U);
}

TEST(Shapes, AnAbiThatNoCompilerHasIsRefused) {
  Abi abi = *known_abi("i386");
  abi[CType::kLong].size_bytes = 5;
  EXPECT_THAT(Form::native(abi).error().what, HasSubstr("long has 5 bytes"));
  abi = *known_abi("i386");
  abi[CType::kDouble].align_bytes = 3;
  EXPECT_THAT(Form::native(abi).error().what, HasSubstr("double"));
  abi = *known_abi("i386");
  abi.byte_order = static_cast<ByteOrder>(7);
  EXPECT_FALSE(Form::native(abi).has_value());
}

TEST(Shapes, TheFirstFieldThatDiffersIsNamed) {
  const TypeSet types = parsed(R"(
    struct pair { short a; int b; };
    struct table { int n; struct pair pairs[4]; };
    struct longs { int n; long l; };
    struct ends { int n; char c; };
    struct alike { int n; int m[8]; double d aligned(8); char c[8]; };
  )");
  const Shapes x86 = shapes(types, "x86-64");
  const Shapes m68k = shapes(types, "m68k");
  const auto table = first_difference(types, 1, x86, m68k);
  ASSERT_TRUE(table.has_value());
  EXPECT_EQ(table->path, "pairs.b");
  EXPECT_EQ(table->offset_a, 8U);
  EXPECT_EQ(table->offset_b, 6U);
  const auto longs = first_difference(types, 2, x86, shapes(types, "i386"));
  ASSERT_TRUE(longs.has_value());
  EXPECT_EQ(longs->path, "l");
  const auto ends = first_difference(types, 3, x86, m68k);
  ASSERT_TRUE(ends.has_value());
  EXPECT_EQ(ends->path, "");
  EXPECT_EQ(ends->bytes_a, 8U);
  EXPECT_EQ(ends->bytes_b, 6U);
  EXPECT_FALSE(first_difference(types, 4, x86, m68k).has_value());
  EXPECT_FALSE(first_difference(types, 4, x86, shapes(types, "s390x")).has_value());
}

TEST(Shapes, PathsNameTheNumberThatHasAByte) {
  const TypeSet types =
      parsed("struct pair { short a; int b; }; struct s { char n; struct pair grid[2][3]; int tail[]; };");
  const Shapes x86 = shapes(types, "x86-64");
  EXPECT_EQ(path_at(types, 1, x86, 0), "n");
  EXPECT_EQ(path_at(types, 1, x86, 2), "n");  // padding behind it
  EXPECT_EQ(path_at(types, 1, x86, 4), "grid[0][0].a");
  EXPECT_EQ(path_at(types, 1, x86, 4 + 4 * 8 + 5), "grid[1][1].b");
  EXPECT_EQ(path_at(types, 1, x86, 4 + 6 * 8 + 9), "tail[2]");
}

TEST(Shapes, TablesHaveALineForEachFieldWithThePaddingAfterIt) {
  const TypeSet types = parsed("struct pair { short a; int b; }; struct s { char n; struct pair p[2]; short end; };");
  const auto rows = placed_fields(types, 1, shapes(types, "x86-64"));
  ASSERT_EQ(rows.size(), 5U);
  EXPECT_EQ(rows[0].padding, 3U);
  EXPECT_EQ(rows[2].path, "p[0].a");
  EXPECT_EQ(rows[2].depth, 1U);
  EXPECT_EQ(rows[2].padding, 2U);
  EXPECT_EQ(rows[4].offset, 20U);
  EXPECT_EQ(rows[4].padding, 2U);
}

}  // namespace
}  // namespace dipc::layout_test
