// Segments whose owner's daemon is killed, and goes on with them when it is started again.

#include "daemon/owned_segments.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/shm.h>

#include <chrono>
#include <fstream>

#include "tests/unit/daemon/three_hosts_fixture.h"

namespace dipc::test {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

class OwnedSegmentsRestartTest : public ThreeHostsTest {
 protected:
  OwnedSegmentsRestartTest() { outlive_ = true; }
  // On sun.
  ObjectRef attached_by_all(std::int64_t bytes = 2 * 4096) {
    const ObjectRef segment = make(*sun_, bytes);
    everybody_attaches(segment);
    return segment;
  }
};

TEST_F(OwnedSegmentsRestartTest, TheNextDaemonGoesOnWithEachPageWhereItIs) {
  attached_by_all(3 * 4096);
  write(*moon_, kPage, 42);
  write(*sun_, kSecond, 43);
  EXPECT_EQ(read(*earth_, kSecond), 43);
  EXPECT_TRUE(restart(*sun_));
  EXPECT_EQ(read(*earth_, kPage), 42);
  EXPECT_EQ(read(*earth_, kSecond), 43);
  EXPECT_EQ(read(*earth_, PageIndex{2}), 0);
  write(*earth_, kSecond, 44);
  EXPECT_EQ(sun_->pagers.back()->state(kSecond), ScriptedPager::State::kHole) << "its copy was known";
  EXPECT_EQ(read(*sun_, kSecond), 44);
  for (Host* host : {sun_, moon_, earth_}) EXPECT_THAT(host->ended, IsEmpty());
}

TEST_F(OwnedSegmentsRestartTest, TheNextDaemonGoesOnWithItsRecord) {
  const ObjectRef segment = attached_by_all();
  EXPECT_EQ(control(*sun_, segment, ControlCommand::kLock), Error::kNone);
  time_of_day_ = 3000;
  Control set{.object = segment, .command = ControlCommand::kSet};
  set.set = Permissions{.uid = 1001, .gid = 1002, .mode = 0640};
  EXPECT_EQ(sun_->segments->call("sun", kRoot, 1, set).error, Error::kNone);
  const Stat before = stat(*sun_, segment);
  EXPECT_TRUE(restart(*sun_));
  quiet();
  EXPECT_EQ(stat(*sun_, segment), before);
  EXPECT_EQ(attach(*sun_, *sun_, segment, false, 5), Error::kNone);
  EXPECT_EQ(sun_->segments->call("sun", kBob, 1, SegmentAttach{.object = segment, .page_bytes = 4096}).error,
            Error::kAccess);
}

TEST_F(OwnedSegmentsRestartTest, WhatIsLockedStaysLocked) {
  const ObjectRef segment = attached_by_all();
  EXPECT_EQ(control(*sun_, segment, ControlCommand::kLock), Error::kNone);
  EXPECT_TRUE(restart(*sun_));
  quiet();
  EXPECT_EQ(stat(*sun_, segment).mode, 02600u);
  EXPECT_EQ(control(*sun_, segment, ControlCommand::kUnlock), Error::kNone);
  EXPECT_TRUE(restart(*sun_));
  quiet();
  EXPECT_EQ(stat(*sun_, segment).mode, 0600u);
}

TEST_F(OwnedSegmentsRestartTest, WhoHasMadeItIsKnownThoughThatHostHasNothingOfIt) {
  segments_per_peer_ = 1;
  Host& mars = add("mars");
  const auto made_by_moon = [&]() -> Error {
    const GetCall call{.name = {Kind::kSegment, 0}, .create = true, .exclusive = true, .mode = 0600, .size = 1};
    const auto segment = mars.segments->make(call, ++generations_, kAlice, "moon", 77);
    return segment ? Error::kNone : segment.error();
  };
  EXPECT_EQ(made_by_moon(), Error::kNone);
  EXPECT_TRUE(restart(mars));
  EXPECT_EQ(made_by_moon(), Error::kNoSpace) << "limits.segments_per_peer";
}

TEST_F(OwnedSegmentsRestartTest, AFaultThatTheDaemonBeforeNeverAnsweredIsAnsweredByTheNext) {
  attached_by_all();
  write(*moon_, kPage, 42);
  ScriptedPager& pager = *earth_->pagers.back();
  pager.touch(kPage, PageAccess::kWrite);
  while (carried_.empty()) uv_run(&loop_, UV_RUN_NOWAIT);
  EXPECT_TRUE(restart(*sun_));
  until([&] { return pager.state(kPage) == ScriptedPager::State::kExclusive; });
  EXPECT_EQ(std::to_integer<int>(pager.read(kPage)), 42);
}

TEST_F(OwnedSegmentsRestartTest, AShmatWaitsUntilItIsKnownWhetherTheSegmentGoesOn) {
  const ObjectRef segment = attached_by_all();
  std::optional<bool> known;
  moon_->segments->on_session_ended("sun", true);
  moon_->segments->when_known(moon_->segments->key("sun", segment), [&] { known = true; });
  EXPECT_FALSE(known);
  EXPECT_TRUE(restart(*sun_));
  until([&] { return known.has_value(); });
  EXPECT_FALSE(moon_->pagers.back()->all_lost);
}

TEST_F(OwnedSegmentsRestartTest, OneThatNobodyHasAttachedGoesOnAsWell) {
  const ObjectRef segment = make(*sun_, 4096);
  EXPECT_TRUE(restart(*sun_));
  EXPECT_EQ(attach(*moon_, *sun_, segment), Error::kNone);
  EXPECT_EQ(read(*moon_, kPage), 0);
}

TEST_F(OwnedSegmentsRestartTest, OneThatIsUnmadeLeavesNoMemory) {
  const ObjectRef segment = make(*sun_, 4096);
  EXPECT_EQ(sun_->segments->attached().count(), 1u);
  sun_->segments->unmake(segment);
  until([&] { return sun_->segments->attached().count() == 0; });
}

TEST_F(OwnedSegmentsRestartTest, OneThatWasRemovedGoesOnUntilItsLastDetach) {
  const ObjectRef segment = attached_by_all();
  write(*moon_, kPage, 42);
  ASSERT_EQ(control(*sun_, segment, ControlCommand::kRemove), Error::kNone);
  EXPECT_TRUE(restart(*sun_, 20s, false));
  EXPECT_EQ(read(*earth_, kPage), 42);
  EXPECT_EQ(stat(*sun_, segment).key, 0);
  for (Host* host : {sun_, moon_, earth_}) host->pagers.back()->detach();
  until([&] { return sun_->segments->owned().views().empty(); });
}

// The daemon before was killed between the state file, which says who has a name, and what it knows of the segment.
TEST_F(OwnedSegmentsRestartTest, OneThatHasNoNameWasRemovedWhateverElseIsWrittenDown) {
  const ObjectRef segment = attached_by_all();
  write(*moon_, kPage, 42);
  ASSERT_EQ(shmctl(segment.id, IPC_RMID, nullptr), 0);
  EXPECT_TRUE(restart(*sun_, 20s, false));
  EXPECT_EQ(read(*earth_, kPage), 42);
  EXPECT_EQ(stat(*sun_, segment).mode, 01600u);
  EXPECT_EQ(stat(*sun_, segment).key, 0);
  for (Host* host : {sun_, moon_, earth_}) host->pagers.back()->detach();
  until([&] { return sun_->segments->owned().views().empty(); });
}

TEST_F(OwnedSegmentsRestartTest, OneThatIsRemovedAfterwardsKeepsItsIdFromOthers) {
  const ObjectRef segment = attached_by_all();
  EXPECT_TRUE(restart(*sun_));
  quiet();
  ASSERT_EQ(control(*sun_, segment, ControlCommand::kRemove), Error::kNone);
  shmid_ds record{};
  EXPECT_EQ(shmctl(segment.id, IPC_STAT, &record), 0) << "the stand-in is not gone before the segment is";
  for (Host* host : {sun_, moon_, earth_}) host->pagers.back()->detach();
  until([&] { return sun_->segments->owned().views().empty(); });
  EXPECT_EQ(shmctl(segment.id, IPC_STAT, &record), -1);
}

TEST_F(OwnedSegmentsRestartTest, OneThatWasRemovedEndsWhenTheKernelGivesItsIdToAnother) {
  const ObjectRef removed = attached_by_all();
  write(*moon_, kPage, 42);
  ASSERT_EQ(control(*sun_, removed, ControlCommand::kRemove), Error::kNone);
  EXPECT_TRUE(restart(*sun_, 20s, false));
  quiet();
  ScriptedPager* const of_removed = sun_->pagers.back();
  {
    std::ofstream next("/proc/sys/kernel/shm_next_id");
    if (!(next << removed.id).flush()) GTEST_SKIP() << "a kernel without CONFIG_CHECKPOINT_RESTORE";
  }
  const ObjectRef made = make(*sun_, 4096);
  if (made.id != removed.id) GTEST_SKIP() << "another program has got the id";
  until([&] { return of_removed->all_lost && moon_->pagers.back()->all_lost && earth_->pagers.back()->all_lost; });
  EXPECT_THAT(moon_->gone, ElementsAre(Pair("sun", removed)));
  EXPECT_EQ(stat(*sun_, made).key, kKey);
}

TEST_F(OwnedSegmentsRestartTest, WithoutTheOwnersNextDaemonInTimeItIsTakenFromPrograms) {
  resume_within_ = 50ms;
  Host& venus = add("venus");
  const ObjectRef segment = make(*sun_, 4096);
  ASSERT_EQ(attach(venus, *sun_, segment), Error::kNone);
  write(venus, kPage, 42);
  sessions_.clear();
  carried_.clear();
  venus.segments->on_session_ended("sun", true);
  EXPECT_FALSE(venus.pagers.back()->all_lost);
  until([&] { return venus.pagers.back()->all_lost; });
}

TEST_F(OwnedSegmentsRestartTest, WhatIsNoRecordOfTheSegmentEndsIt) {
  const ObjectRef small = make(*sun_, 4096);
  auto other = sun_->pagers.back()->snapshot();
  ASSERT_EQ(control(*sun_, small, ControlCommand::kRemove), Error::kNone);
  attached_by_all();
  next_directory_ = std::move(other.directory);
  EXPECT_FALSE(restart(*sun_)) << "a segment of one page has another";
  EXPECT_THAT(sun_->segments->owned().views(), IsEmpty());
  until([&] { return moon_->pagers.back()->all_lost && earth_->pagers.back()->all_lost; });
}

TEST_F(OwnedSegmentsRestartTest, WhoClaimsWhatItWasNotGivenLosesItsSession) {
  const ObjectRef segment = attached_by_all();
  write(*moon_, kPage, 42);
  EXPECT_TRUE(restart(*sun_));
  sun_->segments->on_peer_message("earth", SegmentReport{segment, PagesHeld{kSecond, 1, PageAccess::kWrite}, 0});
  EXPECT_THAT(sun_->ended, ElementsAre(Pair("earth", HasSubstr("was not given"))));
  EXPECT_EQ(read(*sun_, kPage), 42);
}

TEST_F(OwnedSegmentsRestartTest, WhoSaysThatItHasAPageBeforeItWasSentTakesNothingFromTheOwner) {
  sharing_.hold_time = 20s;
  const ObjectRef segment = attached_by_all();
  write(*sun_, kPage, 42);  // and it is not given up sooner
  quiet();
  sun_->segments->on_peer_message("earth", SegmentReport{segment, PageRequest{kPage, PageAccess::kWrite}, 0});
  sun_->segments->on_peer_message("earth", SegmentReport{segment, PageInstalled{kPage, TransactionNumber{2}}, 0});
  EXPECT_TRUE(restart(*sun_));
  EXPECT_EQ(sun_->pagers.back()->state(kPage), ScriptedPager::State::kExclusive);
  sun_->pagers.back()->write(kPage, std::byte{43});
  quiet();
  EXPECT_THAT(sun_->ended, IsEmpty());
  EXPECT_EQ(read(*moon_, kPage), 43);
}

TEST_F(OwnedSegmentsRestartTest, WithPagesHereThatNothingWasWrittenDownOfItEnds) {
  const ObjectRef segment = attached_by_all();
  sun_->pagers.back()->install(kSecond, nullptr, true);
  EXPECT_FALSE(restart(*sun_));
  EXPECT_THAT(sun_->removed, ElementsAre(segment));
  EXPECT_EQ(shmget(kKey, 0, 0), -1) << "the key is free";
  until([&] {
    return sun_->pagers.back()->all_lost && moon_->pagers.back()->all_lost && earth_->pagers.back()->all_lost;
  });
}

TEST_F(OwnedSegmentsRestartTest, WithoutALastingMemoryItEndsWithItsDaemon) {
  outlive_ = false;
  Host& venus = add("venus");
  const ObjectRef segment = make(venus, 4096);
  ASSERT_EQ(attach(venus, venus, segment), Error::kNone);
  ASSERT_EQ(attach(*moon_, venus, segment), Error::kNone);
  EXPECT_FALSE(restart(venus));
  until([&] { return moon_->pagers.back()->all_lost; });
}

}  // namespace
}  // namespace dipc::test
