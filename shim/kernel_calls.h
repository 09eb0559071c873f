#pragma once

// What lies below the shim: system calls made without anybody's wrappers, libc's own functions behind the names that we
// interpose, and copies to and from the program's memory in which the kernel finds the bad pointers.

#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>

#include <atomic>

struct msqid_ds;
struct shmid_ds;

namespace dipc::shim {

// The next definition of `name` after ours, which is libc's unless another preloaded library wants to see it first.
// Looked up once, by the library's constructor; earlier only if some other constructor makes a call.
template <typename F>
class NextFunction {
 public:
  constexpr explicit NextFunction(const char* name) : name_(name) {}
  F* get() {
    F* found = pointer_.load(std::memory_order_relaxed);
    return found ? found : find();  // null only for names that an old libc does not have
  }

 private:
  [[gnu::noinline, gnu::cold]] F* find() {
    F* found = reinterpret_cast<F*>(dlsym(RTLD_NEXT, name_));
    pointer_.store(found, std::memory_order_relaxed);
    return found;
  }
  std::atomic<F*> pointer_{nullptr};
  const char* name_;
};

// NOLINTBEGIN(bugprone-dynamic-static-initializers): constinit says that they are not
extern constinit NextFunction<long(long, long, long, long, long, long, long)> next_syscall;
extern constinit NextFunction<int(pollfd*, nfds_t, const timespec*, const sigset_t*)> next_ppoll;
extern constinit NextFunction<int(int, int, msqid_ds*)> next_msgctl;
extern constinit NextFunction<int(int, int, int, ...)> next_semctl;
extern constinit NextFunction<int(int, int, shmid_ds*)> next_shmctl;
// NOLINTEND(bugprone-dynamic-static-initializers)

inline long word(long value) { return value; }
inline long word(int value) { return value; }
inline long word(unsigned value) { return static_cast<long>(value); }
inline long word(unsigned long value) { return static_cast<long>(value); }
inline long word(const void* pointer) { return reinterpret_cast<long>(pointer); }

// One system call: its result, or -errno. errno itself stays as it was. Programs wrap stat, fcntl, close and the like
// (and some of the wrappers call System V functions), so nothing in the shim goes through those names.
template <typename... Args>
long raw(long number, Args... args) {
  static_assert(sizeof...(args) <= 6);
  long words[6] = {word(args)...};
  int saved = errno;
  long result = next_syscall.get()(number, words[0], words[1], words[2], words[3], words[4], words[5]);
  if (result == -1) {
    result = -errno;
    errno = saved;
  }
  return result;
}

pid_t current_pid();
uid_t current_effective_uid();  // the calling thread's
gid_t current_effective_gid();
int64_t monotonic_ns();
void close_descriptor(int descriptor);

// `bytes` from the program's memory to ours or back. 0, EFAULT where the kernel says so, or ENOMEM where it can't be
// asked. Reads and writes nothing outside of [pointer, pointer + bytes), which may be partly mapped.
int copy_in(void* ours, const void* programs, size_t bytes);
int copy_out(void* programs, const void* ours, size_t bytes);

// A memfd holding `bytes` of the program's memory. The descriptor; -EFAULT if they can't all be read; another -errno
// if there is no room for a descriptor or its contents.
int memfd_from(const void* programs, size_t bytes);
// The first `bytes` of `memfd` into the program's memory: 0, or EFAULT.
int read_memfd(int memfd, void* programs, size_t bytes);

// Blocks every signal of this thread but those that libc uses itself (sigfillset leaves them out: a thread that
// blocked them would hang setuid() in another one), and says what was blocked before.
inline constexpr size_t kKernelSigsetBytes = _NSIG / 8;
void block_signals(sigset_t* before);
void restore_signals(const sigset_t* before);

}  // namespace dipc::shim
