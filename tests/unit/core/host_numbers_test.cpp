#include "daemon/core/host_numbers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/core/id_passage.h"

namespace dipc {
namespace {

TEST(HostNumbers, AHostKeepsTheOneThatItWasGiven) {
  HostNumbers numbers;
  EXPECT_EQ(numbers.give("sun", 0), 1);
  EXPECT_EQ(numbers.give("vax", 0), 2);
  EXPECT_EQ(numbers.give("sun", 0), 1);
  EXPECT_EQ(numbers.give("sun", 7), 1) << "what it says counts only where nothing is known of it";
  EXPECT_TRUE(numbers.knows("sun"));
  EXPECT_FALSE(numbers.knows("moon"));
}

TEST(HostNumbers, ARefereeThatLostItsTableLearnsThemAgain) {
  HostNumbers numbers;
  EXPECT_EQ(numbers.give("sun", 7), 7);
  EXPECT_EQ(numbers.give("vax", 7), 1) << "another has it";
  EXPECT_EQ(numbers.give("moon", 512), 2) << "no such number";
  EXPECT_EQ(HostNumbers(numbers.table()).give("sun", 0), 7);
}

TEST(HostNumbers, ThereAre511) {
  HostNumbers numbers;
  for (int i = 1; i <= kHostNumberMax; ++i) EXPECT_EQ(numbers.give("host" + std::to_string(i), 0), i);
  EXPECT_EQ(numbers.give("one more", 0), 0);
  EXPECT_FALSE(numbers.knows("one more"));
}

}  // namespace
}  // namespace dipc
