#pragma once

// What this process, a test with all that it tests in it, takes of its machine.

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>

namespace dipc {

// One more than when nobody counts.
inline std::size_t open_descriptors() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

inline std::size_t resident_bytes() {
  std::size_t pages = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> pages >> resident;
  return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

}  // namespace dipc
