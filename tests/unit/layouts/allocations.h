#pragma once

// A program that is linked with this counts its allocations.

#include <cstddef>

namespace dipc::layout_test {

std::size_t allocations();  // so far, by operator new

}  // namespace dipc::layout_test
