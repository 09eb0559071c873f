#pragma once

// The daemon's part for this host's programs, with a program at one side and a silent owner, moon, at the other.

#include <gtest/gtest.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/local_calls.h"
#include "tests/unit/daemon/naming_fixture.h"
#include "wire/local_abi.h"

namespace dipc::test {

inline constexpr ObjectRef kQueue{Kind::kMessageQueue, 5, 7};
inline constexpr ObjectRef kSegment{Kind::kSegment, 7, 9};
inline constexpr ObjectRef kSet{Kind::kSemaphoreSet, 6, 8};
inline constexpr std::int64_t kSemaphores = 2;
inline constexpr std::size_t kCallsMax = 3;
inline constexpr std::int32_t kKey = 0x10;

// A program of this host, as its shim speaks to the daemon.
class Program {
 public:
  explicit Program(const std::string& path) : fd_(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof(address.sun_path) - 1);
    EXPECT_EQ(::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
    local::HelloRequest hello;
    const local::AbiBytes abi = local::encode_abi(measured_abi());
    std::memcpy(hello.abi, abi.bytes, sizeof(hello.abi));
    EXPECT_EQ(::send(fd_, &hello, sizeof(hello), 0), static_cast<ssize_t>(sizeof(hello)));
  }
  ~Program() { close(); }
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }
  void send(local::Request request, const std::string& payload = "") {
    request.call = 1;
    request.payload_bytes = static_cast<std::uint32_t>(payload.size());
    const std::string packet = std::string(reinterpret_cast<const char*>(&request), sizeof(request)) + payload;
    EXPECT_EQ(::send(fd_, packet.data(), packet.size(), 0), static_cast<ssize_t>(packet.size()));
  }
  void cancel() {
    local::Request request;
    request.op = local::Op::kCancel;
    send(request);
  }
  // What came by now.
  std::optional<local::Reply> reply() {
    char packet[65536];
    const ssize_t bytes = ::recv(fd_, packet, sizeof(packet), MSG_DONTWAIT);
    if (bytes < static_cast<ssize_t>(sizeof(local::Reply))) return std::nullopt;  // the welcome is shorter
    local::Reply reply;
    std::memcpy(&reply, packet, sizeof(reply));
    return reply;
  }

 private:
  int fd_;
};

// This host's programs, and their objects on moon.
class LocalCallsTest : public LoopTest, public ShimServer::Handler {
 protected:
  void SetUp() override {
    calls_.emplace(&loop_, peers_, users_, types_, kCallsMax,
                   [this](const std::string& owner, const ObjectRef& object, Error) {
                     EXPECT_EQ(owner, "moon");
                     EXPECT_FALSE(program_->reply()) << "a program that has its answer looks with ipcs";
                     gone_objects_.push_back(object);
                   });
    const std::string path = (directory_.path() / "dipcd.sock").string();
    auto server = ShimServer::listen(&loop_, {.path = path, .op_timeout_ms = 1000}, *this);
    ASSERT_TRUE(server) << server.error().what;
    server_ = std::move(*server);
    calls_->attach(*server_);
    program_.emplace(path);
  }
  ~LocalCallsTest() override {
    program_.reset();
    server_.reset();
    calls_.reset();
  }

  void on_request(LocalRequest request) override {
    client_ = request.client;
    const bool is_set = request.header.op == local::Op::kControl || request.header.op == local::Op::kOperate;
    if (request.header.op == local::Op::kAttach) return calls_->begin(request, "moon", kSegment, 0);
    calls_->begin(request, "moon", is_set ? kSet : kQueue, is_set ? kSemaphores : 0, kKey);
  }
  void on_cancel(ClientId client, std::uint64_t call) override { calls_->on_cancel(client, call); }
  void on_reply_taken(ClientId client, std::uint64_t call) override {
    ++taken_;
    calls_->on_reply_taken(client, call);
  }
  void on_reply_unread(ClientId client, std::uint64_t call) override { calls_->on_reply_unread(client, call); }
  void on_client_gone(ClientId client) override {
    calls_->on_client_gone(client);
    gone_ = true;
  }

  // The call that the owner got of a program's request.
  Call call_of(local::Op op, std::int32_t command = 0) {
    local::Request request;
    request.op = op;
    request.size = 100;
    request.command = command;
    program_->send(request);
    std::optional<Call> call;
    run_until([&] {
      tell_declarations();
      return call || (call = peers_.next<Call>("moon"));
    });
    return *call;
  }
  // If moon has been asked what messages are.
  void tell_declarations() {
    if (const auto question = peers_.next<AskLayout>("moon")) {
      EXPECT_EQ(question->queue, kQueue);
      calls_->on_declarations("moon", {kQueue, declarations_});
    }
  }
  Call undo_call() {
    local::Request request;
    request.op = local::Op::kOperate;
    request.size = 1;
    const sembuf op{0, -1, SEM_UNDO};
    program_->send(request, std::string(reinterpret_cast<const char*>(&op), sizeof(op)));
    std::optional<Call> call;
    run_until([&] { return call || (call = peers_.next<Call>("moon")); });
    return *call;
  }
  local::Reply answer() {
    std::optional<local::Reply> reply;
    run_until([&] { return reply || (reply = program_->reply()); });
    return *reply;
  }

  Users users_;
  HostTypes types_;
  std::string declarations_;  // of kQueue, at moon
  std::unique_ptr<ShimServer> server_;
  std::optional<LocalCalls> calls_;
  std::optional<Program> program_;
  ClientId client_{};
  bool gone_ = false;
  int taken_ = 0;
  std::vector<ObjectRef> gone_objects_;
};

}  // namespace dipc::test
