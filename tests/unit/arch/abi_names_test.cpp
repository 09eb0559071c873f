#include "arch/abi_names.h"

#include <gtest/gtest.h>

namespace dipc {
namespace {

TEST(AbiNames, WidthByteOrderAndTheMachinesThatHaveIt) {
  EXPECT_EQ(spoken(*known_abi("x86-64")), "64-bit little-endian (x86-64, arm64)");
  EXPECT_EQ(spoken(*known_abi("m68k")), "32-bit big-endian (m68k)");
  EXPECT_EQ(spoken(*known_abi("s390x")), "64-bit big-endian (s390x)");
  EXPECT_EQ(spoken(*known_abi("i386")), "32-bit little-endian (i386)");
}

TEST(AbiNames, AnAbiWithoutATableHasNoMachine) {
  Abi odd = *known_abi("m68k");
  odd.byte_order = ByteOrder::kLittle;
  EXPECT_EQ(spoken(odd), "32-bit little-endian");
}

}  // namespace
}  // namespace dipc
