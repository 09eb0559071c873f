#pragma once

// One round of a soak: the crews of the load work on all hosts while faults happen; then everything is made whole, all
// come to their end, and the books are balanced.

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "tests/cluster/cluster.h"
#include "tests/soak/faults.h"
#include "tests/soak/ledger.h"

namespace dipc::soak {

struct Host {
  std::string name;
  bool is_m68k = false;
};

// The lasting objects and who owns them.
struct Places {
  static constexpr int kOrderedNative = 0x5101, kRoughNative = 0x5102, kOrderedM68k = 0x5201, kRoughM68k = 0x5202;
  static constexpr int kSetNative = 0x6101, kSetM68k = 0x6201;
  static constexpr int kPassing = 0x7000;  // and the next few: made and removed all the time
  static constexpr int kPassingCount = 8;
  static const std::set<int>& ordered();  // queues
  static const std::set<int>& queues();
  static const std::set<int>& sets();
};

class Rounds {
 public:
  struct Options {
    std::vector<Host> hosts;
    std::string folder;                   // for what the processes write; everybody may make files there
    std::chrono::milliseconds load_time;  // whole seconds count
    std::chrono::milliseconds peer_timeout;
    std::uint64_t seed = 0;
    // Roles of crew.c, on each host. Listeners are the receivers of the ordered queues.
    std::vector<std::string> workers = mixed_workers();
    std::vector<std::string> listeners = mixed_listeners();
    // Whose owner runs under qemu: it receives into memory of its own before it copies to ours (daemon/kernel/slots.h),
    // so each time its daemon is killed a message may be missing.
    std::set<int> emulated = {Places::kOrderedM68k, Places::kRoughM68k};
    std::chrono::milliseconds idle_time{0};  // at the end of a round, before anything is looked at
  };
  static std::vector<std::string> mixed_workers();  // of every kind, for all lasting objects
  static std::vector<std::string> mixed_listeners();
  struct Outcome {
    std::vector<std::string> violations;
    Ledger::Figures figures;
    // (host of the caller, key of a lasting object) -> calls that came to something.
    std::map<std::pair<std::string, int>, std::uint64_t> successes;
  };
  // `stop` may turn true at any time; then a round ends early and its outcome means nothing.
  Rounds(const test::Cluster& cluster, Faults& faults, Options options, std::function<bool()> stop);

  void make_objects();
  Outcome run(unsigned number);
  // What the processes of the last round wrote down, and letters that were looked at, go.
  void clean_up();

 private:
  using Crew = std::unique_ptr<test::Program>;
  Crew start_crew(const Host& host, unsigned first_process, const std::vector<std::string>& roles);
  bool await_all(std::vector<Crew>& crews, std::chrono::seconds limit, const std::function<void()>& meanwhile);
  bool end_receivers(std::vector<Crew>& receivers);
  // Until it succeeds or its time is over.
  test::Cluster::Ran task(const Host& host, const std::vector<std::string>& words, std::chrono::seconds limit) const;
  void wait(std::chrono::milliseconds time) const;
  void await_quiet(std::vector<std::string>& violations) const;
  void drain(std::vector<std::string>& violations);
  void take_letters(std::vector<std::string>& violations);
  Ledger read_logs(unsigned emulated_kills) const;
  void check_semaphores(const Ledger& ledger, std::vector<std::string>& violations);
  void check_passing(std::vector<std::string>& violations) const;
  void tell_where_they_hang() const;
  std::string program(const Host& host) const;

  const test::Cluster& cluster_;
  Faults& faults_;
  const Options options_;
  const std::function<bool()> stop_;
  unsigned next_process_ = 1;
  std::map<std::pair<std::string, std::string>, MessageName> letters_;  // (host, file): of this round
  std::map<unsigned, std::string> crews_;     // first number of a crew's processes -> its host
  std::map<std::pair<int, int>, long> book_;  // (key, semaphore) -> value when it was last looked at
};

}  // namespace dipc::soak
