#include "daemon/core/number_text.h"

#include <gtest/gtest.h>

namespace dipc {
namespace {

using namespace std::chrono_literals;

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

TEST(NumberText, DurationsAreNumbersWithAUnit) {
  EXPECT_EQ(parse_duration("1s"), Duration(1s));
  EXPECT_EQ(parse_duration("500ms"), Duration(500ms));
  EXPECT_EQ(parse_duration("200us"), Duration(200us));
  EXPECT_EQ(parse_duration("1.5s"), Duration(1500ms));
  EXPECT_EQ(parse_duration("0.001s"), Duration(1ms));
  EXPECT_EQ(parse_duration("2m"), Duration(2min));
  EXPECT_EQ(parse_duration("0s"), Duration(0s));
  for (const char* bad : {"", "s", "1", "-1s", "+1s", " 1s", "1s ", "1 s", "1.s", ".5s", "1.2345s", "1x", "1ns", "0x1s",
                          "99999999999h", "99999999999999999999s", "1e3s"}) {
    EXPECT_EQ(parse_duration(bad), std::nullopt) << bad;
  }
}

TEST(NumberText, SizesAreNumbersWithAUnit) {
  EXPECT_EQ(parse_size("100B"), 100u);
  EXPECT_EQ(parse_size("512KiB"), 512u << 10);
  EXPECT_EQ(parse_size("64MiB"), 64u << 20);
  EXPECT_EQ(parse_size("4GiB"), 4ull << 30);
  EXPECT_EQ(parse_size("1TiB"), 1ull << 40);
  EXPECT_EQ(parse_size("16777215TiB"), 16777215ull << 40);
  for (const char* bad : {"", "MiB", "1", "-1B", "1MB", "1 MiB", "1.5MiB", "16777216TiB", "99999999999999999999B"}) {
    EXPECT_EQ(parse_size(bad), std::nullopt) << bad;
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
