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

// False: it is none of those, or has nothing to do with what it holds.
bool PageDirectory::on_message_of_silent(TimePoint now, HostId host, const HostPageMessage& message) {
  const auto* pages = std::get_if<PagesHeld>(&message);
  const auto* all = std::get_if<SegmentHeld>(&message);
  const auto* kept = std::get_if<PageKept>(&message);
  if (!silent(host)) {
    if (in_reach(host) && members_.at(host).resumed && std::holds_alternative<SegmentCleared>(message)) {
      on_host_lost(now, host);
      return destroyed_;
    }
    if (std::holds_alternative<SegmentCleared>(message)) refused_.erase(host);
    if (in_reach(host)) return false;
    if (all != nullptr) {  // it came too late
      refused_.insert(host);
      send(host, SegmentRefused{});
    }
    const bool counts =
        std::holds_alternative<SegmentAttached>(message) || std::holds_alternative<SegmentDetached>(message);
    return pages != nullptr || kept != nullptr || all != nullptr || (counts && refused_.count(host) != 0);
  }
  Member& member = members_.at(host);
  if (std::holds_alternative<SegmentCleared>(message)) {
    on_host_lost(now, host);
    return destroyed_;
  }
  if (pages != nullptr) {
    const auto first = static_cast<std::uint32_t>(pages->page);
    if (first > options_.page_count || pages->count > options_.page_count - first) {
      accuse(host, "it holds pages that there are not");
      return true;
    }
    for (std::uint32_t number = first; number < first + pages->count; ++number) {
      const PageIndex index{number};
      const auto page = pages_.find(index);
      if (page == pages_.end() || !may_hold(host, index, page->second, pages->access)) {
        accuse(host, "it holds pages that it was not given");
        return true;
      }
      member.told[index] = pages->access;
    }
    return true;
  }
  if (kept != nullptr) {
    if (static_cast<std::uint32_t>(kept->page) < options_.page_count) {
      member.told_kept[kept->page] = kept->transaction;
    } else {
      accuse(host, "it keeps pages that there are not");
    }
    return true;
  }
  if (all == nullptr) {
    accuse(host, "it goes on without saying what it holds");
    return true;
  }
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
  member.attachments = all->attachments;
  changes_.members = true;
  send(host, SegmentResumed{});
  for (const auto& [index, transaction] : told_kept) {
    const auto page = pages_.find(index);
    if (page != pages_.end() && page->second.unsettled) {
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
  return true;
}

// As far as the owner knows what it has given.
bool PageDirectory::may_hold(HostId host, PageIndex index, const Page& page, PageAccess access) const {
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
