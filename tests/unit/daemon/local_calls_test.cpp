#include <gmock/gmock.h>

#include <cerrno>

#include "daemon/kernel/processes.h"
#include "tests/unit/daemon/local_calls_fixture.h"

namespace dipc::test {
namespace {

using testing::HasSubstr;

TEST_F(LocalCallsTest, AReplyGoesToItsProgram) {
  const Call call = call_of(local::Op::kReceive);
  calls_->on_reply("moon", Reply{.id = call.id, .value = 2, .body = Message{9, Bytes(2)}});
  EXPECT_EQ(answer().value, 2);
  EXPECT_TRUE(peers_.ended.empty());
}

TEST_F(LocalCallsTest, AReplyThatIsNoAnswerToItsCallEndsTheSessionAndTheOutcomeIsUnknown) {
  const Call call = call_of(local::Op::kReceive);
  calls_->on_reply("moon", Reply{.id = call.id, .body = std::vector<std::uint16_t>(50000)});
  ASSERT_EQ(peers_.ended.size(), 1u);
  EXPECT_EQ(peers_.ended[0].first, "moon");
  EXPECT_THAT(peers_.ended[0].second, HasSubstr("it brings no message"));
  EXPECT_FALSE(program_->reply()) << "not before the session has ended";
  calls_->on_session_ended("moon", {});
  EXPECT_EQ(answer().error, ECONNRESET);
}

TEST_F(LocalCallsTest, AGrantedShmatIsHandedOnAndAnsweredThere) {
  std::vector<LocalCalls::Granted> granted;
  calls_->on_granted([&](const LocalCalls::Granted& one) { granted.push_back(one); });
  const AttachReply shape{5000, 65536, 7};
  const Call call = call_of(local::Op::kAttach);
  EXPECT_FALSE(std::get<SegmentAttach>(call.body).read_only);
  calls_->on_reply("moon", Reply{.id = call.id, .body = shape});
  ASSERT_EQ(granted.size(), 1u);
  EXPECT_EQ(granted[0].owner, "moon");
  EXPECT_EQ(granted[0].segment, kSegment);
  EXPECT_EQ(granted[0].shape, shape);
  EXPECT_TRUE(granted[0].writable);
  EXPECT_EQ(granted[0].client, client_);
  EXPECT_EQ(granted[0].call, 1u);
  EXPECT_FALSE(program_->reply());
}

TEST_F(LocalCallsTest, AShmatThatIsGrantedToAProgramThatHasEndedIsHandedOnToo) {
  std::vector<LocalCalls::Granted> granted;
  calls_->on_granted([&](const LocalCalls::Granted& one) { granted.push_back(one); });
  const Call call = call_of(local::Op::kAttach);
  program_->close();
  run_until([this] { return gone_; });
  calls_->on_reply("moon", Reply{.id = call.id, .body = AttachReply{5000, 65536, 7}});
  ASSERT_EQ(granted.size(), 1u) << "the owner counts it";
  EXPECT_FALSE(granted[0].call);
}

TEST_F(LocalCallsTest, AShmatThatIsRefusedIsAnswered) {
  const Call call = call_of(local::Op::kAttach);
  calls_->on_reply("moon", Reply{.id = call.id, .error = Error::kAccess, .value = -1});
  EXPECT_EQ(answer().error, EACCES);
}

TEST_F(LocalCallsTest, MoreValuesThanTheSetHasSemaphoresDoNotReachTheProgramsArray) {
  const Call call = call_of(local::Op::kControl, GETALL);
  calls_->on_reply("moon", Reply{.id = call.id, .body = std::vector<std::uint16_t>{1, 2, 3}});
  ASSERT_EQ(peers_.ended.size(), 1u);
  EXPECT_THAT(peers_.ended[0].second, HasSubstr("3 values for 2 semaphores"));
}

TEST_F(LocalCallsTest, ACallThatTheOwnerNeverSawIsInterruptedAtOnce) {
  peers_.writes_nothing = true;
  call_of(local::Op::kReceive);
  program_->cancel();
  EXPECT_EQ(answer().error, EINTR);
  EXPECT_FALSE(peers_.next<Cancel>("moon"));
  EXPECT_EQ(calls_->under_way(), 0u);
}

TEST_F(LocalCallsTest, ACallOnItsWayIsCancelledAtItsOwnerWhoseAnswerCounts) {
  const Call call = call_of(local::Op::kReceive);
  program_->cancel();
  std::optional<Cancel> cancel;
  run_until([&] { return cancel || (cancel = peers_.next<Cancel>("moon")); });
  EXPECT_EQ(cancel->id, call.id);
  EXPECT_FALSE(program_->reply());
  calls_->on_reply("moon", Reply{.id = call.id, .value = 0, .body = Message{1, {}}});
  EXPECT_EQ(answer().error, 0) << "the message came first";
}

TEST_F(LocalCallsTest, ACallOfAProgramThatEndedIsForgottenIfTheOwnerNeverSawIt) {
  peers_.writes_nothing = true;
  call_of(local::Op::kReceive);
  program_->close();
  run_until([this] { return gone_; });
  EXPECT_EQ(calls_->under_way(), 0u);
  EXPECT_FALSE(peers_.next<Cancel>("moon"));
}

TEST_F(LocalCallsTest, AnObjectThatAProgramRemovedIsGoneBeforeTheProgramHears) {
  const Call call = call_of(local::Op::kControl, IPC_RMID);
  calls_->on_reply("moon", Reply{.id = call.id});
  EXPECT_EQ(answer().error, 0);
  EXPECT_EQ(gone_objects_, std::vector{kSet}) << "no referee speaks of an object without a key";
}

TEST_F(LocalCallsTest, AnObjectIsGoneWhenItsOwnerSaysSoAndNotWhenARemovalIsRefused) {
  Call call = call_of(local::Op::kControl, IPC_RMID);
  calls_->on_reply("moon", Reply{.id = call.id, .error = Error::kNotPermitted, .value = -1});
  EXPECT_EQ(answer().error, EPERM);
  EXPECT_TRUE(gone_objects_.empty());
  call = call_of(local::Op::kReceive);
  calls_->on_reply("moon", Reply{.id = call.id, .error = Error::kRemoved, .value = -1});
  EXPECT_EQ(answer().error, EIDRM);
  EXPECT_EQ(gone_objects_, std::vector{kQueue});
}

TEST_F(LocalCallsTest, AProcessHoldsUndoOnceACallWithItHasSucceeded) {
  Call call = undo_call();
  EXPECT_FALSE(call.holds_undo);
  calls_->on_reply("moon", Reply{.id = call.id, .error = Error::kAccess, .value = -1});
  EXPECT_EQ(answer().error, EACCES);
  call = undo_call();
  EXPECT_FALSE(call.holds_undo) << "nothing was done";
  calls_->on_reply("moon", Reply{.id = call.id});
  EXPECT_EQ(answer().error, 0);
  calls_->on_session_ended("moon", {});
  call = undo_call();
  EXPECT_TRUE(call.holds_undo) << "in the next session too";
  calls_->on_reply("moon", Reply{.id = call.id, .error = Error::kConnectionReset, .value = -1});
  EXPECT_EQ(answer().error, ECONNRESET);
  EXPECT_FALSE(undo_call().holds_undo) << "the program has been told";
}

TEST_F(LocalCallsTest, WithAnotherBootOfTheOwnerNothingIsHeldThere) {
  calls_->on_session_began("moon", "boot 1");
  Call call = undo_call();
  calls_->on_reply("moon", Reply{.id = call.id});
  EXPECT_EQ(answer().error, 0);
  calls_->on_session_began("moon", "boot 1");
  call = undo_call();
  EXPECT_TRUE(call.holds_undo);
  calls_->on_reply("moon", Reply{.id = call.id});
  EXPECT_EQ(answer().error, 0);
  calls_->on_session_began("moon", "boot 2");
  EXPECT_FALSE(undo_call().holds_undo);
}

TEST_F(LocalCallsTest, TheOwnerHearsWhichHoldersHaveEndedAndTheOthersAreKnown) {
  const ProcessId living = *process_id(::getpid());
  const ProcessId reused{living.pid, living.start_ticks + 1};
  calls_->on_undo_holders("moon", UndoHolders{{living, reused}});
  const auto ended = peers_.next<ProcessEnded>("moon");
  ASSERT_TRUE(ended);
  EXPECT_EQ(ended->process, reused);
  EXPECT_FALSE(peers_.next<ProcessEnded>("moon"));
  EXPECT_TRUE(undo_call().holds_undo);
}

TEST_F(LocalCallsTest, AHostThatWasNotAskedCannotAnswer) {
  const Call call = call_of(local::Op::kReceive);
  const Message forged{1, Bytes(2)};
  calls_->on_reply("mars", Reply{.id = call.id, .value = 2, .body = forged});
  calls_->on_reply("mars", Reply{.id = CallId{static_cast<std::uint64_t>(call.id) + 1}, .value = 2, .body = forged});
  EXPECT_EQ(calls_->under_way(), 1u);
  EXPECT_FALSE(program_->reply());
  calls_->on_reply("moon", Reply{.id = call.id, .value = 1, .body = Message{9, Bytes(1)}});
  EXPECT_EQ(answer().value, 1);
  EXPECT_TRUE(peers_.ended.empty());
}

TEST_F(LocalCallsTest, AnOwnerHearsOfACancelOnce) {
  const Call call = call_of(local::Op::kReceive);
  for (int i = 0; i < 100; ++i) {
    program_->cancel();
    for (int turns = 0; turns < 3; ++turns) uv_run(&loop_, UV_RUN_NOWAIT);
  }
  program_->close();
  run_until([this] { return gone_; });
  ASSERT_TRUE(peers_.next<Cancel>("moon"));
  EXPECT_FALSE(peers_.next<Cancel>("moon"));
}

TEST_F(LocalCallsTest, ALoginThatHasTooManyCallsUnderWayGetsENOMEMUntilTheyAreAnswered) {
  // Calls that their programs gave up count until the owner has answered them.
  std::vector<CallId> given_up;
  for (std::size_t i = 0; i < kCallsMax; ++i) {
    given_up.push_back(call_of(local::Op::kReceive).id);
    gone_ = false;
    program_.emplace((directory_.path() / "dipcd.sock").string());
    run_until([this] { return gone_; });
  }
  EXPECT_EQ(calls_->under_way(), kCallsMax);
  local::Request request;
  request.op = local::Op::kReceive;
  program_->send(request);
  EXPECT_EQ(answer().error, ENOMEM);
  EXPECT_FALSE(peers_.next<Call>("moon"));
  calls_->on_reply("moon", Reply{.id = given_up[0], .error = Error::kInterrupted, .value = -1});
  call_of(local::Op::kReceive);
}

TEST_F(LocalCallsTest, AnOwnerNamesHoldersOnceInASession) {
  const ProcessId nobody{::getpid(), 1};
  calls_->on_undo_holders("moon", UndoHolders{{nobody}});
  EXPECT_TRUE(peers_.next<ProcessEnded>("moon"));
  EXPECT_TRUE(peers_.ended.empty());
  calls_->on_undo_holders("moon", UndoHolders{{nobody}});
  EXPECT_FALSE(peers_.next<ProcessEnded>("moon"));
  ASSERT_EQ(peers_.ended.size(), 1u);
  EXPECT_THAT(peers_.ended[0].second, HasSubstr("says twice"));
  calls_->on_session_ended("moon", {});
  calls_->on_undo_holders("moon", UndoHolders{{nobody}});
  EXPECT_TRUE(peers_.next<ProcessEnded>("moon")) << "a new session";
}

TEST_F(LocalCallsTest, AMessageIsTakenWhenItsProgramHasReadItAndReturnedIfItNeverDoes) {
  const Call read = call_of(local::Op::kReceive);
  calls_->on_reply("moon", Reply{.id = read.id, .value = 0, .body = Message{1, {}}});
  EXPECT_EQ(answer().error, 0);
  std::optional<Taken> taken;
  run_until([&] { return taken || (taken = peers_.next<Taken>("moon")); });
  ASSERT_TRUE(taken);
  EXPECT_EQ(taken->id, read.id);
  const Call unread = call_of(local::Op::kReceive);
  calls_->on_reply("moon", Reply{.id = unread.id, .value = 0, .body = Message{1, {}}});
  program_.reset();
  run_until([this] { return gone_; });
  const auto returned = peers_.next<Returned>("moon");
  ASSERT_TRUE(returned);
  EXPECT_EQ(returned->id, unread.id);
  EXPECT_FALSE(peers_.next<Taken>("moon"));
}

TEST_F(LocalCallsTest, NothingOfAnEndedSessionIsSentInTheNext) {
  const Call call = call_of(local::Op::kReceive);
  calls_->on_session_ended("moon", {});
  EXPECT_EQ(answer().error, ECONNRESET);
  calls_->on_cancel(client_, 1);
  calls_->on_reply("moon", Reply{.id = call.id, .value = 0, .body = Message{1, {}}});
  EXPECT_TRUE(peers_.sent.empty());
  const Call read = call_of(local::Op::kReceive);
  calls_->on_reply("moon", Reply{.id = read.id, .value = 0, .body = Message{1, {}}});
  calls_->on_session_ended("moon", {});
  EXPECT_EQ(answer().error, 0);
  run_until([this] { return taken_ == 1; });
  EXPECT_TRUE(peers_.sent.empty());
}

}  // namespace
}  // namespace dipc::test
