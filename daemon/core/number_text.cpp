#include "daemon/core/number_text.h"

#include <cinttypes>
#include <cstdio>
#include <ctime>

namespace dipc {

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
