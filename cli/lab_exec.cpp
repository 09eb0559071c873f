#include "cli/lab_exec.h"

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "cli/lab.h"
#include "cli/launch.h"
#include "cli/machines.h"

namespace dipc::lab {
namespace fs = std::filesystem;
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::seconds kGrace{2};  // between SIGTERM and SIGKILL
constexpr std::array kForwarded = {SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2};

struct Login {
  std::string name;
  std::uint32_t id = 0;
  std::string home;
  std::vector<gid_t> groups;
};

Result<Login> find_login(const LabHost& host, const std::string& wanted) {
  const std::string name = !wanted.empty() ? wanted : host.logins.empty() ? "root" : host.logins.front().name;
  if (name == "root") return Login{name, 0, "/root", {0}};
  if (name == "nobody") return Login{name, 65534, "/nonexistent", {65534}};
  const LabLogin* found = host.login(name);
  if (found == nullptr) {
    std::string list = "root, nobody";
    for (const LabLogin& one : host.logins) list += ", " + one.name;
    return trouble(host.name + " has no login " + name, "its logins are " + list);
  }
  Login login{name, found->id, std::string(kInsideHome) + "/" + name, {found->id}};
  for (const LabGroup& group : host.groups) {
    if (std::find(group.members.begin(), group.members.end(), name) != group.members.end()) {
      login.groups.push_back(group.id);
    }
  }
  return login;
}

std::string machine_of_host(const LabHost& host) {
  if (!host.machine.empty()) return host.machine;
  const Machine* native = native_machine();
  return native != nullptr ? std::string(native->name) : "";
}

Result<LaunchPlace> place_of(const LabDirectory& directory, const LabHost& host) {
  const auto lab = directory.read();
  if (!lab) return tl::unexpected(lab.error());
  LaunchPlace place{host.name, machine_of_host(host), {}};
  for (const LabHost& one : lab->hosts) {
    if (one.has_daemon) place.hosts.emplace(machine_of_host(one), one.name);
  }
  return place;
}

struct Namespace {
  const char* name;
  int type;
  Descriptor descriptor;
};

Result<std::vector<Namespace>> open_namespaces(const ProcessIdentity& holder) {
  std::vector<Namespace> namespaces;
  // The mount namespace comes last: it takes /proc away.
  for (const auto& [name, type] :
       {std::pair("pid", CLONE_NEWPID), std::pair("net", CLONE_NEWNET), std::pair("ipc", CLONE_NEWIPC),
        std::pair("uts", CLONE_NEWUTS), std::pair("mnt", CLONE_NEWNS)}) {
    const std::string path = "/proc/" + std::to_string(holder.pid) + "/ns/" + name;
    Descriptor descriptor(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!descriptor) return trouble(path + ": " + error_text(errno));
    namespaces.push_back({name, type, std::move(descriptor)});
  }
  // Opened by number: was it still this process?
  if (!is_alive(holder)) return trouble("the host went down");
  return namespaces;
}

// Without the folders that this login can't enter, such as root's own: execvp(3) would say "permission denied" of every
// program that is not there.
std::string reachable_folders(const std::string& path) {
  std::string result;
  for (std::size_t begin = 0; begin <= path.size();) {
    const std::size_t end = std::min(path.find(':', begin), path.size());
    const std::string folder = path.substr(begin, end - begin);
    if (folder.empty() || access(folder.c_str(), X_OK) == 0 || errno != EACCES) result += ":" + folder;
    begin = end + 1;
  }
  return result;
}

// A login that may not enter a folder above this one can still reach what lies below it by a relative path: a build in
// root's home folder, say.
std::string reachable_name(const std::string& program, const std::string& folder) {
  if (!program.starts_with(folder + "/") || faccessat(AT_FDCWD, program.c_str(), F_OK, AT_EACCESS) == 0) return program;
  return errno == EACCES ? "." + program.substr(folder.size()) : program;
}

void set_environment(const LabHost& host, const Login& login) {
  const auto set = [](const char* name, const std::string& value) { setenv(name, value.c_str(), 1); };
  set("HOME", login.home);
  set("USER", login.name);
  set("LOGNAME", login.name);
  set("SHELL", "/bin/sh");
  unsetenv("XDG_RUNTIME_DIR");  // the machine's login's
  const char* path = std::getenv("PATH");
  set("PATH", kInsideBin + reachable_folders(path != nullptr ? path : "/usr/local/bin:/usr/bin:/bin"));
  set("DIPC_LIBRARY_PATH", kInsideLib);
  if (host.has_daemon) {
    set("DIPC_SOCKET", kInsideSocket);
  } else {
    unsetenv("DIPC_SOCKET");
  }
  // Guests that start guests get no -L.
  if (const Machine* machine = host.machine.empty() ? nullptr : machine_named(host.machine); machine != nullptr) {
    if (const std::string prefix = guest_library_prefix(*machine); !prefix.empty()) set("QEMU_LD_PREFIX", prefix);
  }
}

[[noreturn]] void fail_inside(const std::string& what) {
  std::fprintf(stderr, "dipc: %s: %s\n", what.c_str(), error_text(errno).c_str());
  _exit(kExitOurFailure);
}

// The child: into the host, become the login, become the program.
[[noreturn]] void become_program(const LabHost& host, const Login& login, const std::vector<Namespace>& namespaces,
                                 const std::vector<std::string>& command, const ExecOptions& options,
                                 const LaunchPlace& place, int lifeline) {
  std::error_code no_folder;
  const std::string folder = fs::current_path(no_folder).string();
  for (const Namespace& one : namespaces) {
    if (one.type == CLONE_NEWPID) continue;  // a child of one who entered it is in it already
    if (setns(one.descriptor.get(), one.type) != 0) fail_inside(std::string("entering the host's ") + one.name);
  }
  if (folder.empty() || chdir(folder.c_str()) != 0) {
    std::fprintf(stderr, "dipc: warning: %s is not there in %s, so the program starts in /\n", folder.c_str(),
                 host.name.c_str());
    if (chdir("/") != 0) fail_inside("/");
  }
  if (setgroups(login.groups.size(), login.groups.data()) != 0) fail_inside("setgroups");
  if (setresgid(login.id, login.id, login.id) != 0) fail_inside("setresgid");
  if (setresuid(login.id, login.id, login.id) != 0) fail_inside("setresuid");
  // After the change of ids, which clears it (prctl(2)). Our parent may be dead by now: then its end of the pipe is.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  pollfd entry{lifeline, 0, 0};
  if (poll(&entry, 1, 0) > 0 && (entry.revents & POLLHUP) != 0) _exit(kExitOurFailure);
  set_environment(host, login);
  LaunchOptions launch_options;
  launch_options.preload = options.preload && host.has_daemon;
  launch_options.strict = options.strict;
  launch_options.place = place;
  launch_options.program = reachable_name(command[0], folder);
  const int status = launch(command, launch_options);
  std::fflush(nullptr);
  _exit(status);
}

// pid -> (parent, session), of every process that can be seen.
struct Kinship {
  pid_t parent = 0;
  pid_t session = 0;
};
std::map<pid_t, Kinship> all_processes() {
  std::map<pid_t, Kinship> processes;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator("/proc", ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    std::ifstream file(entry.path() / "stat");
    std::string line;
    std::getline(file, line, '\0');
    const std::size_t end = line.rfind(')');
    if (end == std::string::npos) continue;
    std::istringstream fields(line.substr(end + 1));
    std::string state;
    Kinship kin;
    pid_t group = 0;
    if (fields >> state >> kin.parent >> group >> kin.session && state != "Z" && state != "X") {
      processes[static_cast<pid_t>(std::stol(name))] = kin;
    }
  }
  return processes;
}

// What the program has started and is still there; with it itself.
class Family {
 public:
  Family(pid_t program, bool own_session) : program_(program), own_session_(own_session) {}

  // How many got it.
  std::size_t send(int signal) {
    const auto processes = all_processes();
    for (bool found_more = true; found_more;) {
      found_more = false;
      for (const auto& [pid, kin] : processes) {
        const bool belongs = pid == program_ || (own_session_ && kin.session == program_) || descends(pid, kin);
        if (belongs && members_.insert(pid).second) found_more = true;
      }
    }
    std::size_t count = 0;
    for (auto member = members_.begin(); member != members_.end();) {
      if (!processes.contains(*member)) {  // its number may be somebody's else soon
        member = members_.erase(member);
        continue;
      }
      if (::kill(*member, signal) == 0) ++count;
      ++member;
    }
    return count;
  }

 private:
  bool descends(pid_t, const Kinship& kin) const { return members_.contains(kin.parent); }

  pid_t program_;
  bool own_session_;
  std::set<pid_t> members_;
};

// The parent: passes signals on, keeps the time, waits.
class Watch {
 public:
  Watch(pid_t program, bool own_session, int signals)
      : program_(program), own_session_(own_session), signals_(signals) {}

  int run(const std::optional<std::chrono::nanoseconds>& limit) {
    const auto end = limit ? std::optional(Clock::now() + *limit) : std::nullopt;
    if (wait_until(end)) return exit_status_of(status_);
    Family family(program_, own_session_);
    family.send(SIGTERM);
    family.send(SIGCONT);  // the stopped ones, as timeout(1)
    const auto grace_end = Clock::now() + kGrace;
    bool ended = wait_until(grace_end);
    while (ended && family.send(0) > 0 && Clock::now() < grace_end) poll(nullptr, 0, 10);
    while (family.send(SIGKILL) > 0 || !ended) {
      if (!ended) ended = wait_until(Clock::now() + std::chrono::milliseconds(10));
    }
    return kExitTimedOut;
  }

 private:
  // False: the time was over first.
  bool wait_until(const std::optional<Clock::time_point>& end) {
    for (;;) {
      if (waitpid(program_, &status_, WNOHANG) == program_) return true;
      int wait_ms = -1;
      if (end) {
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(*end - Clock::now()).count();
        if (left <= 0) return false;
        wait_ms = static_cast<int>(std::min<long long>(left, 1000 * 1000));
      }
      pollfd entry{signals_, POLLIN, 0};
      poll(&entry, 1, wait_ms);
      signalfd_siginfo info;
      while (read(signals_, &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
        const int signal = static_cast<int>(info.ssi_signo);
        if (signal == SIGCHLD) continue;
        // In one group with the terminal's other processes the program has got it from there too.
        if (!own_session_ && info.ssi_code == SI_KERNEL) continue;
        if (::kill(own_session_ ? -program_ : program_, signal) != 0) ::kill(program_, signal);
      }
    }
  }

  pid_t program_;
  bool own_session_;
  int signals_;
  int status_ = 0;
};

}  // namespace

Result<int> exec(const LabDirectory& directory, const std::string& host_name, const std::vector<std::string>& command,
                 const ExecOptions& options) {
  const auto running = running_host(directory, host_name);
  if (!running) return tl::unexpected(running.error());
  const auto place = place_of(directory, running->host);
  if (!place) return tl::unexpected(place.error());
  const auto login = find_login(running->host, options.login);
  if (!login) return tl::unexpected(login.error());
  const auto namespaces = open_namespaces(running->holder);
  if (!namespaces) return tl::unexpected(namespaces.error());

  int lifeline[2];
  if (pipe2(lifeline, O_CLOEXEC) != 0) return trouble("pipe: " + error_text(errno));
  sigset_t watched;
  sigset_t before;
  sigemptyset(&watched);
  sigaddset(&watched, SIGCHLD);
  for (const int signal : kForwarded) {
    struct sigaction action {};
    sigaction(signal, nullptr, &action);
    if (action.sa_handler != SIG_IGN) sigaddset(&watched, signal);  // nohup stays nohup
  }
  sigprocmask(SIG_BLOCK, &watched, &before);
  const Descriptor signals(signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals) return trouble("signalfd: " + error_text(errno));

  // The child is made inside its PID namespace; we stay outside, and see it by a number of ours.
  if (setns(namespaces->front().descriptor.get(), CLONE_NEWPID) != 0) {
    return trouble("entering the host's pid namespace: " + error_text(errno));
  }
  const bool own_session = isatty(STDIN_FILENO) == 0;
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child < 0) return trouble("fork: " + error_text(errno), "the host may just have gone down");
  if (child == 0) {
    close(lifeline[1]);
    if (own_session) setsid();
    sigprocmask(SIG_SETMASK, &before, nullptr);
    become_program(running->host, *login, *namespaces, command, options, *place, lifeline[0]);
  }
  close(lifeline[0]);
  return Watch(child, own_session, signals.get()).run(options.limit);
}

}  // namespace dipc::lab
