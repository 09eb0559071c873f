// PageDirectory made again from what the one before has written down, page by page as the hosts say what they hold.

#include <algorithm>
#include <utility>

#include "daemon/core/page_directory.h"
#include "wire/check.h"

namespace dipc {
namespace {

// Of the numbers of one directory's transactions; the bits above are its epoch. It can't use them up.
constexpr unsigned kTransactionBits = 40;

}  // namespace

PageDirectory::PageDirectory(TimePoint now, PageDirectoryOptions options, const DirectoryRecords& records)
    : PageDirectory(options) {
  removed_ = records.removed;
  last_transaction_ = records.epoch << kTransactionBits;
  for (const auto& [host, from] : records.members) {
    Member& member = members_[host];
    member.attachments = from.attachments;
    member.may_write = from.may_write;
    member.silent = !from.out_of_reach;
    if (from.out_of_reach) member.fence_end = now + options_.fence;
    if (host != options_.owner) member.silent_until = now + options_.patience;
  }
  Member& own = members_.at(options_.owner);
  own.silent = true;
  for (const auto& [index, before] : records.pages) {
    Page& page = pages_[index];
    page.written = before.written;
    page.lost = before.lost;
    page.unsettled = true;
    Unsettled& known = unsettled_[index];
    known.before = before;
    known.silent.insert(options_.owner);  // it may say more than is written down, see may_hold()
    own.requests.insert(index);
    for (const HostId host : before.holders) {
      add_holder(index, page, host);
      if (silent(host)) known.silent.insert(host);
    }
    if (!before.requester) continue;
    known.silent.insert(*before.requester);
    if (silent(*before.requester)) {
      members_.at(*before.requester).requests.insert(index);
    } else {
      on_never_said(*before.requester, index, page);
    }
  }
  destroy_if_unused();
}

void PageDirectory::on_said(HostId host, PageIndex index, Page& page, std::optional<PageAccess> held) {
  Unsettled& known = unsettled_.at(index);
  known.silent.erase(host);
  if (held) {
    known.held[host] = *held;
    add_holder(index, page, host);
  } else if (known.before.requester == host) {
    known.before.requester.reset();
    known.before.requester_writes = false;
    changed(index);
  }
  if (known.silent.empty()) settle(index, page);
}

// Its daemon was started again, too.
void PageDirectory::on_silent_again(HostId host, PageIndex index) {
  Unsettled& known = unsettled_.at(index);
  known.held.erase(host);
  known.kept.erase(host);
  if (known.before.holders.count(host) == 0 && known.before.requester != host) return;
  known.silent.insert(host);
  members_.at(host).requests.insert(index);
}

// It has it no more. A page that it wrote to is lost with it.
void PageDirectory::take_back_what_it_said(HostId host, PageIndex index) {
  Unsettled& known = unsettled_.at(index);
  const auto held = known.held.find(host);
  if (held == known.held.end()) return;
  known.before.in_doubt |= held->second == PageAccess::kWrite;
  known.held.erase(held);
  changed(index);
}

// It is out of reach now, and what it has said counts no more. What it was granted it may have, unless it has said
// that it has not.
void PageDirectory::on_never_said(HostId host, PageIndex index, Page& page) {
  Unsettled& known = unsettled_.at(index);
  PageRecord& before = known.before;
  changed(index);
  known.silent.erase(host);
  const auto held = known.held.find(host);
  if (held != known.held.end()) {
    before.in_doubt |= held->second == PageAccess::kWrite;
  } else if (before.requester == host) {
    before.in_doubt |= before.requester_writes;
  }
  if (before.requester == host) {
    before.requester.reset();
    before.requester_writes = false;
    before.holders.insert(host);
    add_holder(index, page, host);
  }
  known.held.erase(host);
  known.kept.erase(host);
  if (known.silent.empty()) settle(index, page);
}

// Everybody has said what it is that is to be known of the page.
void PageDirectory::settle(PageIndex index, Page& page) {
  const auto found = unsettled_.find(index);
  Unsettled known = std::move(found->second);
  unsettled_.erase(found);
  page.unsettled = false;
  changed(index);
  const auto writer = std::find_if(known.held.begin(), known.held.end(),
                                   [](const auto& one) { return one.second == PageAccess::kWrite; });
  if (page.lost) {
    settle_lost(index, page, known);
  } else if (writer != known.held.end()) {
    settle_writer(index, page, known, writer->first);
  } else {
    settle_readers(index, page, known);
  }
  for (const auto& [host, transaction] : known.kept) {
    if (in_reach(host)) send(host, ReleasePage{index, transaction});
  }
  lose_if_gone(index, page);
  advance(index, page);
}

// Nobody was granted it for writing while another one had it. So if another one says that it has it, one of the two
// lies: not our own host; of others the first that says that it may write is believed.
void PageDirectory::settle_writer(PageIndex index, Page& page, const Unsettled& known, HostId writer) {
  if (writer != options_.owner && known.held.count(options_.owner) != 0) {
    Unsettled right = known;
    right.held.erase(writer);
    remove_holder(index, page, writer);
    accuse(writer, "it holds pages that it was not given");
    return settle_readers(index, page, right);
  }
  const std::set<HostId> holders = page.holders;
  for (const HostId host : holders) {
    if (host != writer) remove_holder(index, page, host);
  }
  for (const auto& [host, access] : known.held) {
    if (host != writer) accuse(host, "it holds pages that it was not given");
  }
  page.exclusive = true;
  page.written = true;
}

// What is kept is worth nothing beside a copy, but for one of a host that may only read.
void PageDirectory::settle_readers(PageIndex index, Page& page, Unsettled& known) {
  const bool is_held =
      std::any_of(known.held.begin(), known.held.end(), [this](const auto& one) { return may_change(one.first); });
  auto restored = known.kept.end();
  for (auto one = known.kept.begin(); one != known.kept.end() && !is_held && !known.before.in_doubt; ++one) {
    if (page.holders.count(one->first) == 0) continue;  // who got it then has said that it has it
    const auto worth = [this](const auto& kept) { return std::pair(may_change(kept->first), kept->second); };
    if (restored == known.kept.end() || worth(one) > worth(restored)) restored = one;
  }
  const std::set<HostId> holders = page.holders;
  for (const HostId host : holders) {
    const bool has = known.held.count(host) != 0 || (restored != known.kept.end() && restored->first == host);
    if (in_reach(host) && !has) remove_holder(index, page, host);
  }
  page.exclusive = false;
  page.written |= known.before.in_doubt;
  if (restored == known.kept.end()) return;
  send(restored->first, RestorePage{index, restored->second});
  known.kept.erase(restored);
}

// It was lost before: who still has it is to drop it.
void PageDirectory::settle_lost(PageIndex index, Page& page, const Unsettled& known) {
  const std::set<HostId> holders = page.holders;
  for (const HostId host : holders) {
    if (known.held.count(host) == 0) remove_holder(index, page, host);
  }
  if (known.held.empty()) return;
  Transaction transaction;
  transaction.number = TransactionNumber{++last_transaction_};
  transaction.request = {known.held.begin()->first, Purpose::kEvict};
  transaction.gives = false;
  for (const auto& [host, access] : known.held) {
    transaction.awaited.insert(host);
    send(host, InvalidatePage{index, transaction.number});
  }
  page.running = std::move(transaction);
}

}  // namespace dipc
