#pragma once

// Processes of this host, named so that a reused pid is another process; and the kernel's own identity.

#include <sys/types.h>

#include <optional>
#include <string>

#include "wire/messages.h"
#include "wire/result.h"

namespace dipc {

// pid and start time (field 22 of /proc/PID/stat, proc(5)); nothing if there is no such process.
std::optional<ProcessId> process_id(pid_t pid);

// Whether that very process is certainly gone. A zombie is not: other threads of it may live; its pidfd tells.
bool process_has_ended(const ProcessId& process);

// pidfd_open(2): readable once the process has ended; close-on-exec, the caller's to close. -1 with errno set: ESRCH no
// such process, ENOSYS no such call.
int open_process(pid_t pid);

// Boot id of the kernel and inode of our IPC namespace: when it changes, every object is gone.
Result<std::string> boot_identity();

// Inode of /proc/PID/ns/ipc ("self" for ours), 0 if it can't be told.
std::uint64_t ipc_namespace_of(const std::string& pid);

}  // namespace dipc
