// PageDirectory and hosts whose daemons were started again: what they hold, and what that means for what was under way.

#include <algorithm>
#include <utility>

#include "daemon/core/page_directory.h"
#include "wire/check.h"

namespace dipc {

void PageDirectory::on_host_restarted(TimePoint now, HostId host) {
  DIPC_CHECK(host != options_.owner);
  if (destroyed_ || (!in_reach(host) && !silent(host))) return;
  Member& member = members_.at(host);
  member.told.clear();
  member.told_kept.clear();
  if (std::exchange(member.silent, true)) return;
  member.silent_until = now + options_.patience;
  leaving_.erase(host);
  // What it asked for stays in `requests`: it may have been granted.
  std::set<PageIndex> asked = member.requests;
  asked.insert(member.evictions.begin(), member.evictions.end());
  for (const auto& [index, known] : unsettled_) {
    if (known.silent.count(host) == 0) asked.insert(index);
  }
  for (const PageIndex index : asked) {
    Page& page = pages_.at(index);
    std::erase_if(page.queue, [host](const Request& request) { return request.host == host; });
    if (page.running && page.running->gives && page.running->requester == host && !page.running->granted) {
      page.running->requester_lost = true;
    }
    if (page.unsettled) on_silent_again(host, index);
  }
}

// False: it is for on(), as what any other host says.
bool PageDirectory::on_message_of_silent(TimePoint now, HostId host, const HostPageMessage& message) {
  if (!silent(host)) return on_message_too_late(now, host, message);
  if (std::holds_alternative<SegmentCleared>(message)) {
    on_host_lost(now, host);
    return destroyed_;
  }
  if (const auto* pages = std::get_if<PagesHeld>(&message)) {
    note_held(host, *pages);
  } else if (const auto* kept = std::get_if<PageKept>(&message)) {
    note_kept(host, *kept);
  } else if (const auto* all = std::get_if<SegmentHeld>(&message)) {
    resume(host, *all);
  } else {
    accuse(host, "it goes on without saying what it holds");
  }
  return true;
}

// Of a host that was taken for gone before it spoke, or whose own time was over before it was answered.
bool PageDirectory::on_message_too_late(TimePoint now, HostId host, const HostPageMessage& message) {
  const bool cleared = std::holds_alternative<SegmentCleared>(message);
  if (cleared) refused_.erase(host);
  if (in_reach(host)) {
    if (!cleared || !members_.at(host).resumed) return false;
    on_host_lost(now, host);
    return destroyed_;
  }
  if (std::holds_alternative<SegmentHeld>(message)) {
    refused_.insert(host);
    send(host, SegmentRefused{});
    return true;
  }
  const bool counts =
      std::holds_alternative<SegmentAttached>(message) || std::holds_alternative<SegmentDetached>(message);
  if (counts) return refused_.count(host) != 0;
  return std::holds_alternative<PagesHeld>(message) || std::holds_alternative<PageKept>(message);
}

void PageDirectory::note_held(HostId host, const PagesHeld& pages) {
  const auto first = static_cast<std::uint32_t>(pages.page);
  if (first > options_.page_count || pages.count > options_.page_count - first) {
    return accuse(host, "it holds pages that there are not");
  }
  std::map<PageIndex, PageAccess>& told = members_.at(host).told;
  for (std::uint32_t number = first; number < first + pages.count; ++number) {
    const PageIndex index{number};
    const auto page = pages_.find(index);
    if (page == pages_.end() || !may_hold(host, index, page->second, pages.access)) {
      return accuse(host, "it holds pages that it was not given");
    }
    if (told.count(index) != 0) return accuse(host, "it says twice that it holds a page");
  }
  for (std::uint32_t i = 0; i < pages.count; ++i) told[PageIndex{first + i}] = pages.access;
}

// Of a page that nobody has asked for nothing is remembered, whatever is said.
void PageDirectory::note_kept(HostId host, const PageKept& kept) {
  if (pages_.find(kept.page) == pages_.end()) return accuse(host, "it keeps pages that it was not given");
  members_.at(host).told_kept[kept.page] = kept.transaction;
}

// It has said all: it takes part again.
void PageDirectory::resume(HostId host, const SegmentHeld& all) {
  Member& member = members_.at(host);
  const std::map<PageIndex, PageAccess> told = std::exchange(member.told, {});
  const std::map<PageIndex, TransactionNumber> told_kept = std::exchange(member.told_kept, {});
  std::set<PageIndex> touched = member.held;
  for (const std::set<PageIndex>* more : {&member.requests, &member.evictions}) {
    touched.insert(more->begin(), more->end());
  }
  member.requests.clear();
  member.evictions.clear();
  member.silent = false;
  member.resumed = true;
  member.attachments = all.attachments;
  changes_.members = true;
  send(host, SegmentResumed{});
  for (const auto& [index, transaction] : told_kept) {
    if (pages_.at(index).unsettled) {
      unsettled_.at(index).kept[host] = transaction;
    } else {
      send(host, ReleasePage{index, transaction});
    }
  }
  for (const PageIndex index : touched) {
    Page& page = pages_.at(index);
    const auto found = told.find(index);
    const std::optional<PageAccess> held = found == told.end() ? std::nullopt : std::optional(found->second);
    page.unsettled ? on_said(host, index, page, held) : go_on_with(host, index, page, held);
  }
  if (member.attachments == 0 && host != options_.owner) leaving_.insert(host);
  continue_evictions();
  destroy_if_unused();
}

// As far as the owner knows what it has given. Its own host is believed: another one may have said that it has
// installed what it was never sent.
bool PageDirectory::may_hold(HostId host, PageIndex index, const Page& page, PageAccess access) const {
  if (host == options_.owner) return true;
  const bool reads = access == PageAccess::kRead;
  if (!reads && !members_.at(host).may_write) return false;
  const PageRecord known = record(index);
  if (known.requester == host && (reads || known.requester_writes)) return true;
  if (page.holders.count(host) == 0) return false;
  return reads || std::none_of(page.holders.begin(), page.holders.end(),
                               [&](HostId other) { return other != host && (in_reach(other) || silent(other)); });
}

void PageDirectory::go_on_with(HostId host, PageIndex index, Page& page, std::optional<PageAccess> held) {
  const bool writes = held == PageAccess::kWrite;
  changed(index);
  if (page.running && page.running->granted && page.running->requester == host) {
    const bool installed = page.running->access == PageAccess::kWrite ? writes : held.has_value();
    if (installed) return on(host, PageInstalled{index, page.running->number});
    const Transaction failed = *std::exchange(page.running, std::nullopt);
    if (failed.access == PageAccess::kWrite && failed.origin == PageOrigin::kZero) page.written = false;
    if (failed.origin == PageOrigin::kHolder) {
      page.exclusive = false;
      if (failed.access == PageAccess::kWrite && !failed.holder_lost) {
        send(failed.holder, RestorePage{index, failed.number});
      }
    }
  }
  Transaction* transaction = page.running ? &*page.running : nullptr;
  if (transaction != nullptr && transaction->origin == PageOrigin::kHolder && transaction->holder == host) {
    if (!held) {
      remove_holder(index, page, host);
      lose_holder(index, page);
    } else if (transaction->granted) {
      send(transaction->requester, HolderGone{index, transaction->number});
    } else {
      transaction->data_in_doubt = true;
    }
  } else if (transaction != nullptr && transaction->awaited.count(host) != 0) {
    if (held) {
      send(host, InvalidatePage{index, transaction->number});
    } else {
      on(host, PageDropped{index, transaction->number});
    }
  } else if (!held) {
    remove_holder(index, page, host);
  } else if (page.holders.size() == 1 && page.holders.count(host) != 0) {
    page.exclusive = writes;
  }
  lose_if_gone(index, page);
  advance(index, page);
}

}  // namespace dipc
