#include "daemon/core/page_runs.h"

#include <gtest/gtest.h>

#include <vector>

namespace dipc {
namespace {

const ObjectRef kSegment{Kind::kSegment, 7, 8};

PageContents page_of(std::size_t bytes) { return std::make_shared<const Bytes>(bytes, std::byte{1}); }
PageInstalled installed(std::uint32_t page, std::uint64_t transaction) {
  return {PageIndex{page}, TransactionNumber{transaction}};
}
PeerMessage report(HostPageMessage message) { return SegmentReport{kSegment, std::move(message), 0}; }
PeerMessage grant(std::uint32_t page, std::uint64_t transaction, const std::string& holder, PageAccess access) {
  return SegmentOrder{kSegment, PageGrant{PageIndex{page}, TransactionNumber{transaction}, access, PageOrigin::kHolder},
                      holder};
}
PeerMessage held(std::uint32_t page, std::uint64_t transaction, std::size_t bytes) {
  return HeldPage{"vax", kSegment, {PageIndex{page}, TransactionNumber{transaction}, page_of(bytes)}, {}};
}

TEST(PageRuns, WhatIsSaidOfPagesInARowIsOneMessageAndTakenApartTheSame) {
  PeerMessage joined = report(installed(5, 100));
  ASSERT_TRUE(join(joined, report(installed(6, 101))));
  ASSERT_TRUE(join(joined, report(installed(7, 102))));
  std::vector<HostPageMessage> apart;
  take_apart(std::get<SegmentReport>(joined), [&](const HostPageMessage& message) { apart.push_back(message); });
  EXPECT_EQ(apart, (std::vector<HostPageMessage>{installed(5, 100), installed(6, 101), installed(7, 102)}));
}

TEST(PageRuns, NothingElseIsJoined) {
  PeerMessage joined = report(installed(5, 100));
  for (const PeerMessage& other :
       {report(installed(7, 101)), report(installed(6, 102)), report(installed(5, 100)), report(installed(4, 99)),
        report(PageDropped{PageIndex{6}, TransactionNumber{101}}), report(SegmentDetached{1}),
        PeerMessage(SegmentReport{{Kind::kSegment, 7, 9}, installed(6, 101), 0}),
        PeerMessage(SegmentReport{kSegment, installed(6, 101), 1}), held(6, 101, 4096), PeerMessage(Cancel{})}) {
    EXPECT_FALSE(join(joined, other));
  }
  EXPECT_EQ(joined, report(installed(5, 100)));
  PeerMessage detached = report(SegmentDetached{1});
  EXPECT_FALSE(join(detached, report(SegmentDetached{1}))) << "that is two";
  PeerMessage relayed = report(RelayedPage{PageIndex{1}, TransactionNumber{1}, page_of(4096)});
  EXPECT_FALSE(join(relayed, report(RelayedPage{PageIndex{2}, TransactionNumber{2}, page_of(4096)})));
}

TEST(PageRuns, GrantsOfOneHolderAndOneKindAreJoined) {
  PeerMessage joined = grant(1, 1, "vax", PageAccess::kRead);
  EXPECT_FALSE(join(joined, grant(2, 2, "sun", PageAccess::kRead)));
  EXPECT_FALSE(join(joined, grant(2, 2, "vax", PageAccess::kWrite)));
  EXPECT_TRUE(join(joined, grant(2, 2, "vax", PageAccess::kRead)));
}

TEST(PageRuns, OneMessageSpeaksOfSoManyPagesAndNoMore) {
  PeerMessage joined = report(installed(0, 1));
  for (std::uint32_t page = 1; page < kPagesAtOnceMax; ++page)
    ASSERT_TRUE(join(joined, report(installed(page, page + 1))));
  EXPECT_FALSE(join(joined, report(installed(kPagesAtOnceMax, kPagesAtOnceMax + 1))));
  EXPECT_EQ(std::get<SegmentReport>(joined).run, kPagesAtOnceMax);
}

TEST(PageRuns, ContentsOfPagesAreJoinedAsFarAsOneMessageShouldBeLarge) {
  PeerMessage joined = held(0, 1, 4096);
  EXPECT_FALSE(join(joined, held(1, 2, 8192)));
  std::uint32_t page = 1;
  while (join(joined, held(page, page + 1, 4096))) ++page;
  EXPECT_EQ(page * 4096, kRunBytesMax);
  std::uint32_t next = 0;
  take_apart(std::get<HeldPage>(joined), [&](const PageData& data) {
    EXPECT_EQ(data, (PageData{PageIndex{next}, TransactionNumber{next + 1}, page_of(4096)}));
    ++next;
  });
  EXPECT_EQ(next, page);
  PeerMessage large = held(0, 1, kUnitBytesMax);
  EXPECT_FALSE(join(large, held(1, 2, kUnitBytesMax)));
}

}  // namespace
}  // namespace dipc
