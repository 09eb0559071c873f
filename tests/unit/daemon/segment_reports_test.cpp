#include "daemon/segment_reports.h"

#include <gmock/gmock.h>

#include "tests/unit/daemon/three_hosts_fixture.h"

namespace dipc::test {
namespace {

using testing::ElementsAre;
using testing::Pair;
using testing::SizeIs;
using testing::UnorderedElementsAre;

constexpr PageIndex kLast{9};

class SegmentReportsTest : public ThreeHostsTest {
 protected:
  void SetUp() override {
    ThreeHostsTest::SetUp();
    if (IsSkipped()) return;
    segment_ = make(*sun_, 9 * 4096 + 1);
    for (Host* host : {moon_, earth_}) EXPECT_EQ(attach(*host, *sun_, segment_), Error::kNone);
  }
  PagesReport pages() {
    quiet();
    return report_pages(*sun_->segments, users_, segment_).value_or(PagesReport{});
  }

  ObjectRef segment_;
  Users users_;
};

TEST_F(SegmentReportsTest, SayOfEachPageWhoHasItAndWhoTookItFromWhom) {
  write(*moon_, kPage, 1);
  write(*earth_, kPage, 2);
  EXPECT_EQ(read(*moon_, kPage), 2);
  write(*earth_, kSecond, 3);
  const PagesReport report = pages();
  EXPECT_EQ(report.map, "rw........");
  EXPECT_EQ(report.cell_pages, 1u);
  ASSERT_THAT(report.pages, SizeIs(2));
  const PagesReport::Page& first = report.pages[0];
  EXPECT_EQ(first.page, 0u);
  EXPECT_EQ(first.state, "read");
  EXPECT_THAT(first.holders, UnorderedElementsAre("moon", "earth"));
  EXPECT_EQ(first.traffic,
            (PageTraffic{
                .faults = 3, .read_aheads = 0, .transfers = 2, .bytes_moved = 8192, .invalidations = 1, .bounces = 2}));
  EXPECT_THAT(first.bounces, ElementsAre(Pair("earth", 1), Pair("moon", 1)));
  EXPECT_EQ(report.pages[1].state, "written");
  EXPECT_THAT(report.pages[1].holders, ElementsAre("earth"));
  EXPECT_EQ(report.pages[1].traffic.bounces, 0u);
  EXPECT_EQ(report.hosts.at("earth").faults, 2u);
  EXPECT_EQ(report.hosts.at("moon").faults, 2u);
  EXPECT_EQ(report.hosts.at("moon").invalidations, 1u);
  EXPECT_EQ(report.hosts.at("earth").bytes_moved, 4096u);
}

TEST_F(SegmentReportsTest, ARowIsTheSumOfItsPages) {
  write(*moon_, kPage, 1);
  write(*earth_, kPage, 2);
  write(*earth_, kLast, 3);
  EXPECT_EQ(read(*moon_, kSecond), 0);
  quiet();
  const SegmentsReport report = report_segments(*sun_->segments, users_);
  ASSERT_THAT(report.rows, SizeIs(1));
  const SegmentsReport::Row& row = report.rows[0];
  EXPECT_EQ(row.key, kKey);
  EXPECT_EQ(row.id, segment_.id);
  EXPECT_EQ(row.bytes, 9u * 4096 + 1);
  EXPECT_EQ(row.page_bytes, 4096u);
  EXPECT_EQ(row.pages, 10u);
  EXPECT_EQ(row.attachments, 2u);
  EXPECT_EQ(row.written, 2u);
  EXPECT_EQ(row.read, 1u);
  EXPECT_EQ(row.lost, 0u);
  EXPECT_EQ(row.traffic.faults, 4u);
  EXPECT_EQ(row.traffic.transfers, 1u);
  EXPECT_EQ(row.traffic.bounces, 1u);
  EXPECT_EQ(row, pages().segment);
}

TEST_F(SegmentReportsTest, LostPagesAreSeen) {
  write(*earth_, kPage, 1);
  write(*moon_, kLast, 2);
  disconnect(*moon_, *sun_);
  const PagesReport report = pages();
  EXPECT_EQ(report.map, "w........!");
  EXPECT_EQ(report.segment.lost, 1u);
  EXPECT_EQ(report.segment.attachments, 1u);
}

TEST_F(SegmentReportsTest, ARemovedSegmentHasNoKeyToBeFoundBy) {
  EXPECT_EQ(segment_of_key(*sun_->segments, kKey), segment_);
  write(*moon_, kSecond, 1);
  EXPECT_EQ(control(*sun_, segment_, ControlCommand::kRemove), Error::kNone);
  EXPECT_FALSE(segment_of_key(*sun_->segments, kKey));
  EXPECT_TRUE(pages().segment.removed);
  EXPECT_EQ(pages().map, ".w........");
  ASSERT_THAT(report_segments(*sun_->segments, users_).rows, SizeIs(1));
  EXPECT_TRUE(report_segments(*sun_->segments, users_).rows[0].removed);
}

}  // namespace
}  // namespace dipc::test
