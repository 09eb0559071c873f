#pragma once

// A host's first process (PID 1 of its PID namespace): makes the host's file system out of the machine's, starts the
// daemon, reaps what is orphaned, and dies with everything in it. It writes what becomes of the daemon to HOST/daemon:
// "runs PID" or "ended STATUS".
// Source: namespaces(7), pid_namespaces(7), mount_namespaces(7).

#include <signal.h>

#include <string>
#include <utility>
#include <vector>

#include "cli/lab_file.h"
#include "cli/lab_process.h"

namespace dipc {

struct HolderPlan {
  LabHost host;
  std::string directory;                                   // of the host, on the machine
  std::vector<std::pair<std::string, std::string>> files;  // shown inside: file on the machine -> path below /run/lab
  std::vector<std::string> daemon;                         // command line as seen inside; empty: a bare host
};

// Starts the holder and waits until the host's inside is made; network and daemon come later: kControlDaemon starts the
// daemon. Trouble says what could not be made.
Result<LabProcess> start_holder(const HolderPlan& plan, const std::string& record);

// To a holder: start the daemon again if it does not run.
inline constexpr int kSignalStartDaemon = SIGUSR1;

}  // namespace dipc
