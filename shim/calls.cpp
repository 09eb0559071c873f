#include "shim/calls.h"

#include <pthread.h>

#include "shim/daemon_link.h"
#include "shim/dipc.h"
#include "shim/exchange.h"

namespace dipc::shim {

constinit IdTable queue_ids;
constinit IdTable set_ids;
constinit IdTable segment_ids;

namespace {

using Result = Exchange::Result;

// What a get or a first use of an id means when the daemon can't be asked.
//   no socket file, another IPC namespace     as if there were no DIPC
//   this process can't make a connection      the same, but a process that has spoken with a daemon, or asks with
//   (no descriptors, seccomp, chroot)         IPC_DIPC, must not split an object in two: EHOSTUNREACH
// An id without a daemon goes to this kernel, where another host's object is a stand-in that nobody may use; root
// could, so it is refused here.
bool may_go_without(Result result, int flags) {
  return result == Result::kNoDaemon || (result == Result::kCannot && !has_reached_daemon() && (flags & IPC_DIPC) == 0);
}

struct KernelRecord {
  bool is_readable;
  unsigned mode;
  unsigned owner;
};

KernelRecord look_at(Kind kind, int id) {
  int saved = errno;
  KernelRecord record{};
  if (kind == Kind::kMessageQueue) {
    msqid_ds status;
    record.is_readable = next_msgctl.get()(id, IPC_STAT, &status) == 0;
    if (record.is_readable) record = {true, status.msg_perm.mode, status.msg_perm.uid};
  } else if (kind == Kind::kSegment) {
    shmid_ds status;
    record.is_readable = next_shmctl.get()(id, IPC_STAT, &status) == 0;
    // One of one byte: a stand-in. Root's own of mode 0 are common, and larger.
    record.is_readable = record.is_readable && status.shm_segsz == 1;
    if (record.is_readable) record = {true, status.shm_perm.mode, status.shm_perm.uid};
  } else {
    semid_ds status;
    union {
      semid_ds* status;
      void* pointer;
    } argument{&status};
    record.is_readable = next_semctl.get()(id, 0, IPC_STAT, argument.pointer) == 0;
    if (record.is_readable) record = {true, status.sem_perm.mode, status.sem_perm.uid};
  }
  errno = saved;
  return record;
}

// The answer to a finished exchange of a call on a distributed object.
long answer(Exchange& exchange, Result result, Kind kind, int id) {
  switch (result) {
    case Result::kReply:
      break;
    case Result::kFailed:
      return fail_with(exchange.error);
    case Result::kNoDaemon:
    case Result::kCannot:
      return fail_with(EHOSTUNREACH);
  }
  if (exchange.reply.error == 0) return static_cast<long>(exchange.reply.value);
  if (exchange.reply.error == EINVAL || exchange.reply.error == EIDRM) ids_of(kind).forget(id);
  return fail_with(exchange.reply.error);
}

long run(Exchange& exchange, Kind kind, int id) {
  exchange.waits_for_absent = true;
  return answer(exchange, exchange.run(), kind, id);
}

size_t add_saturated(size_t a, size_t b) { return a > SIZE_MAX - b ? SIZE_MAX : a + b; }

}  // namespace

Route route(Kind kind, int id) {
  IdTable& ids = ids_of(kind);
  if (ids.find(id) == IdTable::kRemote) return Route::kDaemon;
  if (id < 0) return Route::kKernel;
  Exchange lookup(local::Op::kLookup, kind, id);
  lookup.repeatable = true;
  Result result = lookup.run();
  if (result == Result::kFailed) {
    errno = lookup.error;
    return Route::kFailed;
  }
  if (result == Result::kReply) {
    if (lookup.reply.error != 0) {
      errno = lookup.reply.error;
      return Route::kFailed;
    }
    IdTable::State state = IdTable::state_of(lookup.reply.where);
    ids.set(id, state);
    return state == IdTable::kRemote ? Route::kDaemon : Route::kKernel;
  }
  KernelRecord record = look_at(kind, id);
  if (!record.is_readable) return Route::kKernel;  // which says no by itself
  if ((record.mode & 0777) == 0 && record.owner == 0) {
    errno = EACCES;
    return Route::kFailed;
  }
  if (result == Result::kNoDaemon) ids.set(id, IdTable::kLocal);
  return Route::kKernel;
}

GetRoute route_get(Kind kind, int key, int64_t size, int flags) {
  Exchange get(local::Op::kGet, kind, 0);
  get.request.key = key;
  get.request.flags = flags;
  get.request.size = size;
  int error = 0;
  switch (Result result = get.run()) {
    case Result::kReply:
      if (get.reply.error != 0) {
        error = get.reply.error;
        break;
      }
      if (get.reply.where == local::Where::kLocal) return {.way = Route::kKernel, .is_local = true};
      ids_of(kind).set(static_cast<int>(get.reply.value), IdTable::state_of(get.reply.where));
      return {.way = Route::kDaemon, .id = static_cast<int>(get.reply.value)};
    case Result::kFailed:
      error = get.error;
      break;
    case Result::kNoDaemon:
    case Result::kCannot:
      if ((flags & IPC_DIPC) != 0 && is_strict()) {
        error = ENOSYS;
      } else if (may_go_without(result, flags)) {
        return {.way = Route::kKernel};
      } else {
        error = EHOSTUNREACH;
      }
  }
  errno = error;
  return {.way = Route::kFailed};
}

void forget_if_gone(Kind kind, int id) {
  if (errno == EINVAL || errno == EIDRM) ids_of(kind).forget(id);
}

long remote_send(int id, const void* message, size_t text_bytes, int flags) {
  pthread_testcancel();
  Exchange send(local::Op::kSend, Kind::kMessageQueue, id);
  send.request.size = static_cast<int64_t>(text_bytes);
  send.request.flags = flags;
  send.body = message;
  send.head_bytes = sizeof(long);  // an mtype that can't be read is EFAULT before all else, a text that can't is not
  send.body_bytes = add_saturated(text_bytes, sizeof(long));
  send.interruptible = true;
  send.cancellable = true;
  return run(send, Kind::kMessageQueue, id);
}

long remote_receive(int id, void* message, size_t text_bytes, long type, int flags) {
  pthread_testcancel();
  Exchange receive(local::Op::kReceive, Kind::kMessageQueue, id);
  receive.request.size = static_cast<int64_t>(text_bytes);
  receive.request.type = type;
  receive.request.flags = flags;
  receive.wants_payload = true;
  receive.room = message;
  receive.room_bytes = add_saturated(text_bytes, sizeof(long));
  receive.interruptible = true;
  receive.cancellable = true;
  return run(receive, Kind::kMessageQueue, id);
}

long remote_operate(int id, const sembuf* operations, size_t count, const Timeout* timeout) {
  Exchange operate(local::Op::kOperate, Kind::kSemaphoreSet, id);
  operate.request.size = static_cast<unsigned>(count);  // all that the system call looks at
  size_t kernels_count = static_cast<unsigned>(count);
  operate.body = operations;
  operate.body_bytes = kernels_count <= SIZE_MAX / sizeof(sembuf) ? kernels_count * sizeof(sembuf) : SIZE_MAX;
  if (timeout) {
    operate.request.marks |= local::kHasTimeout;
    operate.request.timeout_s = timeout->seconds;
    operate.request.timeout_ns = timeout->nanoseconds;
  }
  operate.interruptible = true;
  return run(operate, Kind::kSemaphoreSet, id);
}

long remote_control(Kind kind, int id, int command, int semaphore, int value) {
  Exchange control(local::Op::kControl, kind, id);
  control.request.command = command;
  control.request.semaphore = semaphore;
  control.request.value = value;
  control.repeatable = command != IPC_RMID && command != SETVAL;
  long result = run(control, kind, id);
  if (result >= 0 && command == IPC_RMID) ids_of(kind).forget(id);
  return result;
}

long remote_get_all(int id, uint16_t* values) {
  Exchange control(local::Op::kControl, Kind::kSemaphoreSet, id);
  control.request.command = GETALL;
  control.wants_payload = true;
  control.room = values;
  control.room_bytes = SIZE_MAX;  // the program vouches for as many as the set has
  control.repeatable = true;
  return run(control, Kind::kSemaphoreSet, id);
}

long remote_set_all(int id, const uint16_t* values) {
  // How long the program's array must be, only the set knows; the daemon tells with the lookup.
  Exchange lookup(local::Op::kLookup, Kind::kSemaphoreSet, id);
  lookup.repeatable = true;
  long result = run(lookup, Kind::kSemaphoreSet, id);
  if (result < 0) return result;
  Exchange control(local::Op::kControl, Kind::kSemaphoreSet, id);
  control.request.command = SETALL;
  control.body = values;
  control.body_bytes = static_cast<size_t>(lookup.reply.extra) * sizeof(uint16_t);
  return run(control, Kind::kSemaphoreSet, id);
}

bool remote_stat(Kind kind, int id, local::StatRecord* record) {
  Exchange control(local::Op::kControl, kind, id);
  control.request.command = IPC_STAT;
  control.wants_payload = true;
  control.room = record;
  control.room_bytes = sizeof *record;
  control.room_is_ours = true;
  control.repeatable = true;
  return run(control, kind, id) >= 0;
}

long remote_set(Kind kind, int id, const local::StatRecord& record) {
  Exchange control(local::Op::kControl, kind, id);
  control.request.command = IPC_SET;
  control.body = &record;
  control.body_bytes = sizeof record;
  return run(control, kind, id);
}

void note_removed(Kind kind, int id) {
  ids_of(kind).forget(id);
  Exchange note(local::Op::kNoteRemoved, kind, id);
  note.tries_once = true;
  note.run();  // should it be lost, the daemon's sweep finds the object gone
}

Callers callers(Kind kind, int id, int semaphore) {
  Exchange question(local::Op::kCallerPids, kind, id);
  question.request.semaphore = semaphore;
  question.tries_once = true;
  question.repeatable = true;
  if (question.run() != Result::kReply || question.reply.error != 0) return {0, 0};
  return {static_cast<int32_t>(question.reply.value), static_cast<int32_t>(question.reply.extra)};
}

}  // namespace dipc::shim
