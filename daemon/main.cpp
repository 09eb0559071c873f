// dipcd: builds every part, runs the loop, ends in order.

#include <dlfcn.h>
#include <sys/resource.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <optional>

#include "daemon/io/configuration_files.h"
#include "daemon/io/log.h"
#include "daemon/io/loop.h"
#include "daemon/io/tls.h"
#include "daemon/node.h"
#include "daemon/version.h"

namespace {

constexpr int kFailed = 1;
constexpr int kUsage = 2;

void print(const dipc::Trouble& trouble) {
  std::fprintf(stderr, "dipcd: %s\n", trouble.what.c_str());
  if (!trouble.remedy.empty()) std::fprintf(stderr, "       %s\n", trouble.remedy.c_str());
}

// Each program that uses distributed objects takes a descriptor, and so does each waiting call.
void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

void set_level_from_environment() {
  const char* level = std::getenv("DIPC_LOG");
  if (level == nullptr) return;
  const std::string name(level);
  if (name == "debug") dipc::set_log_level(dipc::LogLevel::kDebug);
  if (name == "warning") dipc::set_log_level(dipc::LogLevel::kWarning);
  if (name == "error") dipc::set_log_level(dipc::LogLevel::kError);
}

// Its own calls on kernel objects would come back to it as a program's, and wait for its answer.
bool shim_is_loaded() { return ::dlsym(RTLD_DEFAULT, "dipc_version") != nullptr; }

int run(const std::string& file, dipc::Policy policy) {
  auto keeper = dipc::reach_keeper(policy.configuration);
  if (!keeper) {
    print(keeper.error());
    return kFailed;
  }
  uv_loop_t loop;
  uv_loop_init(&loop);
  int status = 0;
  {
    dipc::LoopRunner runner(&loop, policy.configuration.timing.busy_poll);
    auto node = dipc::Node::start(&loop, file, std::move(policy), std::move(*keeper));
    if (!node) {
      print(node.error());
      status = kFailed;
    } else {
      const auto stop = [&](const char* why) {
        (*node)->stop(why);
        runner.stop();
      };
      dipc::SignalWatch on_term(&loop, SIGTERM, [&] { stop("SIGTERM"); });
      dipc::SignalWatch on_int(&loop, SIGINT, [&] { stop("SIGINT"); });
      dipc::SignalWatch on_hup(&loop, SIGHUP, [&] { (*node)->reload("SIGHUP"); });
      runner.run();
      node->reset();
    }
  }
  // Handles close in a turn of the loop; farewells to peers have at most a second.
  uv_run(&loop, UV_RUN_DEFAULT);
  uv_loop_close(&loop);
  return status;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("The DIPC daemon: System V IPC between the hosts of a cluster");
  std::string file = dipc::kConfigurationFile;
  bool check = false;
  app.add_option("--config", file, "configuration file; hosts.allow, logins.map and tls/ lie beside it")
      ->capture_default_str();
  app.add_flag("--check", check, "read configuration and certificates, say what is wrong with them, and exit");
  app.set_version_flag("--version", dipc::kVersion);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kUsage;
  }
  if (shim_is_loaded()) {
    print({"libdipc.so is loaded into this dipcd, which would be its own client",
           "start it outside of `dipc run`, and without the library in LD_PRELOAD or /etc/ld.so.preload"});
    return kFailed;
  }

  auto policy = dipc::load_policy(file, dipc::defaults_of_this_machine());
  if (!policy) {
    for (const dipc::Trouble& trouble : policy.error()) print(trouble);
    return kFailed;
  }
  if (check) {
    if (const auto tls = dipc::TlsContext::load(dipc::tls_files_beside(file)); !tls) {
      print(tls.error());
      return kFailed;
    }
    for (const std::string& warning : dipc::warnings_here(policy->configuration)) {
      std::fprintf(stderr, "dipcd: warning: %s\n", warning.c_str());
    }
    std::printf("%s, the files beside it and the certificates: good\n", file.c_str());
    return 0;
  }
  std::signal(SIGPIPE, SIG_IGN);
  raise_descriptor_limit();
  set_level_from_environment();
  return run(file, std::move(*policy));
}
