#include "daemon/local_calls.h"

#include "daemon/io/log.h"
#include "daemon/kernel/processes.h"
#include "daemon/local_records.h"
#include "wire/framing.h"

namespace dipc {

namespace {
constexpr std::size_t kUndoHoldersMax = 65536;
constexpr std::size_t kUnfitBytesMax = 1024;  // names of fields are the owner's own, and as long as it likes
constexpr std::uint32_t kNobodyId = 65534;    // what stands for an id that has no name here, as in user namespaces
}  // namespace

LocalCalls::LocalCalls(uv_loop_t* loop, PeerOutbox& peers, Users& users, const HostTypes& types, std::size_t calls_max,
                       std::function<void(const std::string& owner, const ObjectRef&, Error)> object_gone)
    : peers_(peers),
      users_(users),
      object_gone_(std::move(object_gone)),
      processes_(loop, [this](pid_t pid) { on_process_ended(pid); }),
      calls_max_(calls_max),
      queues_(peers, users, types) {}

void LocalCalls::answer(ClientId client, const LocalRequest& request, Error error) {
  programs_->reply(client, answer_of(error, request.header.call).header, {});
}

// IPC_SET names users and groups: numbers mean nothing on another host.
bool LocalCalls::translate_permissions(CallBody& body) const {
  auto* control = std::get_if<Control>(&body);
  if (control == nullptr || !control->set) return true;
  control->set->owner_login = users_.login_of(control->set->uid);
  control->set->group_name = users_.group_name_of(control->set->gid);
  return !control->set->owner_login.empty() && !control->set->group_name.empty();
}

// Read from /proc once a socket: it costs as much as the rest of what is done here for a call.
std::optional<ProcessId> LocalCalls::process_of(const LocalRequest& request) {
  const auto known = process_of_client_.find(request.client);
  if (known != process_of_client_.end() && known->second.pid == request.credentials.pid) return known->second;
  const auto process = process_id(request.credentials.pid);
  if (process) process_of_client_.insert_or_assign(request.client, *process);
  return process;
}

void LocalCalls::begin(const LocalRequest& request, const std::string& owner, const ObjectRef& object,
                       std::int64_t semaphores, std::int32_t key) {
  auto body = call_of(request, object);
  const auto* message = body ? std::get_if<MessageSend>(&*body) : nullptr;
  const bool fits = message == nullptr || message->text.size() <= kTextBytesMax;  // else above any msgmax we serve
  if (!body || !fits || !translate_permissions(*body)) {
    answer(request.client, request, Error::kInvalid);
    return;
  }
  const std::string login = users_.login_of(request.credentials.uid);
  if (login.empty()) {
    log_warning("refused", "uid " + std::to_string(request.credentials.uid) + " has no login name on this host");
    answer(request.client, request, Error::kAccess);
    return;
  }
  if (!may_begin(login)) {
    answer(request.client, request, Error::kNoMemory);
    return;
  }
  const auto* attach = std::get_if<SegmentAttach>(&*body);
  const bool undo = uses_undo(*body);
  const auto process = process_of(request);
  // It has ended, and nobody reads this; or we have no descriptor left to look at it or to watch it.
  if (!process || (undo && !processes_.watch(process->pid))) {
    answer(request.client, request, Error::kNoMemory);
    return;
  }
  if (undo) {
    UndoHolder& holder = undo_holders_[process->pid];
    holder.process = *process;
    holder.owners.emplace(owner, false);
  }
  const CallId id{next_call_++};
  calls_.emplace(id, Outstanding{.client = request.client,
                                 .call = request.header.call,
                                 .login = login,
                                 .owner = owner,
                                 .object = object,
                                 .key = key,
                                 .abi = request.abi,
                                 .semaphores = semaphores,
                                 .expected = ExpectedReply(*body, semaphores),
                                 .consumes_message = consumes_message(*body),
                                 .removes = removes(*body),
                                 .writable = attach != nullptr && !attach->read_only,
                                 .uid = request.credentials.uid,
                                 .uses_undo = undo,
                                 .process = process->pid});
  ++calls_of_login_[login];
  by_client_.emplace(ClientCall{request.client, request.header.call}, id);
  send(
      Call{.id = id, .caller = {login, *process}, .body = std::move(*body), .holds_undo = holds_undo(*process, owner)});
}

void LocalCalls::send(Call call) {
  const auto found = calls_.find(call.id);
  const CallId id = call.id;
  if (found->second.object.kind == Kind::kMessageQueue) {
    const auto typed = queues_.leaving(queue_of(found->second), found->second.abi, call.body);
    if (!typed) {
      held_[{found->second.owner, found->second.object}].emplace(id, std::move(call));
      return;
    }
    if (!*typed) return end_call(found, Reply{.id = id, .error = typed->error(), .value = -1});
    if ((*typed)->layout != nullptr) found->second.expected = ExpectedReply(call.body, found->second.semaphores);
    found->second.typed = **typed;
  }
  if (!peers_.send(found->second.owner, std::move(call))) {
    end_call(found, Reply{.id = id, .error = Error::kHostUnreachable, .value = -1});
  }
}

void LocalCalls::on_declarations(const std::string& owner, const QueueDeclarations& declarations) {
  if (!queues_.on_declarations(owner, declarations)) {
    log_warning("peer " + owner, "declares the messages of a queue that nobody asked for");
    return;
  }
  send_held({owner, declarations.queue});
}

void LocalCalls::send_held(const QueueKey& queue) {
  // One by one: an answer to a program may end it, and with it others of these.
  for (auto held = held_.find(queue); held != held_.end(); held = held_.find(queue)) {
    auto first = held->second.extract(held->second.begin());
    if (held->second.empty()) held_.erase(held);
    send(std::move(first.mapped()));
  }
}

// True: the owner certainly has not seen it, and won't.
bool LocalCalls::withdraw(CallId id, const Outstanding& call) {
  const auto held = held_.find({call.owner, call.object});
  if (held != held_.end() && held->second.erase(id) > 0) {
    if (held->second.empty()) held_.erase(held);
    return true;
  }
  return peers_.withdraw(call.owner, id);
}

bool LocalCalls::may_begin(const std::string& login) const {
  const auto found = calls_of_login_.find(login);
  if (found == calls_of_login_.end() || found->second < calls_max_) return true;
  log_warning("limit of " + login, "login " + login + " has " + std::to_string(found->second) +
                                       " calls to other hosts under way (limits.calls_per_login); more get ENOMEM");
  return false;
}

LocalCalls::Outstanding LocalCalls::take_out(std::map<CallId, Outstanding>::iterator found) {
  Outstanding call = std::move(found->second);
  calls_.erase(found);
  const auto of_login = calls_of_login_.find(call.login);
  if (--of_login->second == 0) calls_of_login_.erase(of_login);
  return call;
}

// Once: a program may ask as often as it likes, and each word would wait for the owner's acknowledgement.
void LocalCalls::cancel_there(CallId id, Outstanding& call) {
  if (!std::exchange(call.cancelled, true)) peers_.send(call.owner, Cancel{id});
}

void LocalCalls::on_cancel(ClientId client, std::uint64_t call) {
  const auto known = by_client_.find({client, call});
  if (known == by_client_.end()) return;
  const CallId id = known->second;
  const auto under_way = calls_.find(id);
  if (withdraw(id, under_way->second)) {
    end_call(under_way, Reply{.id = id, .error = Error::kInterrupted, .value = -1});
  } else {
    cancel_there(id, under_way->second);
  }
}

void LocalCalls::on_client_gone(ClientId client) {
  process_of_client_.erase(client);
  for (auto it = by_client_.lower_bound({client, 0}); it != by_client_.end() && it->first.first == client;) {
    const auto found = calls_.find(it->second);
    if (withdraw(it->second, found->second)) {
      take_out(found);
    } else {
      found->second.abandoned = true;
      cancel_there(it->second, found->second);
    }
    it = by_client_.erase(it);
  }
}

void LocalCalls::on_reply(const std::string& owner, const Reply& reply) {
  const auto found = calls_.find(reply.id);
  // A peer may say what it likes; it can only answer calls that it was sent, and each once.
  if (found == calls_.end() || found->second.owner != owner) {
    log_warning("peer " + owner, "answered a call that is not under way");
    return;
  }
  if (const auto wrong = found->second.expected.objection(reply)) {
    // The call ends with the session: its outcome is unknown.
    peers_.end_session(owner, owner + " answered a call with what can't be its answer: " + *wrong);
    return;
  }
  note_undo(found->second, reply.error);
  const bool removed_now = found->second.removes && reply.error == Error::kNone;
  if (removed_now || reply.error == Error::kRemoved || reply.error == Error::kStale) {
    queues_.forget(owner, found->second.object);
    object_gone_(owner, found->second.object, reply.error);
  }
  end_call(found, reply);
}

void LocalCalls::end_call(std::map<CallId, Outstanding>::iterator found, const Reply& reply) {
  const Outstanding call = take_out(found);
  by_client_.erase({call.client, call.call});
  finish(call, reply);
}

void LocalCalls::finish(const Outstanding& call, const Reply& reply) {
  const bool has_message = call.consumes_message && reply.error == Error::kNone;
  if (const auto* shape = std::get_if<AttachReply>(&reply.body); shape != nullptr && reply.error == Error::kNone) {
    granted_({.owner = call.owner,
              .segment = call.object,
              .shape = *shape,
              .writable = call.writable,
              .uid = call.uid,
              .key = call.key,
              .abi = call.abi,
              .client = call.client,
              .call = call.abandoned ? std::nullopt : std::optional(call.call)});
    return;
  }
  if (call.abandoned) {
    if (has_message) peers_.send(call.owner, Returned{reply.id});
    return;
  }
  if (call.typed.layout != nullptr) return finish_typed(call, reply);
  deliver(call, reply);
}

void LocalCalls::finish_typed(const Outstanding& call, Reply reply) {
  if (const auto entered = queues_.entering(queue_of(call), call.abi, call.typed, reply); !entered) {
    const Error error = entered.error().error;
    // What it has no room for stays a message. Not that this happens: the owner knows how much room there is.
    const bool is_unfit = error != Error::kTooBig;
    if (call.consumes_message) {
      peers_.send(call.owner,
                  Returned{reply.id, is_unfit ? entered.error().why.what.substr(0, kUnfitBytesMax) : std::string()});
    }
    reply = Reply{.id = reply.id, .error = error, .value = -1};
  }
  deliver(call, reply);
}

void LocalCalls::deliver(const Outstanding& call, const Reply& reply) {
  const bool has_message = call.consumes_message && reply.error == Error::kNone;
  LocalAnswer answer;
  if (const auto* theirs = std::get_if<Stat>(&reply.body)) {
    Reply ours = reply;
    auto& stat = std::get<Stat>(ours.body);
    stat.uid = users_.uid_of(theirs->owner_login).value_or(kNobodyId);
    stat.gid = users_.gid_of(theirs->group_name).value_or(kNobodyId);
    stat.cuid = users_.uid_of(theirs->creator_login).value_or(kNobodyId);
    stat.cgid = users_.gid_of(theirs->creator_group_name).value_or(kNobodyId);
    answer = answer_of(ours, call.call, call.abi);
  } else if (reply.error == Error::kStale) {
    // A kernel says EINVAL for an id that it no longer has, EIDRM only to those who were waiting.
    answer = answer_of(Error::kInvalid, call.call);
  } else {
    answer = answer_of(reply, call.call, call.abi);
  }
  const ClientCall client_call{call.client, call.call};
  if (has_message) delivered_.emplace(client_call, Delivered{call.owner, reply.id});
  if (!programs_->reply(call.client, answer.header, answer.payload, has_message) && has_message) {
    on_reply_unread(call.client, call.call);
  }
}

void LocalCalls::on_reply_taken(ClientId client, std::uint64_t call) {
  const auto found = delivered_.find({client, call});
  if (found == delivered_.end()) return;
  peers_.send(found->second.owner, Taken{found->second.id});
  delivered_.erase(found);
}

void LocalCalls::on_reply_unread(ClientId client, std::uint64_t call) {
  const auto found = delivered_.find({client, call});
  if (found == delivered_.end()) return;
  peers_.send(found->second.owner, Returned{found->second.id});
  delivered_.erase(found);
}

void LocalCalls::on_session_ended(const std::string& owner, const std::vector<PeerMessage>& unwritten) {
  std::set<CallId> not_executed;
  for (const PeerMessage& message : unwritten) {
    if (const auto* call = std::get_if<Call>(&message)) not_executed.insert(call->id);
  }
  std::vector<CallId> ended;
  for (const auto& [id, call] : calls_) {
    if (call.owner == owner) ended.push_back(id);
  }
  std::erase_if(held_, [&](const auto& entry) {
    if (entry.first.first != owner) return false;
    for (const auto& [id, call] : entry.second) not_executed.insert(id);
    return true;
  });
  queues_.on_session_ended(owner);
  for (const CallId id : ended) {
    const Error error = not_executed.contains(id) ? Error::kHostUnreachable : Error::kConnectionReset;
    end_call(calls_.find(id), Reply{.id = id, .error = error, .value = -1});
  }
  std::erase_if(delivered_, [&](const auto& entry) { return entry.second.owner == owner; });
  told_holders_.erase(owner);
}

// ---- SEM_UNDO

bool LocalCalls::holds_undo(const ProcessId& process, const std::string& owner) const {
  const auto holder = undo_holders_.find(process.pid);
  if (holder == undo_holders_.end() || holder->second.process != process) return false;
  const auto held = holder->second.owners.find(owner);
  return held != holder->second.owners.end() && held->second;
}

// Only what the owner itself said tells whether it has an undo group of the process.
void LocalCalls::note_undo(const Outstanding& call, Error error) {
  const auto holder = undo_holders_.find(call.process);
  if (holder == undo_holders_.end()) return;
  if (error == Error::kNone && call.uses_undo) holder->second.owners[call.owner] = true;
  if (error == Error::kConnectionReset) holder->second.owners[call.owner] = false;
}

void LocalCalls::on_undo_holders(const std::string& owner, const UndoHolders& holders) {
  if (holders.processes.size() > kUndoHoldersMax) {
    peers_.end_session(owner, owner + " names more processes than a host can have");
    return;
  }
  // Else it could learn from the answers which processes there are, and have us say more than it takes.
  if (!told_holders_.insert(owner).second) {
    peers_.end_session(owner, owner + " says twice in one session whose SEM_UNDO lists it has");
    return;
  }
  for (const ProcessId& process : holders.processes) {
    const bool watched = !process_has_ended(process) && processes_.watch(process.pid);
    if (watched) {
      UndoHolder& holder = undo_holders_[process.pid];
      holder.process = process;
      holder.owners[owner] = true;
    } else if (process_has_ended(process)) {
      peers_.send(owner, ProcessEnded{process});
    } else {
      log_warning("undo", "process " + std::to_string(process.pid) + " can't be watched: what it holds on " + owner +
                              " under SEM_UNDO is undone when the session with " + owner + " ends");
    }
  }
}

// With another boot of the owner its semaphores are gone, and with them what was held.
void LocalCalls::on_session_began(const std::string& owner, const std::string& boot) {
  const auto [known, is_new] = boots_.emplace(owner, boot);
  if (is_new || known->second == boot) return;
  known->second = boot;
  for (auto& [pid, holder] : undo_holders_) holder.owners.erase(owner);
}

void LocalCalls::on_process_ended(pid_t pid) {
  const auto found = undo_holders_.find(pid);
  if (found == undo_holders_.end()) return;
  for (const auto& [owner, held] : found->second.owners) peers_.send(owner, ProcessEnded{found->second.process});
  undo_holders_.erase(found);
}

}  // namespace dipc
