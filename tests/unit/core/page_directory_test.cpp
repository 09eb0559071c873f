#include "daemon/core/page_directory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "daemon/core/page_cache.h"

namespace dipc {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr HostId kOwner{0}, kAmy{1}, kBob{2}, kCid{3}, kDan{4};
constexpr PageIndex p0{0}, p1{1}, p2{2}, p3{3};
constexpr Duration kFence = 20s;

// What the directory does, as lines: "amy grant p0 #1 read zero".
struct Words {
  static std::string number(TransactionNumber of) { return "#" + std::to_string(static_cast<std::uint64_t>(of)); }
  static std::string name(HostId host) {
    const char* const names[] = {"owner", "amy", "bob", "cid", "dan"};
    return names[static_cast<std::uint32_t>(host)];
  }
  static std::string name(PageIndex page) { return "p" + std::to_string(static_cast<std::uint32_t>(page)); }

  std::string operator()(const PageGrant& of) const {
    const char* access = of.access == PageAccess::kWrite ? " write" : " read";
    std::string origin = of.origin == PageOrigin::kZero ? " zero" : " held";
    if (of.origin == PageOrigin::kHolder) origin = " from " + name(of.holder);
    return "grant " + name(of.page) + " " + number(of.transaction) + access + origin + (of.hold ? "" : ", no hold") +
           (of.answers ? "" : ", to store");
  }
  std::string operator()(const PageDeclined& of) const { return "declined " + name(of.page); }
  std::string operator()(const PageLost& of) const { return "lost " + name(of.page); }
  std::string operator()(const FetchPage& of) const {
    return "fetch " + name(of.page) + " " + number(of.transaction) + " for " + name(of.requester) +
           (of.drop ? ", drop" : "") + (of.through_owner ? ", through owner" : "");
  }
  std::string operator()(const InvalidatePage& of) const {
    return "invalidate " + name(of.page) + " " + number(of.transaction);
  }
  std::string operator()(const ReleasePage& of) const {
    return "release " + name(of.page) + " " + number(of.transaction);
  }
  std::string operator()(const RestorePage& of) const {
    return "restore " + name(of.page) + " " + number(of.transaction);
  }
  std::string operator()(const HolderGone& of) const {
    return "holder gone " + name(of.page) + " " + number(of.transaction);
  }
  std::string operator()(const SegmentDismissed&) const { return "dismissed"; }
  std::string operator()(const SegmentDestroyed&) const { return "destroyed"; }
  std::string operator()(const PageData& of) const { return "data " + name(of.page) + " " + number(of.transaction); }

  std::string operator()(const PageDirectory::Send& of) const {
    return name(of.to) + " " + std::visit(*this, of.message);
  }
  std::string operator()(const PageDirectory::Lost& of) const { return "LOST " + name(of.page); }
  std::string operator()(const PageDirectory::Misbehaved& of) const {
    return name(of.host) + " misbehaves: " + of.text;
  }
  std::string operator()(const PageDirectory::Destroyed&) const { return "DESTROYED"; }
};

class PageDirectoryTest : public testing::Test {
 protected:
  PageDirectoryTest() : directory_({kOwner, 100, 4096, kFence}) {
    for (const HostId host : {kAmy, kBob, kCid}) directory_.on_attach(now_, host, true);
  }

  std::vector<std::string> out() {
    std::vector<std::string> lines;
    for (const PageDirectory::Action& action : directory_.take_actions()) {
      lines.push_back(std::visit(Words{}, action));
    }
    return lines;
  }
  void say(HostId host, const HostPageMessage& message) { directory_.on_message(now_, host, message); }
  void read(HostId host, PageIndex page = p0) { say(host, PageRequest{page, PageAccess::kRead}); }
  void write(HostId host, PageIndex page = p0) { say(host, PageRequest{page, PageAccess::kWrite}); }
  void installed(HostId host, std::uint64_t number, PageIndex page = p0) {
    say(host, PageInstalled{page, TransactionNumber{number}});
  }
  void dropped(HostId host, std::uint64_t number, PageIndex page = p0) {
    say(host, PageDropped{page, TransactionNumber{number}});
  }
  void no_data(HostId host, std::uint64_t number) { say(host, NoPageData{p0, TransactionNumber{number}}); }
  void lose(HostId host) { directory_.on_host_lost(now_, host); }
  void pass(Duration time) {
    now_ += time;
    directory_.on_time(now_);
  }
  // #1: amy is the writer of p0.
  void amy_writes() {
    write(kAmy);
    installed(kAmy, 1);
    out();
  }
  // #1, #2: amy and bob are readers of p0, amy has written to it.
  void amy_and_bob_read() {
    amy_writes();
    read(kBob);
    installed(kBob, 2);
    out();
  }

  TimePoint now_{1000s};
  PageDirectory directory_;
};

TEST_F(PageDirectoryTest, AFreePageIsZerosForReadersAndForTheFirstWriter) {
  read(kAmy);
  EXPECT_THAT(out(), ElementsAre("amy grant p0 #1 read zero"));
  installed(kAmy, 1);
  read(kBob);
  EXPECT_THAT(out(), ElementsAre("bob grant p0 #2 read zero"));
  write(kCid, p1);
  EXPECT_THAT(out(), ElementsAre("cid grant p1 #3 write zero"));
  EXPECT_EQ(directory_.state(p0), PageDirectory::PageState::kRead);
}

TEST_F(PageDirectoryTest, ARequestWaitsUntilTheRequesterBeforeHasInstalledThePage) {
  write(kAmy);
  read(kBob);
  EXPECT_THAT(out(), ElementsAre("amy grant p0 #1 write zero"));
  installed(kAmy, 1);
  EXPECT_THAT(out(), ElementsAre("amy fetch p0 #2 for bob", "bob grant p0 #2 read from amy"));
}

TEST_F(PageDirectoryTest, TheWriterStaysAsReader) {
  amy_writes();
  EXPECT_EQ(directory_.state(p0), PageDirectory::PageState::kWritten);
  read(kBob);
  installed(kBob, 2);
  EXPECT_EQ(directory_.state(p0), PageDirectory::PageState::kRead);
  EXPECT_EQ(directory_.holders(p0), (std::set<HostId>{kAmy, kBob}));
}

TEST_F(PageDirectoryTest, AWriterIsGrantedThePageWhenAllReadersHaveDroppedIt) {
  amy_and_bob_read();
  read(kOwner);
  EXPECT_THAT(out(), ElementsAre(HasSubstr("owner misbehaves")));  // nobody there has attached it
  directory_.on_attach(now_, kOwner, true);
  read(kOwner);
  installed(kOwner, 3);
  out();
  write(kCid);
  EXPECT_THAT(out(), ElementsAre("amy invalidate p0 #4", "bob invalidate p0 #4", "owner fetch p0 #4 for cid, drop"));
  dropped(kBob, 4);
  EXPECT_THAT(out(), IsEmpty());
  dropped(kAmy, 4);
  EXPECT_THAT(out(), ElementsAre("cid grant p0 #4 write from owner"));
  installed(kCid, 4);
  EXPECT_THAT(out(), ElementsAre("owner release p0 #4"));
  EXPECT_EQ(directory_.holders(p0), std::set<HostId>{kCid});
}

TEST_F(PageDirectoryTest, AReaderThatWritesNeedsNoData) {
  amy_and_bob_read();
  write(kBob);
  EXPECT_THAT(out(), ElementsAre("amy invalidate p0 #3"));
  dropped(kAmy, 3);
  EXPECT_THAT(out(), ElementsAre("bob grant p0 #3 write held"));
}

TEST_F(PageDirectoryTest, WhetherDataIsNeededIsDecidedWhenTheRequestIsTakenUp) {
  amy_and_bob_read();
  write(kAmy);
  write(kBob);  // has a copy now, and none when its turn comes
  EXPECT_THAT(out(), ElementsAre("bob invalidate p0 #3"));
  dropped(kBob, 3);
  installed(kAmy, 3);
  EXPECT_THAT(out(), ElementsAre("amy grant p0 #3 write held", "amy fetch p0 #4 for bob, drop",
                                 "bob grant p0 #4 write from amy"));
}

TEST_F(PageDirectoryTest, WithoutDataThePageGoesThroughTheOwner) {
  amy_writes();
  write(kBob);
  out();
  no_data(kBob, 2);
  EXPECT_THAT(out(), ElementsAre("amy fetch p0 #3 for bob, drop, through owner", "bob grant p0 #3 write from owner"));
  say(kAmy, RelayedPage{p0, TransactionNumber{2}, nullptr});  // of another transaction
  EXPECT_THAT(out(), IsEmpty());
  say(kAmy, RelayedPage{p0, TransactionNumber{3}, nullptr});
  EXPECT_THAT(out(), ElementsAre("bob data p0 #3"));
  installed(kBob, 3);
  EXPECT_THAT(out(), ElementsAre("amy release p0 #3"));
}

TEST_F(PageDirectoryTest, ReadAheadTakesNothingFromAWriterAndDoesNotWait) {
  write(kBob, p1);
  installed(kBob, 1, p1);
  write(kBob, p2);  // under way
  out();
  say(kAmy, AskAhead{p1, 3});
  EXPECT_THAT(out(), ElementsAre("amy declined p1", "amy declined p2", "amy grant p3 #3 read zero, no hold"));
  installed(kAmy, 3, p3);
  write(kBob, p3);  // a reader like others
  EXPECT_THAT(out(), ElementsAre("amy invalidate p3 #4"));
}

// ---- hosts that die

TEST_F(PageDirectoryTest, APageIsLostWithItsWriter) {
  amy_writes();
  lose(kAmy);
  EXPECT_THAT(out(), ElementsAre("LOST p0"));
  read(kBob);
  EXPECT_THAT(out(), ElementsAre("bob lost p0"));
  EXPECT_EQ(directory_.state(p0), PageDirectory::PageState::kLost);
}

TEST_F(PageDirectoryTest, APageThatNobodyHasWrittenToIsNeverLost) {
  read(kAmy);
  installed(kAmy, 1);
  out();
  lose(kAmy);
  read(kBob);
  EXPECT_THAT(out(), ElementsAre("bob grant p0 #2 read zero"));
}

TEST_F(PageDirectoryTest, AReaderOutOfReachHoldsUpWritersUntilTheFence) {
  amy_and_bob_read();
  lose(kBob);
  EXPECT_EQ(directory_.deadline(), now_ + kFence);
  read(kCid);
  EXPECT_THAT(out(), ElementsAre("amy fetch p0 #3 for cid", "cid grant p0 #3 read from amy"));
  installed(kCid, 3);
  write(kAmy);
  EXPECT_THAT(out(), ElementsAre("cid invalidate p0 #4"));
  dropped(kCid, 4);
  pass(kFence - 1ns);
  EXPECT_THAT(out(), IsEmpty());
  pass(1ns);
  EXPECT_THAT(out(), ElementsAre("amy grant p0 #4 write held"));
  EXPECT_EQ(directory_.deadline(), kNever);
}

TEST_F(PageDirectoryTest, AHostThatSaysItHasNothingIsNotWaitedFor) {
  amy_and_bob_read();
  lose(kBob);
  write(kAmy);
  EXPECT_THAT(out(), IsEmpty());
  say(kBob, SegmentCleared{});
  EXPECT_THAT(out(), ElementsAre("amy grant p0 #3 write held"));
}

TEST_F(PageDirectoryTest, AHostThatAttachesAgainHasNothing) {
  amy_and_bob_read();
  lose(kBob);
  write(kAmy);
  EXPECT_TRUE(directory_.on_attach(now_, kBob, true));
  EXPECT_THAT(out(), ElementsAre("amy grant p0 #3 write held"));
}

TEST_F(PageDirectoryTest, AHostThatWasBootedIsGoneAtOnce) {
  amy_and_bob_read();
  write(kAmy);
  out();
  directory_.on_host_cleared(now_, kBob);
  EXPECT_THAT(out(), ElementsAre("amy grant p0 #3 write held"));
}

TEST_F(PageDirectoryTest, TheHolderDiesAndTheDataIsThere) {
  amy_writes();
  read(kBob);
  out();
  lose(kAmy);
  EXPECT_THAT(out(), ElementsAre("bob holder gone p0 #2"));
  installed(kBob, 2);
  EXPECT_THAT(out(), IsEmpty());
  EXPECT_EQ(directory_.state(p0), PageDirectory::PageState::kRead);
}

TEST_F(PageDirectoryTest, TheHolderDiesAndNobodyElseHasThePage) {
  amy_writes();
  read(kBob);
  read(kCid);
  out();
  lose(kAmy);
  no_data(kBob, 2);
  EXPECT_THAT(out(), ElementsAre("bob holder gone p0 #2", "LOST p0", "bob lost p0", "cid lost p0"));
}

TEST_F(PageDirectoryTest, TheHolderDiesAndAnotherReaderSendsThePage) {
  amy_and_bob_read();
  read(kCid);
  EXPECT_THAT(out(), ElementsAre("amy fetch p0 #3 for cid", "cid grant p0 #3 read from amy"));
  lose(kAmy);
  no_data(kCid, 3);
  EXPECT_THAT(out(), ElementsAre("cid holder gone p0 #3", "bob fetch p0 #4 for cid", "cid grant p0 #4 read from bob"));
}

TEST_F(PageDirectoryTest, TheHolderDiesBeforeTheGrant) {
  amy_and_bob_read();
  write(kCid);
  EXPECT_THAT(out(), ElementsAre("bob invalidate p0 #3", "amy fetch p0 #3 for cid, drop"));
  lose(kAmy);
  EXPECT_THAT(out(), IsEmpty());
  dropped(kBob, 3);
  EXPECT_THAT(out(), ElementsAre("cid grant p0 #3 write from amy", "cid holder gone p0 #3"));
  installed(kCid, 3);
  EXPECT_THAT(out(), IsEmpty());
}

TEST_F(PageDirectoryTest, AWriterThatDiesWithItsGrantTakesThePageAlong) {
  amy_writes();
  write(kBob);
  out();
  lose(kBob);
  EXPECT_THAT(out(), ElementsAre("amy release p0 #2", "amy invalidate p0 #3", "LOST p0"));
  read(kCid);
  dropped(kAmy, 3);  // may have had to wait for its hold time
  EXPECT_THAT(out(), ElementsAre("cid lost p0"));
}

TEST_F(PageDirectoryTest, AWriterThatDiesBeforeItsGrantLeavesThePageWithTheHolder) {
  amy_and_bob_read();
  write(kCid);
  out();
  lose(kCid);
  EXPECT_THAT(out(), IsEmpty());
  dropped(kBob, 3);
  EXPECT_THAT(out(), ElementsAre("amy restore p0 #3"));
  read(kBob);
  EXPECT_THAT(out(), ElementsAre("amy fetch p0 #4 for bob", "bob grant p0 #4 read from amy"));
}

TEST_F(PageDirectoryTest, AReaderThatDiesInItsTransactionMayHaveThePage) {
  amy_writes();
  read(kBob);
  out();
  lose(kBob);
  write(kAmy);
  EXPECT_THAT(out(), IsEmpty());  // until bob certainly has it no more
  pass(kFence);
  EXPECT_THAT(out(), ElementsAre("amy grant p0 #3 write held"));
}

TEST_F(PageDirectoryTest, ADeadHostsRequestsAreForgotten) {
  amy_writes();
  write(kBob);
  read(kCid);
  lose(kCid);
  out();
  installed(kBob, 2);
  EXPECT_THAT(out(), ElementsAre("amy release p0 #2"));
  EXPECT_FALSE(directory_.busy(p0));
}

TEST_F(PageDirectoryTest, APagerThatFailsLosesWhatItWasToHaveAlone) {
  amy_writes();
  read(kBob);
  out();
  say(kBob, PageFailed{p0, TransactionNumber{2}});
  EXPECT_THAT(out(), IsEmpty());
  EXPECT_EQ(directory_.holders(p0), std::set<HostId>{kAmy});
  read(kCid);
  out();
  say(kAmy, PageFailed{p0, TransactionNumber{3}});
  EXPECT_THAT(out(), ElementsAre("cid holder gone p0 #3"));
  no_data(kCid, 3);
  EXPECT_THAT(out(), ElementsAre("LOST p0", "cid lost p0"));
}

TEST_F(PageDirectoryTest, APagerThatFailsForAWriterLosesThePage) {
  amy_writes();
  write(kBob);
  out();
  say(kBob, PageFailed{p0, TransactionNumber{2}});
  EXPECT_THAT(out(), ElementsAre("amy release p0 #2", "amy invalidate p0 #3", "LOST p0"));
}

// ---- attachments

TEST_F(PageDirectoryTest, TheLastDetachOfAHostBringsItsPagesToTheOwner) {
  amy_writes();
  say(kAmy, SegmentDetached{1});
  EXPECT_THAT(out(), ElementsAre("amy fetch p0 #2 for owner", "owner grant p0 #2 read from amy, no hold, to store"));
  installed(kOwner, 2);
  EXPECT_THAT(out(), ElementsAre("amy invalidate p0 #3"));
  dropped(kAmy, 3);
  EXPECT_THAT(out(), ElementsAre("amy dismissed"));
  EXPECT_EQ(directory_.holders(p0), std::set<HostId>{kOwner});
}

TEST_F(PageDirectoryTest, ACopyThatOthersHaveIsJustDropped) {
  amy_and_bob_read();
  say(kBob, SegmentDetached{1});
  EXPECT_THAT(out(), ElementsAre("bob invalidate p0 #3"));
  dropped(kBob, 3);
  EXPECT_THAT(out(), ElementsAre("bob dismissed"));
}

TEST_F(PageDirectoryTest, AHostThatAttachesAgainKeepsTheRest) {
  for (std::uint32_t page = 0; page < 20; ++page) {
    write(kAmy, PageIndex{page});
    installed(kAmy, page + 1, PageIndex{page});
  }
  out();
  say(kAmy, SegmentDetached{1});
  EXPECT_EQ(out().size(), 2 * 16u);  // so many at once
  directory_.on_attach(now_, kAmy, true);
  installed(kOwner, 21);
  EXPECT_THAT(out(), IsEmpty());
  EXPECT_EQ(directory_.holders(p0), (std::set<HostId>{kOwner, kAmy}));
}

TEST_F(PageDirectoryTest, ASegmentIsDestroyedWithTheLastAttachmentAfterItsRemoval) {
  amy_writes();
  say(kAmy, SegmentAttached{2});
  EXPECT_EQ(directory_.attachments(), 5u);
  directory_.on_remove(now_);
  EXPECT_TRUE(directory_.on_attach(now_, kOwner, true));  // by its id
  say(kOwner, SegmentDetached{1});
  say(kAmy, SegmentDetached{3});
  say(kBob, SegmentDetached{1});
  out();
  EXPECT_FALSE(directory_.destroyed());
  lose(kCid);
  EXPECT_THAT(out(), ElementsAre("owner destroyed", "amy destroyed", "DESTROYED"));
  EXPECT_FALSE(directory_.on_attach(now_, kAmy, true));
  read(kAmy);  // crossed
  EXPECT_THAT(out(), IsEmpty());
}

TEST_F(PageDirectoryTest, WhatAHostCantHaveToSayHasNoEffect) {
  amy_writes();
  write(kBob);
  out();
  installed(kCid, 2);
  installed(kBob, 1);
  dropped(kAmy, 2);
  no_data(kCid, 2);
  write(kBob);
  read(kAmy, PageIndex{100});
  say(kAmy, AskAhead{PageIndex{99}, 0xffffffff});
  say(kAmy, SegmentDetached{2});
  say(kAmy, SegmentCleared{});
  say(kCid, RelayedPage{p0, TransactionNumber{2}, nullptr});
  read(HostId{2}, p1);  // does take part
  const std::vector<std::string> lines = out();
  ASSERT_EQ(lines.size(), 11u);
  for (std::size_t i = 0; i < 10; ++i) EXPECT_THAT(lines[i], HasSubstr("misbehaves"));
  installed(kBob, 2);
  EXPECT_THAT(out(), ElementsAre("amy release p0 #2"));
  EXPECT_EQ(directory_.attachments(), 3u);
}

TEST_F(PageDirectoryTest, WhoDoesNotTakePartIsNotHeard) {
  lose(kAmy);
  read(kAmy);
  EXPECT_THAT(out(), ElementsAre(HasSubstr("amy misbehaves")));
}

TEST_F(PageDirectoryTest, EveryHostsPartInAPageIsCounted) {
  amy_writes();
  write(kBob);
  installed(kBob, 2);
  read(kCid);
  installed(kCid, 3);
  write(kCid);
  dropped(kBob, 4);
  installed(kCid, 4);
  const auto& counts = directory_.counts(p0);
  EXPECT_EQ(counts.at(kAmy), (PageCounts{1, 0, 0, 0, 1, 0}));
  EXPECT_EQ(counts.at(kBob), (PageCounts{1, 0, 1, 4096, 1, 1}));
  EXPECT_EQ(counts.at(kCid), (PageCounts{2, 0, 1, 4096, 0, 1}));
  EXPECT_TRUE(directory_.counts(p1).empty());
}

TEST_F(PageDirectoryTest, ReadAheadTakesAPageFromAWriterWithoutAttachments) {
  directory_.on_attach(now_, kOwner, true);
  write(kOwner);
  installed(kOwner, 1);
  out();
  say(kAmy, AskAhead{p0, 1});
  EXPECT_THAT(out(), ElementsAre("amy declined p0"));
  say(kOwner, SegmentDetached{1});
  say(kAmy, AskAhead{p0, 1});
  EXPECT_THAT(out(), ElementsAre("owner fetch p0 #2 for amy", "amy grant p0 #2 read from owner, no hold"));
}

TEST_F(PageDirectoryTest, WhoMayReadOnlyGetsNothingToWriteTo) {
  directory_.on_attach(now_, kDan, false);
  say(kDan, PageRequest{p0, PageAccess::kRead});
  EXPECT_EQ(out().size(), 1u);
  say(kDan, PageRequest{p1, PageAccess::kWrite});
  ASSERT_THAT(directory_.take_actions(), ElementsAre(testing::VariantWith<PageDirectory::Misbehaved>(testing::_)));
  directory_.on_attach(now_, kDan, true);
  say(kDan, PageRequest{p1, PageAccess::kWrite});
  EXPECT_THAT(directory_.take_actions(), ElementsAre(testing::VariantWith<PageDirectory::Send>(testing::_)));
}

TEST_F(PageDirectoryTest, NobodyAsksAheadForManyPagesAtOnce) {
  const std::uint32_t most = PageCacheOptions{}.read_ahead_max;
  say(kAmy, AskAhead{p0, most});
  EXPECT_EQ(out().size(), most);
  say(kAmy, AskAhead{PageIndex{40}, most + 1});
  EXPECT_THAT(out(), ElementsAre("amy misbehaves: it asks ahead for too many pages at once"));
}

}  // namespace
}  // namespace dipc
