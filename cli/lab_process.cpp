#include "cli/lab_process.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

namespace dipc {
namespace {

// One byte, or nothing at the end of the pipe.
bool read_word(int control, char& word) {
  for (;;) {
    const ssize_t count = read(control, &word, 1);
    if (count == 1) return true;
    if (count == 0 || errno != EINTR) return false;
  }
}

// As fork(2), with flags. clone3 is the same on every machine; clone is not.
pid_t fork_with(unsigned long long flags) {
  clone_args arguments{};
  arguments.flags = flags;
  arguments.exit_signal = SIGCHLD;
  return static_cast<pid_t>(syscall(SYS_clone3, &arguments, sizeof arguments));
}

constexpr int kControlNumber = 3;
constexpr int kReportNumber = 4;

[[noreturn]] void become_lab_process(int control, int report, const std::function<void(int, int)>& body) {
  setsid();
  signal(SIGPIPE, SIG_IGN);
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGCHLD}) signal(number, SIG_DFL);
  const int nothing = open("/dev/null", O_RDWR);
  // Out of the way of the numbers that they are going to have.
  const int control_copy = fcntl(control, F_DUPFD, 10);
  const int report_copy = fcntl(report, F_DUPFD, 10);
  for (const int number : {0, 1, 2}) dup2(nothing, number);
  dup2(control_copy, kControlNumber);
  dup2(report_copy, kReportNumber);
  fcntl(kControlNumber, F_SETFD, FD_CLOEXEC);
  fcntl(kReportNumber, F_SETFD, FD_CLOEXEC);
  syscall(SYS_close_range, kReportNumber + 1, ~0U, 0);
  char word = 0;
  if (!read_word(kControlNumber, word) || word != kControlGo) _exit(0);
  body(kControlNumber, kReportNumber);
  _exit(0);
}

}  // namespace

Result<LabProcess> start_lab_process(unsigned long long clone_flags, const std::string& record,
                                     const std::function<void(int, int)>& body) {
  int control[2];
  int report[2];
  if (pipe2(control, O_CLOEXEC) != 0) return trouble("pipe: " + error_text(errno));
  Descriptor control_read(control[0]);
  Descriptor control_write(control[1]);
  if (pipe2(report, O_CLOEXEC) != 0) return trouble("pipe: " + error_text(errno));
  Descriptor report_read(report[0]);
  Descriptor report_write(report[1]);

  const pid_t child = fork_with(clone_flags);
  if (child < 0) {
    return trouble("a process with its own namespaces can't be made: " + error_text(errno),
                   "the kernel must have network, IPC, PID, mount and UTS namespaces, and allow them to root here");
  }
  if (child == 0) become_lab_process(control_read.get(), report_write.get(), body);

  const auto identity = identify(child);
  Result<void> recorded = identity ? write_identity(record, *identity) : Result<void>(trouble("it ended at once"));
  if (!recorded) {
    control_write.reset();  // ends it
    waitpid(child, nullptr, 0);
    return tl::unexpected(recorded.error());
  }
  LabProcess process{*identity, std::move(control_write), std::move(report_read)};
  if (const auto told = tell(process, kControlGo); !told) return tl::unexpected(told.error());
  return process;
}

void await_keep(int control) {
  char word = 0;
  while (read_word(control, word)) {
    if (word == kControlKeep) return;
  }
  _exit(0);
}

Result<void> tell(const LabProcess& process, char word) {
  // The pipe's only reader is the process.
  struct sigaction ignore {};
  struct sigaction before {};
  ignore.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &ignore, &before);
  const ssize_t written = write(process.control.get(), &word, 1);
  sigaction(SIGPIPE, &before, nullptr);
  if (written == 1) return {};
  return trouble("process " + std::to_string(process.identity.pid) + " of the lab has ended");
}

}  // namespace dipc
