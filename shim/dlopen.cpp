// dlopen: a library loaded with RTLD_DEEPBIND would find libc's System V functions before ours, so that flag goes.
//
// libc tells by the return address which library calls dlopen, and honours that library's RUNPATH and namespace. So the
// real one must be reached by a jump, with the caller's return address in place: the file is compiled with sibling
// calls at every level of optimisation, and tests/shim loads a library that only its caller's RUNPATH can find.

#include "shim/kernel_calls.h"

namespace dipc::shim {
namespace {

constinit NextFunction<void*(const char*, int)> next_dlopen{"dlopen"};

[[gnu::constructor]] void set_up() { next_dlopen.get(); }

}  // namespace
}  // namespace dipc::shim

extern "C" [[gnu::visibility("default")]] void* dlopen(const char* file, int mode) noexcept {
  return dipc::shim::next_dlopen.get()(file, mode & ~RTLD_DEEPBIND);
}
