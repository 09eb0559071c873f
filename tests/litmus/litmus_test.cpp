// Strict consistency between hosts: litmus tests, all of them at once, for a minute; or for as many iterations each as
// DIPC_LITMUS_ITERATIONS says, as `make soak` has it. Then the outcomes are printed.

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "tests/cluster/cluster.h"

namespace dipc::test {
namespace {

constexpr const char* kM68k = "arch = \"m68k\"\n";
constexpr const char* kSigsegv = "memory = { pager = \"sigsegv\" }\n";

struct Length {
  std::chrono::seconds time;
  std::string iterations;  // 0: only the time counts
};

Length length() {
  const char* iterations = std::getenv("DIPC_LITMUS_ITERATIONS");
  if (iterations == nullptr) return {std::chrono::seconds(60), "0"};
  return {std::chrono::hours(4), iterations};
}

// One litmus test on some hosts; its first host judges.
struct Litmus {
  std::string name;
  std::vector<std::string> hosts;
};

// How many different outcomes a run saw: a run that saw one only has not put anything to the test.
int outcomes_of(const std::string& output) {
  int lines = 0;
  for (const char letter : output) lines += letter == '\n';
  return lines - 1;
}

class LitmusTests : public testing::Test {
 protected:
  void SetUp() override {
    if (!am_root()) GTEST_SKIP() << "needs root: a lab has namespaces";
  }
  // What is special of each host, in the lab file's words. vax owns the segments.
  void make(const std::map<std::string, std::string>& hosts) {
    std::string text;
    for (const auto& [name, setting] : hosts) {
      text += "[[host]]\nname = \"" + name + "\"\nlogins = { alice = 1001 }\n" + setting;
      if (setting == kM68k) m68k_.insert(name);
    }
    cluster_ = std::make_unique<Cluster>("litmus", "vax", text + "[[keys]]\nrange = \"all\"\nhome = \"vax\"\n");
  }

  // `outcomes`: so many different ones at least are to be seen of each.
  void run(int outcomes, const std::vector<Litmus>& tests) {
    const Length long_enough = length();
    std::vector<std::unique_ptr<Program>> judges, others;
    for (size_t test = 0; test < tests.size(); ++test) {
      const std::vector<std::string>& hosts = tests[test].hosts;
      for (size_t host = 0; host < hosts.size(); ++host) {
        const char* const file = "tests/litmus/litmus";
        auto program = cluster_->start(
            hosts[host], "alice",
            {m68k_.contains(hosts[host]) ? m68k_program(file) : native_program(file), tests[test].name,
             std::to_string(host), std::to_string(hosts.size()), std::to_string(long_enough.time.count()),
             long_enough.iterations, std::to_string(0x1000 + test)});
        (host == 0 ? judges : others).push_back(std::move(program));
      }
    }
    for (size_t test = 0; test < tests.size(); ++test) {
      std::string output;
      EXPECT_EQ(judges[test]->wait(2 * long_enough.time, &output), 0) << output;
      EXPECT_GE(outcomes_of(output), outcomes) << output;
      if (long_enough.iterations != "0") printf("%s", output.c_str());
    }
    for (const auto& program : others) {
      std::string output;
      EXPECT_EQ(program->wait(long_enough.time, &output), 0) << output;
    }
  }

  std::unique_ptr<Cluster> cluster_;
  std::set<std::string> m68k_;
};

// With the owner first and not at all, so that each part is played by it and by another.
TEST_F(LitmusTests, NoHostReadsWhatStrictConsistencyForbids) {
  make({{"vax", ""}, {"sun", ""}, {"moon", ""}});
  run(3, {{"mp", {"vax", "sun"}},
          {"mp", {"sun", "vax", "moon"}},
          {"sb", {"sun", "moon"}},
          {"sb", {"vax", "sun", "moon"}},
          {"co", {"vax", "moon"}},
          {"co", {"moon", "sun", "vax"}}});
}

// Two big-endian ones, a native one that pages by SIGSEGV too, and one with userfaultfd. A page stays with them for a
// millisecond, so they meet more seldom.
TEST_F(LitmusTests, NorDoHostsThatPageBySignals) {
  if (!have_m68k()) GTEST_SKIP() << "the m68k build is not there: make m68k";
  make({{"vax", kSigsegv}, {"sun", kM68k}, {"amiga", kM68k}, {"moon", ""}});
  run(2, {{"mp", {"vax", "sun"}},
          {"mp", {"sun", "amiga", "moon"}},
          {"sb", {"sun", "amiga"}},
          {"sb", {"vax", "sun", "moon"}},
          {"co", {"amiga", "moon"}},
          {"co", {"sun", "vax", "amiga"}}});
}

}  // namespace
}  // namespace dipc::test
