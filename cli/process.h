#pragma once

// Processes as the lab keeps them in files and talks to them: a pid alone may long be another's.

#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "wire/result.h"

namespace dipc {

// A process, for as long as this machine is up. Source: proc(5), stat fields 1 and 22.
struct ProcessIdentity {
  pid_t pid = 0;
  unsigned long long start_ticks = 0;  // since boot
  bool operator==(const ProcessIdentity&) const = default;
};

// Nothing if there is no such process, or only a zombie is left of it.
std::optional<ProcessIdentity> identify(pid_t pid);
bool is_alive(const ProcessIdentity& process);

// Sends the signal if the process is still the one that is meant: the pid is held by a pidfd while it is compared.
// False: it was gone already.
bool send_signal(const ProcessIdentity& process, int signal);

// Waits until the process has ended; false if it has not within `limit`. Any process, not only a child.
bool wait_for_end(const ProcessIdentity& process, std::chrono::milliseconds limit);

// "PID START" in a file: written atomically, nothing if the file is missing or says something else.
Result<void> write_identity(const std::string& path, const ProcessIdentity& process);
std::optional<ProcessIdentity> read_identity(const std::string& path);

struct FinishedCommand {
  int status = 0;      // as the shell counts: 128 + signal; 127 = not found
  std::string output;  // standard output and error together
};

// Runs a command of the system and waits for it. `input` is its standard input. If `network_of` names a process, the
// command runs in that process's network namespace.
Result<FinishedCommand> run_command(const std::vector<std::string>& arguments, const std::string& input = "",
                                    pid_t network_of = 0);

// waitpid's status as an exit status: 128 + signal for a killed process.
int exit_status_of(int wait_status);

// strerror(errno) as text.
std::string error_text(int error);

}  // namespace dipc
