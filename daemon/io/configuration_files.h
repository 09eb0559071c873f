#pragma once

// Reads the administrator's files: dipc.toml, and beside it hosts.allow, logins.map and types.d/*.types. The parsers
// are in daemon/core and layouts.

#include <filesystem>
#include <string>
#include <vector>

#include "daemon/core/configuration.h"
#include "daemon/core/hosts_allow.h"
#include "daemon/core/key_policy.h"
#include "daemon/core/logins_map.h"
#include "layouts/queue_layout.h"
#include "layouts/segment_layout.h"
#include "wire/parsed.h"

namespace dipc {

// All that the administrator of this host decided, from one reading of the files.
struct Policy {
  Configuration configuration;
  HostsAllow hosts_allow;
  LoginsMap logins;
  KeyPolicy keys;
  QueueLayouts queues;      // what messages are
  SegmentLayouts segments;  // and shared memory
};

// What an administrator changed between two readings, a line each: "hosts.allow: added sun 10.0.0.2",
// "logins.map: removed *@vax *", "[peers]: ...", "[[keys]]: ...", "types.d: added bind msg 0x00004711 to note;".
std::vector<std::string> changes(const Policy& before, const Policy& after);
// `after` with what counts only from the next start of the daemon as it is in `before`. The names of what differs.
std::vector<std::string> keep_until_start(const Configuration& before, Configuration& after);

// warnings_of(), and what only this machine knows: paths under [ftok] that lead nowhere, or through symbolic links, so
// that no program's file is known by them.
std::vector<std::string> warnings_here(const Configuration& configuration);

inline constexpr const char* kConfigurationFile = "/etc/dipc/dipc.toml";

// The machine's name up to its first dot, and the paths for this user, from uname(2), geteuid(2) and the environment.
ConfigurationDefaults defaults_of_this_machine();

// Troubles of all files together, each with file, line and remedy. dipc.toml must be there. Without hosts.allow nobody
// may come; without logins.map its built-in rules hold; without declarations messages and segments are bytes.
Parsed<Policy> load_policy(const std::filesystem::path& configuration_file, const ConfigurationDefaults& defaults);

}  // namespace dipc
