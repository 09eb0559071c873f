#pragma once

// The records between the signal pager of a daemon (daemon/pager/signal_pager.h) and the helper threads of one
// attachment in a program (shim/paged_memory.h): fixed width, native byte order, one record to one packet of a
// SOCK_SEQPACKET socket. Pages are the kernel's, counted from the attachment's first.
//
//   daemon -> helper   kSetAccess, kTakeAway     each answered by kDone with its number, when it is so
//                      kWake                     whoever waits tries again; not answered
//   helper -> daemon   kFault                    answered sooner or later by one of these three
//                      kDone
// The socket's end is the attachment's: for the daemon the program has detached, for the program all is lost.

#include <stdint.h>

namespace dipc::local {

enum class PagingOp : uint32_t {
  kSetAccess = 1,  // to the pages
  kTakeAway,       // SIGBUS for whoever touches them, for ever
  kWake,
  kFault,  // on page `first`; `access`: what was tried
  kDone,   // `number`
};

enum class PagingAccess : uint32_t { kNone = 0, kRead = 1, kWrite = 2 };

struct PagingRecord {
  PagingOp op{};
  PagingAccess access{};
  uint32_t first = 0;
  uint32_t count = 0;
  uint64_t number = 0;
};

static_assert(sizeof(PagingRecord) == 24);

}  // namespace dipc::local
