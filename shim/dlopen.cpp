// dlopen: a library loaded with RTLD_DEEPBIND would find libc's System V functions before ours, so that flag goes.
//
// libc tells by the return address which library calls dlopen, and honours that library's RUNPATH and namespace. So the
// real one must be reached by a jump, with the caller's return address in place: the file is compiled with sibling
// calls at every level of optimisation, and tests/shim loads a library that only its caller's RUNPATH can find.

#include "shim/kernel_calls.h"

namespace dipc::shim {
namespace {

// Without a value: on m68k a pointer comes back in two registers, and a function that had to see to that could not end
// in a jump. What the real one returns is where the caller looks for it.
constinit NextFunction<void(const char*, int)> next_dlopen{"dlopen"};

[[gnu::constructor]] void set_up() { next_dlopen.get(); }

}  // namespace
}  // namespace dipc::shim

extern "C" [[gnu::visibility("default")]] void dipc_dlopen(const char* file, int mode) __asm__("dlopen");

void dipc_dlopen(const char* file, int mode) { dipc::shim::next_dlopen.get()(file, mode & ~RTLD_DEEPBIND); }
