#pragma once

// `dipc lab`, verb by verb. All need root. What they print goes to stdout, progress and trouble to stderr; they return
// what main() returns.

#include <chrono>
#include <optional>
#include <string>

#include "cli/lab_directory.h"

namespace dipc::lab {

// The lab that is meant: by name, or the only one that is up.
Result<LabDirectory> select(const std::string& name);

// Starts the lab of `file`; the name, if given, replaces the file's cluster. Whatever it started is gone again if it
// fails; if that was because of a daemon, all daemons' logs are kept, and it says where.
Result<void> up(const std::string& file, const std::string& name);

// Kills the holders, which ends everything; removes the folder. Works on what a killed `up` left. Keeps the logs if
// `keep_logs` is set or a daemon had died.
Result<void> down(const LabDirectory& directory, bool keep_logs);

Result<void> status(const LabDirectory& directory, bool as_json);
Result<void> logs(const LabDirectory& directory, const std::string& host);

enum class Part { kDaemon, kHost };

// A daemon gets the signal; a host is gone as in a power failure, whatever the signal.
Result<void> kill(const LabDirectory& directory, const std::string& host, Part part, int signal);
// Starts the daemon of a host, or a killed host with its daemon, its disk as it was; waits until it answers.
Result<void> start(const LabDirectory& directory, const std::string& host);

// Traffic from one host to another gets lost, or no longer does; both directions unless `one_way`.
Result<void> set_cut(const LabDirectory& directory, const std::string& from, const std::string& to, bool one_way,
                     bool is_cut);

// The host of that name with its living holder; trouble otherwise.
struct RunningHost {
  LabHost host;
  ProcessIdentity holder;
};
Result<RunningHost> running_host(const LabDirectory& directory, const std::string& name);

}  // namespace dipc::lab
