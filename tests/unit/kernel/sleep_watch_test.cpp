#include "daemon/kernel/sleep_watch.h"

#include <sys/syscall.h>

#include <functional>
#include <thread>

#include "tests/unit/kernel/kernel_fixture.h"

namespace dipc::test {
namespace {

// A thread that does what it is told and is looked at.
class WatchedThread {
 public:
  explicit WatchedThread(std::function<void()> body)
      : thread_([this, body = std::move(body)] {
          tid_ = static_cast<pid_t>(syscall(SYS_gettid));
          body();
        }) {
    while (tid_ == 0) std::this_thread::yield();
  }
  ~WatchedThread() { thread_.join(); }
  pid_t tid() const { return tid_; }

 private:
  std::atomic<pid_t> tid_ = 0;
  std::thread thread_;
};

bool comes_to_sleep(SleepWatch& watch, SleepIn call, int id) {
  const Deadline deadline;
  while (!watch.asleep(call, id)) {
    if (deadline.over()) return false;
  }
  return true;
}

class SleepWatchTest : public ::testing::TestWithParam<bool> {};

TEST_P(SleepWatchTest, EachCallIsSeenAndNoOtherObject) {
  SleepSigns::Options options;
  options.use_syscall_file = GetParam();
  const auto signs = SleepSigns::measure(options);
  ASSERT_TRUE(signs);
  EXPECT_EQ((*signs)->exact(), GetParam());
  const Queue queue;
  const Queue full;
  full.limit_bytes(1);
  const SemaphoreSet set;
  WatchedThread receiver([&] {
    char buffer[64];
    msgrcv(queue.id(), buffer, 10, 0, 0);
  });
  WatchedThread sender([&] {
    const long message[2] = {1, 0};
    msgsnd(full.id(), message, 2, 0);
  });
  WatchedThread operator_thread([&] {
    sembuf wait{0, -1, 0};
    semtimedop(set.id(), &wait, 1, nullptr);
  });
  SleepWatch receives(**signs, receiver.tid());
  SleepWatch sends(**signs, sender.tid());
  SleepWatch operates(**signs, operator_thread.tid());
  EXPECT_TRUE(comes_to_sleep(receives, SleepIn::kReceive, queue.id()));
  EXPECT_TRUE(comes_to_sleep(sends, SleepIn::kSend, full.id()));
  EXPECT_TRUE(comes_to_sleep(operates, SleepIn::kOperate, set.id()));
  if (GetParam()) {
    EXPECT_FALSE(receives.asleep(SleepIn::kReceive, full.id())) << "another queue";
    EXPECT_FALSE(receives.asleep(SleepIn::kSend, queue.id())) << "another call";
    EXPECT_FALSE(sends.asleep(SleepIn::kOperate, full.id()));
  }
  EXPECT_TRUE(queue.send(1, "x"));
  EXPECT_TRUE(set.add(1));
  msgctl(full.id(), IPC_RMID, nullptr);
}

INSTANTIATE_TEST_SUITE_P(Signs, SleepWatchTest, ::testing::Values(true, false));

TEST(SleepWatchRunning, AThreadThatRunsIsNotAsleep) {
  const auto signs = SleepSigns::measure();
  ASSERT_TRUE(signs);
  std::atomic<bool> stop = false;
  WatchedThread busy([&] {
    while (!stop) {
    }
  });
  SleepWatch watch(**signs, busy.tid());
  for (int i = 0; i < 1000; ++i) EXPECT_FALSE(watch.asleep(SleepIn::kReceive, 0));
  stop = true;
}

}  // namespace
}  // namespace dipc::test
