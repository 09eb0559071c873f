#include "layouts/step_writer.h"

#include <gtest/gtest.h>

#include "tests/unit/layouts/random_layout.h"

namespace dipc::layout_test {
namespace {

std::vector<Step> payload_steps(const TypeSet& types, const char* from, const char* to, bool is_message) {
  const Shapes source(types, *Form::native(*known_abi(from)));
  const Shapes target(types, *Form::native(*known_abi(to)));
  const std::size_t last = types.structs.size() - 1;
  StepWriter writer(types, source, target, false);
  writer.payload(last, is_message ? std::optional<Scalar>(*types.mtype_of(last)) : std::nullopt);
  return writer.take();
}

TEST(StepWriter, APayloadBeginsBehindTheTypeOfAMessage) {
  const TypeSet types = parsed("struct m { long mtype; int a; int b[3]; };");
  const auto message = payload_steps(types, "m68k", "i386", true);
  ASSERT_EQ(message.size(), 1U) << "all of them turned round are one run";
  EXPECT_EQ(message[0].code, StepCode::kSwap4Run);
  EXPECT_EQ(message[0].count, 4U);
  EXPECT_EQ(message[0].source, 0U);
  EXPECT_EQ(message[0].target, 0U);
  EXPECT_EQ(payload_steps(types, "m68k", "i386", false)[0].count, 5U);
}

TEST(StepWriter, PaddingOfTheTargetIsZeroed) {
  const auto steps = payload_steps(parsed("struct s { char c; double d; };"), "m68k", "x86-64", false);
  ASSERT_EQ(steps.size(), 3U);
  EXPECT_EQ(steps[1].code, StepCode::kZero);
  EXPECT_EQ(steps[1].target, 1U);
  EXPECT_EQ(steps[1].count, 7U);
}

TEST(StepWriter, ArraysOfStructsThatAreOneRunNeedNoLoop) {
  const TypeSet plain = parsed("struct p { int x; int y; }; struct s { struct p p[5]; };");
  const auto run = payload_steps(plain, "m68k", "i386", false);
  ASSERT_EQ(run.size(), 1U);
  EXPECT_EQ(run[0].count, 10U);
  const TypeSet padded = parsed("struct p { int x; char y; }; struct s { struct p p[5]; };");
  EXPECT_EQ(payload_steps(padded, "m68k", "i386", false).front().code, StepCode::kLoop);
}

TEST(StepWriter, OnlyWhatLeavesNoGapDoesAllElements) {
  Step swap;
  swap.code = StepCode::kSwap4;
  ASSERT_TRUE(one_for_all({swap}, 4, 4).has_value());
  EXPECT_EQ(one_for_all({swap}, 4, 4)->code, StepCode::kSwap4Run);
  EXPECT_FALSE(one_for_all({swap}, 8, 8).has_value());
  EXPECT_FALSE(one_for_all({swap, swap}, 8, 8).has_value());
  EXPECT_FALSE(one_for_all({}, 4, 4).has_value());
  swap.source = 4;
  EXPECT_FALSE(one_for_all({swap}, 4, 4).has_value());
}

}  // namespace
}  // namespace dipc::layout_test
