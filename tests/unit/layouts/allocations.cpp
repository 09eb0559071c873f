#include "tests/unit/layouts/allocations.h"

#include <cstdlib>
#include <new>

namespace {
std::size_t counted = 0;
}

#ifdef DIPC_SANITIZED
// The sanitizers have operators of their own, and call this one (sanitizer/allocator_interface.h).
extern "C" void __sanitizer_malloc_hook(const volatile void*, std::size_t) { ++counted; }
#else
// In a file of their own: inlined into others, gcc takes the pair for a mismatch.
void* operator new(std::size_t bytes) {
  ++counted;
  void* const memory = std::malloc(bytes);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
#endif

namespace dipc::layout_test {

std::size_t allocations() { return counted; }

}  // namespace dipc::layout_test
