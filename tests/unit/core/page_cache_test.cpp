#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/core/page_cache_fixture.h"

namespace dipc::test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using Access = PageCache::Access;

TEST_F(PageCacheTest, AFaultIsAskedForOnceAndInstalledWhenGrantAndDataAreThere) {
  read();
  read();
  EXPECT_THAT(out(), ElementsAre("tell: read p0"));
  grant(5, PageAccess::kRead, PageOrigin::kHolder, kBob);
  EXPECT_THAT(out(), IsEmpty());
  data(5, 7);
  EXPECT_THAT(out(), ElementsAre("install p0 7"));
  EXPECT_EQ(cache_->access(p0), Access::kInvalid);
  done();
  EXPECT_THAT(out(), ElementsAre("tell: installed p0 #5"));
  EXPECT_EQ(cache_->access(p0), Access::kShared);
  EXPECT_TRUE(cache_->idle());
}

TEST_F(PageCacheTest, DataMayComeBeforeItsGrant) {
  write();
  data(5, 7);
  grant(5, PageAccess::kWrite, PageOrigin::kHolder, kBob);
  done();
  EXPECT_THAT(out(), ElementsAre("tell: write p0", "install p0 7 writable", "tell: installed p0 #5"));
  EXPECT_EQ(cache_->access(p0), Access::kExclusive);
}

TEST_F(PageCacheTest, DataOfAnotherTransactionOrFromAnotherHostIsNotInstalled) {
  read();
  data(4, 1);
  data(5, 2, kCid);
  grant(5, PageAccess::kRead, PageOrigin::kHolder, kBob);
  data(6, 3);
  EXPECT_THAT(out(), ElementsAre("tell: read p0"));
  data(5, 7);
  EXPECT_THAT(out(), ElementsAre("install p0 7"));
}

TEST_F(PageCacheTest, DataThatNobodyAskedForIsForgotten) {
  data(5, 7);
  read();
  grant(5, PageAccess::kRead, PageOrigin::kHolder, kBob);
  EXPECT_THAT(out(), ElementsAre("tell: read p0"));
}

TEST_F(PageCacheTest, AStaleFaultIsWoken) {
  has(PageAccess::kRead);
  read();
  EXPECT_THAT(out(), ElementsAre("wake p0"));
}

TEST_F(PageCacheTest, AReaderThatWritesIsUpgraded) {
  has(PageAccess::kRead);
  write();
  grant(2, PageAccess::kWrite, PageOrigin::kHeld);
  done();
  EXPECT_THAT(out(), ElementsAre("tell: write p0", "upgrade p0", "tell: installed p0 #2"));
}

TEST_F(PageCacheTest, AWriteThatWaitsForAReadIsAskedForWhenThatIsInstalled) {
  read();
  write();
  grant(1, PageAccess::kRead, PageOrigin::kZero);
  done();
  EXPECT_THAT(out(), ElementsAre("tell: read p0", "install p0 zeros", "tell: installed p0 #1", "tell: write p0"));
}

// ---- giving pages up

TEST_F(PageCacheTest, AWriterProtectsReadsAndSendsStraightToTheReader) {
  has(PageAccess::kWrite);
  hear(FetchPage{p0, t(2), kBob});
  EXPECT_THAT(out(), ElementsAre("protect and read p0"));
  cache_->on_contents(now_, p0, contents(9));
  EXPECT_THAT(out(), ElementsAre("send host 2 p0 #2 9"));
  EXPECT_EQ(cache_->access(p0), Access::kShared);
}

TEST_F(PageCacheTest, WhatIsGivenAwayIsKeptUntilReleased) {
  has(PageAccess::kWrite);
  hear(FetchPage{p0, t(2), kBob, true});
  cache_->on_contents(now_, p0, contents(9));
  EXPECT_THAT(out(), ElementsAre("protect and read p0, drop", "send host 2 p0 #2 9"));
  EXPECT_EQ(cache_->access(p0), Access::kInvalid);
  EXPECT_FALSE(cache_->idle());
  hear(FetchPage{p0, t(3), kBob, true, true});
  EXPECT_THAT(out(), ElementsAre("tell: relay p0 #3 9"));
  hear(ReleasePage{p0, t(3)});
  EXPECT_TRUE(cache_->idle());
  hear(FetchPage{p0, t(4), kBob, true});
  EXPECT_THAT(out(), ElementsAre("tell: failed p0 #4"));
}

TEST_F(PageCacheTest, WhatIsGivenAwayInVainIsRestored) {
  has(PageAccess::kWrite);
  hear(FetchPage{p0, t(2), kBob, true});
  cache_->on_contents(now_, p0, contents(9));
  out();
  hear(RestorePage{p0, t(2)});
  EXPECT_THAT(out(), ElementsAre("install p0 9"));
  done();
  EXPECT_THAT(out(), IsEmpty());
  EXPECT_EQ(cache_->access(p0), Access::kShared);
}

TEST_F(PageCacheTest, WithoutASessionTheDataGoesThroughTheOwner) {
  has(PageAccess::kWrite);
  hear(FetchPage{p0, t(2), kCid});
  cache_->on_contents(now_, p0, contents(9));
  EXPECT_THAT(out(), ElementsAre("protect and read p0", "tell: relay p0 #2 9"));
}

TEST_F(PageCacheTest, AnInvalidationIsAnsweredWhenThePagerHasDoneIt) {
  has(PageAccess::kRead);
  hear(InvalidatePage{p0, t(2)});
  EXPECT_THAT(out(), ElementsAre("drop p0"));
  done();
  EXPECT_THAT(out(), ElementsAre("tell: dropped p0 #2"));
  EXPECT_EQ(cache_->access(p0), Access::kInvalid);
}

TEST_F(PageCacheTest, AFaultWhileThePageIsTakenIsAskedForAfterwards) {
  has(PageAccess::kRead);
  hear(InvalidatePage{p0, t(2)});
  read();
  EXPECT_THAT(out(), ElementsAre("drop p0"));
  done();
  EXPECT_THAT(out(), ElementsAre("tell: dropped p0 #2", "tell: read p0"));
}

TEST_F(PageCacheTest, WhatTheOwnerSaysWaitsForThePager) {
  read();
  grant(1, PageAccess::kRead, PageOrigin::kZero);
  hear(InvalidatePage{p0, t(2)});
  EXPECT_THAT(out(), ElementsAre("tell: read p0", "install p0 zeros"));
  done();
  EXPECT_THAT(out(), ElementsAre("tell: installed p0 #1"));  // and it is held
  pass(kHold);
  EXPECT_THAT(out(), ElementsAre("drop p0"));
}

// ---- hold time

TEST_F(PageCacheTest, APageIsKeptForTheHoldTime) {
  write();
  grant(1, PageAccess::kWrite, PageOrigin::kZero);
  done();
  out();
  hear(FetchPage{p0, t(2), kBob, true});
  EXPECT_EQ(cache_->deadline(), now_ + kHold);
  pass(kHold - 1ns);
  EXPECT_THAT(out(), IsEmpty());
  pass(1ns);
  EXPECT_THAT(out(), ElementsAre("protect and read p0, drop"));
  EXPECT_EQ(cache_->deadline(), kNever);
}

TEST_F(PageCacheTest, BelowTheFloorThereIsNoHoldTime) {
  begin(kSelf, 0, 0ms, 300us);
  read();
  grant(1, PageAccess::kRead, PageOrigin::kZero);
  done();
  hear(InvalidatePage{p0, t(2)});
  EXPECT_EQ(cache_->deadline(), now_ + 300us);
}

TEST_F(PageCacheTest, AnotherReaderTakesNothingFromAReader) {
  read();
  grant(1, PageAccess::kRead, PageOrigin::kZero);
  done();
  out();
  hear(FetchPage{p0, t(2), kBob});
  EXPECT_THAT(out(), ElementsAre("protect and read p0"));
}

TEST_F(PageCacheTest, WhatWasReadAheadIsNotHeld) {
  begin(kSelf, 32);
  read(p0);
  read(p1);
  const PageIndex ahead{2};
  hear(PageGrant{ahead, t(1), PageAccess::kRead, PageOrigin::kZero, {}, false});
  done(ahead);
  out();
  hear(InvalidatePage{ahead, t(2)});
  EXPECT_THAT(out(), ElementsAre("drop p2"));
}

// ---- read-ahead

TEST_F(PageCacheTest, FaultsInARowAreReadAhead) {
  begin(kSelf, 8);
  read(PageIndex{10});
  read(PageIndex{12});
  EXPECT_THAT(out(), ElementsAre("tell: read p10", "tell: read p12"));
  read(PageIndex{13});
  EXPECT_THAT(out(), ElementsAre("tell: read p13", "tell: ahead p14 4"));
  read(PageIndex{14});  // on its way
  EXPECT_THAT(out(), IsEmpty());
  read(PageIndex{16});  // half of it is used up, and it is waited for
  EXPECT_THAT(out(), ElementsAre("tell: ahead p18 8"));
  read(PageIndex{22});
  EXPECT_THAT(out(), ElementsAre("tell: ahead p26 8"));
  read(PageIndex{34});
  EXPECT_THAT(out(), ElementsAre("tell: read p34", "tell: ahead p35 8"));
  read(PageIndex{50});
  read(PageIndex{52});
  EXPECT_THAT(out(), ElementsAre("tell: read p50", "tell: read p52"));
}

TEST_F(PageCacheTest, ReadAheadEndsWithTheSegmentAndAtWhatIsKnown) {
  begin(kSelf, 8);
  read(PageIndex{99});
  read(PageIndex{95});
  out();
  read(PageIndex{96});
  EXPECT_THAT(out(), ElementsAre("tell: read p96", "tell: ahead p97 2"));
}

TEST_F(PageCacheTest, AFaultOnWhatWasDeclinedIsAskedFor) {
  begin(kSelf, 8);
  read(p0);
  read(p1);
  read(PageIndex{2});
  EXPECT_THAT(out(), ElementsAre("tell: read p0", "tell: read p1", "tell: ahead p2 4"));
  hear(PageDeclined{PageIndex{2}});
  hear(PageDeclined{PageIndex{3}});
  EXPECT_THAT(out(), ElementsAre("tell: read p2"));
}

TEST_F(PageCacheTest, WhatAProgramWaitsForIsHeldAlsoIfItWasReadAhead) {
  begin(kSelf, 8);
  read(p0);
  read(p1);
  read(PageIndex{2});
  hear(PageGrant{PageIndex{2}, t(1), PageAccess::kRead, PageOrigin::kZero, {}, false});
  done(PageIndex{2});
  hear(InvalidatePage{PageIndex{2}, t(2)});
  EXPECT_EQ(cache_->deadline(), now_ + kHold);
}

// ---- sessions and losses

TEST_F(PageCacheTest, WithoutTheHoldersSessionThereIsNoData) {
  read();
  grant(5, PageAccess::kRead, PageOrigin::kHolder, kBob);
  cache_->on_peer_lost(now_, kBob);
  data(5, 7);  // too late
  EXPECT_THAT(out(), ElementsAre("tell: read p0", "tell: no data p0 #5"));
  grant(6, PageAccess::kRead, PageOrigin::kHolder, kBob);
  EXPECT_THAT(out(), ElementsAre("tell: no data p0 #6"));
  grant(7, PageAccess::kRead, PageOrigin::kHolder, kOwner);
  hear(PageData{p0, t(7), contents(7)});
  EXPECT_THAT(out(), ElementsAre("install p0 7"));
}

TEST_F(PageCacheTest, WhatWasSentInTheSessionBeforeMayBeLost) {
  write();
  cache_->on_peer_lost(now_, kBob);
  cache_->on_peer(now_, kBob);
  grant(5, PageAccess::kWrite, PageOrigin::kHolder, kBob);
  EXPECT_THAT(out(), ElementsAre("tell: write p0", "tell: no data p0 #5"));
  grant(6, PageAccess::kWrite, PageOrigin::kHolder, kBob);  // in this session
  EXPECT_THAT(out(), IsEmpty());
}

TEST_F(PageCacheTest, WhenTheHolderIsGoneOnlyMissingDataIsGivenUp) {
  read();
  grant(5, PageAccess::kRead, PageOrigin::kHolder, kBob);
  hear(HolderGone{p0, t(5)});
  EXPECT_THAT(out(), ElementsAre("tell: read p0", "tell: no data p0 #5"));
  grant(6, PageAccess::kRead, PageOrigin::kHolder, kBob);
  data(6, 7);
  hear(HolderGone{p0, t(6)});
  done();
  EXPECT_THAT(out(), ElementsAre("install p0 7", "tell: installed p0 #6"));
}

TEST_F(PageCacheTest, ALostPageIsMarkedAndItsFaultsWoken) {
  write();
  hear(PageLost{p0});
  EXPECT_THAT(out(), ElementsAre("tell: write p0", "mark lost p0"));
  done();
  read();
  EXPECT_THAT(out(), ElementsAre("wake p0"));
  EXPECT_EQ(cache_->access(p0), Access::kLost);
}

TEST_F(PageCacheTest, APagerThatFailsLosesThePageHere) {
  write();
  grant(1, PageAccess::kWrite, PageOrigin::kZero);
  out();
  write();
  cache_->on_failed(now_, p0);
  EXPECT_THAT(out(), ElementsAre("tell: failed p0 #1", "wake p0"));
  hear(FetchPage{p0, t(2), kBob});
  hear(InvalidatePage{p0, t(3)});
  EXPECT_THAT(out(), ElementsAre("tell: failed p0 #2", "tell: dropped p0 #3"));
}

TEST_F(PageCacheTest, WithoutTheOwnerAllIsLost) {
  has(PageAccess::kWrite);
  write(p1);
  out();
  cache_->on_owner_lost(now_);
  EXPECT_THAT(out(), ElementsAre("lose all"));
  hear(PageGrant{p1, t(2), PageAccess::kWrite, PageOrigin::kZero});
  read();
  done(p1);  // of what was under way
  EXPECT_THAT(out(), IsEmpty());
  cache_->on_all_lost(now_);
  EXPECT_THAT(out(), ElementsAre("cleared", "finished"));
}

// ---- attachments

TEST_F(PageCacheTest, TheLastDetachForgetsFaultsAndAnswersWhatComes) {
  cache_->on_forked(now_, 2);
  write();
  cache_->on_detached(now_, 1);
  cache_->on_detached(now_, 2);
  write();
  EXPECT_THAT(out(), ElementsAre("tell: attached 2", "tell: write p0", "tell: detached 1", "tell: detached 2"));
  grant(1, PageAccess::kWrite, PageOrigin::kZero);
  done();
  EXPECT_THAT(out(), ElementsAre("install p0 zeros writable", "tell: installed p0 #1"));
  hear(SegmentDismissed{});
  EXPECT_THAT(out(), ElementsAre("finished"));
}

TEST_F(PageCacheTest, WhoIsDismissedWhileProgramsUseTheSegmentLosesIt) {
  hear(SegmentDismissed{});
  EXPECT_THAT(out(), ElementsAre("lose all"));
  cache_->on_all_lost(now_);
  EXPECT_THAT(out(), ElementsAre("finished"));
}

TEST_F(PageCacheTest, AnOwnerThatNeverStopsTalkingOfAPageIsNotListenedTo) {
  read();
  grant(1, PageAccess::kRead, PageOrigin::kZero);  // the pager does not answer
  for (std::uint64_t number = 2; number < 1000; ++number) hear(InvalidatePage{p0, t(number)});
  EXPECT_THAT(out(), ElementsAre("tell: read p0", "install p0 zeros",
                                 "misbehaved: it says more and more of a page and waits for no answer"));
  cache_->on_owner_lost(now_);  // the session is ended
  EXPECT_THAT(out(), ElementsAre("lose all"));
}

TEST_F(PageCacheTest, APageThatNobodyHasAskedForIsNotTaken) {
  grant(1, PageAccess::kRead, PageOrigin::kZero);
  EXPECT_THAT(out(), ElementsAre("misbehaved: it grants a page that nobody has asked for"));
  begin(kSelf);
  hear(PageGrant{p0, t(1), PageAccess::kRead, PageOrigin::kZero, {}, false, false});  // for the owner's own host alone
  EXPECT_THAT(out(), ElementsAre("misbehaved: it grants a page that nobody has asked for"));
}

TEST_F(PageCacheTest, ADestroyedSegmentIsForgotten) {
  cache_->on_detached(now_, 1);
  out();
  hear(SegmentDestroyed{});
  cache_->on_all_lost(now_);
  EXPECT_THAT(out(), ElementsAre("lose all", "finished"));
}

TEST_F(PageCacheTest, TheOwnersHostStoresWhatNobodyUsesBesideWhatItHasAskedFor) {
  begin(kOwner);
  write();
  hear(PageGrant{p0, t(1), PageAccess::kRead, PageOrigin::kHolder, kBob, false, false});
  data(1, 7);
  done();
  EXPECT_THAT(out(), ElementsAre("tell: write p0", "install p0 7", "tell: installed p0 #1"));
  write();  // has been asked for already
  EXPECT_THAT(out(), IsEmpty());
  grant(2, PageAccess::kWrite, PageOrigin::kHeld);
  EXPECT_THAT(out(), ElementsAre("upgrade p0"));
}

}  // namespace
}  // namespace dipc::test
