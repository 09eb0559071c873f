#pragma once

// Time as the state machines see it: an argument, never a clock that they read.

#include <chrono>

namespace dipc {

using Duration = std::chrono::nanoseconds;
using TimePoint = std::chrono::time_point<std::chrono::steady_clock, Duration>;
inline constexpr TimePoint kNever = TimePoint::max();

}  // namespace dipc
