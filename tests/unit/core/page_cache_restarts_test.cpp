// PageCache after a daemon was started again: its own host's, or the owner's.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>

#include "tests/unit/core/page_cache_fixture.h"

namespace dipc::test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using Access = PageCache::Access;

constexpr Duration kLeft = 3s;  // until everybody is to be in a session with the owner

// ---- of an earlier daemon of this host

class ResumedPageCacheTest : public PageCacheTest {
 protected:
  ResumedPageCacheTest() {
    PageCacheOptions options;
    options.self = kSelf;
    options.owner = kOwner;
    options.page_count = kPages;
    const std::map<PageIndex, Access> held = {{p0, Access::kExclusive},
                                              {p1, Access::kExclusive},
                                              {p2, Access::kShared},
                                              {PageIndex{4}, Access::kShared},
                                              {PageIndex{5}, Access::kLost}};
    cache_ = std::make_unique<PageCache>(now_ + kLeft, options, held, 3);
  }
};

TEST_F(ResumedPageCacheTest, SaysWhatItHasAndAsksForMoreOnceTheOwnerAgrees) {
  write(p2);
  write(p0);
  EXPECT_THAT(out(), ElementsAre("wake p0"));
  cache_->on_forked(now_, 1);
  EXPECT_THAT(out(), IsEmpty()) << "it is counted below";
  cache_->on_peer(now_, kOwner);
  EXPECT_THAT(out(), ElementsAre("tell: holds p0 2 for writing", "tell: holds p2 1 for reading",
                                 "tell: holds p4 1 for reading", "tell: holds all, attachments 4"));
  cache_->on_detached(now_, 1);
  read(PageIndex{7});
  EXPECT_THAT(out(), ElementsAre("tell: detached 1"));
  hear(SegmentResumed{});
  EXPECT_THAT(out(), ElementsAre("tell: write p2", "tell: read p7"));
  EXPECT_FALSE(cache_->resuming());
  pass(kLeft);
  EXPECT_THAT(out(), IsEmpty());
}

TEST_F(ResumedPageCacheTest, LosesAllIfTheOwnerDoesNotAgreeInTime) {
  pass(kLeft - 1ms);
  EXPECT_THAT(out(), IsEmpty());
  EXPECT_EQ(cache_->deadline(), now_ + 1ms);
  pass(1ms);
  EXPECT_THAT(out(), ElementsAre("lose all"));
  cache_->on_peer(now_, kOwner);
  EXPECT_THAT(out(), IsEmpty());
}

TEST_F(ResumedPageCacheTest, LosesAllIfTheOwnerRefuses) {
  cache_->on_peer(now_, kOwner);
  out();
  hear(SegmentRefused{});
  EXPECT_THAT(out(), ElementsAre("lose all"));
  cache_->on_all_lost(now_);
  EXPECT_THAT(out(), ElementsAre("cleared", "finished"));
}

// ---- the owner's daemon was started again

class OwnerRestartedTest : public PageCacheTest {
 protected:
  void restart_owner() { cache_->on_owner_restarted(now_, now_ + kLeft); }
  void session() { cache_->on_peer(now_, kOwner); }
  void contents_read(int byte) { cache_->on_contents(now_, p0, contents(byte)); }
};

TEST_F(OwnerRestartedTest, SaysWhatProgramsHaveAndWhatItKeepsInTheNextSession) {
  has(PageAccess::kWrite);
  hear(FetchPage{p0, t(2), kBob, true});
  contents_read(9);
  for (const PageIndex page : {p1, p2}) {
    read(page);
    hear(PageGrant{page, t(3), PageAccess::kRead, PageOrigin::kZero});
    done(page);
  }
  out();
  restart_owner();
  cache_->on_peer(now_, kCid);
  EXPECT_THAT(out(), IsEmpty());
  session();
  EXPECT_THAT(out(),
              ElementsAre("tell: keeps p0 #2", "tell: holds p1 2 for reading", "tell: holds all, attachments 1"));
  hear(SegmentResumed{});
  hear(RestorePage{p0, t(2)});
  EXPECT_THAT(out(), ElementsAre("install p0 9"));
}

TEST_F(OwnerRestartedTest, WhatTheOwnerSaidAndWasAskedIsForgotten) {
  has(PageAccess::kRead);
  cache_->on_fault(now_, p1, PageAccess::kRead);
  write(p0);
  grant(2, PageAccess::kWrite, PageOrigin::kHeld);
  done();
  hear(InvalidatePage{p0, t(3)});  // it waits for the end of the hold
  read(p2);
  hear(PageGrant{p2, t(4), PageAccess::kRead, PageOrigin::kHolder, kBob});
  out();
  restart_owner();
  cache_->on_data(now_, kBob, PageData{p2, t(4), contents(7)});
  cache_->on_peer_lost(now_, kBob);
  pass(kHold);
  EXPECT_THAT(out(), IsEmpty());
  session();
  EXPECT_THAT(out(), ElementsAre("tell: holds p0 1 for writing", "tell: holds all, attachments 1"));
}

TEST_F(OwnerRestartedTest, FaultsAreAskedForOnceTheOwnerAgrees) {
  begin(kSelf, 8);
  read(p0);
  read(p1);
  read(p2);
  EXPECT_THAT(out(), ElementsAre("tell: read p0", "tell: read p1", "tell: ahead p2 4"));
  restart_owner();
  write(p1);
  read(PageIndex{50});
  read(PageIndex{51});
  EXPECT_THAT(out(), IsEmpty());
  session();
  EXPECT_THAT(out(), ElementsAre("tell: holds all, attachments 1"));
  EXPECT_TRUE(cache_->resuming());
  hear(SegmentResumed{});
  EXPECT_FALSE(cache_->resuming());
  EXPECT_THAT(out(),
              ElementsAre("tell: read p0", "tell: write p1", "tell: read p2", "tell: read p50", "tell: read p51"));
  grant(2, PageAccess::kRead, PageOrigin::kZero);
  read(PageIndex{52});
  EXPECT_THAT(out(), ElementsAre("install p0 zeros", "tell: read p52", "tell: ahead p53 8"))
      << "nothing was asked for ahead meanwhile";
}

TEST_F(OwnerRestartedTest, WhatIsSentInASessionThatBeganBeforeIsWaitedFor) {
  read();
  cache_->on_peer_lost(now_, kBob);
  cache_->on_peer(now_, kBob);
  restart_owner();
  session();
  hear(SegmentResumed{});
  out();
  grant(2, PageAccess::kRead, PageOrigin::kHolder, kBob);  // asked for in this session
  EXPECT_THAT(out(), IsEmpty());
  data(2, 7);
  EXPECT_THAT(out(), ElementsAre("install p0 7"));
}

TEST_F(OwnerRestartedTest, ProgramsGoOnWithWhatTheyHave) {
  has(PageAccess::kWrite);
  restart_owner();
  write();
  EXPECT_THAT(out(), ElementsAre("wake p0"));
  EXPECT_EQ(cache_->access(p0), Access::kExclusive);
}

TEST_F(OwnerRestartedTest, APageThatIsBeingInstalledIsWaitedFor) {
  write();
  grant(1, PageAccess::kWrite, PageOrigin::kZero);
  out();
  restart_owner();
  session();
  EXPECT_THAT(out(), IsEmpty());
  done();
  EXPECT_THAT(out(), ElementsAre("tell: holds p0 1 for writing", "tell: holds all, attachments 1"));
}

TEST_F(OwnerRestartedTest, APageThatIsBeingGivenAwayIsKeptAndNotSent) {
  has(PageAccess::kWrite);
  hear(FetchPage{p0, t(2), kBob, true});
  out();
  restart_owner();
  session();
  EXPECT_THAT(out(), IsEmpty());
  contents_read(9);
  EXPECT_THAT(out(), ElementsAre("tell: keeps p0 #2", "tell: holds all, attachments 1"));
}

TEST_F(OwnerRestartedTest, APageThatIsBeingDroppedIsNotSpokenOf) {
  has(PageAccess::kRead);
  hear(InvalidatePage{p0, t(2)});
  out();
  restart_owner();
  session();
  EXPECT_THAT(out(), IsEmpty());
  done();
  EXPECT_THAT(out(), ElementsAre("tell: holds all, attachments 1"));
}

TEST_F(OwnerRestartedTest, APageThatThePagerFailsOnIsNotHeld) {
  read();
  grant(1, PageAccess::kRead, PageOrigin::kZero);
  out();
  restart_owner();
  session();
  cache_->on_failed(now_, p0);
  EXPECT_THAT(out(), ElementsAre("tell: holds all, attachments 1"));
  EXPECT_EQ(cache_->access(p0), Access::kLost);
}

TEST_F(OwnerRestartedTest, IsToldAllAgainIfItIsStartedAgainBeforeItAgrees) {
  has(PageAccess::kRead);
  restart_owner();
  session();
  out();
  restart_owner();
  EXPECT_THAT(out(), IsEmpty());
  cache_->on_forked(now_, 1);
  session();
  EXPECT_THAT(out(), ElementsAre("tell: holds p0 1 for reading", "tell: holds all, attachments 2"));
}

TEST_F(OwnerRestartedTest, IsHeardAgainWhateverTheOneBeforeHasSaid) {
  hear(SegmentResumed{});
  EXPECT_THAT(out(), ElementsAre("misbehaved: it takes back what it was not told of"));
  restart_owner();
  session();
  hear(SegmentResumed{});
  read();
  EXPECT_THAT(out(), ElementsAre("tell: holds all, attachments 1", "tell: read p0"));
}

TEST_F(OwnerRestartedTest, MayNotAgreeBeforeItWasToldAll) {
  read();
  grant(1, PageAccess::kRead, PageOrigin::kZero);
  out();
  restart_owner();
  session();
  hear(SegmentResumed{});
  EXPECT_THAT(out(), ElementsAre("misbehaved: it takes back what it was not told of"));
}

TEST_F(OwnerRestartedTest, AllIsLostWithoutASessionInTime) {
  has(PageAccess::kWrite);
  restart_owner();
  EXPECT_EQ(cache_->deadline(), now_ + kLeft);
  pass(kLeft - 1ns);
  EXPECT_THAT(out(), IsEmpty());
  pass(1ns);
  EXPECT_THAT(out(), ElementsAre("lose all"));
  EXPECT_TRUE(cache_->lost());
}

TEST_F(OwnerRestartedTest, InASessionNoTimeCounts) {
  has(PageAccess::kWrite);
  restart_owner();
  session();
  out();
  EXPECT_EQ(cache_->deadline(), kNever);
  pass(2 * kLeft);
  EXPECT_THAT(out(), IsEmpty());
  restart_owner();
  EXPECT_EQ(cache_->deadline(), now_ + kLeft);
}

TEST_F(OwnerRestartedTest, AllIsLostIfItRefuses) {
  has(PageAccess::kWrite);
  restart_owner();
  session();
  out();
  hear(SegmentRefused{});
  EXPECT_THAT(out(), ElementsAre("lose all"));
  cache_->on_all_lost(now_);
  EXPECT_THAT(out(), ElementsAre("cleared", "finished"));
}

TEST_F(OwnerRestartedTest, WhatIsLostStaysLost) {
  cache_->on_owner_lost(now_);
  out();
  restart_owner();
  session();
  EXPECT_THAT(out(), IsEmpty());
  EXPECT_EQ(cache_->deadline(), kNever);
}

}  // namespace
}  // namespace dipc::test
