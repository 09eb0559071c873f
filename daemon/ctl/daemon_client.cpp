#include "daemon/ctl/daemon_client.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <system_error>
#include <utility>
#include <vector>

#include "wire/descriptor.h"
#include "wire/local.h"
#include "wire/local_abi.h"

namespace dipc {
namespace {

constexpr std::uint32_t kAnswerBytesMax = 256u << 20;  // a cluster's objects as JSON; more is no answer of ours
constexpr const char* kStartRemedy = "start dipcd on this host, or name its socket with --socket or DIPC_SOCKET";

using Answer = tl::expected<DaemonAnswer, Unreachable>;

tl::unexpected<Unreachable> unreachable(std::string what, std::string remedy) {
  return tl::unexpected<Unreachable>(Unreachable{{std::move(what), std::move(remedy)}});
}

std::string message_of(int error) { return std::generic_category().message(error); }

// One packet with the ids that this process acts under: SO_PASSCRED alone would tell the daemon the real ones.
bool send_packet(int fd, const void* head, std::size_t head_bytes, const std::string& payload) {
  std::string packet(static_cast<const char*>(head), head_bytes);
  packet.append(payload);
  iovec part{packet.data(), packet.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(ucred))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_CREDENTIALS;
  header->cmsg_len = CMSG_LEN(sizeof(ucred));
  const ucred credentials{::getpid(), ::geteuid(), ::getegid()};
  std::memcpy(CMSG_DATA(header), &credentials, sizeof credentials);
  ssize_t sent = 0;
  do {
    sent = ::sendmsg(fd, &message, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  return sent == static_cast<ssize_t>(packet.size());
}

// The bytes of the next packet; less than 0: errno (ETIMEDOUT when nothing came in time). A descriptor that comes along
// is kept.
ssize_t receive_packet(int fd, std::vector<char>& buffer, Descriptor& passed, std::chrono::milliseconds limit) {
  const auto end = std::chrono::steady_clock::now() + limit;
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - std::chrono::steady_clock::now()).count();
    pollfd entry{fd, POLLIN, 0};
    const int ready = ::poll(&entry, 1, left > INT_MAX ? INT_MAX : left > 0 ? static_cast<int>(left) : 0);
    if (ready < 0 && errno == EINTR) continue;
    if (ready < 0) return -1;
    if (ready == 0) {
      errno = ETIMEDOUT;
      return -1;
    }
    break;
  }
  iovec part{buffer.data(), buffer.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  const ssize_t bytes = ::recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); bytes >= 0 && header != nullptr;
       header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    int descriptor = -1;
    std::memcpy(&descriptor, CMSG_DATA(header), sizeof descriptor);
    passed = Descriptor(descriptor);
  }
  return bytes;
}

bool read_memfd(int fd, std::string& into) {
  std::size_t done = 0;
  while (done < into.size()) {
    const ssize_t bytes = ::pread(fd, into.data() + done, into.size() - done, static_cast<off_t>(done));
    if (bytes < 0 && errno == EINTR) continue;
    if (bytes <= 0) return false;
    done += static_cast<std::size_t>(bytes);
  }
  return true;
}

std::uint64_t monotonic_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<std::uint64_t>(now.tv_nsec);
}

}  // namespace

Answer ask_daemon(const std::string& socket_path, const AdminCommand& command, std::chrono::milliseconds limit) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket_path.empty() || socket_path.size() >= sizeof address.sun_path) {
    return unreachable("the path of a socket has 1 to " + std::to_string(sizeof address.sun_path - 1) +
                           " characters, not " + std::to_string(socket_path.size()),
                       kStartRemedy);
  }
  std::memcpy(address.sun_path, socket_path.c_str(), socket_path.size());
  Descriptor socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (socket.get() < 0) return unreachable("no socket: " + message_of(errno), {});
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    const int error = errno;
    const bool forbidden = error == EACCES || error == EPERM;
    return unreachable("no dipcd answers at " + socket_path + ": " + message_of(error),
                       forbidden ? "ask as root, or as a member of group dipc" : kStartRemedy);
  }
  const auto lost = [&](ssize_t bytes) {
    if (bytes == 0) {
      return unreachable(
          "dipcd at " + socket_path + " closed the connection without an answer",
          "it may be of another version or byte order than this dipcctl, or it has just stopped: see its log");
    }
    return unreachable("dipcd at " + socket_path + " does not answer: " + message_of(errno), "see its log");
  };

  local::HelloRequest hello;
  const local::AbiBytes abi = local::encode_abi(measured_abi());
  std::memcpy(hello.abi, abi.bytes, sizeof hello.abi);
  if (!send_packet(socket.get(), &hello, sizeof hello, {})) return lost(-1);
  std::vector<char> buffer(sizeof(local::Reply) + local::kInlineBytesMax);
  Descriptor passed;
  ssize_t bytes = receive_packet(socket.get(), buffer, passed, limit);
  if (bytes <= 0) return lost(bytes);
  local::HelloReply welcome;
  const bool is_welcome = bytes == static_cast<ssize_t>(sizeof welcome);
  if (is_welcome) std::memcpy(&welcome, buffer.data(), sizeof welcome);
  if (!is_welcome || welcome.magic != local::kMagic || welcome.error != 0) {
    return unreachable("what answers at " + socket_path + " does not speak version " + std::to_string(local::kVersion) +
                           " of the local protocol",
                       "use the dipcctl that came with the running dipcd");
  }

  const std::string text = to_string(command);
  local::Request request;
  request.op = local::Op::kAdmin;
  request.call = 1;
  request.issued_ns = monotonic_ns();
  request.payload_bytes = static_cast<std::uint32_t>(text.size());
  if (!send_packet(socket.get(), &request, sizeof request, text)) return lost(-1);
  bytes = receive_packet(socket.get(), buffer, passed, limit);
  if (bytes <= 0) return lost(bytes);
  local::Reply reply;
  const auto garbled = [&] {
    return unreachable("dipcd at " + socket_path + " sent what is no answer", "see its log");
  };
  if (bytes < static_cast<ssize_t>(sizeof reply)) return garbled();
  std::memcpy(&reply, buffer.data(), sizeof reply);
  if (reply.magic != local::kMagic || reply.call != request.call || reply.payload_bytes > kAnswerBytesMax) {
    return garbled();
  }
  DaemonAnswer answer{reply.error, std::string(reply.payload_bytes, '\0')};
  if ((reply.marks & local::kPayloadInMemfd) != 0) {
    if (passed.get() < 0 || !read_memfd(passed.get(), answer.json)) return garbled();
  } else {
    if (static_cast<std::size_t>(bytes) != sizeof reply + reply.payload_bytes) return garbled();
    std::memcpy(answer.json.data(), buffer.data() + sizeof reply, reply.payload_bytes);
  }
  return answer;
}

std::string default_socket_path() {
  const auto set = [](const char* name) {
    const char* value = std::getenv(name);
    return value == nullptr ? std::string() : std::string(value);
  };
  if (std::string named = set("DIPC_SOCKET"); !named.empty()) return named;
  std::string system = "/run/dipc/dipcd.sock";
  if (::access(system.c_str(), F_OK) == 0) return system;
  if (const std::string runtime = set("XDG_RUNTIME_DIR"); !runtime.empty()) {
    std::string own = runtime + "/dipc/dipcd.sock";
    if (::access(own.c_str(), F_OK) == 0) return own;
  }
  return system;
}

}  // namespace dipc
