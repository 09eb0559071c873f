#pragma once

// What the hosts of one distributed segment say to each other about its pages, as plain values; page_directory.h (the
// owner) and page_cache.h (every host) say who answers what. Every message about a page carries the page, and the
// number of the transaction that it belongs to if there is one. Between owner and host they travel on the session of
// the two, in order; between a holder and a requester on the session of these two, in no order with the rest.
// SegmentReport, SegmentOrder and HeldPage at the end of messages.h are how they travel: with the segment, and with
// host names for HostIds.

#include <bit>
#include <cstdint>
#include <variant>

#include "wire/page_contents.h"

namespace dipc {

// A host that takes part in a segment; the daemon translates to names. The segment's owner has one too.
enum class HostId : std::uint32_t {};
// The segment's pages from 0; with `unit = segment` there is page 0 alone.
enum class PageIndex : std::uint32_t {};
// Chosen by the owner, unique within the life of a segment, growing; 0 is none.
enum class TransactionNumber : std::uint64_t {};

// The longest unit, so that one page fits well into one record. With `unit = segment` a segment can't be larger.
inline constexpr std::uint32_t kUnitBytesMax = 16u << 20;

// A segment has no more of them.
inline constexpr std::uint32_t kPagesMax = 1u << 30;

// So many pages are asked for ahead, or spoken of by one message, at most.
inline constexpr std::uint32_t kPagesAtOnceMax = 256;

// Of the machines that Linux runs on.
inline constexpr std::uint32_t kHostPageBytesMin = 4096;
inline constexpr std::uint32_t kHostPageBytesMax = 65536;
constexpr bool is_page_size(std::uint32_t bytes) {
  return bytes >= kHostPageBytesMin && bytes <= kHostPageBytesMax && std::has_single_bit(bytes);
}

enum class PageAccess : std::uint8_t { kRead, kWrite };

// ---- host -> owner

// A program of the host has touched the page. One at a time for each page; answered by Grant or PageLost.
struct PageRequest {
  PageIndex page{};
  PageAccess access{};
  bool operator==(const PageRequest&) const = default;
};
// Read access to `count` pages, kPagesAtOnceMax at most, if that takes nothing from anybody; answered for each by
// Grant, PageDeclined or PageLost.
struct AskAhead {
  PageIndex first{};
  std::uint32_t count = 0;
  bool operator==(const AskAhead&) const = default;
};
// The Grant is carried out, the programs have the page.
struct PageInstalled {
  PageIndex page{};
  TransactionNumber transaction{};
  bool operator==(const PageInstalled&) const = default;
};
// The Grant can't be carried out, no data will be taken for it any more: the session with the holder died, or the owner
// said HolderGone. The owner begins again, with another transaction.
struct NoPageData {
  PageIndex page{};
  TransactionNumber transaction{};
  bool operator==(const NoPageData&) const = default;
};
// The answer to Invalidate: no program of the host reads the page any more.
struct PageDropped {
  PageIndex page{};
  TransactionNumber transaction{};
  bool operator==(const PageDropped&) const = default;
};
// The data, for the owner to pass on to the requester: the answer to a Fetch that says so, or if there is no session.
struct RelayedPage {
  PageIndex page{};
  TransactionNumber transaction{};
  PageContents contents;
  bool operator==(const RelayedPage& other) const {
    return page == other.page && transaction == other.transaction && contents.is_same(other.contents);
  }
};
// The pager could not do it: the page is lost on this host, its copy (if it had one) is gone.
struct PageFailed {
  PageIndex page{};
  TransactionNumber transaction{};
  bool operator==(const PageFailed&) const = default;
};
// The host's programs have the segment attached so many times more (fork) or less (shmdt, exit). shmat is a call,
// counted by the owner when it answers.
struct SegmentAttached {
  std::uint32_t count = 0;
  bool operator==(const SegmentAttached&) const = default;
};
struct SegmentDetached {
  std::uint32_t count = 0;
  bool operator==(const SegmentDetached&) const = default;
};
// After a session with the owner has ended, in a later one: the host's programs can reach nothing of the segment.
struct SegmentCleared {
  bool operator==(const SegmentCleared&) const = default;
};

// First in the session after one of the two daemons was started again, of pages that the host's programs still have:
// `count` of them with that access.
struct PagesHeld {
  PageIndex page{};
  std::uint32_t count = 0;
  PageAccess access{};
  bool operator==(const PagesHeld&) const = default;
};
// Likewise: it was given away in that transaction, and nothing was heard of it since. Only if it was the owner's
// daemon.
struct PageKept {
  PageIndex page{};
  TransactionNumber transaction{};
  bool operator==(const PageKept&) const = default;
};
// That was all of them. Answered by SegmentResumed or SegmentRefused; nothing else is said until then but
// SegmentAttached and SegmentDetached.
struct SegmentHeld {
  std::uint32_t attachments = 0;
  bool operator==(const SegmentHeld&) const = default;
};

using HostPageMessage =
    std::variant<PageRequest, AskAhead, PageInstalled, NoPageData, PageDropped, RelayedPage, PageFailed,
                 SegmentAttached, SegmentDetached, SegmentCleared, PagesHeld, SegmentHeld, PageKept>;

// ---- owner -> host

enum class PageOrigin : std::uint8_t {
  kHeld,    // the host has it already
  kZero,    // nobody has written to it yet
  kHolder,  // `holder` sends it: PageData
};
// Answered by PageInstalled, NoPageData or PageFailed.
struct PageGrant {
  PageIndex page{};
  TransactionNumber transaction{};
  PageAccess access{};
  PageOrigin origin{};
  HostId holder{};
  bool hold = true;     // hold_time applies: a program has asked for it
  bool answers = true;  // what the host has asked; false: nobody uses the page, the owner's host is to store it
  bool operator==(const PageGrant&) const = default;
};
struct PageDeclined {
  PageIndex page{};
  bool operator==(const PageDeclined&) const = default;
};
// The page was lost with the host that had it.
struct PageLost {
  PageIndex page{};
  bool operator==(const PageLost&) const = default;
};
// Send the page to `requester`. `drop`: take it from the programs first, and keep a copy until ReleasePage or
// RestorePage; else they go on reading. `through_owner`: as RelayedPage. Answered by the data, or PageFailed.
struct FetchPage {
  PageIndex page{};
  TransactionNumber transaction{};
  HostId requester{};
  bool drop = false;
  bool through_owner = false;
  bool operator==(const FetchPage&) const = default;
};
struct InvalidatePage {
  PageIndex page{};
  TransactionNumber transaction{};
  bool operator==(const InvalidatePage&) const = default;
};
// The requester has the page: the kept copy can go.
struct ReleasePage {
  PageIndex page{};
  TransactionNumber transaction{};
  bool operator==(const ReleasePage&) const = default;
};
// The requester is gone and never had the page: the kept copy is the page, to be read.
struct RestorePage {
  PageIndex page{};
  TransactionNumber transaction{};
  bool operator==(const RestorePage&) const = default;
};
// The holder's session with the owner ended: if its data is not there, it may never come. Answered by NoPageData, or
// crosses with PageInstalled.
struct HolderGone {
  PageIndex page{};
  TransactionNumber transaction{};
  bool operator==(const HolderGone&) const = default;
};
// No attachment and no page is left on the host: it can forget the segment.
struct SegmentDismissed {
  bool operator==(const SegmentDismissed&) const = default;
};
// The segment was removed and its last attachment is gone.
struct SegmentDestroyed {
  bool operator==(const SegmentDestroyed&) const = default;
};

// The answers to SegmentHeld: the host takes part as before; or it counts as lost and is to take all from its programs.
struct SegmentResumed {
  bool operator==(const SegmentResumed&) const = default;
};
struct SegmentRefused {
  bool operator==(const SegmentRefused&) const = default;
};

// The data of a page: holder -> requester, or passed on by the owner.
struct PageData {
  PageIndex page{};
  TransactionNumber transaction{};
  PageContents contents;
  bool operator==(const PageData& other) const {
    return page == other.page && transaction == other.transaction && contents.is_same(other.contents);
  }
};

using OwnerPageMessage =
    std::variant<PageGrant, PageDeclined, PageLost, FetchPage, InvalidatePage, ReleasePage, RestorePage, HolderGone,
                 SegmentDismissed, SegmentDestroyed, PageData, SegmentResumed, SegmentRefused>;

}  // namespace dipc
