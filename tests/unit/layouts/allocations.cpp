#include "tests/unit/layouts/allocations.h"

#include <cstdlib>
#include <new>

// In a file of its own: inlined into others, gcc takes the pair for a mismatch.
namespace {
std::size_t counted = 0;
}

void* operator new(std::size_t bytes) {
  ++counted;
  void* const memory = std::malloc(bytes);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace dipc::layout_test {

std::size_t allocations() { return counted; }

}  // namespace dipc::layout_test
