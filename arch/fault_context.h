#pragma once

// What a SIGSEGV handler's third argument tells of the access that failed. Where a machine's signal frame does not say
// whether it was a store, or qemu-user leaves that out, nothing is claimed.

#include <ucontext.h>

namespace dipc {

enum class FaultedAccess { kUnknown, kLoad, kStore };

inline FaultedAccess faulted_access([[maybe_unused]] const void* context) {
#if defined(__x86_64__) || defined(__i386__)
  constexpr int kErrorRegister = sizeof(void*) == 8 ? 19 : 13;  // REG_ERR
  constexpr unsigned long kWasWrite = 2;                        // page-fault error code, Intel SDM 3A 4.7
  const auto* machine = static_cast<const ucontext_t*>(context);
  const auto code = static_cast<unsigned long>(machine->uc_mcontext.gregs[kErrorRegister]);
  return (code & kWasWrite) != 0 ? FaultedAccess::kStore : FaultedAccess::kLoad;
#else
  return FaultedAccess::kUnknown;
#endif
}

}  // namespace dipc
