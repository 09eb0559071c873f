#include "cli/launch.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <variant>

#include "cli/daemon_probe.h"
#include "cli/installation.h"
#include "cli/machines.h"
#include "cli/process.h"

namespace dipc {
namespace {

constexpr int kInterpretersMax = 5;                         // as the kernel: fs/exec.c exec_binprm()
constexpr std::chrono::milliseconds kProbeLimit{2000};      // a daemon under qemu on a busy machine
constexpr std::string_view kDefaultPath = "/bin:/usr/bin";  // execvp(3)

// 0: `path` can be executed by this process; else the errno.
int executable(const std::string& path) {
  struct stat status {};
  if (stat(path.c_str(), &status) != 0) return errno;
  if (!S_ISREG(status.st_mode)) return EACCES;
  return faccessat(AT_FDCWD, path.c_str(), X_OK, AT_EACCESS) == 0 ? 0 : errno;
}

std::variant<std::string, int> look_up(const std::string& name) {
  if (name.empty()) return ENOENT;
  if (name.find('/') != std::string::npos) {
    const int error = executable(name);
    if (error != 0) return error;
    return name;
  }
  const char* variable = std::getenv("PATH");
  const std::string folders(variable != nullptr ? std::string_view(variable) : kDefaultPath);
  int error = ENOENT;
  for (std::size_t begin = 0; begin <= folders.size();) {
    const std::size_t end = std::min(folders.find(':', begin), folders.size());
    std::string candidate = folders.substr(begin, end - begin);
    candidate += candidate.empty() ? name : "/" + name;
    const int found = executable(candidate);
    if (found == 0) return candidate;
    if (found == EACCES) error = EACCES;  // execvp goes on, and says so only if nothing better is found
    begin = end + 1;
  }
  return error;
}

// What a file says of itself.
struct FileKind {
  std::optional<ElfIdentity> elf;
  bool is_script = false;             // "#!"
  std::string interpreter;            // of a script
  std::optional<std::string> option;  // its one argument
  bool readable = true;
};

FileKind kind_of(const std::string& path) {
  FileKind kind;
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    kind.readable = false;
    return kind;
  }
  std::string head(256, '\0');  // BINPRM_BUF_SIZE
  file.read(head.data(), static_cast<std::streamsize>(head.size()));
  head.resize(static_cast<std::size_t>(file.gcount()));
  if (!head.starts_with("#!")) {
    kind.elf = read_elf(path);
    return kind;
  }
  kind.is_script = true;
  constexpr const char* kBlank = " \t";
  std::string line = head.substr(2, head.find('\n') == std::string::npos ? head.size() - 2 : head.find('\n') - 2);
  line.erase(line.find_last_not_of(kBlank) + 1);
  line.erase(0, line.find_first_not_of(kBlank));
  const std::size_t end = line.find_first_of(kBlank);
  kind.interpreter = line.substr(0, end);
  if (end != std::string::npos) kind.option = line.substr(line.find_first_not_of(kBlank, end));
  return kind;
}

// The dynamic loader ignores a preload with a '/' in secure execution. Source: ld.so(8), capabilities(7).
bool runs_with_raised_rights(const std::string& path) {
  struct stat status {};
  if (stat(path.c_str(), &status) != 0) return false;
  if ((status.st_mode & S_ISUID) != 0 && status.st_uid != geteuid()) return true;
  if ((status.st_mode & S_ISGID) != 0 && (status.st_mode & S_IXGRP) != 0 && status.st_gid != getegid()) return true;
  return geteuid() != 0 && getxattr(path.c_str(), "security.capability", nullptr, 0) > 0;
}

std::string with_inherited_preload(const std::string& shim) {
  const char* inherited = std::getenv("LD_PRELOAD");
  if (inherited == nullptr || *inherited == '\0') return shim;
  if (std::string_view(inherited).find(shim) != std::string_view::npos) return inherited;
  return shim + ":" + inherited;
}

bool is_ours(const std::string& path) {
  const std::string name = std::filesystem::path(path).filename().string();
  return name == "dipc" || name == "dipcctl" || name == "dipcd";
}

// What the machine came with, and no user compiles.
bool is_of_the_system(const std::string& path) {
  for (const char* folder : {"/bin/", "/sbin/", "/usr/bin/", "/usr/sbin/", "/usr/lib/", "/usr/libexec/"}) {
    if (path.starts_with(folder)) return true;
  }
  return false;
}

// One program on its way to a Launch.
class Plan {
 public:
  Plan(const std::vector<std::string>& command, const LaunchOptions& options) : options_(options) {
    launch_.arguments = command;
  }

  std::variant<Launch, LaunchFailure> make() {
    const std::string name = options_.program.empty() ? launch_.arguments[0] : options_.program;
    const auto found = look_up(name);
    if (const int* error = std::get_if<int>(&found)) return failure(name, *error);
    launch_.file = std::get<std::string>(found);

    // The program that really runs: scripts are run by their interpreters, which may be scripts.
    std::string running = launch_.file;
    FileKind kind = kind_of(running);
    std::vector<std::string> script_arguments;  // what replaces argv[0] if we must start the interpreter ourselves
    for (int depth = 0; kind.is_script; ++depth) {
      if (depth == kInterpretersMax) return failure(name, ELOOP);
      if (const int error = executable(kind.interpreter); error != 0) {
        return LaunchFailure{error == ENOENT ? kExitNotFound : kExitCannotRun,
                             {running + ": its interpreter " + kind.interpreter + ": " + error_text(error), ""}};
      }
      script_arguments.insert(script_arguments.begin(), running);
      if (kind.option) script_arguments.insert(script_arguments.begin(), *kind.option);
      running = kind.interpreter;
      kind = kind_of(running);
    }
    if (kind.readable && !kind.elf && script_arguments.empty()) {
      // Neither ELF nor "#!": execvp(3) hands such a file to the shell.
      launch_.arguments[0] = running;
      launch_.arguments.insert(launch_.arguments.begin(), "/bin/sh");
      running = launch_.file = "/bin/sh";
      kind = kind_of(running);
    }
    set_up_environment();
    if (!kind.elf) {  // not readable: it can only be one of ours to run, so it is native
      if (options_.preload) preload_native(running, ElfIdentity{});
      return launch_;
    }
    const bool native = runs_natively(*kind.elf);
    const bool use_shim =
        options_.preload && !is_ours(launch_.file) && !is_ours(running) && shim_is_of_use(running, *kind.elf);
    if (native) {
      if (use_shim) preload_native(running, *kind.elf);
      return launch_;
    }
    return run_under_emulator(running, script_arguments, *kind.elf, use_shim);
  }

 private:
  static LaunchFailure failure(const std::string& name, int error) {
    LaunchFailure failed{error == ENOENT || error == ENOTDIR ? kExitNotFound : kExitCannotRun,
                         {name + ": " + error_text(error), ""}};
    if (failed.exit_status == kExitNotFound && name.find('/') == std::string::npos) {
      failed.trouble.remedy = "no such program in PATH";
    }
    if (error == EACCES) {
      failed.trouble.remedy = "this login may not execute it, or not enter a folder on the way to it";
    }
    return failed;
  }

  void set_up_environment() {
    if (options_.strict) launch_.environment.emplace_back("DIPC_STRICT", "1");
    if (!options_.socket.empty()) launch_.environment.emplace_back("DIPC_SOCKET", options_.socket);
  }

  void warn(const std::string& text) { launch_.warnings.push_back(text); }

  // Says why a program will run without DIPC; true if the preload makes sense.
  bool shim_is_of_use(const std::string& program, const ElfIdentity& elf) {
    if (!elf.has_interpreter) {
      warn(program + " is linked statically and can't be given the shim: it runs without DIPC");
      return false;
    }
    if (runs_with_raised_rights(program)) {
      warn(program +
           " changes its rights when it starts (set-uid, set-gid or file capabilities), so the dynamic "
           "loader drops the shim: it runs without DIPC");
      return false;
    }
    const std::string socket = options_.socket.empty() ? default_socket() : options_.socket;
    switch (probe_daemon(socket, elf.byte_order, kProbeLimit)) {
      case DaemonState::kAnswers:
        break;
      case DaemonState::kAbsent:
        warn("no daemon runs here (there is no " + socket +
             "): " + (options_.strict ? "a get with IPC_DIPC fails with ENOSYS" : "System V IPC stays on this host") +
             "; start dipcd");
        break;
      case DaemonState::kSilent:
        warn("the daemon behind " + socket + " does not answer: calls that need it will wait for it");
        break;
      case DaemonState::kForbidden:
        warn("this login may not use " + socket + ": " + program + " runs without DIPC");
        return false;
      case DaemonState::kOtherOrder:
        warn_of_other_machine(program, elf);
        return false;
    }
    return true;
  }

  void warn_of_other_machine(const std::string& program, const ElfIdentity& elf) {
    if (is_of_the_system(program)) return;  // a shell, or cat: nobody meant it to use DIPC
    const Machine* machine = machine_of(elf);
    const Machine* wanted = machine_named(options_.place.machine);
    if (machine == nullptr || wanted == nullptr) {
      warn(program + " has another byte order than this host's daemon and can't talk to it: it runs without DIPC");
      return;
    }
    const std::string& host = options_.place.host;
    warn(program + " is a program for " + std::string(machine->name) + " and " + host + " a host of " +
         std::string(wanted->name) + ": it runs without DIPC, its queues and sets stay on " + host);
    std::string remedy = "compile it with " + std::string(wanted->compiler_prefix()) + "-gcc";
    if (const auto other = options_.place.hosts.find(std::string(machine->name)); other != options_.place.hosts.end()) {
      remedy += ", or run it on " + other->second;
    }
    warn(remedy + "; --no-preload if that is meant");
  }

  void preload_native(const std::string& program, const ElfIdentity& elf) {
    const Machine* native = native_machine();
    const std::string shim = find_shim(elf.machine != 0 || native == nullptr ? elf : native->elf);
    if (shim.empty()) {
      no_shim(program);
      return;
    }
    launch_.environment.emplace_back("LD_PRELOAD", with_inherited_preload(shim));
  }

  void no_shim(const std::string& program) {
    warn("there is no libdipc.so for the machine of " + program +
         ": it runs without DIPC; install one, or name its folder in DIPC_LIBRARY_PATH");
  }

  std::variant<Launch, LaunchFailure> run_under_emulator(const std::string& program,
                                                         const std::vector<std::string>& script_arguments,
                                                         const ElfIdentity& elf, bool use_shim) {
    const Machine* machine = machine_of(elf);
    if (machine == nullptr) {
      return LaunchFailure{kExitCannotRun,
                           {program + " is for a machine (ELF number " + std::to_string(elf.machine) +
                                ") that is neither this one nor one that qemu is known to run",
                            ""}};
    }
    const std::string emulator = find_emulator(*machine);
    if (emulator.empty()) {
      return LaunchFailure{kExitCannotRun,
                           {program + " is a program for " + std::string(machine->name) + " and qemu-" +
                                std::string(machine->name) + " is not installed",
                            "install the package qemu-user-static"}};
    }
    std::vector<std::string> line = {emulator};
    if (const std::string prefix = guest_library_prefix(*machine); !prefix.empty()) {
      line.insert(line.end(), {"-L", prefix});
    }
    // In the environment LD_PRELOAD would reach a dynamically linked qemu itself, and qemu's own System V calls.
    const std::string shim = use_shim ? find_shim(elf) : "";
    if (use_shim && shim.empty()) no_shim(program);
    if (shim.find(',') != std::string::npos) {
      return LaunchFailure{kExitCannotRun, {shim + ": qemu can't preload a file with a comma in its name", ""}};
    }
    launch_.environment.emplace_back("LD_PRELOAD", std::nullopt);
    if (!shim.empty()) line.insert(line.end(), {"-E", "LD_PRELOAD=" + shim});
    if (script_arguments.empty()) line.insert(line.end(), {"-0", launch_.arguments[0]});
    line.push_back(program);
    line.insert(line.end(), script_arguments.begin(), script_arguments.end());
    line.insert(line.end(), launch_.arguments.begin() + 1, launch_.arguments.end());
    launch_.file = emulator;
    launch_.arguments = std::move(line);
    return launch_;
  }

  LaunchOptions options_;
  Launch launch_;
};

}  // namespace

std::variant<Launch, LaunchFailure> plan_launch(const std::vector<std::string>& command, const LaunchOptions& options) {
  return Plan(command, options).make();
}

int launch(const std::vector<std::string>& command, const LaunchOptions& options) {
  const auto planned = plan_launch(command, options);
  if (const auto* failed = std::get_if<LaunchFailure>(&planned)) {
    std::fprintf(stderr, "dipc: %s\n", failed->trouble.what.c_str());
    if (!failed->trouble.remedy.empty()) std::fprintf(stderr, "dipc: %s\n", failed->trouble.remedy.c_str());
    return failed->exit_status;
  }
  const Launch& ready = std::get<Launch>(planned);
  for (const std::string& warning : ready.warnings) std::fprintf(stderr, "dipc: warning: %s\n", warning.c_str());
  for (const auto& [name, value] : ready.environment) {
    if (value) {
      setenv(name.c_str(), value->c_str(), 1);
    } else {
      unsetenv(name.c_str());
    }
  }
  std::vector<char*> arguments;
  for (const std::string& argument : ready.arguments) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  execv(ready.file.c_str(), arguments.data());
  const int error = errno;
  std::fprintf(stderr, "dipc: %s: %s\n", ready.file.c_str(), error_text(error).c_str());
  return error == ENOENT ? kExitNotFound : kExitCannotRun;
}

}  // namespace dipc
