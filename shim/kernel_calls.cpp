#include "shim/kernel_calls.h"

#include <string.h>
#include <sys/uio.h>

namespace dipc::shim {

constinit NextFunction<long(long, long, long, long, long, long, long)> next_syscall{"syscall"};
constinit NextFunction<int(pollfd*, nfds_t, const timespec*, const sigset_t*)> next_ppoll{"ppoll"};
constinit NextFunction<int(int, int, msqid_ds*)> next_msgctl{"msgctl"};
constinit NextFunction<int(int, int, int, ...)> next_semctl{"semctl"};
constinit NextFunction<int(int, int, shmid_ds*)> next_shmctl{"shmctl"};

namespace {

constexpr unsigned kMemfdCloseOnExec = 1;
constexpr unsigned kMemfdNoExec = 8;           // Linux 6.3; demanded where vm.memfd_noexec is 2
constexpr size_t kTransferBytesMax = 1 << 30;  // one read or write moves less than 2 GiB

int new_memfd() {
  long memfd = raw(SYS_memfd_create, "dipc", kMemfdCloseOnExec);
  if (memfd == -EACCES) memfd = raw(SYS_memfd_create, "dipc", kMemfdCloseOnExec | kMemfdNoExec);
  return static_cast<int>(memfd);
}

// 0, EFAULT, or -1 where this kernel (or qemu) has no such call or forbids it.
int vm_transfer(long number, void* ours, const void* programs, size_t bytes) {
  iovec local{ours, bytes};
  iovec remote{const_cast<void*>(programs), bytes};
  long moved = raw(number, current_pid(), &local, 1L, &remote, 1L, 0L);
  if (moved == static_cast<long>(bytes)) return 0;
  return moved == -EFAULT || moved >= 0 ? EFAULT : -1;
}

}  // namespace

pid_t current_pid() { return static_cast<pid_t>(raw(SYS_getpid)); }

uid_t current_effective_uid() {
#ifdef SYS_geteuid32  // the older call of this machine has 16 bits
  return static_cast<uid_t>(raw(SYS_geteuid32));
#else
  return static_cast<uid_t>(raw(SYS_geteuid));
#endif
}

gid_t current_effective_gid() {
#ifdef SYS_getegid32
  return static_cast<gid_t>(raw(SYS_getegid32));
#else
  return static_cast<gid_t>(raw(SYS_getegid));
#endif
}

int64_t monotonic_ns() {
  int64_t now[2] = {0, 0};  // struct __kernel_timespec
#ifdef SYS_clock_gettime64
  raw(SYS_clock_gettime64, CLOCK_MONOTONIC, now);
#else
  static_assert(sizeof(long) == 8);
  raw(SYS_clock_gettime, CLOCK_MONOTONIC, now);
#endif
  return now[0] * 1'000'000'000 + now[1];
}

void close_descriptor(int descriptor) { raw(SYS_close, descriptor); }

int copy_in(void* ours, const void* programs, size_t bytes) {
  int result = vm_transfer(SYS_process_vm_readv, ours, programs, bytes);
  if (result >= 0) return result;
  int memfd = memfd_from(programs, bytes);
  if (memfd < 0) return memfd == -EFAULT ? EFAULT : ENOMEM;
  result = read_memfd(memfd, ours, bytes);
  close_descriptor(memfd);
  return result;
}

int copy_out(void* programs, const void* ours, size_t bytes) {
  int result = vm_transfer(SYS_process_vm_writev, const_cast<void*>(ours), programs, bytes);
  if (result >= 0) return result;
  int memfd = memfd_from(ours, bytes);
  if (memfd < 0) return ENOMEM;
  result = read_memfd(memfd, programs, bytes);
  close_descriptor(memfd);
  return result;
}

int memfd_from(const void* programs, size_t bytes) {
  int memfd = new_memfd();
  if (memfd < 0) return memfd;
  for (size_t done = 0; done < bytes;) {
    size_t part = bytes - done < kTransferBytesMax ? bytes - done : kTransferBytesMax;
    long written = raw(SYS_write, memfd, static_cast<const char*>(programs) + done, part);
    if (written == -EINTR) continue;
    if (written <= 0) {
      close_descriptor(memfd);
      return written == 0 ? -ENOMEM : static_cast<int>(written);
    }
    done += static_cast<size_t>(written);
  }
  return memfd;
}

int read_memfd(int memfd, void* programs, size_t bytes) {
  for (size_t done = 0; done < bytes;) {
    size_t part = bytes - done < kTransferBytesMax ? bytes - done : kTransferBytesMax;
    // preadv, because its offset is two longs on every machine; pread64's is passed differently on some.
    iovec target{static_cast<char*>(programs) + done, part};
    long got = raw(SYS_preadv, memfd, &target, 1L, done, 0L);
    if (got == -EINTR) continue;
    if (got <= 0) return EFAULT;
    done += static_cast<size_t>(got);
  }
  return 0;
}

void block_signals(sigset_t* before) {
  sigset_t all;
  sigfillset(&all);
  sigemptyset(before);  // the kernel fills its own 64 bits of it
  raw(SYS_rt_sigprocmask, SIG_SETMASK, &all, before, kKernelSigsetBytes);
}

void restore_signals(const sigset_t* before) {
  raw(SYS_rt_sigprocmask, SIG_SETMASK, before, nullptr, kKernelSigsetBytes);
}

}  // namespace dipc::shim
