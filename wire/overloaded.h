#pragma once

namespace dipc {

// Functions for std::visit(), one for each kind of what is visited.
template <typename... Functions>
struct Overloaded : Functions... {
  using Functions::operator()...;
};
template <typename... Functions>
Overloaded(Functions...) -> Overloaded<Functions...>;  // clang 14 does not deduce it for an aggregate

}  // namespace dipc
