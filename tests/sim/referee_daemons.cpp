// The model's daemons: what daemon/ does around the machines, in the model world. See referee_world.h.

#include <algorithm>
#include <utility>

#include "tests/sim/referee_world.h"
#include "wire/check.h"

namespace dipc::sim {
namespace {

using namespace std::chrono_literals;

constexpr Duration kOpTimeout = 5s;
constexpr Duration kPrompt = 1s;
constexpr Duration kGrace = 12s;  // longer than any host stays away in a run, nearly always

std::string text_of(const ObjectName& name) { return std::to_string(name.key); }

}  // namespace

void World::start_daemon(int host) {
  Host& state = hosts_[static_cast<std::size_t>(host)];
  trace("daemon " + host_name(host) + " starts");
  state.up = true;
  state.alarm = kNever;
  state.owned.emplace(kOpTimeout);
  state.owned->restore(state.state_file);
  for (const auto& [name, stand_in] : state.stand_ins) state.owned->on_stand_in_made(now_, name);
  if (host == kReferee) start_referee();
  advance(host);
  if (random_.chance(50)) sweep(host);
  Link& self = link(host, host);
  self.epoch = next_++;
  self.side = {self.epoch, self.epoch};
  session_began(host, host);
  for (int peer = 0; peer < kHosts; ++peer) {
    if (peer != host && hosts_[static_cast<std::size_t>(peer)].up) open_later(host, peer);
  }
}

void World::start_referee() {
  RefereeOptions options;
  options.claim_timeout = claim_timeout_;
  options.grace = kGrace;
  const Result<RegistryFile> read = parse_registry("disk", render_registry(disk_.table, disk_.complete));
  DIPC_CHECK(read.has_value());
  if (loses_table_ && random_.chance(50) && !calm_) {
    trace("the table is lost");
    for (const auto& [name, entry] : disk_.table) history_.occupied(now_, name, false);
    disk_ = RegistryFile{{}, false};
  }
  options.table_lost = !disk_.complete;
  if (options.table_lost) {
    // Who has not announced by then may lose names: not what this simulator is to find.
    on_host(kReferee, kGrace - 1ms, [this] {
      for (const Host& each : hosts_) {
        if (each.announced) continue;
        for (const ObjectName& name : names_) history_.excuse(name);
      }
    });
  }
  for (Host& each : hosts_) each.announced = false;
  const Incarnation incarnation{random_.next()};
  referee_.emplace(now_, incarnation, options, disk_.table);
}

void World::stop_daemon(int host, bool reboot) {
  Host& state = hosts_[static_cast<std::size_t>(host)];
  trace("daemon " + host_name(host) + (reboot ? " goes with its host" : " stops"));
  state.up = false;
  ++state.run;
  for (int peer = 0; peer < kHosts; ++peer) {
    Link& between = link(host, peer);
    between.side[side(host, peer)] = 0;
    if (peer != host) cut(host, peer);
    between.epoch = 0;
  }
  for (const auto& [id, operation] : state.operations) history_.given_up(operation.record);
  state.operations.clear();
  state.resolving.clear();
  state.asked.clear();
  state.served.clear();
  state.owned.reset();
  if (host == kReferee) referee_.reset();
  if (reboot) {
    for (const auto& [id, object] : state.kernel.all()) kernel_removed(host, object.name.kind, id);
    state.kernel.boot();
    state.state_file.clear();
    state.stand_ins.clear();
    ++state.boots;
  }
  after(milliseconds(100, 3000), [this, host] { start_daemon(host); });
}

void World::announce(int host) {
  Host& state = hosts_[static_cast<std::size_t>(host)];
  std::vector<NamedObject> used;
  for (const auto& [name, stand_in] : state.stand_ins) used.push_back(NamedObject{name, stand_in.generation});
  for (const Announce& message : state.owned->announcements(used)) send(host, kReferee, message);
}

void World::sweep(int host) {
  Host& state = hosts_[static_cast<std::size_t>(host)];
  for (const OwnedObject& object : state.owned->objects()) {
    const ModelKernel::Object* found = state.kernel.find(object.ref.kind, object.ref.id);
    if (!found || found->name != object.name) state.owned->on_gone(now_, object.ref);
  }
  advance(host);
}

// ---- turns

void World::advance(int host) {
  Host& state = hosts_[static_cast<std::size_t>(host)];
  if (!state.up) return;
  for (bool busy = true; busy;) {
    busy = advance_operations(host);
    busy = advance_owned(host) || busy;
    if (host == kReferee) busy = advance_referee() || busy;
  }
  set_alarm(host);
}

bool World::advance_operations(int host) {
  Host& state = hosts_[static_cast<std::size_t>(host)];
  bool busy = false;
  std::vector<std::uint64_t> ids;
  for (const auto& [id, operation] : state.operations) ids.push_back(id);
  for (const std::uint64_t id : ids) {
    const auto it = state.operations.find(id);
    if (it == state.operations.end()) continue;
    for (const GetOperation::Action& action : it->second.machine->take_actions()) {
      busy = true;
      on_operation(host, id, action);
    }
  }
  return busy;
}

bool World::advance_owned(int host) {
  Host& state = hosts_[static_cast<std::size_t>(host)];
  const std::vector<OwnedObjects::Action> actions = state.owned->take_actions();
  for (const OwnedObjects::Action& action : actions) on_owned(host, action);
  return !actions.empty();
}

bool World::advance_referee() {
  const std::vector<Referee::Action> actions = referee_->take_actions();
  bool written = false;
  for (const Referee::Action& action : actions) {
    written = written || std::holds_alternative<Referee::Persist>(action);
    on_referee(action);
  }
  if (written) history_.check_disk(RegistryFile{referee_->table(), !referee_->in_grace()}, disk_);
  return !actions.empty();
}

void World::set_alarm(int host) {
  Host& state = hosts_[static_cast<std::size_t>(host)];
  TimePoint next = state.owned->deadline();
  if (host == kReferee) next = std::min(next, referee_->deadline());
  if (fault_ != Fault::kLosesTime) {
    for (const auto& [id, operation] : state.operations) next = std::min(next, operation.machine->deadline());
  }
  if (next == kNever || (state.alarm <= next && state.alarm > now_)) return;
  state.alarm = next;
  at(next, [this, host, run = state.run] {
    if (hosts_[static_cast<std::size_t>(host)].run == run) on_alarm(host);
  });
}

void World::on_alarm(int host) {
  Host& state = hosts_[static_cast<std::size_t>(host)];
  if (!state.up) return;
  state.alarm = kNever;
  state.owned->on_time(now_);
  if (host == kReferee) referee_->on_time(now_);
  if (fault_ != Fault::kLosesTime) {
    for (auto& [id, operation] : state.operations) operation.machine->on_time(now_);
  }
  advance(host);
}

// ---- the asking side

void World::on_operation(int host, std::uint64_t id, const GetOperation::Action& action) {
  Host& state = hosts_[static_cast<std::size_t>(host)];
  if (const auto* resolve = std::get_if<GetOperation::SendResolve>(&action)) {
    Resolve message = resolve->resolve;
    message.id = RequestId{next_++};
    if (send(host, kReferee, message)) {
      state.resolving[message.id] = id;
    } else {
      state.operations.at(id).machine->on_referee_unreachable(now_);
    }
  } else if (const auto* get = std::get_if<GetOperation::SendGet>(&action)) {
    const int owner = host_index(get->owner);
    const CallId call{next_++};
    const int user = state.operations.at(id).user;
    state.asked[call] = Asked{id, owner};
    if (owner == host) {
      Served served;
      served.from = host;
      served.call = call;
      served.user = user;
      serve(host, served, get->call);
    } else if (!send(host, owner, Call{call, Caller{std::to_string(user), {}}, get->call})) {
      state.asked.erase(call);
      state.operations.at(id).machine->on_owner_unreachable(now_, Error::kHostUnreachable);
    }
  } else if (const auto* abandon = std::get_if<GetOperation::SendAbandon>(&action)) {
    if (fault_ != Fault::kKeepsClaims) send(host, kReferee, abandon->abandon);
  } else {
    finish(host, id, std::get<GetOperation::Finish>(action));
  }
}

void World::on_reply(int host, int from, CallId call, Error error, const GetReply& reply) {
  Host& state = hosts_[static_cast<std::size_t>(host)];
  const auto it = state.asked.find(call);
  if (it == state.asked.end() || it->second.owner != from) return;
  Operation& operation = state.operations.at(it->second.operation);
  state.asked.erase(it);
  const ObjectName& name = operation.request.name;
  const auto stand_in = state.stand_ins.find(name);
  const bool others = stand_in != state.stand_ins.end() && stand_in->second.owner != from;
  const bool obstructed = from != host && name.key != 0 && (others || state.owned->blocks_stand_in(name));
  operation.machine->on_get_reply(now_, error, reply, obstructed);
}

void World::finish(int host, std::uint64_t id, GetOperation::Finish result) {
  Host& state = hosts_[static_cast<std::size_t>(host)];
  const Operation operation = std::move(state.operations.at(id));
  state.operations.erase(id);
  std::erase_if(state.resolving, [id](const auto& entry) { return entry.second == id; });
  std::erase_if(state.asked, [id](const auto& entry) { return entry.second.operation == id; });
  const ObjectName& name = operation.request.name;
  if (result.error == Error::kNone && result.owner != host_name(host) && name.key != 0) {
    result.error = ensure_stand_in(host, name, host_index(result.owner), result.reply.object.generation);
  }
  trace("get " + std::to_string(id) + " of " + text_of(name) + " on " + host_name(host) + ": error " +
        std::to_string(static_cast<int>(result.error)) + ", generation " +
        std::to_string(result.reply.object.generation) + " of " + result.owner);
  last_error_ = result.error;
  // Where claims end before gets do, one that came late waits in vain at home, where a stand-in of the name is by then.
  const bool all_well = claim_timeout_ >= kOpTimeout && now_ > trouble_until_ + kPrompt;
  if (result.error == Error::kTimedOut && all_well) history_.not_prompt(name);
  history_.finished(now_, operation.record, result.error, result.reply, is_occupied(name), is_undistributed(name));
}

Error World::ensure_stand_in(int host, const ObjectName& name, int owner, std::uint64_t generation) {
  Host& state = hosts_[static_cast<std::size_t>(host)];
  if (const auto it = state.stand_ins.find(name); it != state.stand_ins.end()) {
    const ModelKernel::Object* there = state.kernel.find(name.kind, it->second.id);
    if (it->second.generation == generation && there && there->stand_in && there->name == name) return Error::kNone;
    drop_stand_in(host, name);  // of an older object of that owner; or somebody removed it
  }
  ModelKernel::Object object;
  object.name = name;
  object.stand_in = true;
  const ModelKernel::Got got = state.kernel.get(object, true);
  if (got.error != Error::kNone) return got.error;
  state.stand_ins[name] = StandIn{got.id, generation, owner};
  state.owned->on_stand_in_made(now_, name);
  // The object may be gone and its Dropped have passed already, or the session's first Announce have left without it.
  Announce message;
  message.used.push_back(NamedObject{name, generation});
  send(host, kReferee, message);
  return Error::kNone;
}

void World::drop_stand_in(int host, const ObjectName& name) {
  Host& state = hosts_[static_cast<std::size_t>(host)];
  const auto it = state.stand_ins.find(name);
  const ModelKernel::Object* there = state.kernel.find(name.kind, it->second.id);
  if (there && there->stand_in && there->name == name) state.kernel.remove(name.kind, it->second.id);
  state.stand_ins.erase(it);
  state.owned->on_stand_in_dropped(now_, name);
}

void World::on_dropped(int host, const Dropped& dropped) {
  Host& state = hosts_[static_cast<std::size_t>(host)];
  state.owned->on_dropped(now_, dropped);
  const auto it = state.stand_ins.find(dropped.name);
  if (it != state.stand_ins.end() && it->second.generation == dropped.generation) drop_stand_in(host, dropped.name);
}

// ---- the owning side

void World::serve(int host, Served served, const GetCall& call) {
  Host& state = hosts_[static_cast<std::size_t>(host)];
  const OwnedObjects::GetId id{next_++};
  served.generation = random_.next();
  state.served[id] = served;
  GetCall asked = call;
  if (fault_ == Fault::kSharesExclusive) asked.exclusive = false;
  state.owned->begin(now_, id, asked, served.generation, state.stand_ins.contains(call.name), host_name(served.from));
}

void World::on_owned(int host, const OwnedObjects::Action& action) {
  Host& state = hosts_[static_cast<std::size_t>(host)];
  if (const auto* get = std::get_if<OwnedObjects::KernelGet>(&action)) {
    if (random_.chance(70)) {
      kernel_get(host, *get);
    } else {
      on_host(host, milliseconds(0, 30), [this, host, again = *get] { kernel_get(host, again); });
    }
  } else if (const auto* remove = std::get_if<OwnedObjects::KernelRemove>(&action)) {
    const ModelKernel::Object* found = state.kernel.find(remove->ref.kind, remove->ref.id);
    if (found && found->name == remove->name && !found->undistributed && !found->stand_in) {
      kernel_removed(host, remove->ref.kind, remove->ref.id);
      state.kernel.remove(remove->ref.kind, remove->ref.id);
    }
  } else if (std::holds_alternative<OwnedObjects::Save>(action)) {
    state.state_file = state.owned->objects();
  } else if (const auto* registration = std::get_if<OwnedObjects::SendRegister>(&action)) {
    const Register& message = registration->registration;
    trace(host_name(host) + " registers " + std::to_string(message.generation) + " as " + text_of(message.name));
    if (fault_ == Fault::kTakesRefusedForAccepted) history_.accepted(now_, message.name, message.generation);
    if (!send(host, kReferee, message)) state.owned->on_registered(now_, Registered{message.id, false});
    if (fault_ == Fault::kAnswersEarly) state.owned->on_registered(now_, Registered{message.id, true});
  } else if (const auto* removed = std::get_if<OwnedObjects::SendRemoved>(&action)) {
    if (fault_ != Fault::kKeepsRemovalsSecret) send(host, kReferee, removed->removed);
  } else if (const auto* reply = std::get_if<OwnedObjects::Answer>(&action)) {
    answer(host, *reply);
  } else if (const auto* log = std::get_if<OwnedObjects::Log>(&action)) {
    trace("log of " + host_name(host) + ": " + text_of(log->name) + " " + log->text);
  }
}

void World::kernel_get(int host, const OwnedObjects::KernelGet& get) {
  Host& state = hosts_[static_cast<std::size_t>(host)];
  const Served& served = state.served.at(get.get);
  ModelKernel::Object object;
  object.name = get.call.name;
  object.user = served.user;
  object.serial = next_++;
  const ModelKernel::Got got = state.kernel.get(object, get.create);
  if (get.create && got.error == Error::kNone) {
    made_[served.generation] = Made{host, got.id, object.serial};
    generation_of_[object.serial] = served.generation;
    history_.made(now_, object.name, served.generation, got.id);
  }
  state.owned->on_kernel_get(now_, get.get, got.error, got.id);
}

void World::answer(int host, const OwnedObjects::Answer& reply) {
  Host& state = hosts_[static_cast<std::size_t>(host)];
  const auto it = state.served.find(reply.get);
  const Served served = it->second;
  state.served.erase(it);
  if (served.from == host) return on_reply(host, host, served.call, reply.error, reply.reply);
  Reply message;
  message.id = served.call;
  message.error = reply.error;
  if (reply.error == Error::kNone) message.body = reply.reply;
  if (link(host, served.from).side[side(host, served.from)] == served.epoch) send(host, served.from, message);
}

// ---- the referee

void World::on_referee(const Referee::Action& action) {
  if (const auto* persist = std::get_if<Referee::Persist>(&action)) {
    if (fault_ == Fault::kSkipsPersists && random_.chance(10)) return;
    if (persist->entry) {
      trace("table: " + text_of(persist->name) + " is " + std::to_string(persist->entry->generation) + " of " +
            persist->entry->owner);
      disk_.table[persist->name] = *persist->entry;
      history_.accepted(now_, persist->name, persist->entry->generation);
      check_unique(persist->name);
    } else {
      trace("table: " + text_of(persist->name) + " is free");
      disk_.table.erase(persist->name);
      history_.occupied(now_, persist->name, false);
    }
  } else if (std::holds_alternative<Referee::GraceOver>(action)) {
    disk_.complete = true;
  } else if (const auto* sent = std::get_if<Referee::Answer>(&action)) {
    const int to = host_index(sent->host);
    std::visit(
        [&](auto message) {
          if constexpr (std::is_same_v<decltype(message), Resolved>) {
            const bool denies = fault_ == Fault::kSaysAbsent && random_.chance(5);
            if (denies) message.outcome = Resolved::Outcome::kAbsent;
          }
          if constexpr (std::is_same_v<decltype(message), Announced>)
            hosts_[static_cast<std::size_t>(to)].announced = true;
          send(kReferee, to, message);
        },
        sent->message);
  } else if (const auto* broadcast = std::get_if<Referee::Broadcast>(&action)) {
    for (int host = 0; host < kHosts; ++host) send(kReferee, host, broadcast->message);
  } else if (const auto* log = std::get_if<Referee::Log>(&action)) {
    trace("log of the referee: " + text_of(log->name) + " for " + log->host + ": " + log->text);
  }
}

}  // namespace dipc::sim
