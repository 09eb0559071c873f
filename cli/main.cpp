// dipc: runs programs with the shim, and clusters on one machine.

#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "cli/command_line.h"
#include "cli/lab.h"
#include "cli/lab_exec.h"
#include "cli/launch.h"
#include "daemon/core/text_lines.h"
#include "daemon/ctl/unknown_verb.h"
#include "daemon/version.h"

namespace {

using dipc::Result;

constexpr int kExitDone = 0;
constexpr int kExitFailed = 1;

void tell(const dipc::Trouble& trouble) {
  std::fprintf(stderr, "dipc: %s\n", trouble.what.c_str());
  if (!trouble.remedy.empty()) std::fprintf(stderr, "dipc: %s\n", trouble.remedy.c_str());
}

int finish(const Result<void>& result) {
  if (result) return kExitDone;
  tell(result.error());
  return kExitFailed;
}

int usage(const std::string& text) {
  std::fprintf(stderr, "dipc: %s\n", text.c_str());
  return dipc::kExitUsage;
}

// "KILL", "SIGKILL", "9"; 0: no signal.
int signal_number(std::string name) {
  if (!name.empty() && name.find_first_not_of("0123456789") == std::string::npos && name.size() < 3) {
    return std::stoi(name);
  }
  if (name.starts_with("SIG")) name.erase(0, 3);
  for (int number = 1; number < NSIG; ++number) {
    const char* known = sigabbrev_np(number);
    if (known != nullptr && name == known) return number;
  }
  return 0;
}

// Applies `act` to the lab that is meant.
template <typename Act>
int on_lab(const std::string& name, Act act) {
  const auto directory = dipc::lab::select(name);
  if (!directory) return finish(tl::unexpected(directory.error()));
  return finish(act(*directory));
}

bool lacks_root(int argc, char** argv) {
  if (geteuid() == 0) return false;
  std::string command;
  for (int i = 0; i < argc; ++i) command += std::string(i == 0 ? "" : " ") + argv[i];
  tell({"dipc lab makes namespaces and network interfaces, and needs root for it",
        "run as root: su -c '" + command + "'"});
  return true;
}

// CLI11 does not know of the program.
struct WithProgram : CLI::Formatter {
  std::string make_usage(const CLI::App* app, std::string name) const override {
    std::string text = CLI::Formatter::make_usage(app, std::move(name));
    text.erase(text.find_last_not_of('\n') + 1);
    return text + " -- PROGRAM ARGS\n";
  }
};

}  // namespace

int main(int argc, char** argv) {
  const dipc::CommandLine line = dipc::split_command_line({argv + std::min(argc, 1), argv + argc});
  const std::vector<std::string>& command = line.program;

  CLI::App app("DIPC: System V IPC between computers", "dipc");
  app.set_version_flag("--version", dipc::kVersion);
  app.require_subcommand(1);

  CLI::App* run = app.add_subcommand("run", "run a program with distributed System V IPC: dipc run -- PROGRAM ARGS");
  run->formatter(std::make_shared<WithProgram>());
  bool strict = false;
  run->add_flag("--strict", strict, "without a daemon, an IPC_DIPC get fails with ENOSYS instead of staying local");

  CLI::App* lab = app.add_subcommand("lab", "a cluster of several hosts on this machine");
  lab->require_subcommand(1);
  std::string lab_name;
  const char* name_means = "which lab, by its cluster's name (default: the only one that is up)";
  lab->add_option("--name", lab_name, name_means);

  CLI::App* up = lab->add_subcommand("up", "start the cluster that a lab file describes");
  std::string file;
  up->add_option("FILE", file, "lab file")->required();

  CLI::App* exec = lab->add_subcommand("exec", "run a program on a host: dipc lab exec HOST -- PROGRAM ARGS");
  std::string host;
  std::string login;
  double timeout_s = 0;
  bool no_preload = false;
  exec->formatter(std::make_shared<WithProgram>());
  exec->add_option("HOST", host)->required();
  exec->add_option("--as", login, "login (default: the host's first)");
  auto* timeout =
      exec->add_option("--timeout", timeout_s, "seconds after which the program is ended, with exit status 124");
  exec->add_flag("--no-preload", no_preload, "on the host's kernel alone, without the shim");
  exec->add_flag("--strict", strict, "as dipc run --strict");

  CLI::App* status = lab->add_subcommand("status", "what is up");
  bool json = false;
  status->add_flag("--json", json);

  CLI::App* logs = lab->add_subcommand("logs", "the log of a host's daemon");
  logs->add_option("HOST", host)->required();

  CLI::App* down = lab->add_subcommand("down", "end the cluster and leave nothing behind");
  bool keep_logs = false;
  down->add_flag("--keep-logs", keep_logs, "keep the logs, and say where");

  CLI::App* kill = lab->add_subcommand("kill", "kill a daemon, or a whole host as by a power failure");
  std::string part;
  std::string signal = "KILL";
  kill->add_option("HOST", host)->required();
  kill->add_option("PART", part)->required()->check(CLI::IsMember({"daemon", "host"}));
  kill->add_option("--signal", signal, "for a daemon: name or number (default KILL)");

  CLI::App* start = lab->add_subcommand("start", "start a killed host, or the daemon of a host, again");
  start->add_option("HOST", host)->required();

  std::string other;
  bool one_way = false;
  CLI::App* cut = lab->add_subcommand("cut", "what two hosts send to each other gets lost");
  CLI::App* heal = lab->add_subcommand("heal", "undo cut");
  for (CLI::App* verb : {cut, heal}) {
    verb->add_option("FROM", host)->required();
    verb->add_option("TO", other)->required();
    verb->add_flag("--one-way", one_way, "only from the first to the second");
  }

  for (CLI::App* verb : lab->get_subcommands([](CLI::App*) { return true; })) {
    verb->add_option("--name", lab_name, name_means);
  }

  try {
    app.parse(std::vector<std::string>(line.own.rbegin(), line.own.rend()));  // CLI11 wants the last word first
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);
    if (const std::string unknown = dipc::unknown_verb(app); !unknown.empty()) {
      std::fprintf(stderr, "%s\n", unknown.c_str());
      return dipc::kExitUsage;
    }
    app.exit(error);
    return dipc::kExitUsage;
  }
  // As in every other place where hosts are named.
  host = dipc::to_lower(host);
  other = dipc::to_lower(other);
  const bool takes_command = run->parsed() || exec->parsed();
  if (takes_command && command.empty()) {
    return usage(std::string("which program? dipc ") + (run->parsed() ? "run" : "lab exec HOST") + " -- PROGRAM ARGS");
  }
  if (!takes_command && line.has_separator)
    return usage("there is no program to run here: leave \"--\" and what follows out");

  if (run->parsed()) return dipc::launch(command, {.preload = true, .strict = strict, .socket = ""});
  if (lacks_root(argc, argv)) return exec->parsed() ? dipc::kExitOurFailure : kExitFailed;
  if (up->parsed()) return finish(dipc::lab::up(file, lab_name));
  if (exec->parsed()) {
    dipc::lab::ExecOptions options{.login = login, .limit = std::nullopt, .preload = !no_preload, .strict = strict};
    if (timeout->count() > 0) {
      if (!(timeout_s > 0) || timeout_s > 1e6)
        return usage("--timeout takes seconds, more than 0 and at most a million");
      options.limit = std::chrono::nanoseconds(std::llround(timeout_s * 1e9));
    }
    const auto directory = dipc::lab::select(lab_name);
    const auto done = directory ? dipc::lab::exec(*directory, host, command, options)
                                : Result<int>(tl::unexpected(directory.error()));
    if (done) return *done;
    tell(done.error());
    return dipc::kExitOurFailure;
  }
  if (status->parsed()) return on_lab(lab_name, [&](const auto& it) { return dipc::lab::status(it, json); });
  if (logs->parsed()) return on_lab(lab_name, [&](const auto& it) { return dipc::lab::logs(it, host); });
  if (down->parsed()) return on_lab(lab_name, [&](const auto& it) { return dipc::lab::down(it, keep_logs); });
  if (start->parsed()) return on_lab(lab_name, [&](const auto& it) { return dipc::lab::start(it, host); });
  if (kill->parsed()) {
    const int number = signal_number(signal);
    if (number == 0) return usage("\"" + signal + "\" is no signal: write a name such as KILL or STOP");
    const auto which = part == "host" ? dipc::lab::Part::kHost : dipc::lab::Part::kDaemon;
    return on_lab(lab_name, [&](const auto& it) { return dipc::lab::kill(it, host, which, number); });
  }
  return on_lab(lab_name, [&](const auto& it) { return dipc::lab::set_cut(it, host, other, one_way, cut->parsed()); });
}
