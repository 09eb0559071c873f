#include "daemon/io/loop.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <vector>

namespace dipc {
namespace {

using std::chrono::milliseconds;

template <typename AnyTimer>
class TimerTest : public testing::Test {
 protected:
  TimerTest() {
    uv_loop_init(&loop_);
    timer_ = std::make_unique<AnyTimer>(&loop_, [this] { fired_.push_back(loop_now()); });
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
  std::unique_ptr<AnyTimer> timer_;
  std::vector<TimePoint> fired_;
};

using Timers = testing::Types<Timer, FineTimer>;
TYPED_TEST_SUITE(TimerTest, Timers);

TYPED_TEST(TimerTest, GoesOffOnceAndNotBeforeItsTime) {
  const TimePoint due = loop_now() + milliseconds(5);
  this->timer_->start_at(due);
  this->run_until(due + milliseconds(30));
  ASSERT_EQ(this->fired_.size(), 1u);
  EXPECT_GE(this->fired_[0], due);
}

TYPED_TEST(TimerTest, ALaterTimeReplacesAnEarlierOne) {
  const TimePoint due = loop_now() + milliseconds(30);
  this->timer_->start_at(loop_now() + milliseconds(5));
  this->timer_->start_at(due);
  this->run_until(due + milliseconds(30));
  ASSERT_EQ(this->fired_.size(), 1u);
  EXPECT_GE(this->fired_[0], due);
}

TYPED_TEST(TimerTest, AnEarlierTimeReplacesALaterOne) {
  const TimePoint late = loop_now() + milliseconds(60'000);
  this->timer_->start_at(late);
  this->timer_->start_at(loop_now() + milliseconds(5));
  while (this->fired_.empty()) uv_run(&this->loop_, UV_RUN_ONCE);
  EXPECT_LT(this->fired_[0], late);
}

TYPED_TEST(TimerTest, StoppedItIsSilentAndCanBeStartedAgain) {
  this->timer_->start_at(loop_now() + milliseconds(5));
  this->timer_->start_at(kNever);
  this->run_until(loop_now() + milliseconds(20));
  EXPECT_TRUE(this->fired_.empty());
  this->timer_->start_at(loop_now());
  while (this->fired_.empty()) uv_run(&this->loop_, UV_RUN_ONCE);
}

TEST(FineTimerTest, GoesOffInLessThanAMillisecond) {
  uv_loop_t loop;
  uv_loop_init(&loop);
  Duration earliest = std::chrono::hours(1);
  {
    TimePoint due;
    FineTimer timer(&loop, [&] { earliest = std::min(earliest, Duration(loop_now() - due)); });
    for (int i = 0; i < 50; ++i) {
      due = loop_now() + std::chrono::microseconds(200);
      timer.start_at(due);
      while (loop_now() < due + milliseconds(3)) uv_run(&loop, UV_RUN_NOWAIT);
    }
  }
  EXPECT_GE(earliest, Duration::zero());
  EXPECT_LT(earliest, std::chrono::microseconds(700)) << "of fifty: one that no other process delayed";
  uv_run(&loop, UV_RUN_DEFAULT);
  EXPECT_EQ(uv_loop_close(&loop), 0);
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
