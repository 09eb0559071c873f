#include "arch/abi.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <type_traits>

namespace dipc {
namespace {

using testing::HasSubstr;

TEST(Abi, IsPlainBytesSoThatItFitsIntoARecord) {
  EXPECT_TRUE(std::is_trivially_copyable_v<Abi>);
  EXPECT_TRUE(std::has_unique_object_representations_v<Abi>);
}

TEST(Abi, MeasuredValueIsAConstant) {
  constexpr Abi abi = measured_abi();
  static_assert(abi[CType::kChar].size_bytes == 1);
  EXPECT_EQ(abi[CType::kLong].size_bytes, sizeof(long));
  EXPECT_EQ(abi[CType::kPointer].size_bytes, sizeof(void*));
}

TEST(Abi, ByteOrderIsThatOfMemory) {
  const std::uint16_t number = 0x0102;
  unsigned char first = 0;
  std::memcpy(&first, &number, 1);
  EXPECT_EQ(measured_abi().byte_order, first == 1 ? ByteOrder::kBig : ByteOrder::kLittle);
}

// The alignment decides where a member lies: the classic message with a short after its type, then a long.
TEST(Abi, AlignmentIsThatOfAStructMember) {
  struct Message {
    char before;
    long long value;
  };
  EXPECT_EQ(measured_abi()[CType::kLongLong].align_bytes, offsetof(Message, value));
}

TEST(Abi, EveryTypeWasMeasured) {
  for (const TypeShape& shape : measured_abi().types) {
    EXPECT_GT(shape.size_bytes, 0);
    EXPECT_GT(shape.align_bytes, 0);
  }
}

TEST(Abi, MeasuredValueIsTheOneWeKnowForThisMachine) {
  const auto known = known_abi(machine_name());
  if (!known) GTEST_SKIP() << "no table for machine " << machine_name() << ": " << to_string(measured_abi());
  EXPECT_EQ(measured_abi(), *known) << "measured " << to_string(measured_abi()) << "\nknown    " << to_string(*known);
}

TEST(Abi, MachinesWithTheSameLayoutCompareEqual) {
  EXPECT_EQ(known_abi("x86-64"), known_abi("arm64"));
  EXPECT_NE(known_abi("x86-64"), known_abi("i386"));
  EXPECT_NE(known_abi("x86-64"), known_abi("s390x"));
  EXPECT_NE(known_abi("i386"), known_abi("m68k"));
}

TEST(Abi, UnknownMachineHasNoTable) { EXPECT_EQ(known_abi("pdp11"), std::nullopt); }

TEST(Abi, PrintsByteOrderAndShapes) {
  const std::string text = to_string(*known_abi("m68k"));
  EXPECT_THAT(text, HasSubstr("big-endian"));
  EXPECT_THAT(text, HasSubstr("long long 8/2"));
}

}  // namespace
}  // namespace dipc
