#include "daemon/local_records.h"

#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

namespace dipc {

namespace {

// Not in every libc's headers; values of include/uapi/linux/{ipc,msg}.h, the same on every architecture.
constexpr std::int32_t kMsgNoError = 010000;
constexpr std::int32_t kMsgExcept = 020000;
constexpr std::int32_t kMsgCopy = 040000;
constexpr std::int32_t kIpc64 = 0x100;  // some libcs add it to commands

template <typename T>
std::optional<T> read_at(const Bytes& payload, std::size_t offset) {
  if (payload.size() < offset + sizeof(T)) return std::nullopt;
  T value;
  std::memcpy(&value, payload.data() + offset, sizeof(T));
  return value;
}

// A C long of the client; its byte order is ours.
std::optional<std::int64_t> read_long(const Bytes& payload, const Abi& abi) {
  if (abi[CType::kLong].size_bytes == 4) return read_at<std::int32_t>(payload, 0);
  return read_at<std::int64_t>(payload, 0);
}

void append_long(Bytes& payload, std::int64_t value, const Abi& abi) {
  const auto narrow = static_cast<std::int32_t>(value);
  const bool is_narrow = abi[CType::kLong].size_bytes == 4;
  const auto* from =
      is_narrow ? reinterpret_cast<const std::byte*>(&narrow) : reinterpret_cast<const std::byte*>(&value);
  payload.insert(payload.end(), from, from + (is_narrow ? sizeof(narrow) : sizeof(value)));
}

// size_t as the program gave it. The kernel of a 32-bit program takes one above LONG_MAX for negative (EINVAL), so it
// has to be negative on a 64-bit owner too.
std::uint64_t size_of(const LocalRequest& request) {
  const std::int64_t size = request.header.size;
  return static_cast<std::uint64_t>(request.abi[CType::kSize].size_bytes == 4 ? static_cast<std::int32_t>(size) : size);
}

MessageSend send_of(const LocalRequest& request, const ObjectRef& object) {
  MessageSend send{.object = object};
  const std::size_t long_bytes = request.abi[CType::kLong].size_bytes;
  // A program that can't be read from its first byte has no mtype either; any valid one will do.
  send.type = read_long(request.payload, request.abi).value_or(1);
  if (request.payload.size() > long_bytes) {
    send.text.assign(request.payload.begin() + static_cast<std::ptrdiff_t>(long_bytes), request.payload.end());
  }
  send.declared_bytes = size_of(request);
  send.no_wait = (request.header.flags & IPC_NOWAIT) != 0;
  send.unreadable = request.unreadable || send.text.size() != send.declared_bytes;
  return send;
}

MessageReceive receive_of(const LocalRequest& request, const ObjectRef& object) {
  return {.object = object,
          .type = request.header.type,
          .max_bytes = size_of(request),
          .no_wait = (request.header.flags & IPC_NOWAIT) != 0,
          .no_error = (request.header.flags & kMsgNoError) != 0,
          .except = (request.header.flags & kMsgExcept) != 0,
          .copy = (request.header.flags & kMsgCopy) != 0,
          .type_bytes = request.abi[CType::kLong].size_bytes};
}

SemaphoreOperate operate_of(const LocalRequest& request, const ObjectRef& object) {
  SemaphoreOperate operate{.object = object};
  operate.declared_ops = size_of(request);
  const std::size_t count = request.payload.size() / sizeof(sembuf);
  operate.ops.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    sembuf op{};
    std::memcpy(&op, request.payload.data() + i * sizeof(sembuf), sizeof(op));
    operate.ops.push_back({.number = op.sem_num,
                           .delta = op.sem_op,
                           .no_wait = (op.sem_flg & IPC_NOWAIT) != 0,
                           .undo = (op.sem_flg & SEM_UNDO) != 0});
  }
  operate.unreadable = request.unreadable || count != operate.declared_ops;
  if (request.header.marks & local::kHasTimeout) {
    // The owner's kernel judges the parts; what does not fit 64 bits of nanoseconds is as good as for ever or invalid.
    const bool valid =
        request.header.timeout_s >= 0 && request.header.timeout_ns >= 0 && request.header.timeout_ns < 1'000'000'000;
    constexpr std::int64_t kSecondsMax = 9'000'000'000;
    operate.timeout_ns =
        valid ? std::min(request.header.timeout_s, kSecondsMax) * 1'000'000'000 + request.header.timeout_ns : -1;
  }
  return operate;
}

std::optional<ControlCommand> command_of(Kind kind, std::int32_t native) {
  switch (native & ~kIpc64) {
    case IPC_STAT:
      return ControlCommand::kStat;
    case IPC_SET:
      return ControlCommand::kSet;
    case IPC_RMID:
      return ControlCommand::kRemove;
    default:
      break;
  }
  if (kind == Kind::kSegment) {
    if ((native & ~kIpc64) == SHM_LOCK) return ControlCommand::kLock;
    if ((native & ~kIpc64) == SHM_UNLOCK) return ControlCommand::kUnlock;
  }
  if (kind != Kind::kSemaphoreSet) return std::nullopt;
  switch (native & ~kIpc64) {
    case GETVAL:
      return ControlCommand::kGetValue;
    case SETVAL:
      return ControlCommand::kSetValue;
    case GETALL:
      return ControlCommand::kGetAll;
    case SETALL:
      return ControlCommand::kSetAll;
    case GETPID:
      return ControlCommand::kGetPid;
    case GETNCNT:
      return ControlCommand::kGetWaitingForIncrease;
    case GETZCNT:
      return ControlCommand::kGetWaitingForZero;
    default:
      return std::nullopt;
  }
}

std::optional<CallBody> control_of(const LocalRequest& request, const ObjectRef& object) {
  const auto command = command_of(object.kind, request.header.command);
  if (!command) return std::nullopt;
  Control control{.object = object, .command = *command};
  control.semaphore = request.header.semaphore;
  control.value = request.header.value;
  control.unreadable = request.unreadable;
  if (*command == ControlCommand::kSetAll) {
    control.values.resize(request.payload.size() / sizeof(std::uint16_t));
    if (!control.values.empty()) {
      std::memcpy(control.values.data(), request.payload.data(), control.values.size() * sizeof(std::uint16_t));
    }
  }
  if (*command == ControlCommand::kSet) {
    const auto record = read_at<local::StatRecord>(request.payload, 0);
    if (!record) return std::nullopt;
    control.set =
        Permissions{.uid = record->uid, .gid = record->gid, .mode = record->mode, .queue_bytes = record->queue_bytes};
  }
  return control;
}

bool has_operation(Kind kind, local::Op op) {
  switch (op) {
    case local::Op::kSend:
    case local::Op::kReceive:
      return kind == Kind::kMessageQueue;
    case local::Op::kOperate:
      return kind == Kind::kSemaphoreSet;
    case local::Op::kAttach:
      return kind == Kind::kSegment;
    default:
      return true;
  }
}

SegmentAttach attach_of(const LocalRequest& request, const ObjectRef& object) {
  return {.object = object,
          .read_only = (request.header.flags & SHM_RDONLY) != 0,
          .executable = (request.header.flags & SHM_EXEC) != 0,
          .page_bytes = static_cast<std::uint32_t>(::sysconf(_SC_PAGESIZE)),
          .abi = request.abi == measured_abi() ? std::nullopt : std::optional(request.abi)};
}

}  // namespace

std::optional<CallBody> call_of(const LocalRequest& request, const ObjectRef& object) {
  if (!has_operation(object.kind, request.header.op)) return std::nullopt;
  switch (request.header.op) {
    case local::Op::kSend:
      return send_of(request, object);
    case local::Op::kReceive:
      return receive_of(request, object);
    case local::Op::kOperate:
      return operate_of(request, object);
    case local::Op::kControl:
      return control_of(request, object);
    case local::Op::kAttach:
      return attach_of(request, object);
    default:
      return std::nullopt;
  }
}

LocalAnswer answer_of(Error error, std::uint64_t call) {
  LocalAnswer answer;
  answer.header.call = call;
  answer.header.error = to_errno(error);
  answer.header.value = error == Error::kNone ? 0 : -1;
  return answer;
}

LocalAnswer answer_of(const Reply& reply, std::uint64_t call, const Abi& abi) {
  LocalAnswer answer = answer_of(reply.error, call);
  if (reply.error != Error::kNone) return answer;
  answer.header.value = reply.value;
  if (const auto* message = std::get_if<Message>(&reply.body)) {
    append_long(answer.payload, message->type, abi);
    answer.payload.insert(answer.payload.end(), message->text.begin(), message->text.end());
  } else if (const auto* stat = std::get_if<Stat>(&reply.body)) {
    const local::StatRecord record = record_of(*stat);
    const auto* from = reinterpret_cast<const std::byte*>(&record);
    answer.payload.assign(from, from + sizeof(record));
  } else if (const auto* values = std::get_if<std::vector<std::uint16_t>>(&reply.body)) {
    const auto* from = reinterpret_cast<const std::byte*>(values->data());
    answer.payload.assign(from, from + values->size() * sizeof(std::uint16_t));
  }
  return answer;
}

local::StatRecord record_of(const Stat& stat) {
  local::StatRecord record;
  record.key = stat.key;
  record.uid = stat.uid;
  record.gid = stat.gid;
  record.cuid = stat.cuid;
  record.cgid = stat.cgid;
  record.mode = stat.mode;
  record.sequence = stat.sequence;
  record.last_sender_pid = stat.last_sender_pid;
  record.last_receiver_pid = stat.last_receiver_pid;
  record.change_time_s = stat.change_time_s;
  record.send_time_s = stat.send_time_s;
  record.receive_time_s = stat.receive_time_s;
  record.used_bytes = stat.used_bytes;
  record.messages = stat.messages;
  record.queue_bytes = stat.queue_bytes;
  record.operation_time_s = stat.operation_time_s;
  record.semaphores = stat.semaphores;
  record.attach_time_s = stat.attach_time_s;
  record.detach_time_s = stat.detach_time_s;
  record.segment_bytes = stat.segment_bytes;
  record.attachments = stat.attachments;
  record.creator_pid = stat.creator_pid;
  record.last_pid = stat.last_pid;
  return record;
}

}  // namespace dipc
