#pragma once

// Error numbers that mean the same on every host. errno values differ between architectures
// (include/uapi/asm-*/errno.h), so they are translated at the edge of each host and never travel as numbers.

#include <cstdint>
#include <string_view>

namespace dipc {

// Values are part of the protocol: append, never renumber.
enum class Error : std::uint16_t {
  kNone = 0,
  kTooBig,           // E2BIG
  kAccess,           // EACCES
  kAgain,            // EAGAIN
  kExists,           // EEXIST
  kFault,            // EFAULT
  kFileTooBig,       // EFBIG
  kRemoved,          // EIDRM
  kInterrupted,      // EINTR
  kInvalid,          // EINVAL
  kNoEntry,          // ENOENT
  kNoMemory,         // ENOMEM
  kNoMessage,        // ENOMSG
  kNoSpace,          // ENOSPC
  kNotImplemented,   // ENOSYS
  kOverflow,         // EOVERFLOW
  kNotPermitted,     // EPERM
  kRange,            // ERANGE
  kTimedOut,         // ETIMEDOUT: the referee or the local daemon did not answer in time
  kHostUnreachable,  // EHOSTUNREACH: certainly not executed
  kConnectionReset,  // ECONNRESET: the owner was lost, the outcome is unknown
  kStale,            // no errno: the owner no longer has this generation; the caller's daemon resolves the key again
};

// Native errno of this machine; kStale becomes EIDRM.
int to_errno(Error error);
// A number that has no counterpart becomes kInvalid.
Error from_errno(int native);
// "EACCES", for logs and tools.
std::string_view errno_name(Error error);

}  // namespace dipc
