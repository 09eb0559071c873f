#pragma once

// The programs of these tests and how to run them: this machine's, and those of the builds for other machines, under
// qemu where that must be.

#include <sys/types.h>

#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace dipc::test {

struct Machine {
  std::string name;
  std::vector<std::string> launcher;  // stands before a program on the command line
  std::string programs;               // folder of shim_subject, shim_test_daemon and the rest
  std::string shim;                   // libdipc.so of this machine
  std::size_t long_bytes = 0;
  bool is_status_wrong = false;  // qemu-s390x 7.2: what IPC_STAT says of mode and pids
  bool is_emulated() const { return !launcher.empty(); }
  // Empty if it can be used here, else why not.
  std::string missing() const;
};
const Machine& machine(const std::string& name);  // "native", "m68k", "s390x" or "i386"

using Environment = std::map<std::string, std::string>;

// A program of `machine` with pipes at its standard input and output (errors too). Killed by the destructor.
class Program {
 public:
  // `preload`: with this library. `environment`: on top of ours.
  Program(const Machine& machine, const std::string& name, const std::vector<std::string>& arguments,
          const Environment& environment = {}, const std::string& preload = {}, int descriptors_max = 1024);
  ~Program();
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  // The next line of output without its end; "" at the end of output or after `limit`.
  std::string read_line(std::chrono::seconds limit = std::chrono::seconds(30));
  void write(const std::string& text);
  void close_input();
  void kill();
  // Closes its input, takes the rest of the output, and waits for it. A program that does not end in `limit` is killed.
  struct Ending {
    std::string output;
    int status = 0;  // exit status; 128 + signal; -1 if it had to be killed
  };
  Ending finish(std::chrono::seconds limit = std::chrono::seconds(100));

 private:
  bool read_more(std::chrono::steady_clock::time_point deadline);
  void reap();

  pid_t pid_ = -1;
  int input_ = -1;
  int output_ = -1;
  std::string read_;
  int status_ = 0;
};

// A folder of our own for sockets, removed by the destructor.
class Folder {
 public:
  Folder();
  ~Folder();
  std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

// A running shim_test_daemon that listens at `socket`.
class TestDaemon {
 public:
  TestDaemon(const Machine& machine, std::string socket, std::vector<std::string> options = {});
  void kill() { program_->kill(); }
  // Waits until it has got a request that it calls `name` ("receive"...); it must have been started with --trace.
  bool wait_for_request(const std::string& name);

 private:
  std::unique_ptr<Program> program_;
};

}  // namespace dipc::test
