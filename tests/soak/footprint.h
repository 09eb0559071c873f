#pragma once

// What a daemon or a keeper takes of its machine, looked at when all is quiet, and whether that grows.

#include <sys/types.h>

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace dipc::soak {

struct Footprint {
  long memory_kib = 0;  // anonymous memory that is resident, proc(5): RssAnon
  long threads = 0;
  long descriptors = 0;
};

// Nothing if the process is gone.
std::optional<Footprint> footprint_of(pid_t pid);

// One process over the run. It grows if, of one of the three, the least of the last third of the looks is more than the
// greatest of the first third, and the middle of the last third more than that of the first by more than is allowed: a
// peak is not growth, what never comes back down is. The first looks, while caches fill, don't count.
class FootprintSeries {
 public:
  static constexpr std::size_t kWarmUp = 2;  // looks
  static constexpr std::size_t kEnough = 6;  // after these
  explicit FootprintSeries(Footprint allowed) : allowed_(allowed) {}

  void add(const Footprint& look) { looks_.push_back(look); }
  std::size_t size() const { return looks_.size(); }
  bool can_be_judged() const { return looks_.size() >= kWarmUp + kEnough; }
  // What grows, as a sentence; empty if nothing does, or if there are too few looks to tell.
  std::string growth() const;
  // "memory 3120 -> 3204 KiB, threads 3 -> 3, descriptors 17 -> 17": middle of the first and of the last third.
  std::string summary() const;

 private:
  Footprint allowed_;
  std::vector<Footprint> looks_;
};

// The daemon and the keeper of a host of the lab.
struct HostProcesses {
  pid_t daemon = 0;  // 0: there is none
  pid_t keeper = 0;
};
// `host_folder` is the host's in the lab's folder (cli/lab_directory.h).
HostProcesses processes_of(const std::string& host_folder);

}  // namespace dipc::soak
