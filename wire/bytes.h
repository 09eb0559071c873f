#pragma once

#include <cstddef>
#include <vector>

namespace dipc {

using Bytes = std::vector<std::byte>;

}  // namespace dipc
