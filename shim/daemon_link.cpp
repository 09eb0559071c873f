#include "shim/daemon_link.h"

#include <fcntl.h>
#include <linux/stat.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "arch/abi.h"
#include "shim/kernel_calls.h"
#include "wire/local_abi.h"

namespace dipc::shim {
namespace {

constexpr char kSystemSocket[] = "/run/dipc/dipcd.sock";
constexpr char kUserSocketEnd[] = "/dipc/dipcd.sock";  // after $XDG_RUNTIME_DIR
constexpr uint32_t kOpTimeoutMs = 5000;                // until a daemon has told its own
constexpr int64_t kRetryNsMin = 1'000'000;             // 1 ms, doubled up to
constexpr int64_t kRetryNsMax = 50'000'000;            // 50 ms
constexpr rlim_t kDescriptorMax = 4096;                // higher numbers cost memory in every fork
constexpr rlim_t kDescriptorsBelowLimit = 64;

// Where to look; an empty string ends the list.
constinit char g_paths[2][sizeof(sockaddr_un::sun_path)] = {};
constinit bool g_path_was_given = false;
constinit bool g_strict = false;
constinit std::atomic<bool> g_reached{false};
constinit std::atomic<int32_t> g_daemon_pid{0};
constinit std::atomic<int32_t> g_keeper_pid{0};
constinit std::atomic<uint32_t> g_op_timeout_ms{kOpTimeoutMs};

// Copies `begin` and `end` into `path`; a path too long for a socket address names no socket.
void set_path(char (&path)[sizeof(sockaddr_un::sun_path)], const char* begin, const char* end) {
  size_t begin_bytes = strlen(begin);
  size_t end_bytes = strlen(end);
  if (begin_bytes + end_bytes >= sizeof path) return;
  memcpy(path, begin, begin_bytes);
  memcpy(path + begin_bytes, end, end_bytes + 1);
}

void read_environment() {
  const char* strict = secure_getenv("DIPC_STRICT");
  g_strict = strict && strcmp(strict, "1") == 0;
  if (const char* given = secure_getenv("DIPC_SOCKET"); given && *given) {
    g_path_was_given = true;
    set_path(g_paths[0], given, "");
    return;
  }
  set_path(g_paths[0], kSystemSocket, "");
  const char* runtime = secure_getenv("XDG_RUNTIME_DIR");
  if (runtime && *runtime == '/') set_path(g_paths[1], runtime, kUserSocketEnd);
}

// A number out of the way of programs that count on low ones or close all they know of.
int move_up(int descriptor) {
  struct {
    uint64_t soft, hard;
  } limit{1024, 1024};
  raw(SYS_prlimit64, 0, RLIMIT_NOFILE, nullptr, &limit);
  uint64_t top = limit.soft < kDescriptorMax ? limit.soft : kDescriptorMax;
  for (uint64_t lowest : {top > kDescriptorsBelowLimit ? top - kDescriptorsBelowLimit : 3, top / 2, uint64_t{3}}) {
    long moved = lowest < 3 ? -EINVAL : raw(SYS_fcntl, descriptor, F_DUPFD_CLOEXEC, static_cast<long>(lowest));
    if (moved >= 0) {
      close_descriptor(descriptor);
      return static_cast<int>(moved);
    }
  }
  if (descriptor > 2) return descriptor;
  close_descriptor(descriptor);
  return -EMFILE;
}

uint64_t ipc_namespace() {
  struct statx status;
  // The thread's: unshare(CLONE_NEWIPC) changes the calling thread alone.
  return raw(SYS_statx, AT_FDCWD, "/proc/thread-self/ns/ipc", 0, STATX_INO, &status) == 0 ? status.stx_ino : 0;
}

int connect_to(const char* path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  memcpy(address.sun_path, path, strlen(path));
  long made = raw(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (made < 0) return made == -ENOENT ? -EPERM : static_cast<int>(made);  // ENOENT is about paths
  int descriptor = move_up(static_cast<int>(made));
  if (descriptor < 0) return descriptor;
  long result = raw(SYS_connect, descriptor, &address, sizeof address);
  if (result == 0) return descriptor;
  close_descriptor(descriptor);
  return static_cast<int>(result);
}

int connect_to_any() {
  int result = -ENOENT;
  for (const auto& path : g_paths) {
    if (path[0] == '\0') break;
    result = connect_to(path);
    if (result != -ENOENT && result != -ENOTDIR) break;
    if (!g_path_was_given && current_effective_uid() == 0) break;  // root's daemon is the system's
  }
  return result;
}

// Says hello on `connection.connecting` and takes the answer.
Reach hello(Connection& connection, const Patience& patience, int64_t deadline_ns) {
  local::HelloRequest request;
  constexpr local::AbiBytes kAbi = local::encode_abi(measured_abi());
  memcpy(request.abi, kAbi.bytes, sizeof kAbi.bytes);
  request.ipc_namespace = ipc_namespace();
  int socket = connection.connecting.number();
  long sent = send_record(socket, &request, sizeof request, {}, -1);
  if (sent == -EPIPE || sent == -ECONNRESET) return Reach::kSilent;
  if (sent != sizeof request) return Reach::kCannot;

  local::HelloReply reply;
  for (;;) {
    int64_t left_ns = deadline_ns - monotonic_ns();
    int ready = wait_for_awake(socket, POLLIN, left_ns > 0 ? left_ns : 0, patience.mask);
    if (connection.connecting.number() != socket || !connection.connecting.is_ours()) {
      return Reach::kInterrupted;  // a handler made a call or closed everything: begin again, or end
    }
    if (ready == -EINTR && !patience.interruptible) continue;
    if (ready == -EINTR) return Reach::kInterrupted;
    if (ready <= 0) return Reach::kSilent;
    long got = raw(SYS_recvfrom, socket, &reply, sizeof reply, MSG_DONTWAIT, nullptr, nullptr);
    if (got == -EAGAIN || got == -EINTR) continue;
    if (got <= 0) return Reach::kSilent;  // it died under our hello
    if (got != sizeof reply || reply.magic != local::kMagic || reply.version != local::kVersion || reply.error != 0) {
      return Reach::kCannot;
    }
    break;
  }
  if (reply.same_namespace == 0) return Reach::kNoDaemon;
  if (reply.op_timeout_ms != 0) g_op_timeout_ms.store(reply.op_timeout_ms, std::memory_order_relaxed);
  g_daemon_pid.store(reply.daemon_pid, std::memory_order_relaxed);
  g_keeper_pid.store(reply.keeper_pid, std::memory_order_relaxed);
  g_reached.store(true, std::memory_order_relaxed);
  return Reach::kConnected;
}

Reach connect_once(Connection& connection, const Patience& patience, int64_t deadline_ns, bool* absent) {
  *absent = false;
  connection.connecting.close();  // of a frame that a handler has left by siglongjmp
  int descriptor = connect_to_any();
  switch (descriptor) {
    case -ENOENT:
    case -ENOTDIR:
      *absent = true;
      return Reach::kNoDaemon;
    case -ECONNREFUSED:
    case -EAGAIN:  // its backlog is full
      return Reach::kSilent;
    default:
      if (descriptor < 0) return Reach::kCannot;
  }
  if (!connection.connecting.adopt(descriptor)) return Reach::kCannot;
  Reach result = hello(connection, patience, deadline_ns);
  if (connection.connecting.number() != descriptor) return result;
  if (result == Reach::kConnected) {
    connection.socket = connection.connecting;
    connection.connecting.forget();
  } else {
    connection.connecting.close();
  }
  return result;
}

}  // namespace

Reach reach_daemon(Connection& connection, const Patience& patience) {
  if (connection.socket.is_ours()) return Reach::kConnected;
  int64_t began_ns = monotonic_ns();
  int64_t retry_ns = kRetryNsMin;
  for (;;) {
    connection.socket.forget();
    int64_t deadline_ns = began_ns + op_timeout_ns();
    bool absent;
    Reach result = connect_once(connection, patience, deadline_ns, &absent);
    // A handler that ran may have made calls of its own, and left us a connection.
    if (connection.socket.is_ours()) return Reach::kConnected;
    if (result == Reach::kInterrupted && !patience.interruptible) continue;
    bool comes_back = result == Reach::kSilent || (absent && patience.waits_for_absent);
    if (!comes_back || patience.tries_once) return result;
    int64_t left_ns = deadline_ns - monotonic_ns();
    if (left_ns <= 0) return result;
    int waited = wait_for(-1, 0, retry_ns < left_ns ? retry_ns : left_ns, patience.mask);
    if (waited == -EINTR && patience.interruptible) return Reach::kInterrupted;
    if (connection.socket.is_ours()) return Reach::kConnected;
    retry_ns = retry_ns * 2 < kRetryNsMax ? retry_ns * 2 : kRetryNsMax;
  }
}

int wait_for(int descriptor, short events, int64_t timeout_ns, const sigset_t* mask) {
  pollfd entry{descriptor, events, 0};
  int64_t limit[2] = {timeout_ns / 1'000'000'000, timeout_ns % 1'000'000'000};  // struct __kernel_timespec
#ifdef SYS_ppoll_time64
  constexpr long kNumber = SYS_ppoll_time64;
#else
  constexpr long kNumber = SYS_ppoll;
  static_assert(sizeof(long) == 8);
#endif
  return static_cast<int>(
      raw(kNumber, &entry, descriptor < 0 ? 0 : 1, timeout_ns < 0 ? nullptr : limit, mask, kKernelSigsetBytes));
}

int wait_for_awake(int descriptor, short events, int64_t timeout_ns, const sigset_t* mask) {
  constexpr int64_t kAwakeNs = 50'000'000;  // an answer takes 0.1 ms; a busy machine gets its turns in
  int64_t until_ns = monotonic_ns() + (timeout_ns >= 0 && timeout_ns < kAwakeNs ? timeout_ns : kAwakeNs);
  do {
    int ready = wait_for(descriptor, events, 0, mask);
    if (ready != 0) return ready;
    raw(SYS_sched_yield);
  } while (monotonic_ns() < until_ns);
  return wait_for(descriptor, events, timeout_ns, mask);
}

void prepare() {
  static constinit std::atomic<bool> is_prepared{false};
  if (is_prepared.load(std::memory_order_acquire)) return;
  // There is one thread yet: the constructor has not run.
  is_prepared.store(true, std::memory_order_release);
  read_environment();
  prepare_threads();
}

bool is_strict() { return g_strict; }
bool has_reached_daemon() { return g_reached.load(std::memory_order_relaxed); }
bool acts_for_others(int32_t pid) {
  return pid != 0 &&
         (pid == g_daemon_pid.load(std::memory_order_relaxed) || pid == g_keeper_pid.load(std::memory_order_relaxed));
}
int64_t op_timeout_ns() { return int64_t{g_op_timeout_ms.load(std::memory_order_relaxed)} * 1'000'000; }

long send_record(int socket, const void* record, size_t record_bytes, const Body& body, int memfd) {
  union {
    cmsghdr align;
    char bytes[CMSG_SPACE(sizeof(ucred)) + CMSG_SPACE(sizeof(int))];
  } control;
  memset(&control, 0, sizeof control);
  char* first = const_cast<char*>(static_cast<const char*>(body.first));
  iovec parts[3];
  size_t count = 0;
  parts[count++] = {const_cast<void*>(record), record_bytes};
  if (body.first_bytes > 0) parts[count++] = {first, body.first_bytes};
  if (body.second_bytes > 0) parts[count++] = {first + body.first_bytes, body.second_bytes};
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = count;
  message.msg_control = &control;
  message.msg_controllen = memfd < 0 ? CMSG_SPACE(sizeof(ucred)) : sizeof control.bytes;

  cmsghdr* part = CMSG_FIRSTHDR(&message);
  part->cmsg_level = SOL_SOCKET;
  part->cmsg_type = SCM_CREDENTIALS;
  part->cmsg_len = CMSG_LEN(sizeof(ucred));
  ucred who{current_pid(), current_effective_uid(), current_effective_gid()};
  memcpy(CMSG_DATA(part), &who, sizeof who);
  if (memfd >= 0) {
    part = CMSG_NXTHDR(&message, part);
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN(sizeof memfd);
    memcpy(CMSG_DATA(part), &memfd, sizeof memfd);
  }
  return raw(SYS_sendmsg, socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

}  // namespace dipc::shim
