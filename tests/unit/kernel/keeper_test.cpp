#include "daemon/kernel/keeper.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "daemon/kernel/keeper_records.h"
#include "tests/unit/kernel/kernel_fixture.h"

namespace dipc::test {
namespace {

TEST(KeeperRecords, ComeBackAsTheyWere) {
  keeper::Start start;
  start.group = UndoGroupNumber{7};
  start.holder = {"vax", "boot", {100, 1ULL << 40U}};
  start.operation.token = CallToken{1ULL << 33U};
  start.operation.as = {500, 501, {1, 2, 3}};
  start.operation.operate.set = 5;
  start.operation.operate.ops = {{1, -2, SEM_UNDO}, {65535, 32767, IPC_NOWAIT}};
  start.operation.operate.count = 2;
  start.operation.operate.timeout = Duration(-1);
  start.operation.deadline = TimePoint(Duration(1ULL << 50U));
  const auto read = keeper::decode(keeper::encode(start));
  ASSERT_TRUE(read);
  const auto& same = std::get<keeper::Start>(*read);
  EXPECT_EQ(same.group, start.group);
  EXPECT_EQ(same.holder, start.holder);
  EXPECT_EQ(same.operation.token, start.operation.token);
  EXPECT_EQ(same.operation.as, start.operation.as);
  EXPECT_EQ(same.operation.operate.set, 5);
  ASSERT_EQ(same.operation.operate.ops.size(), 2u);
  EXPECT_EQ(same.operation.operate.ops[0].sem_op, -2);
  EXPECT_EQ(same.operation.operate.ops[1].sem_num, 65535);
  EXPECT_EQ(same.operation.operate.ops[1].sem_flg, IPC_NOWAIT);
  EXPECT_EQ(same.operation.operate.timeout, Duration(-1));
  EXPECT_EQ(same.operation.deadline, start.operation.deadline);
}

TEST(KeeperRecords, ThatAreCutOrTooLongAreNone) {
  const Bytes whole = keeper::encode(keeper::Found{UndoGroupNumber{1}, {"vax", "boot", {1, 2}}, {3, 4}});
  ASSERT_TRUE(keeper::decode(whole));
  for (std::size_t length = 0; length < whole.size(); ++length) {
    EXPECT_FALSE(keeper::decode(Bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length)))) << length;
  }
  Bytes longer = whole;
  longer.push_back(std::byte{0});
  EXPECT_FALSE(keeper::decode(longer));
}

// The executor of a daemon, killed and started again: its keeper goes on.
class KeeperTest : public ExecutorTest {
 protected:
  // The keeper becomes our child when its daemon dies, as it becomes init's.
  KeeperTest() { prctl(PR_SET_CHILD_SUBREAPER, 1); }
  ~KeeperTest() override {
    if (!executor_) return;
    for (const std::string& host : executor_->undo_hosts()) executor_->end_groups(host);
    wait_until([&] { return executor_->counters().undo_groups == 0; });
    executor_.reset();
    reap();  // a keeper without groups ends with its daemon
  }
  static void reap() {
    int ended = 0;
    do ended = waitpid(-1, nullptr, 0);
    while (ended > 0);
  }
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root: calls are made as other logins";
    open_with_keeper();
  }
  void open_with_keeper() {
    executor_.reset();
    Executor::Options with = options();
    keeper::Options keeper{directory_.path() / "keeper.sock", alone_max_};
    const auto reached = keeper::reach(keeper);
    ASSERT_TRUE(reached) << reached.error().what;
    connection_ = reached->connection;
    with.keeper = *reached;
    open(std::move(with));
    executor_->begin_session("vax", "boot 1");
  }
  // As SIGKILL ends it: it says nothing more to its keeper, and the calls that sleep get no reply.
  void lose_daemon() {
    ASSERT_EQ(shutdown(connection_, SHUT_RDWR), 0);
    executor_.reset();
    replies_.clear();
  }
  pid_t keeper() { return executor_->keeper_process(); }

  std::chrono::milliseconds alone_max_{20'000};
  int connection_ = -1;  // the executor's, with its keeper
};

TEST_F(KeeperTest, TheListOutlivesTheDaemon) {
  const SemaphoreSet set;
  set.set(10);
  EXPECT_EQ(call(operating(set, {op(0, -3, true)})).error, Error::kNone);
  const pid_t before = keeper();
  EXPECT_GT(before, 0);
  lose_daemon();
  EXPECT_EQ(set.value(), 7) << "nothing is undone";
  open_with_keeper();
  EXPECT_EQ(keeper(), before);
  EXPECT_EQ(executor_->undo_holders("vax"), (std::vector<ProcessId>{{100, 7}}));
  EXPECT_EQ(call(operating(set, {op(0, -2, true)})).error, Error::kNone) << "the list goes on";
  EXPECT_EQ(set.value(), 5);
  executor_->end_process("vax", {100, 7});
  EXPECT_EQ(call(controlling(set.ref(), ControlCommand::kGetValue)).value, 10)
      << "the next call comes after the undoing";
  EXPECT_EQ(executor_->counters().undo_groups, 0u);
}

TEST_F(KeeperTest, AKilledDaemonsSleepingCallsEndAndAreNotMade) {
  const SemaphoreSet set(2);
  EXPECT_EQ(call(operating(set, {op(1, 1, true)})).error, Error::kNone);
  start(operating(set, {op(0, -1, true)}));
  wait_until([&] { return set.waiting(0) == 1; });
  lose_daemon();
  open_with_keeper();
  wait_until([&] { return set.waiting(0) == 0; });
  ASSERT_TRUE(set.add(1));
  EXPECT_EQ(set.value(), 1) << "nobody takes it";
  EXPECT_FALSE(executor_->was_undone("vax", {100, 7}, true));
}

TEST_F(KeeperTest, WithoutADaemonForAloneMaxItUndoesAndEnds) {
  executor_.reset();
  alone_max_ = std::chrono::milliseconds(300);
  reap();
  open_with_keeper();
  const SemaphoreSet set;
  set.set(10);
  call(operating(set, {op(0, -3, true)}));
  const pid_t process = keeper();
  lose_daemon();
  int status = 0;
  EXPECT_EQ(waitpid(process, &status, 0), process);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(set.value(), 10);
  open_with_keeper();
  EXPECT_TRUE(executor_->undo_holders("vax").empty());
  EXPECT_TRUE(executor_->was_undone("vax", {100, 7}, true)) << "its host says that it held something";
  EXPECT_FALSE(executor_->was_undone("vax", {100, 7}, false));
}

TEST_F(KeeperTest, ASleepingCallIsWokenCancelledAndCounted) {
  const SemaphoreSet set;
  const CallKey woken = start(operating(set, {op(0, -1, true)}));
  EXPECT_EQ(call(controlling(set.ref(), ControlCommand::kGetWaitingForIncrease)).value, 1) << "it is seen asleep first";
  ASSERT_TRUE(set.add(1));
  EXPECT_EQ(reply_of(woken).error, Error::kNone);
  EXPECT_EQ(call(controlling(set.ref(), ControlCommand::kGetPid)).value, 100) << "its caller's, not the keeper's";
  const CallKey cancelled = start(operating(set, {op(0, -1, true)}));
  executor_->cancel(cancelled);
  EXPECT_EQ(reply_of(cancelled).error, Error::kInterrupted);
}

TEST_F(KeeperTest, WhoseKeeperDiesIsToldOnceAndGetsAnother) {
  const SemaphoreSet set(2);
  set.set(10);
  call(operating(set, {op(0, -3, true)}));
  const CallKey asleep = start(operating(set, {op(1, -1, true)}), "vax", 101);
  settle(set.ref());
  const pid_t first = keeper();
  ASSERT_EQ(kill(first, SIGKILL), 0);
  EXPECT_EQ(reply_of(asleep).error, Error::kConnectionReset);
  wait_until([&] { return executor_->undo_holders("vax").empty(); });
  EXPECT_EQ(set.value(), 10) << "the kernel undid it";
  EXPECT_TRUE(executor_->was_undone("vax", {100, 7}, false));
  EXPECT_FALSE(executor_->was_undone("vax", {100, 7}, false)) << "once";
  EXPECT_EQ(call(operating(set, {op(0, -3, true)})).error, Error::kNone);
  EXPECT_NE(keeper(), first);
  EXPECT_EQ(set.value(), 7);
  executor_->end_process("vax", {100, 7});
  EXPECT_EQ(call(controlling(set.ref(), ControlCommand::kGetValue)).value, 10);
}

TEST_F(KeeperTest, ACallThatWaitsForAGroupsEndIsMadeThoughTheKeeperDies) {
  const SemaphoreSet set;
  set.set(10);
  call(operating(set, {op(0, -3, true)}));
  const pid_t first = keeper();
  ASSERT_EQ(kill(first, SIGSTOP), 0);
  executor_->end_process("vax", {100, 7});
  const CallKey waits = start(operating(set, {op(0, -1, true)}), "vax", 101);
  EXPECT_FALSE(answered(waits)) << "the undoing comes first";
  ASSERT_EQ(kill(first, SIGKILL), 0);
  EXPECT_EQ(reply_of(waits).error, Error::kNone);
  EXPECT_EQ(set.value(), 9);
  EXPECT_EQ(executor_->undo_holders("vax"), (std::vector<ProcessId>{{101, 7}}));
  executor_->end_process("vax", {101, 7});
  EXPECT_EQ(call(controlling(set.ref(), ControlCommand::kGetValue)).value, 10);
}

TEST_F(KeeperTest, AnotherBootOfTheHostEndsItsGroups) {
  const SemaphoreSet set;
  set.set(10);
  call(operating(set, {op(0, -3, true)}));
  lose_daemon();
  open_with_keeper();
  executor_->begin_session("vax", "boot 2");
  EXPECT_EQ(call(controlling(set.ref(), ControlCommand::kGetValue)).value, 10);
  EXPECT_FALSE(executor_->was_undone("vax", {100, 7}, false)) << "that process is no more";
}

TEST_F(KeeperTest, ASecondDaemonIsRefused) {
  const SemaphoreSet set;
  set.set(10);
  call(operating(set, {op(0, -3, true)}));
  keeper::Options keeper{directory_.path() / "keeper.sock", alone_max_};
  const auto reached = keeper::reach(keeper);
  ASSERT_TRUE(reached);
  Executor::Options second = options();
  second.slot_dir = directory_.path() / "slots2";
  second.keeper = *reached;
  const auto opened = Executor::open(std::move(second), users_);
  ASSERT_FALSE(opened);
  EXPECT_NE(opened.error().what.find("another dipcd"), std::string::npos) << opened.error().what;
  EXPECT_EQ(call(operating(set, {op(0, -1, true)})).error, Error::kNone) << "the first one goes on";
}

TEST_F(KeeperTest, HundredsOfGroupsGoOnAndEnd) {
  const SemaphoreSet set;
  set.set(1000);
  for (int i = 1; i <= 300; ++i) ASSERT_EQ(call(operating(set, {op(0, -1, true)}), "vax", i).error, Error::kNone) << i;
  lose_daemon();
  open_with_keeper();
  EXPECT_EQ(executor_->undo_holders("vax").size(), 300u);
  for (int i = 1; i <= 300; ++i) executor_->end_process("vax", {i, 7});
  EXPECT_EQ(call(controlling(set.ref(), ControlCommand::kGetValue)).value, 1000);
}

}  // namespace
}  // namespace dipc::test
