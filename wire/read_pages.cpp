// What is said of pages of shared memory.

#include <kj/debug.h>

#include <algorithm>

#include "wire/read_parts.h"

namespace dipc {
namespace {

// So many pages in one block.
PageContents::Block block(capnp::Data::Reader from) {
  auto made = PageContents::make_block(from.size());
  std::copy_n(reinterpret_cast<const std::byte*>(from.begin()), from.size(), made.get());
  return made;
}

PageContents contents(capnp::Data::Reader from) { return {block(from), 0, from.size()}; }

std::uint32_t run(std::uint32_t from) {
  KJ_REQUIRE(from >= 1 && from <= kPagesAtOnceMax, "no number of pages that one message can speak of", from);
  return from;
}

void read_origin(schema::SegmentOrder::Grant::Origin::Reader from, PageGrant& grant, std::string& holder) {
  switch (from.which()) {
    case schema::SegmentOrder::Grant::Origin::HELD:
      grant.origin = PageOrigin::kHeld;
      return;
    case schema::SegmentOrder::Grant::Origin::ZERO:
      grant.origin = PageOrigin::kZero;
      return;
    case schema::SegmentOrder::Grant::Origin::HOLDER:
      grant.origin = PageOrigin::kHolder;
      holder = string(from.getHolder());
      return;
  }
  KJ_FAIL_REQUIRE("unknown origin of a page", static_cast<unsigned>(from.which()));
}

}  // namespace

SegmentReport read(schema::SegmentReport::Reader from) {
  SegmentReport to;
  to.segment = read(from.getSegment(), Kind::kSegment);
  to.run = run(from.getRun());
  const PageIndex page{from.getPage()};
  const TransactionNumber transaction{from.getTransaction()};
  switch (from.which()) {
    case schema::SegmentReport::REQUEST:
      to.message = PageRequest{page, Accesses::to_plain(from.getRequest(), "access")};
      return to;
    case schema::SegmentReport::ASK_AHEAD:
      to.message = AskAhead{page, from.getAskAhead()};
      return to;
    case schema::SegmentReport::INSTALLED:
      to.message = PageInstalled{page, transaction};
      return to;
    case schema::SegmentReport::NO_DATA:
      to.message = NoPageData{page, transaction};
      return to;
    case schema::SegmentReport::DROPPED:
      to.message = PageDropped{page, transaction};
      return to;
    case schema::SegmentReport::RELAYED:
      to.message = RelayedPage{page, transaction, contents(from.getRelayed())};
      return to;
    case schema::SegmentReport::FAILED:
      to.message = PageFailed{page, transaction};
      return to;
    case schema::SegmentReport::ATTACHED:
      to.message = SegmentAttached{from.getAttached().getCount()};
      to.process = from.getAttached().getProcess();
      return to;
    case schema::SegmentReport::DETACHED:
      to.message = SegmentDetached{from.getDetached().getCount()};
      to.process = from.getDetached().getProcess();
      return to;
    case schema::SegmentReport::CLEARED:
      to.message = SegmentCleared{};
      return to;
    case schema::SegmentReport::HOLDS:
      to.message =
          PagesHeld{page, from.getHolds().getCount(), Accesses::to_plain(from.getHolds().getAccess(), "access")};
      return to;
    case schema::SegmentReport::HOLDS_ALL:
      to.message = SegmentHeld{from.getHoldsAll()};
      return to;
    case schema::SegmentReport::KEEPS:
      to.message = PageKept{page, transaction};
      return to;
  }
  KJ_FAIL_REQUIRE("unknown report about a segment", static_cast<unsigned>(from.which()));
}

SegmentOrder read(schema::SegmentOrder::Reader from) {
  SegmentOrder to;
  to.segment = read(from.getSegment(), Kind::kSegment);
  to.run = run(from.getRun());
  const PageIndex page{from.getPage()};
  const TransactionNumber transaction{from.getTransaction()};
  switch (from.which()) {
    case schema::SegmentOrder::GRANT: {
      PageGrant grant{.page = page, .transaction = transaction};
      grant.access = Accesses::to_plain(from.getGrant().getAccess(), "access");
      grant.hold = from.getGrant().getHold();
      grant.answers = from.getGrant().getAnswers();
      read_origin(from.getGrant().getOrigin(), grant, to.host);
      to.message = grant;
      return to;
    }
    case schema::SegmentOrder::DECLINED:
      to.message = PageDeclined{page};
      return to;
    case schema::SegmentOrder::LOST:
      to.message = PageLost{page};
      return to;
    case schema::SegmentOrder::FETCH:
      to.message = FetchPage{page, transaction, HostId{}, from.getFetch().getDrop(), from.getFetch().getThroughOwner()};
      to.host = string(from.getFetch().getRequester());
      return to;
    case schema::SegmentOrder::INVALIDATE:
      to.message = InvalidatePage{page, transaction};
      return to;
    case schema::SegmentOrder::RELEASE:
      to.message = ReleasePage{page, transaction};
      return to;
    case schema::SegmentOrder::RESTORE:
      to.message = RestorePage{page, transaction};
      return to;
    case schema::SegmentOrder::HOLDER_GONE:
      to.message = HolderGone{page, transaction};
      return to;
    case schema::SegmentOrder::DISMISSED:
      to.message = SegmentDismissed{};
      return to;
    case schema::SegmentOrder::DESTROYED:
      to.message = SegmentDestroyed{};
      return to;
    case schema::SegmentOrder::DATA:
      to.message = PageData{page, transaction, contents(from.getData())};
      return to;
    case schema::SegmentOrder::RESUMED:
      to.message = SegmentResumed{};
      return to;
    case schema::SegmentOrder::REFUSED:
      to.message = SegmentRefused{};
      return to;
  }
  KJ_FAIL_REQUIRE("unknown order about a segment", static_cast<unsigned>(from.which()));
}

HeldPage read(schema::HeldPage::Reader from) {
  const std::uint32_t pages = run(from.getRun());
  const auto data = from.getData();
  KJ_REQUIRE(data.size() % pages == 0, "pages of different sizes", data.size(), pages);
  const std::size_t page_bytes = data.size() / pages;
  const PageContents::Block all = block(data);
  HeldPage to{string(from.getOwner()),
              read(from.getSegment(), Kind::kSegment),
              PageData{PageIndex{from.getPage()}, TransactionNumber{from.getTransaction()}, {all, 0, page_bytes}},
              {}};
  to.more.reserve(pages - 1);
  for (std::uint32_t i = 1; i < pages; ++i) to.more.emplace_back(all, i * page_bytes, page_bytes);
  return to;
}

}  // namespace dipc
