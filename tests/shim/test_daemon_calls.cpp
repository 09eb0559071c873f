// What a call does in this host's kernel.

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

#include "tests/shim/test_daemon.h"

namespace dipc::test {
namespace {

constexpr size_t kMessageBytesMax = size_t{4} << 20;

// Memory that can't be read, with some before it that can.
void* unreadable() {
  static char* pages = [] {
    size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    char* memory =
        static_cast<char*>(mmap(nullptr, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (memory == MAP_FAILED || mprotect(memory + page, page, PROT_NONE) != 0) abort();
    return memory + page;
  }();
  return pages;
}

Reply result(long value) {
  Reply reply;
  reply.value = value;
  if (value < 0) reply.error = errno;
  return reply;
}

// Calls in which the kernel sees the daemon.
void touch(Kind kind, int id) {
  if (kind == Kind::kMessageQueue) {
    struct {
      long type;
      char text[8];
    } message{1, "touch"};
    msgsnd(id, &message, 5, 0);
    msgrcv(id, &message, 5, 0, 0);
  } else {
    sembuf up{1, 1, 0};
    semop(id, &up, 1);
  }
}

}  // namespace

Reply Client::get(const Call& call) {
  const Request& request = call.request;
  Reply reply;
  if ((request.flags & IPC_DIPC) == 0) return reply;  // kLocal: the program asks its kernel itself
  Kind kind = static_cast<Kind>(request.kind);
  switch (kind) {
    case Kind::kMessageQueue:
      reply = result(msgget(request.key, request.flags));
      break;
    case Kind::kSemaphoreSet:
      reply = result(semget(request.key, static_cast<int>(request.size), request.flags));
      break;
    case Kind::kSegment:
      reply = result(shmget(request.key, static_cast<size_t>(request.size), request.flags));
      break;
  }
  if (reply.error != 0) return reply;
  reply.where = g_options.owned ? Where::kOwned : Where::kRemote;
  unbecome();
  if (kind == Kind::kSegment) {
    std::lock_guard guard(g_lock);
    g_objects[{request.kind, static_cast<int>(reply.value)}].sender = call.who.pid;
    return reply;
  }
  if (g_options.touch) touch(kind, static_cast<int>(reply.value));
  std::lock_guard guard(g_lock);
  Object& object = g_objects[{request.kind, static_cast<int>(reply.value)}];
  semid_ds status{};
  if (kind == Kind::kSemaphoreSet && semctl(static_cast<int>(reply.value), 0, IPC_STAT, &status) == 0) {
    object.semaphores = static_cast<uint32_t>(status.sem_nsems);
  }
  return reply;
}

Reply Client::lookup(const Call& call) {
  std::lock_guard guard(g_lock);
  Reply reply;
  auto found = g_objects.find({call.request.kind, call.request.id});
  if (found == g_objects.end()) return reply;
  reply.where = g_options.owned ? Where::kOwned : Where::kRemote;
  reply.value = call.request.id;
  reply.extra = found->second.semaphores;
  return reply;
}

Reply Client::send(Call& call) {
  void* message = call.payload.data();
  if (!call.complete) {  // the type, as far as it came, just before what can't be read
    message = static_cast<char*>(unreadable()) - std::min(call.payload.size(), sizeof(long));
    memcpy(message, call.payload.data(), std::min(call.payload.size(), sizeof(long)));
  }
#ifdef DIPC_SANITIZED
  // A sanitizer's msgsnd() reads the text before the kernel does, and takes what is meant here for a mistake.
  long sent = syscall(SYS_msgsnd, call.request.id, message, static_cast<size_t>(call.request.size), call.request.flags);
#else
  int sent = msgsnd(call.request.id, message, static_cast<size_t>(call.request.size), call.request.flags);
#endif
  Reply reply = result(sent);
  std::lock_guard guard(g_lock);
  if (reply.error == 0) g_objects[{call.request.kind, call.request.id}].sender = call.who.pid;
  return reply;
}

void Client::receive(Call& call) {
  auto room = std::clamp<int64_t>(call.request.size, 0, kMessageBytesMax);
  std::vector<char> message(sizeof(long) + static_cast<size_t>(room));
  ssize_t bytes = msgrcv(call.request.id, message.data(), static_cast<size_t>(call.request.size),
                         static_cast<long>(call.request.type), call.request.flags);
  Reply reply = result(bytes);
  message.resize(bytes < 0 ? 0 : static_cast<size_t>(bytes) + sizeof(long));
  if (bytes >= 0) {
    std::lock_guard guard(g_lock);
    g_objects[{call.request.kind, call.request.id}].receiver = call.who.pid;
    if ((call.request.flags & MSG_COPY) == 0) {
      last_message_ = message;
      last_queue_ = call.request.id;
    }
  }
  answer(call.request, reply, message.data(), message.size());
}

Reply Client::operate(Call& call) {
  const Request& request = call.request;
  auto* operations = reinterpret_cast<sembuf*>(call.complete ? call.payload.data() : unreadable());
  timespec timeout{static_cast<time_t>(request.timeout_s), static_cast<long>(request.timeout_ns)};
  bool has_timeout = (request.marks & kHasTimeout) != 0;
  Reply reply =
      result(semtimedop(request.id, operations, static_cast<size_t>(request.size), has_timeout ? &timeout : nullptr));
  if (reply.error == 0) {
    std::lock_guard guard(g_lock);
    for (int64_t i = 0; i < request.size; ++i) {
      g_objects[{request.kind, request.id}].operators[operations[i].sem_num] = call.who.pid;
    }
  }
  return reply;
}

template <typename Status>
void permissions_to(StatRecord& record, const Status& p) {
  record.key = p.__key;
  record.uid = p.uid;
  record.gid = p.gid;
  record.cuid = p.cuid;
  record.cgid = p.cgid;
  record.mode = p.mode;
  record.sequence = p.__seq;
}

Reply Client::control(Call& call, std::vector<char>* payload) {
  const Request& request = call.request;
  StatRecord record;
  Reply reply;
  if (request.command == IPC_RMID) {
    switch (static_cast<Kind>(request.kind)) {
      case Kind::kMessageQueue:
        reply = result(msgctl(request.id, IPC_RMID, nullptr));
        break;
      case Kind::kSemaphoreSet:
        reply = result(semctl(request.id, 0, IPC_RMID));
        break;
      case Kind::kSegment:
        reply = result(shmctl(request.id, IPC_RMID, nullptr));
        break;
    }
    std::lock_guard guard(g_lock);
    if (reply.error == 0) g_objects.erase({request.kind, request.id});
    return reply;
  }
  if (request.command == IPC_SET) memcpy(&record, call.payload.data(), sizeof record);
  if (static_cast<Kind>(request.kind) == Kind::kSegment) {
    shmid_ds status{};
    status.shm_perm.uid = record.uid;
    status.shm_perm.gid = record.gid;
    status.shm_perm.mode = static_cast<decltype(status.shm_perm.mode)>(record.mode);
    reply = result(shmctl(request.id, request.command, &status));
    if (request.command != IPC_STAT || reply.error != 0) return reply;
    std::lock_guard guard(g_lock);
    permissions_to(record, status.shm_perm);
    record.attach_time_s = status.shm_atime;
    record.detach_time_s = status.shm_dtime;
    record.change_time_s = status.shm_ctime;
    record.segment_bytes = status.shm_segsz;
    record.attachments = status.shm_nattch;
    record.creator_pid = g_objects[{request.kind, request.id}].sender;
    record.last_pid = status.shm_lpid;
    payload->assign(reinterpret_cast<char*>(&record), reinterpret_cast<char*>(&record + 1));
    return reply;
  }
  if (static_cast<Kind>(request.kind) == Kind::kMessageQueue) {
    msqid_ds status{};
    status.msg_perm.uid = record.uid;
    status.msg_perm.gid = record.gid;
    status.msg_perm.mode = static_cast<decltype(status.msg_perm.mode)>(record.mode);
    status.msg_qbytes = static_cast<msglen_t>(record.queue_bytes);
    reply = result(msgctl(request.id, request.command, &status));
    if (request.command != IPC_STAT || reply.error != 0) return reply;
    std::lock_guard guard(g_lock);
    const Object& object = g_objects[{request.kind, request.id}];
    permissions_to(record, status.msg_perm);
    record.send_time_s = status.msg_stime;
    record.receive_time_s = status.msg_rtime;
    record.change_time_s = status.msg_ctime;
    record.used_bytes = status.__msg_cbytes;
    record.messages = status.msg_qnum;
    record.queue_bytes = status.msg_qbytes;
    record.last_sender_pid = object.sender;
    record.last_receiver_pid = object.receiver;
    payload->assign(reinterpret_cast<char*>(&record), reinterpret_cast<char*>(&record + 1));
    return reply;
  }
  uint32_t count;
  {
    std::lock_guard guard(g_lock);
    count = g_objects[{request.kind, request.id}].semaphores;
  }
  semid_ds status{};
  switch (request.command) {
    case IPC_SET:
      status.sem_perm.uid = record.uid;
      status.sem_perm.gid = record.gid;
      status.sem_perm.mode = static_cast<decltype(status.sem_perm.mode)>(record.mode);
      return result(semctl(request.id, 0, IPC_SET, &status));
    case IPC_STAT:
      reply = result(semctl(request.id, 0, IPC_STAT, &status));
      if (reply.error != 0) return reply;
      permissions_to(record, status.sem_perm);
      record.operation_time_s = status.sem_otime;
      record.change_time_s = status.sem_ctime;
      record.semaphores = status.sem_nsems;
      payload->assign(reinterpret_cast<char*>(&record), reinterpret_cast<char*>(&record + 1));
      return reply;
    case GETALL:
      payload->resize(count * sizeof(uint16_t));
      reply = result(semctl(request.id, 0, GETALL, payload->data()));
      if (reply.error != 0) payload->clear();
      return reply;
    case SETALL:
      return result(semctl(request.id, 0, SETALL, call.complete ? call.payload.data() : unreadable()));
    case GETPID: {
      reply = result(semctl(request.id, request.semaphore, GETPID));
      std::lock_guard guard(g_lock);
      Object& object = g_objects[{request.kind, request.id}];
      if (reply.error == 0 && object.operators.contains(request.semaphore)) {
        reply.value = object.operators[request.semaphore];
      }
      return reply;
    }
    default:
      return result(semctl(request.id, request.semaphore, request.command, static_cast<int>(request.value)));
  }
}

}  // namespace dipc::test
