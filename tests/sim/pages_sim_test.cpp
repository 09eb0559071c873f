// The pages of a segment in a hostile world, many histories. DIPC_SIM_SEED=n replays one and prints it;
// DIPC_SIM_SEEDS=n sets how many are tried.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/sim/pages_world.h"
#include "tests/sim/seeds.h"

namespace dipc::sim {
namespace {

std::string replay(std::uint64_t seed) { return sim::replay(seed, "sim_pages", "PagesSimulation.KeepsItsPromises"); }

// The same histories on every architecture. Whoever changes the machines or the world changes them: then put in the new
// value, once it is the same on two architectures of different byte order and word size.
TEST(PagesSimulation, OneSeedIsOneHistory) {
  std::uint64_t all = 0;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    all = all * 31 + PagesWorld(seed, PageDefect::kNone, false).run().trace_hash;
  }
  EXPECT_EQ(all, 5070356091502421427U);
}

TEST(PagesSimulation, KeepsItsPromises) {
  if (const std::uint64_t seed = seed_to_replay(); seed != 0) {
    const PageOutcome outcome = PagesWorld(seed, PageDefect::kNone, true).run();
    EXPECT_EQ(outcome.violation, "") << replay(seed);
    return;
  }
  const std::uint64_t seeds = seeds_to_try();
  std::map<std::string, std::uint64_t> counts;
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    const PageOutcome outcome = PagesWorld(seed, PageDefect::kNone, false).run();
    ASSERT_EQ(outcome.violation, "") << replay(seed);
    for (const auto& [what, count] : outcome.counts) counts[what] += count;
  }
  expect_reached(counts, seeds,
                 {"SIGBUS",
                  "asks ahead",
                  "attached more",
                  "caches finished",
                  "daemons killed",
                  "data through the owner",
                  "daemons started again",
                  "resumed",
                  "refused",
                  "holds",
                  "keeps",
                  "owners started again",
                  "declined",
                  "destroyed",
                  "dismissed",
                  "holder gone",
                  "hosts crashed",
                  "killed in a fault",
                  "messages lost",
                  "no data",
                  "page lost",
                  "pager failures",
                  "pages lost",
                  "relays",
                  "release",
                  "restore",
                  "sessions cut",
                  "sessions with the owner cut"});
}

struct Break {
  const char* name;
  PageDefect defect;
  const char* violation;  // what the checks say of it, in some history
};

class PagesSimulationFinds : public testing::TestWithParam<Break> {};

TEST_P(PagesSimulationFinds, ADefectiveMachine) {
  expect_found(GetParam().violation, 1000,
               [](std::uint64_t seed) { return PagesWorld(seed, GetParam().defect, false).run().violation; });
}

INSTANTIATE_TEST_SUITE_P(PagesSimulation, PagesSimulationFinds,
                         testing::Values(Break{"InstalledEarly", PageDefect::kInstalledEarly, "writer and others"},
                                         Break{"DroppedEarly", PageDefect::kDroppedEarly, "writer and others"},
                                         Break{"ReadsBeforeProtect", PageDefect::kReadsBeforeProtect, "stale read"},
                                         Break{"NoFence", PageDefect::kNoFence, "writer and others"},
                                         Break{"NoHold", PageDefect::kNoHold, "not held"},
                                         Break{"NoDataForgotten", PageDefect::kNoDataForgotten, "waits for ever"},
                                         Break{"ReleasesEarly", PageDefect::kReleasesEarly, "lost without a cause"},
                                         Break{"SparesAReader", PageDefect::kSparesAReader, "writer and others"},
                                         Break{"ZerosForLost", PageDefect::kZerosForLost, "stale read"},
                                         Break{"WritableReads", PageDefect::kWritableReads, "writer and others"},
                                         Break{"OldData", PageDefect::kOldData, "stale read"},
                                         Break{"LosesRequests", PageDefect::kLosesRequests, "waits for ever"},
                                         Break{"RelaysAlways", PageDefect::kRelaysAlways, "crosses twice"},
                                         Break{"SharesForWriters", PageDefect::kSharesForWriters, "writer and others"},
                                         Break{"ForgetsRestore", PageDefect::kForgetsRestore, "not at rest"},
                                         Break{"SkipsHolderGone", PageDefect::kSkipsHolderGone, "waits for ever"},
                                         Break{"ForgetsWakes", PageDefect::kForgetsWakes, "waits for ever"},
                                         Break{"KeepsEvicted", PageDefect::kKeepsEvicted, "not forgotten"},
                                         Break{"HoldsMore", PageDefect::kHoldsMore, "breach"},
                                         Break{"HoldsNothing", PageDefect::kHoldsNothing, "writer and others"},
                                         Break{"GivesSilent", PageDefect::kGivesSilent, "lost without a cause"},
                                         Break{"ForgetsHolders", PageDefect::kForgetsHolders, "breach"},
                                         Break{"ForgetsRequesters", PageDefect::kForgetsRequesters, "breach"},
                                         Break{"ForgetsWritten", PageDefect::kForgetsWritten, "stale read"},
                                         Break{"CountsAnew", PageDefect::kCountsAnew, "crosses twice"},
                                         Break{"KeepsSilently", PageDefect::kKeepsSilently, "lost without a cause"}),
                         [](const auto& broken) { return broken.param.name; });

}  // namespace
}  // namespace dipc::sim
