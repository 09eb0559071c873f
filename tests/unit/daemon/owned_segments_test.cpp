// What the host knows of a segment on which it lives: its record, who may, how much, and when it ends.

#include "daemon/owned_segments.h"

#include <gmock/gmock.h>
#include <sys/shm.h>

#include "tests/unit/daemon/three_hosts_fixture.h"

namespace dipc::test {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;
using testing::SizeIs;

class OwnedSegmentsTest : public ThreeHostsTest {};

// ---- records

TEST_F(OwnedSegmentsTest, AttachmentsAreCountedOverAllHosts) {
  const ObjectRef segment = make(*sun_, 4096);
  everybody_attaches(segment);
  time_of_day_ = 2000;
  EXPECT_EQ(attach(*moon_, *sun_, segment, true, 4711), Error::kNone);
  EXPECT_EQ(stat(*sun_, segment).attachments, 4u);
  EXPECT_EQ(stat(*sun_, segment).attach_time_s, 2000);
  EXPECT_EQ(stat(*sun_, segment).last_pid, 4711);
  EXPECT_EQ(stat(*sun_, segment).detach_time_s, 0);
  earth_->pagers.back()->fork();
  until([&] { return stat(*sun_, segment).attachments == 5; });
  time_of_day_ = 3000;
  moon_->pagers.back()->detach(2);
  bool settled = false;
  moon_->segments->settle(moon_->segments->key("sun", segment), 4712, [&] { settled = true; });
  until([&] { return settled; });
  quiet();
  EXPECT_EQ(stat(*sun_, segment).attachments, 3u);
  EXPECT_EQ(stat(*sun_, segment).detach_time_s, 3000);
}

TEST_F(OwnedSegmentsTest, TheRecordSaysWhatShmgetWasGiven) {
  const ObjectRef segment = make(*sun_, 5000, 0640, kAlice);
  const Stat record = stat(*sun_, segment);
  EXPECT_EQ(record.key, kKey);
  EXPECT_EQ(record.segment_bytes, 5000u);
  EXPECT_EQ(record.mode, 0640u);
  EXPECT_EQ(record.uid, kAlice.uid);
  EXPECT_EQ(record.cgid, kAlice.gid);
  EXPECT_EQ(record.creator_pid, 77);
  EXPECT_EQ(record.last_pid, 0);
  EXPECT_EQ(record.change_time_s, 1000);
}

TEST_F(OwnedSegmentsTest, IpcSetChangesOwnerAndMode) {
  const ObjectRef segment = make(*sun_, 4096, 0600, kAlice);
  Control set{.object = segment, .command = ControlCommand::kSet};
  EXPECT_EQ(sun_->segments->call("sun", kAlice, 1, set).error, Error::kFault);
  set.set = Permissions{.uid = kBob.uid, .gid = kBob.gid, .mode = 07644};
  EXPECT_EQ(sun_->segments->call("sun", kBob, 1, set).error, Error::kNotPermitted);
  time_of_day_ = 2000;
  EXPECT_EQ(sun_->segments->call("sun", kAlice, 1, set).error, Error::kNone);
  const Stat record = stat(*sun_, segment);
  EXPECT_EQ(record.uid, kBob.uid);
  EXPECT_EQ(record.cuid, kAlice.uid);
  EXPECT_EQ(record.mode, 0644u);
  EXPECT_EQ(record.change_time_s, 2000);
}

TEST_F(OwnedSegmentsTest, LockingIsForTheOwnerAndIsShown) {
  const ObjectRef segment = make(*sun_, 4096, 0666, kAlice);
  EXPECT_EQ(control(*sun_, segment, ControlCommand::kLock, kBob), Error::kNotPermitted);
  EXPECT_EQ(control(*sun_, segment, ControlCommand::kLock, kAlice), Error::kNone);
  EXPECT_EQ(stat(*sun_, segment).mode, 02666u);
  EXPECT_EQ(control(*sun_, segment, ControlCommand::kUnlock, kAlice), Error::kNone);
  EXPECT_EQ(stat(*sun_, segment).mode, 0666u);
  EXPECT_EQ(control(*sun_, segment, ControlCommand::kGetAll, kAlice), Error::kInvalid);
}

// ---- removal

TEST_F(OwnedSegmentsTest, ARemovedSegmentGoesOnUntilItsLastDetachAnywhere) {
  const ObjectRef segment = make(*sun_, 4096);
  EXPECT_EQ(attach(*moon_, *sun_, segment), Error::kNone);
  write(*moon_, kPage, 42);
  time_of_day_ = 2000;
  EXPECT_EQ(control(*sun_, segment, ControlCommand::kRemove), Error::kNone);
  EXPECT_EQ(stat(*sun_, segment).change_time_s, 1000) << "as in a kernel, which counts IPC_SET alone";
  EXPECT_THAT(sun_->removed, ElementsAre(segment));
  EXPECT_EQ(shmget(kKey, 0, 0), -1) << "the key is free";
  EXPECT_EQ(stat(*sun_, segment).mode, 01600u);
  EXPECT_EQ(stat(*sun_, segment).key, 0);
  EXPECT_EQ(control(*sun_, segment, ControlCommand::kRemove), Error::kNone) << "as often as you like, as in a kernel";
  EXPECT_THAT(sun_->removed, SizeIs(1));
  EXPECT_EQ(attach(*earth_, *sun_, segment), Error::kNone);
  EXPECT_EQ(read(*earth_, kPage), 42);
  moon_->pagers.back()->detach();
  until([&] { return stat(*sun_, segment).attachments == 1; });
  EXPECT_THAT(moon_->gone, IsEmpty());
  earth_->pagers.back()->detach();
  until([&] { return !sun_->segments->owned().with_id(segment.id); });
  quiet();
  EXPECT_EQ(control(*sun_, segment, ControlCommand::kStat), Error::kStale);
  EXPECT_THAT(moon_->gone, Contains(Pair("sun", segment))) << "which has nothing of it, but may know its id";
  EXPECT_EQ(sun_->segments->attached().count() + earth_->segments->attached().count(), 0u);
}

TEST_F(OwnedSegmentsTest, AnIdIsNoOthersWhileItsSegmentGoesOn) {
  const ObjectRef segment = make(*sun_, 4096);
  EXPECT_EQ(attach(*moon_, *sun_, segment), Error::kNone);
  EXPECT_EQ(control(*sun_, segment, ControlCommand::kRemove), Error::kNone);
  const ObjectRef next = make(*sun_, 4096);
  EXPECT_NE(next.id, segment.id);
  EXPECT_EQ(stat(*sun_, segment).key, 0);
  EXPECT_EQ(stat(*sun_, next).key, kKey);
}

TEST_F(OwnedSegmentsTest, WithoutAttachmentsItGoesAtOnce) {
  const ObjectRef segment = make(*sun_, 4096);
  EXPECT_EQ(control(*sun_, segment, ControlCommand::kRemove, kAlice), Error::kNotPermitted);
  EXPECT_EQ(control(*sun_, segment, ControlCommand::kRemove), Error::kNone);
  EXPECT_EQ(control(*sun_, segment, ControlCommand::kStat), Error::kStale);
  EXPECT_EQ(attach(*moon_, *sun_, segment), Error::kStale);
}

TEST_F(OwnedSegmentsTest, AStandInRemovedByHandIsARemoval) {
  const ObjectRef segment = make(*sun_, 4096);
  EXPECT_EQ(attach(*moon_, *sun_, segment), Error::kNone);
  ASSERT_EQ(shmctl(segment.id, IPC_RMID, nullptr), 0);
  sun_->segments->on_stand_in_gone(segment);
  EXPECT_EQ(stat(*sun_, segment).mode, 01600u);
  moon_->pagers.back()->detach();
  until([&] { return !sun_->segments->owned().with_id(segment.id); });
}

// ---- who may, and how large

TEST_F(OwnedSegmentsTest, ModeDecidesWhoAttaches) {
  const ObjectRef segment = make(*sun_, 4096, 0640, kAlice);
  const auto as = [&](const Identity& who, bool read_only) {
    const SegmentAttach body{.object = segment, .read_only = read_only, .page_bytes = 4096};
    return sun_->segments->call("moon", who, 1, body).error;
  };
  EXPECT_EQ(as(kAlice, false), Error::kNone);
  EXPECT_EQ(as(kBob, true), Error::kNone) << "he is in the group";
  EXPECT_EQ(as(kBob, false), Error::kAccess);
  EXPECT_EQ(as(Identity{1003, 1003, {}}, true), Error::kAccess);
  EXPECT_EQ(control(*sun_, segment, ControlCommand::kStat, Identity{1003, 1003, {}}), Error::kAccess);
  const auto executes = [&](const Identity& who) {
    const SegmentAttach body{.object = segment, .read_only = true, .executable = true, .page_bytes = 4096};
    return sun_->segments->call("moon", who, 1, body).error;
  };
  EXPECT_EQ(executes(kAlice), Error::kAccess) << "SHM_EXEC";
  const Control set{.object = segment,
                    .command = ControlCommand::kSet,
                    .set = Permissions{.uid = kAlice.uid, .gid = kAlice.gid, .mode = 0740}};
  EXPECT_EQ(sun_->segments->call("moon", kAlice, 1, set).error, Error::kNone);
  EXPECT_EQ(executes(kAlice), Error::kNone);
  EXPECT_EQ(executes(kBob), Error::kAccess);
}

TEST_F(OwnedSegmentsTest, SizesAreJudgedAsByAKernel) {
  GetCall call{.name = {Kind::kSegment, kKey}, .create = true, .exclusive = true, .mode = 0600};
  const auto made = [&](std::int64_t bytes) {
    call.size = bytes;
    const auto result = sun_->segments->make(call, 1, kAlice, "sun", 1);
    return result ? Error::kNone : result.error();
  };
  EXPECT_EQ(made(0), Error::kInvalid);
  EXPECT_EQ(made(-1), Error::kInvalid);
  testing::internal::CaptureStderr();
  EXPECT_EQ(made((1 << 20) + 1), Error::kInvalid) << "limits.segment_size";
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              HasSubstr("uid " + std::to_string(kAlice.uid) + ", for a program of sun, asks for 1048577 bytes; "));
  EXPECT_EQ(made(1 << 20), Error::kNoMemory) << "more than there is";
  EXPECT_EQ(made(5000), Error::kNone);
  EXPECT_EQ(made(5000), Error::kExists);
  const ObjectRef segment = *sun_->segments->owned().with_id(shmget(kKey, 0, 0));
  const auto looked = [&](std::int64_t bytes, std::uint32_t mode, const Identity& as) {
    const GetCall look{.name = {Kind::kSegment, kKey}, .mode = mode, .size = bytes};
    const auto result = sun_->segments->look(segment, look, as);
    return result ? Error::kNone : result.error();
  };
  EXPECT_EQ(looked(5000, 0600, kAlice), Error::kNone);
  EXPECT_EQ(looked(5001, 0, kAlice), Error::kInvalid);
  EXPECT_EQ(looked(5001, 0600, kBob), Error::kInvalid) << "before permissions are looked at";
  EXPECT_EQ(looked(0, 0600, kBob), Error::kAccess);
  EXPECT_EQ(looked(0, 0, kBob), Error::kNone) << "who asks for nothing gets the id";
}

TEST_F(OwnedSegmentsTest, PagesAreThoseOfTheHostWithTheLargest) {
  add("atari", 8192);
  const ObjectRef segment = make(*sun_, 3 * 4096);
  EXPECT_EQ(sun_->segments->owned().shape(segment)->unit_bytes, 8192u);
}

TEST_F(OwnedSegmentsTest, ALoginThatHasMadeEnoughSegmentsGetsENOSPCAndNobodyElseNotices) {
  segments_per_login_ = 2;
  Host& mars = add("mars");
  const auto made = [&](const Identity& as) {
    const GetCall call{.name = {Kind::kSegment, kKey}, .create = true, .exclusive = true, .mode = 0666, .size = 1};
    const auto segment = mars.segments->make(call, ++generations_, as, "mars", 77);
    if (!segment) return segment.error();
    const ObjectRef ref{Kind::kSegment, segment->id, generations_};
    EXPECT_EQ(attach(mars, mars, ref), Error::kNone);
    EXPECT_EQ(control(mars, ref, ControlCommand::kRemove), Error::kNone);  // its memory stays, the key is free
    return Error::kNone;
  };
  EXPECT_EQ(made(kAlice), Error::kNone);
  EXPECT_EQ(made(kAlice), Error::kNone);
  EXPECT_EQ(made(kAlice), Error::kNoSpace);
  EXPECT_EQ(made(kBob), Error::kNone);
  mars.pagers.front()->detach();
  until([&] { return mars.segments->owned().views().size() == 2; });
  EXPECT_EQ(made(kAlice), Error::kNone);
}

TEST_F(OwnedSegmentsTest, AHostThatHasMadeEnoughSegmentsGetsENOSPCAndNobodyElseNotices) {
  segments_per_peer_ = 2;
  Host& mars = add("mars");
  uid_t uid = 1000;
  const auto made = [&](const std::string& by) {
    GetCall call{.name = {Kind::kSegment, 0}, .create = true, .exclusive = true, .mode = 0666, .size = 1};
    const auto segment = mars.segments->make(call, ++generations_, Identity{++uid, 1000, {}}, by, 77);
    return segment ? Error::kNone : segment.error();
  };
  EXPECT_EQ(made("moon"), Error::kNone);
  EXPECT_EQ(made("moon"), Error::kNone);
  testing::internal::CaptureStderr();
  EXPECT_EQ(made("moon"), Error::kNoSpace) << "whichever login it is";
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              HasSubstr("moon has made 2 segments that live here (limits.segments_per_peer)"));
  EXPECT_EQ(made("earth"), Error::kNone);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(made("mars"), Error::kNone) << "its own programs";
}

TEST_F(OwnedSegmentsTest, AHostWithLargerPagesThanTheSegmentsIsRefused) {
  const ObjectRef segment = make(*sun_, 4096);
  add("atari", 8192);
  const SegmentAttach body{.object = segment, .read_only = false, .page_bytes = 8192};
  testing::internal::CaptureStderr();
  EXPECT_EQ(sun_->segments->call("atari", kRoot, 1, body).error, Error::kInvalid);
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("atari has larger ones (8192)"));
  EXPECT_EQ(stat(*sun_, segment).attachments, 0u);
}

}  // namespace
}  // namespace dipc::test
