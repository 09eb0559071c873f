#include "daemon/core/number_text.h"

#include <gtest/gtest.h>

namespace dipc {
namespace {

TEST(NumberText, ANumberIsTheWholeText) {
  EXPECT_EQ(parse_number<std::uint8_t>("255"), 255);
  EXPECT_EQ(parse_number<std::uint32_t>("777", 8), 0777U);
  EXPECT_EQ(parse_number<std::int32_t>("-7"), -7);
  for (const char* wrong : {"", "256", "-1", "+1", " 1", "1 ", "0x1", "1.0", "one"}) {
    EXPECT_EQ(parse_number<std::uint8_t>(wrong), std::nullopt) << wrong;
  }
}

TEST(NumberText, APrefixChoosesTheBase) {
  EXPECT_EQ(parse_prefixed_number<std::uint32_t>("0xffffffff"), 0xffffffffU);
  EXPECT_EQ(parse_prefixed_number<std::uint32_t>("0X10"), 16U);
  EXPECT_EQ(parse_prefixed_number<std::uint32_t>("10"), 10U);
  for (const char* wrong : {"", "0x", "0x0x1", "ff", "0x100000000"}) {
    EXPECT_EQ(parse_prefixed_number<std::uint32_t>(wrong), std::nullopt) << wrong;
  }
}

TEST(NumberText, HexadecimalHasSixteenDigits) {
  EXPECT_EQ(hexadecimal(0), "0x0000000000000000");
  EXPECT_EQ(hexadecimal(UINT64_MAX), "0xffffffffffffffff");
}

TEST(NumberText, TimesAreUtcOrTheSecond) {
  EXPECT_EQ(utc(0), "1970-01-01 00:00:00 UTC");
  EXPECT_EQ(utc(951'782'399), "2000-02-28 23:59:59 UTC");
  EXPECT_EQ(utc(INT64_MAX), "second 9223372036854775807");
}

}  // namespace
}  // namespace dipc
