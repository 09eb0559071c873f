// Hostile programs of this host: whatever they write into the daemon's socket, what comes out as a call can be sent to
// another host, and the next program is served.
//
// Input: packets. Of each: what of it is right (Right), how many bytes follow (at most 255), then the bytes, which lie
// over a zeroed record. Numbers in the corpus are little-endian: for other machines most of it asks for nonsense.

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "daemon/io/shim_server.h"
#include "daemon/local_records.h"
#include "wire/check.h"
#include "wire/codec.h"
#include "wire/local_abi.h"

namespace dipc {
namespace {

enum Right : std::uint8_t {
  kHello = 1,     // a greeting with our ABI goes before
  kHeader = 2,    // magic and call number
  kPayload = 4,   // payload_bytes is what follows the header
  kMemfd = 8,     // what follows the header goes in a memfd
  kLong4 = 16,    // with kHello: a program with a long of four bytes
  kNoMemfd = 32,  // a descriptor comes along that is no memfd
};

// Takes each call for one on an object of each kind, encodes it, and answers.
class Daemon final : public ShimServer::Handler {
 public:
  void on_request(LocalRequest request) override {
    for (const Kind kind : {Kind::kMessageQueue, Kind::kSemaphoreSet, Kind::kSegment}) {
      const auto body = call_of(request, ObjectRef{kind, 5, 7});
      if (!body) continue;
      consumes_message(*body);
      uses_undo(*body);
      Frame frame;
      frame.message = Call{CallId{1}, Caller{"alice", {1, 1}}, *body};
      const Bytes written = encode(Record{frame});
      const auto arrived = decode(std::span(written).subspan(kLengthPrefixBytes));
      DIPC_CHECK(arrived.has_value() && *arrived == Record{frame});
    }
    local::Reply reply;
    reply.call = request.header.call;
    server->reply(request.client, reply, request.payload, request.header.op == local::Op::kReceive);
  }
  void on_cancel(ClientId, std::uint64_t) override {}
  void on_reply_taken(ClientId, std::uint64_t) override {}
  void on_reply_unread(ClientId, std::uint64_t) override {}
  void on_client_gone(ClientId) override {}
  ShimServer* server = nullptr;
};

class Socket {
 public:
  explicit Socket(const std::string& path) : fd_(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    DIPC_CHECK(::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  ~Socket() { ::close(fd_); }

  void send(std::span<const std::byte> packet, int passed = -1) const {
    iovec part{const_cast<std::byte*>(packet.data()), packet.size()};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    if (passed >= 0) {
      message.msg_control = control;
      message.msg_controllen = sizeof control;
      cmsghdr* const header = CMSG_FIRSTHDR(&message);
      header->cmsg_level = SOL_SOCKET;
      header->cmsg_type = SCM_RIGHTS;
      header->cmsg_len = CMSG_LEN(sizeof(int));
      std::memcpy(CMSG_DATA(header), &passed, sizeof passed);
    }
    ::sendmsg(fd_, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  }
  // Bytes of the next packet; less than 1: none.
  ssize_t receive(std::span<std::byte> into) const { return ::recv(fd_, into.data(), into.size(), MSG_DONTWAIT); }

 private:
  int fd_;
};

class Host {
 public:
  Host() {
    char folder[] = "/tmp/dipc-fuzz-XXXXXX";
    DIPC_CHECK(::mkdtemp(folder) != nullptr);
    uv_loop_init(&loop_);
    const std::string path = std::string(folder) + "/socket";
    auto server = ShimServer::listen(&loop_, {.path = path}, daemon_);
    DIPC_CHECK(server.has_value());
    // The socket without its name, so that nothing is left behind however this process ends.
    file_ = ::open(path.c_str(), O_PATH | O_CLOEXEC);
    DIPC_CHECK(file_ >= 0);
    std::filesystem::remove_all(folder);
    server_ = std::move(*server);
    daemon_.server = server_.get();
  }
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;
  ~Host() {
    server_.reset();
    uv_run(&loop_, UV_RUN_DEFAULT);
    uv_loop_close(&loop_);
    ::close(file_);
  }
  std::string path() const { return "/proc/self/fd/" + std::to_string(file_); }
  void turn() {
    for (int i = 0; i < 3; ++i) uv_run(&loop_, UV_RUN_NOWAIT);
  }

 private:
  int file_ = -1;
  uv_loop_t loop_{};
  Daemon daemon_;
  std::unique_ptr<ShimServer> server_;
};

void greet(const Socket& socket, bool narrow) {
  Abi abi = measured_abi();
  if (narrow) abi[CType::kLong].size_bytes = abi[CType::kSize].size_bytes = 4;
  local::HelloRequest hello;
  const auto bytes = local::encode_abi(abi);
  std::memcpy(hello.abi, bytes.bytes, sizeof hello.abi);
  socket.send(std::as_bytes(std::span(&hello, 1)));
}

void send(const Socket& socket, std::uint8_t right, std::span<const std::byte> given) {
  std::vector<std::byte> packet(std::max(given.size(), (right & kHeader) != 0 ? sizeof(local::Request) : 0));
  std::copy(given.begin(), given.end(), packet.begin());
  std::vector<std::byte> payload;
  if ((right & kHeader) != 0) {
    local::Request header;
    std::memcpy(&header, packet.data(), sizeof header);
    header.magic = local::kMagic;
    if (header.call == 0) header.call = 1;
    payload.assign(packet.begin() + sizeof header, packet.end());
    if ((right & kPayload) != 0) header.payload_bytes = static_cast<std::uint32_t>(payload.size());
    if ((right & kMemfd) != 0) {
      header.marks |= local::kPayloadInMemfd;
      packet.resize(sizeof header);
    }
    std::memcpy(packet.data(), &header, sizeof header);
  }
  int passed = -1;
  if ((right & kMemfd) != 0) {
    passed = ::memfd_create("payload", MFD_CLOEXEC);
    DIPC_CHECK(::pwrite(passed, payload.data(), payload.size(), 0) == static_cast<ssize_t>(payload.size()));
  } else if ((right & kNoMemfd) != 0) {
    passed = ::open("/dev/zero", O_RDONLY | O_CLOEXEC);
  }
  socket.send(packet, passed);
  if (passed >= 0) ::close(passed);
}

// A program that does as it should: greets, asks, is answered.
void check_service(Host& host) {
  const Socket socket(host.path());
  greet(socket, false);
  host.turn();
  local::HelloReply welcome;
  const auto into = std::as_writable_bytes(std::span(&welcome, 1));
  DIPC_CHECK(socket.receive(into) == static_cast<ssize_t>(into.size()) && welcome.error == 0);
  local::Request request;
  request.op = local::Op::kLookup;
  request.call = 9;
  socket.send(std::as_bytes(std::span(&request, 1)));
  host.turn();
  local::Reply reply;
  const auto answer = std::as_writable_bytes(std::span(&reply, 1));
  DIPC_CHECK(socket.receive(answer) == static_cast<ssize_t>(answer.size()) && reply.call == 9);
}

void run(std::span<const std::byte> input) {
  static Host host;
  {
    const Socket socket(host.path());
    static std::vector<std::byte> answer(1u << 20);
    constexpr int kPacketsMax = 20;
    for (int i = 0; i < kPacketsMax && input.size() >= 2; ++i) {
      const auto right = std::to_integer<std::uint8_t>(input[0]);
      const std::size_t bytes = std::min(std::to_integer<std::size_t>(input[1]), input.size() - 2);
      if ((right & kHello) != 0) greet(socket, (right & kLong4) != 0);
      send(socket, right, input.subspan(2, bytes));
      input = input.subspan(2 + bytes);
      host.turn();
      while (socket.receive(answer) > 0) {
      }
    }
  }
  host.turn();
  check_service(host);
  host.turn();
}

}  // namespace
}  // namespace dipc

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  dipc::run({reinterpret_cast<const std::byte*>(data), bytes});
  return 0;
}
