#include "daemon/kernel/processes.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <sstream>

namespace dipc {
namespace {

// Field 22 of /proc/PID/stat.
std::optional<std::uint64_t> read_start_ticks(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string line;
  if (!std::getline(file, line, '\0') || line.empty()) return std::nullopt;
  // The name in brackets may itself hold brackets and blanks; what follows the last bracket is well-formed.
  const std::size_t end_of_name = line.rfind(')');
  if (end_of_name == std::string::npos) return std::nullopt;
  std::istringstream fields(line.substr(end_of_name + 1));
  std::string skipped;
  for (int field = 3; field < 22; ++field) fields >> skipped;
  std::uint64_t start_ticks = 0;
  if (!(fields >> start_ticks)) return std::nullopt;
  return start_ticks;
}

}  // namespace

std::optional<ProcessId> process_id(pid_t pid) {
  const std::optional<std::uint64_t> start_ticks = read_start_ticks(pid);
  if (!start_ticks) return std::nullopt;
  return ProcessId{pid, *start_ticks};
}

bool process_has_ended(const ProcessId& process) {
  if (kill(process.pid, 0) != 0 && errno == ESRCH) return true;
  const std::optional<ProcessId> there = process_id(process.pid);
  return there && there->start_ticks != process.start_ticks;
}

int open_process(pid_t pid) {
#ifdef SYS_pidfd_open
  return static_cast<int>(syscall(SYS_pidfd_open, pid, 0u));  // close-on-exec by itself
#else
  errno = ENOSYS;
  return -1;
#endif
}

Result<std::string> boot_identity() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string boot;
  if (!std::getline(file, boot) || boot.empty()) {
    return trouble("/proc/sys/kernel/random/boot_id can't be read", "mount /proc");
  }
  return boot + "/" + std::to_string(ipc_namespace_of("self"));
}

std::uint64_t ipc_namespace_of(const std::string& pid) {
  struct stat status {};
  if (stat(("/proc/" + pid + "/ns/ipc").c_str(), &status) != 0) return 0;
  return status.st_ino;
}

}  // namespace dipc
