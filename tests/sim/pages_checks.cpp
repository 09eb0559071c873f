// What the machines do in the world, and whether it is what they promise.

#include <algorithm>
#include <cstdio>

#include "tests/sim/pages_world.h"

namespace dipc::sim {
namespace {

using namespace std::chrono_literals;

constexpr Duration kPatience = 350ms;  // for a fault, when nothing goes wrong: others' holds, one after the other

std::uint64_t number(PageIndex page) { return static_cast<std::uint32_t>(page); }
std::uint64_t number(TransactionNumber transaction) { return static_cast<std::uint64_t>(transaction); }

struct Spoken {
  const char* name = "";
  std::uint64_t page = 0;
  std::uint64_t transaction = 0;
};

template <typename... T>
Spoken spoken(const std::variant<T...>& message, const std::vector<const char*>& names) {
  Spoken result{names.at(message.index())};
  std::visit(
      [&result](const auto& what) {
        if constexpr (requires { what.page; }) result.page = number(what.page);
        if constexpr (requires { what.transaction; }) result.transaction = number(what.transaction);
      },
      message);
  return result;
}

Spoken spoken(const HostPageMessage& message) {
  return spoken(message, {"asks", "asks ahead", "installed", "no data", "dropped", "relays", "failed", "attached more",
                          "detached", "cleared", "holds", "holds all", "keeps"});
}

Spoken spoken(const OwnerPageMessage& message) {
  return spoken(message, {"grant", "declined", "page lost", "fetch", "invalidate", "release", "restore", "holder gone",
                          "dismissed", "destroyed", "data through the owner", "resumed", "refused"});
}

}  // namespace

void PagesWorld::violation(const std::string& what) {
  if (!outcome_.violation.empty()) return;
  outcome_.violation = what;
  trace(0, "VIOLATION");
}

void PagesWorld::trace(HostIndex host, const char* what, std::uint64_t a, std::uint64_t b) {
  const auto mix = [this](std::uint64_t value) {
    for (int byte = 0; byte < 8; ++byte) {
      outcome_.trace_hash = (outcome_.trace_hash ^ ((value >> (8 * byte)) & 0xffU)) * 0x100000001b3U;  // FNV-1a
    }
  };
  const auto time_ns = static_cast<std::uint64_t>(now_.time_since_epoch().count());
  mix(time_ns);
  mix(host);
  for (const char* letter = what; *letter != '\0'; ++letter) mix(static_cast<unsigned char>(*letter));
  mix(a);
  mix(b);
  if (!log_) return;
  std::printf("%10.6f host %u %s %llu %llu\n", static_cast<double>(time_ns) / 1e9 - 1000.0, host, what,
              static_cast<unsigned long long>(a), static_cast<unsigned long long>(b));
}

// ---- machines

// Until nobody has anything more to say. What the owner tells its own host is heard before all else.
void PagesWorld::drain() {
  for (bool more = true; more && outcome_.violation.empty();) {
    more = false;
    if (directory_) {
      write_down();
      for (const PageDirectory::Action& action : directory_->take_actions()) {
        more = true;
        act(action);
      }
    }
    const std::vector<MemberPointer> members = members_;
    for (const MemberPointer& member : members) {
      if (more || member->cache == nullptr) continue;
      for (const PageCache::Action& action : member->cache->take_actions()) {
        more = true;
        act(member, action);
        if (member->cache == nullptr) break;
      }
    }
  }
}

void PagesWorld::write_down() {
  const PageDirectory::Changes changes = directory_->take_changes();
  if (directory_->destroyed()) return;
  for (const PageIndex page : changes.pages) records_.pages[page] = directory_->record(page);
  if (changes.members) records_.members = directory_->member_records();
  records_.removed = directory_->removed();
  if (records_.members != directory_->member_records()) violation("not written down: a host");
  for (const PageIndex page : directory_->asked_for()) {
    const PageRecord record = directory_->record(page);
    const auto written = records_.pages.find(page);
    if (written == records_.pages.end() ? record != PageRecord{} : record != written->second) {
      violation("not written down: page " + std::to_string(number(page)));
    }
    const auto is_member = [this](HostId host) { return records_.members.contains(host); };
    if (!std::all_of(record.holders.begin(), record.holders.end(), is_member) ||
        (record.requester && !is_member(*record.requester))) {
      violation("not written down: a host that a page speaks of");
    }
  }
}

void PagesWorld::act(const PageDirectory::Action& action) {
  if (const auto* out = std::get_if<PageDirectory::Send>(&action)) {
    OwnerPageMessage message = out->message;
    const auto to = static_cast<HostIndex>(out->to);
    if (defect_ == PageDefect::kNone || spoil_send(to, message)) send(to, std::move(message));
  } else if (const auto* lost = std::get_if<PageDirectory::Lost>(&action)) {
    trace(0, "lost", number(lost->page));
    count("pages lost");
    check_lost(lost->page);
  } else if (const auto* bad = std::get_if<PageDirectory::Misbehaved>(&action)) {
    violation("breach: " + bad->text);
  } else {
    trace(0, "destroyed");
    count("destroyed");
  }
}

void PagesWorld::send(HostIndex to, OwnerPageMessage message) {
  const Spoken what = spoken(message);
  trace(to, what.name, what.page, what.transaction);
  count(what.name);
  if (const auto* fetch = std::get_if<FetchPage>(&message); fetch != nullptr && fetch->drop) giving_[fetch->page] = to;
  if (const auto* restore = std::get_if<RestorePage>(&message)) {
    giving_.erase(restore->page);
    restored_.emplace(to, restore->page);
  }
  if (to != 0) {
    put(0, to, std::move(message));
  } else if (hosts_[0].member->cache) {
    hosts_[0].member->cache->on_message(now_, message);
  }
}

void PagesWorld::act(const MemberPointer& member, const PageCache::Action& action) {
  const HostIndex host = member->host;
  if (const auto* told = std::get_if<PageCache::Tell>(&action)) {
    HostPageMessage message = told->message;
    if (defect_ == PageDefect::kNone || spoil_tell(member, message)) tell(member, std::move(message));
  } else if (const auto* out = std::get_if<PageCache::SendData>(&action)) {
    send_data(host, static_cast<HostIndex>(out->to), out->data);
  } else if (const auto* woken = std::get_if<PageCache::Wake>(&action)) {
    member->faulted.erase(woken->page);
    wake(member, &woken->page);
  } else if (std::holds_alternative<PageCache::Cleared>(action)) {
    if (!in_session(host, 0)) {
      hosts_[host].cleared = true;
    } else {
      put(host, 0, HostPageMessage(SegmentCleared{}));
    }
  } else if (const auto* bad = std::get_if<PageCache::Misbehaved>(&action)) {
    violation("breach by the owner: " + bad->text);
  } else if (std::holds_alternative<PageCache::Finished>(action)) {
    trace(host, "finished");
    count("caches finished");
    for (const auto& [page, mapping] : member->pages) {
      if (mapping.readable) violation("not forgotten: a page is left with a host that is done");
    }
    member->cache.reset();
    if (hosts_[host].member == member) hosts_[host].member.reset();
    members_.erase(std::remove(members_.begin(), members_.end(), member), members_.end());
  } else {
    bool hold = false;
    const auto waits_for = [&member](PageIndex page) { return member->faulted.erase(page) != 0; };
    if (const auto* install = std::get_if<PageCache::Install>(&action)) hold = waits_for(install->page);
    if (const auto* upgrade = std::get_if<PageCache::Upgrade>(&action)) hold = waits_for(upgrade->page);
    if (const auto* lost = std::get_if<PageCache::MarkLost>(&action)) waits_for(lost->page);
    member->work.emplace_back(action, hold);
    work(member);
  }
}

void PagesWorld::tell(const MemberPointer& member, HostPageMessage message) {
  const Spoken what = spoken(message);
  trace(member->host, what.name, what.page, what.transaction);
  count(what.name);
  if (const auto* relayed = std::get_if<RelayedPage>(&message)) {
    if (!sessions_lost_) violation("crosses twice: through the owner, and all sessions are there");
    if (++sent_[{relayed->page, relayed->transaction}] > 1) violation("crosses twice");
  }
  if (member->host != 0) {
    put(member->host, 0, std::move(message));
  } else if (directory_) {
    directory_->on_message(now_, HostId{0}, message);
  }
}

void PagesWorld::send_data(HostIndex from, HostIndex to, const PageData& data) {
  trace(from, "sends to", to, number(data.transaction));
  count("data sent");
  if (++sent_[{data.page, data.transaction}] > 1) violation("crosses twice");
  put(from, to, data);
}

// ---- checks

void PagesWorld::check_page(PageIndex page) {
  unsigned readers = 0;
  unsigned writers = 0;
  for (const MemberPointer& member : members_) {
    const auto mapping = member->pages.find(page);
    if (mapping == member->pages.end()) continue;
    if (mapping->second.readable) ++readers;
    if (mapping->second.writable) ++writers;
  }
  if (writers > 1 || (writers == 1 && readers > 1)) violation("writer and others");
}

// Access is about to be taken away.
void PagesWorld::check_taken(const MemberPointer& member, PageIndex page) {
  const Mapping& mapping = member->pages[page];
  if (mapping.hold && now_ - mapping.gained < std::max(hold_, floor_)) violation("not held");
}

void PagesWorld::check_lost(PageIndex page) {
  if (!hosts_lost_) return violation("lost without a cause: no host was");
  if (only_owner_restarts_) {
    const auto giving = giving_.find(page);
    if (giving == giving_.end() || giving->second != 0) violation("lost without a cause: no host was, but a daemon");
  }
  for (const MemberPointer& member : members_) {
    const auto mapping = member->pages.find(page);
    if (mapping == member->pages.end() || !mapping->second.readable) continue;
    const bool comes_back = member->cache == nullptr ? member->restarting : member->cache->resuming();
    if (member->given_up || (!comes_back && (member->cache == nullptr || member->cache->lost()))) continue;
    const bool in_reach =
        comes_back || member->host == 0 || (in_session(0, member->host) && in_session(member->host, 0));
    // Given to a writer that is lost, who may have it or not: it hardly matters that the holder has not even begun.
    const auto giving = giving_.find(page);
    if (giving != giving_.end() && giving->second == member->host) continue;
    if (in_reach) violation("lost without a cause: a host has it");
  }
}

void PagesWorld::check_waiting() {
  for (const Program& program : programs_) {
    if (program.step == Step::kBlocked && now_ - program.blocked_since > kPatience) {
      return violation("waits for ever: " + std::string(program.writes ? "to write" : "to read"));
    }
    if (program.step == Step::kAttaching && program.host != 0 && !in_session(program.host, 0)) {
      return violation("waits for ever: to attach");
    }
  }
}

void PagesWorld::check_rest() {
  if (!outcome_.violation.empty()) return;
  for (const MemberPointer& member : members_) {
    if (!member->cache || !member->cache->idle()) return violation("not at rest: a cache");
  }
  for (std::uint32_t index = 0; index < page_count_; ++index) {
    const PageIndex page{index};
    std::set<HostId> readers;
    bool written = false;
    for (const MemberPointer& member : members_) {
      const Mapping& mapping = member->pages[page];
      if (mapping.readable) readers.insert(HostId{member->host});
      written = written || mapping.writable;
    }
    if (directory_->busy(page)) violation("not at rest: a transaction");
    if (directory_->holders(page) != readers) violation("not at rest: the directory knows other holders");
    if ((directory_->state(page) == PageDirectory::PageState::kWritten) != written) {
      violation("not at rest: the directory knows another writer");
    }
  }
}

// The end of the segment: everybody detaches, before or after its removal; or its owner dies.
void PagesWorld::finish() {
  if (!outcome_.violation.empty()) return;
  const std::uint64_t how = random_.below(3);
  if (how == 0) {
    trace(0, "the owner dies");
    directory_.reset();
    for (const MemberPointer& member : members_) {
      const Duration late = between(0us, 20ms);
      at(now_ + late, [this, member] {
        if (member->cache) member->cache->on_owner_lost(now_);
      });
    }
    step_until(now_ + 300ms);
    if (outcome_.violation.empty() && !members_.empty()) violation("not forgotten: a segment without an owner");
    return;
  }
  const bool remove_first = how == 1 && random_.chance(50);
  if (remove_first) directory_->on_remove(now_);
  for (std::size_t index = 0; index < programs_.size(); ++index) {
    if (programs_[index].member) detach(index);
  }
  drain();
  step_until(now_ + 500ms);
  if (how == 1 && !remove_first) directory_->on_remove(now_);
  drain();
  step_until(now_ + 300ms);
  if (!outcome_.violation.empty()) return;
  if (how == 1) {
    if (!directory_->destroyed()) violation("not forgotten: removed and detached, but not destroyed");
    if (!members_.empty()) violation("not forgotten: a cache of what is destroyed");
    return;
  }
  if (members_.size() != 1) violation("not forgotten: a cache where nobody is attached");
  for (std::uint32_t index = 0; index < page_count_; ++index) {
    const PageIndex page{index};
    if (directory_->state(page) == PageDirectory::PageState::kLost) continue;
    const Words& latest = latest_[index];
    const bool untouched = std::all_of(latest.begin(), latest.end(), [](std::uint64_t word) { return word == 0; });
    const Mapping& mapping = hosts_[0].member->pages[page];
    if (!untouched && (!mapping.readable || mapping.words != latest)) violation("stale read: what the owner keeps");
  }
}

}  // namespace dipc::sim
