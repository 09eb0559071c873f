#include "daemon/core/referee.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "wire/check.h"

namespace dipc {
namespace {

Resolved absent(RequestId id) {
  Resolved resolved;
  resolved.id = id;
  resolved.outcome = Resolved::Outcome::kAbsent;
  return resolved;
}

// 2^40 claims outlast any run; the 24 bits above tell the runs apart.
constexpr int kClaimCounterBits = 40;

}  // namespace

Referee::Referee(TimePoint now, Incarnation incarnation, RefereeOptions options, Registry table)
    : options_(options),
      table_(std::move(table)),
      next_claim_((static_cast<std::uint64_t>(incarnation) << kClaimCounterBits) + 1),
      in_grace_(options.table_lost && options.grace > Duration::zero()),
      grace_end_(in_grace_ ? now + options.grace : now) {
  for (const auto& [name, entry] : table_) owned_[entry.owner].insert(name);
}

// ---- sessions

void Referee::on_host(TimePoint now, const std::string& host, const std::string& boot) {
  on_time(now);
  on_host_lost(now, host);  // a new session ends the old one
  hosts_[host].boot = boot;
  const auto owned = owned_.find(host);
  if (owned == owned_.end()) return;
  const std::set<ObjectName> names = owned->second;
  for (const ObjectName& name : names) {
    if (table_.at(name).boot != boot) drop(name);  // its kernel has begun anew: the object is no more
  }
}

void Referee::on_host_lost(TimePoint now, const std::string& host) {
  on_time(now);
  if (hosts_.contains(host)) forget_session(host);
  // Its claims are over; others may go on. Not before its own waiting requests are forgotten.
  std::vector<ClaimId> over;
  for (const auto& [id, claim] : claims_) {
    if (claim.host == host) over.push_back(id);
  }
  for (const ClaimId id : over) {
    const ObjectName name = claims_.at(id).name;
    close_claim(id);
    settle(now, name);
  }
}

void Referee::forget_session(const std::string& host) {
  for (auto it = waiting_.begin(); it != waiting_.end();) {
    std::erase_if(it->second, [&](const Waiter& waiter) { return waiter.host == host; });
    it = it->second.empty() ? waiting_.erase(it) : std::next(it);
  }
  hosts_.erase(host);
}

Referee::Host& Referee::session_of(const std::string& host) {
  const auto it = hosts_.find(host);
  DIPC_CHECK(it != hosts_.end());  // on_host() comes first
  return it->second;
}

// ---- names

void Referee::on_resolve(TimePoint now, const std::string& host, const Resolve& resolve) {
  on_time(now);
  session_of(host);
  if (resolve.name.key == 0) {  // IPC_PRIVATE names nothing; no daemon of ours asks
    log(host, resolve.name, "asked for the owner of IPC_PRIVATE, which has none: answered absent");
    actions_.emplace_back(Answer{host, absent(resolve.id)});
    return;
  }
  if (const auto entry = table_.find(resolve.name); entry != table_.end()) {
    answer_present(host, resolve.id, entry->second);
  } else if (in_grace_ || claim_of_.contains(resolve.name)) {
    wait(host, resolve);
  } else if (!resolve.create) {
    actions_.emplace_back(Answer{host, absent(resolve.id)});
  } else {
    grant(now, host, resolve);
  }
}

void Referee::answer_present(const std::string& host, RequestId id, const RegistryEntry& entry) {
  Resolved resolved;
  resolved.id = id;
  resolved.outcome = Resolved::Outcome::kPresent;
  resolved.owner = entry.owner;
  resolved.generation = entry.generation;
  actions_.emplace_back(Answer{host, std::move(resolved)});
}

void Referee::wait(const std::string& host, const Resolve& resolve) {
  Host& session = session_of(host);
  if (session.waiting >= options_.waiting_per_host_max) {
    log(host, resolve.name, "too many of its requests wait for claims of others: this one is not answered");
    return;
  }
  ++session.waiting;
  waiting_[resolve.name].push_back(Waiter{host, resolve});
}

bool Referee::grant(TimePoint now, const std::string& host, const Resolve& resolve) {
  Host& session = session_of(host);
  if (session.claims >= options_.claims_per_host_max) {
    log(host, resolve.name, "too many of its claims are open: this request is not answered");
    return false;
  }
  ++session.claims;
  const ClaimId id{next_claim_++};
  claims_.emplace(id, Claim{.name = resolve.name,
                            .host = host,
                            .home = resolve.home.empty() ? host : resolve.home,
                            .deadline = now + options_.claim_timeout});
  claim_of_.emplace(resolve.name, id);
  Resolved resolved;
  resolved.id = resolve.id;
  resolved.outcome = Resolved::Outcome::kCreate;
  resolved.claim = id;
  actions_.emplace_back(Answer{host, std::move(resolved)});
  return true;
}

void Referee::close_claim(ClaimId id) {
  const auto it = claims_.find(id);
  DIPC_CHECK(it != claims_.end());
  if (const auto session = hosts_.find(it->second.host); session != hosts_.end()) --session->second.claims;
  claim_of_.erase(it->second.name);
  claims_.erase(it);
}

void Referee::settle(TimePoint now, const ObjectName& name) {
  const auto it = waiting_.find(name);
  if (it == waiting_.end()) return;
  const auto entry = table_.find(name);
  if (entry == table_.end() && in_grace_) return;
  std::deque<Waiter> still;
  for (const Waiter& waiter : it->second) {
    Host& session = session_of(waiter.host);
    if (entry != table_.end()) {
      answer_present(waiter.host, waiter.resolve.id, entry->second);
    } else if (!waiter.resolve.create) {
      // Nothing has the name at this moment, whatever the next claim leads to.
      actions_.emplace_back(Answer{waiter.host, absent(waiter.resolve.id)});
    } else if (claim_of_.contains(name)) {
      still.push_back(waiter);
      continue;
    } else {
      grant(now, waiter.host, waiter.resolve);
    }
    --session.waiting;
  }
  if (still.empty()) {
    waiting_.erase(it);
  } else {
    it->second = std::move(still);
  }
}

// ---- objects

bool Referee::may_register(const std::string& host, const Register& registration, const Claim& claim) {
  const std::string& claimant = registration.claimant.empty() ? host : registration.claimant;
  if (claim.name == registration.name && claim.home == host && claim.host == claimant) return true;
  log(host, registration.name,
      "came for " + claimant + " with a claim that " + claim.host + " has, for " + claim.home + " to register");
  return false;
}

void Referee::on_register(TimePoint now, const std::string& host, const Register& registration) {
  on_time(now);
  Host& session = session_of(host);
  const ObjectName& name = registration.name;
  Registered answer{.id = registration.id, .accepted = false};
  const auto entry = table_.find(name);
  const auto claim = claims_.find(registration.claim);
  if (claim != claims_.end() && may_register(host, registration, claim->second)) {
    DIPC_CHECK(entry == table_.end());  // a claim and an entry exclude each other
    close_claim(registration.claim);
    if (has_room(host)) {
      enter(name, host, registration.generation);
      if (!session.announced_all) session.announced.insert(name);
      answer.accepted = true;
    } else {
      log(host, name, "owns too many objects: registration refused");
    }
  } else if (entry != table_.end() && entry->second.owner == host &&
             entry->second.generation == registration.generation) {
    answer.accepted = true;
  } else if (entry != table_.end()) {
    log(host, name, "conflicting registration refused: the name is " + entry->second.owner + "'s");
  } else if (claim == claims_.end()) {
    log(host, name, "registration refused: its claim is over");
  }
  actions_.emplace_back(Answer{host, answer});
  settle(now, name);
}

void Referee::on_abandon(TimePoint now, const std::string& host, const Abandon& abandon) {
  on_time(now);
  session_of(host);
  const auto claim = claims_.find(abandon.claim);
  if (claim == claims_.end()) return;  // registered, or over
  const ObjectName name = claim->second.name;
  const std::string& asker = claim->second.host;
  if (asker != host) {
    log(host, name, "gave back a claim that " + asker + " has: ignored");
    return;
  }
  close_claim(abandon.claim);
  settle(now, name);
}

void Referee::on_removed(TimePoint now, const std::string& host, const Removed& removed) {
  on_time(now);
  session_of(host);
  const auto entry = table_.find(removed.name);
  if (entry == table_.end() || entry->second.generation != removed.generation) return;  // gone already
  if (entry->second.owner != host) {
    log(host, removed.name, "reported an object of " + entry->second.owner + " as removed: ignored");
    return;
  }
  drop(removed.name);
}

void Referee::on_announce(TimePoint now, const std::string& host, const Announce& announce) {
  on_time(now);
  Host& session = session_of(host);
  Announced answer;
  for (const NamedObject& object : announce.owned) {
    if (!announce_one(now, host, object)) answer.refused.push_back(object);
  }
  for (const NamedObject& object : announce.used) {
    if (!in_grace_) {
      answer_dropped_unless_present(host, object);
    } else if (session.used.size() < options_.entries_per_host_max) {
      session.used.push_back(object);
    }
  }
  if (announce.last && !session.announced_all) {
    session.announced_all = true;
    std::vector<ObjectName> gone;
    if (const auto owned = owned_.find(host); owned != owned_.end()) {
      std::set_difference(owned->second.begin(), owned->second.end(), session.announced.begin(),
                          session.announced.end(), std::back_inserter(gone));
    }
    session.announced.clear();
    for (const ObjectName& name : gone) drop(name);
  }
  actions_.emplace_back(Answer{host, std::move(answer)});
}

// An object that the table does not know and whose name is free is taken in, after the grace time too: its entry was
// forgotten by an administrator, or the table is an old copy. Refusing would fence contents that conflict with nothing.
// A claim on the name gives way: what the claimer makes is empty yet and known to no program.
bool Referee::announce_one(TimePoint now, const std::string& host, const NamedObject& object) {
  const ObjectName& name = object.name;
  if (name.key == 0) return true;  // names nothing, so conflicts with nothing
  Host& session = session_of(host);
  const auto entry = table_.find(name);
  if (entry != table_.end() && entry->second.owner != host) {
    log(host, name, "announced an object whose name is " + entry->second.owner + "'s: refused, it fences the object");
    return false;
  }
  if (entry == table_.end() && !has_room(host)) {
    log(host, name, "owns too many objects: announcement refused");
    return false;
  }
  if (entry == table_.end()) {
    if (const auto claim = claim_of_.find(name); claim != claim_of_.end()) close_claim(claim->second);
    enter(name, host, object.generation);
    settle(now, name);
    if (!in_grace_) log(host, name, "announced an object that was not in the table: taken in");
  } else if (entry->second.generation != object.generation) {
    // One kernel has one object of a key, so the one we knew is gone.
    log(host, name, "announced another object of its name than the table had: the old one is dropped");
    drop(name);
    enter(name, host, object.generation);
  }
  if (!session.announced_all) session.announced.insert(name);
  return true;
}

void Referee::answer_dropped_unless_present(const std::string& host, const NamedObject& object) {
  const auto entry = table_.find(object.name);
  if (entry != table_.end() && entry->second.generation == object.generation) return;
  actions_.emplace_back(Answer{host, Dropped{object.name, object.generation}});
}

bool Referee::on_forget(TimePoint now, const ObjectName& name) {
  on_time(now);
  if (!table_.contains(name)) return false;
  drop(name);
  return true;
}

bool Referee::has_room(const std::string& owner) const {
  const auto owned = owned_.find(owner);
  return owned == owned_.end() || owned->second.size() < options_.entries_per_host_max;
}

void Referee::enter(const ObjectName& name, const std::string& owner, std::uint64_t generation) {
  RegistryEntry entry{owner, session_of(owner).boot, generation};
  DIPC_CHECK(table_.emplace(name, entry).second);
  owned_[owner].insert(name);
  actions_.emplace_back(Persist{name, std::move(entry)});
}

void Referee::drop(const ObjectName& name) {
  const auto it = table_.find(name);
  DIPC_CHECK(it != table_.end());
  const Dropped dropped{name, it->second.generation};
  const auto owned = owned_.find(it->second.owner);
  owned->second.erase(name);
  if (owned->second.empty()) owned_.erase(owned);
  table_.erase(it);
  actions_.emplace_back(Persist{name, std::nullopt});
  actions_.emplace_back(Broadcast{dropped});
}

// ---- time

void Referee::on_time(TimePoint now) {
  if (in_grace_ && now >= grace_end_) end_grace(now);
  while (!claims_.empty() && claims_.begin()->second.deadline <= now) {
    const ObjectName name = claims_.begin()->second.name;
    close_claim(claims_.begin()->first);
    settle(now, name);
  }
}

void Referee::end_grace(TimePoint now) {
  in_grace_ = false;
  actions_.emplace_back(GraceOver{});
  for (auto& [host, session] : hosts_) {
    for (const NamedObject& object : session.used) answer_dropped_unless_present(host, object);
    session.used = {};
  }
  std::vector<ObjectName> names;
  for (const auto& [name, waiters] : waiting_) names.push_back(name);
  for (const ObjectName& name : names) settle(now, name);
}

TimePoint Referee::deadline() const {
  const TimePoint claims = claims_.empty() ? kNever : claims_.begin()->second.deadline;
  return in_grace_ ? std::min(claims, grace_end_) : claims;
}

std::vector<Referee::Action> Referee::take_actions() { return std::exchange(actions_, {}); }

std::size_t Referee::waiting_requests() const {
  std::size_t count = 0;
  for (const auto& [name, waiters] : waiting_) count += waiters.size();
  return count;
}

void Referee::log(const std::string& host, const ObjectName& name, std::string text) {
  actions_.emplace_back(Log{host, name, std::move(text)});
}

}  // namespace dipc
