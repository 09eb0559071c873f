#include "tests/unit/kernel/kernel_fixture.h"

namespace dipc::test {
namespace {

class ExecutorUndoTest : public ExecutorTest {
 protected:
  Reply control(const SemaphoreSet& set, ControlCommand command, int number = 0, std::int64_t value = 0) {
    return call(controlling(set.ref(), command, number, value), "sun", 500);
  }
};

TEST_F(ExecutorUndoTest, TheListSurvivesBetweenCallsAndIsAppliedWhenTheProcessEnds) {
  const SemaphoreSet set;
  set.set(10);
  EXPECT_EQ(call(operating(set, {op(0, -3, true)})).error, Error::kNone);
  EXPECT_EQ(call(operating(set, {op(0, -2, true)})).error, Error::kNone);
  EXPECT_EQ(call(operating(set, {op(0, -1)})).error, Error::kNone);
  EXPECT_EQ(set.value(), 4);
  executor_->end_process("vax", {100, 7});
  EXPECT_EQ(control(set, ControlCommand::kGetValue).value, 9) << "the next call comes after the undoing";
  EXPECT_EQ(executor_->counters().undo_groups, 0u);
}

TEST_F(ExecutorUndoTest, ThousandGroupsEndBeforeTheNextCall) {
  const SemaphoreSet set;
  set.set(5);
  for (int i = 0; i < 1000; ++i) {
    ASSERT_EQ(call(operating(set, {op(0, -5, true)}), "vax", i).error, Error::kNone) << i;
    executor_->end_process("vax", {i, 7});
  }
  EXPECT_EQ(control(set, ControlCommand::kGetValue).value, 5);
}

TEST_F(ExecutorUndoTest, GroupsAreIndependent) {
  const SemaphoreSet set;
  set.set(10);
  call(operating(set, {op(0, -1, true)}), "vax", 100);
  call(operating(set, {op(0, -2, true)}), "vax", 101);
  call(operating(set, {op(0, -4, true)}), "sun", 100);
  EXPECT_EQ(set.value(), 3);
  EXPECT_EQ(executor_->counters().undo_groups, 3u);
  executor_->end_process("vax", {101, 7});
  EXPECT_EQ(control(set, ControlCommand::kGetValue).value, 5);
  executor_->end_process("vax", {101, 7});
  executor_->end_process("vax", {100, 8});  // another process with that pid
  EXPECT_EQ(control(set, ControlCommand::kGetValue).value, 5);
  end_host("vax");
  EXPECT_EQ(control(set, ControlCommand::kGetValue).value, 6);
  end_host("sun");
  EXPECT_EQ(control(set, ControlCommand::kGetValue).value, 10);
}

TEST_F(ExecutorUndoTest, ABlockedUndoCallBelongsToTheGroup) {
  const SemaphoreSet set;
  const CallKey wait = start(operating(set, {op(0, -1, true)}));
  EXPECT_EQ(control(set, ControlCommand::kGetWaitingForIncrease).value, 1);
  ASSERT_TRUE(set.add(1));
  EXPECT_EQ(reply_of(wait).error, Error::kNone);
  EXPECT_EQ(set.value(), 0);
  call(operating(set, {op(0, 3, true)}));
  EXPECT_EQ(set.value(), 3);
  executor_->end_process("vax", {100, 7});
  EXPECT_EQ(control(set, ControlCommand::kGetValue).value, 1) << "+1 for the blocked call, -3 for the other";
}

TEST_F(ExecutorUndoTest, TwoThreadsOfOneProcessWaitAtOnce) {
  const SemaphoreSet set(2);
  const CallKey first = start(operating(set, {op(0, -1, true)}));
  const CallKey second = start(operating(set, {op(1, -1, true)}));
  EXPECT_EQ(control(set, ControlCommand::kGetWaitingForIncrease, 0).value, 1);
  EXPECT_EQ(control(set, ControlCommand::kGetWaitingForIncrease, 1).value, 1);
  ASSERT_TRUE(set.add(1, 1));
  EXPECT_EQ(reply_of(second).error, Error::kNone);
  EXPECT_FALSE(answered(first));
  ASSERT_TRUE(set.add(1, 0));
  EXPECT_EQ(reply_of(first).error, Error::kNone);
  executor_->end_process("vax", {100, 7});
  EXPECT_EQ(control(set, ControlCommand::kGetValue, 0).value, 1);
  EXPECT_EQ(control(set, ControlCommand::kGetValue, 1).value, 1);
}

TEST_F(ExecutorUndoTest, AProcessThatEndsWhileItWaitsIsCancelledAndThenUndone) {
  for (int round = 0; round < 200; ++round) {
    const SemaphoreSet set(2);
    set.set(1, 1);
    ASSERT_EQ(call(operating(set, {op(1, -1, true)})).error, Error::kNone);
    const CallKey wait = start(operating(set, {op(0, -1, true)}));
    executor_->end_process("vax", {100, 7});
    EXPECT_EQ(control(set, ControlCommand::kGetWaitingForIncrease, 0).value, 0);
    EXPECT_EQ(control(set, ControlCommand::kGetValue, 1).value, 1);
    EXPECT_EQ(reply_of(wait).error, Error::kInterrupted);
  }
}

TEST_F(ExecutorUndoTest, ACallThatWinsOverTheEndOfItsProcessIsUndoneToo) {
  for (int round = 0; round < 300; ++round) {
    const SemaphoreSet set;
    const CallKey wait = start(operating(set, {op(0, -1, true)}));
    settle(set.ref());
    ASSERT_TRUE(set.add(1));
    executor_->end_process("vax", {100, 7});
    EXPECT_EQ(control(set, ControlCommand::kGetValue).value, 1);
    reply_of(wait);
  }
}

TEST_F(ExecutorUndoTest, CallsWithoutUndoLeaveNothingToUndo) {
  const SemaphoreSet set;
  set.set(3);
  call(operating(set, {op(0, -1)}));
  const CallKey wait = start(operating(set, {op(0, -5)}));
  settle(set.ref());
  ASSERT_TRUE(set.add(3));
  EXPECT_EQ(reply_of(wait).error, Error::kNone);
  end_host("vax");
  EXPECT_EQ(control(set, ControlCommand::kGetValue).value, 0);
}

TEST_F(ExecutorUndoTest, UndoingNamesTheProcessThatEnded) {
  const SemaphoreSet set(2);
  call(operating(set, {op(0, 1, true)}), "vax", 111);
  call(operating(set, {op(0, 1)}), "sun", 222);
  EXPECT_EQ(control(set, ControlCommand::kGetPid).value, 222);
  executor_->end_process("vax", {111, 7});
  EXPECT_EQ(control(set, ControlCommand::kGetPid).value, 111);
  EXPECT_EQ(control(set, ControlCommand::kGetPid, 1).value, 0);
}

TEST_F(ExecutorUndoTest, AValueThatIsSetClearsTheAdjustments) {
  const SemaphoreSet set;
  call(operating(set, {op(0, 5, true)}));
  control(set, ControlCommand::kSetValue, 0, 2);
  executor_->end_process("vax", {100, 7});
  EXPECT_EQ(control(set, ControlCommand::kGetValue).value, 2);
  EXPECT_EQ(control(set, ControlCommand::kGetPid).value, 500);
}

TEST_F(ExecutorUndoTest, UndoCallsAreJudgedAsTheLogin) {
  const SemaphoreSet set(1, 0600);
  EXPECT_EQ(call(operating(set, {op(0, 1, true)}), "vax", 100, kAlice).error, Error::kAccess);
  EXPECT_EQ(call(operating(set, {op(0, 1, true)}), "vax", 100, kRoot).error, Error::kNone);
  EXPECT_EQ(call(operating(set, {op(0, -9, true, true)})).error, Error::kAgain);
  EXPECT_EQ(call(operating(set, {op(7, 1, true)})).error, Error::kFileTooBig);
}

TEST_F(ExecutorUndoTest, TheEndOfTheExecutorUndoes) {
  const SemaphoreSet set;
  call(operating(set, {op(0, 5, true)}));
  EXPECT_EQ(set.value(), 5);
  executor_.reset();
  EXPECT_EQ(set.value(), 0);
}

}  // namespace
}  // namespace dipc::test
