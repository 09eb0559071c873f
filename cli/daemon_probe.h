#pragma once

// Is there a daemon behind a local socket, and does it speak a program's language? Local records are in native byte
// order (wire/local.h), so a big-endian guest can't use a little-endian host's daemon.

#include <chrono>
#include <string>

#include "arch/abi.h"

namespace dipc {

enum class DaemonState {
  kAnswers,     // it replied to a hello in this byte order
  kOtherOrder,  // it is there and speaks the other byte order
  kAbsent,      // no socket file: never started, or stopped cleanly
  kSilent,      // socket file there, nobody answers: crashed, or restarting
  kForbidden,   // the socket may not be used by this login
};

// Connects, exchanges the hello in `order`, closes. Waits for a reply for at most `limit`.
DaemonState probe_daemon(const std::string& socket_path, ByteOrder order, std::chrono::milliseconds limit);

// The socket that the shim would use: $DIPC_SOCKET, /run/dipc/dipcd.sock, or $XDG_RUNTIME_DIR/dipc/dipcd.sock if the
// former does not exist and the latter does.
std::string default_socket();

}  // namespace dipc
