#pragma once

// The lab's network: a process that does nothing but hold a network namespace with a bridge in it (the switch), and a
// veth pair from there into every host. Nothing is seen of it outside these namespaces, and it vanishes with them.
// Needs ip(8) from iproute2.

#include <cstddef>

#include "cli/lab_file.h"
#include "cli/lab_process.h"

namespace dipc {

// Starts the switch. Recorded in `record` before the process does anything.
Result<LabProcess> start_switch(const std::string& record);

// Loopback, the veth pair and the address of the host whose holder is `holder`; `port` numbers the pair.
Result<void> connect_host(pid_t switch_process, pid_t holder, std::size_t port, const LabHost& host);

// From now on what `from` sends to `to` gets lost, silently as on a broken wire (a permanent neighbour entry with an
// address that nobody has). One direction only.
Result<void> cut(pid_t holder_of_from, const LabHost& to);
Result<void> heal(pid_t holder_of_from, const LabHost& to);

}  // namespace dipc
