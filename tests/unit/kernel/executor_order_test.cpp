#include <sys/resource.h>

#include <random>

#include "tests/unit/kernel/kernel_fixture.h"

namespace dipc::test {
namespace {

class ExecutorOrderTest : public ExecutorTest {
 protected:
  // How often a receive that has to wait, with a removal right behind it, is told that the queue was removed (EIDRM)
  // and not that there is none (EINVAL).
  int removed_of(int rounds) {
    int removed = 0;
    for (int round = 0; round < rounds; ++round) {
      const Queue queue;
      const CallKey receive = start(receiving(queue));
      const CallKey remove = start(controlling(queue.ref(), ControlCommand::kRemove), "sun");
      EXPECT_EQ(reply_of(remove).error, Error::kNone);
      removed += reply_of(receive).error == Error::kRemoved ? 1 : 0;
    }
    return removed;
  }
};

TEST_F(ExecutorOrderTest, RemovalOneCallBehindAReceiveNeverOvertakesIt) {
  EXPECT_TRUE(executor_->counters().exact_sleep_signs);
  EXPECT_EQ(removed_of(2000), 2000);
  EXPECT_GE(executor_->counters().queued_behind, 1u);
}

TEST_F(ExecutorOrderTest, ThreadStateAloneKeepsTheOrderToo) {
  Executor::Options without_syscall_file = options();
  without_syscall_file.sleep_signs.use_syscall_file = false;
  open(std::move(without_syscall_file));
  EXPECT_FALSE(executor_->counters().exact_sleep_signs);
  EXPECT_EQ(removed_of(500), 500);
}

TEST_F(ExecutorOrderTest, LooksWithoutKeptOpenFilesKeepTheOrderToo) {
  Executor::Options few_files = options();
  few_files.sleep_signs.open_files_max = 0;
  open(std::move(few_files));
  EXPECT_EQ(removed_of(500), 500);
}

TEST_F(ExecutorOrderTest, WithoutAFreeDescriptorTheOrderIsKeptToo) {
  Executor::Options no_kept_files = options();
  no_kept_files.sleep_signs.open_files_max = 0;  // each look wants a descriptor
  open(std::move(no_kept_files));
  ASSERT_EQ(removed_of(1), 1);  // the slots' file is open from now on
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit few{static_cast<rlim_t>(executor_->wakeup_fds().front()) + 40, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
  std::vector<int> taken;
  for (int fd = 0; (fd = dup(executor_->wakeup_fds().front())) >= 0;) taken.push_back(fd);
  EXPECT_EQ(errno, EMFILE);
  EXPECT_EQ(removed_of(200), 200);
  for (const int fd : taken) close(fd);
  EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
}

TEST_F(ExecutorOrderTest, RemovalBehindASemopAndBehindASendNeverOvertakesThem) {
  int removed = 0;
  constexpr int kRounds = 500;
  for (int round = 0; round < kRounds; ++round) {
    const SemaphoreSet set;
    const Queue full;
    full.limit_bytes(1);
    const CallKey wait = start(operating(set, {op(0, -1)}));
    const CallKey undo = start(operating(set, {op(0, -1, true)}));
    const CallKey send = start(sending(full, 1, "xx"));
    start(controlling(set.ref(), ControlCommand::kRemove));
    start(controlling(full.ref(), ControlCommand::kRemove));
    removed += reply_of(wait).error == Error::kRemoved ? 1 : 0;
    removed += reply_of(undo).error == Error::kRemoved ? 1 : 0;
    removed += reply_of(send).error == Error::kRemoved ? 1 : 0;
  }
  EXPECT_EQ(removed, 3 * kRounds);
}

TEST_F(ExecutorOrderTest, ReceiversAreServedInTheOrderOfTheirCalls) {
  constexpr int kRounds = 100;
  constexpr int kReceivers = 10;
  for (int round = 0; round < kRounds; ++round) {
    const Queue queue;
    std::vector<CallKey> receives;
    for (int i = 0; i < kReceivers; ++i) receives.push_back(start(receiving(queue), i % 2 == 0 ? "vax" : "sun"));
    for (int i = 0; i < kReceivers; ++i) start(sending(queue, i + 1, "m"), "pdp");
    for (int i = 0; i < kReceivers; ++i) {
      const Reply reply = reply_of(receives[static_cast<std::size_t>(i)]);
      ASSERT_EQ(reply.error, Error::kNone);
      EXPECT_EQ(std::get<Message>(reply.body).type, i + 1);
    }
  }
}

TEST_F(ExecutorOrderTest, SemaphoreWaitersAreServedInTheOrderOfTheirCalls) {
  for (int round = 0; round < 100; ++round) {
    const SemaphoreSet set;
    std::vector<CallKey> waits;
    for (int i = 0; i < 5; ++i) waits.push_back(start(operating(set, {op(0, -1, i % 2 == 0)}), "vax", 100 + i));
    settle(set.ref());
    for (int i = 0; i < 5; ++i) {
      ASSERT_TRUE(set.add(1));
      EXPECT_EQ(reply_of(waits[static_cast<std::size_t>(i)]).error, Error::kNone);
      for (int later = i + 1; later < 5; ++later) {
        EXPECT_FALSE(answered(waits[static_cast<std::size_t>(later)]));
      }
    }
    end_host("vax");
  }
}

TEST_F(ExecutorOrderTest, TheNextCallCountsTheWaiter) {
  for (int round = 0; round < 500; ++round) {
    const SemaphoreSet set;
    const bool undo = round % 2 == 1;
    const CallKey wait = start(operating(set, {op(0, -1, undo)}));
    const Reply count = call(controlling(set.ref(), ControlCommand::kGetWaitingForIncrease), "sun");
    EXPECT_EQ(count.value, 1);
    executor_->cancel(wait);
    const Reply after = call(controlling(set.ref(), ControlCommand::kGetWaitingForIncrease), "sun");
    EXPECT_EQ(after.value, 0) << "the call behind a cancellation comes after it";
    EXPECT_EQ(reply_of(wait).error, Error::kInterrupted);
  }
}

TEST_F(ExecutorOrderTest, CallsOnOtherObjectsDoNotWait) {
  const Queue busy;
  const Queue other;
  const CallKey receive = start(receiving(busy));
  const CallKey send = start(sending(other, 1, "at once"));
  EXPECT_TRUE(replies_.contains(send)) << "answered within submit()";
  ASSERT_TRUE(busy.send(1, "x"));
  EXPECT_EQ(reply_of(receive).error, Error::kNone);
}

TEST_F(ExecutorOrderTest, PollingIsWantedOnlyWhileSomethingWaitsBehindAHandOver) {
  const Queue queue;
  EXPECT_FALSE(executor_->wants_polling());
  const CallKey first = start(receiving(queue, 1));
  EXPECT_FALSE(executor_->wants_polling()) << "nobody is behind it";
  const CallKey second = start(receiving(queue, 2));
  wait_until([&] { return !executor_->wants_polling(); });
  ASSERT_TRUE(queue.send(2, "b"));
  ASSERT_TRUE(queue.send(1, "a"));
  EXPECT_EQ(text_of(std::get<Message>(reply_of(first).body).text), "a");
  EXPECT_EQ(text_of(std::get<Message>(reply_of(second).body).text), "b");
}

TEST_F(ExecutorOrderTest, ACallInTheQueueCanBeCancelled) {
  int cancelled_in_queue = 0;
  for (int round = 0; round < 200; ++round) {
    const Queue queue;
    const CallKey first = start(receiving(queue));
    const CallKey second = start(receiving(queue));
    executor_->cancel(second);
    if (executor_->counters().queued_now == 0) ++cancelled_in_queue;
    EXPECT_EQ(reply_of(second).error, Error::kInterrupted);
    ASSERT_TRUE(queue.send(5, "for the first"));
    EXPECT_EQ(std::get<Message>(reply_of(first).body).type, 5);
  }
  EXPECT_GE(cancelled_in_queue, 1);
}

TEST_F(ExecutorOrderTest, MixedRandomCallsAllGetAnswers) {
  std::mt19937 random(4711);
  const SemaphoreSet set(3);
  const Queue queue;
  std::vector<CallKey> keys;
  for (int i = 0; i < 3000; ++i) {
    const auto what = static_cast<int>(random() % 7);
    const auto number = static_cast<int>(random() % 3);
    const std::string host = random() % 2 == 0 ? "vax" : "sun";
    const auto pid = static_cast<std::int32_t>(100 + random() % 4);
    if (what == 0) keys.push_back(start(operating(set, {op(number, -1)}), host, pid));
    if (what == 1) keys.push_back(start(operating(set, {op(number, 1)}), host, pid));
    if (what == 2) keys.push_back(start(operating(set, {op(number, -1, true)}), host, pid));
    if (what == 3) keys.push_back(start(receiving(queue), host, pid));
    if (what == 4) keys.push_back(start(sending(queue, 1, "text", true), host, pid));
    if (what == 5) keys.push_back(start(controlling(set.ref(), ControlCommand::kGetPid, number), host, pid));
    if (what == 6 && !keys.empty()) executor_->cancel(keys[random() % keys.size()]);
  }
  for (const CallKey& key : keys) executor_->cancel(key);
  for (const CallKey& key : keys) reply_of(key);
  EXPECT_EQ(set.waiting(0) + set.waiting(1) + set.waiting(2), 0);
}

}  // namespace
}  // namespace dipc::test
