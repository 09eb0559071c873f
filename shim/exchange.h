#pragma once

// One call of the program carried to the daemon and its result back: credentials, payload in both directions, signals,
// cancellation, nested and abandoned calls.

#include <stddef.h>
#include <stdint.h>

#include "shim/id_table.h"
#include "wire/local.h"

namespace dipc::shim {

struct Exchange {
  Exchange(local::Op op, Kind kind, int id) {
    request.op = op;
    request.kind = static_cast<uint32_t>(kind);
    request.id = id;
  }

  local::Request request;  // the fields of the call; call, stamp and payload are filled in by run()
  // What goes with the request, borrowed, in the program's memory: the kernel reads it, nobody else. If it can't, the
  // request goes without it, and the owner's kernel decides which of the program's mistakes comes first.
  // With `head_bytes` the request goes with that much of it if no more is readable, and without so much the call fails.
  const void* body = nullptr;
  size_t body_bytes = 0;
  size_t head_bytes = 0;
  // Where the payload of the reply goes, borrowed. In the program's memory, and perhaps bad, unless `room_is_ours`.
  bool wants_payload = false;
  void* room = nullptr;
  size_t room_bytes = 0;
  bool room_is_ours = false;
  // A descriptor that goes with the request, borrowed; and room for those that come with the reply, which are then the
  // caller's (-1 where none came). Such a reply has a payload, too.
  int passed = -1;
  int (*descriptors)[2] = nullptr;

  bool interruptible = false;     // EINTR is among the errors of this call
  bool cancellable = false;       // it is a cancellation point of POSIX
  bool repeatable = false;        // asking twice changes nothing
  bool waits_for_absent = false;  // the object is known to be distributed: no daemon is no reason to do without
  bool tries_once = false;        // not important enough to wait for a daemon

  enum class Result {
    kReply,     // `reply` is the daemon's, its payload is in `room`
    kNoDaemon,  // nobody to ask, and that is how it should be
    kCannot,    // there may be a daemon, but this process can't reach it
    kFailed,    // the call fails with `error`
  };
  Result run();

  local::Reply reply;
  int error = 0;

 private:
  struct Frame;
  Result fail(int with);
  Result exchange(Frame& frame);
  Result send(Frame& frame);
  Result wait(Frame& frame);
  Result take_reply(Frame& frame, bool* came);
  Result take_message(Frame& frame, bool* came);
  Result take_descriptors(Frame& frame, bool* came);
  Result resume(Frame& frame, bool* again);
};

}  // namespace dipc::shim
