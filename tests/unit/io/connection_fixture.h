#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "daemon/io/connection.h"
#include "daemon/io/listener.h"
#include "tests/unit/io/tls_fixture.h"

namespace dipc {

// Generous: an emulator on a busy machine must not look like a hang.
inline constexpr std::uint64_t kHangMs = 120'000;

inline ConnectionLimits patient() {
  ConnectionLimits limits;
  limits.handshake = limits.farewell = std::chrono::seconds(100);
  return limits;
}

inline Endpoint loopback(std::uint16_t port = 0) { return {*IpAddress::parse("127.0.0.1"), port}; }

// What happened to one connection.
struct Seen {
  std::shared_ptr<Connection> connection;
  bool ready = false;
  std::vector<Record> records;
  std::optional<Trouble> closed;

  Connection::Callbacks callbacks() {
    Connection::Callbacks made;
    made.on_ready = [this](Connection&) { ready = true; };
    made.on_record = [this](Connection&, Record record) { records.push_back(std::move(record)); };
    made.on_closed = [this](Connection&, const Trouble& why) {
      EXPECT_FALSE(closed.has_value()) << "told twice";
      closed = why;
    };
    return made;
  }
};

// Two hosts on one loop; sun dials vax.
class ConnectionTest : public testing::Test {
 protected:
  ConnectionTest() { EXPECT_EQ(uv_loop_init(&loop_), 0); }

  ~ConnectionTest() override {
    for (auto* seen : {&there_, &here_}) {
      if (seen->connection) seen->connection->abort();
      seen->connection.reset();
    }
    more_.clear();
    listener_.reset();
    run_until([this] { return uv_loop_alive(&loop_) == 0; });
    EXPECT_EQ(uv_loop_close(&loop_), 0) << "a handle was left open";
  }

  // Turns the loop until `done`; fails after a time that only a hang takes.
  template <typename Done>
  void run_until(Done done) {
    uv_timer_t limit;
    bool late = false;
    uv_timer_init(&loop_, &limit);
    limit.data = &late;
    uv_update_time(&loop_);
    uv_timer_start(
        &limit, [](uv_timer_t* timer) { *static_cast<bool*>(timer->data) = true; }, kHangMs, 0);
    uv_unref(reinterpret_cast<uv_handle_t*>(&limit));
    while (!done() && !late) {
      if (uv_run(&loop_, UV_RUN_ONCE) == 0 && !done()) break;
    }
    EXPECT_TRUE(done());
    bool gone = false;
    limit.data = &gone;
    uv_close(reinterpret_cast<uv_handle_t*>(&limit),
             [](uv_handle_t* handle) { *static_cast<bool*>(handle->data) = true; });
    while (!gone) uv_run(&loop_, UV_RUN_NOWAIT);
  }

  void listen(const TlsContext& tls, const Endpoint& endpoint = loopback(),
              const ConnectionLimits& limits = patient()) {
    auto opened = Listener::open(
        &loop_, endpoint, tls,
        [this](std::shared_ptr<Connection> connection) {
          if (here_.connection) {
            more_.push_back(std::move(connection));
            return;
          }
          here_.connection = std::move(connection);
          here_.connection->set_callbacks(here_.callbacks());
        },
        limits);
    ASSERT_TRUE(opened.has_value()) << opened.error().what;
    listener_ = std::move(*opened);
  }

  void dial(const TlsContext& tls, const ConnectionLimits& limits = patient()) {
    there_.connection = Connection::dial(&loop_, listener_->local(), tls, there_.callbacks(), limits);
  }

  // Two hosts, connected.
  void connect(const ConnectionLimits& limits = patient()) {
    sun_ = certificates_.context(certificates_.standard("sun"));
    vax_ = certificates_.context(certificates_.standard("vax"));
    listen(*vax_, loopback(), limits);
    dial(*sun_, limits);
    run_until([this] { return there_.ready && here_.ready; });
  }

  uv_loop_t loop_{};
  static inline testing_tls::Certificates certificates_;
  std::unique_ptr<TlsContext> sun_, vax_;
  std::unique_ptr<Listener> listener_;
  Seen there_;  // dialler
  Seen here_;   // acceptor
  std::vector<std::shared_ptr<Connection>> more_;
};

// A plain TCP client, blocking.
class Client {
 public:
  explicit Client(const Endpoint& to) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(to.port);
    EXPECT_EQ(::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  }
  ~Client() { ::close(fd_); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  void send(std::string_view bytes) {
    EXPECT_EQ(::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
  }
  int fd() const { return fd_; }

 private:
  int fd_;
};

}  // namespace dipc
