#include "daemon/pager/userfault.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string>
#include <string_view>

namespace dipc {
namespace {

constexpr std::size_t kMessagesAtOnce = 16;

// Newer than Debian 12's headers, or than its kernel.
constexpr unsigned long kNew = _IO(0xAA, 0x00);  // USERFAULTFD_IOC_NEW, Linux 6.1
struct Poison {                                  // struct uffdio_poison, Linux 6.6
  uffdio_range range;
  __u64 mode;
  __s64 updated;
};
constexpr unsigned long kPoison = _IOWR(UFFDIO, 0x08, Poison);

template <typename Argument>
int call(int fd, unsigned long request, Argument& argument) {
  return ioctl(fd, request, &argument) == 0 ? 0 : errno;
}

int set_protection(int fd, std::uint64_t address, std::uint64_t length, std::uint64_t mode) {
  uffdio_writeprotect argument{{address, length}, mode};
  return call(fd, UFFDIO_WRITEPROTECT, argument);
}

}  // namespace

Descriptor Userfault::open_device() { return Descriptor(open("/dev/userfaultfd", O_RDWR | O_CLOEXEC)); }

Descriptor Userfault::make(int device) { return Descriptor(ioctl(device, kNew, O_CLOEXEC | O_NONBLOCK)); }

bool Userfault::is_one(int fd) {
  std::array<char, 64> target{};
  const std::string path = "/proc/self/fd/" + std::to_string(fd);
  const ssize_t bytes = readlink(path.c_str(), target.data(), target.size());
  return bytes > 0 && std::string_view(target.data(), static_cast<std::size_t>(bytes)) == "anon_inode:[userfaultfd]";
}

int Userfault::set_up(bool events) const {
  if (!never_wait()) return errno;
  uffdio_api argument{};
  argument.api = UFFD_API;
  argument.features = UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_MINOR_SHMEM |
                      UFFD_FEATURE_WP_HUGETLBFS_SHMEM;
  if (events) {
    argument.features |= UFFD_FEATURE_THREAD_ID | UFFD_FEATURE_EVENT_FORK | UFFD_FEATURE_EVENT_REMAP |
                         UFFD_FEATURE_EVENT_REMOVE | UFFD_FEATURE_EVENT_UNMAP;
  }
  return call(fd(), UFFDIO_API, argument);
}

bool Userfault::never_wait() const {
  return fcntl(fd(), F_SETFL, O_NONBLOCK) == 0 && fcntl(fd(), F_SETFD, FD_CLOEXEC) == 0;
}

int Userfault::watch(std::uint64_t address, std::uint64_t length, Also also) const {
  uffdio_register argument{};
  argument.range = {address, length};
  argument.mode = UFFDIO_REGISTER_MODE_MISSING;
  if (also == Also::kWrites) argument.mode |= UFFDIO_REGISTER_MODE_WP;
  if (also == Also::kPresent) argument.mode |= UFFDIO_REGISTER_MODE_MINOR;
  return call(fd(), UFFDIO_REGISTER, argument);
}

int Userfault::protect(std::uint64_t address, std::uint64_t length) const {
  return set_protection(fd(), address, length, UFFDIO_WRITEPROTECT_MODE_WP);
}

int Userfault::unprotect(std::uint64_t address, std::uint64_t length) const {
  return set_protection(fd(), address, length, 0);
}

Userfault::Filled Userfault::fill(std::uint64_t address, const std::byte* from, std::uint64_t bytes) const {
  Filled filled;
  while (filled.bytes < bytes) {
    uffdio_copy argument{};
    argument.dst = address + filled.bytes;
    argument.src = reinterpret_cast<std::uintptr_t>(from + filled.bytes);
    argument.len = bytes - filled.bytes;
    argument.mode = UFFDIO_COPY_MODE_DONTWAKE;
    filled.error = call(fd(), UFFDIO_COPY, argument);
    if (filled.error == 0) return {bytes, 0};
    if (argument.copy <= 0) break;
    filled.bytes += static_cast<std::uint64_t>(argument.copy);  // EAGAIN: a part of it; what ails the rest is said next
  }
  return filled;
}

int Userfault::let_have(std::uint64_t address, std::uint64_t page_bytes) const {
  uffdio_continue argument{};
  argument.range = {address, page_bytes};
  argument.mode = UFFDIO_CONTINUE_MODE_DONTWAKE;
  return call(fd(), UFFDIO_CONTINUE, argument);
}

int Userfault::wake(std::uint64_t address, std::uint64_t length) const {
  uffdio_range argument{address, length};
  return call(fd(), UFFDIO_WAKE, argument);
}

int Userfault::poison(std::uint64_t address, std::uint64_t length) const {
  Poison argument{{address, length}, 0, 0};
  return call(fd(), kPoison, argument);
}

std::vector<uffd_msg> Userfault::read() const {
  std::array<uffd_msg, kMessagesAtOnce> messages{};
  iovec into{messages.data(), sizeof messages};
  // The process may still have the descriptor and make it wait: so we say for ourselves that we don't (Linux 6.10).
  ssize_t bytes = preadv2(fd(), &into, 1, -1, RWF_NOWAIT);
  if (bytes < 0 && errno == EOPNOTSUPP) bytes = ::read(fd(), messages.data(), sizeof messages);
  if (bytes <= 0) return {};
  return {messages.begin(), messages.begin() + bytes / static_cast<ssize_t>(sizeof messages[0])};
}

}  // namespace dipc
