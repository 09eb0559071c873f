#include "tests/cluster/cluster.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <utility>

namespace dipc::test {

namespace {

using Clock = std::chrono::steady_clock;

std::string contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace

// ---- programs

Program::Program(std::vector<std::string> command) {
  int to_child[2];
  int from_child[2];
  if (::pipe2(to_child, O_CLOEXEC) != 0 || ::pipe2(from_child, O_CLOEXEC) != 0) throw std::runtime_error("pipe");
  std::vector<char*> arguments;
  for (std::string& word : command) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  pid_ = ::fork();
  if (pid_ == 0) {
    ::dup2(to_child[0], 0);
    ::dup2(from_child[1], 1);
    ::execvp(arguments[0], arguments.data());
    ::_exit(127);
  }
  ::close(to_child[0]);
  ::close(from_child[1]);
  input_ = to_child[1];
  output_ = from_child[0];
  if (pid_ < 0) throw std::runtime_error("fork");
}

Program::~Program() {
  close_input();
  if (!status_) {
    ::kill(pid_, SIGKILL);
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
  }
  ::close(output_);
}

void Program::write_line(const std::string& line) {
  const std::string whole = line + "\n";
  std::size_t done = 0;
  while (done < whole.size()) {
    const ssize_t n = ::write(input_, whole.data() + done, whole.size() - done);
    if (n <= 0) throw std::runtime_error("the program does not read its input");
    done += static_cast<std::size_t>(n);
  }
}

void Program::close_input() {
  if (input_ >= 0) ::close(input_);
  input_ = -1;
}

bool Program::fill(std::chrono::milliseconds limit) {
  if (at_end_) return false;
  pollfd poll{output_, POLLIN, 0};
  if (::poll(&poll, 1, static_cast<int>(limit.count())) <= 0) return false;
  char bytes[65536];
  const ssize_t n = ::read(output_, bytes, sizeof(bytes));
  if (n <= 0) {
    at_end_ = true;
    return false;
  }
  buffer_.append(bytes, static_cast<std::size_t>(n));
  return true;
}

std::optional<std::string> Program::read_line(std::chrono::milliseconds limit) {
  const auto until = Clock::now() + limit;
  for (;;) {
    const std::size_t end = buffer_.find('\n');
    if (end != std::string::npos) {
      std::string line = buffer_.substr(0, end);
      buffer_.erase(0, end + 1);
      return line;
    }
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now());
    if (at_end_ || left.count() < 0) return std::nullopt;
    fill(left);
  }
}

bool Program::has_output() {
  while (fill(std::chrono::milliseconds(0))) {
  }
  return at_end_ || buffer_.find('\n') != std::string::npos;
}

int Program::wait(std::chrono::milliseconds limit, std::string* output) {
  const auto until = Clock::now() + limit;
  while (!at_end_ && Clock::now() < until) {
    fill(std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now()) + std::chrono::milliseconds(1));
  }
  if (output != nullptr) *output = std::exchange(buffer_, {});
  if (!at_end_) {
    ::kill(pid_, SIGKILL);
  }
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  status_ = !at_end_ ? -1 : WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  return *status_;
}

void Program::signal(int number) { ::kill(pid_, number); }

std::string ask(Program& puppet, const std::string& command) {
  puppet.write_line(command);
  return puppet.read_line(std::chrono::seconds(30)).value_or("(silent)");
}

std::string first_word(const std::string& text) { return text.substr(0, text.find(' ')); }

// ---- the cluster

namespace {

// Test programs run as ordinary logins, who may not be able to enter the folder of the clone: they run from a copy in a
// folder that everybody can, which goes with the test.
class PublicCopies {
 public:
  ~PublicCopies() {
    std::error_code ignored;
    if (!folder_.empty()) std::filesystem::remove_all(folder_, ignored);
  }
  std::string of(const std::string& program, const std::string& name) {
    if (folder_.empty()) {
      char folder[] = "/tmp/dipc-programs-XXXXXX";
      if (::mkdtemp(folder) == nullptr) throw std::runtime_error("mkdtemp");
      ::chmod(folder, 0755);
      folder_ = folder;
    }
    const std::string copy = folder_ + "/" + name;
    std::filesystem::copy_file(program, copy, std::filesystem::copy_options::skip_existing);
    return copy;
  }

 private:
  std::string folder_;
};

std::string program_in(const std::string& build, const std::string& machine, const std::string& path) {
  static PublicCopies copies;
  const std::string program = build + "/" + path;
  if (!path.starts_with("tests/")) return program;
  return copies.of(program, machine + "-" + std::filesystem::path(path).filename().string());
}

}  // namespace

const Architecture& architecture(const std::string& arch) {
  const auto* const found = std::find_if(std::begin(kArchitectures), std::end(kArchitectures),
                                         [&](const Architecture& one) { return one.arch == arch; });
  if (found == std::end(kArchitectures)) throw std::runtime_error("no architecture " + arch);
  return *found;
}

std::string program_of(const std::string& arch, const std::string& path) {
  return program_in(arch == "native" ? DIPC_NATIVE_BUILD : DIPC_BUILDS "/" + arch, arch, path);
}

std::string missing_build(const std::string& arch) {
  if (::access(program_of(arch, "daemon/dipcd").c_str(), X_OK) == 0) return "";
  return "the " + arch + " build is not there: make " + arch;
}

std::string native_program(const std::string& path) { return program_of("native", path); }
std::string m68k_program(const std::string& path) { return program_of("m68k", path); }
bool have_m68k() { return missing_build("m68k").empty(); }
bool am_root() { return ::geteuid() == 0; }

Cluster::Cluster(const std::string& name, const std::string& referee, const std::string& rest)
    : name_(name + "-" + std::to_string(::getpid())) {
  ::signal(SIGPIPE, SIG_IGN);
  char path[] = "/tmp/dipc-test-XXXXXX";
  const int fd = ::mkstemp(path);
  if (fd < 0) throw std::runtime_error("mkstemp");
  ::close(fd);
  file_ = path;
  std::ofstream(file_) << "cluster = \"" << name_ << "\"\nreferee = \"" << referee << "\"\n" << rest;
  // Reads until the test has ended; if that was before it had cleaned up (abort, SIGKILL), cleans up.
  guard_ = std::make_unique<Program>(std::vector<std::string>{
      "sh", "-c", "trap '' INT TERM HUP; read -r _; \"$0\" lab --name \"$1\" down; rm -f \"$2\"",
      native_program("cli/dipc"), name_, file_});
  const Ran up = lab({"up", file_});
  if (up.status != 0) {
    take_down();
    throw std::runtime_error("the lab does not come up: " + up.output);
  }
}

Cluster::~Cluster() { take_down(); }

void Cluster::take_down() {
  lab({"down"});
  ::unlink(file_.c_str());
  guard_->signal(SIGKILL);
}

std::vector<std::string> Cluster::exec_command(const std::string& host, const std::string& login,
                                               std::vector<std::string> program, bool preload) const {
  std::vector<std::string> command = {native_program("cli/dipc"), "lab", "--name", name_, "exec", host, "--as", login};
  if (!preload) command.push_back("--no-preload");
  command.push_back("--");
  command.insert(command.end(), program.begin(), program.end());
  return command;
}

std::unique_ptr<Program> Cluster::start(const std::string& host, const std::string& login,
                                        std::vector<std::string> program, bool preload) const {
  return std::make_unique<Program>(exec_command(host, login, std::move(program), preload));
}

Cluster::Ran Cluster::run(const std::string& host, const std::string& login, std::vector<std::string> program,
                          std::chrono::seconds limit) const {
  const auto running = start(host, login, std::move(program));
  running->close_input();
  Ran ran;
  ran.status = running->wait(limit, &ran.output);
  return ran;
}

Cluster::Ran Cluster::lab(std::vector<std::string> words) const {
  std::vector<std::string> command = {native_program("cli/dipc"), "lab"};
  if (words[0] != "up") command.insert(command.end(), {"--name", name_});
  command.insert(command.end(), words.begin(), words.end());
  Program running(command);
  running.close_input();
  Ran ran;
  ran.status = running.wait(std::chrono::seconds(120), &ran.output);
  return ran;
}

std::string Cluster::folder() const { return "/run/dipc-lab/" + name_; }

// ---- /proc

pid_t outer_pid(const std::string& token, pid_t inner) {
  DIR* proc = ::opendir("/proc");
  if (proc == nullptr) return 0;
  pid_t found = 0;
  while (const dirent* entry = ::readdir(proc)) {
    const pid_t pid = std::atoi(entry->d_name);
    if (pid <= 0) continue;
    const std::string folder = "/proc/" + std::string(entry->d_name);
    const std::string arguments = contents(folder + "/cmdline");
    if (arguments.find(token + '\0') == std::string::npos) continue;
    const std::string status = contents(folder + "/status");
    const std::size_t line = status.find("NSpid:");
    if (line == std::string::npos) continue;
    std::istringstream numbers(status.substr(line + 6, status.find('\n', line) - line - 6));
    pid_t last = 0;
    for (pid_t one = 0; numbers >> one;) last = one;
    if (last == inner) found = pid;
  }
  ::closedir(proc);
  return found;
}

long sleeping_in(pid_t pid) {
  const std::string text = contents("/proc/" + std::to_string(pid) + "/syscall");
  if (text.empty() || text[0] < '0' || text[0] > '9') return -1;
  return std::atol(text.c_str());
}

}  // namespace dipc::test
