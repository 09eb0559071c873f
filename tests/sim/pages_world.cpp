#include "tests/sim/pages_world.h"

#include <algorithm>

namespace dipc::sim {
namespace {

using namespace std::chrono_literals;

constexpr Duration kSkew = 100ms;   // within this both ends know that a session is over, and a keeper acts
constexpr Duration kFence = 250ms;  // more than that, and what a pager takes
constexpr Duration kDownMost = 120ms;
// A keeper and the daemons after it keep so long what a daemon had, and an owner waits so long for it: less than the
// fence.
constexpr Duration kKeptMost = 70ms;
constexpr Duration kCalm = 500ms;  // after the last trouble: daemons up, sessions there, fences over

}  // namespace

PagesWorld::PagesWorld(std::uint64_t seed, PageDefect defect, bool log) : random_(seed), defect_(defect), log_(log) {
  now_ = TimePoint(1000s);
  outcome_.trace_hash = 0xcbf29ce484222325U;
  const bool unit_is_segment = random_.chance(15);
  const bool scans = !unit_is_segment && random_.chance(30);
  page_count_ = unit_is_segment ? 1 : static_cast<std::uint32_t>(random_.between(scans ? 12 : 1, scans ? 24 : 5));
  page_words_ = unit_is_segment ? 6 : static_cast<std::uint32_t>(random_.between(1, 3));
  scan_percent_ = scans ? 10 : 0;
  latency_most_ = random_.chance(50) ? 300us : 5ms;
  pager_most_ = random_.chance(50) ? 60us : 2ms;
  think_most_ = random_.chance(50) ? 4ms : 30ms;
  hold_ = random_.chance(30) ? Duration(0) : between(100us, 5ms);
  floor_ = random_.chance(50) ? 200us : 1ms;
  write_percent_ = random_.chance(50) ? 50 : 15;
  detach_percent_ = random_.chance(30) ? 10 : 1;
  trouble_pause_ = between(5ms, 80ms);
  peer_cut_percent_ = random_.chance(25) ? 0 : 60;
  pager_fails_ = random_.chance(15);
  owner_cut_percent_ = random_.chance(30) ? 0 : 20;  // the rest: daemons killed and hosts crashed

  PageDirectoryOptions& options = directory_options_;
  options.page_count = page_count_;
  options.page_bytes = page_words_ * sizeof(std::uint64_t);
  options.fence = defect_ == PageDefect::kNoFence ? Duration(0) : kFence;
  options.patience = defect_ == PageDefect::kGivesSilent ? Duration(0) : kKeptMost;
  directory_ = std::make_unique<PageDirectory>(options);
  owner_restart_percent_ = random_.chance(50) ? 0 : 40;
  only_owner_restarts_ = random_.chance(15);
  restart_percent_ = random_.chance(40) ? 0 : 60;  // of the rest
  if (only_owner_restarts_) {
    peer_cut_percent_ = owner_cut_percent_ = 0;
    owner_restart_percent_ = 100;
    pager_fails_ = false;
  }
  cache_options_.page_count = page_count_;
  cache_options_.hold_time = defect_ == PageDefect::kNoHold ? Duration(0) : hold_;
  cache_options_.hold_floor = defect_ == PageDefect::kNoHold ? Duration(0) : floor_;
  cache_options_.read_ahead_max = random_.chance(70) ? static_cast<std::uint32_t>(random_.between(1, 8)) : 0;

  latest_.assign(page_count_, Words(page_words_, 0));
  hosts_.resize(static_cast<std::size_t>(random_.between(2, 5)));
  for (HostIndex host = 0; host < hosts_.size(); ++host) {
    const std::uint64_t programs = random_.between(1, 3);
    for (std::uint64_t i = 0; i < programs; ++i) {
      programs_.emplace_back();
      programs_.back().host = host;
    }
  }
  hosts_[0].member = make_member(0);
}

PagesWorld::~PagesWorld() = default;

PageOutcome PagesWorld::run() {
  for (HostIndex a = 0; a < hosts_.size(); ++a) {
    for (HostIndex b = a + 1; b < hosts_.size(); ++b) begin_soon(a, b);
  }
  step_until(now_ + 20ms);
  for (std::size_t index = 0; index < programs_.size(); ++index) schedule_program(index, 5ms);
  if (!random_.chance(10)) schedule_trouble();
  step_until(now_ + between(100ms, 800ms));
  trouble_ = false;
  step_until(now_ + kCalm);
  check_waiting();
  step_until(now_ + 100ms);
  check_waiting();
  programs_run_ = false;
  step_until(now_ + kCalm);
  check_waiting();
  check_rest();
  finish();
  return outcome_;
}

// ---- time

void PagesWorld::at(TimePoint when, std::function<void()> what) {
  events_.emplace(std::pair(when, next_event_), std::move(what));
  ++next_event_;
}

Duration PagesWorld::between(Duration least, Duration most) {
  return Duration(static_cast<std::int64_t>(
      random_.between(static_cast<std::uint64_t>(least.count()), static_cast<std::uint64_t>(most.count()))));
}

void PagesWorld::step_until(TimePoint until) {
  while (outcome_.violation.empty()) {
    TimePoint next = events_.empty() ? kNever : events_.begin()->first.first;
    Member* due = nullptr;
    for (const MemberPointer& member : members_) {
      if (member->cache == nullptr || member->cache->deadline() >= next) continue;
      next = member->cache->deadline();
      due = member.get();
    }
    const bool directory_due = directory_ && directory_->deadline() < next;
    if (directory_due) next = directory_->deadline();
    if (next > until) break;
    now_ = std::max(now_, next);
    if (directory_due) {
      directory_->on_time(now_);
    } else if (due != nullptr) {
      due->cache->on_time(now_);
    } else {
      const std::function<void()> what = std::move(events_.begin()->second);
      events_.erase(events_.begin());
      what();
    }
    drain();
  }
  now_ = std::max(now_, until);
}

// ---- sessions

PagesWorld::Link& PagesWorld::link(HostIndex a, HostIndex b) { return links_[{std::min(a, b), std::max(a, b)}]; }

bool PagesWorld::in_session(HostIndex host, HostIndex peer) { return link(host, peer).at_end[end_of(host, peer)] != 0; }

void PagesWorld::begin_soon(HostIndex a, HostIndex b) {
  const Duration gap = between(1ms, trouble_ ? 15ms : 5ms);
  at(now_ + gap, [this, a, b] { begin(a, b); });
}

// Either of the two is the first to know.
void PagesWorld::begin(HostIndex a, HostIndex b) {
  Link& of = link(a, b);
  if (!hosts_[a].up || !hosts_[b].up || of.at_end[0] != 0 || of.at_end[1] != 0) return;
  if (!of.ending && of.number != 0) return;  // an end is about to begin
  of.ending = false;
  const std::uint64_t number = ++of.number;
  const bool a_first = random_.chance(50);
  const HostIndex first = a_first ? a : b;
  const HostIndex second = a_first ? b : a;
  const TimePoint then = now_ + between(0us, latency_most_);
  of.last_arrival[0] = of.last_arrival[1] = then;
  at(then, [this, first, second, number] { began(second, first, number); });
  began(first, second, number);
}

void PagesWorld::began(HostIndex host, HostIndex peer, std::uint64_t number) {
  Link& of = link(host, peer);
  if (of.number != number || of.ending) return;
  of.at_end[end_of(host, peer)] = number;
  trace(host, "in session with", peer, number);
  Host& self = hosts_[host];
  self.peers.insert(HostId{peer});
  if (self.member && self.member->cache) self.member->cache->on_peer(now_, HostId{peer});
  if (peer == 0 && std::exchange(self.cleared, false)) put(host, 0, HostPageMessage(SegmentCleared{}));
}

// The session of the two is over: of what is on its way, some arrives; each end is told at a time of its own.
void PagesWorld::cut(HostIndex a, HostIndex b) {
  Link& of = link(a, b);
  if (of.at_end[0] == 0 || of.at_end[1] == 0 || of.ending) return;
  (std::min(a, b) == 0 ? hosts_lost_ : sessions_lost_) = true;
  sessions_lost_ = true;
  of.ending = true;
  trace(a, "cut off from", b, of.number);
  const std::uint64_t number = of.number;
  for (int end = 0; end < 2; ++end) {
    of.lost_after[end] = random_.chance(50) ? now_ : now_ + between(0us, latency_most_);
    const Duration late = random_.chance(50) ? between(0us, 2ms) : between(0us, kSkew);
    const HostIndex host = end == 0 ? std::min(a, b) : std::max(a, b);
    const HostIndex peer = a + b - host;
    at(now_ + late, [this, host, peer, number] { tell_end(host, peer, number); });
  }
}

void PagesWorld::tell_end(HostIndex host, HostIndex peer, std::uint64_t number, bool restarted) {
  Link& of = link(host, peer);
  std::uint64_t& here = of.at_end[end_of(host, peer)];
  if (here != number) return;
  here = 0;
  trace(host, "session ended with", peer, number);
  Host& self = hosts_[host];
  self.peers.erase(HostId{peer});
  PageCache* cache = self.member ? self.member->cache.get() : nullptr;
  if (host == 0 && !restarted && hosts_[peer].member) hosts_[peer].member->given_up = true;
  const bool directory_first = random_.chance(50);
  const auto tell_directory = [this, host, peer, restarted] {
    if (host != 0 || !directory_) return;
    restarted ? directory_->on_host_restarted(now_, HostId{peer}) : directory_->on_host_lost(now_, HostId{peer});
  };
  if (directory_first) tell_directory();
  if (cache != nullptr && peer == 0) {
    restarted ? cache->on_owner_restarted(now_, now_ + kKeptMost) : cache->on_owner_lost(now_);
  }
  if (cache != nullptr && peer != 0) cache->on_peer_lost(now_, HostId{peer});
  if (!directory_first) tell_directory();
  for (std::size_t index = 0; index < programs_.size(); ++index) {
    Program& program = programs_[index];
    if (peer != 0 || program.host != host || program.step != Step::kAttaching) continue;
    program.step = Step::kOut;
    ++program.stamp;
    schedule_program(index, think_most_);
  }
  begin_soon(host, peer);
}

bool PagesWorld::put(HostIndex from, HostIndex to, Message message) {
  Link& of = link(from, to);
  const int end = end_of(to, from);
  const std::uint64_t number = of.at_end[1 - end];
  if (number == 0) return false;
  const Duration way = between(20us, latency_most_);
  of.last_arrival[end] = std::max(of.last_arrival[end], now_ + way);
  at(of.last_arrival[end], [this, from, to, end, number, message = std::move(message)] {
    const Link& now = link(from, to);
    const bool lost = now.ending && now.number == number && now_ > now.lost_after[end];
    if (lost || now.at_end[end] != number) return count("messages lost");
    arrive(from, to, message);
  });
  return true;
}

void PagesWorld::arrive(HostIndex from, HostIndex to, const Message& message) {
  PageCache* cache = hosts_[to].member ? hosts_[to].member->cache.get() : nullptr;
  if (const auto* call = std::get_if<AttachCall>(&message)) {
    const bool attached = directory_ && directory_->on_attach(now_, HostId{from}, true);
    drain();
    put(0, from, AttachReply{call->program, call->stamp, attached});
  } else if (const auto* reply = std::get_if<AttachReply>(&message)) {
    attached(reply->program, reply->stamp, reply->attached);
  } else if (const auto* told = std::get_if<HostPageMessage>(&message)) {
    if (directory_) directory_->on_message(now_, HostId{from}, *told);
  } else if (const auto* data = std::get_if<PageData>(&message)) {
    trace(to, "data", static_cast<std::uint32_t>(data->page), static_cast<std::uint64_t>(data->transaction));
    if (defect_ == PageDefect::kOldData) old_data_.try_emplace({to, data->page}, *data);
    if (cache != nullptr) cache->on_data(now_, HostId{from}, *data);
  } else if (const auto* said = std::get_if<OwnerPageMessage>(&message)) {
    if (cache != nullptr) cache->on_message(now_, *said);
  }
}

// ---- trouble

void PagesWorld::schedule_trouble() {
  const Duration pause = between(0us, 2 * trouble_pause_);
  at(now_ + pause, [this] {
    if (!trouble_) return;
    trouble();
    schedule_trouble();
  });
}

void PagesWorld::trouble() {
  const std::uint64_t which = random_.below(100);
  const auto a = static_cast<HostIndex>(random_.between(1, hosts_.size() - 1));
  const auto b = static_cast<HostIndex>(random_.between(1, hosts_.size() - 1));
  if (which < peer_cut_percent_) {
    if (a == b) return;
    count("sessions cut");
    cut(a, b);
  } else if (which < peer_cut_percent_ + owner_cut_percent_) {
    count("sessions with the owner cut");
    cut(a, 0);
  } else if (random_.chance(owner_restart_percent_)) {
    const bool has_rested = !only_owner_restarts_ || now_ > owner_started_ + kKeptMost;
    if (hosts_[0].up && has_rested) restart_owner();
  } else if (owner_cut_percent_ != 0 && hosts_[a].up) {
    const bool keeps = random_.chance(restart_percent_) && hosts_[a].member && hosts_[a].member->cache &&
                       !hosts_[a].member->cache->lost() &&
                       (!hosts_[a].member->cache->resuming() || hosts_[a].member->lapses > now_ + 1ms);
    if (keeps) {
      count("daemons started again");
      return restart_daemon(a);
    }
    const bool machine = random_.chance(50);
    count(machine ? "hosts crashed" : "daemons killed");
    stop_daemon(a, machine);
  }
}

void PagesWorld::stop_daemon(HostIndex host, bool machine) {
  trace(host, machine ? "crashes" : "is killed");
  hosts_lost_ = sessions_lost_ = true;
  Host& self = hosts_[host];
  leave_sessions(host);
  for (HostIndex peer = 0; peer < hosts_.size(); ++peer) {
    if (peer == host) continue;
    const std::uint64_t number = link(host, peer).number;
    const Duration late = between(0us, kSkew);
    at(now_ + late, [this, peer, host, number] { tell_end(peer, host, number); });
  }
  if (const MemberPointer member = self.member) {
    member->cache.reset();
    member->work.clear();
    const Duration keeper = between(0us, kSkew);
    if (machine) lose_member(member);
    at(now_ + keeper, [this, member] { lose_member(member); });
  }
  const Duration down = between(1ms, kDownMost);
  at(now_ + down, [this, host] { start_daemon(host); });
}

// It hears and says nothing more; what it has said arrives in part.
void PagesWorld::leave_sessions(HostIndex host) {
  Host& self = hosts_[host];
  self.up = false;
  self.cleared = false;
  self.peers.clear();
  for (HostIndex peer = 0; peer < hosts_.size(); ++peer) {
    if (peer == host) continue;
    Link& of = link(host, peer);
    of.at_end[end_of(host, peer)] = 0;
    const TimePoint lost_after = now_ + between(0us, latency_most_);
    if (!of.ending) of.lost_after[0] = of.lost_after[1] = lost_after;  // what is lost already stays so
    of.ending = true;
  }
  for (Program& program : programs_) {
    if (program.host != host || program.step != Step::kAttaching) continue;
    program.step = Step::kOut;
    ++program.stamp;
  }
}

// Its daemon is killed and started again, and finds what its programs have. Others hear of it by what the new one says;
// but some have given it up before.
void PagesWorld::restart_daemon(HostIndex host) {
  trace(host, "is killed and started again");
  hosts_lost_ = sessions_lost_ = true;
  leave_sessions(host);
  Member& member = *hosts_[host].member;
  if (!member.cache->resuming()) member.lapses = now_ + kKeptMost;
  member.cache.reset();
  member.work.clear();
  member.working = false;
  member.faulted.clear();
  ++member.life;
  member.restarting = true;
  const Duration down = between(1ms, member.lapses - now_);
  for (HostIndex peer = 0; peer < hosts_.size(); ++peer) {
    if (peer == host) continue;
    const std::uint64_t number = link(host, peer).number;
    const bool gives_up = random_.chance(20);
    const Duration late = gives_up ? between(0us, down) : down;
    at(now_ + late, [this, peer, host, number, gives_up] { tell_end(peer, host, number, !gives_up); });
  }
  at(now_ + down, [this, host] { take_back(host); });
}

void PagesWorld::take_back(HostIndex host) {
  trace(host, "starts and takes back");
  Host& self = hosts_[host];
  const MemberPointer member = self.member;
  std::map<PageIndex, PageCache::Access> held;
  for (const auto& [page, mapping] : member->pages) {
    PageCache::Access access = PageCache::Access::kInvalid;
    if (mapping.lost) access = PageCache::Access::kLost;
    if (mapping.readable && defect_ != PageDefect::kHoldsNothing) access = PageCache::Access::kShared;
    if (mapping.writable && defect_ != PageDefect::kHoldsNothing) access = PageCache::Access::kExclusive;
    if (mapping.readable && defect_ == PageDefect::kHoldsMore) access = PageCache::Access::kExclusive;
    held.emplace(page, access);
  }
  std::uint64_t attachments = 0;
  for (const Program& program : programs_) attachments += program.member == member ? 1 : 0;
  PageCacheOptions options = cache_options_;
  options.self = HostId{host};
  member->cache = std::make_unique<PageCache>(member->lapses, options, held, attachments);
  member->restarting = false;
  self.up = true;
  wake(member, nullptr);
  for (HostIndex peer = 0; peer < hosts_.size(); ++peer) {
    if (peer != host) begin_soon(host, peer);
  }
  for (std::size_t index = 0; index < programs_.size(); ++index) {
    Program& program = programs_[index];
    if (program.host != host || program.step != Step::kOut) continue;
    ++program.stamp;
    schedule_program(index, think_most_);
  }
}

// The same of the owner's daemon, with the directory: the next one has what was written down of that.
void PagesWorld::restart_owner() {
  trace(0, "is killed and started again");
  count("owners started again");
  hosts_lost_ = sessions_lost_ = true;
  leave_sessions(0);
  directory_.reset();
  Member& member = *hosts_[0].member;
  member.cache.reset();
  member.work.clear();
  member.working = false;
  member.faulted.clear();
  ++member.life;
  member.restarting = true;
  member.lapses = now_ + kKeptMost;
  const Duration down = between(1ms, kKeptMost);
  for (HostIndex peer = 1; peer < hosts_.size(); ++peer) {
    const std::uint64_t number = link(0, peer).number;
    const bool gives_up = !only_owner_restarts_ && random_.chance(20);
    const Duration late = gives_up ? between(0us, down) : down;
    at(now_ + late, [this, peer, number, gives_up] {
      const MemberPointer& there = hosts_[peer].member;
      if (gives_up && there) there->given_up = true;
      tell_end(peer, 0, number, !gives_up);
    });
  }
  at(now_ + down, [this] { take_back_directory(); });
}

void PagesWorld::take_back_directory() {
  owner_started_ = now_;
  if (defect_ != PageDefect::kCountsAnew) ++records_.epoch;
  for (auto& [index, record] : records_.pages) {
    if (defect_ == PageDefect::kForgetsHolders && !record.holders.empty() && random_.chance(25)) {
      record.holders.erase(record.holders.begin());
    }
    if (defect_ == PageDefect::kForgetsRequesters) record.requester.reset();
    if (defect_ == PageDefect::kForgetsWritten) record.written = false;
  }
  directory_ = std::make_unique<PageDirectory>(now_, directory_options_, records_);
  take_back(0);
  hosts_[0].member->cache->on_peer(now_, HostId{0});
}

// A new incarnation takes all away that the old one has left, before it says hello to anybody.
void PagesWorld::start_daemon(HostIndex host) {
  trace(host, "starts");
  Host& self = hosts_[host];
  if (self.member) lose_member(self.member);
  self.member.reset();
  self.up = true;
  self.cleared = true;
  for (HostIndex peer = 0; peer < hosts_.size(); ++peer) {
    if (peer != host) begin_soon(host, peer);
  }
  for (std::size_t index = 0; index < programs_.size(); ++index) {
    Program& program = programs_[index];
    if (program.host != host || program.step != Step::kOut) continue;
    ++program.stamp;
    schedule_program(index, think_most_);
  }
}

PagesWorld::MemberPointer PagesWorld::make_member(HostIndex host) {
  auto member = std::make_shared<Member>();
  member->host = host;
  PageCacheOptions options = cache_options_;
  options.self = HostId{host};
  member->cache = std::make_unique<PageCache>(options, hosts_[host].peers);
  members_.push_back(member);
  return member;
}

void PagesWorld::lose_member(const MemberPointer& member) {
  if (!std::exchange(member->all_lost, true)) {
    trace(member->host, "loses all");
    member->pages.clear();
    wake(member, nullptr);
  }
  if (member->cache == nullptr) members_.erase(std::remove(members_.begin(), members_.end(), member), members_.end());
}

}  // namespace dipc::sim
