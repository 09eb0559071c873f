// The kernel as oracle: the same calls on a bare kernel and through DIPC with the object on another host.
//
// DIPC_ORACLE_SEED=n plays one seed; a failure prints the seed and the step.

#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/kernel/script.h"

namespace dipc::test {
namespace {

constexpr std::size_t kSteps = 120;
constexpr std::size_t kPuppets = 5;

// The same uids on both hosts, so that the status calls can be compared as numbers.
constexpr const char* kHosts = R"(
[[host]]
name = "bare"
daemon = false
logins = { alice = 1001, bob = 1002 }
[[host]]
name = "vax"
logins = { alice = 1001, bob = 1002 }
[[host]]
name = "sun"
arch = "%s"
logins = { alice = 1001, bob = 1002 }
[[keys]]
range = "all"
home = "%s"
)";

std::vector<Stage::Role> roles(const std::string& host, const std::string& program) {
  std::vector<Stage::Role> all;
  for (std::size_t i = 0; i < kPuppets; ++i) all.push_back({host, i == kPuppets - 1 ? "bob" : "alice", program});
  return all;
}

void compare(const std::string& name, const std::string& machine, const std::string& owner, const std::string& player,
             std::uint64_t seeds) {
  if (!am_root()) GTEST_SKIP() << "needs root: a lab has namespaces";
  if (const std::string missing = missing_build(machine); !missing.empty()) GTEST_SKIP() << missing;
  char hosts[1024];
  std::snprintf(hosts, sizeof(hosts), kHosts, machine.c_str(), owner.c_str());
  const Cluster cluster(name, "vax", hosts);
  const std::string native = native_program("tests/kernel/puppet");
  const std::string program = player == "sun" ? program_of(machine, "tests/kernel/puppet") : native;
  const char* one = std::getenv("DIPC_ORACLE_SEED");
  const std::uint64_t first = one != nullptr ? std::strtoull(one, nullptr, 0) : 1;
  const std::uint64_t last = one != nullptr ? first : seeds;
  std::size_t blocked = 0;
  for (std::uint64_t seed = first; seed <= last; ++seed) {
    const auto key = static_cast<std::int32_t>(0x1000 + 2 * seed);
    Stage bare(cluster, roles("bare", native), false);
    // qemu's SETALL makes an IPC_STAT first (linux-user/syscall.c, target_to_host_semarray()), so a guest that may
    // write and not read gets EACCES, which no kernel says.
    const bool owner_is_guest = architecture(machine).is_emulated && owner == "sun";
    const Script script = record(bare, seed, kSteps, key, !owner_is_guest);
    for (const Step& step : script) blocked += step.answers.contains(step.puppet) ? 0u : 1u;
    Stage stage(cluster, roles(player, program), true);
    const auto differences = replay(stage, script);
    for (const std::string& difference : differences) {
      ADD_FAILURE() << "seed " << seed << ": " << difference << "\nplay it again: DIPC_ORACLE_SEED=" << seed
                    << " build/native/tests/kernel/oracle_test";
    }
    if (!differences.empty()) {
      for (const Step& step : script) {
        std::printf("%s", to_string(step).c_str());
        for (const auto& [who, answer] : step.answers) std::printf(" | %zu: %s", who, answer.c_str());
        std::printf("\n");
      }
      ADD_FAILURE() << "log of " << owner << ":\n" << cluster.log_of(owner);
      return;
    }
  }
  // A script in which nobody waits would compare little.
  EXPECT_GT(blocked, (last - first + 1) * 2);
}

TEST(Oracle, ABareKernelAgreesWithItself) {
  if (!am_root()) GTEST_SKIP() << "needs root: a lab has namespaces";
  const Cluster cluster("oracle-bare", "vax",
                        "[[host]]\nname = \"vax\"\ndaemon = false\nlogins = { alice = 1001, bob = 1002 }\n");
  const std::string puppet = native_program("tests/kernel/puppet");
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    Stage first(cluster, roles("vax", puppet), false);
    const Script script = record(first, seed, kSteps, 0x1000);
    Stage second(cluster, roles("vax", puppet), false);
    ASSERT_EQ(replay(second, script), std::vector<std::string>{}) << "seed " << seed;
  }
}

TEST(Oracle, AnAlteredAnswerIsFound) {
  if (!am_root()) GTEST_SKIP() << "needs root: a lab has namespaces";
  const Cluster cluster("oracle-altered", "vax",
                        "[[host]]\nname = \"vax\"\ndaemon = false\nlogins = { alice = 1001, bob = 1002 }\n");
  const std::string puppet = native_program("tests/kernel/puppet");
  Stage first(cluster, roles("vax", puppet), false);
  Script script = record(first, 1, kSteps, 0x1000);
  for (Step& step : script) {
    if (step.command == "semgetall $S 3" && step.answers.contains(step.puppet)) step.answers[step.puppet] += "1";
  }
  Stage second(cluster, roles("vax", puppet), false);
  EXPECT_FALSE(replay(second, script).empty());
}

TEST(Oracle, CallsFromAnotherHostAgreeWithTheKernel) { compare("oracle-native", "native", "vax", "sun", 25); }
TEST(Oracle, CallsFromM68kAgreeWithTheKernel) { compare("oracle-m68k", "m68k", "vax", "sun", 6); }
TEST(Oracle, CallsToAnM68kOwnerAgreeWithTheKernel) { compare("oracle-owner68k", "m68k", "sun", "vax", 6); }
// No s390x owner: qemu-s390x 7.2 gets the mode and the pids wrong in what msgctl(IPC_STAT) and IPC_SET are about.
TEST(Oracle, CallsFromS390xAgreeWithTheKernel) { compare("oracle-s390x", "s390x", "vax", "sun", 3); }
TEST(Oracle, CallsFromI386AgreeWithTheKernel) { compare("oracle-i386", "i386", "vax", "sun", 3); }
TEST(Oracle, CallsToAnI386OwnerAgreeWithTheKernel) { compare("oracle-owner386", "i386", "sun", "vax", 3); }

}  // namespace
}  // namespace dipc::test
