#include "wire/local_abi.h"

#include <gtest/gtest.h>

namespace dipc::local {
namespace {

TEST(LocalAbi, EveryKnownMachineComesBackAsItWas) {
  for (const char* machine : {"x86-64", "i386", "m68k", "s390x"}) {
    const auto abi = known_abi(machine);
    ASSERT_TRUE(abi.has_value()) << machine;
    EXPECT_EQ(decode_abi(encode_abi(*abi).bytes), abi) << machine;
  }
}

TEST(LocalAbi, IsAConstantForTheShim) {
  constexpr AbiBytes kOwn = encode_abi(measured_abi());
  static_assert(decode_abi(kOwn.bytes) == measured_abi());
  EXPECT_EQ(kOwn.bytes[1], kCTypeCount);
}

TEST(LocalAbi, BytesAreTheSameOnEveryArchitecture) {
  const AbiBytes encoded = encode_abi(*known_abi("m68k"));
  const uint8_t expected[kAbiBytes] = {1, 12, 1, 1, 2, 2, 4, 2, 4, 2, 8, 2, 4, 2, 4, 2, 8, 2, 12, 2, 4, 2, 4, 2, 8, 2};
  EXPECT_TRUE(std::equal(std::begin(expected), std::end(expected), encoded.bytes));
}

TEST(LocalAbi, TypesThatTheOtherSideDoesNotKnowStayUnknown) {
  AbiBytes encoded = encode_abi(*known_abi("x86-64"));
  encoded.bytes[1] = kCTypeCount - 1;
  const auto abi = decode_abi(encoded.bytes);
  ASSERT_TRUE(abi.has_value());
  EXPECT_EQ(abi->types.back(), TypeShape{});
  EXPECT_EQ((*abi)[CType::kLong].size_bytes, 8);
}

TEST(LocalAbi, BytesThatAreNoAbiGiveNothing) {
  AbiBytes encoded = encode_abi(measured_abi());
  encoded.bytes[0] = 2;
  EXPECT_FALSE(decode_abi(encoded.bytes));
  encoded = encode_abi(measured_abi());
  encoded.bytes[1] = 16;
  EXPECT_FALSE(decode_abi(encoded.bytes));
  EXPECT_FALSE(decode_abi(AbiBytes{}.bytes));
}

}  // namespace
}  // namespace dipc::local
