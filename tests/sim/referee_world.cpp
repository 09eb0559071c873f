#include "tests/sim/referee_world.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "wire/check.h"

namespace dipc::sim {
namespace {

using namespace std::chrono_literals;

constexpr Duration kOpTimeout = 5s;
constexpr std::int32_t kKernelIds = 64;

}  // namespace

// ---- kernel

ModelKernel::Got ModelKernel::get(const Object& as, bool create) {
  if (as.name.key != 0) {
    if (const auto key = keys_.find(as.name); key != keys_.end()) {
      const Object& found = objects_.at({as.name.kind, key->second});
      if (create) return {Error::kExists, -1};
      const bool allowed = found.user == as.user && !found.stand_in;
      return allowed ? Got{Error::kNone, key->second} : Got{Error::kAccess, -1};
    }
    if (!create) return {Error::kNoEntry, -1};
  }
  for (std::int32_t tries = 0; tries < kKernelIds; ++tries) {
    next_ = (next_ + 1) % kKernelIds;
    const auto last = last_id_.find(as.name);
    if (objects_.contains({as.name.kind, next_}) || (last != last_id_.end() && last->second == next_)) continue;
    objects_[{as.name.kind, next_}] = as;
    last_id_[as.name] = next_;
    if (as.name.key != 0) keys_[as.name] = next_;
    return {Error::kNone, next_};
  }
  return {Error::kNoSpace, -1};
}

bool ModelKernel::remove(Kind kind, std::int32_t id) {
  const auto it = objects_.find({kind, id});
  if (it == objects_.end()) return false;
  if (it->second.name.key != 0) keys_.erase(it->second.name);
  objects_.erase(it);
  return true;
}

const ModelKernel::Object* ModelKernel::find(Kind kind, std::int32_t id) const {
  const auto it = objects_.find({kind, id});
  return it == objects_.end() ? nullptr : &it->second;
}

std::vector<std::pair<std::int32_t, ModelKernel::Object>> ModelKernel::all() const {
  std::vector<std::pair<std::int32_t, Object>> list;
  for (const auto& [id, object] : objects_) list.emplace_back(id.second, object);
  return list;
}

void ModelKernel::boot() {
  objects_.clear();
  keys_.clear();
}

// ---- events

World::World(std::uint64_t seed, Fault fault, bool trace)
    : random_(seed), fault_(fault), trace_(trace), history_(kOpTimeout) {
  const auto names = random_.between(1, 3);
  for (std::uint64_t n = 0; n < names; ++n) {
    const Kind kind = random_.chance(50) ? Kind::kMessageQueue : Kind::kSemaphoreSet;
    names_.push_back(ObjectName{kind, static_cast<std::int32_t>(n + 1)});
    if (random_.chance(40)) homes_[names_.back()] = static_cast<int>(random_.below(kHosts));
  }
  claim_timeout_ = random_.chance(50) ? Duration(300ms) : Duration(5s);
  rough_ = random_.chance(70);
  slow_percent_ = random_.chance(60) ? 4 : 0;
  loses_table_ = random_.chance(20);
  forgets_ = random_.chance(15);
}

void World::at(TimePoint when, std::function<void()> what) {
  events_.emplace(std::pair(std::max(when, now_), event_count_++), std::move(what));
}

void World::on_host(int host, Duration delay, std::function<void()> what) {
  after(delay, [this, host, run = hosts_[static_cast<std::size_t>(host)].run, what = std::move(what)] {
    const Host& state = hosts_[static_cast<std::size_t>(host)];
    if (!state.up || state.run != run) return;
    what();
    advance(host);
  });
}

void World::run_until(TimePoint end) {
  while (!events_.empty() && events_.begin()->first.first <= end && history_.first_violation().empty()) {
    auto event = events_.extract(events_.begin());
    now_ = event.key().first;
    if (in_trouble()) trouble_until_ = std::max(trouble_until_, now_);
    event.mapped()();
  }
}

void World::drain() { run_until(now_ + 300s); }

Duration World::milliseconds(std::uint64_t low, std::uint64_t high) {
  // In microseconds, or too much would happen at once.
  return std::chrono::microseconds(random_.between(low * 1000, high * 1000));
}

void World::trace(const std::string& text) {
  if (!trace_) return;
  const auto us = std::chrono::duration_cast<std::chrono::microseconds>(now_.time_since_epoch()).count();
  std::printf("%3lld.%06lld  %s\n", static_cast<long long>(us / 1000000), static_cast<long long>(us % 1000000),
              text.c_str());
}

std::string World::boot_of(int host) const {
  return host_name(host) + " boot " + std::to_string(hosts_[static_cast<std::size_t>(host)].boots);
}

// ---- links

bool World::send(int from, int to, const PeerMessage& message) {
  Link& between = link(from, to);
  const std::uint64_t epoch = between.side[side(from, to)];
  if (epoch == 0) return false;
  Duration delay = from == to ? Duration::zero() : milliseconds(0, 20);
  const bool slow = from != to && random_.chance(slow_percent_) && !calm_;
  if (slow) delay += milliseconds(0, random_.chance(20) ? 6000 : 800);
  TimePoint& last = between.last[side(from, to)];
  last = std::max(last, now_ + delay);
  if (slow) trouble_until_ = std::max(trouble_until_, last);
  at(last, [this, from, to, epoch, message] { deliver(from, to, epoch, message); });
  return true;
}

void World::deliver(int from, int to, std::uint64_t epoch, const PeerMessage& message) {
  const Link& between = link(from, to);
  Host& host = hosts_[static_cast<std::size_t>(to)];
  if (between.epoch != epoch || between.side[side(to, from)] != epoch || !host.up) return;
  const std::string sender = host_name(from);
  if (const auto* resolve = std::get_if<Resolve>(&message)) {
    referee_->on_resolve(now_, sender, *resolve);
  } else if (const auto* registration = std::get_if<Register>(&message)) {
    referee_->on_register(now_, sender, *registration);
  } else if (const auto* abandon = std::get_if<Abandon>(&message)) {
    referee_->on_abandon(now_, sender, *abandon);
  } else if (const auto* removed = std::get_if<Removed>(&message)) {
    referee_->on_removed(now_, sender, *removed);
  } else if (const auto* announced_here = std::get_if<Announce>(&message)) {
    referee_->on_announce(now_, sender, *announced_here);
  } else if (const auto* resolved = std::get_if<Resolved>(&message)) {
    const auto it = host.resolving.find(resolved->id);
    if (it != host.resolving.end()) {
      host.operations.at(it->second).machine->on_resolved(now_, *resolved);
      host.resolving.erase(it);
    } else if (const auto unwanted = GetOperation::late_answer(*resolved)) {
      send(to, kReferee, *unwanted);
    }
  } else if (const auto* registered = std::get_if<Registered>(&message)) {
    Registered answer = *registered;
    if (fault_ == Fault::kTakesRefusedForAccepted) answer.accepted = true;
    host.owned->on_registered(now_, answer);
    for (const ObjectName& name : names_) check_unique(name);
  } else if (const auto* announced = std::get_if<Announced>(&message)) {
    host.owned->on_announced(now_, *announced);
  } else if (const auto* dropped = std::get_if<Dropped>(&message)) {
    on_dropped(to, *dropped);
  } else if (const auto* call = std::get_if<Call>(&message)) {
    Served served;
    served.from = from;
    served.epoch = epoch;
    served.call = call->id;
    served.user = call->caller.login == "1" ? 1 : 0;
    serve(to, served, std::get<GetCall>(call->body));
  } else if (const auto* reply = std::get_if<Reply>(&message)) {
    const auto* body = std::get_if<GetReply>(&reply->body);
    on_reply(to, from, reply->id, reply->error, body ? *body : GetReply{});
  }
  advance(to);
}

// The connection is lost for good. Each side notices in its own time and speaks into the void until then.
void World::cut(int a, int b) {
  Link& between = link(a, b);
  if (between.epoch == 0) return;
  trace("session " + host_name(a) + "-" + host_name(b) + " is lost");
  const std::uint64_t lost = std::exchange(between.epoch, 0);
  for (const auto& [host, peer] : {std::pair(a, b), std::pair(b, a)}) {
    if (between.side[side(host, peer)] != lost) continue;
    const Duration delay = milliseconds(0, 2000);
    on_host(host, delay, [this, host = host, peer = peer] { notice_loss(host, peer); });
  }
}

void World::notice_loss(int host, int peer) {
  Link& between = link(host, peer);
  between.side[side(host, peer)] = 0;
  Host& state = hosts_[static_cast<std::size_t>(host)];
  if (host == kReferee) referee_->on_host_lost(now_, host_name(peer));
  if (peer == kReferee) {
    state.owned->on_referee_lost(now_);
    const auto resolving = std::exchange(state.resolving, {});
    for (const auto& [request, id] : resolving) state.operations.at(id).machine->on_referee_unreachable(now_);
  }
  std::vector<std::uint64_t> lost;
  for (const auto& [call, asked] : state.asked) {
    if (asked.owner == peer) lost.push_back(asked.operation);
  }
  std::erase_if(state.asked, [peer](const auto& entry) { return entry.second.owner == peer; });
  for (const std::uint64_t id : lost) {
    state.operations.at(id).machine->on_owner_unreachable(now_, Error::kConnectionReset);
  }
  open_later(host, peer);
}

void World::open_later(int a, int b) {
  Link& between = link(a, b);
  if (between.opening || between.side[0] != 0 || between.side[1] != 0) return;
  between.opening = true;
  after(milliseconds(10, 2000), [this, a, b] {
    Link& opened = link(a, b);
    opened.opening = false;
    if (!hosts_[static_cast<std::size_t>(a)].up || !hosts_[static_cast<std::size_t>(b)].up) return;
    opened.epoch = next_++;
    opened.side = {opened.epoch, opened.epoch};
    const bool swap = random_.chance(50);
    session_began(swap ? b : a, swap ? a : b);
    session_began(swap ? a : b, swap ? b : a);
  });
}

void World::session_began(int host, int peer) {
  if (host == kReferee) referee_->on_host(now_, host_name(peer), boot_of(peer));
  if (peer == kReferee) announce(host);
  advance(host);
}

bool World::in_trouble() const {
  if (!referee_ || referee_->in_grace()) return true;
  for (const Host& host : hosts_) {
    if (!host.up) return true;
  }
  for (const auto& [ends, between] : links_) {
    if (between.epoch == 0 || between.side[0] != between.epoch || between.side[1] != between.epoch) return true;
  }
  return false;
}

// ---- what is true

const std::vector<OwnedObject> World::objects_of(int host) const {
  const Host& state = hosts_[static_cast<std::size_t>(host)];
  return state.owned ? state.owned->objects() : state.state_file;
}

bool World::alive(std::uint64_t generation) const {
  const auto it = made_.find(generation);
  if (it == made_.end()) return false;
  for (const auto& [id, object] : hosts_[static_cast<std::size_t>(it->second.host)].kernel.all()) {
    if (object.serial == it->second.serial) return true;
  }
  return false;
}

bool World::is_occupied(const ObjectName& name) const {
  if (disk_.table.contains(name)) return true;
  for (const Host& host : hosts_) {
    for (const auto& [id, object] : host.kernel.all()) {
      if (object.name == name && !object.stand_in) return true;
    }
  }
  return false;
}

bool World::is_undistributed(const ObjectName& name) const {
  for (int host = 0; host < kHosts; ++host) {
    for (const auto& [id, object] : hosts_[static_cast<std::size_t>(host)].kernel.all()) {
      if (object.name == name && object.undistributed) return true;
    }
    for (const OwnedObject& object : objects_of(host)) {
      if (object.name == name && object.state == OwnedObject::State::kFenced && alive(object.ref.generation))
        return true;
    }
  }
  return false;
}

void World::check_unique(const ObjectName& name) {
  std::vector<History::Claimed> claimed;
  for (int host = 0; host < kHosts; ++host) {
    for (const OwnedObject& object : objects_of(host)) {
      if (object.name == name && object.state == OwnedObject::State::kLive && alive(object.ref.generation)) {
        claimed.push_back(History::Claimed{host, object.ref.generation});
      }
    }
  }
  history_.check_unique(name, claimed);
}

}  // namespace dipc::sim
