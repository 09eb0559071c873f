// PageDirectory's transactions: how one begins, goes on when hosts die, and ends.

#include <utility>

#include "daemon/core/page_directory.h"
#include "wire/check.h"

namespace dipc {

void PageDirectory::advance(PageIndex index, Page& page) {
  if (page.unsettled) return;
  while (!page.running && !page.queue.empty() && !must_wait(page)) {
    const Request request = page.queue.front();
    page.queue.pop_front();
    start(index, page, request);
  }
}

// Those who have the page, if anybody has, are to say so first; so are those who may write, where only others are in
// reach.
bool PageDirectory::must_wait(const Page& page) const {
  bool is_there = false, reader_waits = false, writer_waits = false;
  for (const HostId host : page.holders) {
    if (in_reach(host)) {
      if (may_change(host)) return false;
      is_there = true;
    } else if (silent(host)) {
      (may_change(host) ? writer_waits : reader_waits) = true;
    }
  }
  return page.written && (writer_waits || (reader_waits && !is_there));
}

// The transaction runs, or the request is answered without one.
void PageDirectory::start(PageIndex index, Page& page, Request request) {
  DIPC_CHECK(!page.running);
  Transaction transaction;
  transaction.number = TransactionNumber{++last_transaction_};
  transaction.request = request;
  transaction.requester = request.host;
  transaction.access = request.purpose == Purpose::kWrite ? PageAccess::kWrite : PageAccess::kRead;
  if (request.purpose == Purpose::kEvict) {
    if (!start_eviction(page, transaction)) return close(index, request);
    if (!transaction.gives) {
      page.running = std::move(transaction);
      return send(request.host, InvalidatePage{index, page.running->number});
    }
  } else if (page.lost) {
    close(index, request);
    return send(request.host, PageLost{index});
  }
  if (page.holders.count(transaction.requester) != 0) {
    transaction.origin = PageOrigin::kHeld;
  } else if (!page.written) {
    transaction.origin = PageOrigin::kZero;
  } else if (const std::optional<HostId> holder = pick_holder(page, transaction.requester)) {
    transaction.origin = PageOrigin::kHolder;
    transaction.holder = *holder;
    transaction.through_owner = request.through_owner;
  } else {
    page.queue.push_front(request);  // one of those who are told
    return lose(index, page, page.holders);
  }
  page.running = std::move(transaction);
  if (page.running->access == PageAccess::kWrite) ask_readers(index, page);
  if (page.running->origin == PageOrigin::kHolder) {
    const Transaction& now = *page.running;
    send(now.holder, FetchPage{index, now.number, now.requester, now.access == PageAccess::kWrite, now.through_owner});
  }
  if (page.running->awaited.empty()) grant(index, page);
}

// False: nothing to do, the host is in use again or has not got the page any more. A page that nobody else has, or who
// may only read it, goes to the owner's host first, as if read there: its grant must not wait for anybody, as the data
// would come before it. What the host has left is evicted next.
bool PageDirectory::start_eviction(const Page& page, Transaction& transaction) {
  const HostId host = transaction.request.host;
  if (!in_reach(host) || members_.at(host).attachments != 0 || page.holders.count(host) == 0) return false;
  const std::optional<HostId> other = pick_holder(page, host);
  if (!page.written || page.failed_here || (other && (may_change(*other) || !may_change(host)))) {
    transaction.gives = false;
    transaction.awaited.insert(host);
  } else {
    transaction.requester = options_.owner;
  }
  return true;
}

// Whose copy is sent: the owner's own if there is one, for its answer is the next to come. That of a host that may only
// read is the last to be taken: what it sends others would read.
std::optional<HostId> PageDirectory::pick_holder(const Page& page, HostId except) const {
  if (page.holders.count(options_.owner) != 0 && except != options_.owner) return options_.owner;
  std::optional<HostId> reader;
  for (const HostId host : page.holders) {
    if (host == except || !in_reach(host)) continue;
    if (may_change(host)) return host;
    if (!reader) reader = host;
  }
  return reader;
}

bool PageDirectory::may_change(HostId host) const { return host == options_.owner || members_.at(host).may_write; }

// Without attachments there nobody writes any more: so it is with what the owner's host stores.
bool PageDirectory::has_active_writer(const Page& page) const {
  return page.exclusive && members_.at(*page.holders.begin()).attachments != 0;
}

void PageDirectory::ask_readers(PageIndex index, Page& page) {
  Transaction& transaction = *page.running;
  for (const HostId host : page.holders) {
    if (host == transaction.requester) continue;
    if (transaction.origin == PageOrigin::kHolder && host == transaction.holder) continue;
    transaction.awaited.insert(host);
    if (in_reach(host)) send(host, InvalidatePage{index, transaction.number});
  }
}

void PageDirectory::grant(PageIndex index, Page& page) {
  Transaction& transaction = *page.running;
  changed(index);
  transaction.granted = true;
  if (transaction.access == PageAccess::kWrite) page.written = true;
  PageGrant grant{index, transaction.number, transaction.access, transaction.origin, transaction.holder};
  grant.answers = transaction.request.purpose != Purpose::kEvict;
  grant.hold = grant.answers && transaction.request.purpose != Purpose::kAhead;
  if (transaction.through_owner) grant.holder = options_.owner;
  send(transaction.requester, grant);
  if (transaction.holder_lost || transaction.data_in_doubt) {
    send(transaction.requester, HolderGone{index, transaction.number});
  }
}

void PageDirectory::on_all_dropped(PageIndex index, Page& page) {
  const Transaction& transaction = *page.running;
  if (!transaction.gives) {
    end(index, page);
  } else if (transaction.requester_lost) {
    abort_write(index, page);
  } else {
    grant(index, page);
  }
}

// The requester died before it was granted the page, and all others have dropped it.
void PageDirectory::abort_write(PageIndex index, Page& page) {
  changed(index);
  const Transaction failed = *std::exchange(page.running, std::nullopt);
  if (failed.origin == PageOrigin::kHolder && !failed.holder_lost) {
    page.exclusive = false;
    send(failed.holder, RestorePage{index, failed.number});
  }
  lose_if_gone(index, page);
  advance(index, page);
}

void PageDirectory::lose_requester(PageIndex index, Page& page) {
  Transaction& transaction = *page.running;
  transaction.requester_lost = true;
  if (!transaction.granted) return;  // on_all_dropped() goes on
  changed(index);
  const Transaction failed = *std::exchange(page.running, std::nullopt);
  if (failed.access == PageAccess::kWrite) return lose_with_writer(index, page, failed);
  if (failed.origin == PageOrigin::kHolder) page.exclusive = false;
  add_holder(index, page, failed.requester);  // it may have installed it
}

// The transaction is over, and whoever was to write has the page or not: it is lost. Its holder may not have begun to
// give it away, and counts as holder until it has.
void PageDirectory::lose_with_writer(PageIndex index, Page& page, const Transaction& failed) {
  if (failed.origin != PageOrigin::kHolder || failed.holder_lost) return lose(index, page, {failed.requester});
  Transaction transaction;
  transaction.number = TransactionNumber{++last_transaction_};
  transaction.request = {failed.holder, Purpose::kEvict};
  transaction.gives = false;
  transaction.awaited.insert(failed.holder);
  send(failed.holder, ReleasePage{index, failed.number});
  send(failed.holder, InvalidatePage{index, transaction.number});
  page.running = std::move(transaction);
  page.lost = true;
  changed(index);
  actions_.emplace_back(Lost{index, {failed.requester}});
}

void PageDirectory::lose_holder(PageIndex index, Page& page) {
  Transaction& transaction = *page.running;
  if (std::exchange(transaction.holder_lost, true)) return;
  if (transaction.granted) send(transaction.requester, HolderGone{index, transaction.number});
}

void PageDirectory::end(PageIndex index, Page& page) {
  changed(index);
  const Transaction ended = *std::exchange(page.running, std::nullopt);
  close(index, ended.request);
  lose_if_gone(index, page);
  advance(index, page);
}

// The request is answered.
void PageDirectory::close(PageIndex index, const Request& request) {
  const auto member = members_.find(request.host);
  if (member == members_.end() || !in_reach(request.host)) return;
  (request.purpose == Purpose::kEvict ? member->second.evictions : member->second.requests).erase(index);
}

void PageDirectory::lose_if_gone(PageIndex index, Page& page) {
  if (page.lost || !page.written || page.running || page.unsettled) return;
  for (const HostId host : page.holders) {
    if (in_reach(host) || silent(host)) return;
  }
  lose(index, page, page.holders);
}

// The page is lost for ever; who waits for it is told.
void PageDirectory::lose(PageIndex index, Page& page, std::set<HostId> with) {
  page.lost = true;
  changed(index);
  const std::set<HostId> holders = page.holders;
  for (const HostId host : holders) remove_holder(index, page, host);
  actions_.emplace_back(Lost{index, std::move(with)});
  advance(index, page);
}

}  // namespace dipc
