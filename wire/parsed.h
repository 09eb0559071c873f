#pragma once

// What a parser of a whole file gives back: the value, or everything that is wrong with the text (never empty), in the
// order of its lines, so that an administrator mends a file in one go.

#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "wire/result.h"

namespace dipc {

using Troubles = std::vector<Trouble>;

template <typename T>
using Parsed = tl::expected<T, Troubles>;

}  // namespace dipc
