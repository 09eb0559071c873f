#pragma once

// What a thread of the program keeps between its calls: its connection to the daemon. States come from a static array
// and then from mmap, are linked so that a forked child finds all of them, and go back when the thread ends. Nothing
// here takes a lock or allocates from the heap: a call may come from a signal handler. All of it is valid when zero.

#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <atomic>

#include "wire/local.h"

namespace dipc::shim {

// A descriptor of ours in a table that belongs to the program, which may close it and get its number back for
// something else. Device and inode tell whether the number still means what we opened. Never 0, 1 or 2.
class OwnDescriptor {
 public:
  bool is_ours() const;
  int number() const { return number_; }
  // Takes `descriptor` over. False, and the descriptor closed, if it can't be identified.
  bool adopt(int descriptor);
  // Closes it if it is still ours; means nothing afterwards.
  void close();
  // The same without a trace: for the copy of a descriptor table that the record does not speak of.
  void close_quietly() const;
  void forget() { number_ = 0; }

 private:
  int number_ = 0;
  uint64_t device_ = 0;
  uint64_t inode_ = 0;
};

// How a call ended that a nested call had to wait for, kept for the outer frame in case it is still alive.
struct Ended {
  uint64_t call = 0;
  int error = 0;  // errno that takes the place of a reply; 0 = the reply's fields are below
  int reply_error = 0;
  int64_t value = 0;
  int64_t extra = 0;
  local::Where where{};
  bool ask_again = false;  // the reply had a payload that was dropped; asking once more does no harm
};

struct Connection {
  pid_t pid = 0;  // the process whose descriptor table `socket` is in
  OwnDescriptor socket;
  OwnDescriptor connecting;  // not yet through its hello
  uint64_t last_call = 0;    // numbers are never used twice, also over reconnections
  uint64_t outstanding = 0;  // the call whose reply is still to come, 0 = none
  local::Op outstanding_op{};
  bool outstanding_can_end = false;  // it may be cancelled
  sigset_t waiting_mask = {};        // the program's, while a cancellable call waits
  unsigned ended_next = 0;
  Ended ended[8] = {};  // as deep as handlers may nest in each other's calls

  void drop();  // closes the socket: the daemon cancels the call and puts an unread message back
  void keep(const Ended& how);
  const Ended* find(uint64_t call) const;
};

struct ThreadState {
  enum Use : uint32_t { kFree = 0, kTaken = 1, kLeaving = 2 };
  std::atomic<uint32_t> use{kFree};
  pid_t thread = 0;  // only where no key tells of the thread's end
  // [0] is the thread's. [1] serves a child that was made without the fork handlers: one of vfork(2) runs in its
  // parent's memory, so that it must leave [0] alone; one of a raw clone(2) can't be told from it.
  Connection connections[2];
};

// The calling thread's connection as far as it has one.
Connection* known_connection(pid_t pid);
// The calling thread's connection, for the process `pid`. Null if there is no memory for one. Signals are blocked.
Connection* current_connection(pid_t pid);

// Once, by the constructor: the key that tells us of a thread's end, the fork handler.
void prepare_threads();

}  // namespace dipc::shim
