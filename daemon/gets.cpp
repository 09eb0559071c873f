#include "daemon/gets.h"

#include <utility>

#include "daemon/core/expected_reply.h"
#include "daemon/core/object_name.h"
#include "daemon/io/log.h"

namespace dipc {

Gets::Gets(uv_loop_t* loop, Options options, PeerOutbox& peers, Objects& objects)
    : options_(std::move(options)), peers_(peers), objects_(objects), timer_(loop, [this] { on_time(); }) {}

Gets::OperationId Gets::begin(const GetCall& call, const Identity& as, const Caller& caller, const std::string& home,
                              std::function<void(const Got&)> done) {
  GetRequest request{.name = call.name,
                     .create = call.create,
                     .exclusive = call.exclusive,
                     .mode = call.mode,
                     .size = call.size,
                     .home = home.empty() ? options_.host : home,
                     .known_owner = call.name.key != 0 ? objects_.known_owner(call.name) : std::string()};
  const OperationId id{next_++};
  Operation operation{GetOperation(std::move(request), options_.op_timeout), call, as, caller, std::move(done)};
  operation.machine.start(loop_now());
  operations_.emplace(id, std::move(operation));
  advance(id);
  return id;
}

void Gets::cancel(OperationId id) {
  const auto found = operations_.find(id);
  if (found == operations_.end()) return;
  found->second.done = [](const Got&) {};
  found->second.machine.on_cancel(loop_now());
  advance(id);
}

// ---- what the machine wants

void Gets::advance(OperationId id) {
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

// False: the operation is over.
bool Gets::act(OperationId id, const GetOperation::Action& action) {
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

void Gets::ask_owner(OperationId id, const std::string& owner, const GetCall& call) {
  const Operation& operation = operations_.at(id);
  if (owner == options_.host) {
    objects_.serve_get(call, operation.as, {}, operation.caller.process.pid,
                       [this, id](Error error, const GetReply& reply) {
                         const auto found = operations_.find(id);
                         if (found == operations_.end()) return;
                         found->second.machine.on_get_reply(loop_now(), error, reply);
                         advance(id);
                       });
    return;
  }
  const CallId call_id{kGetCallBit | next_++};
  asked_.emplace(call_id, Asked{.operation = id, .owner = owner, .caller = operation.caller, .call = call});
  if (!peers_.send(owner, Call{call_id, operation.caller, call})) lose_call(call_id, Error::kHostUnreachable);
}

void Gets::finish(OperationId id, const GetOperation::Finish& result) {
  const Operation& operation = operations_.at(id);
  const ObjectName name = operation.call.name;
  std::erase_if(resolving_, [id](const auto& entry) { return entry.second == id; });
  // A private object may be made yet: its reply is waited for, to remove it.
  std::erase_if(asked_, [&](const auto& entry) { return entry.second.operation == id && name.key != 0; });
  if (result.error != Error::kNone) return end(id, Got{.error = result.error});
  if (result.owner == options_.host) return end(id, Got{.id = result.reply.object.id, .owned = true});
  const auto stand_in = objects_.ensure_stand_in(name, result.owner, result.reply);
  if (stand_in) return end(id, Got{.id = *stand_in});
  if (!result.made) return end(id, Got{.error = stand_in.error()});
  log_warning("gets", format_name(name) + ", just made on " + result.owner + " for this host, is removed again");
  remove({.operation = id,
          .owner = result.owner,
          .caller = operation.caller,
          .call = operation.call,
          .removes = true,
          .then = stand_in.error()},
         result.reply.object);
}

void Gets::end(OperationId id, const Got& got) {
  const auto done = std::move(operations_.at(id).done);
  operations_.erase(id);
  done(got);
  set_timer();
}

void Gets::remove(Asked asked, const ObjectRef& object) {
  const CallId call{kGetCallBit | next_++};
  const std::string owner = asked.owner;
  const Caller caller = asked.caller;
  asked_.emplace(call, std::move(asked));
  const Control control{.object = object, .command = ControlCommand::kRemove};
  if (!peers_.send(owner, Call{call, caller, control})) lose_call(call, Error::kHostUnreachable);
}

// ---- what comes back

void Gets::on_resolved(const Resolved& resolved) {
  const auto request = resolving_.find(resolved.id);
  if (request == resolving_.end()) {
    // Its get is over: a claim that nobody wants goes back.
    if (const auto abandon = GetOperation::late_answer(resolved)) peers_.send(options_.referee, *abandon);
    return;
  }
  const OperationId id = request->second;
  resolving_.erase(request);
  operations_.at(id).machine.on_resolved(loop_now(), resolved);
  advance(id);
}

bool Gets::on_reply(const std::string& owner, const Reply& reply) {
  if ((static_cast<std::uint64_t>(reply.id) & kGetCallBit) == 0) return false;
  const auto found = asked_.find(reply.id);
  if (found == asked_.end() || found->second.owner != owner) return true;  // given up
  const CallBody said =
      found->second.removes ? CallBody(Control{.command = ControlCommand::kRemove}) : found->second.call;
  if (const auto wrong = ExpectedReply(said).objection(reply)) {
    // The call ends with the session: its outcome is unknown.
    peers_.end_session(owner, owner + " answered a get with what can't be its answer: " + *wrong);
    return true;
  }
  Asked asked = std::move(found->second);
  asked_.erase(found);
  const auto operation = operations_.find(asked.operation);
  if (asked.removes) {
    if (operation != operations_.end()) end(asked.operation, Got{.error = asked.then});
    return true;
  }
  const auto* got = std::get_if<GetReply>(&reply.body);
  const Error error = reply.error;
  if (operation != operations_.end()) {
    const bool obstructed = error == Error::kNone && objects_.obstructs(asked.call.name, owner);
    operation->second.machine.on_get_reply(loop_now(), error, got != nullptr ? *got : GetReply{}, obstructed);
    advance(asked.operation);
  } else if (error == Error::kNone && asked.call.name.key == 0) {
    log_info("gets",
             format_name(asked.call.name) + " made on " + owner + " for a program that has gone: removed again");
    asked.removes = true;
    remove(std::move(asked), got->object);
  }
  return true;
}

void Gets::lose_call(CallId call, Error error) {
  const auto found = asked_.find(call);
  if (found == asked_.end()) return;
  const Asked asked = std::move(found->second);
  asked_.erase(found);
  const auto operation = operations_.find(asked.operation);
  if (operation == operations_.end()) return;
  if (asked.removes) return end(asked.operation, Got{.error = asked.then});
  operation->second.machine.on_owner_unreachable(loop_now(), error);
  advance(asked.operation);
}

void Gets::lose_referee(OperationId id) {
  const auto operation = operations_.find(id);
  if (operation == operations_.end()) return;
  operation->second.machine.on_referee_unreachable(loop_now());
  advance(id);
}

void Gets::on_unwritten(const std::vector<PeerMessage>& unwritten) {
  for (const PeerMessage& message : unwritten) {
    if (const auto* call = std::get_if<Call>(&message)) {
      lose_call(call->id, Error::kHostUnreachable);
    } else if (const auto* resolve = std::get_if<Resolve>(&message)) {
      const auto request = resolving_.find(resolve->id);
      if (request == resolving_.end()) continue;
      const OperationId id = request->second;
      resolving_.erase(request);
      lose_referee(id);
    }
  }
}

void Gets::on_session_ended(const std::string& host) {
  std::vector<CallId> lost;
  for (const auto& [call, asked] : asked_) {
    if (asked.owner == host) lost.push_back(call);
  }
  for (const CallId call : lost) lose_call(call, Error::kConnectionReset);
  if (host != options_.referee) return;
  const auto waiting = std::exchange(resolving_, {});
  for (const auto& [request, id] : waiting) lose_referee(id);
}

// ---- time

void Gets::on_time() {
  const TimePoint now = loop_now();
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
  set_timer();
}

void Gets::set_timer() {
  TimePoint when = kNever;
  for (const auto& [id, operation] : operations_) when = std::min(when, operation.machine.deadline());
  timer_.start_at(when);
}

}  // namespace dipc
