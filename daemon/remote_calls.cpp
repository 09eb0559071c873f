#include "daemon/remote_calls.h"

#include "daemon/core/object_name.h"
#include "daemon/io/log.h"
#include "wire/framing.h"

namespace dipc {

namespace {

const ObjectRef& object_of(const CallBody& body) {
  return std::visit(
      [](const auto& call) -> const ObjectRef& {
        if constexpr (requires { call.object; }) {
          return call.object;
        } else {
          static const ObjectRef none{};
          return none;
        }
      },
      body);
}

}  // namespace

// Which local login acts for the caller; nothing (and a log line that names the rule) if none may.
std::optional<Identity> RemoteCalls::identity_of(const std::string& host, const Caller& caller) {
  const auto mapped = policy_.logins.map(caller.login, host);
  if (!mapped) {
    log_warning("refused", policy_.logins.explain(caller.login, host));
    return std::nullopt;
  }
  auto identity = users_.identity_of_login(mapped->local);
  if (!identity) {
    log_warning("refused", policy_.logins.explain(caller.login, host) + "; this host has no login " + mapped->local +
                               ": make it, or map the caller to another in logins.map");
    return std::nullopt;
  }
  if (identity->uid == 0 && mapped->same_name) {
    log_warning("refused", policy_.logins.explain(caller.login, host) + "; " + mapped->local +
                               " has uid 0 here, which only a line that names it may give");
    return std::nullopt;
  }
  return identity;
}

void RemoteCalls::answer(const std::string& host, CallId call, Error error) {
  peers_.send(host, Reply{.id = call, .error = error, .value = error == Error::kNone ? 0 : -1});
}

// The peer's names as this host's numbers. False: nobody here is meant.
bool RemoteCalls::translate_permissions(const std::string& host, CallBody& body) {
  auto* control = std::get_if<Control>(&body);
  if (control == nullptr || !control->set) return true;
  const auto owner = policy_.logins.map(control->set->owner_login, host);
  const auto uid = owner ? users_.uid_of(owner->local) : std::nullopt;
  const auto gid = users_.gid_of(control->set->group_name);
  if (!uid || !gid) return false;
  control->set->uid = *uid;
  control->set->gid = *gid;
  return true;
}

void RemoteCalls::on_call(const std::string& host, const Call& call) {
  ++received_;
  // Not of gets and removals: daemons make them too, for their own reasons.
  const bool may_be_told = !std::holds_alternative<GetCall>(call.body) && !removes(call.body);
  if (may_be_told && executor_.was_undone(host, call.caller.process, call.holds_undo)) {
    answer(host, call.id, Error::kConnectionReset);
    return;
  }
  const auto* get = std::get_if<GetCall>(&call.body);
  if (!peers_.takes_answers(host)) {
    log_warning("limit of " + host, host + " does not take the answers to its calls; more get ENOMEM");
    answer(host, call.id, Error::kNoMemory);
    return;
  }
  const auto identity = identity_of(host, call.caller);
  if (!identity) {
    answer(host, call.id, Error::kAccess);
    return;
  }
  if (get != nullptr) {
    if (!policy_.keys.serves(get->name.kind, get->name.key)) {
      log_warning("refused",
                  call.caller.login + "@" + host + ": " + policy_.keys.explain(get->name.kind, get->name.key, true));
      answer(host, call.id, Error::kAccess);
      return;
    }
    naming_.serve_get(*get, *identity, host, call.caller.process.pid,
                      [this, host, call, session = sessions_ended_[host]](Error error, const GetReply& reply) {
                        if (sessions_ended_[host] != session) return;
                        if (error == Error::kAccess)
                          log_warning("refused", policy_.logins.explain(call.caller.login, host));
                        Reply result{.id = call.id, .error = error, .value = error == Error::kNone ? 0 : -1};
                        if (error == Error::kNone) result.body = reply;
                        peers_.send(host, std::move(result));
                      });
    return;
  }
  if (object_of(call.body).kind == Kind::kSegment) {
    CallBody body = call.body;
    if (!translate_permissions(host, body)) return answer(host, call.id, Error::kInvalid);
    return call_segment(host, *identity, call, body);
  }
  // Only objects that the cluster knows, in the generation that the caller knows: a peer can't reach anything else.
  const OwnedObject* object = naming_.owned(object_of(call.body));
  if (object == nullptr || object->state != OwnedObject::State::kLive) {
    answer(host, call.id, object != nullptr ? Error::kRemoved : Error::kStale);
    return;
  }
  CallBody body = call.body;
  if (!translate_permissions(host, body)) {
    answer(host, call.id, Error::kInvalid);
    return;
  }
  if (removes(body)) removals_.emplace(CallKey{host, call.id}, object_of(body));
  // A longer text has no room in a record: E2BIG, and it stays in the queue.
  if (auto* receive = std::get_if<MessageReceive>(&body)) {
    if (receive->max_bytes > kTextBytesMax && static_cast<std::int64_t>(receive->max_bytes) > 0) {
      receive->max_bytes = kTextBytesMax;
    }
  }
  const CallKey key{host, call.id};
  const auto room = queues_.entering(key, object->name, body);
  if (!room) return answer(host, call.id, room.error());
  executor_.submit(key, *identity, call.caller, std::move(body), *room);
  for (Finished& finished : executor_.take_replies()) {
    const Error error = finished.reply.error;
    if (finished.key == key && (error == Error::kAccess || error == Error::kNotPermitted)) {
      log_warning("refused", policy_.logins.explain(call.caller.login, host) + "; " + std::string(errno_name(error)) +
                                 " from this kernel");
    }
    send_result(std::move(finished));
  }
}

void RemoteCalls::call_segment(const std::string& host, const Identity& as, const Call& call, const CallBody& body) {
  const OwnedObject* object = naming_.owned(object_of(body));
  if (segments_ == nullptr || (object != nullptr && object->state != OwnedObject::State::kLive)) {
    answer(host, call.id, object != nullptr ? Error::kRemoved : Error::kStale);
    return;
  }
  Reply reply = segments_->call(host, as, call.caller.process.pid, body);
  reply.id = call.id;
  if (reply.error == Error::kAccess || reply.error == Error::kNotPermitted) {
    log_warning("refused", policy_.logins.explain(call.caller.login, host) + "; " +
                               std::string(errno_name(reply.error)) + " from the segment's permissions");
  }
  if (auto* stat = std::get_if<Stat>(&reply.body)) name_the_ids(host, *stat);
  peers_.send(host, std::move(reply));
}

// The executor's Stat has this host's numbers; the names are what the asking host may show its own numbers for.
void RemoteCalls::name_the_ids(const std::string& host, Stat& stat) {
  stat.owner_login = policy_.logins.login_at_peer(users_.login_of(stat.uid), host).value_or("");
  stat.creator_login = policy_.logins.login_at_peer(users_.login_of(stat.cuid), host).value_or("");
  stat.group_name = users_.group_name_of(stat.gid);
  stat.creator_group_name = users_.group_name_of(stat.cgid);
}

void RemoteCalls::send_results() {
  for (Finished& finished : executor_.take_replies()) send_result(std::move(finished));
}

void RemoteCalls::send_result(Finished finished) {
  if (auto* stat = std::get_if<Stat>(&finished.reply.body)) name_the_ids(finished.key.host, *stat);
  if (const auto removal = removals_.find(finished.key); removal != removals_.end()) {
    const ObjectRef object = removal->second;
    removals_.erase(removal);
    if (finished.reply.error == Error::kNone) {
      queues_.forget(object);
      naming_.on_removed_here(object);
    }
  }
  if (const auto left = queues_.leaving(finished.key, finished.reply); !left) {
    executor_.unfit(finished.key, left.error().why.what);
    return answer(finished.key.host, finished.key.call, left.error().error);
  }
  peers_.send(finished.key.host, std::move(finished.reply));
}

void RemoteCalls::on_returned(const std::string& host, const Returned& returned) {
  constexpr std::size_t kReasonBytesMax = 1024;
  if (returned.unfit.empty()) {
    executor_.returned({host, returned.id});
  } else {
    executor_.unfit({host, returned.id}, returned.unfit.substr(0, kReasonBytesMax));
  }
  send_results();
}

// Only of what the peer may use; it hears nothing of other keys.
void RemoteCalls::on_ask_layout(const std::string& host, const AskLayout& question) {
  const OwnedObject* object = naming_.owned(question.queue);
  const bool is_queue = object != nullptr && object->name.kind == Kind::kMessageQueue;
  peers_.send(host,
              QueueDeclarations{question.queue, is_queue ? queues_.declarations_of(object->name.key) : std::string()});
}

void RemoteCalls::on_process_ended(const std::string& host, const ProcessId& process) {
  executor_.end_process(host, process);
  send_results();
}

void RemoteCalls::on_session_ended(const std::string& host) {
  ++sessions_ended_[host];
  // Removals that still succeed are found by naming's sweep.
  std::erase_if(removals_, [&](const auto& entry) { return entry.first.host == host; });
  queues_.on_session_ended(host);
  executor_.end_session(host);
  send_results();
}

}  // namespace dipc
