#pragma once

// The calls on kernel objects that never sleep: get, control. As the mapped login where a permission is to be judged.
// Kernel pids in the answers are the kernel's own; the executor puts the remote callers' in their place.

#include <sys/types.h>

#include <optional>

#include <tl/expected.hpp>

#include "daemon/kernel/identity.h"
#include "wire/messages.h"

namespace dipc {

struct ObjectMade {
  std::int32_t id = 0;
  std::int64_t size = 0;  // nsems of a set, otherwise 0
};

// msgget or semget. Errors are the kernel's; kNotImplemented for segments, which are not the kernel's.
tl::expected<ObjectMade, Error> get_object(const Identity& own, const Identity& as, const GetCall& call);

// msgctl or semctl. Reply::id is not filled in. A command that the kind doesn't have is kInvalid, as in the kernel.
Reply control_object(const Identity& own, const Identity& as, const Control& call);

// What the daemon itself may know of an object, whatever its permissions (as long as the daemon is root).
struct ObjectFacts {
  std::int32_t key = 0;
  uid_t uid = 0;
  gid_t gid = 0;
  std::uint32_t mode = 0;
  std::uint64_t used_bytes = 0, messages = 0;  // queues
  std::uint64_t semaphores = 0;                // sets
  bool was_used = false;                       // sent to or received from; a semop was made
};
// Of a segment: of its stand-in. Errors: kInvalid or kRemoved, gone; kAccess, it is there and we may not look.
tl::expected<ObjectFacts, Error> object_facts(Kind kind, std::int32_t id);

}  // namespace dipc
