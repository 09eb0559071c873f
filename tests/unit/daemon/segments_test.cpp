#include "daemon/segments.h"

#include <gmock/gmock.h>

#include "arch/abi_names.h"
#include "tests/unit/daemon/three_hosts_fixture.h"

namespace dipc::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;
using testing::SizeIs;

class SegmentsTest : public ThreeHostsTest {};

// ---- pages

TEST_F(SegmentsTest, WhatOneHostWritesTheOthersRead) {
  const ObjectRef segment = make(*sun_, 3 * 4096);
  everybody_attaches(segment);
  EXPECT_EQ(read(*earth_, kPage), 0);
  write(*moon_, kPage, 42);
  EXPECT_EQ(earth_->pagers.back()->state(kPage), ScriptedPager::State::kHole) << "moon's write took it";
  EXPECT_EQ(read(*earth_, kPage), 42);
  EXPECT_EQ(read(*sun_, kPage), 42);
  write(*sun_, kPage, 43);
  EXPECT_EQ(read(*moon_, kPage), 43);
  EXPECT_EQ(read(*earth_, kPage), 43);
}

TEST_F(SegmentsTest, APageGoesStraightFromItsHolderToWhoWantsIt) {
  const ObjectRef segment = make(*sun_, 4096);
  everybody_attaches(segment);
  write(*moon_, kPage, 42);
  EXPECT_EQ(read(*earth_, kPage), 42);
  EXPECT_THAT(pages_sent_, ElementsAre(Pair(Pair("moon", "earth"), 1)));
}

TEST_F(SegmentsTest, WithoutASessionBetweenHolderAndRequesterItGoesThroughTheOwner) {
  const ObjectRef segment = make(*sun_, 4096);
  everybody_attaches(segment);
  disconnect(*moon_, *earth_);
  write(*moon_, kPage, 42);
  EXPECT_EQ(read(*earth_, kPage), 42);
  EXPECT_THAT(pages_sent_, IsEmpty());
}

TEST_F(SegmentsTest, ASegmentAsOneUnitMovesAsAWhole) {
  sharing_.unit = CoherenceUnit::kSegment;
  sharing_.hold_time = std::chrono::milliseconds(3);
  const ObjectRef segment = make(*sun_, 3 * 4096 + 1);
  everybody_attaches(segment);
  EXPECT_EQ(sun_->segments->owned().shape(segment),
            (AttachReply{3 * 4096 + 1, 4 * 4096, 3'000'000, "", measured_abi()}));
  write(*moon_, kPage, 42);
  EXPECT_EQ(read(*earth_, kPage), 42);
}

// Of a message for each of them grant, contents and answer would be three times as many as there are pages.
TEST_F(SegmentsTest, PagesAreAsLargeAsTheConfigurationHasThemAndNoLargerThanTheSegment) {
  sharing_.page_bytes = 16384;
  const ObjectRef segment = make(*sun_, 5 * 4096);
  EXPECT_EQ(sun_->segments->owned().shape(segment)->unit_bytes, 16384u);
  everybody_attaches(segment);
  write(*moon_, kPage, 42, 3 * 4096);
  EXPECT_EQ(read(*earth_, kPage, 3 * 4096), 42);
  EXPECT_EQ(pages_sent_[std::pair("moon", "earth")], 1);
  EXPECT_EQ(read(*earth_, kSecond), 0) << "the rest of it";
  ASSERT_EQ(control(*sun_, segment, ControlCommand::kRemove), Error::kNone);
  EXPECT_EQ(sun_->segments->owned().shape(make(*sun_, 5000))->unit_bytes, 8192u);
}

TEST_F(SegmentsTest, WhatIsSaidOfPagesInARowIsOneMessage) {
  const ObjectRef segment = make(*sun_, 64 * 4096);
  everybody_attaches(segment);
  for (std::uint32_t page = 0; page < 64; ++page) write(*sun_, PageIndex{page}, static_cast<int>(page));
  sun_->pagers.back()->detach();  // what is a writer's is not read ahead
  quiet();
  const int before = carried_count_;
  for (std::uint32_t page = 0; page < 64; ++page) EXPECT_EQ(read(*earth_, PageIndex{page}), static_cast<int>(page));
  quiet();
  EXPECT_LT(carried_count_ - before, 64);
  write(*moon_, kSecond, 99);
  EXPECT_EQ(read(*earth_, kSecond), 99);
  EXPECT_EQ(read(*earth_, PageIndex{2}), 2);
  for (Host* host : {sun_, moon_, earth_}) EXPECT_THAT(host->ended, IsEmpty());
}

TEST_F(SegmentsTest, AHostThatHasDetachedGivesItsPagesToTheOwner) {
  const ObjectRef segment = make(*sun_, 4096);
  EXPECT_EQ(attach(*moon_, *sun_, segment), Error::kNone);
  write(*moon_, kPage, 42);
  moon_->pagers.back()->detach();
  until([&] { return moon_->segments->attached().count() == 0; });
  EXPECT_EQ(attach(*earth_, *sun_, segment), Error::kNone);
  EXPECT_EQ(read(*earth_, kPage), 42);
}

// ---- what is declared

constexpr char kNumbers[] = "struct numbers { short a; char c; char d; int n[]; };\nbind shm all to numbers;\n";

// Hosts of one process have one ABI; this one says that it has another.
Abi of_the_other_order() {
  Abi abi = measured_abi();
  abi.byte_order = abi.byte_order == ByteOrder::kLittle ? ByteOrder::kBig : ByteOrder::kLittle;
  return abi;
}

TEST_F(SegmentsTest, DeclaredNumbersAreTurnedRoundOnHostsOfTheOtherByteOrder) {
  Host& venus = add("venus", 4096, of_the_other_order());
  Host& mars = add("mars", 4096, of_the_other_order());
  declarations_ = kNumbers;
  const ObjectRef segment = make(*sun_, 8192);
  for (Host* host : {sun_, moon_, &venus, &mars}) ASSERT_EQ(attach(*host, *sun_, segment), Error::kNone);
  write(venus, kPage, 1, 0);  // of a
  write(venus, kPage, 2, 1);
  write(venus, kPage, 3, 2);  // c
  write(venus, kPage, 4, 4);  // of n[0]
  EXPECT_EQ(read(*sun_, kPage, 0), 2);
  EXPECT_EQ(read(*sun_, kPage, 1), 1);
  EXPECT_EQ(read(*sun_, kPage, 2), 3);
  EXPECT_EQ(read(*sun_, kPage, 7), 4);
  EXPECT_EQ(read(*moon_, kPage, 7), 4);
  EXPECT_EQ(read(mars, kPage, 4), 4) << "twice: from venus, and here";
  write(*moon_, kSecond, 5, 0);  // of n[1022]
  EXPECT_EQ(read(mars, kSecond, 3), 5);
  EXPECT_EQ(read(venus, kSecond, 3), 5);
  write(venus, kSecond, 6, 3);
  EXPECT_EQ(read(*moon_, kSecond, 0), 6);
  EXPECT_EQ(read(venus, kSecond, 3), 6) << "still as it was written there";
}

TEST_F(SegmentsTest, WithoutADeclarationPagesAreBytesAndUnlikeMachinesAreCounted) {
  Host& venus = add("venus", 4096, of_the_other_order());
  const ObjectRef segment = make(*sun_, 4096);
  for (Host* host : {sun_, moon_}) ASSERT_EQ(attach(*host, *sun_, segment), Error::kNone);
  EXPECT_EQ(sun_->segments->owned().views().front().unconverted, 0u);
  testing::internal::CaptureStderr();
  ASSERT_EQ(attach(venus, *sun_, segment), Error::kNone);
  ASSERT_EQ(attach(venus, *sun_, segment), Error::kNone);
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              HasSubstr("between this host, " + spoken(measured_abi()) + ", and a program of venus, " +
                        spoken(of_the_other_order())));
  EXPECT_EQ(sun_->segments->owned().views().front().unconverted, 2u);
  SegmentAttach call{.object = segment, .page_bytes = 4096};
  call.abi = measured_abi();
  EXPECT_EQ(sun_->segments->call("venus", kRoot, 1, call).error, Error::kNone);
  EXPECT_EQ(sun_->segments->owned().views().front().unconverted, 2u) << "its program is like this host";
  write(venus, kPage, 42, 1);
  EXPECT_EQ(read(*sun_, kPage, 1), 42);
}

TEST_F(SegmentsTest, WhatIsDeclaredWhenASegmentIsMadeCountsForAllItsLife) {
  declarations_ = kNumbers;
  const ObjectRef segment = make(*sun_, 4096);
  declarations_ = "";
  const auto shape = sun_->segments->owned().shape(segment);
  ASSERT_TRUE(shape);
  EXPECT_EQ(shape->declarations, kNumbers);
  EXPECT_EQ(shape->abi, measured_abi());
  EXPECT_EQ(attach(*moon_, *sun_, segment), Error::kNone);
  EXPECT_EQ(sun_->segments->owned().views().front().unconverted, 0u);
}

// ---- hosts that go

TEST_F(SegmentsTest, APageIsLostWithTheOnlyHostThatHadItAndNoOther) {
  const ObjectRef segment = make(*sun_, 2 * 4096);
  everybody_attaches(segment);
  write(*moon_, kPage, 42);
  write(*earth_, kSecond, 43);
  disconnect(*moon_, *sun_);
  earth_->pagers.back()->touch(kPage, PageAccess::kRead);
  until([&] { return earth_->pagers.back()->state(kPage) == ScriptedPager::State::kLost; });
  EXPECT_EQ(read(*sun_, kSecond), 43);
}

TEST_F(SegmentsTest, WithItsOwnerASegmentIsLostToAHost) {
  const ObjectRef segment = make(*sun_, 4096);
  everybody_attaches(segment);
  ScriptedPager& pager = *moon_->pagers.back();
  disconnect(*moon_, *sun_);
  EXPECT_TRUE(pager.all_lost);
  EXPECT_FALSE(earth_->pagers.back()->all_lost);
  EXPECT_FALSE(moon_->segments->may_begin(moon_->segments->key("sun", segment))) << "its programs still have it";
  until([&] { return moon_->segments->attached().count() == 0; });
  EXPECT_EQ(stat(*sun_, segment).attachments, 2u);
}

TEST_F(SegmentsTest, ADaemonThatIsStartedAgainGoesOnWithWhatItsProgramsHave) {
  const ObjectRef segment = make(*sun_, 4096);
  everybody_attaches(segment);
  write(*moon_, kPage, 42);
  restart(*moon_);
  EXPECT_FALSE(moon_->pagers.back()->renewed);
  std::optional<bool> known;
  moon_->segments->when_known(moon_->segments->key("sun", segment), [&] { known = true; });
  EXPECT_FALSE(known) << "a shmat waits";
  EXPECT_EQ(read(*earth_, kPage), 42);
  EXPECT_TRUE(known);
  EXPECT_TRUE(moon_->pagers.back()->renewed);
  EXPECT_EQ(stat(*sun_, segment).attachments, 3u);
  write(*sun_, kPage, 43);
  EXPECT_EQ(read(*moon_, kPage), 43);
  moon_->pagers.back()->detach();
  until([&] { return stat(*sun_, segment).attachments == 2; });
  EXPECT_THAT(sun_->ended, IsEmpty());
}

TEST_F(SegmentsTest, ADaemonThatIsStartedAgainStillKnowsWhatIsDeclared) {
  Host& venus = add("venus", 4096, of_the_other_order());
  declarations_ = kNumbers;
  const ObjectRef segment = make(*sun_, 4096);
  for (Host* host : {sun_, &venus}) ASSERT_EQ(attach(*host, *sun_, segment), Error::kNone);
  write(venus, kPage, 4, 4);  // of n[0]
  restart(venus);
  EXPECT_EQ(read(*sun_, kPage, 7), 4);
  write(*sun_, kPage, 5, 7);
  EXPECT_EQ(read(venus, kPage, 4), 5);
  EXPECT_EQ(attach(venus, *sun_, segment), Error::kNone) << "it is the segment that it was";
  EXPECT_THAT(sun_->ended, IsEmpty());
  EXPECT_THAT(venus.ended, IsEmpty());
}

TEST_F(SegmentsTest, WhatItsOwnerDoesNotCountWithAnyMoreIsTakenFromItsPrograms) {
  const ObjectRef segment = make(*sun_, 4096);
  ASSERT_EQ(attach(*moon_, *sun_, segment), Error::kNone);
  write(*moon_, kPage, 42);
  sun_->segments->on_session_ended("moon");
  restart(*moon_);
  until([&] { return moon_->pagers.back()->all_lost; });
  until([&] { return moon_->segments->attached().count() == 0; });
  quiet();
  EXPECT_EQ(attach(*moon_, *sun_, segment), Error::kNone);
  EXPECT_THAT(sun_->ended, IsEmpty());
}

TEST_F(SegmentsTest, ASegmentThatItsOwnerDoesNotKnowIsRefused) {
  sun_->segments->on_peer_message("moon", SegmentReport{{Kind::kSegment, 77, 1}, SegmentHeld{1}, 0});
  ASSERT_THAT(carried_, SizeIs(1));
  EXPECT_EQ(carried_.front().message, PeerMessage(SegmentOrder{{Kind::kSegment, 77, 1}, SegmentRefused{}, {}}));
}

TEST_F(SegmentsTest, WithoutItsOwnerInTimeItIsTakenFromItsPrograms) {
  const ObjectRef segment = make(*sun_, 4096);
  ASSERT_EQ(attach(*moon_, *sun_, segment), Error::kNone);
  sessions_.clear();
  restart(*moon_, std::chrono::milliseconds(50));
  until([&] { return moon_->pagers.back()->all_lost; });
}

TEST_F(SegmentsTest, AtTheEndNoSegmentWaitsForAnother) {
  std::vector<ObjectRef> segments;
  for (int i = 0; i < 3; ++i) {
    segments.push_back(make(*sun_, 4096));
    ASSERT_EQ(attach(*moon_, *sun_, segments.back()), Error::kNone);
    ASSERT_EQ(control(*sun_, segments.back(), ControlCommand::kRemove), Error::kNone);  // for the next one's key
  }
  moon_->pagers.at(0)->is_stuck = true;
  moon_->pagers.at(2)->is_stuck = true;
  moon_->segments->stop();
  EXPECT_EQ(moon_->segments->attached().count(), 2u);
  EXPECT_FALSE(moon_->segments->attached().has(moon_->segments->key("sun", segments[1])));
}

TEST_F(SegmentsTest, AHostThatComesBackSaysThatItHasNothingAndMayAttachAgain) {
  const ObjectRef segment = make(*sun_, 4096);
  everybody_attaches(segment);
  write(*earth_, kPage, 41);
  EXPECT_EQ(read(*moon_, kPage), 41);
  disconnect(*moon_, *sun_);
  until([&] { return moon_->segments->attached().count() == 0; });
  connect(*moon_, *sun_);
  ASSERT_THAT(carried_, SizeIs(1));
  EXPECT_EQ(carried_.front().message, PeerMessage(SegmentReport{segment, SegmentCleared{}, 0}));
  write(*earth_, kPage, 42);
  EXPECT_EQ(attach(*moon_, *sun_, segment), Error::kNone);
  EXPECT_EQ(read(*moon_, kPage), 42);
  EXPECT_THAT(sun_->ended, IsEmpty());
}

TEST_F(SegmentsTest, APageThatIsLostIsInTheLogWithTheHostThatHadIt) {
  const ObjectRef segment = make(*sun_, 3 * 4096);
  everybody_attaches(segment);
  write(*moon_, kPage, 41);
  write(*earth_, kSecond, 42);
  testing::internal::CaptureStderr();
  disconnect(*moon_, *sun_);
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              AllOf(HasSubstr("page 0 is lost with moon, which had it; who touches it gets SIGBUS"),
                    Not(HasSubstr("page 1")), Not(HasSubstr("earth"))));
}

TEST_F(SegmentsTest, AWriteWaitsUntilALostReaderCertainlyReadsNoMore) {
  const ObjectRef segment = make(*sun_, 4096);
  everybody_attaches(segment);
  EXPECT_EQ(read(*moon_, kPage), 0);
  EXPECT_EQ(read(*earth_, kPage), 0);
  const TimePoint lost = loop_now();
  disconnect(*moon_, *sun_);
  write(*earth_, kPage, 42);
  EXPECT_GE(loop_now() - lost, std::chrono::milliseconds(50)) << "the fence";
}

// ---- limits

TEST_F(SegmentsTest, ALoginThatHasAttachedEnoughGetsENOMEMAndNobodyElseNotices) {
  attachments_per_login_ = 3;
  Host& mars = add("mars");
  const ObjectRef segment = make(*sun_, 4096);
  const auto attached = [&](uid_t uid) { return attach(mars, *sun_, segment, false, 1, uid); };
  EXPECT_EQ(attached(kAlice.uid), Error::kNone);
  EXPECT_EQ(attached(kAlice.uid), Error::kNone);
  mars.pagers.back()->fork();
  until([&] { return stat(*sun_, segment).attachments == 3; });
  EXPECT_EQ(attached(kAlice.uid), Error::kNoMemory);
  quiet();
  EXPECT_EQ(stat(*sun_, segment).attachments, 3u);
  EXPECT_EQ(attached(kBob.uid), Error::kNone);
  mars.pagers.back()->detach(2);  // bob's, and a fork
  until([&] { return stat(*sun_, segment).attachments == 2; });
  EXPECT_EQ(attached(kAlice.uid), Error::kNone);
  EXPECT_EQ(attached(kAlice.uid), Error::kNoMemory);
  disconnect(mars, *sun_);  // and all of them are gone
  until([&] { return mars.segments->attached().count() == 0; });
  connect(mars, *sun_);
  quiet();
  EXPECT_EQ(attached(kAlice.uid), Error::kNone);
}

TEST_F(SegmentsTest, WhatIsLeftOfDescriptorsIsNotForSegments) {
  outlive_ = true;
  Host& mars = add("mars");
  const ObjectRef segment = make(mars, 4096);
  EXPECT_EQ(attach(mars, mars, segment), Error::kNone);
  has_descriptors_to_spare_ = false;
  const GetCall call{.name = {Kind::kSegment, 0}, .create = true, .exclusive = true, .mode = 0600, .size = 1};
  const auto second = mars.segments->make(call, ++generations_, kAlice, "mars", 77);
  EXPECT_EQ(second ? Error::kNone : second.error(), Error::kNoMemory);
  EXPECT_EQ(mars.segments->owned().views().size(), 1u);
  EXPECT_EQ(attach(mars, mars, segment), Error::kNoMemory);
  quiet();
  EXPECT_EQ(stat(mars, segment).attachments, 1u);
  write(mars, kPage, 42);
  has_descriptors_to_spare_ = true;
  EXPECT_EQ(attach(mars, mars, segment), Error::kNone);
}

// ---- peers that say what can't be

TEST_F(SegmentsTest, PagesOfASizeThatNoMachineHasChangeNothing) {
  testing::internal::CaptureStderr();
  for (const std::uint32_t bytes : {0u, 4097u, 2048u, 1u << 17, 1u << 26, 1u << 31}) {
    add("atari" + std::to_string(bytes), bytes);
  }
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("its pages have 67108864 bytes: ignored"));
  const ObjectRef segment = make(*sun_, 3 * 4096);
  EXPECT_EQ(sun_->segments->owned().shape(segment)->unit_bytes, 4096u);
}

TEST_F(SegmentsTest, WhoMayNotAttachStartsNothing) {
  const ObjectRef segment = make(*sun_, 4096);
  const Identity stranger{.uid = 4001, .gid = 4001, .groups = {}};
  EXPECT_EQ(sun_->segments->call("sun", stranger, 1, SegmentAttach{.object = segment, .page_bytes = 4096}).error,
            Error::kAccess);
  EXPECT_TRUE(sun_->pagers.empty());
}

TEST_F(SegmentsTest, AHostThatClaimsAPageItWasNotGrantedLosesItsSession) {
  const ObjectRef segment = make(*sun_, 4096);
  everybody_attaches(segment);
  write(*earth_, kPage, 42);
  sun_->segments->on_peer_message("moon", SegmentReport{segment, PageInstalled{kPage, TransactionNumber{1}}, 0});
  ASSERT_THAT(sun_->ended, SizeIs(1));
  EXPECT_EQ(sun_->ended[0].first, "moon");
  EXPECT_EQ(read(*sun_, kPage), 42);
}

TEST_F(SegmentsTest, APageOfAnotherSizeOrNumberEndsTheSessionOfWhoSendsIt) {
  const ObjectRef segment = make(*sun_, 4096);
  everybody_attaches(segment);
  const auto small = std::make_shared<const Bytes>(100);
  const PageData data{kPage, TransactionNumber{1}, small};
  earth_->segments->on_peer_message("moon", HeldPage{"sun", segment, data, {}});
  earth_->segments->on_peer_message("sun", SegmentOrder{segment, data, ""});
  earth_->segments->on_peer_message("sun", SegmentOrder{segment, PageLost{kSecond}, ""});
  sun_->segments->on_peer_message("moon", SegmentReport{segment, RelayedPage{kPage, TransactionNumber{1}, small}, 0});
  EXPECT_THAT(earth_->ended, ElementsAre(Pair("moon", HasSubstr("size")), Pair("sun", HasSubstr("size")),
                                         Pair("sun", HasSubstr("does not have"))));
  EXPECT_THAT(sun_->ended, ElementsAre(Pair("moon", HasSubstr("size"))));
}

TEST_F(SegmentsTest, AnOwnerThatGivesWhatNobodyHasAskedForLosesItsSession) {
  const ObjectRef segment = make(*sun_, 4096);
  EXPECT_EQ(attach(*earth_, *sun_, segment), Error::kNone);
  const PageGrant grant{kPage, TransactionNumber{1}, PageAccess::kWrite, PageOrigin::kZero};
  earth_->segments->on_peer_message("sun", SegmentOrder{segment, grant, ""});
  EXPECT_THAT(earth_->ended, ElementsAre(Pair("sun", HasSubstr("nobody has asked for"))));
  EXPECT_EQ(earth_->pagers.back()->state(kPage), ScriptedPager::State::kHole);
}

TEST_F(SegmentsTest, WhoHasNotAttachedASegmentCanAskForNothingOfIt) {
  const ObjectRef segment = make(*sun_, 4096);
  EXPECT_EQ(attach(*earth_, *sun_, segment), Error::kNone);
  sun_->segments->on_peer_message("moon", SegmentReport{segment, PageRequest{kPage, PageAccess::kWrite}, 0});
  EXPECT_THAT(sun_->ended, ElementsAre(Pair("moon", HasSubstr("does not take part"))));
  const ObjectRef other{Kind::kSegment, segment.id, segment.generation + 1};
  sun_->segments->on_peer_message("earth", SegmentReport{other, PageRequest{kPage, PageAccess::kWrite}, 0});
  EXPECT_THAT(sun_->ended, SizeIs(1)) << "about a segment that is no more: it has crossed with its end";
}

}  // namespace
}  // namespace dipc::test
