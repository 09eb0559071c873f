#include "daemon/core/referee.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace dipc {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr ObjectName kQueue{Kind::kMessageQueue, 0x10};
constexpr ObjectName kSet{Kind::kSemaphoreSet, 0x10};

// A script of steps: what goes in by a call, what came out as lines of text, in order.
class RefereeTest : public testing::Test {
 protected:
  RefereeTest() { begin({}, {}); }

  void begin(RefereeOptions options, Registry table, std::uint64_t incarnation = 1) {
    referee_.emplace(now_, Incarnation{incarnation}, options, std::move(table));
    for (const char* host : {"a", "b", "c"}) referee_->on_host(now_, host, std::string("boot-") + host);
    claims_.clear();
    ids_ = 0;
    disk_ = referee_->table();
    out();
  }

  std::vector<std::string> out() {
    std::vector<std::string> lines;
    for (const Referee::Action& action : referee_->take_actions()) {
      lines.push_back(std::visit([this](const auto& value) { return line(value); }, action));
    }
    EXPECT_EQ(disk_, referee_->table());
    return lines;
  }

  std::string line(const Referee::Persist& persist) {
    if (persist.entry) {
      disk_[persist.name] = *persist.entry;
      return "disk " + persist.entry->owner + ":" + std::to_string(persist.entry->generation);
    }
    disk_.erase(persist.name);
    return "disk -";
  }
  std::string line(const Referee::GraceOver&) { return "grace over"; }
  std::string line(const Referee::Broadcast& broadcast) {
    return "all dropped " + std::to_string(broadcast.message.generation);
  }
  std::string line(const Referee::Log& log) {
    log_ = log.text;
    return "log " + log.host;
  }
  std::string line(const Referee::Answer& answer) {
    return answer.host + " " + std::visit([this](const auto& message) { return line(message); }, answer.message);
  }
  std::string line(const Resolved& resolved) {
    const std::string number = "#" + std::to_string(static_cast<std::uint64_t>(resolved.id)) + " ";
    switch (resolved.outcome) {
      case Resolved::Outcome::kPresent:
        return number + "present " + resolved.owner + ":" + std::to_string(resolved.generation);
      case Resolved::Outcome::kAbsent:
        return number + "absent";
      case Resolved::Outcome::kCreate:
        claims_.push_back(resolved.claim);
        return number + "create";
    }
    return "?";
  }
  std::string line(const Registered& registered) { return registered.accepted ? "accepted" : "refused"; }
  std::string line(const Announced& announced) {
    return "announced, refused " + std::to_string(announced.refused.size());
  }
  std::string line(const Dropped& dropped) { return "dropped " + std::to_string(dropped.generation); }

  // Requests are numbered 1, 2, ...
  void resolve(const std::string& host, bool create = true, bool exclusive = false, ObjectName name = kQueue,
               const std::string& home = "") {
    referee_->on_resolve(now_, host, Resolve{RequestId{++ids_}, name, create, exclusive, home});
  }
  void enter(const std::string& host, ClaimId claim, std::uint64_t generation, ObjectName name = kQueue,
             const std::string& claimant = "") {
    referee_->on_register(now_, host, Register{RequestId{99}, claim, name, generation, claimant});
  }
  void abandon(const std::string& host, ClaimId claim) { referee_->on_abandon(now_, host, Abandon{claim}); }
  void create(const std::string& host, std::uint64_t generation, ObjectName name = kQueue) {
    resolve(host, true, false, name);
    out();
    enter(host, claims_.back(), generation, name);
    out();
  }
  void announce(const std::string& host, std::vector<NamedObject> owned, std::vector<NamedObject> used = {},
                bool last = true) {
    referee_->on_announce(now_, host, Announce{std::move(owned), std::move(used), last});
  }

  TimePoint now_{};
  std::optional<Referee> referee_;
  std::vector<ClaimId> claims_;
  Registry disk_;
  std::string log_;
  std::uint64_t ids_ = 0;
};

TEST_F(RefereeTest, UnknownNameIsAbsentForWhoDoesNotCreate) {
  resolve("a", false);
  EXPECT_THAT(out(), ElementsAre("a #1 absent"));
}

TEST_F(RefereeTest, FirstCreatorGetsAClaimAndRegistersWithIt) {
  resolve("a");
  EXPECT_THAT(out(), ElementsAre("a #1 create"));
  enter("a", claims_[0], 7);
  EXPECT_THAT(out(), ElementsAre("disk a:7", "a accepted"));
  EXPECT_EQ(referee_->table().at(kQueue), (RegistryEntry{"a", "boot-a", 7}));
  EXPECT_EQ(referee_->open_claims(), 0u);
}

TEST_F(RefereeTest, NamesOfDifferentKindsAreDifferent) {
  create("a", 7);
  resolve("b", true, false, kSet);
  EXPECT_THAT(out(), ElementsAre("b #2 create"));
}

TEST_F(RefereeTest, WhoAsksDuringAClaimWaitsForItsOutcome) {
  resolve("a");
  resolve("b");
  resolve("c", false);
  resolve("c", true, true);
  EXPECT_THAT(out(), ElementsAre("a #1 create"));
  enter("a", claims_[0], 7);
  EXPECT_THAT(out(), ElementsAre("disk a:7", "a accepted", "b #2 present a:7", "c #3 present a:7", "c #4 present a:7"));
  EXPECT_EQ(referee_->waiting_requests(), 0u);
}

TEST_F(RefereeTest, AbandonedClaimGoesToTheNextCreatorAndOthersGetAbsent) {
  resolve("a");
  resolve("b", false);
  resolve("c");
  resolve("b");
  out();
  abandon("a", claims_[0]);
  EXPECT_THAT(out(), ElementsAre("b #2 absent", "c #3 create"));
  abandon("c", claims_[1]);
  EXPECT_THAT(out(), ElementsAre("b #4 create"));
}

// A host that is allowed in knows the numbers that it is given, and so those that others are given.
TEST_F(RefereeTest, AClaimIsWorthNothingToAHostThatGuessesItsNumber) {
  resolve("a");
  out();
  enter("c", claims_[0], 8);
  EXPECT_THAT(out(), ElementsAre("log c", "c refused"));
  enter("c", claims_[0], 8, kQueue, "a");
  EXPECT_THAT(out(), ElementsAre("log c", "c refused"));
  abandon("c", claims_[0]);
  EXPECT_THAT(out(), ElementsAre("log c"));
  EXPECT_NE(log_.find("a claim that a has"), std::string::npos) << log_;
  enter("a", claims_[0], 7);
  EXPECT_THAT(out(), ElementsAre("disk a:7", "a accepted")) << "the claim was open all the time";
}

TEST_F(RefereeTest, AClaimForAHomeIsRegisteredThereForGetsOfItsAskerAlone) {
  resolve("a", true, false, kQueue, "b");
  out();
  enter("a", claims_[0], 6);
  EXPECT_THAT(out(), ElementsAre("log a", "a refused")) << "the object is not there";
  enter("b", claims_[0], 8, kQueue, "c");
  EXPECT_THAT(out(), ElementsAre("log b", "b refused")) << "c has sent b a get with the number of a";
  abandon("b", claims_[0]);
  EXPECT_THAT(out(), ElementsAre("log b")) << "nor does it give back what a has";
  enter("b", claims_[0], 7, kQueue, "a");
  EXPECT_THAT(out(), ElementsAre("disk b:7", "b accepted"));
}

TEST_F(RefereeTest, AClaimForAHomeIsGivenBackByItsAsker) {
  resolve("a", true, false, kQueue, "b");
  resolve("c");
  out();
  abandon("a", claims_[0]);
  EXPECT_THAT(out(), ElementsAre("c #2 create"));
}

TEST_F(RefereeTest, ExpiredClaimGoesOnAndItsRegistrationIsRefused) {
  resolve("a");
  resolve("b");
  out();
  EXPECT_EQ(referee_->deadline(), now_ + 5s);
  now_ += 5s;
  referee_->on_time(now_);
  EXPECT_THAT(out(), ElementsAre("b #2 create"));
  enter("a", claims_[0], 7);
  EXPECT_THAT(out(), ElementsAre("log a", "a refused"));
  enter("b", claims_[1], 8);
  EXPECT_THAT(out(), ElementsAre("disk b:8", "b accepted"));
  enter("a", claims_[0], 7);
  EXPECT_THAT(out(), ElementsAre("log a", "a refused"));
  EXPECT_THAT(log_, HasSubstr("conflicting"));
}

TEST_F(RefereeTest, ClaimExpiresByAnyInputAfterItsTime) {
  resolve("a");
  out();
  now_ += 5s;
  enter("a", claims_[0], 7);
  EXPECT_THAT(out(), ElementsAre("log a", "a refused"));
  EXPECT_EQ(referee_->deadline(), kNever);
}

TEST_F(RefereeTest, ClaimOfAnotherNameIsRefused) {
  resolve("a");
  out();
  enter("a", claims_[0], 7, kSet);
  EXPECT_THAT(out(), ElementsAre("log a", "a refused"));
  EXPECT_EQ(referee_->open_claims(), 1u);
}

TEST_F(RefereeTest, LostHostLosesItsClaimsAndRequestsButNotItsObjects) {
  create("a", 7, kSet);
  resolve("a");
  resolve("b");
  resolve("a");
  out();
  referee_->on_host_lost(now_, "a");
  EXPECT_THAT(out(), ElementsAre("b #3 create"));
  EXPECT_EQ(referee_->waiting_requests(), 0u);
  resolve("c", false, false, kSet);
  EXPECT_THAT(out(), ElementsAre("c #5 present a:7"));
}

TEST_F(RefereeTest, NewSessionEndsTheOldOne) {
  resolve("a");
  resolve("b");
  out();
  referee_->on_host(now_, "a", "boot-a");
  EXPECT_THAT(out(), ElementsAre("b #2 create"));
}

TEST_F(RefereeTest, SameBootKeepsObjectsAndANewBootDropsThem) {
  create("a", 7);
  create("b", 8, kSet);
  referee_->on_host_lost(now_, "a");
  referee_->on_host(now_, "a", "boot-a");
  EXPECT_THAT(out(), IsEmpty());
  referee_->on_host(now_, "a", "boot-a2");
  EXPECT_THAT(out(), ElementsAre("disk -", "all dropped 7"));
  EXPECT_TRUE(referee_->table().contains(kSet));
}

TEST_F(RefereeTest, RemovedByItsOwnerMakesTheNameFree) {
  create("a", 7);
  referee_->on_removed(now_, "a", Removed{kQueue, 7});
  EXPECT_THAT(out(), ElementsAre("disk -", "all dropped 7"));
  resolve("b");
  EXPECT_THAT(out(), ElementsAre("b #2 create"));
}

TEST_F(RefereeTest, OthersCannotRemoveAndAnOldGenerationRemovesNothing) {
  create("a", 7);
  referee_->on_removed(now_, "a", Removed{kQueue, 6});
  EXPECT_THAT(out(), IsEmpty());
  referee_->on_removed(now_, "b", Removed{kQueue, 7});
  EXPECT_THAT(out(), ElementsAre("log b"));
  EXPECT_TRUE(referee_->table().contains(kQueue));
}

TEST_F(RefereeTest, AdministratorForgets) {
  create("a", 7);
  EXPECT_TRUE(referee_->on_forget(now_, kQueue));
  EXPECT_THAT(out(), ElementsAre("disk -", "all dropped 7"));
  EXPECT_FALSE(referee_->on_forget(now_, kQueue));
}

TEST_F(RefereeTest, IpcPrivateHasNoOwner) {
  resolve("a", true, false, ObjectName{Kind::kMessageQueue, 0});
  EXPECT_THAT(out(), ElementsAre("log a", "a #1 absent"));
}

// ---- announcements

TEST_F(RefereeTest, AnnouncingWhatTheTableHasChangesNothing) {
  create("a", 7);
  announce("a", {{kQueue, 7}});
  announce("a", {{kQueue, 7}});
  EXPECT_THAT(out(), ElementsAre("a announced, refused 0", "a announced, refused 0"));
}

TEST_F(RefereeTest, WhatTheOwnerDoesNotAnnounceIsGone) {
  create("a", 7);
  create("a", 8, kSet);
  create("b", 9, ObjectName{Kind::kMessageQueue, 0x20});
  referee_->on_host(now_, "a", "boot-a");
  announce("a", {}, {}, false);
  EXPECT_THAT(out(), ElementsAre("a announced, refused 0"));
  announce("a", {{kSet, 8}}, {}, true);
  EXPECT_THAT(out(), ElementsAre("disk -", "all dropped 7", "a announced, refused 0"));
  EXPECT_EQ(referee_->table().size(), 2u);
}

TEST_F(RefereeTest, RegistrationAmongTheAnnouncementsCounts) {
  referee_->on_host(now_, "a", "boot-a");
  announce("a", {}, {}, false);
  create("a", 7);
  announce("a", {}, {}, true);
  EXPECT_THAT(out(), ElementsAre("a announced, refused 0"));
  EXPECT_TRUE(referee_->table().contains(kQueue));
}

TEST_F(RefereeTest, OnlyTheFirstCompleteAnnouncementOfASessionDropsEntries) {
  announce("a", {});
  create("a", 7);
  announce("a", {});
  EXPECT_THAT(out(), ElementsAre("a announced, refused 0"));
}

TEST_F(RefereeTest, ConflictingAnnouncementIsRefusedAndLogged) {
  create("a", 7);
  announce("b", {{kQueue, 8}});
  EXPECT_THAT(out(), ElementsAre("log b", "b announced, refused 1"));
  EXPECT_EQ(referee_->table().at(kQueue).owner, "a");
}

TEST_F(RefereeTest, FreeNameIsTakenInAndItsClaimGivesWay) {
  resolve("a");
  resolve("c");
  out();
  announce("b", {{kQueue, 8}});
  EXPECT_THAT(out(), ElementsAre("disk b:8", "c #2 present b:8", "log b", "b announced, refused 0"));
  enter("a", claims_[0], 7);
  EXPECT_THAT(out(), ElementsAre("log a", "a refused"));
}

TEST_F(RefereeTest, OwnersOtherObjectOfANameReplacesTheOldOne) {
  create("a", 7);
  announce("a", {{kQueue, 8}});
  EXPECT_THAT(out(), ElementsAre("log a", "disk -", "all dropped 7", "disk a:8", "a announced, refused 0"));
}

TEST_F(RefereeTest, StandInsOfDeadObjectsAreDropped) {
  create("a", 7);
  announce("b", {}, {{kQueue, 6}, {kQueue, 7}, {kSet, 3}});
  EXPECT_THAT(out(), ElementsAre("b dropped 6", "b dropped 3", "b announced, refused 0"));
}

// ---- restarts

TEST_F(RefereeTest, TableFromDiskIsUsedAtOnce) {
  begin({}, Registry{{kQueue, {"a", "boot-a", 7}}, {kSet, {"b", "boot-before", 8}}});
  EXPECT_FALSE(referee_->in_grace());
  resolve("c");
  resolve("c", true, false, kSet);  // b's boot has changed since
  EXPECT_THAT(out(), ElementsAre("c #1 present a:7", "c #2 create"));
}

TEST_F(RefereeTest, ClaimsOfAnEarlierIncarnationMeanNothing) {
  resolve("a");
  out();
  const ClaimId old = claims_[0];
  begin({}, {}, 2);
  resolve("a");
  out();
  EXPECT_NE(claims_[0], old);
  enter("b", old, 7);
  EXPECT_THAT(out(), ElementsAre("log b", "b refused"));
}

TEST_F(RefereeTest, LostTableAnswersNothingNewUntilTheGraceTimeIsOver) {
  RefereeOptions options;
  options.table_lost = true;
  begin(options, {});
  EXPECT_TRUE(referee_->in_grace());
  EXPECT_EQ(referee_->deadline(), now_ + 15s);
  resolve("a");
  resolve("b", false);
  resolve("b", true, false, kSet);
  announce("c", {{kSet, 3}}, {{kQueue, 9}, {kSet, 3}});
  EXPECT_THAT(out(), ElementsAre("disk c:3", "b #3 present c:3", "c announced, refused 0"));
  now_ += 15s;
  referee_->on_time(now_);
  EXPECT_THAT(out(), ElementsAre("grace over", "c dropped 9", "a #1 create", "b #2 absent"));
  EXPECT_FALSE(referee_->in_grace());
}

// ---- what a hostile host can do

TEST_F(RefereeTest, WaitingRequestsPerHostAreBounded) {
  RefereeOptions options;
  options.waiting_per_host_max = 2;
  begin(options, {});
  resolve("a");
  for (int i = 0; i < 5; ++i) resolve("b");
  resolve("c");
  EXPECT_THAT(out(), ElementsAre("a #1 create", "log b", "log b", "log b"));
  EXPECT_EQ(referee_->waiting_requests(), 3u);
  abandon("a", claims_[0]);
  resolve("b");
  EXPECT_THAT(out(), ElementsAre("b #2 create")) << "there is room again, behind the claim";
}

TEST_F(RefereeTest, OpenClaimsPerHostAreBounded) {
  RefereeOptions options;
  options.claims_per_host_max = 1;
  begin(options, {});
  resolve("a");
  resolve("a", true, false, kSet);
  EXPECT_THAT(out(), ElementsAre("a #1 create", "log a"));
  resolve("b", true, false, kSet);
  resolve("a", true, false, kSet);
  resolve("c", true, false, kSet);
  EXPECT_THAT(out(), ElementsAre("b #3 create"));
  abandon("b", claims_[1]);
  EXPECT_THAT(out(), ElementsAre("log a", "c #5 create")) << "the name must not stay with a waiter that gets no claim";
}

TEST_F(RefereeTest, EntriesPerHostAreBounded) {
  RefereeOptions options;
  options.entries_per_host_max = 1;
  begin(options, {});
  create("a", 7);
  resolve("a", true, false, kSet);
  resolve("b", true, false, kSet);
  out();
  enter("a", claims_[1], 8, kSet);
  EXPECT_THAT(out(), ElementsAre("log a", "a refused", "b #3 create"));
  announce("a", {{kQueue, 7}, {ObjectName{Kind::kMessageQueue, 0x20}, 9}});
  EXPECT_THAT(out(), ElementsAre("log a", "a announced, refused 1"));
}

}  // namespace
}  // namespace dipc
