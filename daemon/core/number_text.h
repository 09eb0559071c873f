#pragma once

// Numbers and times as they stand in files, reports and commands.

#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

#include "daemon/core/time.h"

namespace dipc {

// The whole text must be the number: digits of `base` and, for a signed T, a leading '-'; no '+', blank or prefix.
// Nothing also if it does not fit.
template <typename T>
std::optional<T> parse_number(std::string_view text, int base = 10) {
  T value{};
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value, base);
  if (error != std::errc() || stop != end) return std::nullopt;
  return value;
}

// As parse_number(); with "0x" or "0X" before it in base 16, otherwise in base 10.
template <typename T>
std::optional<T> parse_prefixed_number(std::string_view text) {
  const bool hexadecimal = text.starts_with("0x") || text.starts_with("0X");
  return hexadecimal ? parse_number<T>(text.substr(2), 16) : parse_number<T>(text);
}

// "1s", "500ms", "2m", "1h", "200us", "1.5s". Empty: not a duration.
std::optional<Duration> parse_duration(std::string_view text);
// "64MiB", "4GiB", "512KiB", "100B". Empty: not a size, or beyond 64 bits.
std::optional<std::uint64_t> parse_size(std::string_view text);

// "0x" and sixteen digits.
std::string hexadecimal(std::uint64_t value);

// Seconds since 1970 as "2026-01-31 23:59:59 UTC"; as "second N" where the calendar ends.
std::string utc(std::int64_t seconds);

}  // namespace dipc
