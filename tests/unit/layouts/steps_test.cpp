#include "layouts/steps.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <vector>

namespace dipc {
namespace {

Step step(StepCode code, std::uint32_t count, std::uint32_t source, std::uint32_t target) {
  Step made;
  made.code = code;
  made.count = count;
  made.source = source;
  made.target = target;
  return made;
}

std::vector<std::byte> bytes(std::initializer_list<int> values) {
  std::vector<std::byte> made;
  for (const int value : values) made.push_back(static_cast<std::byte>(value));
  return made;
}

// What steps make of a source; the rest of the target stays 0xaa.
std::vector<std::byte> result(const std::vector<Step>& steps, const std::vector<std::byte>& source,
                              std::size_t target_bytes) {
  std::vector<std::byte> target(target_bytes, std::byte{0xaa});
  StepFailure failure;
  EXPECT_TRUE(run_steps(steps.data(), steps.data() + steps.size(), source.data(), target.data(), nullptr, failure));
  return target;
}

TEST(Steps, NeighboursOfOneKindBecomeARun) {
  std::vector<Step> steps;
  append_step(steps, 0, step(StepCode::kSwap4, 1, 0, 8));
  append_step(steps, 0, step(StepCode::kSwap4, 1, 4, 12));
  append_step(steps, 0, step(StepCode::kSwap4Run, 3, 8, 16));
  ASSERT_EQ(steps.size(), 1U);
  EXPECT_EQ(steps[0].code, StepCode::kSwap4Run);
  EXPECT_EQ(steps[0].count, 5U);
  append_step(steps, 0, step(StepCode::kSwap4, 1, 24, 28));
  EXPECT_EQ(steps.size(), 2U) << "its source does not follow";
  append_step(steps, 2, step(StepCode::kSwap4, 1, 28, 32));
  EXPECT_EQ(steps.size(), 3U) << "a loop's body is nobody's neighbour";
}

TEST(Steps, ScalarsOfDifferentWidthAreCopiedTogether) {
  std::vector<Step> steps;
  append_step(steps, 0, step(StepCode::kCopy1, 1, 0, 0));
  append_step(steps, 0, step(StepCode::kCopy8, 1, 1, 1));
  ASSERT_EQ(steps.size(), 1U);
  EXPECT_EQ(steps[0].code, StepCode::kCopy);
  EXPECT_EQ(steps[0].count, 9U);
}

TEST(Steps, EachDoesWhatItIsCalled) {
  const auto source = bytes({1, 2, 3, 4, 5, 6, 7, 8, 9, 10});
  EXPECT_EQ(result({step(StepCode::kCopy2, 1, 1, 0)}, source, 3), bytes({2, 3, 0xaa}));
  EXPECT_EQ(result({step(StepCode::kSwap2, 1, 0, 1)}, source, 3), bytes({0xaa, 2, 1}));
  EXPECT_EQ(result({step(StepCode::kSwap2Run, 5, 0, 0)}, source, 10), bytes({2, 1, 4, 3, 6, 5, 8, 7, 10, 9}));
  EXPECT_EQ(result({step(StepCode::kSwap8, 1, 1, 0)}, source, 8), bytes({9, 8, 7, 6, 5, 4, 3, 2}));
  for (std::uint32_t count = 0; count < 20; ++count) {
    std::vector<std::byte> expected(20, std::byte{0xaa});
    std::fill_n(expected.begin(), count, std::byte{0});
    EXPECT_EQ(result({step(StepCode::kZero, count, 0, 0)}, source, 20), expected);
  }
}

TEST(Steps, CopiesOfEveryLengthAreWhole) {
  std::vector<std::byte> source(80);
  for (std::size_t i = 0; i < source.size(); ++i) source[i] = static_cast<std::byte>(i);
  for (std::uint32_t count = 0; count <= 80; ++count) {
    std::vector<std::byte> expected(81, std::byte{0xaa});
    std::copy_n(source.begin(), count, expected.begin());
    EXPECT_EQ(result({step(StepCode::kCopy, count, 0, 0)}, source, 81), expected);
  }
}

TEST(Steps, ALoopRunsItsBodyForEachElement) {
  Step loop = step(StepCode::kLoop, 3, 1, 0);
  loop.body = 1;
  loop.source_stride = 3;
  loop.target_stride = 4;
  const std::vector<Step> steps = {loop, step(StepCode::kSwap2, 1, 0, 2), step(StepCode::kCopy1, 1, 0, 0)};
  EXPECT_EQ(result(steps, bytes({1, 2, 3, 4, 5, 6, 7, 8, 9}), 12),
            bytes({1, 0xaa, 3, 2, 0xaa, 0xaa, 6, 5, 0xaa, 0xaa, 9, 8}));
}

TEST(Steps, NumbersOfEveryWidthAreReadWithTheirSign) {
  const auto ones = bytes({0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff});
  for (const std::uint8_t width : std::initializer_list<std::uint8_t>{1, 2, 4, 8}) {
    EXPECT_EQ(load_number(ones.data(), {width, false}, true), UINT64_MAX);
    EXPECT_EQ(load_number(ones.data(), {width, true}, false), UINT64_MAX >> (64U - 8U * width));
  }
  const std::uint16_t plain = load_number(bytes({1, 2}).data(), {2, false}, false) == 0x0102 ? 0x0201 : 0x0102;
  EXPECT_EQ(load_number(bytes({1, 2}).data(), {2, true}, false), plain);
}

class Doubling final : public IdRewriter {
 public:
  Answer rewrite(Meaning meaning, std::int64_t value) override {
    EXPECT_EQ(meaning, Meaning::kUid);
    return {value == 3 ? Error::kInvalid : Error::kNone, 2 * value};
  }
};

TEST(Steps, ANumberThatIsRefusedIsPointedAt) {
  Step rewrite = step(StepCode::kRewrite, 3, 0, 0);
  rewrite.meaning = Meaning::kUid;
  rewrite.from = rewrite.to = {2, false};
  const auto run = [&rewrite](std::vector<std::uint16_t> ids, StepFailure& failure) {
    Doubling rewriter;
    std::vector<std::byte> source(2 * ids.size()), target(2 * ids.size());
    std::memcpy(source.data(), ids.data(), source.size());
    const bool good = run_steps(&rewrite, &rewrite + 1, source.data(), target.data(), &rewriter, failure);
    EXPECT_TRUE(good || load_number(failure.at, {2, false}, false) == failure.value);
    std::memcpy(ids.data(), target.data(), target.size());
    return good ? ids : std::vector<std::uint16_t>{};
  };
  StepFailure failure;
  EXPECT_EQ(run({1, 2, 4}, failure), (std::vector<std::uint16_t>{2, 4, 8}));
  EXPECT_TRUE(run({1, 3, 4}, failure).empty());
  EXPECT_EQ(failure.error, Error::kInvalid);
  EXPECT_EQ(failure.value, 3U);
  EXPECT_TRUE(run({1, 2, 40000}, failure).empty());
  EXPECT_EQ(failure.error, Error::kOverflow);
  EXPECT_EQ(failure.value, 40000U) << "what the field holds, not what it would become";
}

}  // namespace
}  // namespace dipc
