#include "cli/holder.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <fstream>

namespace dipc {
namespace fs = std::filesystem;
namespace {

// In the holder: what can't be made ends it, with the reason on the report pipe.
class Inside {
 public:
  Inside(const HolderPlan& plan, int control, int report) : plan_(plan), control_(control), report_(report) {}

  [[noreturn]] void live() {
    prctl(PR_SET_NAME, "dipc-lab-host");
    umask(022);
    folder_ = open(plan_.directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
    log_ = open((plan_.directory + "/log").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (folder_ < 0 || log_ < 0) give_up(plan_.directory);
    make_host();
    sigset_t watched;
    sigemptyset(&watched);
    sigaddset(&watched, SIGCHLD);
    sigaddset(&watched, kSignalStartDaemon);
    sigprocmask(SIG_BLOCK, &watched, nullptr);
    const int signals = signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK);
    if (signals < 0) give_up("signalfd");
    say("ready");
    close(report_);
    serve(signals);
  }

 private:
  void say(const std::string& text) const { (void)!write(report_, text.data(), text.size()); }

  [[noreturn]] void give_up(const std::string& what) const {
    say(what + ": " + error_text(errno));
    _exit(1);
  }

  void mount_or_give_up(const char* source, const std::string& target, const char* type, unsigned long flags,
                        const char* options = nullptr) const {
    if (mount(source, target.c_str(), type, flags, options) != 0) give_up("mounting " + target);
  }

  void bind(const std::string& source, const std::string& target) const {
    mount_or_give_up(source.c_str(), target, nullptr, MS_BIND);
  }

  void folder(const std::string& path, mode_t mode = 0755) const {
    std::error_code error;
    fs::create_directories(path, error);
    if (error || chmod(path.c_str(), mode) != 0) give_up(path);
  }

  void make_host() {
    // What is mounted on the machine later is seen here too, and can be unmounted there; not the other way round.
    mount_or_give_up(nullptr, "/", nullptr, MS_REC | MS_SLAVE);
    if (sethostname(plan_.host.name.c_str(), plan_.host.name.size()) != 0) give_up("sethostname");
    mount_or_give_up("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC);
    // A host that is killed and started again has been rebooted, for those who look.
    bind(plan_.directory + "/boot_id", "/proc/sys/kernel/random/boot_id");
    for (const auto& [name, value] : plan_.host.kernel_limits) {
      std::ofstream file("/proc/sys/kernel/" + name);
      file << value << '\n';
      if (!file.flush()) give_up("/proc/sys/kernel/" + name);
    }
    for (const char* name : {"passwd", "group", "hosts"}) {
      const std::string target = std::string("/etc/") + name;
      if (access(target.c_str(), F_OK) == 0) bind(plan_.directory + "/etc/" + name, target);
    }
    make_run();
  }

  // A /run of its own: the machine's holds sockets that would answer for the machine (nscd and systemd tell of its
  // logins, not of this host's). Built aside and moved there, since what it is made from lies below /run too.
  void make_run() {
    const std::string run = plan_.directory + "/root";
    mount_or_give_up("tmpfs", run, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755");
    folder(run + "/lock", 01777);
    folder(run + "/dipc");
    bind(plan_.directory + "/run", run + "/dipc");
    for (const char* name : {"etc", "state"}) {
      folder(run + "/lab/" + name);
      bind(plan_.directory + "/" + name, run + "/lab/" + name);
    }
    for (const auto& [source, inside] : plan_.files) {
      const std::string target = run + "/lab/" + inside;
      folder(fs::path(target).parent_path().string());
      std::ofstream(target).flush();
      bind(source, target);
    }
    folder(run + "/lab/bin");
    folder(run + "/lab/home");
    for (const LabLogin& login : plan_.host.logins) {
      const std::string home = run + "/lab/home/" + login.name;
      folder(home, 0700);
      if (chown(home.c_str(), login.id, login.id) != 0) give_up(home);
    }
    mount_or_give_up(run.c_str(), "/run", nullptr, MS_MOVE);
  }

  [[noreturn]] void serve(int signals) {
    for (bool told_to_stay = false;;) {
      pollfd entries[] = {{signals, POLLIN, 0}, {told_to_stay ? -1 : control_, POLLIN, 0}};
      if (poll(entries, 2, -1) < 0) continue;
      if (entries[1].revents != 0) {
        char word = 0;
        if (read(control_, &word, 1) != 1) _exit(0);  // whoever brought us up died half-way
        if (word == kControlDaemon) start_daemon();
        if (word == kControlKeep) told_to_stay = true;
      }
      signalfd_siginfo info;
      while (read(signals, &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
        if (static_cast<int>(info.ssi_signo) == kSignalStartDaemon) start_daemon();
      }
      reap();
    }
  }

  void reap() {
    int status = 0;
    for (pid_t child; (child = waitpid(-1, &status, WNOHANG)) > 0;) {
      if (child != daemon_) continue;
      daemon_ = 0;
      note("ended " + std::to_string(exit_status_of(status)));
      dprintf(log_, "dipc lab: dipcd (process %d) ended: %s %d\n", static_cast<int>(child),
              WIFSIGNALED(status) ? "signal" : "exit status",
              WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    }
  }

  void start_daemon() {
    if (plan_.daemon.empty() || daemon_ != 0) return;
    daemon_ = fork();
    if (daemon_ == 0) {
      setsid();
      sigset_t none;
      sigemptyset(&none);
      sigprocmask(SIG_SETMASK, &none, nullptr);
      signal(SIGPIPE, SIG_DFL);
      dup2(log_, 1);
      dup2(log_, 2);
      if (chdir("/") != 0) _exit(126);
      std::vector<char*> arguments;
      for (const std::string& argument : plan_.daemon) arguments.push_back(const_cast<char*>(argument.c_str()));
      arguments.push_back(nullptr);
      execv(arguments[0], arguments.data());
      dprintf(2, "dipc lab: %s can't be run: %s\n", arguments[0], error_text(errno).c_str());
      _exit(127);
    }
    note(daemon_ > 0 ? "runs " + std::to_string(daemon_) : "ended 126");
    if (daemon_ < 0) daemon_ = 0;
  }

  // Through the folder's descriptor: its path is hidden in here.
  void note(const std::string& text) const {
    const int file = openat(folder_, "daemon.new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (file < 0) return;
    dprintf(file, "%s\n", text.c_str());
    close(file);
    renameat(folder_, "daemon.new", folder_, "daemon");
  }

  const HolderPlan& plan_;
  const int control_;
  const int report_;
  int folder_ = -1;
  int log_ = -1;
  pid_t daemon_ = 0;
};

}  // namespace

Result<LabProcess> start_holder(const HolderPlan& plan, const std::string& record) {
  constexpr unsigned long long kNamespaces = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWPID;
  auto started = start_lab_process(kNamespaces, record,
                                   [&plan](int control, int report) { Inside(plan, control, report).live(); });
  if (!started) return started;
  std::string answer;
  char buffer[512];
  for (;;) {
    const ssize_t count = read(started->report.get(), buffer, sizeof buffer);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    answer.append(buffer, static_cast<std::size_t>(count));
  }
  if (answer != "ready") {
    return trouble("host " + plan.host.name + " can't be made: " + (answer.empty() ? "its holder ended" : answer));
  }
  return started;
}

}  // namespace dipc
