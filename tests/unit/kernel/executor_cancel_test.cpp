#include <random>
#include <thread>

#include "tests/unit/kernel/kernel_fixture.h"

namespace dipc::test {
namespace {

class ExecutorCancelTest : public ExecutorTest {
 protected:
  // Some time between nothing and a little more than a hand-over takes.
  void spin() {
    for (auto turns = random_() % 40000; turns > 0; --turns) asm volatile("" : : : "memory");
  }
  std::mt19937 random_{20260101};
};

TEST_F(ExecutorCancelTest, CancellationIsNeverLostWhateverTheMoment) {
  const Queue queue;
  const SemaphoreSet set;
  int interrupted = 0;
  constexpr int kCalls = 3000;
  for (int i = 0; i < kCalls; ++i) {
    CallKey key;
    if (i % 3 == 0) key = start(receiving(queue));
    if (i % 3 == 1) key = start(operating(set, {op(0, -1)}));
    if (i % 3 == 2) key = start(operating(set, {op(0, -1, true)}));
    spin();
    executor_->cancel(key);
    interrupted += reply_of(key).error == Error::kInterrupted ? 1 : 0;
  }
  EXPECT_EQ(interrupted, kCalls);
  EXPECT_EQ(executor_->counters().blocked_now, 0u);
}

TEST_F(ExecutorCancelTest, CancellationThatRacesWithTheMessageLosesNeither) {
  const Queue queue;
  int won = 0;
  constexpr int kCalls = 1500;
  for (int i = 0; i < kCalls; ++i) {
    const CallKey key = start(receiving(queue));
    spin();
    ASSERT_TRUE(queue.send(1, "m" + std::to_string(i)));
    executor_->cancel(key);
    const Reply reply = reply_of(key);
    if (reply.error == Error::kNone) {
      ++won;
      EXPECT_EQ(text_of(std::get<Message>(reply.body).text), "m" + std::to_string(i));
      executor_->taken(key);
      EXPECT_EQ(queue.stat().msg_qnum, 0u);
    } else {
      EXPECT_EQ(reply.error, Error::kInterrupted);
      EXPECT_EQ(queue.receive(), "1:m" + std::to_string(i));
    }
  }
  EXPECT_GT(won, 0);
}

TEST_F(ExecutorCancelTest, CancellationNeverEndsTheNextCallOfTheSameThread) {
  const Queue first;
  const Queue second;
  for (int i = 0; i < 1500; ++i) {
    const CallKey ended = start(receiving(first));
    spin();
    ASSERT_TRUE(first.send(1, "ends it"));
    executor_->cancel(ended);
    // Very likely on the thread that the cancelled call has just left.
    const CallKey next = start(receiving(second));
    const Reply reply = reply_of(ended);
    if (reply.error == Error::kNone) executor_->taken(ended);
    if (reply.error != Error::kNone) first.receive();
    ASSERT_FALSE(answered(next));
    ASSERT_TRUE(second.send(2, "wakes it"));
    const Reply woken = reply_of(next);
    ASSERT_EQ(woken.error, Error::kNone) << errno_name(woken.error);
    executor_->taken(next);
  }
}

TEST_F(ExecutorCancelTest, AStraySignalIsNoAnswer) {
  const Queue queue;
  const SemaphoreSet set;
  const CallKey receive = start(receiving(queue));
  const CallKey timed = start(operating(set, {op(0, -1)}, 300'000'000));
  settle(queue.ref());
  settle(set.ref());
  const auto begin = std::chrono::steady_clock::now();
  int signals = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/task")) {
    const pid_t tid = std::stoi(entry.path().filename().string());
    if (tid == getpid()) continue;
    for (int i = 0; i < 5; ++i) signals += tgkill(getpid(), tid, kWakeSignal) == 0 ? 1 : 0;
  }
  EXPECT_GE(signals, 10);
  EXPECT_EQ(reply_of(timed).error, Error::kAgain);
  EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(200)) << "with the time left";
  EXPECT_FALSE(answered(receive));
  ASSERT_TRUE(queue.send(1, "x"));
  EXPECT_EQ(reply_of(receive).error, Error::kNone);
}

TEST_F(ExecutorCancelTest, CancellingTwiceOrLateDoesNothing) {
  const Queue queue;
  const CallKey key = start(receiving(queue));
  executor_->cancel(key);
  executor_->cancel(key);
  EXPECT_EQ(reply_of(key).error, Error::kInterrupted);
  executor_->cancel(key);
  EXPECT_FALSE(answered(key));
}

TEST_F(ExecutorCancelTest, TheEndOfAHostCancelsItsCallsAndNobodyElses) {
  const Queue queue;
  const SemaphoreSet set;
  for (int i = 0; i < 20; ++i) {
    start(receiving(queue, 9), "vax", i);
    start(operating(set, {op(0, -1)}), "vax", i);
  }
  const CallKey other = start(receiving(queue), "sun");
  end_host("vax");
  wait_until([&] { return executor_->counters().blocked_now <= 1 && executor_->counters().queued_now == 0; });
  EXPECT_TRUE(replies_.empty()) << "nobody is there to hear them";
  EXPECT_EQ(set.waiting(), 0);
  ASSERT_TRUE(queue.send(9, "still here"));
  EXPECT_EQ(text_of(std::get<Message>(reply_of(other).body).text), "still here");
}

TEST_F(ExecutorCancelTest, ANewSessionMayUseTheCallNumbersOfTheOldOne) {
  const Queue queue;
  start(receiving(queue));
  end_host("vax");
  last_call_ = 0;
  const CallKey again = start(receiving(queue));
  settle(queue.ref());
  ASSERT_TRUE(queue.send(1, "new"));
  EXPECT_EQ(text_of(std::get<Message>(reply_of(again).body).text), "new");
}

TEST_F(ExecutorCancelTest, TheEndOfTheExecutorEndsEveryCall) {
  const Queue queue;
  const SemaphoreSet set;
  for (int i = 0; i < 10; ++i) {
    start(receiving(queue));
    start(operating(set, {op(0, -1)}));
    start(operating(set, {op(0, -1, true)}), "vax", 200 + i);
  }
  executor_.reset();
  EXPECT_EQ(set.waiting(), 0);
}

}  // namespace
}  // namespace dipc::test
