#include "daemon/kernel/stand_ins.h"

#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <limits>

#include "daemon/kernel/identity.h"
#include "daemon/kernel/objects.h"

namespace dipc {
namespace {

constexpr std::uint32_t kPermissionBits = 0777;

std::string first_line(const char* path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

int remove_object(Kind kind, std::int32_t id) {
  switch (kind) {
    case Kind::kMessageQueue:
      return msgctl(id, IPC_RMID, nullptr);
    case Kind::kSemaphoreSet:
      return semctl(id, 0, IPC_RMID);
    case Kind::kSegment:
      return shmctl(id, IPC_RMID, nullptr);
  }
  errno = EINVAL;
  return -1;
}

bool looks_like_stand_in(const ObjectFacts& facts, uid_t uid) {
  return facts.uid == uid && (facts.mode & kPermissionBits) == 0;
}

}  // namespace

tl::expected<std::int32_t, Error> make_stand_in(ObjectName name, std::int64_t semaphores) {
  constexpr int kMake = IPC_CREAT | IPC_EXCL;  // mode 0
  restore_own_groups();
  int id = -1;
  switch (name.kind) {
    case Kind::kMessageQueue:
      id = msgget(name.key, kMake);
      break;
    case Kind::kSemaphoreSet:
      if (semaphores < 0 || semaphores > std::numeric_limits<int>::max()) {
        return tl::unexpected<Error>(Error::kInvalid);
      }
      id = semget(name.key, static_cast<int>(semaphores), kMake);
      break;
    case Kind::kSegment:
      id = shmget(name.key, 1, kMake);
      break;
  }
  if (id < 0) return tl::unexpected<Error>(from_errno(errno));
  if (name.kind == Kind::kMessageQueue) {
    // Only these four fields count (msgctl(2)); reading them first would need a permission that mode 0 doesn't give.
    msqid_ds queue{};
    queue.msg_perm.uid = geteuid();
    queue.msg_perm.gid = getegid();
    queue.msg_perm.mode = 0;
    queue.msg_qbytes = 0;
    if (msgctl(id, IPC_SET, &queue) < 0) {
      const Error error = from_errno(errno);
      msgctl(id, IPC_RMID, nullptr);
      return tl::unexpected<Error>(error);
    }
  }
  return id;
}

tl::expected<std::int32_t, Error> find_object(ObjectName name) {
  int id = -1;
  switch (name.kind) {
    case Kind::kMessageQueue:
      id = msgget(name.key, 0);
      break;
    case Kind::kSemaphoreSet:
      id = semget(name.key, 0, 0);
      break;
    case Kind::kSegment:
      id = shmget(name.key, 0, 0);
      break;
  }
  if (id < 0) return tl::unexpected<Error>(from_errno(errno));
  return id;
}

bool stand_in_exists(ObjectName name, std::int32_t id) {
  const auto facts = object_facts(name.kind, id);
  if (facts) return facts->key == name.key && looks_like_stand_in(*facts, geteuid());
  if (facts.error() != Error::kAccess) return false;
  // Without root. The id that the kernel has for the key now tells as much; flags 0 ask for no permission.
  if (name.key == IPC_PRIVATE) return true;
  const auto found = find_object(name);
  return found && *found == id;
}

bool remove_stand_in(ObjectName name, std::int32_t id) {
  if (!stand_in_exists(name, id)) return true;
  return remove_object(name.kind, id) == 0 || errno == EINVAL || errno == EIDRM;
}

bool remove_leftover(ObjectName name, uid_t made_as) {
  const auto id = find_object(name);
  const auto facts = id ? object_facts(name.kind, *id) : tl::expected<ObjectFacts, Error>(tl::unexpected(id.error()));
  if (!facts || facts->was_used || facts->uid != made_as) return false;
  return remove_object(name.kind, *id) == 0;
}

std::string limits_of(Kind kind) {
  if (kind == Kind::kMessageQueue) return "kernel.msgmni = " + first_line("/proc/sys/kernel/msgmni");
  if (kind == Kind::kSegment) return "kernel.shmmni = " + first_line("/proc/sys/kernel/shmmni");
  return "kernel.sem (SEMMSL SEMMNS SEMOPM SEMMNI) = " + first_line("/proc/sys/kernel/sem");
}

}  // namespace dipc
