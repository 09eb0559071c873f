#pragma once

// Each System V call, as every entry point of the library (the function, its 64-bit-time twin, syscall(2)) makes it:
// decide where it goes, then let `native` run it in this kernel or carry it to the daemon. Results and errno are those
// of the C functions.

#include <stddef.h>
#include <stdint.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

#include "shim/id_table.h"
#include "shim/kernel_calls.h"

namespace dipc::shim {

inline IdTable& ids_of(Kind kind) {
  switch (kind) {
    case Kind::kMessageQueue:
      return queue_ids;
    case Kind::kSemaphoreSet:
      return set_ids;
    case Kind::kSegment:
      break;
  }
  return segment_ids;
}

enum class Route { kKernel, kDaemon, kFailed };  // kFailed: errno says why

// Where calls on an id go that the table does not send to this kernel.
Route route(Kind kind, int id);
// Where a get goes. kDaemon: done, and `id` is the answer. kKernel: `is_local` if the daemon said so; else nobody could
// be asked, and the id is looked at when it is used.
struct GetRoute {
  Route way;
  int id = -1;
  bool is_local = false;
};
GetRoute route_get(Kind kind, int key, int64_t size, int flags);
// A failed call of this kernel: EINVAL and EIDRM end what we know of the id.
void forget_if_gone(Kind kind, int id);

struct Timeout {
  int64_t seconds;
  int64_t nanoseconds;
};

long remote_send(int id, const void* message, size_t text_bytes, int flags);
long remote_receive(int id, void* message, size_t text_bytes, long type, int flags);
long remote_operate(int id, const sembuf* operations, size_t count, const Timeout* timeout);
// Controls without a struct: IPC_RMID, GETVAL, GETPID, GETNCNT, GETZCNT, SETVAL, SHM_LOCK, SHM_UNLOCK.
long remote_control(Kind kind, int id, int command, int semaphore, int value);
long remote_get_all(int id, uint16_t* values);
long remote_set_all(int id, const uint16_t* values);
bool remote_stat(Kind kind, int id, local::StatRecord* record);
long remote_set(Kind kind, int id, const local::StatRecord& record);

// After this kernel removed a distributed object.
void note_removed(Kind kind, int id);
// Who really made the last calls where this kernel names the daemon: 0 where it is right. `semaphore` -1 for queues.
struct Callers {
  int32_t last_sender;  // of a queue; the last to operate on a semaphore
  int32_t last_receiver;
};
Callers callers(Kind kind, int id, int semaphore);

// The key of `path` where the administrator lists it (daemon/core/ftok_paths.h): the same on every host. Else `libcs`,
// which is what libc's ftok said: -1 with its errno where there is no such file. ftok.cpp.
key_t cluster_key(const char* path, int id, key_t libcs);

// errno and -1, as all of these calls fail.
inline int fail_with(int error) {
  errno = error;
  return -1;
}

template <typename Native>
long send_message(int id, const void* message, size_t text_bytes, int flags, Native native) {
  if (!queue_ids.goes_to_kernel(id)) [[unlikely]] {
    Route way = route(Kind::kMessageQueue, id);
    if (way == Route::kFailed) return -1;
    if (way == Route::kDaemon) return remote_send(id, message, text_bytes, flags);
  }
  long result = native();
  if (result < 0) [[unlikely]]
    forget_if_gone(Kind::kMessageQueue, id);
  return result;
}

template <typename Native>
long receive_message(int id, void* message, size_t text_bytes, long type, int flags, Native native) {
  if (!queue_ids.goes_to_kernel(id)) [[unlikely]] {
    Route way = route(Kind::kMessageQueue, id);
    if (way == Route::kFailed) return -1;
    if (way == Route::kDaemon) return remote_receive(id, message, text_bytes, type, flags);
  }
  long result = native();
  if (result < 0) [[unlikely]]
    forget_if_gone(Kind::kMessageQueue, id);
  return result;
}

// `read_timeout` fills a Timeout from the program's memory: 0 or an errno.
template <typename Native, typename ReadTimeout>
long operate(int id, const sembuf* operations, size_t count, bool has_timeout, ReadTimeout read_timeout,
             Native native) {
  if (!set_ids.goes_to_kernel(id)) [[unlikely]] {
    Route way = route(Kind::kSemaphoreSet, id);
    if (way == Route::kFailed) return -1;
    if (way == Route::kDaemon) {
      Timeout timeout{};
      int error = has_timeout ? read_timeout(&timeout) : 0;  // before all else, as the kernel does
      if (error != 0) return fail_with(error);
      return remote_operate(id, operations, count, has_timeout ? &timeout : nullptr);
    }
  }
  long result = native();
  if (result < 0) [[unlikely]]
    forget_if_gone(Kind::kSemaphoreSet, id);
  return result;
}

// shmat and shmdt of attachments that the daemon pages: attachments.cpp. MAP_FAILED, which is (void*)-1, and -1, as the
// C functions fail.
void* remote_attach(int id, const void* address, int flags);
bool has_remote_attachments();
// False: nothing there is one, so `address` is this kernel's business.
bool remote_detach(const void* address, int* result);

template <typename Native>
void* attach_segment(int id, const void* address, int flags, Native native) {
  if (!segment_ids.goes_to_kernel(id)) [[unlikely]] {
    Route way = route(Kind::kSegment, id);
    if (way == Route::kFailed) return MAP_FAILED;
    if (way == Route::kDaemon) return remote_attach(id, address, flags);
  }
  void* result = native();
  if (result == MAP_FAILED) [[unlikely]]
    forget_if_gone(Kind::kSegment, id);
  return result;
}

template <typename Native>
int detach_segment(const void* address, Native native) {
  int result;
  if (has_remote_attachments() && remote_detach(address, &result)) return result;
  return native();
}

template <typename Native>
int get_object(Kind kind, int key, int64_t size, int flags, Native native) {
  GetRoute route = route_get(kind, key, size, flags);
  if (route.way == Route::kFailed) return -1;
  if (route.way == Route::kDaemon) return route.id;
  int id = static_cast<int>(native());
  if (id >= 0 && route.is_local) ids_of(kind).set(id, IdTable::kLocal);
  return id;
}

}  // namespace dipc::shim
