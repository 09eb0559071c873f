#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/core/page_cache.h"
#include "tests/unit/core/page_directory_fixture.h"

namespace dipc::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

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
  read(kAmy, PageIndex{kPages});
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
  const std::uint32_t most = kPagesAtOnceMax;
  say(kAmy, AskAhead{p0, most});
  EXPECT_EQ(out().size(), most);
  say(kAmy, AskAhead{PageIndex{40}, most + 1});
  EXPECT_THAT(out(), ElementsAre("amy misbehaves: it asks ahead for too many pages at once"));
}

}  // namespace
}  // namespace dipc::test
