#include "daemon/core/page_cache.h"

#include <algorithm>

#include "daemon/core/segment_pages.h"
#include "wire/check.h"

namespace dipc {
namespace {

// Of one page, of what the owner has said. It says the next thing when the one before is answered, besides a few at the
// death of the host that was to get the page.
constexpr std::size_t kWaitingMax = 100;
constexpr std::uint32_t kReadAheadFirst = 4;  // pages, at the second fault in a row; doubled at each further one

}  // namespace

PageCache::PageCache(PageCacheOptions options, std::set<HostId> peers) : options_(options), peers_(std::move(peers)) {
  DIPC_CHECK(options_.page_count > 0 && options_.page_count < kNowhere);
}

// ---- programs

void PageCache::on_fault(TimePoint now, PageIndex index, PageAccess access) {
  const auto number = static_cast<std::uint32_t>(index);
  DIPC_CHECK(number < options_.page_count);
  if (ending_ || attachments_ == 0) return;
  const auto found = pages_.try_emplace(index).first;
  Page& page = found->second;
  const bool read = access == PageAccess::kRead;
  const bool first = read && page.access == Access::kInvalid && page.work == Work::kNone &&
                     page.asked == Asked::kNothing && !page.grant;
  const bool on_its_way = read && page.asked == Asked::kAhead;
  (read ? page.wants_read : page.wants_write) = true;
  advance(now, found);
  if (first) {
    const bool in_a_row = number == ahead_end_;
    const std::uint32_t window = ahead_window_ == 0 ? kReadAheadFirst : 2 * ahead_window_;
    ahead_window_ = in_a_row ? std::min(window, options_.read_ahead_max) : 0;
    ahead_end_ = number + 1;
    ask_ahead(ahead_end_);
  } else if (on_its_way && number < ahead_end_ && ahead_end_ - number <= ahead_window_ / 2) {
    // The program is faster than the pages come: more of them at once.
    ahead_window_ = std::min(2 * ahead_window_, options_.read_ahead_max);
    ask_ahead(ahead_end_);
  }
}

// Those pages from `first` that nothing is known of.
void PageCache::ask_ahead(std::uint32_t first) {
  if (resuming()) return;
  std::uint32_t count = 0;
  while (count < ahead_window_ && first + count < options_.page_count) {
    const auto [page, is_new] = pages_.try_emplace(PageIndex{first + count});
    if (!is_new) break;
    page->second.asked = Asked::kAhead;
    ++count;
  }
  if (count == 0) return;
  ahead_end_ = first + count;
  tell(AskAhead{PageIndex{first}, count});
}

void PageCache::on_attached(TimePoint) {
  if (!ending_) ++attachments_;
}

void PageCache::on_forked(TimePoint, std::uint32_t count) {
  if (ending_) return;
  attachments_ += count;
  if (!resuming() || told_held_) tell(SegmentAttached{count});
}

void PageCache::on_detached(TimePoint now, std::uint32_t count) {
  if (ending_) return;
  DIPC_CHECK(count <= attachments_);
  attachments_ -= count;
  if (!resuming() || told_held_) tell(SegmentDetached{count});
  if (attachments_ == 0) advance_all(now);
}

// ---- the pager

void PageCache::on_done(TimePoint now, PageIndex index) {
  if (ending_) return;
  const auto found = pages_.find(index);
  DIPC_CHECK(found != pages_.end());
  Page& page = found->second;
  const Work work = std::exchange(page.work, Work::kNone);
  switch (work) {
    case Work::kInstall:
    case Work::kUpgrade:
      installed(now, index, page, page.grant->access == PageAccess::kWrite ? Access::kExclusive : Access::kShared);
      break;
    case Work::kRestore:
      page.access = Access::kShared;
      if (page.wants_read || page.wants_write) hold_from(now, page);
      break;
    case Work::kDrop:
      page.access = Access::kInvalid;
      tell(PageDropped{index, page.dropping_for});
      break;
    case Work::kMarkLost:
      page.access = Access::kLost;
      break;
    case Work::kRead:
    case Work::kNone:
      DIPC_CHECK(false);
  }
  advance(now, found);
  tell_if_at_rest();
}

void PageCache::on_contents(TimePoint now, PageIndex index, PageContents contents) {
  if (ending_) return;
  const auto found = pages_.find(index);
  DIPC_CHECK(found != pages_.end());
  Page& page = found->second;
  DIPC_CHECK(page.work == Work::kRead && contents != nullptr);
  page.work = Work::kNone;
  page.access = page.fetch.drop ? Access::kInvalid : Access::kShared;
  send_copy(index, page.fetch, contents);
  if (page.fetch.drop) {
    page.kept = std::move(contents);
    page.kept_for = page.fetch.transaction;
  }
  advance(now, found);
  tell_if_at_rest();
}

void PageCache::on_failed(TimePoint now, PageIndex index) {
  if (ending_) return;
  Page& page = pages_.at(index);
  const Work work = std::exchange(page.work, Work::kNone);
  DIPC_CHECK(work != Work::kNone);
  page.access = Access::kLost;
  if (work == Work::kInstall || work == Work::kUpgrade) {
    tell(PageFailed{index, page.grant->transaction});
    forget_request(index, page);
  } else if (work == Work::kDrop) {
    tell(PageDropped{index, page.dropping_for});
  } else if (work != Work::kMarkLost) {
    tell(PageFailed{index, work == Work::kRead ? page.fetch.transaction : TransactionNumber{}});
  }
  advance(now, index);
  tell_if_at_rest();
}

void PageCache::on_all_lost(TimePoint) {
  DIPC_CHECK(ending_);
  if (!destroyed_) actions_.emplace_back(Cleared{});
  actions_.emplace_back(Finished{});
}

// ---- other hosts

void PageCache::on_message(TimePoint now, const OwnerPageMessage& message) {
  if (ending_ || accused_) return;
  if (const auto* data = std::get_if<PageData>(&message)) return on_data(now, options_.owner, *data);
  if (std::holds_alternative<SegmentDestroyed>(message)) return lose_all(true);
  if (std::holds_alternative<SegmentRefused>(message)) return lose_all(false);
  if (std::holds_alternative<SegmentResumed>(message)) return resume(now);
  const std::optional<PageIndex> index = page_of(message);
  if (!index && attachments_ != 0) return lose_all(true);  // dismissed while programs use it: no owner of ours does so
  if (!index) {                                            // SegmentDismissed
    ending_ = true;
    actions_.emplace_back(Finished{});
    return;
  }
  const auto found = pages_.try_emplace(*index).first;
  Page& page = found->second;
  if (page.waiting.size() >= kWaitingMax && options_.owner != options_.self) {
    return accuse("it says more and more of a page and waits for no answer");
  }
  page.waiting.push_back(message);
  advance(now, found);
}

void PageCache::on_data(TimePoint now, HostId from, const PageData& data) {
  const auto found = pages_.find(data.page);
  if (ending_ || found == pages_.end()) return;
  Page& page = found->second;
  if (page.asked == Asked::kNothing && !page.grant && page.waiting.empty()) return;
  page.early[from] = data;
  if (page.grant && page.work == Work::kNone) try_grant(data.page, page);
  advance(now, found);
}

void PageCache::on_peer(TimePoint, HostId peer) {
  peers_.insert(peer);
  tell_if_at_rest();
  for (auto& [index, page] : pages_) {
    if (page.asked != Asked::kNothing) page.new_peers.insert(peer);
  }
}

void PageCache::on_peer_lost(TimePoint now, HostId peer) {
  peers_.erase(peer);
  const std::set<PageIndex> starved = starved_;
  for (const PageIndex index : starved) {
    Page& page = pages_.at(index);
    if (page.grant->holder == peer) no_data(index, page);
    advance(now, index);
  }
}

void PageCache::on_owner_lost(TimePoint) { lose_all(false); }

void PageCache::accuse(std::string text) {
  accused_ = true;
  Misbehaved out{std::move(text)};
  actions_.emplace_back(std::move(out));
}

void PageCache::lose_all(bool destroyed) {
  if (ending_) return;
  ending_ = true;
  destroyed_ = destroyed;
  attachments_ = 0;
  pages_.clear();
  starved_.clear();
  holds_.clear();
  actions_.emplace_back(LoseAll{});
}

// ---- time

void PageCache::on_time(TimePoint now) {
  if (resume_deadline() <= now) return lose_all(false);
  while (!holds_.empty() && holds_.begin()->first <= now) {
    const PageIndex index = holds_.begin()->second;
    holds_.erase(holds_.begin());
    advance(now, index);
  }
}

TimePoint PageCache::deadline() const {
  const TimePoint hold = holds_.empty() ? kNever : holds_.begin()->first;
  return std::min(hold, resume_deadline());
}

// ---- one page

// What the owner has said, as far as it can be done now, then what the programs want.
void PageCache::advance(TimePoint now, PageIndex index) {
  if (const auto found = pages_.find(index); found != pages_.end()) advance(now, found);
}

void PageCache::advance_all(TimePoint now) {
  std::vector<PageIndex> all;  // pages go meanwhile
  for (const auto& [index, page] : pages_) all.push_back(index);
  for (const PageIndex index : all) advance(now, index);
}

void PageCache::advance(TimePoint now, Pages::iterator found) {
  const PageIndex index = found->first;
  Page& page = found->second;
  while (page.work == Work::kNone && !page.waiting.empty() && !must_wait(now, index, page)) {
    const OwnerPageMessage message = std::move(page.waiting.front());
    page.waiting.pop_front();
    on(now, index, page, message);
  }
  if (page.work != Work::kNone) return;
  look_after_programs(index, page);
  if (page.asked != Asked::kNothing || page.grant || !page.waiting.empty()) return;
  page.early.clear();
  if (page.wants_read || page.wants_write) return;  // to be asked for when the owner is back
  if (page.access == Access::kInvalid && page.kept == nullptr) pages_.erase(found);
}

bool PageCache::must_wait(TimePoint now, PageIndex index, const Page& page) {
  if (now >= page.held_until) return false;
  const auto* fetch = std::get_if<FetchPage>(&page.waiting.front());
  const bool takes = std::holds_alternative<InvalidatePage>(page.waiting.front()) ||
                     (fetch != nullptr && (fetch->drop || page.access == Access::kExclusive));
  if (!takes || (page.access != Access::kShared && page.access != Access::kExclusive)) return false;
  holds_.emplace(page.held_until, index);
  return true;
}

void PageCache::on(TimePoint now, PageIndex index, Page& page, const OwnerPageMessage& message) {
  if (const auto* grant = std::get_if<PageGrant>(&message)) return on(now, index, page, *grant);
  if (const auto* fetch = std::get_if<FetchPage>(&message)) return on(index, page, *fetch);
  if (const auto* invalidate = std::get_if<InvalidatePage>(&message)) return on(index, page, *invalidate);
  if (const auto* gone = std::get_if<HolderGone>(&message)) {
    if (page.grant && page.grant->transaction == gone->transaction) no_data(index, page);
  } else if (const auto* release = std::get_if<ReleasePage>(&message)) {
    if (page.kept_for == release->transaction) page.kept.reset();
  } else if (const auto* restore = std::get_if<RestorePage>(&message)) {
    if (page.kept == nullptr || page.kept_for != restore->transaction) return;
    page.work = Work::kRestore;
    Install install{index, std::exchange(page.kept, nullptr), false};
    actions_.emplace_back(std::move(install));
  } else if (std::holds_alternative<PageDeclined>(message)) {
    forget_request(index, page);
  } else if (std::holds_alternative<PageLost>(message)) {
    forget_request(index, page);
    page.wants_read = page.wants_write = false;
    page.work = Work::kMarkLost;
    actions_.emplace_back(MarkLost{index});
  }
}

void PageCache::on(TimePoint now, PageIndex index, Page& page, const PageGrant& grant) {
  const bool is_asked = grant.answers ? page.asked != Asked::kNothing : options_.owner == options_.self;
  if (!is_asked) return accuse("it grants a page that nobody has asked for");
  page.grant = grant;
  const bool has = page.access == Access::kShared || page.access == Access::kExclusive;
  if (page.access == Access::kLost || has != (grant.origin == PageOrigin::kHeld)) {
    tell(PageFailed{index, grant.transaction});
    forget_request(index, page);
  } else if (grant.access == PageAccess::kWrite && page.access == Access::kShared) {
    page.wants_read = page.wants_write = false;
    page.work = Work::kUpgrade;
    actions_.emplace_back(Upgrade{index});
  } else if (has) {
    installed(now, index, page, page.access);
  } else {
    try_grant(index, page);
  }
}

// The page can be filled if its contents are there.
void PageCache::try_grant(PageIndex index, Page& page) {
  const PageGrant& grant = *page.grant;
  Install install{index, nullptr, grant.access == PageAccess::kWrite};
  if (grant.origin == PageOrigin::kHolder) {
    for (const HostId from : {grant.holder, options_.owner}) {
      const auto data = page.early.find(from);
      if (data == page.early.end() || data->second.transaction != grant.transaction) continue;
      install.contents = data->second.contents;
    }
    if (install.contents == nullptr) {
      starved_.insert(index);
      const bool same_session = peers_.count(grant.holder) != 0 && page.new_peers.count(grant.holder) == 0;
      if (grant.holder != options_.owner && !same_session) no_data(index, page);
      return;
    }
  }
  starved_.erase(index);
  if (page.wants_read || page.wants_write) page.grant->hold = true;  // also for what was read ahead, now
  page.wants_read = false;
  if (install.writable) page.wants_write = false;
  page.work = Work::kInstall;
  actions_.emplace_back(std::move(install));
}

// The request stays: the owner begins again.
void PageCache::no_data(PageIndex index, Page& page) {
  tell(NoPageData{index, page.grant->transaction});
  page.grant.reset();
  page.early.clear();
  page.new_peers.clear();
  starved_.erase(index);
}

void PageCache::forget_request(PageIndex index, Page& page) {
  if (!page.grant || page.grant->answers) page.asked = Asked::kNothing;
  page.grant.reset();
  page.early.clear();
  page.new_peers.clear();
  starved_.erase(index);
}

void PageCache::installed(TimePoint now, PageIndex index, Page& page, Access access) {
  page.access = access;
  page.held_until = TimePoint{};
  if (page.grant->hold) hold_from(now, page);
  tell(PageInstalled{index, page.grant->transaction});
  forget_request(index, page);
}

void PageCache::hold_from(TimePoint now, Page& page) const {
  page.held_until = now + std::max(options_.hold_time, options_.hold_floor);
}

void PageCache::on(PageIndex index, Page& page, const FetchPage& fetch) {
  if (page.access == Access::kShared || page.access == Access::kExclusive) {
    page.work = Work::kRead;
    page.fetch = fetch;
    actions_.emplace_back(ProtectAndRead{index, fetch.drop});
  } else if (page.kept != nullptr) {
    page.kept_for = fetch.transaction;
    send_copy(index, fetch, page.kept);
  } else {
    tell(PageFailed{index, fetch.transaction});
  }
}

void PageCache::on(PageIndex index, Page& page, const InvalidatePage& message) {
  if (page.access == Access::kShared || page.access == Access::kExclusive) {
    page.work = Work::kDrop;
    page.dropping_for = message.transaction;
    actions_.emplace_back(Drop{index});
  } else {
    tell(PageDropped{index, message.transaction});
  }
}

void PageCache::send_copy(PageIndex index, const FetchPage& fetch, const PageContents& contents) {
  if (resuming()) return;  // who was to get it has forgotten that
  const bool direct = fetch.requester == options_.owner || peers_.count(fetch.requester) != 0;
  if (fetch.through_owner || !direct) {
    tell(RelayedPage{index, fetch.transaction, contents});
  } else {
    SendData out{fetch.requester, PageData{index, fetch.transaction, contents}};
    actions_.emplace_back(std::move(out));
  }
}

void PageCache::look_after_programs(PageIndex index, Page& page) {
  if (attachments_ == 0) page.wants_read = page.wants_write = false;
  const bool lost = page.access == Access::kLost;
  const bool writable = lost || page.access == Access::kExclusive;
  const bool readable = writable || page.access == Access::kShared;
  if ((readable && page.wants_read) || (writable && page.wants_write)) actions_.emplace_back(Wake{index});
  if (readable) page.wants_read = false;
  if (writable) page.wants_write = false;
  if ((!page.wants_read && !page.wants_write) || page.asked != Asked::kNothing || page.grant || resuming()) return;
  page.asked = Asked::kPage;
  tell(PageRequest{index, page.wants_write ? PageAccess::kWrite : PageAccess::kRead});
}

PageCache::Access PageCache::access(PageIndex index) const {
  const auto page = pages_.find(index);
  return page == pages_.end() ? Access::kInvalid : page->second.access;
}

bool PageCache::idle() const {
  for (const auto& [index, page] : pages_) {
    if (page.work != Work::kNone || page.asked != Asked::kNothing || page.grant || !page.waiting.empty() || page.kept) {
      return false;
    }
  }
  return true;
}

}  // namespace dipc
