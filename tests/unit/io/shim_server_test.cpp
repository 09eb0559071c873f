#include "daemon/io/shim_server.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <deque>
#include <filesystem>
#include <fstream>

#include "wire/local_abi.h"

namespace dipc {
namespace {

struct Recorder : ShimServer::Handler {
  void on_request(LocalRequest request) override { requests.push_back(std::move(request)); }
  void on_cancel(ClientId, std::uint64_t) override {}
  void on_reply_taken(ClientId, std::uint64_t) override {}
  void on_reply_unread(ClientId, std::uint64_t) override {}
  void on_client_gone(ClientId) override {}
  std::vector<LocalRequest> requests;
};

std::size_t open_descriptors() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

// What a program, with the shim or without, may put into its daemon's socket.
class ShimServerTest : public testing::Test {
 protected:
  ShimServerTest() {
    char name[] = "/tmp/dipc-test-XXXXXX";
    folder_ = ::mkdtemp(name);
    uv_loop_init(&loop_);
    auto server = ShimServer::listen(&loop_, {.path = folder_ / "socket"}, recorder_);
    EXPECT_TRUE(server.has_value());
    server_ = std::move(*server);
    socket_ = ::socket(AF_UNIX, SOCK_SEQPACKET, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, (folder_ / "socket").c_str());
    EXPECT_EQ(::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    local::HelloRequest hello;
    hello.version = local::kVersion;
    const auto abi = local::encode_abi(measured_abi());
    std::memcpy(hello.abi, abi.bytes, sizeof hello.abi);
    EXPECT_EQ(::send(socket_, &hello, sizeof hello, 0), static_cast<ssize_t>(sizeof hello));
    turn();
    local::HelloReply reply;
    EXPECT_EQ(::recv(socket_, &reply, sizeof reply, MSG_DONTWAIT), static_cast<ssize_t>(sizeof reply));
    EXPECT_EQ(reply.error, 0);
  }
  ~ShimServerTest() override {
    ::close(socket_);
    server_.reset();
    uv_run(&loop_, UV_RUN_DEFAULT);
    EXPECT_EQ(uv_loop_close(&loop_), 0);
    std::filesystem::remove_all(folder_);
  }
  void turn() {
    for (int i = 0; i < 5; ++i) uv_run(&loop_, UV_RUN_NOWAIT);
  }
  void send(std::uint32_t payload_bytes, const std::vector<int>& passed) {
    local::Request request;
    request.magic = local::kMagic;
    request.op = local::Op::kSend;
    if (payload_in_memfd_) request.marks = local::kPayloadInMemfd;
    request.call = 1;
    request.payload_bytes = payload_bytes;
    iovec part{&request, sizeof request};
    alignas(cmsghdr) char control[CMSG_SPACE(4 * sizeof(int))] = {};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(passed.size() * sizeof(int));
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(passed.size() * sizeof(int));
    std::memcpy(CMSG_DATA(header), passed.data(), passed.size() * sizeof(int));
    ASSERT_EQ(::sendmsg(socket_, &message, 0), static_cast<ssize_t>(sizeof request));
    turn();
  }
  bool is_closed() {
    char byte;
    return ::recv(socket_, &byte, 1, MSG_DONTWAIT) == 0;
  }

  std::filesystem::path folder_;
  uv_loop_t loop_{};
  Recorder recorder_;
  std::unique_ptr<ShimServer> server_;
  int socket_ = -1;
  bool payload_in_memfd_ = true;
};

TEST_F(ShimServerTest, DescriptorsComeWithARequestAndGoWithItsReply) {
  int pipes[2];
  ASSERT_EQ(::pipe2(pipes, O_CLOEXEC), 0);
  payload_in_memfd_ = false;
  send(0, {pipes[1]});
  ::close(pipes[1]);
  ASSERT_EQ(recorder_.requests.size(), 1u);
  ASSERT_NE(recorder_.requests[0].passed, nullptr);
  EXPECT_EQ(::write(recorder_.requests[0].passed->get(), "x", 1), 1);
  char byte = 0;
  EXPECT_EQ(::read(pipes[0], &byte, 1), 1);

  local::Reply header;
  header.call = 1;
  const std::vector<int> two = {recorder_.requests[0].passed->get(), pipes[0]};
  EXPECT_TRUE(server_->reply(recorder_.requests[0].client, header, {}, false, two));
  recorder_.requests.clear();
  ::close(pipes[0]);
  local::Reply reply;
  iovec part{&reply, sizeof reply};
  alignas(cmsghdr) char control[CMSG_SPACE(4 * sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ASSERT_EQ(::recvmsg(socket_, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC), static_cast<ssize_t>(sizeof reply));
  const cmsghdr* rights = CMSG_FIRSTHDR(&message);
  ASSERT_NE(rights, nullptr);
  ASSERT_EQ(rights->cmsg_len, CMSG_LEN(2 * sizeof(int)));
  int got[2];
  std::memcpy(got, CMSG_DATA(rights), sizeof got);
  EXPECT_EQ(::write(got[0], "y", 1), 1);
  EXPECT_EQ(::read(got[1], &byte, 1), 1);
  EXPECT_EQ(byte, 'y');
  ::close(got[0]);
  ::close(got[1]);
}

// A program that finds no socket file takes it that no daemon runs here, and goes to the kernel.
TEST_F(ShimServerTest, TheFileOfAKilledDaemonIsReplacedInOneStep) {
  const std::filesystem::path path = folder_ / "left";
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strcpy(address.sun_path, path.c_str());
  const int killed = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  ASSERT_EQ(::bind(killed, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  ::close(killed);
  const int watch = ::inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  ASSERT_GE(::inotify_add_watch(watch, folder_.c_str(), IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO), 0);
  auto server = ShimServer::listen(&loop_, {.path = path}, recorder_);
  ASSERT_TRUE(server.has_value()) << server.error().what;
  bool was_replaced = false;
  alignas(inotify_event) char events[4096];
  const ssize_t bytes = ::read(watch, events, sizeof events);
  for (ssize_t at = 0; at < bytes;) {
    const auto* event = reinterpret_cast<const inotify_event*>(events + at);
    if (std::string(event->name) == "left") {
      EXPECT_EQ(event->mask & IN_DELETE, 0u);
      was_replaced = was_replaced || (event->mask & IN_MOVED_TO) != 0;
    }
    at += static_cast<ssize_t>(sizeof *event + event->len);
  }
  ::close(watch);
  EXPECT_TRUE(was_replaced);
  const int program = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  EXPECT_EQ(::connect(program, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  ::close(program);
}

class PassedFile : public ShimServerTest {
 protected:
  int memfd_ = ::memfd_create("body", MFD_CLOEXEC);
  ~PassedFile() override { ::close(memfd_); }
};

TEST_F(PassedFile, OfMemoryIsRead) {
  ASSERT_EQ(::write(memfd_, "sixteen bytes ok", 16), 16);
  const std::size_t before = open_descriptors();
  send(16, {memfd_});
  ASSERT_EQ(recorder_.requests.size(), 1u);
  EXPECT_EQ(recorder_.requests[0].payload.size(), 16u);
  EXPECT_FALSE(recorder_.requests[0].unreadable);
  EXPECT_EQ(open_descriptors(), before);
}

TEST_F(PassedFile, OfAnyOtherKindIsNotTouched) {
  const int device = ::open("/dev/zero", O_RDONLY | O_CLOEXEC);
  send(16, {device});
  ::close(device);
  EXPECT_TRUE(recorder_.requests.empty());
  EXPECT_TRUE(is_closed());
}

TEST_F(PassedFile, InAPairIsRefusedAndNoneStaysOpen) {
  const std::size_t before = open_descriptors();
  send(16, {memfd_, memfd_});
  EXPECT_TRUE(recorder_.requests.empty());
  EXPECT_TRUE(is_closed());
  EXPECT_EQ(open_descriptors(), before - 1) << "the server's end of our connection is closed, nothing else is open";
}

TEST_F(PassedFile, LongerThanAnyMessageIsLeftToTheKernelToRefuse) {
  ASSERT_EQ(::ftruncate(memfd_, off_t{64} << 20), 0);
  send(30'000'000, {memfd_});
  ASSERT_EQ(recorder_.requests.size(), 1u);
  EXPECT_TRUE(recorder_.requests[0].unreadable);
  EXPECT_TRUE(recorder_.requests[0].payload.empty());
}

// ---- limits

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

std::size_t resident_bytes() {
  std::size_t pages = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> pages >> resident;
  return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

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
