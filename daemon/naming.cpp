#include "daemon/naming.h"

#include <cinttypes>
#include <filesystem>
#include <set>

#include "daemon/core/object_name.h"
#include "daemon/io/atomic_file.h"
#include "daemon/io/log.h"
#include "daemon/io/random.h"
#include "daemon/kernel/objects.h"
#include "daemon/kernel/stand_ins.h"
#include "wire/check.h"

namespace dipc {

namespace {

// Removals behind our back (ipcrm on this host) are found at the next use or by this look.
constexpr auto kSweepEvery = std::chrono::seconds(2);

constexpr const char* kStateFile = "state";
constexpr const char* kRegistryFile = "registry";

std::string spoken(const ObjectName& name) { return std::string(kind_name(name.kind)) + " " + format_key(name.key); }

}  // namespace

bool object_is_there(Kind kind, std::int32_t id) {
  const auto facts = object_facts(kind, id);
  return facts || facts.error() == Error::kAccess;
}

// ---- start
// -----------------------------------------------------------------------------------------------------------

Result<std::unique_ptr<Naming>> Naming::open(uv_loop_t* loop, Options options, PeerOutbox& peers) {
  const std::filesystem::path folder(options.state_dir);
  DaemonState state;
  auto text = read_file(folder / kStateFile);
  if (!text) return tl::unexpected(text.error());
  if (*text) {
    auto parsed = parse_state(**text, (folder / kStateFile).string());
    if (!parsed) return tl::unexpected(parsed.error());
    state = std::move(*parsed);
  }
  if (state.boot != options.boot) {
    // Another boot: the kernel has forgotten all of it.
    state = {};
    state.boot = options.boot;
  }
  std::unique_ptr<Referee> referee;
  if (options.host == options.referee) {
    const auto path = folder / kRegistryFile;
    auto table = read_file(path);
    if (!table) return tl::unexpected(table.error());
    RegistryFile registry;
    if (*table) {
      auto parsed = parse_registry(path.string(), **table);
      if (!parsed) return tl::unexpected(parsed.error());
      registry = std::move(*parsed);
    }
    RefereeOptions referee_options;
    referee_options.claim_timeout = options.claim_timeout;
    // A daemon that has run before on this host has left a registry.
    referee_options.table_lost = (!*table && text->has_value()) || !registry.complete;
    if (referee_options.table_lost) {
      log_warning("referee",
                  path.string() +
                      " is lost: new names wait until the owners have said what they own; an object of a host "
                      "that stays away may lose its name to another");
    }
    referee = std::make_unique<Referee>(loop_now(), options.incarnation, referee_options, std::move(registry.table));
    if (auto written = write_file_atomically(path, render_registry(referee->table(), !referee->in_grace())); !written) {
      return tl::unexpected(written.error());
    }
  }
  auto naming =
      std::unique_ptr<Naming>(new Naming(loop, std::move(options), peers, std::move(state), std::move(referee)));
  return naming;
}

Naming::Naming(uv_loop_t* loop, Options options, PeerOutbox& peers, DaemonState state, std::unique_ptr<Referee> referee)
    : options_(std::move(options)),
      peers_(peers),
      timer_(loop, [this] { on_time(); }),
      objects_(options_.op_timeout),
      referee_(std::move(referee)) {
  for (const StandIn& one : state.stand_ins) stand_ins_.emplace(std::pair(one.name.kind, one.id), one);
  objects_.restore(state.owned);
}

Naming::~Naming() = default;

void Naming::start() {
  advance_objects();
  sweep();
  save();
  if (is_referee()) {
    referee_->on_host(loop_now(), options_.host, options_.boot);
    advance_referee();
    announce();
  }
  sweep_at_ = loop_now() + kSweepEvery;
  set_timer();
}

// ---- gets of this host's programs
// ------------------------------------------------------------------------------------

Naming::OperationId Naming::get(const GetCall& call, const Identity& as, const Caller& caller, const std::string& home,
                                std::function<void(const Got&)> done) {
  GetRequest request{.name = call.name,
                     .create = call.create,
                     .exclusive = call.exclusive,
                     .mode = call.mode,
                     .size = call.size,
                     .home = home.empty() ? options_.host : home,
                     .known_owner = {}};
  if (call.name.key != 0) {
    if (objects_.find(call.name) != nullptr) request.known_owner = options_.host;
    for (const auto& [key, stand_in] : stand_ins_) {
      if (stand_in.name == call.name) request.known_owner = stand_in.owner;
    }
  }
  const OperationId id{next_++};
  Operation operation{GetOperation(std::move(request), options_.op_timeout), call, as, caller, std::move(done)};
  operation.machine.start(loop_now());
  operations_.emplace(id, std::move(operation));
  advance(id);
  return id;
}

void Naming::cancel_get(OperationId id) {
  const auto found = operations_.find(id);
  if (found == operations_.end()) return;
  found->second.done = [](const Got&) {};
  found->second.machine.on_cancel(loop_now());
  advance(id);
}

void Naming::advance(OperationId id) {
  for (;;) {
    const auto found = operations_.find(id);
    if (found == operations_.end()) return;
    const auto actions = found->second.machine.take_actions();
    if (actions.empty()) break;
    for (const auto& action : actions) {
      if (!act(id, action)) return;
    }
  }
  set_timer();
}

// False: the operation is over and gone.
bool Naming::act(OperationId id, const GetOperation::Action& action) {
  if (const auto* resolve = std::get_if<GetOperation::SendResolve>(&action)) {
    const RequestId request{next_++};
    Resolve message = resolve->resolve;
    message.id = request;
    if (peers_.send(options_.referee, message)) {
      resolving_.emplace(request, id);
    } else {
      operations_.at(id).machine.on_referee_unreachable(loop_now());
    }
  } else if (const auto* get = std::get_if<GetOperation::SendGet>(&action)) {
    ask_owner(id, get->owner, get->call);
  } else if (const auto* abandon = std::get_if<GetOperation::SendAbandon>(&action)) {
    peers_.send(options_.referee, abandon->abandon);
  } else {
    finish(id, std::get<GetOperation::Finish>(action));
    return false;
  }
  return true;
}

void Naming::ask_owner(OperationId id, const std::string& owner, const GetCall& call) {
  const Operation& operation = operations_.at(id);
  if (owner == options_.host) {
    serve_get(call, operation.as, [this, id](Error error, const GetReply& reply) {
      const auto found = operations_.find(id);
      if (found == operations_.end()) return;
      found->second.machine.on_get_reply(loop_now(), error, reply);
      advance(id);
    });
    return;
  }
  const CallId call_id{kGetCallBit | next_++};
  asked_.emplace(call_id, Asked{id, owner});
  if (!peers_.send(owner, Call{call_id, operation.caller, call})) lose_get(call_id, Error::kHostUnreachable);
}

void Naming::lose_get(CallId call, Error error) {
  const auto found = asked_.find(call);
  if (found == asked_.end()) return;
  const OperationId id = found->second.operation;
  asked_.erase(found);
  const auto operation = operations_.find(id);
  if (operation == operations_.end()) return;
  operation->second.machine.on_owner_unreachable(loop_now(), error);
  advance(id);
}

void Naming::finish(OperationId id, const GetOperation::Finish& result) {
  const Operation operation = std::move(operations_.at(id));
  operations_.erase(id);
  std::erase_if(resolving_, [id](const auto& entry) { return entry.second == id; });
  std::erase_if(asked_, [id](const auto& entry) { return entry.second.operation == id; });
  Got got{.error = result.error};
  if (result.error == Error::kNone) {
    if (result.owner == options_.host) {
      got.id = result.reply.object.id;
      got.owned = true;
    } else if (const auto stand_in = ensure_stand_in(operation, result.owner, result.reply)) {
      got.id = *stand_in;
    } else {
      got.error = stand_in.error();
    }
  }
  operation.done(got);
  set_timer();
}

// ---- stand-ins
// -------------------------------------------------------------------------------------------------------

tl::expected<std::int32_t, Error> Naming::ensure_stand_in(const Operation& operation, const std::string& owner,
                                                          const GetReply& reply) {
  const ObjectName& name = operation.call.name;
  std::vector<StandIn> old;
  for (const auto& [key, stand_in] : stand_ins_) {
    const bool same_object = stand_in.owner == owner && stand_in.object == reply.object;
    if (same_object && stand_in_exists(stand_in.name, stand_in.id)) return stand_in.id;
    if (same_object || (name.key != 0 && stand_in.name == name)) old.push_back(stand_in);
  }
  for (const StandIn& stand_in : old) drop_stand_in(stand_in);
  const auto made = make_stand_in(name, reply.size);
  if (!made) {
    log_error("stand-in",
              spoken(name) + " of " + owner + ": " +
                  (made.error() == Error::kExists
                       ? "this host has an undistributed object of that key; remove it or choose another key"
                       : std::string(errno_name(made.error())) + "; " + limits_of(name.kind)));
    return tl::unexpected(made.error());
  }
  const StandIn stand_in{name, *made, owner, reply.object, reply.size};
  stand_ins_.emplace(std::pair(name.kind, *made), stand_in);
  save();
  return *made;
}

void Naming::drop_stand_in(const StandIn& stand_in) {
  const StandIn dropped = stand_in;  // the argument may lie in the table
  remove_stand_in(dropped.name, dropped.id);
  stand_ins_.erase({dropped.name.kind, dropped.id});
  save();
  if (dropped.name.key != 0) {
    objects_.on_stand_in_dropped(loop_now(), dropped.name);
    advance_objects();
  }
}

void Naming::on_dropped(const Dropped& dropped) {
  for (const auto& [key, stand_in] : stand_ins_) {
    if (stand_in.name == dropped.name && stand_in.object.generation == dropped.generation) {
      drop_stand_in(stand_in);
      return;
    }
  }
}

void Naming::on_gone_there(const std::string& owner, const ObjectRef& ref) {
  for (const auto& [key, stand_in] : stand_ins_) {
    if (stand_in.owner == owner && stand_in.object == ref) {
      drop_stand_in(stand_in);
      return;
    }
  }
}

const StandIn* Naming::stand_in(Kind kind, std::int32_t id) const {
  const auto found = stand_ins_.find({kind, id});
  return found == stand_ins_.end() ? nullptr : &found->second;
}

bool Naming::forget_lost_stand_in(const StandIn& stand_in) {
  if (stand_in_exists(stand_in.name, stand_in.id)) return false;
  log_warning("stand-in",
              spoken(stand_in.name) + " was removed on this host; its object on " + stand_in.owner + " is as it was");
  drop_stand_in(stand_in);
  return true;
}

std::vector<StandIn> Naming::stand_ins() const {
  std::vector<StandIn> list;
  for (const auto& [key, stand_in] : stand_ins_) list.push_back(stand_in);
  return list;
}

// ---- objects of this host
// --------------------------------------------------------------------------------------------

void Naming::serve_get(const GetCall& call, const Identity& as, std::function<void(Error, const GetReply&)> done) {
  const OwnedObjects::GetId id{next_++};
  served_.emplace(id, Served{as, std::move(done)});
  bool has_stand_in = false;
  for (const auto& [key, stand_in] : stand_ins_) has_stand_in = has_stand_in || stand_in.name == call.name;
  objects_.begin(loop_now(), id, call, random_number(), call.name.key != 0 && has_stand_in);
  advance_objects();
}

void Naming::refuse_get(const GetCall& call) {
  if (call.claim) peers_.send(options_.referee, Abandon{*call.claim});
}

void Naming::on_removed_here(const ObjectRef& ref) {
  objects_.on_gone(loop_now(), ref);
  advance_objects();
}

void Naming::advance_objects() {
  if (advancing_objects_) return;  // the loop below takes what is added
  advancing_objects_ = true;
  for (;;) {
    const auto actions = objects_.take_actions();
    if (actions.empty()) break;
    for (const auto& action : actions) {
      if (const auto* get = std::get_if<OwnedObjects::KernelGet>(&action)) {
        GetCall call = get->call;
        call.create = get->create;
        call.exclusive = get->create && call.name.key != 0;
        const auto made = get_object(options_.own, served_.at(get->get).as, call);
        objects_.on_kernel_get(loop_now(), get->get, made ? Error::kNone : made.error(), made ? made->id : 0);
      } else if (const auto* removal = std::get_if<OwnedObjects::KernelRemove>(&action)) {
        control_object(options_.own, options_.own, Control{.object = removal->ref, .command = ControlCommand::kRemove});
      } else if (std::holds_alternative<OwnedObjects::Save>(action)) {
        save();
      } else if (const auto* registration = std::get_if<OwnedObjects::SendRegister>(&action)) {
        peers_.send(options_.referee, registration->registration);
      } else if (const auto* abandon = std::get_if<OwnedObjects::SendAbandon>(&action)) {
        peers_.send(options_.referee, abandon->abandon);
      } else if (const auto* removed = std::get_if<OwnedObjects::SendRemoved>(&action)) {
        peers_.send(options_.referee, removed->removed);
      } else if (const auto* answer = std::get_if<OwnedObjects::Answer>(&action)) {
        const Served served = std::move(served_.at(answer->get));
        served_.erase(answer->get);
        served.done(answer->error, answer->reply);
      } else {
        const auto& entry = std::get<OwnedObjects::Log>(action);
        log_warning("objects", spoken(entry.name) + ": " + entry.text);
      }
    }
  }
  advancing_objects_ = false;
  set_timer();
}

void Naming::sweep() {
  for (const OwnedObject& object : objects_.objects()) {
    if (object.state != OwnedObject::State::kRegistering && !object_is_there(object.ref.kind, object.ref.id)) {
      objects_.on_gone(loop_now(), object.ref);
    }
  }
  advance_objects();
}

// ---- the referee
// -----------------------------------------------------------------------------------------------------

void Naming::announce() {
  std::vector<NamedObject> used;
  for (const auto& [key, stand_in] : stand_ins_) {
    if (stand_in.name.key != 0) used.push_back({stand_in.name, stand_in.object.generation});
  }
  for (const Announce& announcement : objects_.announcements(used)) peers_.send(options_.referee, announcement);
}

void Naming::for_referee(const std::string& host, const PeerMessage& message) {
  const TimePoint now = loop_now();
  if (const auto* resolve = std::get_if<Resolve>(&message)) {
    referee_->on_resolve(now, host, *resolve);
  } else if (const auto* registration = std::get_if<Register>(&message)) {
    referee_->on_register(now, host, *registration);
  } else if (const auto* abandon = std::get_if<Abandon>(&message)) {
    referee_->on_abandon(now, host, *abandon);
  } else if (const auto* removed = std::get_if<Removed>(&message)) {
    referee_->on_removed(now, host, *removed);
  } else if (const auto* announcement = std::get_if<Announce>(&message)) {
    referee_->on_announce(now, host, *announcement);
  }
  advance_referee();
}

void Naming::advance_referee() {
  if (!is_referee()) return;
  const auto actions = referee_->take_actions();
  bool changed = false;
  for (const auto& action : actions) changed = changed || std::holds_alternative<Referee::Persist>(action);
  if (changed) {
    // One write for the batch, before anything of it is sent: what a host was told is on disk.
    const auto written = write_file_atomically(std::filesystem::path(options_.state_dir) / kRegistryFile,
                                               render_registry(referee_->table(), !referee_->in_grace()));
    if (!written) log_trouble(LogLevel::kError, "referee", written.error());
  }
  for (const auto& action : actions) {
    if (const auto* answer = std::get_if<Referee::Answer>(&action)) {
      std::visit([&](const auto& message) { peers_.send(answer->host, message); }, answer->message);
    } else if (const auto* broadcast = std::get_if<Referee::Broadcast>(&action)) {
      for (const std::string& host : sessions_) peers_.send(host, broadcast->message);
      peers_.send(options_.host, broadcast->message);
    } else if (const auto* entry = std::get_if<Referee::Log>(&action)) {
      log_warning("referee", spoken(entry->name) + " for " + entry->host + ": " + entry->text);
    }
  }
  set_timer();
}

bool Naming::forget(const ObjectName& name) {
  if (!is_referee() || !referee_->on_forget(loop_now(), name)) return false;
  advance_referee();
  return true;
}

// ---- peers
// -----------------------------------------------------------------------------------------------------------

bool Naming::on_peer_message(const std::string& host, const PeerMessage& message) {
  const TimePoint now = loop_now();
  const bool to_referee = std::holds_alternative<Resolve>(message) || std::holds_alternative<Register>(message) ||
                          std::holds_alternative<Abandon>(message) || std::holds_alternative<Removed>(message) ||
                          std::holds_alternative<Announce>(message);
  if (to_referee) {
    if (is_referee()) {
      for_referee(host, message);
    } else {
      log_warning("peer " + host, "takes this host for the referee, which is " + options_.referee);
    }
    return true;
  }
  if (const auto* reply = std::get_if<Reply>(&message)) {
    if ((static_cast<std::uint64_t>(reply->id) & kGetCallBit) == 0) return false;
    const auto asked = asked_.find(reply->id);
    if (asked == asked_.end() || asked->second.owner != host) return true;  // given up
    const OperationId id = asked->second.operation;
    asked_.erase(asked);
    const auto operation = operations_.find(id);
    if (operation == operations_.end()) return true;
    const auto* got = std::get_if<GetReply>(&reply->body);
    const Error error = reply->error == Error::kNone && got == nullptr ? Error::kInvalid : reply->error;
    operation->second.machine.on_get_reply(now, error, got != nullptr ? *got : GetReply{});
    advance(id);
    return true;
  }
  const bool from_referee = std::holds_alternative<Resolved>(message) || std::holds_alternative<Registered>(message) ||
                            std::holds_alternative<Announced>(message) || std::holds_alternative<Dropped>(message);
  if (!from_referee) return false;
  if (host != options_.referee) {
    log_warning("peer " + host, "speaks as if it were the referee, which is " + options_.referee);
    return true;
  }
  if (const auto* resolved = std::get_if<Resolved>(&message)) {
    const auto request = resolving_.find(resolved->id);
    if (request == resolving_.end()) {
      // Its get is over: a claim that nobody wants goes back.
      if (const auto abandon = GetOperation::late_answer(*resolved)) peers_.send(options_.referee, *abandon);
      return true;
    }
    const OperationId id = request->second;
    resolving_.erase(request);
    operations_.at(id).machine.on_resolved(now, *resolved);
    advance(id);
  } else if (const auto* registered = std::get_if<Registered>(&message)) {
    objects_.on_registered(now, *registered);
    advance_objects();
  } else if (const auto* announced = std::get_if<Announced>(&message)) {
    objects_.on_announced(now, *announced);
    advance_objects();
  } else {
    on_dropped(std::get<Dropped>(message));
  }
  return true;
}

void Naming::on_session_began(const std::string& host, const std::string& boot) {
  sessions_.insert(host);
  if (is_referee()) {
    referee_->on_host(loop_now(), host, boot);
    advance_referee();
  }
  if (host == options_.referee) announce();
}

void Naming::on_session_ended(const std::string& host, const std::vector<PeerMessage>& unwritten) {
  sessions_.erase(host);
  if (is_referee()) {
    referee_->on_host_lost(loop_now(), host);
    advance_referee();
  }
  on_unreachable(host, unwritten);
  std::vector<CallId> lost;
  for (const auto& [call, asked] : asked_) {
    if (asked.owner == host) lost.push_back(call);
  }
  for (const CallId call : lost) lose_get(call, Error::kConnectionReset);
  if (host != options_.referee) return;
  objects_.on_referee_lost(loop_now());
  advance_objects();
  const auto waiting = std::exchange(resolving_, {});
  for (const auto& [request, id] : waiting) lose_referee(id);
}

void Naming::on_unreachable(const std::string&, const std::vector<PeerMessage>& unwritten) {
  for (const PeerMessage& message : unwritten) {
    if (const auto* call = std::get_if<Call>(&message)) {
      lose_get(call->id, Error::kHostUnreachable);
    } else if (const auto* resolve = std::get_if<Resolve>(&message)) {
      const auto request = resolving_.find(resolve->id);
      if (request == resolving_.end()) continue;
      const OperationId id = request->second;
      resolving_.erase(request);
      lose_referee(id);
    }
  }
}

void Naming::lose_referee(OperationId id) {
  const auto operation = operations_.find(id);
  if (operation == operations_.end()) return;
  operation->second.machine.on_referee_unreachable(loop_now());
  advance(id);
}

// ---- files and time
// --------------------------------------------------------------------------------------------------

void Naming::save() {
  DaemonState state{options_.boot, options_.incarnation, objects_.objects(), stand_ins()};
  const auto written =
      write_file_atomically(std::filesystem::path(options_.state_dir) / kStateFile, render_state(state));
  if (!written) log_trouble(LogLevel::kError, "state", written.error());
}

void Naming::on_time() {
  const TimePoint now = loop_now();
  objects_.on_time(now);
  advance_objects();
  if (is_referee()) {
    referee_->on_time(now);
    advance_referee();
  }
  std::vector<OperationId> due;
  for (const auto& [id, operation] : operations_) {
    if (operation.machine.deadline() <= now) due.push_back(id);
  }
  for (const OperationId id : due) {
    const auto found = operations_.find(id);
    if (found == operations_.end()) continue;
    found->second.machine.on_time(now);
    advance(id);
  }
  if (now >= sweep_at_) {
    sweep_at_ = now + kSweepEvery;
    sweep();
  }
  set_timer();
}

void Naming::set_timer() {
  TimePoint when = std::min(sweep_at_, objects_.deadline());
  if (is_referee()) when = std::min(when, referee_->deadline());
  for (const auto& [id, operation] : operations_) when = std::min(when, operation.machine.deadline());
  timer_.start_at(when);
}

}  // namespace dipc
