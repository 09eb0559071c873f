#include "daemon/core/host_numbers.h"

#include <algorithm>

#include "daemon/core/id_passage.h"

namespace dipc {

bool HostNumbers::is_free(std::uint16_t number) const {
  return std::none_of(table_.begin(), table_.end(), [number](const auto& entry) { return entry.second == number; });
}

std::uint16_t HostNumbers::give(const std::string& host, std::uint16_t had) {
  const auto known = table_.find(host);
  if (known != table_.end()) return known->second;
  std::uint16_t number = had <= kHostNumberMax ? had : std::uint16_t{0};
  if (number == 0 || !is_free(number)) {
    for (number = 1; number <= kHostNumberMax && !is_free(number);) ++number;
    if (number > kHostNumberMax) return 0;
  }
  table_.emplace(host, number);
  return number;
}

}  // namespace dipc
