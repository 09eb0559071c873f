// libdipc.so: System V IPC between computers, loaded into other people's programs.
//
// The rules that all of shim/ keeps:
//
//  1. The program lives. Whatever happens to the daemon, to descriptors, memory or limits, a call of ours ends with an
//     errno. Nothing is written to stdout or stderr, nobody is killed.
//  2. An object of this host costs what it costs without us: two loads and a jump, no system call, no thread state.
//  3. No pointer of the program is followed. The kernel reads and writes the program's memory in a system call of ours,
//     and says EFAULT where it would natively. Which of several mistakes wins is left to the owner's kernel.
//  4. No lock, no heap, anywhere between entry and return. A call may come from a signal handler that interrupted
//     another call of the same thread, may be left by siglongjmp, may be in the child of a vfork.
//  5. All signals are blocked (never libc's own two) except while we wait, and we wait with the program's mask: so a
//     handler that runs ends the call with EINTR, and none is lost between sending and waiting.
//  6. A descriptor is checked to be still ours each time before it is used: programs close numbers they don't know.
//  7. Nothing goes through a name that people wrap (stat, fcntl, close, getpid...): raw() alone makes system calls.
//  8. errno changes only when the call fails.
//  9. libc.so.6 and nothing else; 32-bit atomics and no wider (m68k has no others without libatomic).
//
// This file has the names that programs call. calls.cpp decides where a call goes, ftok.cpp which key a path has,
// exchange.cpp carries it, attachments.cpp has the memory of distributed segments, paged_memory.cpp pages it where
// there is no userfaultfd (two threads and the SIGSEGV of the program: fault_handler.cpp), daemon_link.cpp finds the
// daemon, thread_state.cpp keeps a thread's connection, kernel_calls.cpp is all below.

#include "shim/control.h"
#include "shim/daemon_link.h"
#include "shim/dipc.h"

#define DIPC_EXPORT extern "C" [[gnu::visibility("default")]]

namespace dipc::shim {
namespace {

constinit NextFunction<int(key_t, int)> next_msgget{"msgget"};
constinit NextFunction<int(int, const void*, size_t, int)> next_msgsnd{"msgsnd"};
constinit NextFunction<ssize_t(int, void*, size_t, long, int)> next_msgrcv{"msgrcv"};
constinit NextFunction<int(key_t, int, int)> next_semget{"semget"};
constinit NextFunction<int(int, sembuf*, size_t)> next_semop{"semop"};
constinit NextFunction<int(int, sembuf*, size_t, const timespec*)> next_semtimedop{"semtimedop"};
constinit NextFunction<int(key_t, size_t, int)> next_shmget{"shmget"};
constinit NextFunction<void*(int, const void*, int)> next_shmat{"shmat"};
constinit NextFunction<int(const void*)> next_shmdt{"shmdt"};
constinit NextFunction<key_t(const char*, int)> next_ftok{"ftok"};

[[gnu::constructor]] void set_up() {
  prepare();
  next_syscall.get();
  next_ppoll.get();
  next_msgget.get();
  next_msgsnd.get();
  next_msgrcv.get();
  next_msgctl.get();
  next_semget.get();
  next_semop.get();
  next_semtimedop.get();
  next_semctl.get();
  next_shmget.get();
  next_shmctl.get();
  next_shmat.get();
  next_shmdt.get();
  next_ftok.get();
}

int tell(Kind kind, int id) {
  IdTable& ids = ids_of(kind);
  if (ids.find(id) == IdTable::kUnknown && route(kind, id) == Route::kFailed) return -1;
  switch (ids.find(id)) {
    case IdTable::kOwned:
      return DIPC_OWNED;
    case IdTable::kRemote:
      return DIPC_REMOTE;
    case IdTable::kUnknown:
    case IdTable::kLocal:
      break;
  }
  return DIPC_LOCAL;
}

}  // namespace
}  // namespace dipc::shim

using namespace dipc::shim;

DIPC_EXPORT int msgget(key_t key, int flags) noexcept {
  return get_object(Kind::kMessageQueue, key, 0, flags, [&] { return next_msgget.get()(key, flags); });
}

DIPC_EXPORT int msgsnd(int id, const void* message, size_t text_bytes, int flags) {
  return static_cast<int>(
      send_message(id, message, text_bytes, flags, [&] { return next_msgsnd.get()(id, message, text_bytes, flags); }));
}

DIPC_EXPORT ssize_t msgrcv(int id, void* message, size_t text_bytes, long type, int flags) {
  return receive_message(id, message, text_bytes, type, flags,
                         [&] { return next_msgrcv.get()(id, message, text_bytes, type, flags); });
}

DIPC_EXPORT int msgctl(int id, int command, msqid_ds* status) noexcept {
  return static_cast<int>(
      control_queue(id, command, status, Shape::kLibc, [&] { return next_msgctl.get()(id, command, status); }));
}

DIPC_EXPORT int semget(key_t key, int count, int flags) noexcept {
  return get_object(Kind::kSemaphoreSet, key, count, flags, [&] { return next_semget.get()(key, count, flags); });
}

DIPC_EXPORT int semop(int id, sembuf* operations, size_t count) noexcept {
  return static_cast<int>(operate(
      id, operations, count, false, [](Timeout*) { return 0; },
      [&] { return next_semop.get()(id, operations, count); }));
}

DIPC_EXPORT int semtimedop(int id, sembuf* operations, size_t count, const timespec* timeout) noexcept {
  return static_cast<int>(operate(
      id, operations, count, timeout != nullptr, [&](Timeout* into) { return read_timeout(into, timeout); },
      [&] { return next_semtimedop.get()(id, operations, count, timeout); }));
}

DIPC_EXPORT int semctl(int id, int semaphore, int command, ...) noexcept {
  SemctlArgument argument{};
  if (has_argument(command)) {
    va_list list;
    va_start(list, command);
    argument = va_arg(list, SemctlArgument);
    va_end(list);
  }
  return static_cast<int>(control_set(id, semaphore, command, argument, Shape::kLibc,
                                      [&] { return next_semctl.get()(id, semaphore, command, argument); }));
}

DIPC_EXPORT int shmget(key_t key, size_t bytes, int flags) noexcept {
  return get_object(Kind::kSegment, key, static_cast<int64_t>(bytes), flags,
                    [&] { return next_shmget.get()(key, bytes, flags); });
}

DIPC_EXPORT int shmctl(int id, int command, shmid_ds* status) noexcept {
  return static_cast<int>(
      control_segment(id, command, status, Shape::kLibc, [&] { return next_shmctl.get()(id, command, status); }));
}

DIPC_EXPORT void* shmat(int id, const void* address, int flags) noexcept {
  return attach_segment(id, address, flags, [&] { return next_shmat.get()(id, address, flags); });
}

DIPC_EXPORT int shmdt(const void* address) noexcept {
  return detach_segment(address, [&] { return next_shmdt.get()(address); });
}

DIPC_EXPORT key_t ftok(const char* path, int id) noexcept { return cluster_key(path, id, next_ftok.get()(path, id)); }

DIPC_EXPORT int dipc_is_distributed_msg(int msqid) { return tell(Kind::kMessageQueue, msqid); }
DIPC_EXPORT int dipc_is_distributed_sem(int semid) { return tell(Kind::kSemaphoreSet, semid); }
DIPC_EXPORT const char* dipc_version(void) { return DIPC_VERSION; }
