// What becomes of pages when hosts that have them, or are to get them, are lost.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/core/page_directory_fixture.h"

namespace dipc::test {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

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

// ---- hosts that may only read: what they send others would believe

TEST_F(PageDirectoryTest, AHostThatMayOnlyReadSendsAPageIfNobodyElseCan) {
  directory_ = PageDirectory({kOwner, kPages, 4096, kFence, kPatience});
  for (const HostId host : {kAmy, kBob, kCid}) directory_.on_attach(now_, host, host != kAmy);
  write(kBob);
  installed(kBob, 1);
  read(kAmy);
  installed(kAmy, 2);
  out();
  read(kCid);
  EXPECT_THAT(out(), ElementsAre("bob fetch p0 #3 for cid", "cid grant p0 #3 read from bob"));
  installed(kCid, 3);
  for (const HostId host : {kBob, kCid}) lose(host);
  directory_.on_attach(now_, kCid, true);
  read(kCid);
  EXPECT_THAT(out(), ElementsAre("amy fetch p0 #4 for cid", "cid grant p0 #4 read from amy"));
}

TEST_F(PageDirectoryTest, WhoLeavesGivesThePageToTheOwnerIfOthersMayOnlyReadIt) {
  directory_ = PageDirectory({kOwner, kPages, 4096, kFence, kPatience});
  for (const HostId host : {kAmy, kBob, kCid}) directory_.on_attach(now_, host, host == kBob);
  write(kBob);
  installed(kBob, 1);
  read(kAmy);
  installed(kAmy, 2);
  out();
  say(kBob, SegmentDetached{1});
  EXPECT_THAT(out(), ElementsAre("bob fetch p0 #3 for owner", "owner grant p0 #3 read from bob, no hold, to store"));
}

}  // namespace
}  // namespace dipc::test
