// The names that programs built with 64-bit time call on 32-bit machines. This file is compiled with _TIME_BITS=64: its
// structs are theirs. On 64-bit machines there are no such names, and the file is empty.

#include <features.h>
#include <stdint.h>

#if __SIZEOF_POINTER__ == 4 && defined(__USE_TIME_BITS64)

#include "shim/control.h"

// <sys/msg.h>, <sys/sem.h> and <sys/shm.h> call these by their usual names here.
#define DIPC_EXPORT extern "C" [[gnu::visibility("default")]]

namespace dipc::shim {
namespace {

// Old libraries don't have them, and then no program asks for them.
constinit NextFunction<int(int, int, msqid_ds*)> next_msgctl64{"__msgctl64"};
constinit NextFunction<int(int, int, int, ...)> next_semctl64{"__semctl64"};
constinit NextFunction<int(int, int, shmid_ds*)> next_shmctl64{"__shmctl64"};
constinit NextFunction<int(int, sembuf*, size_t, const timespec*)> next_semtimedop64{"__semtimedop64"};

[[gnu::constructor]] void set_up() {
  next_msgctl64.get();
  next_semctl64.get();
  next_shmctl64.get();
  next_semtimedop64.get();
}

}  // namespace
}  // namespace dipc::shim

using namespace dipc::shim;

DIPC_EXPORT int dipc_msgctl64(int id, int command, msqid_ds* status) __asm__("__msgctl64");
DIPC_EXPORT int dipc_semctl64(int id, int semaphore, int command, ...) __asm__("__semctl64");
DIPC_EXPORT int dipc_shmctl64(int id, int command, shmid_ds* status) __asm__("__shmctl64");
DIPC_EXPORT int dipc_semtimedop64(int id, sembuf* operations, size_t count,
                                  const timespec* timeout) __asm__("__semtimedop64");

int dipc_msgctl64(int id, int command, msqid_ds* status) {
  return static_cast<int>(
      control_queue(id, command, status, Shape::kLibc, [&] { return next_msgctl64.get()(id, command, status); }));
}

int dipc_semctl64(int id, int semaphore, int command, ...) {
  SemctlArgument argument{};
  if (has_argument(command)) {
    va_list list;
    va_start(list, command);
    argument = va_arg(list, SemctlArgument);
    va_end(list);
  }
  return static_cast<int>(control_set(id, semaphore, command, argument, Shape::kLibc,
                                      [&] { return next_semctl64.get()(id, semaphore, command, argument); }));
}

int dipc_shmctl64(int id, int command, shmid_ds* status) {
  return static_cast<int>(
      control_segment(id, command, status, Shape::kLibc, [&] { return next_shmctl64.get()(id, command, status); }));
}

int dipc_semtimedop64(int id, sembuf* operations, size_t count, const timespec* timeout) {
  return static_cast<int>(operate(
      id, operations, count, timeout != nullptr, [&](Timeout* into) { return read_timeout(into, timeout); },
      [&] { return next_semtimedop64.get()(id, operations, count, timeout); }));
}

#endif
