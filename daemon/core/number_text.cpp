#include "daemon/core/number_text.h"

#include <cinttypes>
#include <cstdio>
#include <ctime>
#include <utility>

namespace dipc {

std::optional<Duration> parse_duration(std::string_view text) {
  constexpr std::pair<std::string_view, std::int64_t> kUnits[] = {
      {"us", 1'000}, {"ms", 1'000'000}, {"s", 1'000'000'000}, {"m", 60'000'000'000}, {"h", 3'600'000'000'000}};
  constexpr std::int64_t kHoursMax = 1'000'000;  // keeps all sums below 2^63 ns
  std::int64_t whole = 0, thousandths = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), whole);
  if (error != std::errc() || text.front() == '-') return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  if (text.starts_with('.')) {
    text.remove_prefix(1);
    std::int64_t weight = 100;
    std::size_t digits = 0;
    for (; digits < text.size() && text[digits] >= '0' && text[digits] <= '9'; ++digits) {
      if (weight == 0) return std::nullopt;
      thousandths += weight * (text[digits] - '0');
      weight /= 10;
    }
    if (digits == 0) return std::nullopt;
    text.remove_prefix(digits);
  }
  for (const auto& [unit, ns] : kUnits) {
    if (text != unit) continue;
    if (whole > kHoursMax * 3'600'000'000'000 / 1000 / ns) return std::nullopt;
    return Duration(whole * ns + thousandths * ns / 1000);
  }
  return std::nullopt;
}

std::optional<std::uint64_t> parse_size(std::string_view text) {
  constexpr std::pair<std::string_view, unsigned> kUnits[] = {
      {"B", 0}, {"KiB", 10}, {"MiB", 20}, {"GiB", 30}, {"TiB", 40}};
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc()) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  for (const auto& [unit, shift] : kUnits) {
    if (text == unit) return value <= (UINT64_MAX >> shift) ? std::optional(value << shift) : std::nullopt;
  }
  return std::nullopt;
}

std::string hexadecimal(std::uint64_t value) {
  char text[24];
  std::snprintf(text, sizeof text, "0x%016" PRIx64, value);
  return text;
}

std::string utc(std::int64_t seconds) {
  const auto time = static_cast<std::time_t>(seconds);
  std::tm parts{};
  if (time != seconds || ::gmtime_r(&time, &parts) == nullptr) return "second " + std::to_string(seconds);
  char text[64];
  std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", &parts);
  return text;
}

}  // namespace dipc
