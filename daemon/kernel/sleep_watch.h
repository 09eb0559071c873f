#pragma once

// Tells whether a thread of this process, or of its keeper, is asleep in a given system call on a given object, that
// is: whether the kernel has put it into the object's queue, so that a call made now comes after it.
//
// /proc/PID/task/TID/syscall shows number and arguments of the call in which a thread is blocked, or "running"
// (proc(5); collect_syscall() in lib/syscall.c). The number to expect is measured at start, because it is the host's
// even under an emulator, and may be that of the ipc(2) multiplexer; so is the place of the object's id among the
// arguments. The state must be S before and after: in D the thread waits for memory on its way to the queue, and one
// that has just been woken by a call of ours still shows the call, but not S. msgsnd, msgrcv and semtimedop enter the
// queue and become S under one lock (ipc/msg.c, ipc/sem.c). Without that file (a kernel without
// CONFIG_HAVE_ARCH_TRACEHOOK) the state alone has to do; the caller makes sure that the thread does nothing else that
// sleeps. A look costs about 6 us.

#include <sys/types.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <memory>
#include <string>

#include "wire/result.h"

namespace dipc {

enum class SleepIn : std::uint8_t { kSend, kReceive, kOperate };

// What the threads of this process look like when they sleep. Made once; must outlive every SleepWatch.
class SleepSigns {
 public:
  struct Options {
    bool use_syscall_file = true;  // false forces the fallback, for tests
    // Looks keep their files open up to this many (and a quarter of what RLIMIT_NOFILE allows), then open them each
    // time.
    int open_files_max = 4096;
  };
  // Blocks a thread of its own in each of the three calls and looks at it: some 10 ms.
  // Trouble: /proc is not there.
  static Result<std::unique_ptr<SleepSigns>> measure(Options options);
  static Result<std::unique_ptr<SleepSigns>> measure() { return measure(Options{}); }
  ~SleepSigns();
  bool exact() const { return exact_; }

 private:
  friend class SleepWatch;
  struct Sign {
    long number = -1;
    int id_argument = -1;  // -1: the id is not among the arguments
  };
  Options options_;
  bool exact_ = false;
  std::array<Sign, 3> signs_;
  std::atomic<int> open_files_ = 0;
  int spare_fd_ = -1;  // given up for the time of a look when no descriptor is left: a look must not fail for ever
};

// One thread; not thread-safe: looks are made under the lock of the call that the thread is in.
class SleepWatch {
 public:
  SleepWatch(SleepSigns& signs, pid_t tid);
  // A thread of another process of the same program. Only its state is looked at where we may not trace that process
  // (ptrace(2), PTRACE_MODE_ATTACH_FSCREDS: a container without CAP_SYS_PTRACE, Yama).
  SleepWatch(SleepSigns& signs, pid_t process, pid_t tid);
  ~SleepWatch();
  SleepWatch(const SleepWatch&) = delete;
  SleepWatch& operator=(const SleepWatch&) = delete;

  pid_t tid() const { return tid_; }
  bool asleep(SleepIn call, int object);

 private:
  struct KeptFile {
    const char* name;
    int fd = -1;
  };
  int open_file(const char* name);
  // Bytes read into buffer, which is then a C string; 0 = could not.
  std::size_t read(KeptFile& file, char* buffer, std::size_t buffer_bytes);
  bool state_is_sleeping();

  SleepSigns& signs_;
  const pid_t process_;
  const pid_t tid_;
  bool exact_;
  KeptFile syscall_{"syscall"};
  KeptFile stat_{"stat"};
};

}  // namespace dipc
