#include "daemon/naming.h"

#include <gmock/gmock.h>
#include <sys/shm.h>

#include <filesystem>
#include <fstream>

#include "daemon/kernel/stand_ins.h"
#include "tests/unit/daemon/naming_fixture.h"

namespace dipc::test {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

constexpr ObjectName kQueue{Kind::kMessageQueue, 0x10};
constexpr ObjectName kSegment{Kind::kSegment, 0x10};
constexpr ObjectName kPrivate{Kind::kMessageQueue, 0};

// The kernel's limit of queues, put back at the end. This program has an IPC namespace of its own.
class NoMoreQueues {
 public:
  NoMoreQueues() {
    std::ifstream(kFile) >> before_;
    std::ofstream(kFile) << 0 << std::flush;
  }
  ~NoMoreQueues() { std::ofstream(kFile) << before_ << std::flush; }
  NoMoreQueues(const NoMoreQueues&) = delete;
  NoMoreQueues& operator=(const NoMoreQueues&) = delete;

 private:
  static constexpr const char* kFile = "/proc/sys/kernel/msgmni";
  long before_ = 0;
};

// The daemon of sun; the referee is vax, objects live on moon and earth.
class NamingTest : public LoopTest {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root, as a daemon for several logins does";
    start();
  }
  void start() {
    auto opened = Naming::open(&loop_,
                               {.host = "sun",
                                .referee = "vax",
                                .boot = "boot",
                                .incarnation = Incarnation{1},
                                .state_dir = directory_.path().string(),
                                .op_timeout = 30s,
                                .claim_timeout = 30s,
                                .own = thread_identity()},
                               peers_);
    ASSERT_TRUE(opened) << opened.error().what;
    naming_ = std::move(*opened);
    naming_->start();
  }
  ~NamingTest() override {
    if (!naming_) return;
    for (const StandIn& one : naming_->stand_ins()) remove_stand_in(one.name, one.id);
    for (const OwnedObject& one : naming_->owned_objects()) msgctl(one.ref.id, IPC_RMID, nullptr);
    naming_.reset();
  }

  Gets::OperationId get(const ObjectName& name, const std::string& home = "") {
    got_.reset();
    return naming_->gets().begin({.name = name, .create = true, .mode = 0600}, kRoot, {"root", {1, 1}}, home,
                                 [this](const Gets::Got& got) { got_ = got; });
  }
  void present(const std::string& owner) {
    const auto asked = peers_.next<Resolve>("vax");
    ASSERT_TRUE(asked);
    naming_->on_peer_message("vax", Resolved{asked->id, Resolved::Outcome::kPresent, owner, 7, ClaimId{}});
  }
  void create_it() {
    const auto asked = peers_.next<Resolve>("vax");
    ASSERT_TRUE(asked);
    naming_->on_peer_message("vax", Resolved{asked->id, Resolved::Outcome::kCreate, "", 0, ClaimId{9}});
  }
  void reply(const std::string& owner, Error error, const ObjectRef& object) {
    const auto call = peers_.next<Call>(owner);
    ASSERT_TRUE(call);
    ASSERT_TRUE(std::holds_alternative<GetCall>(call->body));
    Reply answer{.id = call->id, .error = error, .value = -1};
    if (error == Error::kNone) answer.body = GetReply{object, 0};
    naming_->on_peer_message(owner, answer);
  }
  // The next call to `owner` removes `object`; answers it.
  void expect_removal(const std::string& owner, const ObjectRef& object) {
    const auto call = peers_.next<Call>(owner);
    ASSERT_TRUE(call);
    const auto* control = std::get_if<Control>(&call->body);
    ASSERT_NE(control, nullptr);
    EXPECT_EQ(control->command, ControlCommand::kRemove);
    EXPECT_EQ(control->object, object);
    EXPECT_EQ(call->caller.login, "root");
    naming_->on_peer_message(owner, Reply{.id = call->id});
  }

  std::unique_ptr<Naming> naming_;
  std::optional<Gets::Got> got_;
};

TEST_F(NamingTest, NobodyElseIsHeardInTheRefereesPlace) {
  get(kQueue);
  const auto asked = peers_.next<Resolve>("vax");
  ASSERT_TRUE(asked);
  const Resolved create{asked->id, Resolved::Outcome::kCreate, "", 0, ClaimId{9}};
  naming_->on_peer_message("moon", Resolved{asked->id, Resolved::Outcome::kAbsent, "", 0, ClaimId{}});
  naming_->on_peer_message("moon", create);
  EXPECT_TRUE(naming_->owned_objects().empty());
  EXPECT_FALSE(got_);
  naming_->on_peer_message("vax", create);
  const auto registration = peers_.next<Register>("vax");
  ASSERT_TRUE(registration);
  naming_->on_peer_message("moon", Registered{registration->id, true});
  EXPECT_FALSE(got_);
  naming_->on_peer_message("vax", Registered{registration->id, true});
  ASSERT_TRUE(got_);
  EXPECT_EQ(got_->error, Error::kNone);
  naming_->on_peer_message("moon", Announced{{{kQueue, registration->generation}}});
  naming_->on_peer_message("moon", Dropped{kQueue, registration->generation});
  ASSERT_EQ(naming_->owned_objects().size(), 1u);
  EXPECT_EQ(naming_->owned_objects()[0].state, OwnedObject::State::kLive);
}

TEST_F(NamingTest, ANewStandInIsSaidToTheReferee) {
  const ObjectRef object{Kind::kMessageQueue, 5, 7};
  get(kQueue);
  present("moon");
  reply("moon", Error::kNone, object);
  ASSERT_TRUE(got_);
  EXPECT_EQ(got_->error, Error::kNone);
  ASSERT_NE(naming_->stand_in(Kind::kMessageQueue, got_->id), nullptr);
  const auto said = peers_.next<Announce>("vax");
  ASSERT_TRUE(said);
  EXPECT_EQ(said->used, std::vector<NamedObject>({{kQueue, 7}}));
  EXPECT_FALSE(said->last) << "it does not list what this host owns";
}

TEST_F(NamingTest, ARemovedSegmentKeepsItsIdHereUntilItsOwnerSaysThatItIsGone) {
  const ObjectRef object{Kind::kSegment, 5, 7};
  get(kSegment);
  present("moon");
  reply("moon", Error::kNone, object);
  ASSERT_TRUE(got_);
  const std::int32_t id = got_->id;
  shmid_ds record{};
  EXPECT_EQ(shmctl(id, IPC_STAT, &record), 0);
  EXPECT_EQ(record.shm_perm.mode & 0777, 0);
  naming_->on_peer_message("vax", Dropped{kSegment, 7});
  EXPECT_EQ(shmget(kSegment.key, 0, 0), -1) << "the key is free";
  ASSERT_NE(naming_->stand_in(Kind::kSegment, id), nullptr);
  EXPECT_EQ(naming_->stand_in(Kind::kSegment, id)->object, object);
  EXPECT_FALSE(naming_->forget_lost_stand_in(*naming_->stand_in(Kind::kSegment, id)));
  get(kSegment);
  present("moon");
  reply("moon", Error::kNone, {Kind::kSegment, 6, 8});
  ASSERT_TRUE(got_);
  EXPECT_NE(got_->id, id);
  naming_->on_gone_there("moon", object);
  EXPECT_EQ(naming_->stand_in(Kind::kSegment, id), nullptr);
  EXPECT_EQ(shmctl(id, IPC_STAT, &record), -1);
  EXPECT_NE(naming_->stand_in(Kind::kSegment, got_->id), nullptr);
}

TEST_F(NamingTest, WithTheSessionOfItsOwnerARemovedSegmentIsForgotten) {
  const ObjectRef object{Kind::kSegment, 5, 7};
  get(kSegment);
  present("moon");
  reply("moon", Error::kNone, object);
  ASSERT_TRUE(got_);
  naming_->on_removed_there("moon", object);
  naming_->on_session_ended("moon", {}, true);
  ASSERT_NE(naming_->stand_in(Kind::kSegment, got_->id), nullptr) << "the next daemon may go on with it";
  naming_->on_session_ended("moon", {}, false);
  EXPECT_EQ(naming_->stand_in(Kind::kSegment, got_->id), nullptr);
  shmid_ds record{};
  EXPECT_EQ(shmctl(got_->id, IPC_STAT, &record), -1);
}

TEST_F(NamingTest, SegmentsOfADaemonBeforeGoOnOrEnd) {
  const ObjectName other{Kind::kSegment, 0x11}, third{Kind::kSegment, 0x12};
  const auto goes_on = make_stand_in(other, 0), ends = make_stand_in(third, 0);
  ASSERT_TRUE(goes_on && ends);
  const ObjectRef kept{Kind::kSegment, *goes_on, 3};
  naming_.reset();
  DaemonState state{"boot", Incarnation{1}, {}, {}, {}};
  state.owned.push_back({other, kept, 5000, OwnedObject::State::kLive});
  state.owned.push_back({third, {Kind::kSegment, *ends, 4}, 5000, OwnedObject::State::kLive});
  std::ofstream(directory_.path() / "state") << render_state(state);
  start();
  naming_->end_segments_but({kept});
  EXPECT_TRUE(stand_in_exists(other, *goes_on));
  EXPECT_FALSE(stand_in_exists(third, *ends));
  EXPECT_THAT(naming_->owned_objects(), ElementsAre(testing::Field(&OwnedObject::ref, kept)));
  EXPECT_EQ(shmctl(*goes_on, IPC_RMID, nullptr), 0);
}

TEST_F(NamingTest, AGetWaitsForTheStandInOfAThirdHostToBeDropped) {
  get(kQueue);
  present("moon");
  reply("moon", Error::kNone, {Kind::kMessageQueue, 5, 7});
  ASSERT_TRUE(got_);
  const std::int32_t old = got_->id;
  get(kQueue);
  reply("moon", Error::kStale, {});
  present("earth");
  reply("earth", Error::kNone, {Kind::kMessageQueue, 6, 8});
  EXPECT_FALSE(got_) << "the stand-in of moon's object is still here";
  EXPECT_NE(naming_->stand_in(Kind::kMessageQueue, old), nullptr);
  naming_->on_peer_message("vax", Dropped{kQueue, 7});
  EXPECT_EQ(naming_->stand_in(Kind::kMessageQueue, old), nullptr);
  const auto resolves = [](const auto& one) { return std::holds_alternative<Resolve>(one.second); };
  run_until([&] { return std::any_of(peers_.sent.begin(), peers_.sent.end(), resolves); });
  present("earth");
  reply("earth", Error::kNone, {Kind::kMessageQueue, 6, 8});
  ASSERT_TRUE(got_);
  EXPECT_EQ(naming_->stand_in(Kind::kMessageQueue, got_->id)->owner, "earth");
}

TEST_F(NamingTest, AnObjectOfOursThatTheRefereeForgetsIsFenced) {
  std::optional<GetReply> made;
  naming_->serve_get({.name = kQueue, .create = true, .mode = 0600, .claim = ClaimId{9}}, kRoot, "moon", 1,
                     [&](Error error, const GetReply& object) {
                       EXPECT_EQ(error, Error::kNone);
                       made = object;
                     });
  const auto registration = peers_.next<Register>("vax");
  ASSERT_TRUE(registration);
  EXPECT_EQ(registration->claimant, "moon") << "the referee knows whose claim it is";
  naming_->on_peer_message("vax", Registered{registration->id, true});
  ASSERT_TRUE(made);
  EXPECT_EQ(naming_->owned(made->object)->state, OwnedObject::State::kLive);
  naming_->on_peer_message("vax", Dropped{kQueue, made->object.generation});
  EXPECT_EQ(naming_->owned(made->object)->state, OwnedObject::State::kFenced);
}

// With no session that ends, nothing else would tell.
TEST_F(NamingTest, WhatCanNotBeRegisteredIsUnmadeAtOnce) {
  std::optional<Error> error;
  const auto create = [&] {
    error.reset();
    naming_->serve_get({.name = kQueue, .create = true, .mode = 0600, .claim = ClaimId{9}}, kRoot, "moon", 1,
                       [&](Error result, const GetReply&) { error = result; });
  };
  const auto expect_unmade = [&] {
    EXPECT_EQ(error, Error::kStale);
    EXPECT_TRUE(naming_->owned_objects().empty());
    EXPECT_LT(msgget(kQueue.key, 0), 0) << "it is not left in the kernel";
  };
  peers_.away.insert("vax");
  create();
  expect_unmade();

  peers_.away.clear();
  create();
  const auto registration = peers_.next<Register>("vax");
  ASSERT_TRUE(registration);
  naming_->on_unreachable("moon", {});
  EXPECT_FALSE(error) << "moon is not the referee";
  naming_->on_unreachable("vax", {*registration});
  expect_unmade();
}

TEST_F(NamingTest, APrivateObjectMadeForAProgramThatHasGoneIsRemovedAtItsHome) {
  const auto operation = get(kPrivate, "moon");
  naming_->gets().cancel(operation);
  EXPECT_FALSE(got_);
  const ObjectRef object{Kind::kMessageQueue, 5, 7};
  reply("moon", Error::kNone, object);
  expect_removal("moon", object);
  EXPECT_TRUE(naming_->stand_ins().empty());
}

TEST_F(NamingTest, AGetAnsweredWithWhatIsNoObjectOfItsKindEndsTheSession) {
  get(kQueue);
  present("moon");
  reply("moon", Error::kNone, {Kind::kSemaphoreSet, 5, 7});
  ASSERT_EQ(peers_.ended.size(), 1u);
  EXPECT_EQ(peers_.ended[0].first, "moon");
  EXPECT_FALSE(got_);
  naming_->on_session_ended("moon", {}, false);
  EXPECT_TRUE(naming_->stand_ins().empty());
}

TEST_F(NamingTest, ANamedObjectStaysThoughTheProgramThatMadeItHasGone) {
  const auto operation = get(kQueue, "moon");
  create_it();
  naming_->gets().cancel(operation);
  reply("moon", Error::kNone, {Kind::kMessageQueue, 5, 7});
  EXPECT_FALSE(peers_.next<Call>("moon"));
}

TEST_F(NamingTest, WithoutRoomForItsStandInAnObjectJustMadeIsRemovedAgain) {
  const NoMoreQueues full;
  for (const ObjectName& name : {kQueue, kPrivate}) {
    get(name, "moon");
    if (name.key != 0) create_it();
    const ObjectRef object{Kind::kMessageQueue, 5, 7};
    reply("moon", Error::kNone, object);
    EXPECT_FALSE(got_) << "not before the object is gone";
    expect_removal("moon", object);
    ASSERT_TRUE(got_);
    EXPECT_EQ(got_->error, Error::kNoSpace);
  }
}

// The state file's folder is gone for a while, as a disk may be full.
TEST_F(NamingTest, WhatCanNotBeWrittenDownIsNotMadeHere) {
  const std::filesystem::path folder = directory_.path();
  const std::filesystem::path hidden = folder.string() + ".hidden";
  std::optional<Error> error;
  const auto create = [&] {
    error.reset();
    naming_->serve_get({.name = kQueue, .create = true, .mode = 0600, .claim = ClaimId{9}}, kRoot, "moon", 1,
                       [&](Error result, const GetReply&) { error = result; });
  };
  std::filesystem::rename(folder, hidden);
  testing::internal::CaptureStderr();
  create();
  EXPECT_EQ(error, Error::kNoSpace);
  EXPECT_FALSE(peers_.next<Register>("vax"));
  EXPECT_TRUE(naming_->owned_objects().empty());
  EXPECT_LT(msgget(kQueue.key, 0), 0) << "it is not left in the kernel";
  create();
  EXPECT_EQ(error, Error::kNoSpace);
  ASSERT_TRUE(naming_->trouble());
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_THAT(log, HasSubstr(folder.string() + "/state"));
  EXPECT_THAT(log, HasSubstr("make the folder"));

  std::filesystem::rename(hidden, folder);
  run_until([&] { return !naming_->trouble(); });
  create();
  EXPECT_TRUE(peers_.next<Register>("vax"));
}

TEST_F(NamingTest, WhatCanNotBeWrittenDownGetsNoStandIn) {
  const std::filesystem::path folder = directory_.path();
  const std::filesystem::path hidden = folder.string() + ".hidden";
  const ObjectRef object{Kind::kMessageQueue, 5, 7};
  std::filesystem::rename(folder, hidden);
  testing::internal::CaptureStderr();
  get(kQueue, "moon");
  present("moon");
  reply("moon", Error::kNone, object);
  testing::internal::GetCapturedStderr();
  ASSERT_TRUE(got_);
  EXPECT_EQ(got_->error, Error::kNoSpace);
  EXPECT_TRUE(naming_->stand_ins().empty());
  EXPECT_LT(msgget(kQueue.key, 0), 0) << "it is not left in the kernel";

  std::filesystem::rename(hidden, folder);
  run_until([&] { return !naming_->trouble(); });
  get(kQueue, "moon");
  present("moon");
  reply("moon", Error::kNone, object);
  ASSERT_TRUE(got_);
  EXPECT_EQ(got_->error, Error::kNone);
}

// The kernel had made it, and the daemon was killed before it had written its id down.
TEST_F(NamingTest, AnObjectThatAKilledDaemonWasMakingDoesNotStandInTheWay) {
  const auto restarted_with = [&](const ObjectName& name, unsigned uid) {
    naming_.reset();
    std::ofstream(directory_.path() / "state")
        << render_state({.boot = "boot", .incarnation = Incarnation{1}, .making = {{name, uid}}});
    start();
  };
  ASSERT_GE(msgget(kQueue.key, IPC_CREAT | 0600), 0);
  restarted_with(kQueue, 1001);
  EXPECT_GE(msgget(kQueue.key, 0), 0) << "another user's";
  restarted_with({Kind::kMessageQueue, 0x11}, 0);
  EXPECT_GE(msgget(kQueue.key, 0), 0) << "another key's";
  restarted_with(kQueue, 0);
  EXPECT_LT(msgget(kQueue.key, 0), 0);

  const int used = msgget(kQueue.key, IPC_CREAT | 0600);
  const long message[2] = {1, 1};
  ASSERT_EQ(msgsnd(used, message, sizeof(long), 0), 0);
  restarted_with(kQueue, 0);
  EXPECT_EQ(msgget(kQueue.key, 0), used) << "somebody has used it";
  msgctl(used, IPC_RMID, nullptr);
}

TEST_F(NamingTest, WhatIsBeingMadeIsWrittenDownFirst) {
  naming_->serve_get({.name = kQueue, .create = true, .mode = 0600, .claim = ClaimId{9}}, kRoot, "moon", 1,
                     [](Error, const GetReply&) {});
  EXPECT_TRUE(peers_.next<Register>("vax"));
  const auto state = [&] {
    std::ifstream file(directory_.path() / "state");
    return *parse_state(std::string(std::istreambuf_iterator<char>(file), {}), "state");
  };
  EXPECT_TRUE(state().making.empty()) << "it is made";
  EXPECT_EQ(state().owned.at(0).name, kQueue);
  // One that can't be made leaves nothing that would be removed at the next start.
  const int other = msgget(0x11, IPC_CREAT | 0600);
  naming_->serve_get({.name = {Kind::kMessageQueue, 0x11}, .create = true, .mode = 0600, .claim = ClaimId{10}}, kRoot,
                     "moon", 1, [](Error error, const GetReply&) { EXPECT_EQ(error, Error::kExists); });
  EXPECT_TRUE(state().making.empty());
  msgctl(other, IPC_RMID, nullptr);
}

TEST_F(NamingTest, AStandInThatAKilledDaemonWasMakingIsRemoved) {
  naming_.reset();
  const auto left = make_stand_in(kQueue, 0);
  ASSERT_TRUE(left);
  std::ofstream(directory_.path() / "state")
      << render_state({.boot = "boot", .incarnation = Incarnation{1}, .making = {{kQueue, 0}}});
  start();
  EXPECT_FALSE(stand_in_exists(kQueue, *left));
  get(kQueue, "moon");
  present("moon");
  reply("moon", Error::kNone, {Kind::kMessageQueue, 5, 7});
  ASSERT_TRUE(got_);
  EXPECT_EQ(got_->error, Error::kNone);
  std::ifstream file(directory_.path() / "state");
  EXPECT_TRUE(parse_state(std::string(std::istreambuf_iterator<char>(file), {}), "state")->making.empty());
}

TEST_F(NamingTest, WithoutRoomForItsStandInAnOlderObjectStays) {
  const NoMoreQueues full;
  get(kQueue, "moon");
  present("moon");
  reply("moon", Error::kNone, {Kind::kMessageQueue, 5, 7});
  ASSERT_TRUE(got_);
  EXPECT_EQ(got_->error, Error::kNoSpace);
  EXPECT_FALSE(peers_.next<Call>("moon"));
}

TEST_F(NamingTest, AnOwnerThatIsLostBeforeTheRemovalDoesNotKeepTheProgramWaiting) {
  const NoMoreQueues full;
  get(kQueue, "moon");
  create_it();
  reply("moon", Error::kNone, {Kind::kMessageQueue, 5, 7});
  EXPECT_FALSE(got_);
  naming_->on_session_ended("moon", {}, false);
  ASSERT_TRUE(got_);
  EXPECT_EQ(got_->error, Error::kNoSpace);
}

}  // namespace
}  // namespace dipc::test
