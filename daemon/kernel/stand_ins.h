#pragma once

// The placeholders of objects that another host owns: a kernel object of the same kind and key that nobody can use. It
// reserves an id, shows in ipcs, and makes a program without the shim fail instead of talking to an empty object.
//   queue          mode 0 and msg_qbytes 0: root passes mode 0, and then gets EAGAIN instead of losing its message
//   semaphore set  mode 0 and the real number of semaphores: semget of more than there are is EINVAL
//   segment        mode 0 and one page (see segment_stand_ins.h); on the owner too
// Owned by the daemon's own login: root, or the one login that a daemon without root serves. That one may not stat its
// own objects of mode 0 (EACCES), so it must remember the ids; `exists` still tells, by EACCES against EINVAL.

#include <sys/types.h>

#include <cstdint>
#include <string>

#include <tl/expected.hpp>

#include "wire/messages.h"

namespace dipc {

// The id. Key 0 is IPC_PRIVATE: always a new one. Errors: kExists, this host has an object of that key already;
// kNoSpace, kernel.msgmni or kernel.sem's limits are reached; what else msgget(2), semget(2) and shmget(2) say.
tl::expected<std::int32_t, Error> make_stand_in(ObjectName name, std::int64_t semaphores);

// Whether `id` still is our stand-in of that name. False: somebody removed it (ipcrm), or the id is another object's.
bool stand_in_exists(ObjectName name, std::int32_t id);

// Removes it if it still is ours. True: it is gone now.
bool remove_stand_in(ObjectName name, std::int32_t id);

// The object of this name in this kernel, whatever it is; kNoEntry if there is none.
tl::expected<std::int32_t, Error> find_object(ObjectName name);

// Removes the object of this name if it is that user's and nobody has used it: what a daemon that was killed while it
// made it has left. False: there is none such.
bool remove_leftover(ObjectName name, uid_t made_as);

// What to tell an administrator when there is no room: which limit, and what stands in it now.
std::string limits_of(Kind kind);

}  // namespace dipc
