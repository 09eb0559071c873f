// dipcctl: the administrator's tool. Asks the daemon of this host, makes certificates, reads declarations
// of payloads.

#include <sys/ioctl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstring>
#include <iostream>
#include <limits>
#include <optional>
#include <string>
#include <thread>

#include "daemon/core/status_report.h"
#include "daemon/core/text_lines.h"
#include "daemon/ctl/certificate_commands.h"
#include "daemon/ctl/daemon_client.h"
#include "daemon/ctl/dead_letter_pieces.h"
#include "daemon/ctl/ftok_command.h"
#include "daemon/ctl/tables.h"
#include "daemon/ctl/types_commands.h"
#include "daemon/ctl/types_import.h"
#include "daemon/ctl/unknown_verb.h"
#include "daemon/io/certificates.h"
#include "daemon/io/configuration_files.h"
#include "daemon/version.h"

namespace dipc {
namespace {

constexpr auto kWatchEvery = std::chrono::milliseconds(500);

enum Exit : int { kDone = 0, kFailed = 1, kUsage = 2, kUnreachable = 3 };

// Where standard output goes.
struct Screen {
  std::size_t columns = 80;
  std::size_t rows = 0;  // 0: what is printed stays
};

Screen terminal() {
  winsize size{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0) return {80, 24};
  return {size.ws_col, size.ws_row};
}

void complain(const Trouble& trouble) {
  std::cerr << "dipcctl: " << trouble.what << "\n";
  if (!trouble.remedy.empty()) std::cerr << "  " << trouble.remedy << "\n";
}

int print(const Result<std::string>& text) {
  if (!text) {
    complain(text.error());
    return kFailed;
  }
  std::cout << *text << std::flush;
  // A full disk behind a redirection must not look like success.
  return std::cout.good() ? kDone : kFailed;
}

int complain_all(const Troubles& troubles) {
  for (const Trouble& one : troubles) complain(one);
  return kFailed;
}

int print_parsed(const Parsed<std::string>& text) { return text ? print(*text) : complain_all(text.error()); }

int print_ftok(const std::string& path, const std::string& id) {
  const auto answer = answer_ftok(path, id);
  if (!answer) {
    complain_all(answer.error());
    return kUsage;
  }
  const int done = print(answer->key + "\n");
  if (answer->warning) complain(*answer->warning);
  return done;
}

int import_and_print(const std::string& program, const std::vector<std::string>& names) {
  const auto imported = import_types(program, names);
  if (!imported) return complain_all(imported.error());
  // As comments, so that they are read where the declaration is.
  std::string text;
  for (const std::string& note : imported->notes) text += "// " + note + "\n";
  return print(text + imported->declarations);
}

template <typename T>
Result<std::string> shown(const Result<T>& report) {
  if (!report) return tl::unexpected<Trouble>(report.error());
  return show(*report);
}

Result<std::string> shown(const AdminCommand& command, const std::string& json, const Screen& screen) {
  switch (command.verb) {
    case AdminCommand::Verb::kStatus:
      return shown(status_from_json(json));
    case AdminCommand::Verb::kObjects:
      return shown(objects_from_json(json));
    case AdminCommand::Verb::kDeadLetters:
      return shown(dead_letters_from_json(json));
    case AdminCommand::Verb::kSegments:
      return shown(segments_from_json(json));
    case AdminCommand::Verb::kPages: {
      const auto report = pages_from_json(json);
      if (!report) return tl::unexpected<Trouble>(report.error());
      std::string text = show(*report, screen.columns);
      return screen.rows == 0 ? std::move(text) : redraw(text, screen.columns, screen.rows);
    }
    case AdminCommand::Verb::kShowLetter:
      return shown(dead_letter_text_from_json(json));
    case AdminCommand::Verb::kReload:
    case AdminCommand::Verb::kForget:
    case AdminCommand::Verb::kRequeueLetter:
    case AdminCommand::Verb::kDropLetter:
      break;
  }
  return shown(done_from_json(json));
}

int ask(const std::string& socket, const AdminCommand& command, std::chrono::milliseconds limit, bool as_json,
        const Screen& screen = {}) {
  const std::string path = socket.empty() ? default_socket_path() : socket;
  const auto answer = ask_for_all(command, [&](const AdminCommand& piece) { return ask_daemon(path, piece, limit); });
  if (!answer) {
    complain(answer.error());
    return kUnreachable;
  }
  if (answer->error == 0) {
    return print(as_json ? Result<std::string>(answer->json) : shown(command, answer->json, screen));
  }
  if (as_json && !answer->json.empty()) {
    std::cout << answer->json << std::flush;
    return kFailed;
  }
  const auto failure = failure_from_json(answer->json);
  if (failure && !failure->troubles.empty()) {
    for (const Trouble& one : failure->troubles) complain(one);
  } else {
    complain({to_string(command) + ": " + std::strerror(answer->error), {}});
  }
  return kFailed;
}

int run(int argc, char** argv) {
  CLI::App app(
      "Looks after DIPC on this host: asks its daemon, makes certificates, reads declarations of payloads.\n"
      "Exit status: 0 done, 1 failed, 2 wrong usage, 3 no daemon to be reached.",
      "dipcctl");
  app.set_version_flag("--version", kVersion);
  app.require_subcommand(1);
  app.fallthrough();
  std::string socket;
  double seconds = 30;
  app.add_option("--socket", socket, "socket of the daemon (default: $DIPC_SOCKET, /run/dipc/dipcd.sock)");
  app.add_option("--timeout", seconds, "seconds to wait for the daemon's answer (default: 30)")
      ->check(CLI::Range(0.001, 1e6));
  bool as_json = false;

  auto* status = app.add_subcommand("status", "this host: peers, certificates, counters, what needs attention");
  status->add_flag("--json", as_json, "the daemon's own text, for programs");
  auto* objects = app.add_subcommand(
      "objects", "all distributed queues, semaphore sets and segments of the cluster, but what is removed");
  objects->add_flag("--json", as_json, "the daemon's own text, for programs");
  auto* reload = app.add_subcommand("reload", "read configuration, hosts.allow, logins.map and certificates again");
  auto* forget = app.add_subcommand("forget", "make the referee forget a key whose owner will not come back");
  std::string kind, key;
  forget->add_option("KIND", kind, "msg, sem or shm")->required();
  forget->add_option("KEY", key, "as dipcctl objects shows it: 0x00001234")->required();

  auto* segments = app.add_subcommand("segments", "the segments that live on this host, and what moves of them");
  segments->add_flag("--json", as_json, "the daemon's own text, for programs");
  auto* pages = app.add_subcommand("pages", "a segment of this host: who has which page, and what moves");
  auto* of_key = pages->add_option("KEY", key, "as dipcctl segments shows it: 0x00001234");
  std::string id;
  auto* of_id = pages->add_option("--id", id, "instead of KEY, for one that is private or removed: its id there");
  of_id->excludes(of_key);
  pages->add_flag("--json", as_json, "the daemon's own text, for programs");
  bool watch = false;
  pages->add_flag("--watch", watch, "again and again, until interrupted");

  auto* letters = app.add_subcommand(
      "deadletters", "messages of this host's queues whose delivery stayed in doubt; without a verb: list them");
  letters->require_subcommand(0, 1);
  letters->add_flag("--json", as_json, "as JSON, for programs");
  std::uint64_t letter = 0;
  const auto of_letter = [&](const char* verb, const char* what) {
    auto* command = letters->add_subcommand(verb, what);
    command->add_option("ID", letter, "as dipcctl deadletters shows it")
        ->required()
        ->check(CLI::Range(std::uint64_t{1}, std::numeric_limits<std::uint64_t>::max()));
    return command;
  };
  auto* show_letter = of_letter("show", "all that is known of it, and its text");
  show_letter->add_flag("--json", as_json, "as JSON, for programs; the text in hexadecimal");
  auto* requeue = of_letter("requeue", "put it back at the tail of the queue that it came from");
  auto* drop = of_letter("drop", "delete it");

  auto* ftok = app.add_subcommand("ftok", "the key that ftok(3) has for a path listed under [ftok], on every host");
  std::string path, ftok_id;
  ftok->add_option("PATH", path, "as realpath prints it")->required();
  ftok->add_option("ID", ftok_id, "ftok's second argument: a character that is no digit, or a number")->required();

  auto* ca = app.add_subcommand("ca", "the cluster's certificate authority and the hosts' certificates");
  ca->require_subcommand(1);
  std::string ca_dir = kCaFolder, tls_dir = kTlsFolder;
  std::string cluster = "dipc", host, request, out, into, certificate, ca_certificate;
  int ca_days = kCaDaysDefault, host_days = kHostDaysDefault;
  bool replace = false;

  auto* init = ca->add_subcommand("init", "make the authority (once for a cluster, on one machine)");
  init->add_option("--dir", ca_dir, std::string("folder of the authority (default: ") + kCaFolder + ")");
  init->add_option("--cluster", cluster, "name of the cluster, to tell authorities apart (default: dipc)");
  init->add_option("--days", ca_days, "days until it expires (default: 3650)")->check(CLI::Range(1, 36500));

  auto* ask_for = ca->add_subcommand("request", "on a host: make its key, which stays there, and a request");
  ask_for->add_option("HOST", host, "name of this host in the cluster")->required();
  ask_for->add_option("--tls", tls_dir, std::string("folder of key and certificate (default: ") + kTlsFolder + ")");

  auto* issue = ca->add_subcommand("issue", "on the authority's machine: sign a host's request");
  issue->add_option("HOST", host, "name of the host in the cluster")->required();
  issue->add_option("--dir", ca_dir, std::string("folder of the authority (default: ") + kCaFolder + ")");
  auto* from_request = issue->add_option("--request", request, "the host's request (HOST.csr; '-': standard input)");
  issue->add_option("--out", out, "the certificate to write (default: HOST.pem; '-': standard output)")
      ->needs(from_request);
  issue->add_option("--into", into, "make key, certificate and ca.pem here, in this folder, instead")
      ->excludes(from_request);
  issue->add_option("--days", host_days, "days until it expires (default: 825)")->check(CLI::Range(1, 36500));

  auto* put = ca->add_subcommand("install", "on a host: put its signed certificate in place");
  put->add_option("FILE", certificate, "the certificate ('-': standard input)")->required();
  put->add_option("--tls", tls_dir, std::string("folder of key and certificate (default: ") + kTlsFolder + ")");
  put->add_option("--ca", ca_certificate, "the authority's certificate (ca.pem), to be put beside it");
  put->add_flag("--replace", replace, "replace an older certificate (a renewal)");

  auto* describe = ca->add_subcommand("show", "what a certificate says: host, expiry, fingerprint");
  describe->add_option("FILE", certificate, "the certificate ('-': standard input)")->required();

  auto* types = app.add_subcommand("types", "declarations of payloads: docs/LAYOUTS.md");
  types->require_subcommand(1);
  std::vector<std::filesystem::path> type_files;
  std::vector<std::string> machines;
  std::vector<std::string> type_names;
  std::string program;
  auto* check = types->add_subcommand("check", "are these declarations good? All that is wrong, with line and column");
  check->add_option("FILE", type_files, "*.types files, or a folder of them; together they are one set")->required();
  auto* show = types->add_subcommand("show", "where the fields of structs lie on a machine, or on two side by side");
  show->add_option("NAME", type_names, "structs")->required();
  show->add_option("--abi", machines, "x86-64, i386, m68k, s390x, arm64; i386/time64: with a time_t of 64 bits")
      ->required()
      ->allow_extra_args(false)
      ->expected(1, 2)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  show->add_option("--types", type_files, std::string("files or folder to read (default: ") + kTypesFolder + ")");
  auto* import =
      types->add_subcommand("import", "write the declarations of structs from a program's debug information");
  import->add_option("--program", program, "an ELF file of any architecture, compiled with -g")->required();
  const auto is_name = [](const std::string& text) { return std::string(text.empty() ? "name a struct" : ""); };
  import->add_option("--struct", type_names, "structs, or typedefs of them")->required()->check(is_name);

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);
    if (const std::string unknown = unknown_verb(app); !unknown.empty()) {
      std::cerr << unknown << "\n";
      return kUsage;
    }
    app.exit(error);
    return kUsage;
  }

  const auto limit = std::chrono::milliseconds(static_cast<std::int64_t>(seconds * 1000));
  using Verb = AdminCommand::Verb;
  if (*letters) {
    const auto verb = *show_letter ? Verb::kShowLetter
                      : *requeue   ? Verb::kRequeueLetter
                      : *drop      ? Verb::kDropLetter
                                   : Verb::kDeadLetters;
    return ask(socket, {verb, {}, letter}, limit, as_json);
  }
  if (*status) return ask(socket, {Verb::kStatus, {}}, limit, as_json);
  if (*objects) return ask(socket, {Verb::kObjects, {}}, limit, as_json);
  if (*segments) return ask(socket, {Verb::kSegments, {}}, limit, as_json);
  if (*pages) {
    const auto command = parse_admin_command("pages " + (of_id->count() != 0 ? "id " + id : key));
    if (!command) {
      complain(command.error());
      return kUsage;
    }
    const bool on_terminal = ::isatty(STDOUT_FILENO) == 1;
    if (!watch) return ask(socket, *command, limit, as_json, {on_terminal ? terminal().columns : Screen{}.columns, 0});
    for (;;) {
      const Screen screen = on_terminal && !as_json ? terminal() : Screen{};  // it may have been made larger
      if (const int done = ask(socket, *command, limit, as_json, screen); done != kDone) return done;
      std::this_thread::sleep_for(kWatchEvery);
    }
  }
  if (*reload) return ask(socket, {Verb::kReload, {}}, limit, false);
  if (*forget) {
    const auto command = parse_admin_command("forget " + kind + " " + key);
    if (!command) {
      complain(command.error());
      return kUsage;
    }
    return ask(socket, *command, limit, false);
  }

  if (*ftok) return print_ftok(path, ftok_id);

  if (*check) return print_parsed(check_types(type_files));
  if (*show) {
    std::error_code unknown;
    if (type_files.empty() && !std::filesystem::exists(kTypesFolder, unknown)) {
      return complain_all({{"there is no " + std::string(kTypesFolder), "name the files or the folder with --types"}});
    }
    if (type_files.empty()) type_files.emplace_back(kTypesFolder);
    return print_parsed(show_types(type_files, type_names, machines));
  }
  if (*import) return import_and_print(program, type_names);

  if (*init) return print(make_authority(ca_dir, cluster, ca_days));
  if (*ask_for) return print(make_request(tls_dir, host));
  if (*put) {
    const auto beside = ca_certificate.empty() ? std::nullopt : std::optional<std::filesystem::path>(ca_certificate);
    return print(install(tls_dir, certificate, beside, replace));
  }
  if (*describe) return print(describe_certificate(certificate));
  const IssueOptions options{ca_dir, host, host_days, out};
  if (!request.empty()) return print(issue_for_request(options, request));
  if (!into.empty()) return print(issue_into(options, into));
  // For this machine itself the key is made where it belongs. For another one it would not be.
  if (to_lower(host) == defaults_of_this_machine().host) return print(issue_into(options, kTlsFolder));
  complain({"the key of " + in_quotes(host) + " is made on that host, and its request is signed here",
            "there: dipcctl ca request " + host + "; here: dipcctl ca issue " + host +
                " --request FILE; or make everything here with --into FOLDER"});
  return kUsage;
}

}  // namespace
}  // namespace dipc

int main(int argc, char** argv) { return dipc::run(argc, argv); }
