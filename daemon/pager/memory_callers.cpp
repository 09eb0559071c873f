#include "daemon/pager/memory_callers.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>
#include <system_error>

namespace dipc {
namespace {

constexpr int kDescriptorArguments = 3;  // write(2) has it first, copy_file_range(2) third

// The entries of a /proc folder that are numbers; it may vanish meanwhile.
std::vector<std::string> numbers_in(const std::string& folder) {
  std::vector<std::string> found;
  std::error_code error;
  for (std::filesystem::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (name.find_first_not_of("0123456789") == std::string::npos) found.push_back(name);
  }
  return found;
}

// "running", "-1 ..." outside of a system call, or its number and arguments.
bool calls_on(const std::string& process, const std::string& thread, const struct stat& memory) {
  std::ifstream file(process + "/task/" + thread + "/syscall");
  std::string word;
  if (!(file >> word) || word == "running" || word == "-1") return false;
  for (int i = 0; i < kDescriptorArguments && file >> word; ++i) {
    const std::uint64_t argument = std::stoull(word, nullptr, 16);
    if (argument > std::numeric_limits<int>::max()) continue;
    struct stat other {};
    if (stat((process + "/fd/" + std::to_string(argument)).c_str(), &other) != 0) continue;
    if (other.st_dev == memory.st_dev && other.st_ino == memory.st_ino) return true;
  }
  return false;
}

}  // namespace

std::vector<pid_t> callers_on(int memory) {
  std::vector<pid_t> found;
  struct stat status {};
  if (fstat(memory, &status) != 0) return found;
  for (const std::string& pid : numbers_in("/proc")) {
    if (pid == std::to_string(getpid())) continue;
    const std::string process = "/proc/" + pid;
    for (const std::string& thread : numbers_in(process + "/task")) {
      if (!calls_on(process, thread, status)) continue;
      found.push_back(static_cast<pid_t>(std::stol(pid)));
      break;
    }
  }
  return found;
}

}  // namespace dipc
