// PageDirectory made again after the owner's daemon was killed: from what was written down, and what the hosts say.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <vector>

#include "tests/unit/core/page_directory_fixture.h"

namespace dipc::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using testing::UnorderedElementsAre;
using PageState = PageDirectory::PageState;

class PageRebuildTest : public PageDirectoryTest {
 protected:
  // The owner's own host has nothing of it, and has said so.
  void restart(bool owner_speaks = true) { restart(records(), owner_speaks); }
  void restart(const DirectoryRecords& records, bool owner_speaks = true) {
    directory_ = PageDirectory(now_, {kOwner, kPages, 4096, kFence, kPatience}, records);
    if (owner_speaks) holds_all(kOwner, 0);
    out();
  }
  DirectoryRecords records() {
    DirectoryRecords records;
    records.epoch = ++epoch_;
    records.members = directory_.member_records();
    records.removed = directory_.removed();
    for (const PageIndex page : directory_.asked_for()) records.pages.emplace(page, directory_.record(page));
    return records;
  }
  void holds(HostId host, PageAccess access, PageIndex page = p0) { say(host, PagesHeld{page, 1, access}); }
  void keeps(HostId host, std::uint64_t number, PageIndex page = p0) {
    say(host, PageKept{page, TransactionNumber{number}});
  }
  void holds_all(HostId host, std::uint32_t attachments = 1) { say(host, SegmentHeld{attachments}); }
  // Without the lines that only say so.
  std::vector<std::string> after_all_have_spoken(std::vector<HostId> hosts = {kAmy, kBob, kCid}) {
    for (const HostId host : hosts) holds_all(host);
    std::vector<std::string> lines = out();
    std::erase_if(lines, [](const std::string& line) { return line.ends_with(" resumed"); });
    return lines;
  }
  // Amy was granted what the owner's host wrote to when its daemon was killed.
  void claimed_by_the_owner_and_by_amy_for_writing(PageAccess owners) {
    directory_.on_attach(now_, kOwner, true);
    write(kOwner);
    installed(kOwner, 1);
    write(kAmy);
    out();
    restart(false);
    holds(kOwner, owners);
    holds_all(kOwner);
    holds(kAmy, PageAccess::kWrite);
    holds_all(kAmy);
  }
  // Who else is spoken of can't be written down.
  void expect_members_alone() {
    const auto members = directory_.member_records();
    for (const PageIndex page : directory_.asked_for()) {
      const PageRecord record = directory_.record(page);
      for (const HostId host : record.holders) EXPECT_TRUE(members.contains(host)) << Words::name(host);
      if (record.requester) {
        EXPECT_TRUE(members.contains(*record.requester)) << Words::name(*record.requester);
      }
    }
  }
  // The number that the directory gives to what comes next, from its lines.
  static std::string masked(std::string line) {
    const std::size_t at = line.find('#');
    if (at != std::string::npos) line.replace(at, line.find_first_of(" ", at) - at, "#n");
    return line;
  }
  static std::uint64_t number_in(const std::string& line) { return std::stoull(line.substr(line.find('#') + 1)); }

  std::uint64_t epoch_ = 0;
};

TEST_F(PageRebuildTest, AWriterIsOneAgainAndNothingMovesBeforeItHasSaidSo) {
  amy_writes();
  restart();
  holds_all(kBob);
  read(kBob);
  EXPECT_THAT(out(), ElementsAre("bob resumed"));
  holds(kAmy, PageAccess::kWrite);
  EXPECT_THAT(out(), IsEmpty());
  holds_all(kAmy);
  const auto lines = out();
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(masked(lines[1]), "amy fetch p0 #n for bob");
  EXPECT_EQ(masked(lines[2]), "bob grant p0 #n read from amy");
}

TEST_F(PageRebuildTest, ItsTransactionsHaveNumbersThatTheOneBeforeNeverGave) {
  amy_writes();
  restart();
  installed(kAmy, 1);
  EXPECT_THAT(out(), ElementsAre(HasSubstr("amy misbehaves"))) << "it has to say what it holds";
  holds(kAmy, PageAccess::kWrite);
  after_all_have_spoken();
  read(kBob);
  out();
  installed(kBob, 2);
  EXPECT_TRUE(directory_.busy(p0)) << "#2 is what the one before would have given next";
}

TEST_F(PageRebuildTest, AttachmentsAreWhatTheHostsSayThatTheyHave) {
  restart();
  holds_all(kAmy, 3);
  holds_all(kBob, 0);
  holds_all(kCid, 1);
  EXPECT_EQ(directory_.attachments(), 4u);
}

TEST_F(PageRebuildTest, AGrantThatWasInstalledCountsThoughNobodyHeardOfIt) {
  amy_writes();
  write(kBob);
  restart();
  holds(kBob, PageAccess::kWrite);
  keeps(kAmy, 2);
  EXPECT_THAT(after_all_have_spoken(), ElementsAre("amy release p0 #2"));
  EXPECT_THAT(directory_.holders(p0), ElementsAre(kBob));
}

TEST_F(PageRebuildTest, AGrantThatCameToNothingGivesThePageBackToWhoKeptIt) {
  amy_writes();
  write(kBob);
  restart();
  keeps(kAmy, 2);
  EXPECT_THAT(after_all_have_spoken(), ElementsAre("amy restore p0 #2"));
  EXPECT_THAT(directory_.holders(p0), ElementsAre(kAmy));
  EXPECT_EQ(directory_.state(p0), PageState::kRead);
}

TEST_F(PageRebuildTest, WhoMayOnlyReadKeepsNothingThatAWriterKeepsToo) {
  directory_.on_attach(now_, kDan, false);
  amy_writes();
  read(kDan);
  installed(kDan, 2);
  write(kBob);  // amy is asked for it, dan does not say that he has dropped his copy
  restart();
  keeps(kAmy, 3);
  keeps(kDan, 1000);
  holds_all(kDan);
  EXPECT_THAT(after_all_have_spoken(), UnorderedElementsAre("dan release p0 #1000", "amy restore p0 #3"));
}

TEST_F(PageRebuildTest, WhatAWriterKeepsIsWorthMoreThanACopyOfWhoMayOnlyRead) {
  directory_.on_attach(now_, kDan, false);
  amy_writes();
  read(kDan);
  installed(kDan, 2);
  write(kBob);
  restart();
  keeps(kAmy, 3);
  holds(kDan, PageAccess::kRead);
  holds_all(kDan);
  EXPECT_THAT(after_all_have_spoken(), ElementsAre("amy restore p0 #3"));
  EXPECT_THAT(directory_.holders(p0), UnorderedElementsAre(kAmy, kDan));
}

TEST_F(PageRebuildTest, WhatIsKeptIsNotGivenBackIfAHostOutOfReachMayHaveWrittenSince) {
  amy_writes();
  write(kBob);
  restart();
  keeps(kAmy, 2);
  holds_all(kAmy);
  holds_all(kCid);
  lose(kBob);
  const auto lines = out();
  EXPECT_THAT(lines, testing::Contains("LOST p0"));
  EXPECT_THAT(lines, testing::Contains("amy release p0 #2"));
  EXPECT_EQ(directory_.state(p0), PageState::kLost);
}

TEST_F(PageRebuildTest, WhatAnotherHasWrittenSinceIsNotGivenBackToWhoKeptIt) {
  amy_writes();
  write(kBob);
  installed(kBob, 2);  // amy has not heard of it
  restart();
  keeps(kAmy, 2);
  EXPECT_THAT(after_all_have_spoken(), UnorderedElementsAre("LOST p0", "amy release p0 #2")) << "bob has it no more";
  EXPECT_EQ(directory_.state(p0), PageState::kLost);
}

TEST_F(PageRebuildTest, WhatNobodyHasAnyMoreIsLostIfItWasEverWritten) {
  amy_writes();
  write(kBob, p1);
  out();
  restart();
  holds(kBob, PageAccess::kRead, p1);
  EXPECT_THAT(after_all_have_spoken(), ElementsAre("LOST p0"));
  read(kCid, p2);
  EXPECT_EQ(masked(out().at(0)), "cid grant p2 #n read zero");
}

TEST_F(PageRebuildTest, ReadersStayAndANewWriterTakesThePageFromAllOfThem) {
  amy_and_bob_read();
  restart();
  holds(kAmy, PageAccess::kRead);
  holds(kBob, PageAccess::kRead);
  EXPECT_THAT(after_all_have_spoken(), IsEmpty());
  write(kAmy);
  EXPECT_EQ(masked(out().at(0)), "bob invalidate p0 #n");
}

TEST_F(PageRebuildTest, WhoSaysNothingInTimeIsOutOfReachAndTakesAlongWhatOnlyItHad) {
  amy_writes();
  restart();
  holds_all(kBob);
  holds_all(kCid);
  read(kBob);
  out();
  EXPECT_EQ(directory_.deadline(), now_ + kPatience);
  pass(kPatience);
  EXPECT_THAT(out(), ElementsAre("LOST p0", "bob lost p0"));
}

TEST_F(PageRebuildTest, WhoWasOutOfReachBeforeStillIsForAFence) {
  amy_and_bob_read();
  lose(kBob);
  restart();
  holds(kAmy, PageAccess::kRead);
  after_all_have_spoken({kAmy, kCid});
  write(kAmy);
  EXPECT_THAT(out(), IsEmpty()) << "bob's programs may still read";
  pass(kFence);
  ASSERT_EQ(out().size(), 1u);
}

TEST_F(PageRebuildTest, ALostPageStaysLost) {
  amy_writes();
  lose(kAmy);
  EXPECT_THAT(out(), ElementsAre("LOST p0"));
  restart();
  after_all_have_spoken({kBob, kCid});
  read(kBob);
  EXPECT_THAT(out(), ElementsAre("bob lost p0"));
}

TEST_F(PageRebuildTest, WhatIsLeftOfALostPageIsReadByNobody) {
  amy_writes();
  write(kBob);
  lose(kBob);
  EXPECT_THAT(out(), testing::Contains("LOST p0")) << "bob may have written to it";
  restart();
  holds(kAmy, PageAccess::kWrite);  // was asked for nothing yet
  const auto lines = after_all_have_spoken({kAmy, kCid});
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(masked(lines[0]), "amy invalidate p0 #n");
  read(kCid);
  EXPECT_THAT(out(), IsEmpty());
  dropped(kAmy, number_in(lines[0]));
  EXPECT_THAT(out(), ElementsAre("cid lost p0"));
}

// To drop it would be waited for without end once that host is gone.
TEST_F(PageRebuildTest, WhoSaysThatItCanNotReadALostPageHasItNoMore) {
  amy_writes();
  write(kBob);
  installed(kBob, 2);
  for (const HostId host : {kAmy, kCid}) {
    read(host);
    installed(host, host == kAmy ? 3 : 4);
  }
  out();
  EXPECT_THAT(directory_.record(p0).holders, SizeIs(3));
  DirectoryRecords records = this->records();
  records.pages.at(p0).lost = true;
  restart(records);
  holds(kAmy, PageAccess::kRead);
  holds_all(kAmy);
  say(kAmy, PageFailed{p0, TransactionNumber{0}});
  EXPECT_THAT(after_all_have_spoken({kBob, kCid}), IsEmpty());
  EXPECT_FALSE(directory_.busy(p0));
  read(kCid);
  EXPECT_THAT(out(), ElementsAre("cid lost p0"));
}
TEST_F(PageRebuildTest, NobodyClaimsMoreThanWasWrittenDown) {
  amy_and_bob_read();
  directory_.on_attach(now_, kDan, false);
  restart();
  holds(kCid, PageAccess::kRead);
  EXPECT_THAT(out(), ElementsAre(HasSubstr("cid misbehaves"))) << "never had it";
  holds(kDan, PageAccess::kWrite);
  EXPECT_THAT(out(), ElementsAre(HasSubstr("dan misbehaves"))) << "may only read";
  keeps(kCid, 1, p3);
  EXPECT_THAT(out(), ElementsAre(HasSubstr("cid misbehaves"))) << "nobody has ever asked for it";
  keeps(kCid, 1);
  holds(kAmy, PageAccess::kRead);
  holds_all(kDan);
  EXPECT_THAT(after_all_have_spoken(), testing::Contains("cid release p0 #1")) << "it is not asked to give that back";
}

TEST_F(PageRebuildTest, OfTwoWhoSayThatTheyAreWriterTheOwnersHostIsRight) {
  claimed_by_the_owner_and_by_amy_for_writing(PageAccess::kWrite);
  const auto lines = out();
  EXPECT_THAT(lines, testing::Contains(HasSubstr("amy misbehaves")));
  EXPECT_THAT(directory_.holders(p0), ElementsAre(kOwner));
}

TEST_F(PageRebuildTest, TheOwnersHostIsRightThoughItOnlyReadsWhatAnotherSaysThatItWrites) {
  claimed_by_the_owner_and_by_amy_for_writing(PageAccess::kRead);
  EXPECT_THAT(out(), ElementsAre("owner resumed", "amy resumed", HasSubstr("amy misbehaves")));
  EXPECT_THAT(directory_.holders(p0), ElementsAre(kOwner));
  EXPECT_EQ(directory_.state(p0), PageState::kRead);
}

// It said so before the owner's host had given the page away.
TEST_F(PageRebuildTest, TheOwnersHostIsRightAgainstOneThatHasInstalledWhatItWasNotSent) {
  for (const PageAccess access : {PageAccess::kWrite, PageAccess::kRead}) {
    directory_ = PageDirectory({kOwner, kPages, 4096, kFence, kPatience});
    for (const HostId host : {kOwner, kAmy, kBob, kCid}) directory_.on_attach(now_, host, true);
    write(kOwner);
    installed(kOwner, 1);
    say(kAmy, PageRequest{p0, access});
    installed(kAmy, 2);
    restart(false);
    holds(kOwner, PageAccess::kWrite);
    holds_all(kOwner);
    EXPECT_THAT(out(), ElementsAre("owner resumed"));
    holds(kAmy, access);
    EXPECT_THAT(after_all_have_spoken(), ElementsAre(HasSubstr("amy misbehaves")));
    EXPECT_THAT(directory_.holders(p0), ElementsAre(kOwner));
    read(kBob);
    EXPECT_THAT(out().at(0), HasSubstr("owner fetch p0"));
  }
}

TEST_F(PageRebuildTest, WhatIsRefusedInPartIsRefusedAsAWhole) {
  amy_writes();
  write(kBob, p1);
  installed(kBob, 2, p1);
  restart();
  say(kAmy, PagesHeld{p0, 2, PageAccess::kWrite});
  EXPECT_THAT(out(), ElementsAre(HasSubstr("amy misbehaves")));
  holds(kBob, PageAccess::kWrite, p1);
  holds_all(kAmy);
  EXPECT_THAT(after_all_have_spoken({kBob, kCid}), ElementsAre("LOST p0"));
}

TEST_F(PageRebuildTest, NobodyHoldsAPageTwice) {
  amy_writes();
  restart();
  holds(kAmy, PageAccess::kWrite);
  holds(kAmy, PageAccess::kRead);
  EXPECT_THAT(out(), ElementsAre(HasSubstr("amy misbehaves")));
}

TEST_F(PageRebuildTest, ARemovedSegmentGoesOnUntilItsLastAttachment) {
  directory_.on_remove(now_);
  restart();
  EXPECT_TRUE(directory_.removed());
  after_all_have_spoken();
  for (const HostId host : {kAmy, kBob}) say(host, SegmentDetached{1});
  EXPECT_FALSE(directory_.destroyed());
  say(kCid, SegmentDetached{1});
  EXPECT_TRUE(directory_.destroyed());
}

TEST_F(PageRebuildTest, AHostWhoseDaemonIsStartedAgainMeanwhileSpeaksAnew) {
  amy_writes();
  restart();
  holds(kAmy, PageAccess::kWrite);
  holds_all(kAmy);
  directory_.on_host_restarted(now_, kAmy);
  read(kBob);
  EXPECT_THAT(out(), testing::Not(testing::Contains(HasSubstr("fetch"))));
  holds(kAmy, PageAccess::kWrite);
  const auto lines = after_all_have_spoken();
  ASSERT_EQ(lines.size(), 0u) << "bob's request was heard before bob had spoken, and is nothing";
  read(kBob);
  EXPECT_EQ(masked(out().at(0)), "amy fetch p0 #n for bob");
}

TEST_F(PageRebuildTest, WhatSuchAHostHasSaidBeforeIsNotTakenForAll) {
  amy_writes();
  write(kBob);
  restart();
  holds(kBob, PageAccess::kWrite);
  holds_all(kBob);
  directory_.on_host_restarted(now_, kBob);
  keeps(kAmy, 2);
  EXPECT_THAT(after_all_have_spoken({kAmy, kCid}), IsEmpty()) << "bob may have written to it";
  holds(kBob, PageAccess::kWrite);
  EXPECT_THAT(after_all_have_spoken({kBob}), ElementsAre("amy release p0 #2"));
  EXPECT_THAT(directory_.holders(p0), ElementsAre(kBob));
}

TEST_F(PageRebuildTest, WhatIsWrittenDownOfAPageSpeaksOfHostsThatTakePart) {
  amy_and_bob_read();
  write(kCid, p1);  // granted
  read(kCid);       // likewise
  restart();
  holds_all(kCid, 0);
  EXPECT_THAT(out(), testing::Contains("cid dismissed"));
  expect_members_alone();
  holds(kAmy, PageAccess::kRead);
  holds_all(kAmy);
  expect_members_alone();
}

TEST_F(PageRebuildTest, WhatAHostHadThatSpokeAndIsClearedSinceIsLostWithIt) {
  amy_writes();
  write(kBob);  // granted
  restart();
  holds(kBob, PageAccess::kWrite);
  holds_all(kBob);
  lose(kBob);
  say(kBob, SegmentCleared{});
  expect_members_alone();
  keeps(kAmy, 2);
  const auto lines = after_all_have_spoken({kAmy, kCid});
  EXPECT_THAT(lines, testing::Contains("LOST p0"));
  EXPECT_THAT(lines, testing::Contains("amy release p0 #2"));
}

TEST_F(PageRebuildTest, WhoSpokeAndHadNothingOfAGrantIsNoCauseToLoseThePage) {
  amy_writes();
  write(kBob);  // granted
  restart();
  holds_all(kBob);
  lose(kBob);
  expect_members_alone();
  restart();
  keeps(kAmy, 2);
  EXPECT_THAT(after_all_have_spoken({kAmy, kCid}), ElementsAre("amy restore p0 #2"));
}

TEST_F(PageRebuildTest, ItMayHappenAgainBeforeAllHaveSpoken) {
  amy_writes();
  write(kBob);
  restart();
  keeps(kAmy, 2);
  holds_all(kAmy);
  restart();
  keeps(kAmy, 2);
  holds(kBob, PageAccess::kWrite);
  EXPECT_THAT(after_all_have_spoken(), ElementsAre("amy release p0 #2"));
  EXPECT_THAT(directory_.holders(p0), UnorderedElementsAre(kBob));
}

}  // namespace
}  // namespace dipc::test
