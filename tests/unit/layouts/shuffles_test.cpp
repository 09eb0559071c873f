#include "layouts/shuffles.h"

#include <gtest/gtest.h>

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

std::vector<std::byte> counted_bytes(std::size_t count) {
  std::vector<std::byte> bytes(count);
  for (std::size_t i = 0; i < count; ++i) bytes[i] = static_cast<std::byte>(i + 1);
  return bytes;
}

// What both ways give, each in a buffer of exactly its size.
void expect_same(const std::vector<Step>& steps, std::uint32_t source_bytes, std::uint32_t target_bytes) {
  const auto source = counted_bytes(source_bytes);
  std::vector<std::byte> plain(target_bytes, std::byte{0xaa});
  std::vector<std::byte> shuffled(target_bytes, std::byte{0xbb});
  StepFailure failure;
  const Program program = with_shuffles(steps, source_bytes, target_bytes);
  run_steps(steps.data(), steps.data() + steps.size(), source.data(), plain.data(), nullptr, failure);
  run_shuffles(program.shuffles, source.data(), shuffled.data());
  run_steps(program.steps.data(), program.steps.data() + program.steps.size(), source.data(), shuffled.data(), nullptr,
            failure);
  EXPECT_EQ(plain, shuffled);
}

TEST(Shuffles, TakeTheFieldsThatOnlyMove) {
  if (!can_shuffle()) GTEST_SKIP() << "this processor has no byte shuffles";
  const std::vector<Step> steps = {step(StepCode::kSwap2, 1, 0, 0),   step(StepCode::kZero, 6, 0, 2),
                                   step(StepCode::kSwap8, 1, 2, 8),   step(StepCode::kCopy, 7, 10, 16),
                                   step(StepCode::kZero, 1, 0, 23),   step(StepCode::kSwap4Run, 3, 17, 24),
                                   step(StepCode::kCopy1, 1, 29, 36), step(StepCode::kZero, 3, 0, 37)};
  const Program program = with_shuffles(steps, 30, 40);
  EXPECT_TRUE(program.steps.empty());
  EXPECT_FALSE(program.shuffles.empty());
  expect_same(steps, 30, 40);
}

TEST(Shuffles, LeaveNumbersThatChangeTheirWidthAndLongRuns) {
  if (!can_shuffle()) GTEST_SKIP() << "this processor has no byte shuffles";
  Step narrow = step(StepCode::kResize, 1, 4, 4);
  narrow.from.bytes = 4;
  narrow.to.bytes = 8;
  const std::vector<Step> steps = {step(StepCode::kSwap4, 1, 0, 0),     narrow,
                                   step(StepCode::kSwap4, 1, 8, 12),    step(StepCode::kSwap4Run, 100, 12, 16),
                                   step(StepCode::kSwap2, 1, 412, 416), step(StepCode::kSwap2, 1, 414, 418)};
  const Program program = with_shuffles(steps, 416, 420);
  ASSERT_EQ(program.steps.size(), 2U);
  EXPECT_EQ(program.steps[0].code, StepCode::kResize);
  EXPECT_EQ(program.steps[1].code, StepCode::kSwap4Run);
  expect_same(steps, 416, 420);
}

TEST(Shuffles, DoLoopsOfSmallStructs) {
  Step loop = step(StepCode::kLoop, 5, 3, 4);
  loop.body = 3;
  loop.source_stride = 10;
  loop.target_stride = 16;
  const std::vector<Step> steps = {
      step(StepCode::kCopy, 3, 0, 0),  step(StepCode::kZero, 1, 0, 3), loop,
      step(StepCode::kSwap2, 1, 0, 0), step(StepCode::kZero, 6, 0, 2), step(StepCode::kSwap8, 1, 2, 8)};
  expect_same(steps, 53, 84);
}

TEST(Shuffles, StructsBelowABlockStayWithTheSteps) {
  const std::vector<Step> steps = {step(StepCode::kSwap4, 1, 0, 0), step(StepCode::kSwap4, 1, 4, 4)};
  EXPECT_EQ(with_shuffles(steps, 8, 8).steps.size(), 2U);
  expect_same(steps, 8, 8);
}

}  // namespace
}  // namespace dipc
