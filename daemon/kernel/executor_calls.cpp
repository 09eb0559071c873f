// What the executor does for each kind of call, and where the messages go.

#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <limits>

#include "daemon/kernel/executor.h"
#include "wire/check.h"

namespace dipc {
namespace {

constexpr std::size_t kMessageMaxDefault = 8192;  // kernel.msgmax as Linux sets it

std::size_t message_bytes_max() {
  msginfo limits{};
  // Any process may ask (msgctl(2)).
  if (msgctl(0, IPC_INFO, reinterpret_cast<msqid_ds*>(&limits)) < 0 || limits.msgmax < 0) return kMessageMaxDefault;
  return static_cast<std::size_t>(limits.msgmax);
}

Reply plain(const Outcome& outcome) {
  Reply reply;
  reply.value = outcome.value;
  if (outcome.error != 0) reply.error = from_errno(outcome.error);
  return reply;
}

}  // namespace

Outcome Executor::attempt_as(const Identity& as, const NativeCall& call) const {
  const ScopedIdentity identity(own_, as);
  if (identity.error() != 0) return {-1, EACCES};
  return attempt(call);
}

// ---- msgsnd

void Executor::run_send(Request request) {
  NativeCall native = to_native(std::get<MessageSend>(request.body));
  const Outcome outcome = attempt_as(request.as, native);
  if (is_undecided(native, outcome)) {
    hand_over(request, std::move(native), nullptr);
  } else {
    finish_send(request, outcome);
  }
}

void Executor::finish_send(const Request& request, const Outcome& outcome) {
  if (outcome.error == 0) pids_.sent(object_of(request.body).id, request.caller.process.pid);
  reply(request, plain(outcome));
}

// ---- msgrcv

// `room_bytes`: at least so much, 0 = what the call asks for up to msgmax.
void Executor::run_receive(Request request, std::size_t room_bytes) {
  const auto& call = std::get<MessageReceive>(request.body);
  if (call.copy) return run_copy(request);
  if (!may_keep(request)) return;
  const std::uint64_t wanted = text_bytes_wanted(call).value_or(0);
  if (room_bytes == 0) room_bytes = wanted <= kMessageMaxDefault ? kMessageMaxDefault : message_bytes_max();
  Slot* const slot = slots_->take(label_for(request, call.object.id),
                                  static_cast<std::size_t>(std::min<std::uint64_t>(wanted, room_bytes)));
  if (slot == nullptr) {
    options_.log("no room for a message of " + std::to_string(std::min<std::uint64_t>(wanted, room_bytes)) +
                 " bytes in " + options_.slot_dir.string() + ": a receive of " + request.key.host + " gets ENOMEM");
    return reply_error(request, Error::kNoMemory);
  }
  const std::optional<NativeReceive> native = to_native(call, slot->msgbuf(), slot->room_bytes());
  if (!native) {
    slots_->give_back(slot);
    return reply_error(request, Error::kInvalid);
  }
  const Outcome outcome = attempt_as(request.as, *native);
  if (is_undecided(*native, outcome)) {
    if (!hand_over(request, *native, slot)) slots_->give_back(slot);
  } else {
    finish_receive(std::move(request), slot, outcome, false);
  }
}

void Executor::finish_receive(Request request, Slot* slot, const Outcome& outcome, bool cancelled) {
  const auto& call = std::get<MessageReceive>(request.body);
  if (outcome.error != 0) {
    const std::size_t room = slot->room_bytes();
    slots_->give_back(slot);
    const bool had_less_room = text_bytes_wanted(call).value_or(0) > room;
    if (outcome.error == E2BIG && had_less_room && cancelled) return reply_error(request, Error::kInterrupted);
    if (outcome.error == E2BIG && had_less_room && room < std::numeric_limits<std::size_t>::max() / 4) {
      // The caller has room for it: msgmax was raised while the call slept, or was higher when the message came.
      const auto facts = object_facts(Kind::kMessageQueue, call.object.id);
      const std::uint64_t used = facts ? facts->used_bytes : 0;
      const auto largest =
          static_cast<std::size_t>(std::min<std::uint64_t>(used, std::numeric_limits<std::size_t>::max() / 4));
      return run_receive(std::move(request), std::max({2 * room, message_bytes_max(), largest}));
    }
    if (outcome.error == E2BIG && request.room) {
      if (const auto wider = wider_room(request)) {
        if (cancelled) return reply_error(request, Error::kInterrupted);
        std::get<MessageReceive>(request.body).max_bytes = *wider;
        return run_receive(std::move(request), 0);
      }
    }
    return reply(request, plain(outcome));
  }
  slot->received(static_cast<std::size_t>(outcome.value));
  pids_.received(call.object.id, request.caller.process.pid, outcome.thread);
  if (request.orphan) {
    return make_dead_letter(slot, "the session with " + request.key.host + " ended while the message was received");
  }
  if (request.room && slot->text_bytes() > request.room->of(slot->type())) {
    // Somebody else took the message for which there was this room, and the next one is another.
    put_back(slot, request.key.host);
    return reply_error(request, Error::kTooBig);
  }
  if (call.type_bytes == 4 && slot->type() > std::numeric_limits<std::int32_t>::max()) {
    make_dead_letter(slot, "its type does not fit the receiver on " + request.key.host);
    return reply_error(request, Error::kOverflow);
  }
  Reply answer = plain(outcome);
  answer.body = slot->message();
  keep_message(request.key, slot);
  reply(request, std::move(answer));
}

// The kernel shows messages by their places alone (MSG_COPY), so those before the one that is next are looked at too.
// Other receivers may take it meanwhile: this is a guess that the next msgrcv tests.
std::optional<std::uint64_t> Executor::wider_room(const Request& request) const {
  const auto& call = std::get<MessageReceive>(request.body);
  const std::uint64_t next = request.room->next_above(call.max_bytes);
  if (next == call.max_bytes) return std::nullopt;
  const auto matches = [&call](long type) {
    if (call.type == 0) return true;
    if (call.type < 0) return type <= -call.type;
    return call.except ? type != call.type : type == call.type;
  };
  std::optional<long> found;
  std::vector<std::byte> memory(sizeof(long) + message_bytes_max());
  NativeReceive look{call.object.id, memory.data(), memory.size() - sizeof(long), 0, MSG_COPY | IPC_NOWAIT};
  for (;; ++look.type) {
    const Outcome outcome = attempt_as(request.as, look);
    if (outcome.error == ENOMSG) break;
    // A kernel without MSG_COPY (CONFIG_CHECKPOINT_RESTORE), or a message from before msgmax was lowered.
    if (outcome.error != 0) return next;
    long type = 0;
    std::copy_n(memory.data(), sizeof type, reinterpret_cast<std::byte*>(&type));
    if (!matches(type) || (found && *found <= type)) continue;
    found = type;
    if (call.type >= 0) break;  // else it is the first of the smallest type
  }
  if (!found) return request.room->least();
  const std::uint64_t room = request.room->of(*found);
  return room > call.max_bytes ? std::optional(room) : std::nullopt;
}

// MSG_COPY leaves the message in the queue: nothing to keep.
void Executor::run_copy(const Request& request) {
  MessageReceive call = std::get<MessageReceive>(request.body);
  if (request.room) call.max_bytes = message_bytes_max();
  const std::size_t room =
      static_cast<std::size_t>(std::min<std::uint64_t>(text_bytes_wanted(call).value_or(0), message_bytes_max()));
  std::vector<std::byte> memory(sizeof(long) + room);
  std::optional<NativeReceive> native = to_native(call, memory.data(), room);
  DIPC_CHECK(native.has_value());
  if (call.no_error) native->flags |= MSG_NOERROR;
  const Outcome outcome = attempt_as(request.as, *native);
  Reply answer = plain(outcome);
  if (outcome.error == 0) {
    long type = 0;
    std::copy_n(memory.data(), sizeof type, reinterpret_cast<std::byte*>(&type));
    if (call.type_bytes == 4 && type > std::numeric_limits<std::int32_t>::max()) {
      return reply_error(request, Error::kOverflow);
    }
    if (request.room && static_cast<std::uint64_t>(outcome.value) > request.room->of(type)) {
      return reply_error(request, Error::kTooBig);
    }
    const auto text = memory.begin() + sizeof type;
    answer.body = Message{type, Bytes(text, text + outcome.value)};
  }
  reply(request, std::move(answer));
}

void Executor::returned(const CallKey& key) {
  const auto found = kept_.find(key);
  if (found != kept_.end()) put_back(release_message(found), key.host);
}

void Executor::unfit(const CallKey& key, const std::string& why) {
  const auto found = kept_.find(key);
  if (found != kept_.end()) make_dead_letter(release_message(found), why);
}

void Executor::put_back(Slot* slot, const std::string& host) {
  const int queue = slot->label().queue;
  // As the daemon itself: the receiver may have had no right to send. The tail is the only place that the kernel has.
  if (msgsnd(queue, slot->msgbuf(), slot->text_bytes(), IPC_NOWAIT) != 0) {
    const char* const why = errno == EAGAIN ? "is full" : errno == EACCES ? "may not be written" : "is gone";
    return make_dead_letter(slot, "it never got to its receiver on " + host + ", and the queue " + why);
  }
  ++counters_.put_back;
  pids_.sent(queue, 0);  // the daemon is what the kernel says: no program sent it just now
  slots_->give_back(slot);
}

int Executor::put(std::int32_t queue, const Message& message) {
  const MessageSend send{{Kind::kMessageQueue, queue, 0}, message.type, message.text, message.text.size(), true};
  const Outcome outcome = attempt(to_native(send));
  if (outcome.error == 0) pids_.sent(queue, 0);
  return outcome.error;
}

SlotLabel Executor::label_for(const Request& request, std::int32_t queue) {
  constexpr std::size_t kFactsMax = 65536;
  auto known = queue_facts_.find(queue);
  if (known == queue_facts_.end()) {
    SlotLabel label;
    if (const auto facts = object_facts(Kind::kMessageQueue, queue)) {
      label.key = facts->key;
      label.owner_uid = facts->uid;
      if (queue_facts_.size() >= kFactsMax) queue_facts_.clear();
      known = queue_facts_.emplace(queue, label).first;
    }
  }
  SlotLabel label = known == queue_facts_.end() ? SlotLabel{} : known->second;
  label.host = request.key.host;
  label.call = request.key.call;
  label.queue = queue;
  label.login = request.caller.login;
  label.generation = std::get<MessageReceive>(request.body).object.generation;
  return label;
}

void Executor::make_dead_letter(Slot* slot, const std::string& reason) {
  // What can't be written stays where it is: the next start finds it.
  if (write_dead_letter({slot->label(), slot->message(), true}, reason)) slots_->give_back(slot);
}

bool Executor::write_dead_letter(const FoundMessage& found, const std::string& reason) {
  DeadLetter letter;
  letter.time_s = time(nullptr);
  letter.reason = reason;
  letter.host = found.label.host;
  letter.login = found.label.login;
  letter.key = found.label.key;
  letter.queue = found.label.queue;
  letter.generation = found.label.generation;
  letter.owner = users_.login_of(found.label.owner_uid);
  if (letter.owner.empty()) letter.owner = std::to_string(found.label.owner_uid);
  letter.length_exact = found.length_exact;
  letter.message = found.message;
  const Result<std::string> name = dead_letters_.add(letter);
  if (!name) {
    options_.log("a message for " + letter.host + " from queue " + std::to_string(letter.queue) +
                 " can't be kept as a dead letter and stays in its slot: " + name.error().what);
    return false;
  }
  ++counters_.dead_letters;
  options_.log("dead letter " + *name + ": from queue " + std::to_string(letter.queue) + " for " + letter.host + ": " +
               reason);
  return true;
}

// ---- semop

void Executor::run_operate(Request request) {
  NativeOperate native = to_native(std::get<SemaphoreOperate>(request.body));
  // What can't be read never comes to the undo list.
  if (!native.unreadable && uses_undo(request.body)) {
    hand_over_undo(request, std::move(native));
    return;
  }
  NativeCall call = std::move(native);
  const Outcome outcome = attempt_as(request.as, call);
  if (is_undecided(call, outcome)) {
    hand_over(request, std::move(call), nullptr);
  } else {
    finish_operate(request, outcome);
  }
}

void Executor::finish_operate(const Request& request, const Outcome& outcome) {
  const auto& call = std::get<SemaphoreOperate>(request.body);
  if (outcome.error == 0) {
    for (const SemaphoreOp& op : call.ops) pids_.operated(call.object.id, op.number, request.caller.process.pid);
  }
  reply(request, plain(outcome));
}

// ---- msgctl, semctl

void Executor::run_control(Request request) {
  const auto& call = std::get<Control>(request.body);
  const ObjectKey object = object_of(request.body);
  Reply answer = control_object(own_, request.as, call);
  if (answer.error != Error::kNone) {
    if (answer.error == Error::kRemoved) forget_object(object.kind, object.id);
    return reply(request, std::move(answer));
  }
  const std::int32_t pid = request.caller.process.pid;
  switch (call.command) {
    case ControlCommand::kRemove:
      forget_object(object.kind, object.id);
      break;
    case ControlCommand::kSetValue:
      pids_.operated(object.id, static_cast<std::size_t>(call.semaphore), pid);
      forget_adjustments(object.id, static_cast<std::uint16_t>(call.semaphore));
      break;
    case ControlCommand::kSetAll:
      if (const auto facts = object_facts(Kind::kSemaphoreSet, object.id)) {
        // The kernel took as many as the set has, whatever was sent.
        for (std::size_t i = 0; i < facts->semaphores; ++i) pids_.operated(object.id, i, pid);
      }
      forget_adjustments(object.id, std::nullopt);
      break;
    case ControlCommand::kStat:
    case ControlCommand::kGetPid: {
      const auto* const stat = std::get_if<Stat>(&answer.body);
      const bool ours = stat != nullptr ? names_us(stat->last_sender_pid) || names_us(stat->last_receiver_pid)
                                        : names_us(static_cast<std::int32_t>(answer.value));
      if (ours && !pids_are_settled(object)) return enqueue(std::move(request), object, Place::kFront);
      put_callers_pids(call, answer);
      break;
    }
    default:
      break;
  }
  reply(request, std::move(answer));
}

bool Executor::pids_are_settled(const ObjectKey& object) {
  const auto found = objects_.find(object);
  if (found == objects_.end()) return true;
  ObjectState& state = found->second;
  for (const CallToken token : state.elsewhere) {
    const LiveCall& call = live_.at(token);
    if (!call.cancelled && !call.running->asleep()) state.unsettled.insert(token);
  }
  return !state.held();
}

// The kernel puts the process's id everywhere but in msg_lrpid of a receiver that it woke, which is the thread's.
bool Executor::names_us(std::int32_t pid) const {
  return pid == own_pid_ || (pid > 0 && pid == undo_->process()) ||
         (pid > 0 && syscall(SYS_tgkill, own_pid_, pid, 0) == 0);
}

RecordedPids Executor::recorded_where_we_are_named(Kind kind, std::int32_t id, std::int32_t semaphore,
                                                   RecordedPids shown) const {
  RecordedPids pids = pids_.find(kind, id, semaphore);
  if (!names_us(shown.sender_or_semaphore)) pids.sender_or_semaphore = 0;
  // The thread may have ended since.
  const bool is_last_thread = shown.receiver != 0 && shown.receiver == pids_.receiver_thread(id);
  if (kind != Kind::kMessageQueue || (!names_us(shown.receiver) && !is_last_thread)) pids.receiver = 0;
  return pids;
}

void Executor::put_callers_pids(const Control& call, Reply& reply) const {
  const Kind kind = call.object.kind;
  const std::int32_t id = call.object.id;
  if (auto* const stat = std::get_if<Stat>(&reply.body)) {
    if (kind != Kind::kMessageQueue) return;
    const RecordedPids pids =
        recorded_where_we_are_named(kind, id, 0, {stat->last_sender_pid, stat->last_receiver_pid});
    if (pids.sender_or_semaphore != 0) stat->last_sender_pid = pids.sender_or_semaphore;
    if (pids.receiver != 0) stat->last_receiver_pid = pids.receiver;
  } else {
    const auto shown = static_cast<std::int32_t>(reply.value);
    const RecordedPids pids = recorded_where_we_are_named(kind, id, call.semaphore, {shown, 0});
    if (pids.sender_or_semaphore != 0) reply.value = pids.sender_or_semaphore;
  }
}

RecordedPids Executor::recorded_pids(Kind kind, std::int32_t id, std::int32_t semaphore) const {
  Control ask;
  ask.object = {kind, id, 0};
  ask.command = kind == Kind::kMessageQueue ? ControlCommand::kStat : ControlCommand::kGetPid;
  ask.semaphore = semaphore;
  const Reply now = control_object(own_, own_, ask);
  if (now.error != Error::kNone) return {};
  RecordedPids shown{static_cast<std::int32_t>(now.value), 0};
  if (const auto* const stat = std::get_if<Stat>(&now.body)) {
    shown = {stat->last_sender_pid, stat->last_receiver_pid};
  }
  return recorded_where_we_are_named(kind, id, semaphore, shown);
}

}  // namespace dipc
