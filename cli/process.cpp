#include "cli/process.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <sstream>

namespace dipc {
namespace {

int open_pidfd(pid_t pid) { return static_cast<int>(syscall(SYS_pidfd_open, pid, 0)); }

// Holds the process that is meant, or -1.
int hold(const ProcessIdentity& process) {
  const int pidfd = open_pidfd(process.pid);
  if (pidfd < 0) return -1;
  if (identify(process.pid) == process) return pidfd;
  close(pidfd);
  return -1;
}

}  // namespace

std::optional<ProcessIdentity> identify(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string line;
  if (!std::getline(file, line, '\0') && line.empty()) return std::nullopt;
  // The second field is the command's name in parentheses and may hold anything.
  const std::size_t name_end = line.rfind(')');
  if (name_end == std::string::npos) return std::nullopt;
  std::istringstream fields(line.substr(name_end + 1));
  std::string state;
  fields >> state;
  if (state == "Z" || state == "X") return std::nullopt;
  std::string skipped;
  for (int field = 4; field < 22; ++field) fields >> skipped;
  ProcessIdentity process{.pid = pid};
  if (!(fields >> process.start_ticks)) return std::nullopt;
  return process;
}

bool is_alive(const ProcessIdentity& process) { return identify(process.pid) == process; }

bool send_signal(const ProcessIdentity& process, int signal) {
  const int pidfd = hold(process);
  if (pidfd < 0) return false;
  const bool sent = syscall(SYS_pidfd_send_signal, pidfd, signal, nullptr, 0) == 0;
  close(pidfd);
  return sent;
}

bool wait_for_end(const ProcessIdentity& process, std::chrono::milliseconds limit) {
  const int pidfd = hold(process);
  if (pidfd < 0) return true;
  pollfd entry{pidfd, POLLIN, 0};
  const auto end = std::chrono::steady_clock::now() + limit;
  int ready = 0;
  do {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
    ready = poll(&entry, 1, static_cast<int>(std::max<long long>(left.count(), 0)));
  } while (ready < 0 && errno == EINTR);
  close(pidfd);
  return ready > 0;
}

Result<void> write_identity(const std::string& path, const ProcessIdentity& process) {
  const std::string fresh = path + ".new";
  {
    std::ofstream file(fresh);
    file << process.pid << ' ' << process.start_ticks << '\n';
    if (!file.flush()) return trouble(path + ": can't be written: " + error_text(errno));
  }
  if (rename(fresh.c_str(), path.c_str()) != 0) return trouble(path + ": can't be written: " + error_text(errno));
  return {};
}

std::optional<ProcessIdentity> read_identity(const std::string& path) {
  std::ifstream file(path);
  ProcessIdentity process;
  if (!(file >> process.pid >> process.start_ticks) || process.pid <= 0) return std::nullopt;
  return process;
}

Result<FinishedCommand> run_command(const std::vector<std::string>& arguments, const std::string& input,
                                    pid_t network_of) {
  int in[2];
  int out[2];
  int network = -1;
  if (network_of != 0) {
    const std::string path = "/proc/" + std::to_string(network_of) + "/ns/net";
    network = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (network < 0) return trouble(path + ": " + error_text(errno));
  }
  if (pipe2(in, O_CLOEXEC) != 0) return trouble("pipe: " + error_text(errno));
  if (pipe2(out, O_CLOEXEC) != 0) return trouble("pipe: " + error_text(errno));
  std::vector<char*> argv;
  argv.reserve(arguments.size() + 1);
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);

  const pid_t child = fork();
  if (child < 0) return trouble("fork: " + error_text(errno));
  if (child == 0) {
    if (network >= 0 && setns(network, CLONE_NEWNET) != 0) _exit(126);
    dup2(in[0], 0);
    dup2(out[1], 1);
    dup2(out[1], 2);
    execvp(argv[0], argv.data());
    _exit(errno == ENOENT ? 127 : 126);
  }
  if (network >= 0) close(network);
  close(in[0]);
  close(out[1]);
  // Commands of ours read all of a short input before they write much: no deadlock between the two pipes.
  struct sigaction ignore {};
  struct sigaction before {};
  ignore.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &ignore, &before);
  for (std::size_t written = 0; written < input.size();) {
    const ssize_t count = write(in[1], input.data() + written, input.size() - written);
    if (count < 0 && errno != EINTR) break;
    if (count > 0) written += static_cast<std::size_t>(count);
  }
  sigaction(SIGPIPE, &before, nullptr);
  close(in[1]);
  FinishedCommand finished;
  char buffer[4096];
  for (;;) {
    const ssize_t count = read(out[0], buffer, sizeof buffer);
    if (count == 0 || (count < 0 && errno != EINTR)) break;
    if (count > 0) finished.output.append(buffer, static_cast<std::size_t>(count));
  }
  close(out[0]);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  finished.status = exit_status_of(status);
  return finished;
}

int exit_status_of(int wait_status) {
  return WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

std::string error_text(int error) { return std::strerror(error); }

}  // namespace dipc
