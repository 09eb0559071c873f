#include "tests/soak/footprint.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

namespace dipc::soak {
namespace {

constexpr Footprint kAllowed{1024, 1, 2};

FootprintSeries series_of(const std::vector<Footprint>& looks) {
  FootprintSeries series(kAllowed);
  for (const Footprint& look : looks) series.add(look);
  return series;
}

TEST(Footprint, FindsADescriptorLostInEveryRound) {
  FootprintSeries series(kAllowed);
  for (long i = 0; i < 20; ++i) series.add({4000, 3, 17 + i});
  EXPECT_EQ(series.growth(), "descriptors 22 -> 34");
}

TEST(Footprint, FindsMemoryThatGrowsUnderNoise) {
  FootprintSeries series(kAllowed);
  for (long i = 0; i < 30; ++i) series.add({4000 + 100 * i + (i % 3) * 90, 3, 17});
  EXPECT_NE(series.growth(), "");
}

TEST(Footprint, FindsThreadsThatStay) {
  EXPECT_NE(
      series_of({{9, 3, 9}, {9, 3, 9}, {9, 3, 9}, {9, 4, 9}, {9, 5, 9}, {9, 6, 9}, {9, 7, 9}, {9, 8, 9}}).growth(), "");
}

TEST(Footprint, APeakAndNoiseAreNoGrowth) {
  FootprintSeries series(kAllowed);
  for (long i = 0; i < 30; ++i)
    series.add({4000 + (i * 7919 % 13) * 300 + (i == 15 || i == 25 ? 90000 : 0), 3 + i % 2, 17 + i % 5});
  EXPECT_EQ(series.growth(), "");
}

TEST(Footprint, WhatGrowsAtTheBeginningAloneIsNoGrowth) {
  EXPECT_EQ(series_of({{100, 1, 5},
                       {3000, 3, 9},
                       {5000, 3, 17},
                       {5010, 3, 17},
                       {5020, 3, 17},
                       {5030, 3, 17},
                       {5040, 3, 17},
                       {5050, 3, 17},
                       {5060, 3, 17}})
                .growth(),
            "");
}

TEST(Footprint, TooFewLooksSayNothing) {
  const auto series = series_of({{1, 1, 1}, {1, 1, 1}, {1, 1, 1}, {90000, 90, 90}});
  EXPECT_FALSE(series.can_be_judged());
  EXPECT_EQ(series.growth(), "");
}

TEST(Footprint, IsThatOfTheProcess) {
  const auto before = footprint_of(::getpid());
  ASSERT_TRUE(before);
  const int fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  const std::vector<char> memory(std::size_t{8} << 20, 'x');
  const auto after = footprint_of(::getpid());
  ::close(fd);
  ASSERT_TRUE(after);
  EXPECT_EQ(after->descriptors, before->descriptors + 1);
  EXPECT_GT(after->memory_kib, before->memory_kib + 7 * 1024) << memory[1];
  EXPECT_GE(after->threads, 1);
  EXPECT_FALSE(footprint_of(-1));
}

}  // namespace
}  // namespace dipc::soak
