#pragma once

// What becomes of programs' segments when the daemon is killed. The kernel would close its userfaultfds, and whoever
// touched a page that is elsewhere would read zeros. So a process beside the daemon shares its table of descriptors:
// when the daemon has ended, whatever ended it, the guard truncates the memory of all segments and only then lets the
// userfaultfds go. Who waits for a page, and who touches one later, gets SIGBUS. A program can hold up the end of the
// segment that it writes into, not that of others. Where programs page themselves their helpers see the daemon's end
// too (shim/paged_memory.h); the guard is for those that are stopped just then.
//
// What the daemon has written down (memory_record.h) is kept first, for the next daemon to go on with (kept_memory.h):
// the guard has the userfaultfds, so programs go on with the pages that they have, wait for others, and may fork. If no
// daemon comes in time it goes the same way as the rest.
//
// qemu-user has no processes that share descriptors: there the guard is told of each segment.

#include <chrono>
#include <string>

#include "wire/descriptor.h"
#include "wire/result.h"

namespace dipc {

// What the memfd of a segment is called, so that the guard knows it; more may follow.
inline constexpr const char* kSegmentMemoryName = "dipc segment";

struct GuardOptions {
  std::string socket;                      // where the next daemon finds it; empty: nothing is kept
  std::chrono::milliseconds alone_max{0};  // peer_timeout: longer does nobody count with what was kept
};

// From the daemon, first and when its guard has ended before it: without one programs would read zeros when the daemon
// is killed. The guard is named dipc-guard and ends with the daemon, or when it has no more to keep; a supervisor must
// not kill both at once. What comes is readable when the guard has ended; nothing, if it is one that is told.
// Trouble: no process, socket or descriptor to be had.
Result<Descriptor> start_memory_guard(const GuardOptions& options = {});

// A segment's memory, made since. False: the guard, which has to be told, can't be.
bool tell_memory_guard(int memory);

}  // namespace dipc
