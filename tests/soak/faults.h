#pragma once

// What goes wrong in the lab during a round: connections cut, daemons frozen, killed and started again, from a seed.
// One fault at most at a host's daemon at a time, others beside it.

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "tests/cluster/cluster.h"
#include "tests/sim/random.h"

namespace dipc::soak {

class Faults {
 public:
  using Clock = std::chrono::steady_clock;
  // How often each kind is chosen, to each other.
  struct Weights {
    unsigned cuts = 35, resets = 25, stops = 20, kills = 20;
  };
  struct Options {
    std::vector<std::string> hosts;
    std::chrono::milliseconds peer_timeout;
    std::uint64_t seed = 0;
    unsigned long_percent = 25;  // of them last longer than peer_timeout
    Weights weights;
  };
  // `tell` gets a line for each fault. Throws std::runtime_error where the lab refuses one: a daemon that ended by
  // itself, say.
  Faults(const test::Cluster& cluster, Options options, std::function<void(const std::string&)> tell);

  // Daemons of these hosts are not killed from now on.
  void spare(std::set<std::string> hosts) { spared_ = std::move(hosts); }
  // Goes on making faults for so long, or until `stop` says so; returns with all of them ended.
  void run(std::chrono::milliseconds time, const std::function<bool()>& stop);
  const std::map<std::string, unsigned>& counts() const { return counts_; }  // by kind
  const std::map<std::string, unsigned>& kills() const { return kills_; }    // of daemons, by host

 private:
  struct Open {
    Clock::time_point until;
    std::set<std::string> daemons;               // who is not to be frozen or killed meanwhile
    std::vector<std::vector<std::string>> cure;  // of `dipc lab`
  };
  void begin_one();
  void end_due(bool all);
  void lab(const std::vector<std::string>& words);
  std::chrono::milliseconds duration();
  bool has_open_fault(const std::string& host) const;

  const test::Cluster& cluster_;
  const Options options_;
  const std::function<void(const std::string&)> tell_;
  sim::Random random_;
  std::set<std::string> spared_;
  std::vector<Open> open_;
  std::map<std::string, unsigned> counts_;
  std::map<std::string, unsigned> kills_;
};

}  // namespace dipc::soak
