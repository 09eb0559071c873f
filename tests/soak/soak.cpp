// soak MINUTES SEED REPORT-FOLDER: a cluster of native and m68k hosts under mixed load and random faults, round after
// round. What must hold is checked after each round: ledger.h (messages, semaphores), round.h (objects), footprint.h
// (what daemons and keepers take). Exit status 0: all held; 1: something did not, or it was interrupted. Needs root.
//
// The run has two halves. In each the daemons of two hosts are never killed, so that they live long enough to show what
// grows; in the other half they are.

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "tests/soak/footprint.h"
#include "tests/soak/round.h"

namespace dipc::soak {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using Clock = Faults::Clock;

constexpr auto kPeerTimeout = 5s;  // a host under qemu has to manage a TLS handshake within half of it
constexpr auto kLoadTime = 45s;    // of a round; a quarter of the whole time if that is less
constexpr auto kIdleTime = 12s;    // waiter threads end after ten seconds without work
// Beyond noise. Under qemu the emulator's own memory counts: it keeps what it has translated.
constexpr Footprint kNativeAllowed{1024, 1, 2};
constexpr Footprint kM68kAllowed{8192, 1, 2};

volatile sig_atomic_t interrupted = 0;

const std::vector<Host> kHosts = {{"ref", false}, {"vax", false}, {"sun", false}, {"amiga", true}};

constexpr const char* kLab = R"(
[timing]
peer_timeout = "5s"
keepalive = "500ms"
claim_timeout = "2s"
[limits]
dead_letters = 100000
[[host]]
name = "ref"
logins = { alice = 1001 }
[[host]]
name = "vax"
logins = { alice = 1001 }
msgmnb = 65536
[[host]]
name = "sun"
logins = { alice = 1001 }
[[host]]
name = "amiga"
arch = "m68k"
logins = { alice = 1001 }
[[keys]]
range = ["0x5100-0x51ff", "0x6100-0x61ff"]
home = "vax"
[[keys]]
range = ["0x5200-0x52ff", "0x6200-0x62ff"]
home = "amiga"
[[keys]]
range = "0x7000-0x70ff"
)";

// A folder in which the processes of every login may make files; goes with the run.
class PublicFolder {
 public:
  PublicFolder() {
    char name[] = "/tmp/dipc-soak-XXXXXX";
    if (::mkdtemp(name) == nullptr) throw std::runtime_error("mkdtemp");
    ::chmod(name, 01777);
    path_ = name;
  }
  ~PublicFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

class Soak {
 public:
  Soak(std::chrono::minutes time, std::uint64_t seed, std::string report)
      : time_(time),
        report_(std::move(report)),
        start_(Clock::now()),
        cluster_("soak", "ref", kLab),
        faults_(cluster_, {.hosts = host_names(), .peer_timeout = kPeerTimeout, .seed = seed},
                [this](const std::string& line) { say(line); }),
        rounds_(cluster_, faults_,
                {.hosts = kHosts,
                 .folder = folder_.path(),
                 .load_time = load_time(),
                 .peer_timeout = kPeerTimeout,
                 .seed = seed,
                 .idle_time = kIdleTime},
                [] { return interrupted != 0; }) {}

  bool run() {
    rounds_.make_objects();
    look();
    bool is_well = true;
    for (round_ = 1; is_well && interrupted == 0 && Clock::now() - start_ < time_; ++round_) {
      faults_.spare(Clock::now() - start_ < time_ / 2 ? std::set<std::string>{"vax", "sun"}
                                                      : std::set<std::string>{"amiga", "ref"});
      const auto outcome = rounds_.run(round_);
      if (interrupted != 0) break;
      look();
      is_well = judge(outcome);
      add(outcome);
      if (!is_well) keep_evidence();
      rounds_.clean_up();
    }
    // Also of a run that was cut short: of what it saw.
    if (is_well) is_well = judge_growth();
    if (is_well) is_well = judge_coverage();
    summarize();
    say(!is_well ? "NOT all held" : interrupted != 0 ? "interrupted; so far all held" : "all held");
    return is_well && interrupted == 0;
  }

 private:
  static std::vector<std::string> host_names() {
    std::vector<std::string> names;
    for (const Host& host : kHosts) names.push_back(host.name);
    return names;
  }
  std::chrono::milliseconds load_time() const {
    return std::min<std::chrono::milliseconds>(kLoadTime,
                                               std::chrono::duration_cast<std::chrono::milliseconds>(time_) / 4);
  }
  void say(const std::string& line) const {
    const auto since = std::chrono::duration_cast<std::chrono::seconds>(Clock::now() - start_).count();
    std::printf("[%02lld:%02lld] round %u: %s\n", static_cast<long long>(since / 60),
                static_cast<long long>(since % 60), round_, line.c_str());
    std::fflush(stdout);
  }

  // At a quiet point.
  void look() {
    std::string line;
    for (const Host& host : kHosts) {
      const auto processes = processes_of(cluster_.folder() + "/hosts/" + host.name);
      for (const auto& [part, pid] : {std::pair("dipcd", processes.daemon), std::pair("keeper", processes.keeper)}) {
        const auto footprint = pid == 0 ? std::nullopt : footprint_of(pid);
        if (!footprint) continue;
        const auto name = host.name + " " + part + " " + std::to_string(pid);
        series_.try_emplace(name, host.is_m68k ? kM68kAllowed : kNativeAllowed).first->second.add(*footprint);
        line += (line.empty() ? "" : "; ") + host.name + " " + part + " " + std::to_string(footprint->memory_kib) +
                " KiB " + std::to_string(footprint->threads) + " threads " + std::to_string(footprint->descriptors) +
                " descriptors";
      }
    }
    say(line);
  }

  bool judge(const Rounds::Outcome& outcome) const {
    const auto& figures = outcome.figures;
    std::string line =
        std::to_string(figures.sent) + " messages sent, " + std::to_string(figures.received) + " received, " +
        std::to_string(figures.drained) + " left, " + std::to_string(figures.dead_letters) + " dead letters (" +
        std::to_string(figures.letters_received) + " of them received), " + std::to_string(figures.in_doubt) +
        " in doubt, " + std::to_string(figures.lost_with_receivers) + " lost with killed receivers; " +
        std::to_string(figures.undone_operations) + " operations under SEM_UNDO, " + std::to_string(figures.booked) +
        " without; " + std::to_string(figures.churned) + " calls on passing objects; " +
        std::to_string(figures.killed) + " processes killed; errors:";
    for (const auto& [name, count] : figures.errors) line += " " + name + " " + std::to_string(count);
    say(line);
    std::map<std::string, unsigned> times;
    for (const std::string& violation : outcome.violations) ++times[violation];
    for (const auto& [violation, count] : times) {
      say("VIOLATION: " + violation + (count > 1 ? " (" + std::to_string(count) + " times)" : ""));
    }
    bool is_well = outcome.violations.empty();
    // A load that does nothing proves nothing.
    if (figures.sent < 100 || figures.received < 100 || figures.undone_operations < 50 || figures.booked < 50) {
      say("VIOLATION: too little was done");
      is_well = false;
    }
    return is_well;
  }

  bool judge_growth() {
    bool is_well = true;
    bool could_judge = false;
    for (const auto& [name, series] : series_) {
      if (!series.can_be_judged()) continue;
      could_judge = true;
      const std::string growth = series.growth();
      say(name + ", " + std::to_string(series.size()) + " looks: " + series.summary());
      if (growth.empty()) continue;
      say("VIOLATION: " + name + " grows: " + growth);
      is_well = false;
    }
    if (!could_judge) say("too short a run to say whether anything grows");
    return is_well;
  }

  // Every host has used every lasting object.
  bool judge_coverage() const {
    bool is_well = true;
    for (const Host& host : kHosts) {
      std::string line;
      for (const auto* keys : {&Places::queues(), &Places::sets()}) {
        for (const int key : *keys) {
          const auto found = successes_.find({host.name, key});
          const std::uint64_t count = found == successes_.end() ? 0 : found->second;
          char text[64];
          std::snprintf(text, sizeof text, " %#x %llu", static_cast<unsigned>(key),
                        static_cast<unsigned long long>(count));
          line += text;
          is_well = is_well && count > 0;
        }
      }
      say("calls of " + host.name + " by key:" + line);
    }
    if (!is_well) say("VIOLATION: not every host could use every object");
    return is_well;
  }

  void add(const Rounds::Outcome& outcome) {
    const Ledger::Figures& figures = outcome.figures;
    total_.sent += figures.sent;
    total_.received += figures.received + figures.drained;
    total_.dead_letters += figures.dead_letters;
    total_.in_doubt += figures.in_doubt;
    total_.lost_with_receivers += figures.lost_with_receivers;
    total_.killed += figures.killed;
    total_.undone_operations += figures.undone_operations;
    total_.booked += figures.booked;
    total_.churned += figures.churned;
    for (const auto& [name, count] : figures.errors) total_.errors[name] += count;
    for (const auto& [who, count] : outcome.successes) successes_[who] += count;
  }

  void summarize() const {
    std::string line = "faults:";
    for (const auto& [kind, count] : faults_.counts()) line += " " + std::to_string(count) + " " + kind;
    say(line);
    line = std::to_string(total_.sent) + " messages sent, " + std::to_string(total_.received) + " received, " +
           std::to_string(total_.dead_letters) + " dead letters, " + std::to_string(total_.in_doubt) + " in doubt, " +
           std::to_string(total_.lost_with_receivers) + " lost with killed receivers; " +
           std::to_string(total_.undone_operations) + " operations under SEM_UNDO, " + std::to_string(total_.booked) +
           " without; " + std::to_string(total_.churned) + " calls on passing objects; " +
           std::to_string(total_.killed) + " processes killed; errors:";
    for (const auto& [name, count] : total_.errors) line += " " + name + " " + std::to_string(count);
    say("in all " + line);
  }

  void keep_evidence() const {
    std::error_code error;
    fs::create_directories(report_, error);
    fs::copy(folder_.path(), report_ + "/processes", fs::copy_options::recursive | fs::copy_options::overwrite_existing,
             error);
    for (const Host& host : kHosts) std::ofstream(report_ + "/" + host.name + ".log") << cluster_.log_of(host.name);
    say("what the processes wrote and the daemons logged is in " + report_);
  }

  const std::chrono::minutes time_;
  const std::string report_;
  const Clock::time_point start_;
  unsigned round_ = 0;
  const PublicFolder folder_;
  const test::Cluster cluster_;
  Faults faults_;
  Rounds rounds_;
  std::map<std::string, FootprintSeries> series_;
  Ledger::Figures total_;
  std::map<std::pair<std::string, int>, std::uint64_t> successes_;
};

}  // namespace
}  // namespace dipc::soak

int main(int count, char** words) {
  if (count != 4 || std::atoi(words[1]) <= 0) {
    std::fprintf(stderr, "soak MINUTES SEED REPORT-FOLDER\n");
    return 2;
  }
  if (!dipc::test::am_root() || !dipc::test::have_m68k()) {
    std::fprintf(stderr, "soak: it needs root, for the lab's namespaces, and the m68k build: make soak\n");
    return 1;
  }
  struct sigaction action {};
  action.sa_handler = [](int) { dipc::soak::interrupted = 1; };
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaction(signal, &action, nullptr);
  const std::uint64_t seed = std::strtoull(words[2], nullptr, 0);
  std::printf("soak for %s minutes; the same faults again: make soak MINUTES=%s SEED=%llu\n", words[1], words[1],
              static_cast<unsigned long long>(seed));
  try {
    return dipc::soak::Soak(std::chrono::minutes(std::atoi(words[1])), seed, words[3]).run() ? 0 : 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "soak: %s\n", error.what());
    return 1;
  }
}
