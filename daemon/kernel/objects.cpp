#include "daemon/kernel/objects.h"

#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <vector>

#include "daemon/kernel/native_calls.h"

namespace dipc {
namespace {

// semctl(2): the caller has to declare it.
union SemctlArgument {
  int value;
  semid_ds* status;
  unsigned short* values;
};

tl::unexpected<Error> failed() { return tl::unexpected<Error>(from_errno(errno)); }

Reply error_reply(Error error) {
  Reply reply;
  reply.error = error;
  reply.value = -1;
  return reply;
}

int to_int(std::int64_t value) {
  return static_cast<int>(
      std::clamp<std::int64_t>(value, std::numeric_limits<int>::min(), std::numeric_limits<int>::max()));
}

void take_permissions(Stat& stat, const ipc_perm& permissions) {
  stat.key = permissions.__key;
  stat.uid = permissions.uid;
  stat.gid = permissions.gid;
  stat.cuid = permissions.cuid;
  stat.cgid = permissions.cgid;
  stat.mode = permissions.mode;
  stat.sequence = permissions.__seq;
}

Reply queue_stat(std::int32_t id) {
  msqid_ds queue{};
  if (msgctl(id, IPC_STAT, &queue) < 0) return error_reply(from_errno(errno));
  Stat stat;
  take_permissions(stat, queue.msg_perm);
  stat.change_time_s = queue.msg_ctime;
  stat.send_time_s = queue.msg_stime;
  stat.receive_time_s = queue.msg_rtime;
  stat.used_bytes = queue.__msg_cbytes;
  stat.messages = queue.msg_qnum;
  stat.queue_bytes = queue.msg_qbytes;
  stat.last_sender_pid = queue.msg_lspid;
  stat.last_receiver_pid = queue.msg_lrpid;
  Reply reply;
  reply.body = std::move(stat);
  return reply;
}

Reply set_stat(std::int32_t id) {
  semid_ds set{};
  SemctlArgument argument{};
  argument.status = &set;
  if (semctl(id, 0, IPC_STAT, argument) < 0) return error_reply(from_errno(errno));
  Stat stat;
  take_permissions(stat, set.sem_perm);
  stat.change_time_s = set.sem_ctime;
  stat.operation_time_s = set.sem_otime;
  stat.semaphores = set.sem_nsems;
  Reply reply;
  reply.body = std::move(stat);
  return reply;
}

Reply plain(long result) {
  if (result < 0) return error_reply(from_errno(errno));
  Reply reply;
  reply.value = result;
  return reply;
}

void give_permissions(ipc_perm& permissions, const Permissions& set) {
  permissions.uid = set.uid;
  permissions.gid = set.gid;
  permissions.mode = static_cast<decltype(permissions.mode)>(set.mode);
}

Reply control_queue(const Control& call) {
  const std::int32_t id = call.object.id;
  switch (call.command) {
    case ControlCommand::kStat:
      return queue_stat(id);
    case ControlCommand::kRemove:
      return plain(msgctl(id, IPC_RMID, nullptr));
    case ControlCommand::kSet: {
      // The kernel takes uid, gid, mode and msg_qbytes of the record and nothing else, so it need not be read first,
      // which would ask for a permission that IPC_SET doesn't.
      // EFAULT before all else, and not by a bad pointer: a 32-bit libc reads the struct itself to convert its times.
      if (!call.set) return error_reply(Error::kFault);
      msqid_ds queue{};
      give_permissions(queue.msg_perm, *call.set);
      queue.msg_qbytes = static_cast<decltype(queue.msg_qbytes)>(
          std::min<std::uint64_t>(call.set->queue_bytes, std::numeric_limits<decltype(queue.msg_qbytes)>::max()));
      return plain(msgctl(id, IPC_SET, &queue));
    }
    default:
      return error_reply(Error::kInvalid);
  }
}

// `semaphores`: how many the set has, as the daemon knows; 0 if it is gone.
Reply control_set(const Control& call, std::size_t semaphores) {
  const std::int32_t id = call.object.id;
  const int number = call.semaphore;
  SemctlArgument argument{};
  switch (call.command) {
    case ControlCommand::kStat:
      return set_stat(id);
    case ControlCommand::kRemove:
      return plain(semctl(id, 0, IPC_RMID));
    case ControlCommand::kGetValue:
      return plain(semctl(id, number, GETVAL));
    case ControlCommand::kGetPid:
      return plain(semctl(id, number, GETPID));
    case ControlCommand::kGetWaitingForIncrease:
      return plain(semctl(id, number, GETNCNT));
    case ControlCommand::kGetWaitingForZero:
      return plain(semctl(id, number, GETZCNT));
    case ControlCommand::kSetValue:
      argument.value = to_int(call.value);
      return plain(semctl(id, number, SETVAL, argument));
    case ControlCommand::kGetAll: {
      std::vector<std::uint16_t> values(std::max<std::size_t>(semaphores, 1));
      argument.values = values.data();
      Reply reply = plain(semctl(id, 0, GETALL, argument));
      if (reply.error == Error::kNone) {
        values.resize(semaphores);
        reply.body = std::move(values);
      }
      return reply;
    }
    case ControlCommand::kSetAll: {
      std::vector<std::uint16_t> values = call.values;
      const bool readable = !call.unreadable && values.size() >= semaphores;
      argument.values = readable ? values.data() : static_cast<unsigned short*>(unreadable_memory());
      return plain(semctl(id, 0, SETALL, argument));
    }
    case ControlCommand::kSet: {
      semid_ds set{};
      if (!call.set) return error_reply(Error::kFault);  // as above
      give_permissions(set.sem_perm, *call.set);
      argument.status = &set;
      return plain(semctl(id, 0, IPC_SET, argument));
    }
    case ControlCommand::kLock:  // not of sets
    case ControlCommand::kUnlock:
      break;
  }
  return error_reply(Error::kInvalid);
}

}  // namespace

tl::expected<ObjectMade, Error> get_object(const Identity& own, const Identity& as, const GetCall& call) {
  if (!may_act_as(own, as)) return tl::unexpected<Error>(Error::kAccess);
  int flags = static_cast<int>(call.mode & 0777);
  if (call.create) flags |= IPC_CREAT;
  if (call.exclusive) flags |= IPC_EXCL;
  ObjectMade made;
  {
    const ScopedIdentity identity(own, as);
    if (identity.error() != 0) return tl::unexpected<Error>(Error::kAccess);
    switch (call.name.kind) {
      case Kind::kMessageQueue:
        made.id = msgget(call.name.key, flags);
        break;
      case Kind::kSemaphoreSet:
        made.id = semget(call.name.key, to_int(call.size), flags);
        break;
      default:
        return tl::unexpected<Error>(Error::kNotImplemented);
    }
    if (made.id < 0) return failed();
  }
  if (call.name.kind == Kind::kSemaphoreSet) {
    const auto facts = object_facts(call.name.kind, made.id);
    if (facts) {
      made.size = static_cast<std::int64_t>(facts->semaphores);
    } else if (facts.error() == Error::kAccess) {
      made.size = call.size;  // without root, made with mode 0 or so: what was asked for is the most we know
    } else {
      return tl::unexpected<Error>(facts.error());
    }
  }
  return made;
}

Reply control_object(const Identity& own, const Identity& as, const Control& call) {
  if (!may_act_as(own, as)) return error_reply(Error::kAccess);
  std::size_t semaphores = 0;
  if (call.object.kind == Kind::kSemaphoreSet &&
      (call.command == ControlCommand::kGetAll || call.command == ControlCommand::kSetAll)) {
    const auto facts = object_facts(call.object.kind, call.object.id);
    if (facts) {
      semaphores = static_cast<std::size_t>(facts->semaphores);
    } else if (facts.error() == Error::kAccess) {
      return error_reply(Error::kAccess);  // without root: we can't know how much the kernel would write
    }
    // Gone: the kernel says so itself, without touching the array.
  }
  const ScopedIdentity identity(own, as);
  if (identity.error() != 0) return error_reply(Error::kAccess);
  switch (call.object.kind) {
    case Kind::kMessageQueue:
      return control_queue(call);
    case Kind::kSemaphoreSet:
      return control_set(call, semaphores);
    default:
      return error_reply(Error::kNotImplemented);
  }
}

tl::expected<ObjectFacts, Error> object_facts(Kind kind, std::int32_t id) {
  ObjectFacts facts;
  const auto take = [&](const ipc_perm& permissions) {
    facts.key = permissions.__key;
    facts.uid = permissions.uid;
    facts.gid = permissions.gid;
    facts.mode = permissions.mode;
  };
  if (kind == Kind::kMessageQueue) {
    msqid_ds queue{};
    if (msgctl(id, IPC_STAT, &queue) < 0) return failed();
    take(queue.msg_perm);
    facts.used_bytes = queue.__msg_cbytes;
    facts.messages = queue.msg_qnum;
    facts.was_used = queue.msg_qnum != 0 || queue.msg_stime != 0 || queue.msg_rtime != 0;
    return facts;
  }
  if (kind == Kind::kSegment) {
    shmid_ds segment{};
    if (shmctl(id, IPC_STAT, &segment) < 0) return failed();
    if ((segment.shm_perm.mode & SHM_DEST) != 0) return tl::unexpected<Error>(Error::kRemoved);
    take(segment.shm_perm);
    return facts;
  }
  semid_ds set{};
  SemctlArgument argument{};
  argument.status = &set;
  if (semctl(id, 0, IPC_STAT, argument) < 0) return failed();
  take(set.sem_perm);
  facts.semaphores = set.sem_nsems;
  facts.was_used = set.sem_otime != 0;
  return facts;
}

}  // namespace dipc
