// Nothing is lost and nothing comes twice, whatever happens to connections, daemons and programs: many messages and
// many semaphore operations, counted to the last one.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "tests/cluster/cluster.h"
#include "tests/soak/round.h"

namespace dipc::test {
namespace {

using namespace std::chrono_literals;
using soak::Faults;
using soak::Rounds;
using testing::IsEmpty;

// Ends every connection of vax's daemon again and again (ss -K, SOCK_DESTROY of sock_diag(7)).
class Cutter {
 public:
  Cutter(const Cluster& cluster, const std::string& every_s)
      : program_(cluster.start("vax", "root",
                               {"sh", "-c",
                                "while sleep " + every_s +
                                    "; do"
                                    "  ss -K -Htn '( sport = :7310 or dport = :7310 )' | grep -q . && echo cut;"
                                    "done"})) {}
  ~Cutter() { program_->signal(SIGTERM); }
  // That really cut something, so far.
  int cuts() {
    while (program_->has_output() && program_->read_line(0ms)) ++cuts_;
    return cuts_;
  }

 private:
  std::unique_ptr<Program> program_;
  int cuts_ = 0;
};

// Architecture of the owner.
class NothingLost : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (!am_root()) GTEST_SKIP() << "needs root: a lab has namespaces";
    if (GetParam() == "m68k" && !have_m68k()) GTEST_SKIP() << "the m68k build is not there: make m68k";
  }
  bool is_m68k() const { return GetParam() == "m68k"; }
  std::string load(const std::string& host) const {
    return host == "vax" && is_m68k() ? m68k_program("tests/soak/load") : native_program("tests/soak/load");
  }
  // Hosts vax, which owns everything, and three native ones.
  std::string hosts(const std::string& peer_timeout) const {
    std::string text = "[timing]\npeer_timeout = \"" + peer_timeout + "\"\nkeepalive = \"500ms\"\n";
    for (const std::string& host : kHosts) {
      text += "[[host]]\nname = \"" + host + "\"\nlogins = { alice = 1001 }\n";
      if (host == "vax") text += "arch = \"" + GetParam() + "\"\n";
    }
    return text + "[[keys]]\nrange = \"all\"\nhome = \"vax\"\n";
  }
  static inline const std::vector<std::string> kHosts = {"vax", "sun", "ref", "mars"};
};

TEST_P(NothingLost, EachMessageOfFourHostsComesOnceAndInOrderThoughConnectionsAreCutAllTheTime) {
  // However long a busy machine takes to connect again, no host is given up.
  const Cluster cluster("count", "ref", hosts("60s"));
  const unsigned each = is_m68k() ? 1000 : 25000;
  const auto all = std::to_string(each * kHosts.size());
  const std::string key = "0x5101";
  ASSERT_EQ(cluster.run("vax", "alice", {load("vax"), "make", key}).status, 0);
  // Under qemu one TLS handshake takes longer than 50 ms.
  Cutter cutter(cluster, is_m68k() ? "1" : "0.05");
  // A fast machine has all the messages through before the connections were cut often enough: then once more.
  for (int round = 0; cutter.cuts() < (is_m68k() ? 2 : 20); ++round) {
    ASSERT_LT(round, 20) << "the connections are not cut";
    const auto receiver = cluster.start("sun", "alice", {load("sun"), "receive", key, all});
    std::vector<std::unique_ptr<Program>> senders;
    for (const std::string& host : kHosts) {
      const auto self = std::to_string(senders.size());
      senders.push_back(cluster.start(host, "alice", {load(host), "send", key, self, std::to_string(each)}));
    }
    std::string said;
    ASSERT_EQ(receiver->wait(200s, &said), 0) << said;
    for (const auto& sender : senders) EXPECT_EQ(sender->wait(10s, &said), 0) << said;
  }
}

class Restarted : public NothingLost {
 protected:
  void SetUp() override {
    NothingLost::SetUp();
    if (IsSkipped()) return;
    std::string name = "/tmp/dipc-count-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    ::chmod(name.c_str(), 01777);
    folder_ = name;
    cluster_ = std::make_unique<Cluster>("restarted", "ref", hosts("4s"));
  }
  void TearDown() override {
    std::error_code ignored;
    if (!folder_.empty()) std::filesystem::remove_all(folder_, ignored);
  }
  // One round of the soak with these roles and faults.
  Rounds::Outcome round(const std::vector<std::string>& workers, const std::vector<std::string>& listeners,
                        Faults::Weights weights) {
    std::vector<soak::Host> hosts;
    for (const std::string& host : kHosts) hosts.push_back({host, host == "vax" && is_m68k()});
    Faults faults(*cluster_, {.hosts = kHosts, .peer_timeout = 4s, .seed = 1, .long_percent = 10, .weights = weights},
                  [this](const std::string& fault) { faults_ += fault + "\n"; });
    Rounds rounds(*cluster_, faults,
                  {.hosts = hosts,
                   .folder = folder_,
                   .load_time = 8s,
                   .peer_timeout = 4s,
                   .seed = 1,
                   .workers = workers,
                   .listeners = listeners,
                   .emulated = is_m68k() ? soak::Places::queues() : std::set<int>()},
                  [] { return false; });
    rounds.make_objects();
    return rounds.run(1);
  }

  std::string folder_;
  std::string faults_;
  std::unique_ptr<Cluster> cluster_;
};

TEST_P(Restarted, WhatIsMissingOrInDoubtIsADeadLetterOrAnErrorThatItsCallerGot) {
  const auto outcome = round({"sender:0x5101:1", "mortal-sender:0x5102:1", "mortal-receiver:0x5102:1"},
                             {"receiver:0x5101:1"}, {.cuts = 0, .resets = 20, .stops = 0, .kills = 80});
  EXPECT_THAT(outcome.violations, IsEmpty()) << faults_;
  EXPECT_GT(outcome.figures.received, 1000u);
  EXPECT_TRUE(outcome.figures.errors.contains("ECONNRESET")) << "no call met a restart: " << faults_;
  EXPECT_GT(outcome.figures.killed, 20u);
}

TEST_P(Restarted, AnAccountKeptWithSemUndoByKilledProcessesBalances) {
  const auto outcome =
      round({"account:0x6101:6", "book:0x6101:1"}, {}, {.cuts = 20, .resets = 30, .stops = 20, .kills = 30});
  EXPECT_THAT(outcome.violations, IsEmpty()) << faults_;
  EXPECT_GT(outcome.figures.undone_operations, 500u);
  EXPECT_GT(outcome.figures.killed, 50u);
}

INSTANTIATE_TEST_SUITE_P(Owner, NothingLost, testing::Values("native", "m68k"),
                         [](const auto& instance) { return instance.param; });
INSTANTIATE_TEST_SUITE_P(Owner, Restarted, testing::Values("native", "m68k"),
                         [](const auto& instance) { return instance.param; });

}  // namespace
}  // namespace dipc::test
