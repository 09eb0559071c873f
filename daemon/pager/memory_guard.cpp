#include "daemon/pager/memory_guard.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "daemon/pager/descriptor_table.h"
#include "daemon/pager/guard_keeping.h"
#include "wire/descriptor.h"

namespace dipc {
namespace {

constexpr std::size_t kStackBytes = 256 * 1024;
constexpr std::size_t kTruncatorStackBytes = 16 * 1024;
// A program that writes into the memory of a segment holds its lock, and may wait for a page of it that only
// userfaultfd can bring: so long the guard waits for the others to be done.
constexpr int kPatienceMs = 2000;

// A process of its own, with no other descriptors: no userfaultfd waits for this segment's lock.
int truncate_one(void* descriptor) {
  const int number = *static_cast<const int*>(descriptor);
  if (number > 0) close_range(0, static_cast<unsigned>(number) - 1, 0);
  close_range(static_cast<unsigned>(number) + 1, ~0U, 0);
  // One that is open for reading alone refuses; there is another one of the same memory.
  _exit(ftruncate(number, 0) == 0 ? 0 : 1);
}

// Of those that are not kept. How many have begun.
int begin_truncating_segments() {
  int begun = 0;
  for_each_descriptor([&](int fd, const char* target) {
    if (!is_memfd_named(target, kSegmentMemoryName) || is_kept_memory(fd)) return;
    alignas(64) static char stack[kTruncatorStackBytes];
    if (clone(truncate_one, stack + sizeof stack, SIGCHLD, &fd) > 0) {
      ++begun;
    } else if (ftruncate(fd, 0) != 0) {
      return;  // as above
    }
  });
  return begun;
}

void truncate_segments() {
  int begun = begin_truncating_segments();
  for (int waited_ms = 0; begun > 0 && waited_ms < kPatienceMs;) {
    if (waitpid(-1, nullptr, WNOHANG) > 0) {
      --begun;
    } else {
      poll(nullptr, 0, 1);
      ++waited_ms;
    }
  }
}

void become_guard() {
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, nullptr);
  setsid();
  prctl(PR_SET_NAME, "dipc-guard");
}

// Of the daemon, when it started its guard.
struct Guarded {
  int pidfd = -1;
  pid_t pid = 0;
  int listener = -1;  // -1: nothing is kept
  int folder = -1;    // for g_descriptor_folder
  std::int64_t alone_max_ns = 0;
};

int guard(void* of) {
  const Guarded daemon = *static_cast<const Guarded*>(of);
  become_guard();
  g_descriptor_folder = daemon.folder;
  pollfd ended{daemon.pidfd, POLLIN, 0};
  while (poll(&ended, 1, -1) < 0 && errno == EINTR) {
  }
  if (daemon.listener >= 0 && find_kept_memory(daemon.pid, daemon.alone_max_ns)) {
    close_needless(Needless::kOfNoSegment, daemon.listener);
    truncate_segments();
    close_needless(Needless::kAll, daemon.listener);
    keep_until_fetched(daemon.listener);
    forget_kept_memory();
  }
  truncate_segments();
  _exit(0);
}

void close_all(const Guarded& of) {
  for (const int fd : {of.pidfd, of.listener, of.folder}) {
    if (fd >= 0) close(fd);
  }
}

// In the daemon: what its guard looks at.
Guarded g_latest;
pid_t g_latest_guard = 0;  // 0: there was none

void forget_latest() {
  if (g_latest_guard == 0) return;
  waitpid(std::exchange(g_latest_guard, 0), nullptr, WNOHANG);
  close_all(std::exchange(g_latest, {}));
}

// Opens its folder of descriptors at the number that it knows. The guard can't do so later: when the daemon is killed,
// the table that they share may be full.
bool open_folder_of(pid_t guard, int number) {
  const std::string path = "/proc/" + std::to_string(guard) + "/fd";
  const Descriptor folder(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  return folder && dup3(folder.get(), number, O_CLOEXEC) == number;
}

// A socket that takes the place of an earlier guard's. -1, with errno set: none.
int listen_at(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string fresh = path + ".new";
  if (fresh.size() >= sizeof address.sun_path) {
    errno = ENAMETOOLONG;
    return -1;
  }
  std::memcpy(address.sun_path, fresh.c_str(), fresh.size() + 1);
  Descriptor made(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!made) return -1;
  unlink(fresh.c_str());
  const mode_t mask = umask(0177);
  const bool bound = bind(made.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  umask(mask);
  if (!bound || listen(made.get(), 4) != 0 || rename(fresh.c_str(), path.c_str()) != 0) return -1;
  return fcntl(made.get(), F_DUPFD_CLOEXEC, 0);
}

// ---- a guard that is told

Descriptor g_told;  // the daemon's end of its socket

// The next segment's memory, as long as there is a daemon.
std::optional<Descriptor> hear_of_segment(int socket) {
  char byte;
  iovec part{&byte, 1};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  ssize_t got;
  while ((got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC)) < 0 && errno == EINTR) {
  }
  if (got <= 0) return std::nullopt;
  const cmsghdr* header = CMSG_FIRSTHDR(&message);
  int memory = -1;
  if (header != nullptr) std::memcpy(&memory, CMSG_DATA(header), sizeof memory);
  return Descriptor(memory);
}

[[noreturn]] void guard_what_it_is_told(int socket) {
  become_guard();
  std::vector<Descriptor> segments;
  while (auto memory = hear_of_segment(socket)) {
    std::erase_if(segments, [](const Descriptor& one) {  // those that the daemon is through with
      struct stat status {};
      return fstat(one.get(), &status) != 0 || status.st_size == 0;
    });
    if (*memory) segments.push_back(std::move(*memory));
  }
  for (const Descriptor& memory : segments) {
    if (ftruncate(memory.get(), 0) != 0) continue;  // can't be: they are the daemon's own
  }
  _exit(0);
}

Result<Descriptor> start_told_guard() {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    return trouble(std::string("socketpair: ") + std::strerror(errno));
  }
  Descriptor told(ends[0]);
  const Descriptor hears(ends[1]);
  const pid_t guard = fork();
  if (guard < 0) return trouble(std::string("fork: ") + std::strerror(errno));
  if (guard == 0) {
    // Nothing of the daemon's may stay open with it.
    const auto socket = static_cast<unsigned>(hears.get());
    if (socket > 0) close_range(0, socket - 1, 0);
    close_range(socket + 1, ~0U, 0);
    guard_what_it_is_told(hears.get());
  }
  g_told = std::move(told);
  return Descriptor();
}

}  // namespace

bool tell_memory_guard(int memory) {
  if (!g_told) return true;
  char byte = 0;
  iovec part{&byte, 1};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof memory);
  std::memcpy(CMSG_DATA(header), &memory, sizeof memory);
  ssize_t sent;
  while ((sent = sendmsg(g_told.get(), &message, MSG_NOSIGNAL)) < 0 && errno == EINTR) {
  }
  return sent == 1;
}

Result<Descriptor> start_memory_guard(const GuardOptions& options) {
  forget_latest();
  // They stay open: the guard looks at them.
  Guarded daemon;
  daemon.pid = getpid();
  daemon.alone_max_ns = std::chrono::nanoseconds(options.alone_max).count();
  daemon.pidfd = static_cast<int>(syscall(SYS_pidfd_open, daemon.pid, 0));
  if (daemon.pidfd < 0) return trouble(std::string("pidfd_open: ") + std::strerror(errno));
  if (!options.socket.empty()) {
    daemon.listener = listen_at(options.socket);
    if (daemon.listener < 0) {
      const int error = errno;
      close(daemon.pidfd);
      return trouble(options.socket + ": " + std::strerror(error));
    }
  }
  daemon.folder = fcntl(daemon.pidfd, F_DUPFD_CLOEXEC, 0);  // until there is a guard
  alignas(64) static char stack[kStackBytes];
  const pid_t made = daemon.folder < 0 ? -1 : clone(guard, stack + sizeof stack, CLONE_FILES | SIGCHLD, &daemon);
  Descriptor ended(made > 0 ? static_cast<int>(syscall(SYS_pidfd_open, made, 0)) : -1);
  if (ended && open_folder_of(made, daemon.folder)) {
    g_latest = daemon;
    g_latest_guard = made;
    return ended;
  }
  const int error = errno;
  if (made > 0) {
    kill(made, SIGKILL);
    waitpid(made, nullptr, 0);
  }
  close_all(daemon);
  if (made < 0 && error == EINVAL) return start_told_guard();
  return trouble(std::string("the guard of segments: ") + std::strerror(error));
}

}  // namespace dipc
