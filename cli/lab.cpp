#include "cli/lab.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "cli/daemon_probe.h"
#include "cli/holder.h"
#include "cli/lab_host_files.h"
#include "cli/machines.h"
#include "cli/network.h"

namespace dipc::lab {
namespace fs = std::filesystem;
namespace {

constexpr std::chrono::seconds kDaemonStartLimit{60};  // m68k's under qemu, on a busy machine
constexpr std::chrono::milliseconds kLookInterval{20};
constexpr std::chrono::seconds kEndLimit{20};
constexpr std::size_t kLogTailLines = 15;

volatile sig_atomic_t interrupted = 0;

// While it lives, SIGINT, SIGTERM and SIGHUP are noted instead of ending us with half a lab up.
class NoteInterrupts {
 public:
  NoteInterrupts() {
    struct sigaction action {};
    action.sa_handler = [](int signal) { interrupted = signal; };
    for (std::size_t i = 0; i < 3; ++i) sigaction(kSignals[i], &action, &before_[i]);
  }
  ~NoteInterrupts() {
    for (std::size_t i = 0; i < 3; ++i) sigaction(kSignals[i], &before_[i], nullptr);
  }

 private:
  static constexpr int kSignals[3] = {SIGINT, SIGTERM, SIGHUP};
  struct sigaction before_[3]{};
};

Result<void> check_interrupted() {
  if (interrupted != 0) return trouble("interrupted");
  return {};
}

void tell_progress(const std::string& text) { std::fprintf(stderr, "dipc lab: %s\n", text.c_str()); }

std::string tail_of(const std::string& path) {
  std::ifstream file(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) {
    lines.push_back("  " + line + "\n");
    if (lines.size() > kLogTailLines) lines.erase(lines.begin());
  }
  std::string text;
  for (const std::string& line : lines) text += line;
  return text;
}

ByteOrder order_of(const LabHost& host) {
  const Machine* machine = host.machine.empty() ? nullptr : machine_named(host.machine);
  return machine != nullptr ? machine->elf.byte_order : measured_abi().byte_order;
}

DaemonState look_at_daemon(const LabDirectory& directory, const LabHost& host, std::chrono::milliseconds limit) {
  return probe_daemon(directory.socket(host.name), order_of(host), limit);
}

Result<void> await_daemon(const LabDirectory& directory, const LabHost& host) {
  const auto end = std::chrono::steady_clock::now() + kDaemonStartLimit;
  const auto failed = [&](const std::string& what) {
    const std::string tail = tail_of(directory.log(host.name));
    return trouble("the daemon of " + host.name + " " + what + (tail.empty() ? "" : "; the end of its log:\n" + tail));
  };
  for (;;) {
    if (auto going_on = check_interrupted(); !going_on) return going_on;
    if (look_at_daemon(directory, host, std::chrono::seconds(5)) == DaemonState::kAnswers) return {};
    const DaemonRecord record = directory.daemon_record(host.name);
    if (record.was_started && record.pid == 0) {
      return failed("ended with status " + std::to_string(record.exit_status));
    }
    if (std::chrono::steady_clock::now() >= end) return failed("does not answer on its socket");
    poll(nullptr, 0, static_cast<int>(kLookInterval.count()));
  }
}

void keep_and_tell(const LabDirectory& directory) {
  const auto place = directory.keep_logs();
  tell_progress(place ? "the logs are kept in " + *place : place.error().what);
}

// One host from its files to a running daemon, or to where only `keep` is missing.
Result<LabProcess> bring_up(const LabDirectory& directory, const LabFile& lab, const LabHost& host,
                            pid_t switch_process) {
  if (auto written = write_boot_files(directory, host); !written) return tl::unexpected(written.error());
  const auto plan = plan_holder(directory, host);
  if (!plan) return tl::unexpected(plan.error());
  auto holder = start_holder(*plan, directory.holder_record(host.name));
  if (!holder) return holder;
  const auto port = static_cast<std::size_t>(lab.host(host.name) - lab.hosts.data());
  if (auto connected = connect_host(switch_process, holder->identity.pid, port, host); !connected) {
    return tl::unexpected(connected.error());
  }
  if (host.has_daemon) {
    if (auto told = tell(*holder, kControlDaemon); !told) return tl::unexpected(told.error());
  }
  return holder;
}

Result<void> bring_up_all(const LabDirectory& directory, const std::string& file, const LabFile& lab) {
  std::error_code error;
  fs::copy_file(file, directory.lab_file(), error);
  if (error) return trouble(directory.lab_file() + ": " + error.message());
  const auto with_daemon = [](const LabHost& host) { return host.has_daemon; };
  if (std::any_of(lab.hosts.begin(), lab.hosts.end(), with_daemon)) {
    if (auto made = make_authority(directory, lab); !made) return made;
  }
  auto network = start_switch(directory.switch_record());
  if (!network) return tl::unexpected(network.error());
  std::vector<LabProcess> processes;
  for (const LabHost& host : lab.hosts) {
    if (auto going_on = check_interrupted(); !going_on) return going_on;
    if (auto written = write_host_files(directory, lab, host); !written) return written;
    auto holder = bring_up(directory, lab, host, network->identity.pid);
    if (!holder) return tl::unexpected(holder.error());
    processes.push_back(std::move(*holder));
  }
  processes.push_back(std::move(*network));
  for (const LabHost& host : lab.hosts) {
    if (!host.has_daemon) continue;
    if (auto answered = await_daemon(directory, host); !answered) {
      if (interrupted == 0) keep_and_tell(directory);
      return answered;
    }
  }
  for (const LabProcess& process : processes) {
    if (auto kept = tell(process, kControlKeep); !kept) return kept;
  }
  return {};
}

// Ends every process of the lab; trouble if one can't be ended.
Result<void> end_processes(const LabDirectory& directory) {
  const auto processes = directory.processes();
  for (const ProcessIdentity& process : processes) send_signal(process, SIGKILL);
  for (const ProcessIdentity& process : processes) {
    if (!wait_for_end(process, kEndLimit)) {
      return trouble("process " + std::to_string(process.pid) + " of the lab does not end",
                     "look at /proc/" + std::to_string(process.pid) + "/stack, and try again");
    }
  }
  while (waitpid(-1, nullptr, WNOHANG) > 0) {  // those that are our own children
  }
  return {};
}

std::string daemon_text(const LabDirectory& directory, const LabHost& host, bool runs) {
  if (!host.has_daemon) return "none";
  if (!runs) return "dead";
  const DaemonRecord record = directory.daemon_record(host.name);
  if (record.was_started && record.pid == 0) return "dead";
  return look_at_daemon(directory, host, std::chrono::seconds(2)) == DaemonState::kAnswers ? "alive" : "silent";
}

Trouble no_such_host(const LabDirectory& directory, const LabFile& lab, const std::string& name) {
  return {"the lab " + directory.cluster() + " has no host " + name, "its hosts are " + lab.host_list()};
}

}  // namespace

Result<LabDirectory> select(const std::string& name) {
  if (!name.empty()) {
    LabDirectory directory(name);
    if (!directory.exists()) return trouble("there is no lab called " + name, "start one: dipc lab up FILE");
    return directory;
  }
  const auto clusters = LabDirectory::clusters();
  if (clusters.empty()) return trouble("no lab is up", "start one: dipc lab up FILE");
  if (clusters.size() == 1) return LabDirectory(clusters[0]);
  std::string list;
  for (const std::string& one : clusters) list += (list.empty() ? "" : ", ") + one;
  return trouble("several labs are up: " + list, "say which: dipc lab --name " + clusters[0] + " ...");
}

Result<RunningHost> running_host(const LabDirectory& directory, const std::string& name) {
  const auto lab = directory.read();
  if (!lab) return tl::unexpected(lab.error());
  const LabHost* host = lab->host(name);
  if (host == nullptr) return tl::unexpected(no_such_host(directory, *lab, name));
  const auto holder = read_identity(directory.holder_record(name));
  if (!holder || !is_alive(*holder)) return trouble("host " + name + " is not up", "start it: dipc lab start " + name);
  return RunningHost{*host, *holder};
}

Result<void> up(const std::string& file, const std::string& name) {
  auto lab = read_lab_file(file);
  if (!lab) return tl::unexpected(lab.error());
  LabDirectory directory(name.empty() ? lab->cluster : name);
  const NoteInterrupts noting;
  if (auto made = directory.create(); !made) return made;
  Result<void> result;
  {
    const auto lock = directory.lock();
    if (!lock) return tl::unexpected(lock.error());
    result = bring_up_all(directory, file, *lab);
    // The pipes to the processes are closed by now: what was not told to stay is ending by itself.
    if (!result) {
      if (auto ended = end_processes(directory); !ended) return ended;
      if (auto removed = directory.remove(); !removed) return removed;
      return result;
    }
  }
  std::string list;
  for (const LabHost& host : lab->hosts) {
    list += (list.empty() ? "" : ", ") + host.name + " (" + (host.machine.empty() ? "native" : host.machine) + ", " +
            host.address + (host.has_daemon ? ")" : ", bare)");
  }
  tell_progress(directory.cluster() + " is up: " + list);
  return {};
}

Result<void> down(const LabDirectory& directory, bool keep_logs) {
  const auto lock = directory.lock();
  if (!lock) return tl::unexpected(lock.error());
  bool daemon_died = false;
  if (const auto lab = read_lab_file(directory.lab_file())) {
    for (const LabHost& host : lab->hosts) {
      const DaemonRecord record = directory.daemon_record(host.name);
      const bool on_purpose = fs::exists(directory.killed_record(host.name));
      daemon_died = daemon_died || (record.was_started && record.pid == 0 && record.exit_status != 0 && !on_purpose);
    }
  }
  if (keep_logs || daemon_died) keep_and_tell(directory);
  if (auto ended = end_processes(directory); !ended) return ended;
  if (auto removed = directory.remove(); !removed) return removed;
  tell_progress(directory.cluster() + " is down");
  return {};
}

Result<void> status(const LabDirectory& directory, bool as_json) {
  const auto lab = directory.read();
  if (!lab) return tl::unexpected(lab.error());
  std::ostringstream out;
  // Names and addresses are such that JSON has nothing to escape in them.
  if (as_json) {
    out << R"({"cluster": ")" << directory.cluster() << R"(", "referee": ")" << lab->referee << R"(", "hosts": [)";
  } else {
    out << "lab " << directory.cluster() << ", referee " << lab->referee << "\n";
  }
  bool first = true;
  for (const LabHost& host : lab->hosts) {
    const auto holder = read_identity(directory.holder_record(host.name));
    const bool runs = holder && is_alive(*holder);
    const std::string machine = host.machine.empty() ? "native" : host.machine;
    const std::string daemon = daemon_text(directory, host, runs);
    if (as_json) {
      out << (first ? "" : ", ") << R"({"name": ")" << host.name << R"(", "arch": ")" << machine << R"(", "address": ")"
          << host.address << R"(", "pid": )" << (runs ? holder->pid : 0) << R"(, "up": )" << (runs ? "true" : "false")
          << R"(, "daemon": ")" << daemon << R"(", "daemon_alive": )" << (daemon == "alive" ? "true" : "false") << "}";
    } else {
      out << "  " << host.name << "  " << machine << "  " << host.address << "  "
          << (runs ? "process " + std::to_string(holder->pid) : "down") << "  daemon " << daemon << "\n";
    }
    first = false;
  }
  if (as_json) out << "]}\n";
  std::fputs(out.str().c_str(), stdout);
  return {};
}

Result<void> logs(const LabDirectory& directory, const std::string& host) {
  const auto lab = directory.read();
  if (!lab) return tl::unexpected(lab.error());
  if (lab->host(host) == nullptr) return tl::unexpected(no_such_host(directory, *lab, host));
  std::ifstream file(directory.log(host));
  if (!file) return trouble(directory.log(host) + ": " + error_text(errno));
  char buffer[8192];
  while (file.read(buffer, sizeof buffer), file.gcount() > 0) {
    std::fwrite(buffer, 1, static_cast<std::size_t>(file.gcount()), stdout);
  }
  return {};
}

Result<void> kill(const LabDirectory& directory, const std::string& host, Part part, int signal) {
  const auto lock = directory.lock();
  if (!lock) return tl::unexpected(lock.error());
  const auto running = running_host(directory, host);
  if (!running) return tl::unexpected(running.error());
  if (part == Part::kHost) {
    send_signal(running->holder, SIGKILL);
    if (!wait_for_end(running->holder, kEndLimit)) return trouble("host " + host + " does not end");
    return {};
  }
  const DaemonRecord record = directory.daemon_record(host);
  if (record.pid == 0) return trouble("the daemon of " + host + " does not run", "start it: dipc lab start " + host);
  if (signal == SIGKILL || signal == SIGTERM) std::ofstream(directory.killed_record(host)).flush();
  // By its number inside, from a process inside.
  const std::string path = "/proc/" + std::to_string(running->holder.pid) + "/ns/pid";
  const Descriptor inside(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!inside || setns(inside.get(), CLONE_NEWPID) != 0) return trouble(path + ": " + error_text(errno));
  const pid_t child = fork();
  if (child < 0) return trouble("fork: " + error_text(errno));
  if (child == 0) _exit(::kill(record.pid, signal) == 0 ? 0 : errno);
  int wait_status = 0;
  while (waitpid(child, &wait_status, 0) < 0 && errno == EINTR) {
  }
  if (WEXITSTATUS(wait_status) != 0)
    return trouble("the daemon of " + host + ": " + error_text(WEXITSTATUS(wait_status)));
  if (signal == SIGKILL) {  // it can only end: whoever looks next sees it dead
    const auto end = std::chrono::steady_clock::now() + kEndLimit;
    while (directory.daemon_record(host).pid == record.pid) {
      if (std::chrono::steady_clock::now() >= end) return trouble("the daemon of " + host + " does not end");
      poll(nullptr, 0, 1);
    }
  }
  return {};
}

Result<void> start(const LabDirectory& directory, const std::string& name) {
  const auto lock = directory.lock();
  if (!lock) return tl::unexpected(lock.error());
  const auto lab = directory.read();
  if (!lab) return tl::unexpected(lab.error());
  const LabHost* host = lab->host(name);
  if (host == nullptr) return tl::unexpected(no_such_host(directory, *lab, name));
  const NoteInterrupts noting;
  const auto holder = read_identity(directory.holder_record(name));
  if (holder && is_alive(*holder)) {
    if (!host->has_daemon) return trouble(name + " is a bare host and is up");
    if (directory.daemon_record(name).pid != 0) return trouble("the daemon of " + name + " runs already");
    std::error_code ignored;
    fs::remove(directory.host(name) + "/daemon", ignored);  // else it would be read as this start's failure
    fs::remove(directory.killed_record(name), ignored);
    send_signal(*holder, kSignalStartDaemon);
    return await_daemon(directory, *host);
  }
  const auto network = read_identity(directory.switch_record());
  if (!network || !is_alive(*network)) return trouble("the lab's network is gone", "take the lab down");
  const auto process = bring_up(directory, *lab, *host, network->pid);
  if (!process) return tl::unexpected(process.error());
  if (host->has_daemon) {
    if (auto answered = await_daemon(directory, *host); !answered) return answered;
  }
  return tell(*process, kControlKeep);
}

Result<void> set_cut(const LabDirectory& directory, const std::string& from, const std::string& to, bool one_way,
                     bool is_cut) {
  if (from == to) return trouble(from + " and " + to + " are one host", "name two hosts");
  const auto lock = directory.lock();
  if (!lock) return tl::unexpected(lock.error());
  const auto first = running_host(directory, from);
  if (!first) return tl::unexpected(first.error());
  const auto second = running_host(directory, to);
  if (!second) return tl::unexpected(second.error());
  const auto apply = is_cut ? cut : heal;
  if (auto done = apply(first->holder.pid, second->host); !done || one_way) return done;
  return apply(second->holder.pid, first->host);
}

}  // namespace dipc::lab
