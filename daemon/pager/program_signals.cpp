#include "daemon/pager/program_signals.h"

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <string>

#include "wire/descriptor.h"

namespace dipc {
namespace {

bool may_reach(pid_t pid, uid_t uid) {
  const auto whose = pid > 0 ? real_uid_of(pid) : std::nullopt;
  return whose && (uid == 0 || *whose == uid);
}

}  // namespace

std::optional<uid_t> real_uid_of(pid_t pid) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (!line.starts_with("Uid:")) continue;
    std::istringstream numbers(line.substr(4));
    uid_t real = 0;
    if (numbers >> real) return real;
  }
  return std::nullopt;
}

bool send_signal(pid_t process, uid_t uid, int signal) {
  // Opened before it is looked at, so that the number can't change hands in between. A thread that is not the first
  // of its process has no such descriptor.
  const Descriptor opened(static_cast<int>(syscall(SYS_pidfd_open, process, 0)));
  if (!may_reach(process, uid)) return false;
  if (opened) return syscall(SYS_pidfd_send_signal, opened.get(), signal, nullptr, 0) == 0;
  return kill(process, signal) == 0;
}

bool send_signal_to_thread(pid_t thread, uid_t uid, int signal) {
  return may_reach(thread, uid) && syscall(SYS_tkill, thread, signal) == 0;
}

}  // namespace dipc
