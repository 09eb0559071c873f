#pragma once

// A loop, a state folder and a network that only remembers what it was given, around one part of the daemon.

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <filesystem>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "daemon/io/loop.h"
#include "daemon/io/peer_outbox.h"
#include "tests/unit/kernel/kernel_fixture.h"

namespace dipc::test {

// What was sent, in order. Nothing comes back by itself.
class SilentPeers final : public PeerOutbox {
 public:
  bool send(const std::string& host, PeerMessage message) override {
    if (away.contains(host)) return false;
    sent.emplace_back(host, std::move(message));
    return true;
  }

  bool withdraw(const std::string&, CallId) override { return writes_nothing; }
  bool takes_answers(const std::string& host) const override { return !full.contains(host); }
  void end_session(const std::string& host, const std::string& why) override { ended.emplace_back(host, why); }

  // The next message of that type to that host that was not taken yet; all before it are forgotten.
  template <typename Message>
  std::optional<Message> next(const std::string& host) {
    for (auto it = sent.begin(); it != sent.end(); ++it) {
      const auto* message = std::get_if<Message>(&it->second);
      if (it->first != host || message == nullptr) continue;
      const Message found = *message;
      sent.erase(sent.begin(), it + 1);
      return found;
    }
    return std::nullopt;
  }

  std::deque<std::pair<std::string, PeerMessage>> sent;
  std::set<std::string> away;
  std::set<std::string> full;                              // hosts that do not take their answers
  bool writes_nothing = false;                             // what was sent waits for a connection
  std::vector<std::pair<std::string, std::string>> ended;  // sessions, and why
};

class LoopTest : public testing::Test {
 protected:
  LoopTest() { EXPECT_EQ(uv_loop_init(&loop_), 0); }
  ~LoopTest() override {
    uv_run(&loop_, UV_RUN_DEFAULT);  // handles close in a turn of the loop
    EXPECT_EQ(uv_loop_close(&loop_), 0) << "a handle was left open";
  }

  void run_until(const std::function<bool()>& done) {
    const Deadline deadline;
    uv_timer_t look;
    uv_timer_init(&loop_, &look);
    uv_timer_start(
        &look, [](uv_timer_t*) {}, 5, 5);
    while (!done() && !deadline.over()) uv_run(&loop_, UV_RUN_ONCE);
    EXPECT_TRUE(done()) << "it did not happen in time";
    uv_close(reinterpret_cast<uv_handle_t*>(&look), nullptr);
    uv_run(&loop_, UV_RUN_NOWAIT);
  }

  uv_loop_t loop_{};
  TemporaryDirectory directory_;
  SilentPeers peers_;
};

}  // namespace dipc::test
