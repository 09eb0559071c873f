#include "daemon/io/shim_server.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>

#include "tests/unit/io/own_process.h"
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

}  // namespace
}  // namespace dipc
