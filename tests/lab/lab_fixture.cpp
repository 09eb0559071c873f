#include "tests/lab/lab_fixture.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

#include "cli/lab_directory.h"

namespace dipc::lab_test {
namespace fs = std::filesystem;
namespace {

constexpr std::chrono::seconds kPatience{20};

std::string content(const std::string& path) {
  std::ifstream file(path);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

}  // namespace

Background::Background(const std::vector<std::string>& arguments) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) std::abort();
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  pid_ = fork();
  if (pid_ == 0) {
    const int nothing = open("/dev/null", O_RDONLY);
    dup2(nothing, 0);
    dup2(ends[1], 1);
    dup2(ends[1], 2);
    execv(argv[0], argv.data());
    _exit(127);
  }
  close(ends[1]);
  pipe_ = ends[0];
}

Background::~Background() {
  if (!ended_ && pid_ > 0) {
    ::kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  close(pipe_);
}

bool Background::await_output(const std::string& text) {
  const auto end = std::chrono::steady_clock::now() + kPatience;
  while (output_.find(text) == std::string::npos) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - std::chrono::steady_clock::now()).count();
    pollfd entry{pipe_, POLLIN, 0};
    if (left <= 0 || poll(&entry, 1, static_cast<int>(left)) <= 0) return false;
    char buffer[1024];
    const ssize_t count = read(pipe_, buffer, sizeof buffer);
    if (count <= 0) return false;
    output_.append(buffer, static_cast<std::size_t>(count));
  }
  return true;
}

void Background::send(int signal) const { ::kill(pid_, signal); }

int Background::wait() {
  if (ended_) return status_;
  const auto process = identify(pid_);
  if (process && !wait_for_end(*process, kPatience)) {
    ADD_FAILURE() << "process " << pid_ << " did not end";
    ::kill(pid_, SIGKILL);
  }
  int wait_status = 0;
  waitpid(pid_, &wait_status, 0);
  ended_ = true;
  status_ = exit_status_of(wait_status);
  return status_;
}

Lab::Lab(const std::string& lab_file_text) {
  static int count = 0;
  name_ = "test-" + std::to_string(getpid()) + "-" + std::to_string(++count);
  file_ = (fs::temp_directory_path() / (name_ + ".toml")).string();
  std::ofstream(file_) << lab_file_text;
}

Lab::~Lab() {
  if (fs::exists(directory())) {
    const auto ended = down();
    EXPECT_EQ(ended.status, 0) << ended.output;
  }
  fs::remove(file_);
}

std::string Lab::directory() const { return LabDirectory(name_).path(); }

std::vector<std::string> Lab::command(std::vector<std::string> verb) const {
  verb.insert(verb.begin(), {DIPC_PROGRAM, "lab", "--name", name_});
  return verb;
}

FinishedCommand Lab::run(std::vector<std::string> verb, const std::string& input) const {
  const auto done = run_command(command(std::move(verb)), input);
  if (!done) {
    ADD_FAILURE() << done.error().what;
    return {-1, ""};
  }
  return *done;
}

std::vector<std::string> Lab::exec_command(const std::string& host, const std::vector<std::string>& program,
                                           const std::vector<std::string>& options) const {
  std::vector<std::string> verb = {"exec", host};
  verb.insert(verb.end(), options.begin(), options.end());
  verb.push_back("--");
  verb.insert(verb.end(), program.begin(), program.end());
  return command(verb);
}

FinishedCommand Lab::exec(const std::string& host, const std::vector<std::string>& program,
                          const std::vector<std::string>& options) const {
  const auto done = run_command(exec_command(host, program, options));
  if (!done) {
    ADD_FAILURE() << done.error().what;
    return {-1, ""};
  }
  return *done;
}

std::vector<pid_t> Lab::processes() const {
  std::vector<pid_t> found;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    const std::string number = entry.path().filename().string();
    if (number.find_first_not_of("0123456789") != std::string::npos) continue;
    if (content((entry.path() / "cmdline").string()).find(name_) == std::string::npos) continue;
    const auto pid = static_cast<pid_t>(std::stol(number));
    if (identify(pid)) found.push_back(pid);
  }
  return found;
}

std::vector<std::string> Lab::kept_logs() const {
  std::vector<std::string> places;
  for (const auto& entry : fs::directory_iterator("/tmp")) {
    const std::string place = entry.path().string();
    if (place.starts_with("/tmp/dipc-lab-" + name_ + "-")) places.push_back(place);
  }
  return places;
}

std::string state_of_the_machine() {
  std::string state;
  // Names only: the counters behind them change by themselves.
  std::istringstream interfaces(content("/proc/net/dev"));
  for (std::string line; std::getline(interfaces, line);) state += line.substr(0, line.find(':')) + "\n";
  for (const char* path : {"/proc/self/mounts", "/proc/sys/kernel/hostname", "/etc/passwd", "/etc/group", "/etc/hosts",
                           "/proc/sys/kernel/msgmax", "/proc/sys/kernel/random/boot_id", "/proc/net/route"}) {
    state += content(path) + "\n";
  }
  return state;
}

}  // namespace dipc::lab_test
