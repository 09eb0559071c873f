// What one login may take of the daemon, and programs that ask without end or never read.

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <deque>
#include <filesystem>

#include "daemon/io/shim_server.h"
#include "tests/unit/io/own_process.h"
#include "wire/local_abi.h"

namespace dipc {
namespace {

// A program that speaks the protocol by hand, and need not keep to it.
class Client {
 public:
  explicit Client(const std::filesystem::path& path) : fd_(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, path.c_str());
    EXPECT_EQ(::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  }
  ~Client() { ::close(fd_); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  void greet() const {
    local::HelloRequest hello;
    const auto abi = local::encode_abi(measured_abi());
    std::memcpy(hello.abi, abi.bytes, sizeof hello.abi);
    ::send(fd_, &hello, sizeof hello, MSG_NOSIGNAL);
  }
  // False: the daemon has closed the socket.
  bool ask(std::uint64_t call, local::Op op = local::Op::kLookup, const std::string& payload = "") const {
    local::Request request;
    request.op = op;
    request.call = call;
    request.payload_bytes = static_cast<std::uint32_t>(payload.size());
    const std::string packet = std::string(reinterpret_cast<const char*>(&request), sizeof request) + payload;
    return ::send(fd_, packet.data(), packet.size(), MSG_NOSIGNAL | MSG_DONTWAIT) ==
           static_cast<ssize_t>(packet.size());
  }
  void send_large(std::uint64_t call, std::uint32_t bytes) const {
    const int memfd = ::memfd_create("body", MFD_CLOEXEC);
    EXPECT_EQ(::ftruncate(memfd, bytes), 0);
    local::Request request;
    request.op = local::Op::kSend;
    request.marks = local::kPayloadInMemfd;
    request.call = call;
    request.payload_bytes = bytes;
    iovec part{&request, sizeof request};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(header), &memfd, sizeof memfd);
    EXPECT_EQ(::sendmsg(fd_, &message, MSG_NOSIGNAL), static_cast<ssize_t>(sizeof request));
    ::close(memfd);
  }
  // The error of the next answer, the welcome's included; nothing: none has come. EPIPE: the socket is closed.
  std::optional<int> answer() const {
    char packet[256];
    const ssize_t bytes = ::recv(fd_, packet, sizeof packet, MSG_DONTWAIT);
    if (bytes == 0 || (bytes < 0 && errno == ECONNRESET)) return EPIPE;
    if (bytes == sizeof(local::HelloReply)) {
      local::HelloReply welcome;
      std::memcpy(&welcome, packet, sizeof welcome);
      return welcome.error;
    }
    if (bytes < static_cast<ssize_t>(sizeof(local::Reply))) return std::nullopt;
    local::Reply reply;
    std::memcpy(&reply, packet, sizeof reply);
    return reply.error;
  }

 private:
  int fd_;
};

// Answers at once, as the daemon does what it knows itself; or keeps the call.
struct Answering : ShimServer::Handler {
  void on_request(LocalRequest request) override {
    ++requests;
    if (keeps) {
      kept.push_back(std::move(request));
      return;
    }
    local::Reply reply;
    reply.call = request.header.call;
    server->reply(request.client, reply, body, request.header.op == local::Op::kReceive);
  }
  void answer_kept() {
    keeps = false;
    for (LocalRequest& request : std::exchange(kept, {})) {
      --requests;
      on_request(std::move(request));
    }
  }
  void on_cancel(ClientId, std::uint64_t) override {}
  void on_reply_taken(ClientId, std::uint64_t) override {}
  void on_reply_unread(ClientId, std::uint64_t) override { ++unread; }
  void on_client_gone(ClientId) override { ++gone; }
  ShimServer* server = nullptr;
  bool keeps = false;
  std::vector<LocalRequest> kept;
  Bytes body;
  int requests = 0, unread = 0, gone = 0;
};

class ShimServerLimits : public testing::Test {
 protected:
  ShimServerLimits() {
    char name[] = "/tmp/dipc-test-XXXXXX";
    folder_ = ::mkdtemp(name);
    uv_loop_init(&loop_);
  }
  ~ShimServerLimits() override {
    server_.reset();
    uv_run(&loop_, UV_RUN_DEFAULT);
    EXPECT_EQ(uv_loop_close(&loop_), 0);
    std::filesystem::remove_all(folder_);
  }
  void listen(ShimServer::Options options) {
    options.path = path();
    options.login_of = [](uid_t) { return "alice"; };
    auto server = ShimServer::listen(&loop_, std::move(options), handler_);
    ASSERT_TRUE(server) << server.error().what;
    server_ = std::move(*server);
    handler_.server = server_.get();
  }
  std::filesystem::path path() const { return folder_ / "socket"; }
  void turn() {
    for (int i = 0; i < 5; ++i) uv_run(&loop_, UV_RUN_NOWAIT);
  }
  // Of its first request.
  int outcome(const Client& client, local::Op op = local::Op::kLookup) {
    client.greet();
    turn();
    EXPECT_EQ(client.answer(), 0);
    client.ask(1, op, "x");
    turn();
    return client.answer().value_or(-1);
  }

  std::filesystem::path folder_;
  uv_loop_t loop_{};
  Answering handler_;
  std::unique_ptr<ShimServer> server_;
};

TEST_F(ShimServerLimits, ALoginWithTooManyConnectionsGetsENOMEMAndCanStillAdminister) {
  listen({.connections_per_login = 3});
  std::deque<Client> clients;
  for (int i = 0; i < 3; ++i) EXPECT_EQ(outcome(clients.emplace_back(path())), 0);
  testing::internal::CaptureStderr();
  const Client late(path());
  EXPECT_EQ(outcome(late), ENOMEM);
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_EQ(late.answer(), EPIPE) << "its connection is of no more use";
  EXPECT_NE(log.find("alice"), std::string::npos) << log;
  EXPECT_NE(log.find("3 connections (limits.connections_per_login)"), std::string::npos) << log;
  EXPECT_EQ(outcome(Client(path()), local::Op::kAdmin), 0);
  clients.pop_front();
  turn();
  EXPECT_EQ(outcome(Client(path())), 0) << "there is room again";
}

TEST_F(ShimServerLimits, WhoWaitsForRoomHasItWhenHeAsks) {
  listen({.connections_per_login = 1});
  std::optional<Client> first(std::in_place, path());
  EXPECT_EQ(outcome(*first), 0);
  const Client second(path());
  second.greet();
  turn();
  first.reset();
  turn();
  EXPECT_EQ(second.answer(), 0);
  second.ask(1);
  turn();
  EXPECT_EQ(second.answer(), 0);
  EXPECT_EQ(outcome(Client(path())), ENOMEM) << "it counts from then on";
}

TEST_F(ShimServerLimits, ConnectionsBeyondTheLimitAreAFewAtATime) {
  listen({.connections_per_login = 2});
  std::deque<Client> clients;
  const std::size_t before = open_descriptors();
  constexpr std::size_t kFlood = 300;
  for (std::size_t i = 0; i < kFlood; ++i) {
    clients.emplace_back(path());
    turn();
  }
  EXPECT_LT(open_descriptors(), before + kFlood + 25) << "of the server's ends few are open";
  EXPECT_EQ(outcome(Client(path()), local::Op::kAdmin), 0);
}

TEST_F(ShimServerLimits, WhoNeverSaysHelloIsClosed) {
  listen({.hello_timeout = std::chrono::milliseconds(20)});
  const Client silent(path());
  const Client polite(path());
  polite.greet();
  turn();
  for (int turns = 0; turns < 1000 && handler_.gone == 0; ++turns) {
    uv_run(&loop_, UV_RUN_NOWAIT);
    ::usleep(1000);
  }
  EXPECT_EQ(silent.answer(), EPIPE);
  EXPECT_EQ(polite.answer(), 0);
  polite.ask(1);
  turn();
  EXPECT_EQ(polite.answer(), 0);
}

TEST_F(ShimServerLimits, OtherLoginsThanRootLeaveDescriptorsToOthers) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root: connects as another user";
  listen({.descriptors_max = 8});
  std::filesystem::permissions(folder_, std::filesystem::perms(0755));
  std::deque<Client> clients;
  ASSERT_EQ(::seteuid(65534), 0);
  for (int i = 0; i < 20; ++i) clients.emplace_back(path());
  ASSERT_EQ(::seteuid(0), 0);
  turn();
  int refused = 0;
  for (const Client& client : clients) refused += outcome(client) == ENOMEM ? 1 : 0;
  EXPECT_GT(refused, 10);
  EXPECT_EQ(outcome(Client(path())), 0) << "root gets in";
}

TEST_F(ShimServerLimits, BytesOfCallsUnderWayHaveABoundUntilTheyAreAnswered) {
  listen({.bytes_per_login = 32u << 20});
  handler_.keeps = true;
  std::deque<Client> clients;
  constexpr std::uint32_t kBytes = 8u << 20;
  int refused = 0;
  [[maybe_unused]] const std::size_t before = resident_bytes();
  for (int i = 0; i < 20; ++i) {
    const Client& client = clients.emplace_back(path());
    client.greet();
    turn();
    EXPECT_EQ(client.answer(), 0);
    client.send_large(1, kBytes);
    turn();
    if (const auto answer = client.answer()) {
      EXPECT_EQ(*answer, ENOMEM);
      ++refused;
    }
  }
  EXPECT_EQ(refused, 16);
#ifndef DIPC_SANITIZED  // sanitizers remember as much again
  EXPECT_LT(resident_bytes(), before + (64u << 20));
#endif
  EXPECT_EQ(outcome(Client(path()), local::Op::kAdmin), -1) << "it is taken, and kept by this test";
  handler_.answer_kept();
  EXPECT_EQ(clients.front().answer(), 0);
  clients.back().send_large(2, kBytes);
  turn();
  EXPECT_EQ(clients.back().answer(), 0) << "there is room again";
}

TEST_F(ShimServerLimits, WhoAsksWithoutReadingAnswersIsCutOffAndHisMessagesGoBack) {
  listen({});
  handler_.body.resize(1u << 20);  // in a memfd that waits in the socket
  const Client flood(path());
  const Client other(path());
  flood.greet();
  other.greet();
  turn();
  EXPECT_EQ(flood.answer(), 0);
  EXPECT_EQ(other.answer(), 0);
  for (std::uint64_t call = 1; call <= 100 && flood.ask(call, local::Op::kReceive); ++call) turn();
  EXPECT_EQ(handler_.requests, 1) << "the second came before the first answer was read";
  EXPECT_EQ(handler_.unread, 1);
  EXPECT_EQ(handler_.gone, 1);
  other.ask(1);
  turn();
  EXPECT_EQ(other.answer(), 0);
}

TEST_F(ShimServerLimits, WhoAsksManyThingsAtOnceIsCutOff) {
  listen({});
  handler_.keeps = true;
  const Client flood(path());
  flood.greet();
  for (std::uint64_t call = 1; call <= 100; ++call) flood.ask(call);
  turn();
  EXPECT_EQ(handler_.requests, 1);
  EXPECT_EQ(handler_.gone, 1);
}

}  // namespace
}  // namespace dipc
