// Names under every kind of bad luck, many seeds. One seed again, with a trace of what happened:
//   DIPC_SIM_SEED=1234 sim_referee --gtest_filter='RefereeSim.*'
// DIPC_SIM_SEEDS is how many seeds the long test takes.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/sim/referee_world.h"
#include "tests/sim/seeds.h"

namespace dipc::sim {
namespace {

using testing::StartsWith;

TEST(RefereeSim, NoNameEverHasTwoOwnersAndEveryGetEnds) {
  const std::uint64_t only = seed_to_replay();
  const std::uint64_t first = only != 0 ? only : 1;
  const std::uint64_t last = only != 0 ? only : seeds_to_try();
  std::uint64_t ended = 0;
  std::uint64_t succeeded = 0;
  for (std::uint64_t seed = first; seed <= last; ++seed) {
    World world(seed, Fault::kNone, only != 0);
    const std::string wrong = world.run();
    ASSERT_EQ(wrong, "") << replay(seed, "sim_referee", "'RefereeSim.*'");
    ended += world.history().gets_ended();
    succeeded += world.history().gets_succeeded();
  }
  if (only == 0) {
    // A simulation in which nothing succeeds finds nothing.
    EXPECT_GT(succeeded * 4, ended);
    std::printf("%llu gets ended, %llu of them with an object\n", static_cast<unsigned long long>(ended),
                static_cast<unsigned long long>(succeeded));
  }
}

TEST(RefereeSim, OneSeedGivesOneHistory) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    World one(seed, Fault::kNone, false);
    World two(seed, Fault::kNone, false);
    EXPECT_EQ(one.run(), two.run());
    EXPECT_EQ(one.history().gets_ended(), two.history().gets_ended());
    EXPECT_EQ(one.history().gets_succeeded(), two.history().gets_succeeded());
  }
}

struct Broken {
  Fault fault;
  const char* checker;
  friend void PrintTo(const Broken& broken, std::ostream* out) { *out << broken.checker; }
};

class RefereeSimChecker : public testing::TestWithParam<Broken> {};

TEST_P(RefereeSimChecker, FindsTheMachineThatIsBrokenInItsWay) {
  std::map<std::string, int> found;
  for (std::uint64_t seed = 1; seed <= 2000; ++seed) {
    World world(seed, GetParam().fault, false);
    const std::string wrong = world.run();
    if (wrong.empty()) continue;
    const std::string checker = wrong.substr(0, wrong.find(':'));
    if (checker == GetParam().checker) return;
    ++found[checker];
  }
  ADD_FAILURE() << "not found; others found something in: " << testing::PrintToString(found);
}

INSTANTIATE_TEST_SUITE_P(
    , RefereeSimChecker,
    testing::Values(Broken{Fault::kTakesRefusedForAccepted, "unique"}, Broken{Fault::kLosesTime, "bounded"},
                    Broken{Fault::kAnswersEarly, "accepted"}, Broken{Fault::kKeepsRemovalsSecret, "end"},
                    Broken{Fault::kSkipsPersists, "disk"}, Broken{Fault::kSaysAbsent, "absent"},
                    Broken{Fault::kSharesExclusive, "exclusive"}, Broken{Fault::kTrustsItsStandIns, "alive"},
                    Broken{Fault::kInventsEEXIST, "exists"}, Broken{Fault::kKeepsClaims, "prompt"}),
    [](const auto& parameter) { return std::string(parameter.param.checker); });

}  // namespace
}  // namespace dipc::sim
