#pragma once

// msgctl, semctl, shmctl and the time-out of semtimedop, for the structs that <sys/msg.h>, <sys/sem.h> and <sys/shm.h>
// have in the file that includes this: on 32-bit machines they come in two shapes, and each shape has a file. Internal
// linkage throughout, because the two shapes have one name.

#include <linux/posix_types.h>
#include <stdarg.h>
#include <string.h>

#include "shim/calls.h"
#include "shim/daemon_link.h"

namespace dipc::shim {
namespace {

union SemctlArgument {
  int val;
  semid_ds* buf;
  unsigned short* array;
  seminfo* info;
};

// The commands for which semctl(2) has a fourth argument; programs leave it out for the others.
inline bool has_argument(int command) {
  switch (command) {
    case SETVAL:
    case GETALL:
    case SETALL:
    case IPC_STAT:
    case IPC_SET:
    case IPC_INFO:
    case SEM_INFO:
    case SEM_STAT:
    case SEM_STAT_ANY:
      return true;
    default:
      return false;
  }
}

inline int read_timeout(Timeout* into, const timespec* programs) {
  timespec copy;
  int error = copy_in(&copy, programs, sizeof copy);
  if (error == 0) *into = {copy.tv_sec, copy.tv_nsec};
  return error;
}

template <typename Field, typename Value>
void assign(Field& field, Value value) {
  field = static_cast<Field>(value);
}

// Times that have a second word for their upper half (struct msqid_ds of 32-bit machines without 64-bit time_t).
#define DIPC_ASSIGN_TIME(object, name, high, value)                                                       \
  do {                                                                                                    \
    assign((object).name, value);                                                                         \
    if constexpr (requires { (object).high; }) assign((object).high, static_cast<uint64_t>(value) >> 32); \
  } while (false)

// Whose struct it is: libc's functions and the system calls agree but for the mode, which has 16 bits in the kernel of
// some machines and lies in the other half of libc's on those that are big-endian (libc moves it).
enum class Shape { kLibc, kKernel };

inline void set_mode(ipc_perm& permissions, uint32_t mode, Shape shape) {
  __kernel_mode_t narrow = static_cast<__kernel_mode_t>(mode);
  if (shape == Shape::kKernel) {
    memcpy(&permissions.mode, &narrow, sizeof narrow);
  } else {
    assign(permissions.mode, mode);
  }
}

inline uint32_t mode_of(const ipc_perm& permissions, Shape shape) {
  __kernel_mode_t narrow;
  memcpy(&narrow, &permissions.mode, sizeof narrow);
  return shape == Shape::kKernel ? narrow : permissions.mode;
}

inline void to_native(ipc_perm& permissions, const local::StatRecord& record, Shape shape) {
  assign(permissions.__key, record.key);
  assign(permissions.uid, record.uid);
  assign(permissions.gid, record.gid);
  assign(permissions.cuid, record.cuid);
  assign(permissions.cgid, record.cgid);
  set_mode(permissions, record.mode, shape);
  assign(permissions.__seq, record.sequence);
}

template <typename Status>
void queue_to_native(Status& status, const local::StatRecord& record, Shape shape) {
  memset(&status, 0, sizeof status);
  to_native(status.msg_perm, record, shape);
  DIPC_ASSIGN_TIME(status, msg_stime, __msg_stime_high, record.send_time_s);
  DIPC_ASSIGN_TIME(status, msg_rtime, __msg_rtime_high, record.receive_time_s);
  DIPC_ASSIGN_TIME(status, msg_ctime, __msg_ctime_high, record.change_time_s);
  assign(status.__msg_cbytes, record.used_bytes);
  assign(status.msg_qnum, record.messages);
  assign(status.msg_qbytes, record.queue_bytes);
  assign(status.msg_lspid, record.last_sender_pid);
  assign(status.msg_lrpid, record.last_receiver_pid);
}

template <typename Status>
void set_to_native(Status& status, const local::StatRecord& record, Shape shape) {
  memset(&status, 0, sizeof status);
  to_native(status.sem_perm, record, shape);
  DIPC_ASSIGN_TIME(status, sem_otime, __sem_otime_high, record.operation_time_s);
  DIPC_ASSIGN_TIME(status, sem_ctime, __sem_ctime_high, record.change_time_s);
  assign(status.sem_nsems, record.semaphores);
}

template <typename Status>
void segment_to_native(Status& status, const local::StatRecord& record, Shape shape) {
  memset(&status, 0, sizeof status);
  to_native(status.shm_perm, record, shape);
  assign(status.shm_segsz, record.segment_bytes);
  DIPC_ASSIGN_TIME(status, shm_atime, __shm_atime_high, record.attach_time_s);
  DIPC_ASSIGN_TIME(status, shm_dtime, __shm_dtime_high, record.detach_time_s);
  DIPC_ASSIGN_TIME(status, shm_ctime, __shm_ctime_high, record.change_time_s);
  assign(status.shm_cpid, record.creator_pid);
  assign(status.shm_lpid, record.last_pid);
  assign(status.shm_nattch, record.attachments);
}

// What IPC_SET looks at.
inline local::StatRecord settable(const ipc_perm& permissions, Shape shape) {
  local::StatRecord record;
  record.uid = permissions.uid;
  record.gid = permissions.gid;
  record.mode = mode_of(permissions, shape);
  return record;
}

inline long remote_control_queue(int id, int command, msqid_ds* programs, Shape shape) {
  msqid_ds status;
  local::StatRecord record;
  int error;
  switch (command) {
    case IPC_STAT:
      if (!remote_stat(Kind::kMessageQueue, id, &record)) return -1;
      queue_to_native(status, record, shape);
      error = copy_out(programs, &status, sizeof status);
      return error == 0 ? 0 : fail_with(error);
    case IPC_SET:
      error = copy_in(&status, programs, sizeof status);
      if (error != 0) return fail_with(error);  // before the id is looked at, as the kernel does
      record = settable(status.msg_perm, shape);
      record.queue_bytes = status.msg_qbytes;
      return remote_set(Kind::kMessageQueue, id, record);
    default:
      return remote_control(Kind::kMessageQueue, id, command, 0, 0);
  }
}

inline long remote_control_set(int id, int semaphore, int command, SemctlArgument argument, Shape shape) {
  semid_ds status;
  local::StatRecord record;
  int error;
  switch (command) {
    case IPC_STAT:
      if (!remote_stat(Kind::kSemaphoreSet, id, &record)) return -1;
      set_to_native(status, record, shape);
      error = copy_out(argument.buf, &status, sizeof status);
      return error == 0 ? 0 : fail_with(error);
    case IPC_SET:
      error = copy_in(&status, argument.buf, sizeof status);
      if (error != 0) return fail_with(error);
      return remote_set(Kind::kSemaphoreSet, id, settable(status.sem_perm, shape));
    case GETALL:
      return remote_get_all(id, argument.array);
    case SETALL:
      return remote_set_all(id, argument.array);
    default:
      return remote_control(Kind::kSemaphoreSet, id, command, semaphore, command == SETVAL ? argument.val : 0);
  }
}

inline long remote_control_segment(int id, int command, shmid_ds* programs, Shape shape) {
  shmid_ds status;
  local::StatRecord record;
  int error;
  switch (command) {
    case IPC_STAT:
      if (!remote_stat(Kind::kSegment, id, &record)) return -1;
      segment_to_native(status, record, shape);
      error = copy_out(programs, &status, sizeof status);
      return error == 0 ? 0 : fail_with(error);
    case IPC_SET:
      error = copy_in(&status, programs, sizeof status);
      if (error != 0) return fail_with(error);
      return remote_set(Kind::kSegment, id, settable(status.shm_perm, shape));
    default:
      return remote_control(Kind::kSegment, id, command, 0, 0);
  }
}

// The commands that are about one object; the others are about this kernel's tables, or are none.
inline bool is_about_queue(int command) { return command == IPC_RMID || command == IPC_SET || command == IPC_STAT; }
inline bool is_about_set(int command) {
  return is_about_queue(command) || command == GETVAL || command == SETVAL || command == GETPID || command == GETNCNT ||
         command == GETZCNT || command == GETALL || command == SETALL;
}

inline bool is_about_segment(int command) {
  return is_about_queue(command) || command == SHM_LOCK || command == SHM_UNLOCK;
}

// `programs` is a msqid_ds of this file's shape; for commands that are not about one queue, whatever `native` takes.
template <typename Native>
long control_queue(int id, int command, msqid_ds* programs, Shape shape, Native native) {
  if (!is_about_queue(command)) return native();
  if (!queue_ids.goes_to_kernel(id)) {
    Route way = route(Kind::kMessageQueue, id);
    if (way == Route::kFailed) return -1;
    if (way == Route::kDaemon) return remote_control_queue(id, command, programs, shape);
  }
  bool owned = queue_ids.find(id) == IdTable::kOwned;
  long result = native();
  if (result < 0) {
    forget_if_gone(Kind::kMessageQueue, id);
  } else if (command == IPC_RMID && owned) {
    note_removed(Kind::kMessageQueue, id);
  } else if (command == IPC_RMID) {
    queue_ids.forget(id);
  } else if (command == IPC_STAT && owned &&
             (acts_for_others(programs->msg_lspid) || acts_for_others(programs->msg_lrpid))) {
    Callers real = callers(Kind::kMessageQueue, id, -1);
    if (acts_for_others(programs->msg_lspid) && real.last_sender != 0) programs->msg_lspid = real.last_sender;
    if (acts_for_others(programs->msg_lrpid) && real.last_receiver != 0) programs->msg_lrpid = real.last_receiver;
  }
  return result;
}

template <typename Native>
long control_set(int id, int semaphore, int command, SemctlArgument argument, Shape shape, Native native) {
  if (!is_about_set(command)) return native();
  if (!set_ids.goes_to_kernel(id)) {
    Route way = route(Kind::kSemaphoreSet, id);
    if (way == Route::kFailed) return -1;
    if (way == Route::kDaemon) return remote_control_set(id, semaphore, command, argument, shape);
  }
  bool owned = set_ids.find(id) == IdTable::kOwned;
  long result = native();
  if (result < 0) {
    forget_if_gone(Kind::kSemaphoreSet, id);
  } else if (command == IPC_RMID && owned) {
    note_removed(Kind::kSemaphoreSet, id);
  } else if (command == IPC_RMID) {
    set_ids.forget(id);
  } else if (command == GETPID && owned && acts_for_others(static_cast<int32_t>(result))) {
    Callers real = callers(Kind::kSemaphoreSet, id, semaphore);
    if (real.last_sender != 0) return real.last_sender;
  }
  return result;
}

// No kernel has a distributed segment, so the daemon is asked on its owner, too.
template <typename Native>
long control_segment(int id, int command, shmid_ds* programs, Shape shape, Native native) {
  if (!is_about_segment(command)) return native();
  if (!segment_ids.goes_to_kernel(id)) {
    Route way = route(Kind::kSegment, id);
    if (way == Route::kFailed) return -1;
    if (way == Route::kDaemon) return remote_control_segment(id, command, programs, shape);
  }
  long result = native();
  if (result < 0) {
    forget_if_gone(Kind::kSegment, id);
  } else if (command == IPC_RMID) {
    segment_ids.forget(id);
  }
  return result;
}

}  // namespace
}  // namespace dipc::shim
