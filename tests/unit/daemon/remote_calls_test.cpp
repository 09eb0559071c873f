#include "daemon/remote_calls.h"

#include <gmock/gmock.h>

#include "tests/unit/daemon/naming_fixture.h"

namespace dipc::test {
namespace {

using namespace std::chrono_literals;

constexpr ObjectName kQueue{Kind::kMessageQueue, 0x10};

// The daemon of sun, asked by moon; the referee is vax.
class RemoteCallsTest : public LoopTest {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root: calls are made as other logins";
    const std::string folder = directory_.path().string();
    auto naming = Naming::open(&loop_,
                               {.host = "sun",
                                .referee = "vax",
                                .boot = "boot",
                                .incarnation = Incarnation{1},
                                .state_dir = folder,
                                .op_timeout = 30s,
                                .claim_timeout = 30s,
                                .own = thread_identity()},
                               peers_);
    ASSERT_TRUE(naming) << naming.error().what;
    naming_ = std::move(*naming);
    Executor::Options options;
    options.slot_dir = folder + "/slots";
    options.dead_letter_dir = folder + "/letters";
    auto executor = Executor::open(std::move(options), users_);
    ASSERT_TRUE(executor) << executor.error().what;
    executor_ = std::move(*executor);
    calls_.emplace(peers_, *naming_, *executor_, users_, policy_);
  }
  ~RemoteCallsTest() override {
    if (naming_) {
      for (const OwnedObject& one : naming_->owned_objects()) msgctl(one.ref.id, IPC_RMID, nullptr);
    }
    calls_.reset();
    executor_.reset();
    naming_.reset();
  }

  void get(const std::string& login) {
    const GetCall call{.name = kQueue, .create = true, .mode = 0600, .claim = ClaimId{9}};
    calls_->on_call("moon", Call{CallId{1}, {login, {1, 1}}, call});
  }
  // The referee's word on the registration that is under way.
  void accept() {
    const auto registration = peers_.next<Register>("vax");
    ASSERT_TRUE(registration);
    naming_->on_peer_message("vax", Registered{registration->id, true});
  }

  Users users_;
  RemoteCalls::Policy policy_;
  std::unique_ptr<Naming> naming_;
  std::unique_ptr<Executor> executor_;
  std::optional<RemoteCalls> calls_;
};

TEST_F(RemoteCallsTest, AGetIsAnsweredWhenTheRefereeHasAccepted) {
  get("nobody");
  EXPECT_FALSE(peers_.next<Reply>("moon"));
  accept();
  const auto reply = peers_.next<Reply>("moon");
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->error, Error::kNone);
  EXPECT_TRUE(std::holds_alternative<GetReply>(reply->body));
}

TEST_F(RemoteCallsTest, AnAnswerIsForTheSessionOfItsCallAlone) {
  get("nobody");
  calls_->on_session_ended("moon");
  accept();
  EXPECT_FALSE(peers_.next<Reply>("moon")) << "the next session may have another call of that number";
  EXPECT_EQ(naming_->owned_objects().size(), 1u) << "the object is there all the same";
}

TEST_F(RemoteCallsTest, AGetOfWhoIsNobodyHereGivesItsClaimBack) {
  get("no such login");
  const auto abandoned = peers_.next<Abandon>("vax");
  ASSERT_TRUE(abandoned);
  EXPECT_EQ(abandoned->claim, ClaimId{9});
  EXPECT_EQ(abandoned->claimant, "moon");
  const auto reply = peers_.next<Reply>("moon");
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->error, Error::kAccess);
}

TEST_F(RemoteCallsTest, AHostThatDoesNotTakeItsAnswersIsRefusedMoreAndItsClaimGoesBack) {
  peers_.full.insert("moon");
  get("nobody");
  EXPECT_TRUE(peers_.next<Abandon>("vax"));
  const auto reply = peers_.next<Reply>("moon");
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->error, Error::kNoMemory);
  peers_.full.clear();
  get("nobody");
  EXPECT_TRUE(peers_.next<Register>("vax"));
}

// What moon says of a call or a process is about its own, whatever numbers it takes.
TEST_F(RemoteCallsTest, AHostCannotSettleCancelOrEndWhatIsAnothersCall) {
  get("root");
  accept();
  ASSERT_TRUE(peers_.next<Reply>("moon"));
  const ObjectRef queue = naming_->owned_objects().at(0).ref;
  const ProcessId process{77, 1};
  policy_.logins = *LoginsMap::parse("*@* root\n", "logins.map");
  const auto receive = [&](const std::string& host, std::uint64_t id) {
    MessageReceive body{.object = queue};
    body.max_bytes = 100;
    calls_->on_call(host, Call{CallId{id}, {"alice", process}, body});
  };
  const auto turn = [&] {
    executor_->poll();
    calls_->send_results();
  };
  // A received message that sun has neither taken nor returned.
  ASSERT_EQ(executor_->put(queue.id, Message{1, Bytes(5)}), 0);
  receive("sun", 5);
  ASSERT_TRUE(peers_.next<Reply>("sun"));
  calls_->on_taken("moon", CallId{5});
  calls_->on_returned("moon", CallId{5});
  EXPECT_EQ(executor_->counters().kept_messages, 1u);
  // A call of sun that waits.
  receive("sun", 6);
  calls_->on_cancel("moon", CallId{6});
  calls_->on_process_ended("moon", process);
  calls_->on_session_ended("moon");
  receive("moon", 6);  // the same number
  calls_->on_cancel("moon", CallId{6});
  std::optional<Reply> cancelled;
  run_until([&] {
    turn();
    return cancelled || (cancelled = peers_.next<Reply>("moon"));
  });
  EXPECT_EQ(cancelled->error, Error::kInterrupted);
  EXPECT_EQ(executor_->waiting_calls("sun"), 1u);
  EXPECT_FALSE(peers_.next<Reply>("sun"));
  ASSERT_EQ(executor_->put(queue.id, Message{2, Bytes(7)}), 0);
  std::optional<Reply> answered;
  run_until([&] {
    turn();
    return answered || (answered = peers_.next<Reply>("sun"));
  });
  EXPECT_EQ(answered->id, CallId{6});
  EXPECT_EQ(answered->value, 7);
}

// The host is its session's; what stands in the call is a login and nothing more.
TEST_F(RemoteCallsTest, ALoginOfAnotherHostCannotBeNamed) {
  policy_.logins = *LoginsMap::parse("alice@sun root\n", "logins.map");
  for (const char* login : {"alice", "alice@sun", "alice@sun ", "alice@sun@moon", "*", "alice\nalice@sun"}) {
    get(login);
    const auto reply = peers_.next<Reply>("moon");
    ASSERT_TRUE(reply) << login;
    EXPECT_EQ(reply->error, Error::kAccess) << login;
  }
  EXPECT_TRUE(naming_->owned_objects().empty());
}

}  // namespace
}  // namespace dipc::test
