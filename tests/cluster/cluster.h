#pragma once

// A lab cluster for tests: up in the constructor, down in the destructor, also when a test fails, or its process is
// ended. Programs on its hosts are children of the test with pipes to their standard streams. Needs root.

#include <sys/types.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace dipc::test {

// A child process of the test that runs a program on a host. Killed and reaped by the destructor.
class Program {
 public:
  Program(std::vector<std::string> command);
  ~Program();
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  void write_line(const std::string& line);
  void close_input();
  // The next line of its output, without the line break; nothing at its end or when `limit` is over.
  std::optional<std::string> read_line(std::chrono::milliseconds limit);
  bool has_output();  // a whole line waits, or the end
  // Reads the rest of its output and waits for it; 128+n if a signal ended it, -1 if `limit` passed (it is killed).
  int wait(std::chrono::milliseconds limit, std::string* output = nullptr);
  void signal(int number);
  pid_t pid() const { return pid_; }

 private:
  bool fill(std::chrono::milliseconds limit);
  pid_t pid_ = -1;
  int input_ = -1;
  int output_ = -1;
  std::string buffer_;
  bool at_end_ = false;
  std::optional<int> status_;
};

// What a puppet (tests/kernel/puppet.c) answers to a command, "RESULT ERRNO" and more; "(silent)" after 30 seconds.
std::string ask(Program& puppet, const std::string& command);
std::string first_word(const std::string& text);

class Cluster {
 public:
  // `hosts` is lab file text from the first [[host]] on. Fails the test (throws std::runtime_error) if it does not come
  // up; then the daemons' logs are in the message.
  Cluster(const std::string& name, const std::string& referee, const std::string& rest);
  ~Cluster();
  Cluster(const Cluster&) = delete;
  Cluster& operator=(const Cluster&) = delete;

  std::vector<std::string> exec_command(const std::string& host, const std::string& login,
                                        std::vector<std::string> program, bool preload = true) const;
  std::unique_ptr<Program> start(const std::string& host, const std::string& login, std::vector<std::string> program,
                                 bool preload = true) const;
  struct Ran {
    int status = 0;
    std::string output;
  };
  Ran run(const std::string& host, const std::string& login, std::vector<std::string> program,
          std::chrono::seconds limit = std::chrono::seconds(60)) const;
  // `dipc lab WORDS`, e.g. {"kill", "vax", "daemon"}.
  Ran lab(std::vector<std::string> words) const;
  std::string log_of(const std::string& host) const { return lab({"logs", host}).output; }
  const std::string& name() const { return name_; }  // of the cluster
  std::string folder() const;                        // where the lab keeps ca/ and hosts/HOST/ (cli/lab_directory.h)

 private:
  void take_down();

  std::string name_;
  std::string file_;
  std::unique_ptr<Program> guard_;
};

// Machines that hosts of a lab can be of. All of their ABIs differ.
struct Architecture {
  std::string arch;  // as in a lab file
  int long_bytes = 8;
  bool is_emulated = false;  // slow, and paged by signals alone
};
inline const Architecture kArchitectures[] = {
    {"native", sizeof(long), false}, {"i386", 4, false}, {"m68k", 4, true}, {"s390x", 8, true}};
const Architecture& architecture(const std::string& arch);

// Where the build for a machine put its programs. All but the native one may be absent: then tests skip, with what
// missing_build() says; it is empty if the build is there.
std::string program_of(const std::string& arch, const std::string& path_in_build);
std::string missing_build(const std::string& arch);

std::string native_program(const std::string& path_in_build);
std::string m68k_program(const std::string& path_in_build);
bool have_m68k();
bool am_root();

// The pid in our own namespace of the process whose command line has `token` as a whole word and whose pid in its own
// namespace is `inner`; 0 if there is none.
pid_t outer_pid(const std::string& token, pid_t inner);
// The system call that a sleeping process is in (proc(5), /proc/PID/syscall); -1 if it runs or is gone.
long sleeping_in(pid_t pid);

}  // namespace dipc::test
