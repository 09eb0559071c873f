#pragma once

// How a program is started so that it uses DIPC: which file, under which emulator, with which preload. Planning and
// doing are apart, so that a plan can be looked at.

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "wire/result.h"

namespace dipc {

inline constexpr int kExitUsage = 2;
inline constexpr int kExitOurFailure = 125;  // as env(1) and timeout(1)
inline constexpr int kExitCannotRun = 126;
inline constexpr int kExitNotFound = 127;

// The lab's host that a program is started on.
struct LaunchPlace {
  std::string host;
  std::string machine;                       // a Machine's name; empty: not known
  std::map<std::string, std::string> hosts;  // of the lab: machine to the first host of it
};

struct LaunchOptions {
  bool preload = true;  // false: as it is, on the kernel alone (guests are still run under qemu)
  bool strict = false;  // DIPC_STRICT=1
  std::string socket;   // of the daemon; empty: default_socket()
  std::string program;  // what to look up; empty: command[0], which is argv[0] in any case
  LaunchPlace place;    // no host: not in a lab
};

struct Launch {
  std::string file;                                                             // given to execve
  std::vector<std::string> arguments;                                           // argv
  std::vector<std::pair<std::string, std::optional<std::string>>> environment;  // set, or unset without a value
  std::vector<std::string> warnings;
};

struct LaunchFailure {
  int exit_status = kExitCannotRun;  // or kExitNotFound
  Trouble trouble;
};

// Looks `command[0]` up as execvp(3) does, with the calling process's effective ids, folder and PATH; follows "#!"
// lines to the program that will really run. `command` is not empty.
std::variant<Launch, LaunchFailure> plan_launch(const std::vector<std::string>& command, const LaunchOptions& options);

// Plans, prints warnings to stderr, replaces this process. Returns only if that fails: the exit status.
int launch(const std::vector<std::string>& command, const LaunchOptions& options);

}  // namespace dipc
