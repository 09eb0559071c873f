#include "tests/shim/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <utility>

namespace dipc::test {

std::string Machine::missing() const {
  for (const std::string& file : {shim, programs + "/shim_subject", programs + "/shim_test_daemon"}) {
    if (access(file.c_str(), R_OK) != 0) return file + " is not built";
  }
  if (is_emulated() && access(launcher[0].c_str(), X_OK) != 0) return "no emulator for " + name;
  return "";
}

const Machine& machine(const std::string& name) {
  static const std::map<std::string, Machine> kMachines = [] {
    std::map<std::string, Machine> all;
    all["native"] = {"native", {}, DIPC_TEST_PROGRAMS, DIPC_TEST_SHIM, sizeof(long)};
    const auto add = [&](const std::string& one, const std::string& qemu, std::size_t long_bytes) {
      const std::string build = DIPC_BUILDS "/" + one;
      Machine& made = all[one];
      made = {one, {}, build + "/tests/shim", build + "/shim/libdipc.so", long_bytes};
      if (!qemu.empty()) made.launcher = {qemu, "-L", "/usr/" + one + "-linux-gnu"};
    };
    add("m68k", DIPC_QEMU_M68K, 4);
    add("s390x", DIPC_QEMU_S390X, 8);
    add("i386", "", 4);
    all["s390x"].is_status_wrong = true;
    return all;
  }();
  return kMachines.at(name);
}

Program::Program(const Machine& machine, const std::string& name, const std::vector<std::string>& arguments,
                 const Environment& environment, const std::string& preload, int descriptors_max) {
  Environment for_program = environment;
  std::vector<std::string> words = machine.launcher;
  if (!preload.empty()) {
    if (machine.is_emulated()) {  // into the guest, not into qemu
      words.insert(words.end(), {"-E", "LD_PRELOAD=" + preload});
    } else {
      for_program["LD_PRELOAD"] = preload;
    }
  }
  std::string launcher;  // the same for a program that executes another
  for (const std::string& word : words) launcher += (launcher.empty() ? "" : " ") + word;
  for_program["SUBJECT_LAUNCHER"] = launcher;
  words.push_back(machine.programs + "/" + name);
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  std::vector<std::string> settings;
  for (char** variable = environ; *variable; ++variable) {
    if (strncmp(*variable, "DIPC_", 5) != 0) settings.emplace_back(*variable);
  }
  for (const auto& [key, value] : for_program) settings.push_back(key + "=" + value);
  std::vector<char*> envp;
  for (std::string& setting : settings) envp.push_back(setting.data());
  envp.push_back(nullptr);

  int in[2];
  int out[2];
  if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0) abort();
  pid_ = fork();
  if (pid_ == 0) {
    dup2(in[0], STDIN_FILENO);
    dup2(out[1], STDOUT_FILENO);
    dup2(out[1], STDERR_FILENO);
    rlim_t most = static_cast<rlim_t>(descriptors_max);
    rlimit limit{most, most};
    setrlimit(RLIMIT_NOFILE, &limit);
    execvpe(argv[0], argv.data(), envp.data());
    _exit(127);
  }
  close(in[0]);
  close(out[1]);
  input_ = in[1];
  output_ = out[0];
}

Program::~Program() {
  kill();
  close_input();
  close(output_);
}

bool Program::read_more(std::chrono::steady_clock::time_point deadline) {
  auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()).count();
  if (left <= 0) return false;
  pollfd entry{output_, POLLIN, 0};
  if (poll(&entry, 1, static_cast<int>(left)) <= 0) return false;
  char part[4096];
  ssize_t bytes = read(output_, part, sizeof part);
  if (bytes <= 0) return false;
  read_.append(part, static_cast<size_t>(bytes));
  return true;
}

std::string Program::read_line(std::chrono::seconds limit) {
  auto deadline = std::chrono::steady_clock::now() + limit;
  size_t end;
  while ((end = read_.find('\n')) == std::string::npos) {
    if (!read_more(deadline)) return "";
  }
  std::string line = read_.substr(0, end);
  read_.erase(0, end + 1);
  return line;
}

void Program::write(const std::string& text) {
  ASSERT_EQ(::write(input_, text.data(), text.size()), static_cast<ssize_t>(text.size()));
}

void Program::close_input() {
  if (input_ >= 0) close(input_);
  input_ = -1;
}

void Program::kill() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  reap();
}

void Program::reap() {
  int status = 0;
  while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  status_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  pid_ = -1;
}

Program::Ending Program::finish(std::chrono::seconds limit) {
  close_input();
  auto deadline = std::chrono::steady_clock::now() + limit;
  while (read_more(deadline)) {
  }
  if (std::chrono::steady_clock::now() >= deadline) {
    kill();
    return {read_, -1};
  }
  reap();
  return {read_, status_};
}

Folder::Folder() {
  char name[] = "/tmp/dipc-shim-test-XXXXXX";
  if (!mkdtemp(name)) abort();
  path_ = name;
  std::filesystem::permissions(path_, std::filesystem::perms(0755));  // other logins connect as well
}

Folder::~Folder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

TestDaemon::TestDaemon(const Machine& machine, std::string socket, std::vector<std::string> options) {
  options.insert(options.begin(), std::move(socket));
  program_ = std::make_unique<Program>(machine, "shim_test_daemon", options, Environment{}, "", 4096);
  EXPECT_EQ(program_->read_line(), "ready");
}

bool TestDaemon::wait_for_request(const std::string& name) {
  for (std::string line = program_->read_line(); !line.empty(); line = program_->read_line()) {
    if (line == name) return true;
  }
  return false;
}

}  // namespace dipc::test
