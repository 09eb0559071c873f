#include "daemon/segment_label.h"

#include <gtest/gtest.h>

namespace dipc {
namespace {

SegmentLabel sample() {
  AttachReply shape{8192, 4096, 2'000'000};
  shape.declarations = "struct s { int n; };\nbind shm all to s;\n";
  shape.abi = *known_abi("m68k");
  return {"vax", {Kind::kSegment, 7, 0xfedcba9876543210}, shape};
}

TEST(SegmentLabel, IsReadAsItWasWritten) {
  const auto read = parse_label(format_label(sample()));
  ASSERT_TRUE(read);
  EXPECT_EQ(read->owner, "vax");
  EXPECT_EQ(read->segment, sample().segment);
  EXPECT_EQ(read->shape, sample().shape);
}

TEST(SegmentLabel, WhatAnotherVersionWroteIsNone) {
  const std::string good = format_label(sample());
  EXPECT_FALSE(parse_label(""));
  EXPECT_FALSE(parse_label(good.substr(0, good.find('\n'))));
  EXPECT_FALSE(parse_label(good.substr(0, good.find(" vax")) + "\n")) << "words are missing";
  SegmentLabel odd = sample();
  odd.shape.segment_bytes = 0;
  EXPECT_FALSE(parse_label(format_label(odd)));
  for (const std::uint32_t unit_bytes : {0u, 100u, 4097u}) {
    odd = sample();
    odd.shape.unit_bytes = unit_bytes;
    EXPECT_FALSE(parse_label(format_label(odd))) << unit_bytes;
  }
}

}  // namespace
}  // namespace dipc
