#include <gmock/gmock.h>
#include <sys/resource.h>

#include "tests/unit/kernel/kernel_fixture.h"

namespace dipc::test {
namespace {

using ExecutorManyTest = ExecutorTest;

// An emulated or instrumented thread costs much more than a native one.
int calls_to_block() {
  if (const char* const count = std::getenv("DIPC_TEST_BLOCKED_CALLS")) return std::atoi(count);
#if defined(__x86_64__) && !defined(DIPC_SANITIZED)
  return 10000;
#else
  return 1000;
#endif
}

TEST_F(ExecutorManyTest, ThousandsOfBlockedCallsAreCountedAndCancelled) {
  const int count = calls_to_block();
  const SemaphoreSet set;
  std::vector<CallKey> keys;
  for (int i = 0; i < count; ++i) {
    keys.push_back(start(operating(set, {op(0, -1)}), "vax", i));
    if (i % 100 == 99) turn();
  }
  const Reply waiting = call(controlling(set.ref(), ControlCommand::kGetWaitingForIncrease), "sun");
  EXPECT_EQ(waiting.value, count);
  EXPECT_EQ(executor_->counters().waiter_threads, static_cast<std::size_t>(count));
  EXPECT_EQ(executor_->counters().blocked_now, static_cast<std::size_t>(count));
  for (const CallKey& key : keys) executor_->cancel(key);
  int interrupted = 0;
  for (const CallKey& key : keys) interrupted += reply_of(key).error == Error::kInterrupted ? 1 : 0;
  EXPECT_EQ(interrupted, count);
  EXPECT_EQ(set.waiting(), 0);
}

TEST_F(ExecutorManyTest, ThousandReceiversEachGetTheirMessage) {
  constexpr int kReceivers = 1000;
  const Queue queue;
  std::vector<CallKey> keys;
  for (int i = 0; i < kReceivers; ++i) keys.push_back(start(receiving(queue, i + 1), "vax", i));
  settle(queue.ref());
  for (int i = kReceivers; i > 0; --i) ASSERT_TRUE(queue.send(i, std::to_string(i)));
  for (int i = 0; i < kReceivers; ++i) {
    const Reply reply = reply_of(keys[static_cast<std::size_t>(i)]);
    ASSERT_EQ(reply.error, Error::kNone);
    EXPECT_EQ(text_of(std::get<Message>(reply.body).text), std::to_string(i + 1));
    executor_->taken(keys[static_cast<std::size_t>(i)]);
  }
  EXPECT_EQ(executor_->counters().kept_messages, 0u);
}

TEST_F(ExecutorManyTest, AHostThatHasTooManyCallsWaitingIsToldSoAndOthersAreNot) {
  Executor::Options few = options();
  few.blocked_calls_per_peer = 3;
  open(std::move(few));
  const Queue queue;
  std::vector<CallKey> keys;
  for (int i = 0; i < 3; ++i) keys.push_back(start(receiving(queue, 9)));
  EXPECT_EQ(call(receiving(queue, 9)).error, Error::kNoMemory);
  EXPECT_EQ(call(receiving(queue, 9)).error, Error::kNoMemory);
  EXPECT_EQ(executor_->counters().refused_by_limit, 2u);
  EXPECT_EQ(log_.size(), 1u) << "said once";
  settle(queue.ref());
  EXPECT_EQ(call(sending(queue, 1, "what need not wait goes on")).error, Error::kNone);
  const CallKey other = start(receiving(queue, 9), "sun");
  executor_->cancel(keys[0]);
  EXPECT_EQ(reply_of(keys[0]).error, Error::kInterrupted);
  const CallKey again = start(receiving(queue, 9));
  settle(queue.ref());
  EXPECT_FALSE(answered(again));
  EXPECT_FALSE(answered(other));
}

TEST_F(ExecutorManyTest, AHostThatTakesNothingGetsNoMoreMessagesAndOthersDo) {
  Executor::Options few = options();
  few.blocked_calls_per_peer = 3;
  open(std::move(few));
  const Queue queue;
  for (int i = 0; i < 6; ++i) ASSERT_TRUE(queue.send(1, "one"));
  std::vector<CallKey> keys;
  for (int i = 0; i < 3; ++i) keys.push_back(start(receiving(queue, 0)));
  EXPECT_EQ(call(receiving(queue, 0)).error, Error::kNoMemory);
  EXPECT_EQ(call(receiving(queue, 0)).error, Error::kNoMemory);
  EXPECT_EQ(log_.size(), 1u) << "said once";
  EXPECT_EQ(queue.stat().msg_qnum, 3u) << "the message stays where it is";
  const CallKey other = start(receiving(queue, 0), "sun");
  EXPECT_EQ(reply_of(other).error, Error::kNone);
  executor_->taken({"sun", keys[0].call});
  EXPECT_EQ(call(receiving(queue, 0)).error, Error::kNoMemory) << "another host can't take it";
  executor_->taken(keys[0]);
  EXPECT_EQ(call(receiving(queue, 0)).error, Error::kNone);
}

TEST_F(ExecutorManyTest, AHostWhoseMessagesWaitHereHasABoundInBytes) {
  Executor::Options few = options();
  few.bytes_per_peer = 10'000;
  open(std::move(few));
  const Queue queue;
  // Fills the queue, so that the next ones wait.
  const std::string kilobyte(1000, 'x');
  while (queue.send(1, kilobyte)) {
  }
  std::vector<CallKey> keys;
  for (int i = 0; i < 10; ++i) keys.push_back(start(sending(queue, 1, kilobyte, false)));
  settle(queue.ref());
  EXPECT_EQ(call(sending(queue, 1, kilobyte, false)).error, Error::kNoMemory);
  ASSERT_EQ(log_.size(), 1u);
  EXPECT_THAT(log_[0], testing::HasSubstr("vax has 10000 bytes of messages waiting here (limits.bytes_per_peer)"));
  const CallKey other = start(sending(queue, 1, kilobyte, false), "sun");
  settle(queue.ref());
  EXPECT_FALSE(answered(other)) << "it waits, as it should";
  executor_->cancel(keys[0]);
  EXPECT_EQ(reply_of(keys[0]).error, Error::kInterrupted);
  const CallKey again = start(sending(queue, 1, kilobyte, false));
  settle(queue.ref());
  EXPECT_FALSE(answered(again));
}

TEST_F(ExecutorManyTest, WithoutAThreadTheCallEndsWithAClearError) {
  Executor::Options few = options();
  few.threads_max = 2;
  open(std::move(few));
  const Queue queue;
  const CallKey a = start(receiving(queue, 1));
  const CallKey b = start(receiving(queue, 2));
  EXPECT_EQ(call(receiving(queue, 3)).error, Error::kNoMemory);
  settle(queue.ref());
  ASSERT_TRUE(queue.send(2, "b"));
  ASSERT_TRUE(queue.send(1, "a"));
  EXPECT_EQ(reply_of(a).error, Error::kNone);
  EXPECT_EQ(reply_of(b).error, Error::kNone);
}

TEST_F(ExecutorManyTest, IdleThreadsEnd) {
  Executor::Options short_idle = options();
  short_idle.idle_thread_time = std::chrono::milliseconds(20);
  open(std::move(short_idle));
  const Queue queue;
  std::vector<CallKey> keys;
  for (int i = 0; i < 50; ++i) keys.push_back(start(receiving(queue, 1)));
  settle(queue.ref());
  EXPECT_EQ(executor_->counters().waiter_threads, 50u);
  for (const CallKey& key : keys) executor_->cancel(key);
  for (const CallKey& key : keys) reply_of(key);
  wait_until([&] { return executor_->counters().waiter_threads == 0; });
  const CallKey later = start(receiving(queue, 1));
  ASSERT_TRUE(queue.send(1, "x"));
  EXPECT_EQ(reply_of(later).error, Error::kNone);
}

}  // namespace
}  // namespace dipc::test
