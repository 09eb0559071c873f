#pragma once

// One question to the daemon of this host, over its local socket (wire/local.h, Op::kAdmin).

#include <chrono>
#include <string>

#include "daemon/core/admin_command.h"
#include "wire/result.h"

namespace dipc {

struct DaemonAnswer {
  int error = 0;     // native errno, 0 = success
  std::string json;  // status_report.h: the report, or an AdminFailure
};

struct Unreachable : Trouble {};  // no daemon there, or it does not answer

// Connects, asks, waits at most `limit` for each of the two answers, closes. Blocks.
tl::expected<DaemonAnswer, Unreachable> ask_daemon(const std::string& socket_path, const AdminCommand& command,
                                                   std::chrono::milliseconds limit);

// $DIPC_SOCKET; else /run/dipc/dipcd.sock if it is there; else $XDG_RUNTIME_DIR/dipc/dipcd.sock if that is there; else
// the first. The same order as programs have it.
std::string default_socket_path();

}  // namespace dipc
