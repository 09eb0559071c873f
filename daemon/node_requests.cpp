// What programs of this host ask a Node for, taken to the part that it is for, and the small questions that it answers
// itself.

#include <sys/ipc.h>

#include <cerrno>

#include "daemon/core/ftok_paths.h"
#include "daemon/kernel/objects.h"
#include "daemon/kernel/processes.h"
#include "daemon/local_records.h"
#include "daemon/node.h"

namespace dipc {
namespace {

constexpr std::int32_t kIpcDipc = 00010000;  // include/uapi/linux/ipc.h: reserved for DIPC; the kernel ignores it

std::optional<Kind> kind_of(std::uint32_t number) {
  if (number > static_cast<std::uint32_t>(Kind::kSegment)) return std::nullopt;
  return static_cast<Kind>(number);
}

}  // namespace

void Node::reply(const LocalRequest& request, Error error, std::int64_t value, local::Where where) {
  LocalAnswer answer = answer_of(error, request.header.call);
  if (error == Error::kNone) answer.header.value = value;
  answer.header.where = where;
  programs_->reply(request.client, answer.header, {});
}

void Node::on_request(LocalRequest request) {
  switch (request.header.op) {
    case local::Op::kGet:
      return get(request);
    case local::Op::kLookup:
      return look_up(request);
    case local::Op::kSend:
    case local::Op::kReceive:
      return call(request, Kind::kMessageQueue);
    case local::Op::kOperate:
      return call(request, Kind::kSemaphoreSet);
    case local::Op::kControl:
      if (const auto kind = kind_of(request.header.kind)) {
        return *kind == Kind::kSegment ? segment_calls_->on_request(request) : call(request, *kind);
      }
      break;
    case local::Op::kAttach:
    case local::Op::kAttached:
    case local::Op::kDetached:
      return segment_calls_->on_request(request);
    case local::Op::kNoteRemoved:
      return note_removed(request);
    case local::Op::kCallerPids:
      return caller_pids(request);
    case local::Op::kFtok:
      return ftok(request);
    case local::Op::kAdmin:
      return administration_->on_request(request);
    case local::Op::kHello:
    case local::Op::kCancel:
      break;  // never handed over
  }
  reply(request, Error::kInvalid);
}

void Node::get(const LocalRequest& request) {
  const auto kind = kind_of(request.header.kind);
  if (!kind) return reply(request, Error::kInvalid);
  const std::int32_t flags = request.header.flags;
  const bool marked = (flags & kIpcDipc) != 0;
  const auto decision = policy_.keys.decide(*kind, request.header.key, marked);
  if (decision.outcome == KeyPolicy::Outcome::kLocal) return reply(request, Error::kNone);
  if (decision.outcome == KeyPolicy::Outcome::kRefused) {
    log_warning("refused", policy_.keys.explain(*kind, request.header.key, marked));
    return reply(request, Error::kAccess);
  }
  if (*kind == Kind::kSegment && !can_page_) return reply(request, Error::kNotImplemented);
  const GetCall call{.name = {*kind, request.header.key},
                     .create = (flags & IPC_CREAT) != 0,
                     .exclusive = (flags & IPC_EXCL) != 0,
                     .mode = static_cast<std::uint32_t>(flags & 0777),
                     .size = request.header.size,
                     .claim = std::nullopt};
  const LocalCredentials& who = request.credentials;
  const auto process = process_id(who.pid);
  const Caller caller{users_.login_of(who.uid), process.value_or(ProcessId{who.pid, 0})};
  const std::pair<ClientId, std::uint64_t> key{request.client, request.header.call};
  const Gets::OperationId operation = naming_->gets().begin(
      call, local_identity(who.uid, who.gid, who.pid), caller, decision.home,
      [this, request, key](const Gets::Got& got) {
        gets_.erase(key);
        // Segments are the daemon's on their owner, too.
        const bool in_kernel = got.owned && request.header.kind != static_cast<std::uint32_t>(Kind::kSegment);
        reply(request, got.error, got.id, in_kernel ? local::Where::kOwned : local::Where::kRemote);
      });
  if (naming_->gets().under_way(operation)) gets_.emplace(key, operation);
}

void Node::look_up(const LocalRequest& request) {
  const auto kind = kind_of(request.header.kind);
  if (!kind) return reply(request, Error::kInvalid);
  if (*kind == Kind::kSegment) {
    const bool ours = segment_calls_->knows(request.header.id);
    return reply(request, Error::kNone, request.header.id, ours ? local::Where::kRemote : local::Where::kLocal);
  }
  if (const StandIn* stand_in = naming_->stand_in(*kind, request.header.id)) {
    local::Reply header;
    header.call = request.header.call;
    header.value = request.header.id;
    header.extra = stand_in->nsems;  // how much a SETALL reads of the program's memory
    header.where = local::Where::kRemote;
    programs_->reply(request.client, header, {});
  } else if (naming_->owned(*kind, request.header.id) != nullptr) {
    reply(request, Error::kNone, request.header.id, local::Where::kOwned);
  } else {
    reply(request, Error::kNone, request.header.id, local::Where::kLocal);
  }
}

void Node::call(const LocalRequest& request, Kind kind) {
  const StandIn* stand_in = naming_->stand_in(kind, request.header.id);
  // Removed since the program looked: what a kernel says of an id that it no longer has.
  if (stand_in == nullptr) return reply(request, Error::kInvalid);
  if (naming_->forget_lost_stand_in(*stand_in)) return reply(request, Error::kRemoved);
  local_calls_->begin(request, stand_in->owner, stand_in->object, stand_in->nsems, stand_in->name.key);
}

void Node::note_removed(const LocalRequest& request) {
  const auto kind = kind_of(request.header.kind);
  const OwnedObject* object = kind ? naming_->owned(*kind, request.header.id) : nullptr;
  // Anybody may say so; the kernel knows.
  if (object != nullptr && !object_is_there(object->ref.kind, object->ref.id)) naming_->on_removed_here(object->ref);
  reply(request, Error::kNone);
}

void Node::caller_pids(const LocalRequest& request) {
  const auto kind = kind_of(request.header.kind);
  const OwnedObject* object = kind ? naming_->owned(*kind, request.header.id) : nullptr;
  if (object == nullptr) return reply(request, Error::kInvalid);
  const RecordedPids pids = executor_->recorded_pids(*kind, request.header.id, request.header.semaphore);
  LocalAnswer answer = answer_of(Error::kNone, request.header.call);
  answer.header.value = pids.sender_or_semaphore;
  answer.header.extra = pids.receiver;
  programs_->reply(request.client, answer.header, {});
}

void Node::ftok(const LocalRequest& request) {
  const auto& listed = policy_.configuration.ftok_paths;
  const std::string path(reinterpret_cast<const char*>(request.payload.data()), request.payload.size());
  const auto key = listed_ftok_key(listed, path, static_cast<std::int32_t>(request.header.value));
  local::Reply header;
  header.call = request.header.call;
  header.value = key.value_or(0);
  header.extra = key ? 1 : 0;
  programs_->reply(request.client, header, {});
}

void Node::on_cancel(ClientId client, std::uint64_t call) {
  const auto get = gets_.find({client, call});
  if (get == gets_.end()) return local_calls_->on_cancel(client, call);
  const Gets::OperationId operation = get->second;
  gets_.erase(get);
  naming_->gets().cancel(operation);
  local::Reply header;
  header.call = call;
  header.error = EINTR;
  header.value = -1;
  programs_->reply(client, header, {});
}

void Node::on_reply_taken(ClientId client, std::uint64_t call) { local_calls_->on_reply_taken(client, call); }

void Node::on_reply_unread(ClientId client, std::uint64_t call) { local_calls_->on_reply_unread(client, call); }

void Node::on_client_gone(ClientId client) {
  for (auto it = gets_.lower_bound({client, 0}); it != gets_.end() && it->first.first == client;) {
    const Gets::OperationId operation = it->second;
    it = gets_.erase(it);
    naming_->gets().cancel(operation);
  }
  segment_calls_->on_client_gone(client);
  local_calls_->on_client_gone(client);
  administration_->on_client_gone(client);
}

}  // namespace dipc
