#pragma once

// Finding the daemon of this host and getting a connection through its hello.

#include <signal.h>
#include <stdint.h>

#include "shim/thread_state.h"

namespace dipc::shim {

enum class Reach {
  kConnected,
  kNoDaemon,     // no socket file, or a daemon of another IPC namespace: carry on as if there were no DIPC
  kSilent,       // a socket file, and nobody answered until the time was up
  kCannot,       // no socket can be made or used: descriptors, chroot, seccomp, a daemon of another version
  kInterrupted,  // a signal handler ran while we waited, and the call is one that may end with EINTR
};

struct Patience {
  const sigset_t* mask;   // the program's: signals are delivered while we wait
  bool interruptible;     // a handler that ran ends the wait
  bool waits_for_absent;  // wait for a missing socket file as well: the call is on a distributed object
  bool tries_once;        // don't wait at all
};

// Makes `connection` usable, connecting if need be, within the daemon's op_timeout.
Reach reach_daemon(Connection& connection, const Patience& patience);

// ppoll on one descriptor (-1: none) with the program's signal mask. `timeout_ns` < 0: no limit. > 0 ready, 0 time is
// up, -errno.
int wait_for(int descriptor, short events, int64_t timeout_ns, const sigset_t* mask);

// The same for answers that come before the call itself is on its way (hello, where an id is). Whoever watches this
// program takes its sleep for being in the call, so it stays awake for as long as such an answer takes when all is
// well.
int wait_for_awake(int descriptor, short events, int64_t timeout_ns, const sigset_t* mask);

// Once per process: where the environment says that the socket is, fork handler, thread ends. The constructor calls it,
// before the program can change its environment; a call from another library's constructor may come before ours.
void prepare();
bool is_strict();           // DIPC_STRICT=1
bool has_reached_daemon();  // this process, or the one it was forked from, has spoken with a daemon
bool acts_for_others(
    int32_t pid);  // the daemon or its keeper: what this kernel shows where the caller was a remote one
int64_t op_timeout_ns();

// What goes behind a record, in the program's memory: two neighbours, of which the first may be readable alone.
struct Body {
  const void* first = nullptr;
  size_t first_bytes = 0;
  size_t second_bytes = 0;
};

// Sends `record` with the thread's present effective ids, then `body`, and `memfd` if it is not negative. Bytes sent or
// -errno; -EFAULT if the kernel could not read the body. qemu then leaves out the part it could not read.
long send_record(int socket, const void* record, size_t record_bytes, const Body& body, int memfd);

}  // namespace dipc::shim
