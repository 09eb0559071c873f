#include "daemon/io/loop.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <vector>

namespace dipc {
namespace {

using std::chrono::milliseconds;

class TimerTest : public testing::Test {
 protected:
  TimerTest() {
    uv_loop_init(&loop_);
    timer_ = std::make_unique<Timer>(&loop_, [this] { fired_.push_back(loop_now()); });
  }
  ~TimerTest() override {
    timer_.reset();
    uv_run(&loop_, UV_RUN_DEFAULT);
    EXPECT_EQ(uv_loop_close(&loop_), 0);
  }
  void run_until(TimePoint end) {
    while (loop_now() < end) uv_run(&loop_, UV_RUN_NOWAIT);
  }
  uv_loop_t loop_{};
  std::unique_ptr<Timer> timer_;
  std::vector<TimePoint> fired_;
};

TEST_F(TimerTest, GoesOffOnceAndNotBeforeItsTime) {
  const TimePoint due = loop_now() + milliseconds(5);
  timer_->start_at(due);
  run_until(due + milliseconds(30));
  ASSERT_EQ(fired_.size(), 1u);
  EXPECT_GE(fired_[0], due);
}

TEST_F(TimerTest, ALaterTimeReplacesAnEarlierOne) {
  const TimePoint due = loop_now() + milliseconds(30);
  timer_->start_at(loop_now() + milliseconds(5));
  timer_->start_at(due);
  run_until(due + milliseconds(30));
  ASSERT_EQ(fired_.size(), 1u);
  EXPECT_GE(fired_[0], due);
}

TEST_F(TimerTest, AnEarlierTimeReplacesALaterOne) {
  const TimePoint late = loop_now() + milliseconds(60'000);
  timer_->start_at(late);
  timer_->start_at(loop_now() + milliseconds(5));
  while (fired_.empty()) uv_run(&loop_, UV_RUN_ONCE);
  EXPECT_LT(fired_[0], late);
}

TEST_F(TimerTest, StoppedItIsSilentAndCanBeStartedAgain) {
  timer_->start_at(loop_now() + milliseconds(5));
  timer_->stop();
  run_until(loop_now() + milliseconds(20));
  EXPECT_TRUE(fired_.empty());
  timer_->start_at(loop_now());
  while (fired_.empty()) uv_run(&loop_, UV_RUN_ONCE);
}

TEST(LoopRunnerTest, WorksOnWhetherItSleepsOrLooks) {
  for (const Duration busy_poll : {Duration::zero(), Duration(std::chrono::milliseconds(1))}) {
    uv_loop_t loop;
    uv_loop_init(&loop);
    int ends[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    int turns = 0;
    {
      LoopRunner runner(&loop, busy_poll);
      Timer timer(&loop, [&] { ASSERT_EQ(write(ends[1], "x", 1), 1); });
      ReadPoll poll(&loop, ends[0], [&] {
        char byte;
        ASSERT_EQ(read(ends[0], &byte, 1), 1);
        if (++turns == 200) return runner.stop();
        // By turns at once and a while later: what pays changes all the time.
        timer.start_at(loop_now() + milliseconds(turns % 10 == 0 ? 2 : 0));
      });
      timer.start_at(loop_now());
      runner.run();
    }
    EXPECT_EQ(turns, 200);
    uv_run(&loop, UV_RUN_DEFAULT);
    EXPECT_EQ(uv_loop_close(&loop), 0);
    close(ends[0]);
    close(ends[1]);
  }
}

}  // namespace
}  // namespace dipc
