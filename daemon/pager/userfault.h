#pragma once

// One userfaultfd: the calls of ioctl_userfaultfd(2) on the memory of the process that made it, whoever calls them.
// Each returns 0 or an errno: EAGAIN while an event of the process is unread, ESRCH when its memory is gone, ENOENT
// where it has nothing registered.

#include <linux/userfaultfd.h>
#include <sys/types.h>

#include <cstdint>
#include <vector>

#include "wire/descriptor.h"

namespace dipc {

class Userfault {
 public:
  explicit Userfault(Descriptor fd) : fd_(std::move(fd)) {}
  // One of the calling process, out of /dev/userfaultfd, which faults of system calls reach as well.
  static Descriptor open_device();
  static Descriptor make(int device);
  // Whether a descriptor that somebody has sent is one at all.
  static bool is_one(int fd);

  int fd() const { return fd_.get(); }
  // Once, before all else. `events`: forks, removals and moves of the process are told and wait to be read; that takes
  // CAP_SYS_PTRACE, of whoever calls this.
  int set_up(bool events) const;
  // As set_up() does; for a forked child's, which is set up like its parent's. The process, which has it too, can undo
  // it; epoll then says EPOLLERR.
  bool never_wait() const;
  // What is told besides the touch of a page that is not in the memory: a write to a protected one, or every first
  // touch of one that is there.
  enum class Also : std::uint8_t { kNothing, kWrites, kPresent };
  int watch(std::uint64_t address, std::uint64_t length, Also also) const;
  int protect(std::uint64_t address, std::uint64_t length) const;
  int unprotect(std::uint64_t address, std::uint64_t length) const;  // and wakes
  // Fills holes, pages of the kernel, from the first on; wakes nobody. `error`: of the first that it has not filled.
  struct Filled {
    std::uint64_t bytes = 0;
    int error = 0;
  };
  Filled fill(std::uint64_t address, const std::byte* from, std::uint64_t bytes) const;
  // Also::kPresent: lets programs have one page that is there; wakes nobody. EEXIST: they have it.
  int let_have(std::uint64_t address, std::uint64_t page_bytes) const;
  int wake(std::uint64_t address, std::uint64_t length) const;
  // SIGBUS for who touches it, where there is neither page nor protection; wakes. EINVAL before Linux 6.6.
  int poison(std::uint64_t address, std::uint64_t length) const;
  // What has happened since; nothing: nothing has. Never waits.
  std::vector<uffd_msg> read() const;

 private:
  Descriptor fd_;
};

}  // namespace dipc
