#pragma once

// `dipc lab exec`: a program in a host of the lab, as one of its logins, with this process's standard streams, folder
// and environment.

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "cli/lab_directory.h"

namespace dipc::lab {

struct ExecOptions {
  std::string login;                              // empty: the host's first ordinary one, or root if it has none
  std::optional<std::chrono::nanoseconds> limit;  // after that the program is ended: exit status 124
  bool preload = true;
  bool strict = false;
};

inline constexpr int kExitTimedOut = 124;  // as timeout(1)

// Returns the program's exit status: 128 + signal if it was killed, 124 after `limit`, 126 and 127 as env(1). Signals
// that this process gets go to the program. With a terminal as standard input the program stays in this process's
// foreground group, so that keys reach it; otherwise it has a session of its own.
//
// After `limit` the program's session, or on a terminal its descendants, get SIGTERM, and two seconds later SIGKILL. If
// this process is killed, the program is too.
Result<int> exec(const LabDirectory& directory, const std::string& host, const std::vector<std::string>& command,
                 const ExecOptions& options);

}  // namespace dipc::lab
