#pragma once

// A long list of dead letters, or a long text of one, comes from the daemon in pieces: here they are put together.

#include <functional>

#include "daemon/ctl/daemon_client.h"

namespace dipc {

using Ask = std::function<tl::expected<DaemonAnswer, Unreachable>(const AdminCommand&)>;

// Asks until all of the answer is there, as one JSON text. The first answer that is a failure, or is not understood, is
// the answer. Commands whose answers come whole are asked once.
tl::expected<DaemonAnswer, Unreachable> ask_for_all(const AdminCommand& command, const Ask& ask);

}  // namespace dipc
