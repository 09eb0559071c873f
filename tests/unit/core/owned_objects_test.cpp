#include "daemon/core/owned_objects.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace dipc {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;
using State = OwnedObject::State;

constexpr ObjectName kQueue{Kind::kMessageQueue, 0x10};
constexpr ObjectName kOther{Kind::kMessageQueue, 0x20};
constexpr ObjectName kPrivate{Kind::kMessageQueue, 0};

std::string error_text(Error error) { return "error " + std::to_string(static_cast<int>(error)); }

// Lines: "kernel G", "kernel G create", "register GENERATION", "answer G ID" or "answer G error E", ... with G the get.
class OwnedObjectsTest : public testing::Test {
 protected:
  std::vector<std::string> out() {
    std::vector<std::string> lines;
    for (const OwnedObjects::Action& action : objects_->take_actions()) {
      const std::string text = std::visit([this](const auto& value) { return line(value); }, action);
      if (!text.empty()) lines.push_back(text);
    }
    EXPECT_EQ(saved_, objects_->objects()) << "a change without Save";
    return lines;
  }
  static std::string number(OwnedObjects::GetId get) { return std::to_string(static_cast<std::uint64_t>(get)); }
  std::string line(const OwnedObjects::KernelGet& get) {
    return "kernel " + number(get.get) + (get.create ? " create" : "");
  }
  std::string line(const OwnedObjects::KernelRemove& remove) { return "remove " + std::to_string(remove.ref.id); }
  std::string line(const OwnedObjects::Save&) {
    saved_ = objects_->objects();
    return "";
  }
  std::string line(const OwnedObjects::SendRegister& send) {
    request_ = send.registration.id;
    EXPECT_EQ(saved_, objects_->objects()) << "on disk before the referee hears of it";
    return "register " + std::to_string(send.registration.generation) + " claim " +
           std::to_string(static_cast<std::uint64_t>(send.registration.claim)) + " of " + send.registration.claimant;
  }
  std::string line(const OwnedObjects::SendRemoved& send) {
    return "removed " + std::to_string(send.removed.generation);
  }
  std::string line(const OwnedObjects::Answer& answer) {
    const std::string who = "answer " + number(answer.get) + " ";
    if (answer.error != Error::kNone) return who + error_text(answer.error);
    return who + std::to_string(answer.reply.object.id) + ":" + std::to_string(answer.reply.object.generation);
  }
  std::string line(const OwnedObjects::Log&) { return "log"; }

  // Get number N brings generation 100 + N and, where it has one, claim 10 + N.
  void get(std::uint64_t number, bool claim, bool exclusive = false, ObjectName name = kQueue, bool stand_in = false) {
    GetCall call{.name = name, .create = claim, .exclusive = exclusive, .mode = 0600, .size = 3, .claim = {}};
    if (claim) call.claim = ClaimId{10 + number};
    objects_->begin(now_, OwnedObjects::GetId{number}, call, 100 + number, stand_in, "sun");
  }
  void kernel(std::uint64_t number, Error error, std::int32_t id = -1) {
    objects_->on_kernel_get(now_, OwnedObjects::GetId{number}, error, id);
  }
  void registered(bool accepted) { objects_->on_registered(now_, Registered{request_, accepted}); }
  void make(std::uint64_t number, std::int32_t id, ObjectName name = kQueue) {
    get(number, true, false, name);
    kernel(number, Error::kNone, id);
    out();
    registered(true);
    out();
  }
  void pass_deadline() {
    now_ = objects_->deadline();
    objects_->on_time(now_);
  }

  TimePoint now_{};
  std::optional<OwnedObjects> objects_ = OwnedObjects(5s);
  std::vector<OwnedObject> saved_;
  RequestId request_{};
};

TEST_F(OwnedObjectsTest, CreatesWithTheClaimAndAnswersOnceAccepted) {
  get(1, true);
  EXPECT_THAT(out(), ElementsAre("kernel 1 create"));
  kernel(1, Error::kNone, 42);
  EXPECT_THAT(out(), ElementsAre("register 101 claim 11 of sun"));
  EXPECT_TRUE(objects_->blocks_stand_in(kQueue));
  EXPECT_EQ(objects_->find(kQueue), nullptr);
  EXPECT_EQ(objects_->find(Kind::kMessageQueue, 42), nullptr) << "no program may learn the id yet";
  EXPECT_EQ(saved_.at(0).state, State::kRegistering);
  registered(true);
  EXPECT_THAT(out(), ElementsAre("answer 1 42:101"));
  ASSERT_NE(objects_->find(kQueue), nullptr);
  EXPECT_EQ(objects_->find(kQueue)->size, 3);
  EXPECT_EQ(objects_->find(Kind::kMessageQueue, 42), objects_->find(kQueue));
  EXPECT_EQ(objects_->find(ObjectRef{Kind::kMessageQueue, 42, 101}), objects_->find(kQueue));
  EXPECT_EQ(objects_->find(ObjectRef{Kind::kMessageQueue, 42, 100}), nullptr) << "another generation";
  EXPECT_EQ(objects_->deadline(), kNever);
}

TEST_F(OwnedObjectsTest, RefusedObjectIsRemovedAndTheGetIsStale) {
  get(1, true);
  kernel(1, Error::kNone, 42);
  out();
  registered(false);
  EXPECT_THAT(out(), ElementsAre("remove 42", "answer 1 " + error_text(Error::kStale)));
  EXPECT_THAT(objects_->objects(), IsEmpty());
}

TEST_F(OwnedObjectsTest, FailedCreateIsAnswered) {
  get(1, true);
  kernel(1, Error::kNoSpace);
  EXPECT_THAT(out(), ElementsAre("kernel 1 create", "answer 1 " + error_text(Error::kNoSpace)));
}

TEST_F(OwnedObjectsTest, UndistributedObjectOfTheKeyIsEEXISTAndLogged) {
  get(1, true);
  kernel(1, Error::kExists);
  EXPECT_THAT(out(), ElementsAre("kernel 1 create", "log", "answer 1 " + error_text(Error::kExists)));
}

TEST_F(OwnedObjectsTest, ExistingObjectIsJudgedByTheKernelAndNeverCreated) {
  make(1, 42);
  get(2, false);
  get(3, true);
  EXPECT_THAT(out(), ElementsAre("kernel 2", "kernel 3"));
  kernel(2, Error::kAccess);
  kernel(3, Error::kNone, 42);
  EXPECT_THAT(out(), ElementsAre("answer 2 " + error_text(Error::kAccess), "answer 3 42:101"));
}

TEST_F(OwnedObjectsTest, ExclusiveGetOfAnExistingObjectIsEEXISTWhateverThePermissions) {
  make(1, 42);
  get(2, true, true);
  get(3, true, true);
  kernel(2, Error::kNone, 42);
  kernel(3, Error::kAccess);
  EXPECT_THAT(out(), ElementsAre("kernel 2", "kernel 3", "answer 2 " + error_text(Error::kExists),
                                 "answer 3 " + error_text(Error::kExists)));
}

TEST_F(OwnedObjectsTest, GetOfAnUnknownNameIsStale) {
  get(1, false);
  EXPECT_THAT(out(), ElementsAre("answer 1 " + error_text(Error::kStale)));
}

TEST_F(OwnedObjectsTest, RemovalBehindOurBackIsFoundAtTheNextGet) {
  make(1, 42);
  get(2, false);
  kernel(2, Error::kNoEntry);
  EXPECT_THAT(out(), ElementsAre("kernel 2", "log", "removed 101", "answer 2 " + error_text(Error::kStale)));
  EXPECT_EQ(objects_->find(kQueue), nullptr);
}

TEST_F(OwnedObjectsTest, AnotherIdUnderTheKeyIsNotOurObject) {
  make(1, 42);
  get(2, false);
  kernel(2, Error::kNone, 43);
  EXPECT_THAT(out(), ElementsAre("kernel 2", "log", "removed 101", "answer 2 " + error_text(Error::kStale)));
}

TEST_F(OwnedObjectsTest, GetWithAClaimThatFindsTheOldObjectGoneMakesANewOne) {
  make(1, 42);
  get(2, true);
  kernel(2, Error::kNoEntry);
  EXPECT_THAT(out(), ElementsAre("kernel 2", "log", "removed 101", "kernel 2 create"));
}

TEST_F(OwnedObjectsTest, IdThatTheKernelGivesAgainMeansThatTheOldObjectIsGone) {
  make(1, 42);
  get(2, true, false, kOther);
  kernel(2, Error::kNone, 42);
  EXPECT_THAT(out(), ElementsAre("kernel 2 create", "removed 101", "register 102 claim 12 of sun"));
  registered(true);
  EXPECT_THAT(out(), ElementsAre("answer 2 42:102"));
  EXPECT_EQ(objects_->find(kQueue), nullptr);
}

TEST_F(OwnedObjectsTest, IdGivenAgainWhileItsFirstObjectRegistersIsReportedAsRemoved) {
  get(1, true);
  kernel(1, Error::kNone, 42);
  out();
  const RequestId first = request_;
  get(2, true, false, kOther);
  kernel(2, Error::kNone, 42);
  out();
  objects_->on_registered(now_, Registered{first, true});
  EXPECT_THAT(out(), ElementsAre("removed 101", "answer 1 " + error_text(Error::kStale)));
}

TEST_F(OwnedObjectsTest, FurtherGetsOfANameWaitWhileItIsMade) {
  get(1, true);
  get(2, true);
  get(3, false);
  EXPECT_THAT(out(), ElementsAre("kernel 1 create"));
  kernel(1, Error::kNone, 42);
  get(4, false);
  EXPECT_THAT(out(), ElementsAre("register 101 claim 11 of sun"));
  registered(true);
  EXPECT_THAT(out(), ElementsAre("answer 1 42:101", "kernel 2", "kernel 3", "kernel 4"));
}

TEST_F(OwnedObjectsTest, WaitingGetWithAClaimMakesItWhenTheFirstFails) {
  get(1, true);
  get(2, false);
  get(3, true);
  out();
  kernel(1, Error::kInvalid);
  EXPECT_THAT(out(), ElementsAre("answer 1 " + error_text(Error::kInvalid), "answer 2 " + error_text(Error::kStale),
                                 "kernel 3 create"));
}

TEST_F(OwnedObjectsTest, RefusedObjectIsRemovedBeforeTheNextAttempt) {
  get(1, true);
  get(2, true);
  kernel(1, Error::kNone, 42);
  out();
  registered(false);
  EXPECT_THAT(out(), ElementsAre("remove 42", "answer 1 " + error_text(Error::kStale), "kernel 2 create"));
}

TEST_F(OwnedObjectsTest, SilentRefereeEndsInETIMEDOUTWithNothingLeft) {
  get(1, true);
  get(2, true);
  kernel(1, Error::kNone, 42);
  out();
  pass_deadline();
  EXPECT_THAT(out(),
              ElementsAre("remove 42", "removed 101", "answer 1 " + error_text(Error::kTimedOut), "kernel 2 create"))
      << "the second get's own time is over too, but a kernel call is on its way";
  registered(true);
  EXPECT_THAT(out(), IsEmpty()) << "too late: reported as removed";
  kernel(2, Error::kNone, 43);
  EXPECT_THAT(out(), ElementsAre("register 102 claim 12 of sun", "remove 43", "removed 102",
                                 "answer 2 " + error_text(Error::kTimedOut)));
}

TEST_F(OwnedObjectsTest, WaitingEndsInETIMEDOUT) {
  get(1, true);
  get(2, true);
  out();
  pass_deadline();
  EXPECT_THAT(out(), ElementsAre("answer 2 " + error_text(Error::kTimedOut)));
}

TEST_F(OwnedObjectsTest, LostRefereeUndoesWhatIsNotAccepted) {
  make(1, 42);
  get(2, true, false, kOther);
  kernel(2, Error::kNone, 43);
  out();
  objects_->on_referee_lost(now_);
  EXPECT_THAT(out(), ElementsAre("remove 43", "answer 2 " + error_text(Error::kStale)));
  EXPECT_THAT(objects_->announcements({}), ElementsAre(Announce{{{kQueue, 101}}, {}, true}));
}

TEST_F(OwnedObjectsTest, CreationWaitsForTheOldStandInToBeDropped) {
  get(1, true, false, kQueue, true);
  EXPECT_THAT(out(), IsEmpty());
  objects_->on_stand_in_dropped(now_, kOther);
  EXPECT_THAT(out(), IsEmpty());
  objects_->on_stand_in_dropped(now_, kQueue);
  EXPECT_THAT(out(), ElementsAre("kernel 1 create"));
}

TEST_F(OwnedObjectsTest, StandInThatIsMadeWhileAGetWaitsHoldsItUpToo) {
  get(1, true);
  get(2, true);
  objects_->on_stand_in_made(now_, kQueue);
  out();
  kernel(1, Error::kNoMemory);
  EXPECT_THAT(out(), ElementsAre("answer 1 " + error_text(Error::kNoMemory)));
  objects_->on_stand_in_dropped(now_, kQueue);
  EXPECT_THAT(out(), ElementsAre("kernel 2 create"));
}

TEST_F(OwnedObjectsTest, ForgottenObjectIsFenced) {
  make(1, 42);
  objects_->on_dropped(now_, Dropped{kQueue, 100});
  EXPECT_THAT(out(), IsEmpty()) << "an older one";
  objects_->on_dropped(now_, Dropped{kQueue, 101});
  EXPECT_THAT(out(), ElementsAre("log", "removed 101")) << "in case that an Announce crossed with Dropped";
  EXPECT_EQ(objects_->find(kQueue)->state, State::kFenced);
}

TEST_F(OwnedObjectsTest, PrivateObjectsNeedNoRefereeAndAreNotAnnounced) {
  get(1, false, false, kPrivate);
  get(2, false, false, kPrivate);
  EXPECT_THAT(out(), ElementsAre("kernel 1 create", "kernel 2 create"));
  kernel(1, Error::kNone, 42);
  kernel(2, Error::kNone, 43);
  EXPECT_THAT(out(), ElementsAre("answer 1 42:101", "answer 2 43:102"));
  EXPECT_EQ(objects_->find(kPrivate), nullptr);
  EXPECT_NE(objects_->find(ObjectRef{Kind::kMessageQueue, 43, 102}), nullptr);
  EXPECT_THAT(objects_->announcements({}), ElementsAre(Announce{}));
  objects_->on_gone(now_, ObjectRef{Kind::kMessageQueue, 43, 102});
  EXPECT_THAT(out(), IsEmpty()) << "the referee never knew it";
  EXPECT_EQ(objects_->objects().size(), 1u);
}

TEST_F(OwnedObjectsTest, RemovalIsReportedOnce) {
  make(1, 42);
  objects_->on_gone(now_, ObjectRef{Kind::kMessageQueue, 42, 100});
  EXPECT_THAT(out(), IsEmpty()) << "another generation";
  objects_->on_gone(now_, ObjectRef{Kind::kMessageQueue, 42, 101});
  EXPECT_THAT(out(), ElementsAre("removed 101"));
  objects_->on_gone(now_, ObjectRef{Kind::kMessageQueue, 42, 101});
  EXPECT_THAT(out(), IsEmpty());
}

TEST_F(OwnedObjectsTest, ObjectRemovedWhileTheKernelLookedIsStale) {
  make(1, 42);
  get(2, false);
  objects_->on_gone(now_, ObjectRef{Kind::kMessageQueue, 42, 101});
  kernel(2, Error::kNone, 42);
  EXPECT_THAT(out(), ElementsAre("kernel 2", "removed 101", "answer 2 " + error_text(Error::kStale)));
}

TEST_F(OwnedObjectsTest, RefusedAnnouncementFencesTheObject) {
  make(1, 42);
  objects_->on_announced(now_, Announced{{{kQueue, 100}, {kOther, 101}}});
  EXPECT_THAT(out(), IsEmpty()) << "not ours";
  EXPECT_TRUE(objects_->blocks_stand_in(kQueue));
  objects_->on_announced(now_, Announced{{{kQueue, 101}}});
  EXPECT_THAT(out(), ElementsAre("log"));
  EXPECT_FALSE(objects_->blocks_stand_in(kQueue));
  EXPECT_EQ(objects_->find(Kind::kMessageQueue, 42)->state, State::kFenced);
  EXPECT_THAT(objects_->announcements({}), ElementsAre(Announce{}));
  get(2, false);
  EXPECT_THAT(out(), ElementsAre("answer 2 " + error_text(Error::kStale)));
  get(3, true);
  EXPECT_THAT(out(), ElementsAre("kernel 3 create")) << "EEXIST, as long as it lies in the kernel";
  kernel(3, Error::kNone, 43);
  EXPECT_THAT(out(), ElementsAre("register 103 claim 13 of sun"));
  registered(true);
  EXPECT_THAT(out(), ElementsAre("answer 3 43:103"));
  EXPECT_EQ(objects_->find(Kind::kMessageQueue, 42), nullptr);
  EXPECT_EQ(objects_->find(kQueue)->ref.id, 43);
}

TEST_F(OwnedObjectsTest, RestartKeepsWhatWasAcceptedAndRemovesWhatWasNot) {
  make(1, 42);
  get(2, true, false, kOther);
  kernel(2, Error::kNone, 43);
  out();
  objects_.emplace(5s);
  objects_->restore(saved_);
  EXPECT_THAT(out(), ElementsAre("remove 43"));
  EXPECT_EQ(objects_->find(kQueue)->ref.id, 42);
  EXPECT_EQ(objects_->objects().size(), 1u);
}

TEST_F(OwnedObjectsTest, ManyNamesAreAnnouncedInSeveralMessages) {
  std::vector<OwnedObject> many;
  std::vector<NamedObject> used;
  for (std::int32_t n = 1; n <= 5000; ++n) {
    OwnedObject object;
    object.name = ObjectName{Kind::kMessageQueue, n};
    object.ref = ObjectRef{Kind::kMessageQueue, n, 1};
    many.push_back(object);
    used.push_back(NamedObject{ObjectName{Kind::kSemaphoreSet, n}, 2});
  }
  objects_->restore(many);
  const std::vector<Announce> messages = objects_->announcements(used);
  ASSERT_EQ(messages.size(), 3u);
  std::size_t owned_count = 0;
  std::size_t used_count = 0;
  for (const Announce& message : messages) {
    EXPECT_LE(message.owned.size() + message.used.size(), 4096u);
    owned_count += message.owned.size();
    used_count += message.used.size();
  }
  EXPECT_EQ(owned_count, 5000u);
  EXPECT_EQ(used_count, 5000u);
  EXPECT_FALSE(messages[0].last);
  EXPECT_FALSE(messages[1].last);
  EXPECT_TRUE(messages[2].last);
}

}  // namespace
}  // namespace dipc
