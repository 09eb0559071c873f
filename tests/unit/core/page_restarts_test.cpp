// PageDirectory and hosts whose daemons were started again.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/core/page_directory_fixture.h"

namespace dipc::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class PageRestartsTest : public PageDirectoryTest {
 protected:
  void restart(HostId host) { directory_.on_host_restarted(now_, host); }
  void holds(HostId host, PageAccess access, PageIndex page = p0) { say(host, PagesHeld{page, 1, access}); }
  void holds_all(HostId host, std::uint32_t attachments = 1) { say(host, SegmentHeld{attachments}); }
};

TEST_F(PageRestartsTest, WhatOnlyThatHostHasWaitsUntilItSaysSo) {
  amy_writes();
  restart(kAmy);
  read(kBob);
  EXPECT_THAT(out(), IsEmpty());
  holds(kAmy, PageAccess::kWrite);
  holds_all(kAmy, 3);
  EXPECT_THAT(out(), ElementsAre("amy resumed", "amy fetch p0 #2 for bob", "bob grant p0 #2 read from amy"));
  EXPECT_EQ(directory_.attachments(), 5u);
}

TEST_F(PageRestartsTest, WhoMayWriteIsWaitedForThoughAHostThatMayOnlyReadHasACopy) {
  directory_.on_attach(now_, kDan, false);
  amy_writes();
  read(kDan);
  installed(kDan, 2);
  restart(kAmy);
  out();
  read(kBob);
  EXPECT_THAT(out(), IsEmpty());
  holds(kAmy, PageAccess::kRead);
  holds_all(kAmy);
  EXPECT_THAT(out(), ElementsAre("amy resumed", "amy fetch p0 #3 for bob", "bob grant p0 #3 read from amy"));
  installed(kBob, 3);
  restart(kBob);
  restart(kAmy);
  read(kCid);
  pass(kPatience);
  EXPECT_THAT(out(), ElementsAre("dan fetch p0 #4 for cid", "cid grant p0 #4 read from dan"));
}

TEST_F(PageRestartsTest, IfItSaysNothingInTimeItIsOutOfReach) {
  amy_writes();
  restart(kAmy);
  read(kBob);
  EXPECT_EQ(directory_.deadline(), now_ + kPatience);
  pass(kPatience);
  EXPECT_THAT(out(), ElementsAre("LOST p0", "bob lost p0"));
  holds(kAmy, PageAccess::kWrite);
  holds_all(kAmy);
  EXPECT_THAT(out(), ElementsAre("amy refused"));
  say(kAmy, SegmentDetached{1});
  say(kAmy, SegmentCleared{});
  EXPECT_THAT(out(), IsEmpty());
}

TEST_F(PageRestartsTest, WhatItDoesNotHaveAnyMoreIsLost) {
  amy_writes();
  restart(kAmy);
  holds_all(kAmy);
  EXPECT_THAT(out(), ElementsAre("amy resumed", "LOST p0"));
}

TEST_F(PageRestartsTest, AGrantThatItHasInstalledCounts) {
  write(kAmy);
  out();
  restart(kAmy);
  holds(kAmy, PageAccess::kWrite);
  holds_all(kAmy);
  EXPECT_THAT(out(), ElementsAre("amy resumed"));
  EXPECT_EQ(directory_.state(p0), PageDirectory::PageState::kWritten);
}

TEST_F(PageRestartsTest, AGrantThatItHasNotInstalledGivesThePageBackToItsHolder) {
  amy_writes();
  write(kBob);
  EXPECT_THAT(out(), ElementsAre("amy fetch p0 #2 for bob, drop", "bob grant p0 #2 write from amy"));
  restart(kBob);
  holds_all(kBob);
  EXPECT_THAT(out(), ElementsAre("bob resumed", "amy restore p0 #2"));
  EXPECT_THAT(directory_.holders(p0), ElementsAre(kAmy));
  write(kBob);
  EXPECT_THAT(out(), ElementsAre("amy fetch p0 #3 for bob, drop", "bob grant p0 #3 write from amy"));
}

TEST_F(PageRestartsTest, WhatWasNeverWrittenIsZerosAgain) {
  write(kAmy);
  out();
  restart(kAmy);
  holds_all(kAmy);
  out();
  read(kBob);
  EXPECT_THAT(out(), ElementsAre("bob grant p0 #2 read zero"));
}

TEST_F(PageRestartsTest, WhatItWasToDropItIsToldAgainIfItStillHasIt) {
  amy_and_bob_read();
  write(kAmy);
  EXPECT_THAT(out(), ElementsAre("bob invalidate p0 #3"));
  restart(kBob);
  holds(kBob, PageAccess::kRead);
  holds_all(kBob);
  EXPECT_THAT(out(), ElementsAre("bob resumed", "bob invalidate p0 #3"));
  dropped(kBob, 3);
  EXPECT_THAT(out(), ElementsAre("amy grant p0 #3 write held"));
}

TEST_F(PageRestartsTest, AndHasDroppedItIfItHasNot) {
  amy_and_bob_read();
  write(kAmy);
  out();
  restart(kBob);
  holds_all(kBob);
  EXPECT_THAT(out(), ElementsAre("bob resumed", "amy grant p0 #3 write held"));
}

TEST_F(PageRestartsTest, AHolderThatStillHasThePageIsAskedAgain) {
  amy_writes();
  write(kBob);
  out();
  restart(kAmy);
  no_data(kBob, 2);  // its session with amy is over as well
  EXPECT_THAT(out(), IsEmpty());
  holds(kAmy, PageAccess::kWrite);
  holds_all(kAmy);
  EXPECT_THAT(out(), ElementsAre("amy resumed", "amy fetch p0 #3 for bob, drop, through owner",
                                 "bob grant p0 #3 write from owner"));
}

TEST_F(PageRestartsTest, AHolderThatHasGivenThePageAwayMayHaveBeenTheLast) {
  amy_writes();
  write(kBob);
  out();
  restart(kAmy);
  holds_all(kAmy);
  EXPECT_THAT(out(), ElementsAre("amy resumed", "bob holder gone p0 #2"));
  no_data(kBob, 2);
  EXPECT_THAT(out(), ElementsAre("LOST p0", "bob lost p0"));
}

TEST_F(PageRestartsTest, ItsRequestsAreForgotten) {
  amy_writes();
  write(kBob);
  read(kCid);
  out();
  restart(kCid);
  installed(kBob, 2);
  EXPECT_THAT(out(), ElementsAre("amy release p0 #2"));
  holds_all(kCid);
  EXPECT_THAT(out(), ElementsAre("cid resumed"));
  read(kCid);
  EXPECT_THAT(out(), ElementsAre("bob fetch p0 #3 for cid", "cid grant p0 #3 read from bob"));
}

TEST_F(PageRestartsTest, NobodyHoldsWhatHeWasNotGiven) {
  amy_and_bob_read();
  restart(kBob);
  holds(kBob, PageAccess::kWrite);
  EXPECT_THAT(out(), ElementsAre(HasSubstr("bob misbehaves")));
  holds(kBob, PageAccess::kRead, p1);
  EXPECT_THAT(out(), ElementsAre(HasSubstr("bob misbehaves")));
  say(kBob, PagesHeld{PageIndex{99}, 2, PageAccess::kRead});
  EXPECT_THAT(out(), ElementsAre(HasSubstr("bob misbehaves")));
  read(kBob, p1);
  EXPECT_THAT(out(), ElementsAre(HasSubstr("bob misbehaves")));
  holds_all(kAmy);
  EXPECT_THAT(out(), ElementsAre(HasSubstr("amy misbehaves")));
}

}  // namespace
}  // namespace dipc::test
