#pragma once

// Clusters for tests: brought up by the real `dipc`, taken down with their owner, also when a test fails.

#include <sys/types.h>

#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "cli/process.h"

namespace dipc::lab_test {

// Looks again and again for at most ten seconds.
template <typename Condition>
bool eventually(Condition condition) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}

// A command that runs beside the test; killed with its owner.
class Background {
 public:
  // Standard output and error go to one pipe.
  explicit Background(const std::vector<std::string>& arguments);
  Background(const Background&) = delete;
  Background& operator=(const Background&) = delete;
  ~Background();

  pid_t pid() const { return pid_; }
  // Reads until the output holds `text`; false at its end, or after 20 s.
  bool await_output(const std::string& text);
  void send(int signal) const;
  // Exit status as the shell counts, after at most 20 s (then it is killed, and a failure is noted).
  int wait();
  const std::string& output() const { return output_; }

 private:
  pid_t pid_ = -1;
  int pipe_ = -1;
  bool ended_ = false;
  int status_ = -1;
  std::string output_;
};

// A lab of its own name, so that several tests and other labs don't meet.
class Lab {
 public:
  explicit Lab(const std::string& lab_file_text);
  Lab(const Lab&) = delete;
  Lab& operator=(const Lab&) = delete;
  ~Lab();  // down, and the lab file removed

  const std::string& name() const { return name_; }
  const std::string& file() const { return file_; }
  std::string directory() const;  // on disk, while it is up

  std::vector<std::string> command(std::vector<std::string> verb) const;  // dipc lab --name NAME verb...
  FinishedCommand run(std::vector<std::string> verb, const std::string& input = "") const;
  FinishedCommand up() const { return run({"up", file_}); }
  FinishedCommand down() const { return run({"down"}); }
  FinishedCommand exec(const std::string& host, const std::vector<std::string>& program,
                       const std::vector<std::string>& options = {}) const;
  std::vector<std::string> exec_command(const std::string& host, const std::vector<std::string>& program,
                                        const std::vector<std::string>& options = {}) const;

  // Processes of this lab that are still there, by their command line.
  std::vector<pid_t> processes() const;
  // Folders with logs that were kept of it.
  std::vector<std::string> kept_logs() const;

 private:
  std::string name_;
  std::string file_;
};

// What the machine's own namespaces hold: network interfaces, mounts, System V objects, name, users.
std::string state_of_the_machine();

}  // namespace dipc::lab_test
