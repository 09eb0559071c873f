#include "daemon/core/page_directory.h"

#include <algorithm>
#include <utility>

#include "wire/check.h"

namespace dipc {
namespace {

// Of one host at a time: enough to keep a connection busy, and the requests of others for other pages get between.
constexpr std::size_t kEvictionsAtOnce = 16;

std::string words(PageIndex page) { return "page " + std::to_string(static_cast<std::uint32_t>(page)); }

}  // namespace

PageDirectory::PageDirectory(PageDirectoryOptions options) : options_(options) {
  DIPC_CHECK(options_.page_count > 0);
  members_.emplace(options_.owner, Member{});
  changes_.members = true;
}

// ---- inputs

bool PageDirectory::on_attach(TimePoint now, HostId host, bool writable) {
  if (destroyed_) return false;
  if (silent(host)) on_host_lost(now, host);
  if (destroyed_) return false;
  if (members_.find(host) != members_.end() && !in_reach(host)) clear(host);
  Member& member = members_[host];
  ++member.attachments;
  member.may_write |= writable;
  changes_.members = true;
  leaving_.erase(host);
  continue_evictions();
  return true;
}

void PageDirectory::on_message(TimePoint now, HostId host, const HostPageMessage& message) {
  if (destroyed_) return;  // it crossed with SegmentDestroyed
  if (on_message_of_silent(now, host, message)) return;
  if (in_reach(host) == std::holds_alternative<SegmentCleared>(message)) {
    if (in_reach(host)) return accuse(host, "it takes part and says that it has nothing");
    return accuse(host, "it does not take part in the segment");
  }
  std::visit([this, host](const auto& what) { on(host, what); }, message);
  continue_evictions();
}

void PageDirectory::on_remove(TimePoint) {
  removed_ = true;
  destroy_if_unused();
}

void PageDirectory::on_time(TimePoint now) {
  std::vector<HostId> cleared;
  for (const auto& [host, member] : members_) {
    if (member.fence_end <= now) cleared.push_back(host);
  }
  std::vector<HostId> late;
  for (const auto& [host, member] : members_) {
    if (member.silent && member.silent_until <= now) late.push_back(host);
  }
  for (const HostId host : late) on_host_lost(now, host);
  if (destroyed_) return;
  for (const HostId host : cleared) clear(host);
  if (!cleared.empty()) continue_evictions();
}

TimePoint PageDirectory::deadline() const {
  TimePoint next = kNever;
  for (const auto& [host, member] : members_) {
    next = std::min({next, member.fence_end, member.silent ? member.silent_until : kNever});
  }
  return next;
}

std::vector<PageDirectory::Action> PageDirectory::take_actions() { return std::exchange(actions_, {}); }

// ---- what hosts say

void PageDirectory::on(HostId host, const PageRequest& message) {
  Member& member = members_.at(host);
  if (static_cast<std::uint32_t>(message.page) >= options_.page_count || member.attachments == 0) {
    return accuse(host, "it asks for " + words(message.page) + " and has not attached it");
  }
  if (message.access == PageAccess::kWrite && !member.may_write) {
    return accuse(host, "it asks to write to " + words(message.page) + " and may read only");
  }
  if (!member.requests.insert(message.page).second) return accuse(host, "it asks twice for " + words(message.page));
  Page& page = pages_[message.page];
  ++page.counts[host].faults;
  page.queue.push_back({host, message.access == PageAccess::kWrite ? Purpose::kWrite : Purpose::kRead});
  advance(message.page, page);
}

void PageDirectory::on(HostId host, const AskAhead& message) {
  Member& member = members_.at(host);
  const auto first = static_cast<std::uint32_t>(message.first);
  if (first > options_.page_count || message.count > options_.page_count - first || member.attachments == 0) {
    return accuse(host, "it asks ahead for pages that it has not attached");
  }
  if (message.count > kPagesAtOnceMax) return accuse(host, "it asks ahead for too many pages at once");
  for (std::uint32_t number = first; number < first + message.count; ++number) {
    const PageIndex index{number};
    if (!member.requests.insert(index).second) return accuse(host, "it asks twice for " + words(index));
    Page& page = pages_[index];
    if (page.lost || page.running || !page.queue.empty() || has_active_writer(page) || page.holders.count(host) != 0 ||
        page.unsettled || must_wait(page)) {
      member.requests.erase(index);
      send(host, PageDeclined{index});
      continue;
    }
    page.queue.push_back({host, Purpose::kAhead});
    advance(index, page);
  }
}

void PageDirectory::on(HostId host, const PageInstalled& message) {
  Transaction* transaction = granted_to(host, message.page, message.transaction);
  if (transaction == nullptr) return accuse(host, "it has installed " + words(message.page) + " without a grant");
  Page& page = pages_.at(message.page);
  PageCounts& counts = page.counts[host];
  const bool sent = transaction->origin == PageOrigin::kHolder;
  if (sent) {
    ++counts.transfers;
    counts.bytes_moved += options_.page_bytes;
    if (page.exclusive && transaction->request.purpose != Purpose::kEvict) ++counts.bounces;
  }
  if (transaction->request.purpose == Purpose::kAhead) ++counts.read_aheads;
  if (transaction->access == PageAccess::kWrite) {
    if (sent) {
      ++page.counts[transaction->holder].invalidations;
      remove_holder(message.page, page, transaction->holder);
      if (!transaction->holder_lost) send(transaction->holder, ReleasePage{message.page, message.transaction});
    }
    page.exclusive = true;
  } else if (sent) {
    page.exclusive = false;
  }
  add_holder(message.page, page, host);
  DIPC_CHECK(!page.exclusive || page.holders.size() == 1);
  end(message.page, page);
}

void PageDirectory::on(HostId host, const NoPageData& message) {
  Transaction* transaction = granted_to(host, message.page, message.transaction);
  if (transaction == nullptr || transaction->origin != PageOrigin::kHolder) {
    return accuse(host, "it misses data for " + words(message.page) + " that it was not to get");
  }
  Page& page = pages_.at(message.page);
  changed(message.page);
  Transaction failed = *std::exchange(page.running, std::nullopt);
  failed.request.through_owner = !failed.holder_lost;
  page.queue.push_front(failed.request);
  advance(message.page, page);
  lose_if_gone(message.page, page);
}

void PageDirectory::on(HostId host, const PageDropped& message) {
  Page* page = page_in(message.page, message.transaction);
  if (page == nullptr || page->running->awaited.erase(host) == 0) {
    return accuse(host, "it has dropped " + words(message.page) + " unasked");
  }
  ++page->counts[host].invalidations;
  remove_holder(message.page, *page, host);
  if (page->running->awaited.empty()) on_all_dropped(message.page, *page);
}

void PageDirectory::on(HostId host, const RelayedPage& message) {
  const Page* page = page_in(message.page, message.transaction);
  if (page == nullptr) return;  // the requester has died since
  const Transaction& transaction = *page->running;
  if (transaction.origin != PageOrigin::kHolder || transaction.holder != host) {
    return accuse(host, "it sends " + words(message.page) + " and was not asked");
  }
  if (transaction.requester_lost) return;
  send(transaction.requester, PageData{message.page, message.transaction, message.contents});
}

void PageDirectory::on(HostId host, const PageFailed& message) {
  if (Transaction* transaction = granted_to(host, message.page, message.transaction); transaction != nullptr) {
    Page& page = pages_.at(message.page);
    changed(message.page);
    const Transaction failed = *transaction;
    if (host == options_.owner) page.failed_here = true;
    if (failed.origin == PageOrigin::kHeld) remove_holder(message.page, page, host);
    if (failed.access == PageAccess::kWrite) {
      close(message.page, failed.request);
      page.running.reset();
      lose_with_writer(message.page, page, failed);
      return;
    }
    if (failed.origin == PageOrigin::kHolder) page.exclusive = false;
    end(message.page, page);
    return;
  }
  const auto found = pages_.find(message.page);
  if (found == pages_.end() || found->second.holders.count(host) == 0) return;
  Page& page = found->second;
  if (page.running && page.running->awaited.count(host) != 0) return;  // it answers that too
  if (page.unsettled) take_back_what_it_said(host, message.page);
  remove_holder(message.page, page, host);
  if (page.running && page.running->origin == PageOrigin::kHolder && page.running->holder == host) {
    lose_holder(message.page, page);
  }
  lose_if_gone(message.page, page);
}

void PageDirectory::on(HostId host, const SegmentAttached& message) {
  Member& member = members_.at(host);
  if (member.attachments == 0) return accuse(host, "more attachments where there are none");
  member.attachments += message.count;
  changes_.members = true;
}

void PageDirectory::on(HostId host, const SegmentDetached& message) {
  Member& member = members_.at(host);
  if (member.attachments < message.count) return accuse(host, "it detaches more than is attached");
  member.attachments -= message.count;
  changes_.members = true;
  if (member.attachments == 0 && host != options_.owner) leaving_.insert(host);
  destroy_if_unused();
}

void PageDirectory::on(HostId host, const SegmentCleared&) { clear(host); }

void PageDirectory::on(HostId host, const PagesHeld&) { accuse(host, "it says what it holds and was not asked"); }

void PageDirectory::on(HostId host, const SegmentHeld&) { accuse(host, "it says what it holds and was not asked"); }

void PageDirectory::on(HostId host, const PageKept&) { accuse(host, "it says what it keeps and was not asked"); }

// ---- hosts that come and go

void PageDirectory::on_host_cleared(TimePoint now, HostId host) {
  on_host_lost(now, host);
  if (destroyed_) return;
  clear(host);
  continue_evictions();
}

void PageDirectory::on_host_lost(TimePoint now, HostId host) {
  DIPC_CHECK(host != options_.owner);
  if (destroyed_ || (!in_reach(host) && !silent(host))) return;
  Member& member = members_.at(host);
  changes_.members = true;
  member.silent = false;
  member.told.clear();
  member.told_kept.clear();
  member.attachments = 0;
  member.fence_end = now + options_.fence;
  leaving_.erase(host);
  const std::set<PageIndex> requests = std::exchange(member.requests, {});
  const std::set<PageIndex> evictions = std::exchange(member.evictions, {});
  std::set<PageIndex> touched = member.held;
  for (const std::set<PageIndex>* more : {&requests, &evictions}) touched.insert(more->begin(), more->end());
  for (const PageIndex index : touched) {
    Page& page = pages_.at(index);
    const auto by_host = [host](const Request& request) { return request.host == host; };
    page.queue.erase(std::remove_if(page.queue.begin(), page.queue.end(), by_host), page.queue.end());
    if (page.unsettled) {
      on_never_said(host, index, page);
      continue;
    }
    if (page.running && page.running->gives && page.running->requester == host) lose_requester(index, page);
    if (page.running && page.running->origin == PageOrigin::kHolder && page.running->holder == host) {
      lose_holder(index, page);
    }
    lose_if_gone(index, page);
    advance(index, page);
  }
  destroy_if_unused();
  continue_evictions();
}

// It certainly has nothing any more.
void PageDirectory::clear(HostId host) {
  const auto member = members_.find(host);
  if (member == members_.end() || in_reach(host)) return;
  const std::set<PageIndex> held = member->second.held;
  for (const PageIndex index : held) {
    Page& page = pages_.at(index);
    remove_holder(index, page, host);
    if (page.unsettled) unsettled_.at(index).before.holders.erase(host);
    if (page.running && page.running->awaited.erase(host) != 0 && page.running->awaited.empty()) {
      on_all_dropped(index, page);
    }
    lose_if_gone(index, page);
  }
  members_.erase(host);
  changes_.members = true;
}

// Hosts without attachments give back what they have.
void PageDirectory::continue_evictions() {
  if (destroyed_) return;
  const std::set<HostId> leaving = leaving_;
  for (const HostId host : leaving) {
    Member& member = members_.at(host);
    std::vector<PageIndex> next;
    for (const PageIndex index : member.held) {
      if (next.size() + member.evictions.size() >= kEvictionsAtOnce) break;
      if (member.evictions.count(index) == 0) next.push_back(index);
    }
    for (const PageIndex index : next) {
      Page& page = pages_.at(index);
      member.evictions.insert(index);
      page.queue.push_back({host, Purpose::kEvict});
      advance(index, page);
    }
    if (!member.held.empty() || !member.requests.empty() || !member.evictions.empty()) continue;
    send(host, SegmentDismissed{});
    leaving_.erase(host);
    members_.erase(host);
    changes_.members = true;
  }
}

void PageDirectory::destroy_if_unused() {
  if (!removed_ || destroyed_ || attachments() != 0) return;
  for (const auto& [host, member] : members_) {
    if (in_reach(host)) send(host, SegmentDestroyed{});
  }
  destroyed_ = true;
  members_.clear();
  leaving_.clear();
  pages_.clear();
  unsettled_.clear();
  changes_ = {};
  actions_.emplace_back(Destroyed{});
}

// ---- small things

bool PageDirectory::in_reach(HostId host) const {
  const auto member = members_.find(host);
  return member != members_.end() && member->second.fence_end == kNever && !member->second.silent;
}

bool PageDirectory::silent(HostId host) const {
  const auto member = members_.find(host);
  return member != members_.end() && member->second.silent;
}

// The page, if that transaction is the one that runs.
PageDirectory::Page* PageDirectory::page_in(PageIndex index, TransactionNumber number) {
  const auto page = pages_.find(index);
  const bool runs = page != pages_.end() && page->second.running && page->second.running->number == number;
  return runs ? &page->second : nullptr;
}

PageDirectory::Transaction* PageDirectory::granted_to(HostId host, PageIndex index, TransactionNumber number) {
  Page* page = page_in(index, number);
  if (page == nullptr || !page->running->granted || page->running->requester != host) return nullptr;
  return &*page->running;
}

void PageDirectory::add_holder(PageIndex index, Page& page, HostId host) {
  changed(index);
  page.holders.insert(host);
  members_.at(host).held.insert(index);
}

void PageDirectory::remove_holder(PageIndex index, Page& page, HostId host) {
  if (page.holders.erase(host) == 0) return;  // cleared since
  changed(index);
  if (page.holders.empty()) page.exclusive = false;
  members_.at(host).held.erase(index);
}

void PageDirectory::send(HostId to, OwnerPageMessage message) {
  if (silent(to)) return;  // it is told when we know what it has
  Send out{to, std::move(message)};
  actions_.emplace_back(std::move(out));
}

void PageDirectory::accuse(HostId host, std::string text) { actions_.emplace_back(Misbehaved{host, std::move(text)}); }

// Of one page more than once, if others change meanwhile: that does no harm.
void PageDirectory::changed(PageIndex index) {
  if (changes_.pages.empty() || changes_.pages.back() != index) changes_.pages.push_back(index);
}

PageRecord PageDirectory::record(PageIndex index) const {
  const Page& page = pages_.at(index);
  if (page.unsettled) return unsettled_.at(index).before;  // until we know better
  PageRecord record{page.holders, std::nullopt, false, page.written, page.lost, page.exclusive};
  if (!page.running || !page.running->granted) return record;
  record.requester = page.running->requester;
  record.requester_writes = page.running->access == PageAccess::kWrite;
  if (record.requester_writes && page.running->origin == PageOrigin::kZero) record.written = false;
  return record;
}

std::map<HostId, MemberRecord> PageDirectory::member_records() const {
  std::map<HostId, MemberRecord> records;
  for (const auto& [host, member] : members_) {
    records.emplace(host, MemberRecord{member.attachments, member.may_write, member.fence_end != kNever});
  }
  return records;
}

PageDirectory::PageState PageDirectory::state(PageIndex index) const {
  const auto page = pages_.find(index);
  if (page == pages_.end()) return PageState::kFree;
  if (page->second.lost) return PageState::kLost;
  if (page->second.exclusive) return PageState::kWritten;
  return page->second.written || !page->second.holders.empty() ? PageState::kRead : PageState::kFree;
}

std::set<HostId> PageDirectory::holders(PageIndex index) const {
  const auto page = pages_.find(index);
  return page == pages_.end() ? std::set<HostId>{} : page->second.holders;
}

std::vector<PageIndex> PageDirectory::asked_for() const {
  std::vector<PageIndex> all;
  for (const auto& [index, page] : pages_) all.push_back(index);
  return all;
}

bool PageDirectory::busy(PageIndex index) const {
  const auto page = pages_.find(index);
  return page != pages_.end() && (page->second.running || !page->second.queue.empty());
}

const std::map<HostId, PageCounts>& PageDirectory::counts(PageIndex index) const {
  static const std::map<HostId, PageCounts> none;
  const auto page = pages_.find(index);
  return page == pages_.end() ? none : page->second.counts;
}

std::uint64_t PageDirectory::attachments() const {
  std::uint64_t sum = 0;
  for (const auto& [host, member] : members_) sum += member.attachments;
  return sum;
}

}  // namespace dipc
