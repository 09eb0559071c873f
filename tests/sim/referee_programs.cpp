// What programs, people and bad luck do to the model cluster, and what must hold at the end. See referee_world.h.

#include <string>
#include <utility>

#include "tests/sim/referee_world.h"

namespace dipc::sim {
namespace {

using namespace std::chrono_literals;

constexpr Duration kOpTimeout = 5s;
constexpr Duration kStormy = 30s;  // of random steps

}  // namespace

std::string World::run() {
  for (int host = 0; host < kHosts; ++host) start_daemon(host);
  after(1s, [this] { random_step(); });
  run_until(TimePoint(kStormy));
  if (history_.first_violation().empty()) settle_down();
  if (history_.first_violation().empty()) check_end();
  return history_.first_violation();
}

void World::random_step() {
  if (calm_) return;
  const int host = static_cast<int>(random_.below(kHosts));
  const bool up = hosts_[static_cast<std::size_t>(host)].up;
  auto dice = random_.below(100);
  if (!rough_ && dice >= 87 && dice < 98 && !random_.chance(10)) dice = 0;
  if (dice < 70) {
    ObjectName name = random_.pick(names_);
    if (random_.chance(3)) name.key = 0;
    const bool create = random_.chance(65);
    const bool exclusive = random_.chance(30);
    const int user = random_.chance(10) ? 1 : 0;
    if (up) begin_get(host, name, create, exclusive, user);
  } else if (dice < 82) {
    if (up) remove_some(host);
  } else if (dice < 86) {
    remove_behind_our_back(host);
  } else if (dice < 87) {
    make_undistributed(host);
  } else if (dice < 93) {
    const int peer = static_cast<int>(random_.below(kHosts));
    if (peer != host) cut(host, peer);
  } else if (dice < 96) {
    const bool reboot = random_.chance(40);
    if (up) stop_daemon(host, reboot);
  } else if (dice < 98) {
    if (hosts_[kReferee].up) stop_daemon(kReferee, false);
  } else if (dice < 99) {
    if (up && !hosts_[static_cast<std::size_t>(host)].operations.empty()) {
      hosts_[static_cast<std::size_t>(host)].operations.begin()->second.machine->on_cancel(now_);
      advance(host);
    }
  } else if (forgets_ && referee_) {
    const ObjectName name = random_.pick(names_);
    if (referee_->on_forget(now_, name)) history_.excuse(name);
    advance(kReferee);
  }
  // Bursts of steps, and quiet between them.
  const Duration next = random_.chance(60) ? milliseconds(0, 20) : milliseconds(0, 600);
  after(next, [this] { random_step(); });
}

void World::begin_get(int host, const ObjectName& name, bool create, bool exclusive, int user) {
  Host& state = hosts_[static_cast<std::size_t>(host)];
  GetRequest request{.name = name, .create = create, .exclusive = exclusive, .mode = 0600, .size = 1};
  const auto home = homes_.find(name);
  request.home = host_name(home == homes_.end() ? host : home->second);
  const auto stand_in = state.stand_ins.find(name);
  const OwnedObject* own = name.key == 0 ? nullptr : state.owned->find(name);
  if (own && own->state == OwnedObject::State::kLive) {
    request.known_owner = host_name(host);
  } else if (stand_in != state.stand_ins.end()) {
    request.known_owner = host_name(stand_in->second.owner);
  }
  const std::uint64_t id = next_++;
  Operation operation;
  operation.request = request;
  operation.user = user;
  operation.record = History::Get{name, create, exclusive, now_};
  trace("get " + std::to_string(id) + " of " + std::to_string(name.key) + " on " + host_name(host) +
        (create ? " create" : "") + (exclusive ? " exclusive" : "") +
        (request.known_owner.empty() ? "" : " known at " + request.known_owner) + " home " + request.home);
  if (fault_ == Fault::kTrustsItsStandIns && stand_in != state.stand_ins.end()) {
    const std::uint64_t generation = stand_in->second.generation;
    const GetReply reply{ObjectRef{name.kind, made_.at(generation).id, generation}, 1};
    history_.finished(now_, operation.record, Error::kNone, reply, true, true);
    return;
  }
  if (fault_ == Fault::kInventsEEXIST && create && exclusive && random_.chance(10)) {
    history_.finished(now_, operation.record, Error::kExists, GetReply{}, is_occupied(name), is_undistributed(name));
    return;
  }
  operation.machine.emplace(std::move(request), kOpTimeout);
  operation.machine->start(now_);
  state.operations.emplace(id, std::move(operation));
  advance(host);
}

// Just before it goes.
void World::kernel_removed(int host, Kind kind, std::int32_t id) {
  const ModelKernel::Object object = *hosts_[static_cast<std::size_t>(host)].kernel.find(kind, id);
  if (object.stand_in) return;
  history_.occupied(now_, object.name, is_undistributed(object.name));
  if (const auto it = generation_of_.find(object.serial); it != generation_of_.end()) {
    trace("object " + std::to_string(it->second) + " on " + host_name(host) + " goes");
    history_.gone(now_, it->second);
  }
}

// As the daemon does it: IPC_RMID in the kernel, then the table.
void World::remove_some(int host) {
  Host& state = hosts_[static_cast<std::size_t>(host)];
  std::vector<OwnedObject> candidates;
  for (const OwnedObject& object : state.owned->objects()) {
    if (object.state != OwnedObject::State::kRegistering) candidates.push_back(object);
  }
  if (candidates.empty()) return;
  const OwnedObject object = random_.pick(candidates);
  const ModelKernel::Object* found = state.kernel.find(object.ref.kind, object.ref.id);
  if (found && found->name == object.name && !found->undistributed && !found->stand_in) {
    kernel_removed(host, object.ref.kind, object.ref.id);
    state.kernel.remove(object.ref.kind, object.ref.id);
  }
  state.owned->on_gone(now_, object.ref);
  advance(host);
}

// ipcrm: nobody tells the daemon.
void World::remove_behind_our_back(int host) {
  Host& state = hosts_[static_cast<std::size_t>(host)];
  const auto all = state.kernel.all();
  if (all.empty()) return;
  const auto [id, object] = random_.pick(all);
  kernel_removed(host, object.name.kind, id);
  state.kernel.remove(object.name.kind, id);
}

// A program without the shim makes an object under a distributed key, and somebody removes it some time later.
void World::make_undistributed(int host) {
  Host& state = hosts_[static_cast<std::size_t>(host)];
  ModelKernel::Object object;
  object.name = random_.pick(names_);
  object.undistributed = true;
  object.serial = next_++;
  const ModelKernel::Got got = state.kernel.get(object, true);
  if (got.error != Error::kNone) return;
  trace("undistributed " + std::to_string(object.name.key) + " on " + host_name(host));
  after(milliseconds(0, 5000), [this, host, kind = object.name.kind, id = got.id, serial = object.serial] {
    ModelKernel& kernel = hosts_[static_cast<std::size_t>(host)].kernel;
    const ModelKernel::Object* found = kernel.find(kind, id);
    if (!found || found->serial != serial) return;
    kernel_removed(host, kind, id);
    kernel.remove(kind, id);
  });
}

// ---- the end

void World::settle_down() {
  calm_ = true;
  drain();
  if (!history_.first_violation().empty()) return;
  for (int host = 0; host < kHosts; ++host) sweep(host);
  drain();
}

void World::check_end() {
  for (int host = 0; host < kHosts; ++host) {
    if (!hosts_[static_cast<std::size_t>(host)].operations.empty()) history_.violation("bounded", "a get never ended");
  }
  if (referee_->open_claims() != 0) history_.violation("end", "a claim stays open");
  if (referee_->waiting_requests() != 0) history_.violation("end", "a request waits for ever");
  std::map<ObjectName, std::pair<std::string, std::uint64_t>> owned;
  for (int host = 0; host < kHosts; ++host) {
    for (const OwnedObject& object : objects_of(host)) {
      if (object.state == OwnedObject::State::kRegistering) history_.violation("end", "a registration stays open");
      if (object.state != OwnedObject::State::kLive || object.name.key == 0) continue;
      if (!owned.emplace(object.name, std::pair(host_name(host), object.ref.generation)).second) {
        history_.violation("end", "two owners of one name when all is calm");
      }
    }
  }
  std::map<ObjectName, std::pair<std::string, std::uint64_t>> table;
  for (const auto& [name, entry] : referee_->table()) table.emplace(name, std::pair(entry.owner, entry.generation));
  if (owned != table) history_.violation("end", "the table is not what the owners have");
  for (const Host& host : hosts_) {
    for (const auto& [name, stand_in] : host.stand_ins) {
      const auto entry = table.find(name);
      if (entry == table.end() || entry->second.second != stand_in.generation) {
        history_.violation("end", "a stand-in of a dead object stays");
      }
    }
  }
  remove_all();
  for (const Host& host : hosts_) {
    if (!host.stand_ins.empty() || !host.kernel.all().empty())
      history_.violation("end", "a stand-in outlives its object");
  }
  if (!referee_->table().empty()) history_.violation("end", "a removed name stays in the table");
  for (const ObjectName& name : names_) {
    const int first = static_cast<int>(random_.below(kHosts));
    expect_get(first, name, false, false, Error::kNoEntry);
    expect_get(first, name, true, true, Error::kNone);
    const int second = static_cast<int>(random_.below(kHosts));
    expect_get(second, name, true, true, Error::kExists);
    expect_get(second, name, false, false, Error::kNone);
    expect_get(first, name, true, false, Error::kNone);
  }
}

void World::remove_all() {
  for (int host = 0; host < kHosts; ++host) {
    Host& state = hosts_[static_cast<std::size_t>(host)];
    for (const auto& [id, object] : state.kernel.all()) {
      if (object.stand_in && state.stand_ins.contains(object.name)) continue;  // goes by Dropped
      kernel_removed(host, object.name.kind, id);
      state.kernel.remove(object.name.kind, id);
    }
    for (const OwnedObject& object : state.owned->objects()) state.owned->on_gone(now_, object.ref);
    advance(host);
  }
  drain();
}

void World::expect_get(int host, const ObjectName& name, bool create, bool exclusive, Error expected) {
  last_error_.reset();
  begin_get(host, name, create, exclusive, 0);
  drain();
  if (last_error_ == expected || !history_.first_violation().empty()) return;
  history_.violation("end", "when all is calm and removed, a get of a name gives " +
                                (last_error_ ? std::to_string(static_cast<int>(*last_error_)) : "nothing") +
                                " instead of " + std::to_string(static_cast<int>(expected)));
}

}  // namespace dipc::sim
