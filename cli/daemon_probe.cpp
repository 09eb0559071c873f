#include "cli/daemon_probe.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "wire/local.h"
#include "wire/local_abi.h"

namespace dipc {
namespace {

constexpr ByteOrder kNative = measured_abi().byte_order;

std::uint32_t in_order(std::uint32_t value, ByteOrder order) {
  return order == kNative ? value : __builtin_bswap32(value);
}

// The hello of some program of that byte order: which one does not matter to a daemon that only has to answer.
local::HelloRequest hello_in(ByteOrder order) {
  Abi abi = measured_abi();
  if (order != kNative) abi = *known_abi(order == ByteOrder::kBig ? "m68k" : "x86-64");
  const local::AbiBytes encoded = local::encode_abi(abi);
  local::HelloRequest hello;
  hello.magic = in_order(hello.magic, order);
  hello.op = in_order(hello.op, order);
  hello.version = in_order(hello.version, order);
  std::memcpy(hello.abi, encoded.bytes, sizeof hello.abi);
  return hello;
}

DaemonState exchange(int socket, ByteOrder order, std::chrono::milliseconds limit) {
  const local::HelloRequest hello = hello_in(order);
  if (send(socket, &hello, sizeof hello, MSG_NOSIGNAL) != static_cast<ssize_t>(sizeof hello)) {
    return DaemonState::kSilent;
  }
  const auto end = std::chrono::steady_clock::now() + limit;
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
    pollfd entry{socket, POLLIN, 0};
    const int ready = poll(&entry, 1, static_cast<int>(std::max<long long>(left.count(), 0)));
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return DaemonState::kSilent;
    break;
  }
  local::HelloReply reply;
  if (recv(socket, &reply, sizeof reply, 0) != static_cast<ssize_t>(sizeof reply)) return DaemonState::kOtherOrder;
  if (reply.magic != in_order(local::kMagic, order)) return DaemonState::kOtherOrder;
  return DaemonState::kAnswers;
}

DaemonState probe_in(const std::string& socket_path, ByteOrder order, std::chrono::milliseconds limit) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket_path.size() >= sizeof address.sun_path) return DaemonState::kAbsent;
  std::memcpy(address.sun_path, socket_path.c_str(), socket_path.size() + 1);

  const int socket_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (socket_fd < 0) return DaemonState::kSilent;
  DaemonState state = DaemonState::kAnswers;
  if (connect(socket_fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    if (errno == ENOENT || errno == ENOTDIR) {
      state = DaemonState::kAbsent;
    } else {
      state = errno == EACCES || errno == EPERM ? DaemonState::kForbidden : DaemonState::kSilent;
    }
  } else {
    state = exchange(socket_fd, order, limit);
  }
  close(socket_fd);
  return state;
}

}  // namespace

DaemonState probe_daemon(const std::string& socket_path, ByteOrder order, std::chrono::milliseconds limit) {
  const DaemonState state = probe_in(socket_path, order, limit);
  if (state != DaemonState::kOtherOrder) return state;
  // A daemon closes what speaks another byte order without a word; but so does one that is killed just now.
  const ByteOrder other = order == ByteOrder::kBig ? ByteOrder::kLittle : ByteOrder::kBig;
  return probe_in(socket_path, other, limit) == DaemonState::kAnswers ? state : DaemonState::kSilent;
}

std::string default_socket() {
  if (const char* socket = std::getenv("DIPC_SOCKET"); socket != nullptr && *socket != '\0') return socket;
  std::string system = "/run/dipc/dipcd.sock";
  if (access(system.c_str(), F_OK) != 0) {
    if (const char* runtime = std::getenv("XDG_RUNTIME_DIR"); runtime != nullptr && *runtime != '\0') {
      std::string own = std::string(runtime) + "/dipc/dipcd.sock";
      if (access(own.c_str(), F_OK) == 0) return own;
    }
  }
  return system;
}

}  // namespace dipc
