#include "daemon/pager/mapped_ranges.h"

#include <gtest/gtest.h>

namespace dipc {
namespace {

constexpr std::uint64_t kAt = 0x10000;

TEST(MappedRanges, WholeAttachmentIsOneRange) {
  const MappedRanges ranges(kAt, 400);
  EXPECT_EQ(ranges.offset_of(kAt), 0);
  EXPECT_EQ(ranges.offset_of(kAt + 399), 399);
  EXPECT_FALSE(ranges.offset_of(kAt - 1));
  EXPECT_FALSE(ranges.offset_of(kAt + 400));
  ASSERT_EQ(ranges.of(100, 1000).size(), 1);
  EXPECT_EQ(ranges.of(100, 1000)[0].address, kAt + 100);
  EXPECT_EQ(ranges.of(100, 1000)[0].length, 300);
}

TEST(MappedRanges, UnmappedMiddleLeavesBothEnds) {
  MappedRanges ranges(kAt, 400);
  ranges.unmap(kAt + 100, kAt + 200);
  EXPECT_EQ(ranges.all().size(), 2);
  EXPECT_EQ(ranges.offset_of(kAt + 99), 99);
  EXPECT_FALSE(ranges.offset_of(kAt + 100));
  EXPECT_EQ(ranges.offset_of(kAt + 200), 200);
  EXPECT_EQ(ranges.of(0, 400).size(), 2);
  EXPECT_TRUE(ranges.of(100, 100).empty());
  ranges.unmap(kAt - 50, kAt + 500);
  EXPECT_TRUE(ranges.empty());
}

TEST(MappedRanges, UnmappedElsewhereChangesNothing) {
  MappedRanges ranges(kAt, 400);
  ranges.unmap(kAt + 400, kAt + 800);
  ranges.unmap(kAt - 400, kAt);
  ASSERT_EQ(ranges.all().size(), 1);
  EXPECT_EQ(ranges.all()[0].length, 400);
}

TEST(MappedRanges, MovedPartIsFoundAtItsNewPlace) {
  MappedRanges ranges(kAt, 400);
  ranges.move(kAt + 100, 0x90000, 100);
  EXPECT_EQ(ranges.offset_of(0x90000), 100);
  EXPECT_EQ(ranges.offset_of(0x90063), 199);
  EXPECT_FALSE(ranges.offset_of(kAt + 100));
  EXPECT_EQ(ranges.offset_of(kAt + 200), 200);
}

}  // namespace
}  // namespace dipc
