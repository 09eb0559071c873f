#include "layouts/declarations.h"

#include <gtest/gtest.h>

namespace dipc {
namespace {

TEST(Declarations, NamesOfScalars) {
  EXPECT_EQ(scalar_named({"int32_t"}), (Scalar{ScalarKind::kInt, true}));
  EXPECT_EQ(scalar_named({"long", "unsigned", "int"}), (Scalar{ScalarKind::kLong, false}));
  EXPECT_EQ(scalar_named({"pid"}), (Scalar{ScalarKind::kInt, true, Meaning::kPid}));
  EXPECT_EQ(scalar_named({"char"}), (Scalar{ScalarKind::kByte, true}));
  for (const std::vector<std::string_view>& none : std::vector<std::vector<std::string_view>>{{},
                                                                                              {"strange"},
                                                                                              {"long", "long", "long"},
                                                                                              {"short", "long"},
                                                                                              {"char", "int"},
                                                                                              {"unsigned", "signed"},
                                                                                              {"unsigned", "int32_t"},
                                                                                              {"long", "double"}}) {
    EXPECT_FALSE(scalar_named(none).has_value());
  }
}

TEST(Declarations, AnArraysElementsAreAllOfItsDimensions) {
  Field field;
  EXPECT_EQ(field.elements(), 1U);
  field.dimensions = {65536, 65536, 2};
  EXPECT_EQ(field.elements(), std::uint64_t{1} << 33U);
}

TEST(Declarations, TheCaseOfAMessageTypeIsTheOneThatHasIt) {
  Binding binding;
  binding.cases = {{1, 1, 10}, {3, 5, 11}, {9, INT64_MAX, 12}};
  EXPECT_EQ(binding.structure_for(1), 10U);
  EXPECT_EQ(binding.structure_for(2), std::nullopt);
  EXPECT_EQ(binding.structure_for(3), 11U);
  EXPECT_EQ(binding.structure_for(5), 11U);
  EXPECT_EQ(binding.structure_for(6), std::nullopt);
  EXPECT_EQ(binding.structure_for(INT64_MAX), 12U);
  EXPECT_EQ(binding.structure_for(0), std::nullopt);
  binding.otherwise = 13;
  EXPECT_EQ(binding.structure_for(2), 13U);
  EXPECT_TRUE(binding.has(11));
  EXPECT_TRUE(binding.has(13));
  EXPECT_FALSE(binding.has(14));
}

TEST(Declarations, ARangeOfKeysComesBeforeAllAndPrivateIsAlone) {
  using Which = Binding::Keys::Which;
  TypeSet types;
  const auto bind = [&types](Kind kind, const Binding::Keys& keys) {
    Binding& made = types.bindings.emplace_back();
    made.kind = kind;
    made.keys = {keys};
  };
  bind(Kind::kMessageQueue, {Which::kAll, 0, 0, ""});
  bind(Kind::kMessageQueue, {Which::kRange, 5, 0x80000000U, ""});
  bind(Kind::kSegment, {Which::kPrivate, 0, 0, ""});
  EXPECT_EQ(types.binding_for(Kind::kMessageQueue, 5), &types.bindings[1]);
  EXPECT_EQ(types.binding_for(Kind::kMessageQueue, INT32_MIN), &types.bindings[1]) << "keys are unsigned here";
  EXPECT_EQ(types.binding_for(Kind::kMessageQueue, 4), &types.bindings[0]);
  EXPECT_EQ(types.binding_for(Kind::kMessageQueue, -1), &types.bindings[0]);
  EXPECT_EQ(types.binding_for(Kind::kMessageQueue, 0), nullptr) << "all keys are not IPC_PRIVATE";
  EXPECT_EQ(types.binding_for(Kind::kSegment, 0), &types.bindings[2]);
  EXPECT_EQ(types.binding_for(Kind::kSegment, 5), nullptr);
}

}  // namespace
}  // namespace dipc
