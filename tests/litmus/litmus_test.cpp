// Strict consistency between hosts: litmus tests, all of them at once, for a minute; or for as many iterations each as
// DIPC_LITMUS_ITERATIONS says, as `make soak` has it. Then the outcomes are printed.

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "tests/cluster/cluster.h"

namespace dipc::test {
namespace {

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
    cluster_ = std::make_unique<Cluster>("litmus", "vax",
                                         "[[host]]\nname = \"vax\"\nlogins = { alice = 1001 }\n"
                                         "[[host]]\nname = \"sun\"\nlogins = { alice = 1001 }\n"
                                         "[[host]]\nname = \"moon\"\nlogins = { alice = 1001 }\n"
                                         "[[keys]]\nrange = \"all\"\nhome = \"vax\"\n");
  }

  void run(const std::vector<Litmus>& tests) {
    const Length long_enough = length();
    std::vector<std::unique_ptr<Program>> judges, others;
    for (size_t test = 0; test < tests.size(); ++test) {
      const std::vector<std::string>& hosts = tests[test].hosts;
      for (size_t host = 0; host < hosts.size(); ++host) {
        auto program = cluster_->start(hosts[host], "alice",
                                       {native_program("tests/litmus/litmus"), tests[test].name, std::to_string(host),
                                        std::to_string(hosts.size()), std::to_string(long_enough.time.count()),
                                        long_enough.iterations, std::to_string(0x1000 + test)});
        (host == 0 ? judges : others).push_back(std::move(program));
      }
    }
    for (size_t test = 0; test < tests.size(); ++test) {
      std::string output;
      EXPECT_EQ(judges[test]->wait(2 * long_enough.time, &output), 0) << output;
      EXPECT_GE(outcomes_of(output), 3) << output;
      if (long_enough.iterations != "0") printf("%s", output.c_str());
    }
    for (const auto& program : others) {
      std::string output;
      EXPECT_EQ(program->wait(long_enough.time, &output), 0) << output;
    }
  }

  std::unique_ptr<Cluster> cluster_;
};

// vax owns the segments: with it first and not at all, so that each part is played by the owner and by another.
TEST_F(LitmusTests, NoHostReadsWhatStrictConsistencyForbids) {
  run({{"mp", {"vax", "sun"}},
       {"mp", {"sun", "vax", "moon"}},
       {"sb", {"sun", "moon"}},
       {"sb", {"vax", "sun", "moon"}},
       {"co", {"vax", "moon"}},
       {"co", {"moon", "sun", "vax"}}});
}

}  // namespace
}  // namespace dipc::test
