// Sessions in a hostile world, many histories. DIPC_SIM_SEED=n replays one and prints it; DIPC_SIM_SEEDS=n sets how
// many are tried.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/sim/seeds.h"
#include "tests/sim/session_world.h"

namespace dipc::sim {
namespace {

std::string replay(std::uint64_t seed) {
  return sim::replay(seed, "sim_session", "SessionSimulation.KeepsItsPromises");
}

// The same histories on every architecture. Whoever changes the machine or the world changes them: then put in the new
// value, once it is the same on two architectures of different byte order and word size.
TEST(SessionSimulation, OneSeedIsOneHistory) {
  std::uint64_t all = 0;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    all = all * 31 + SessionWorld(seed, Defect::kNone, false).run().trace_hash;
  }
  EXPECT_EQ(all, 15020327501060130580U);
}

TEST(SessionSimulation, KeepsItsPromises) {
  if (const std::uint64_t seed = seed_to_replay(); seed != 0) {
    const Outcome outcome = SessionWorld(seed, Defect::kNone, true).run();
    EXPECT_EQ(outcome.violation, "") << replay(seed);
    return;
  }
  const std::uint64_t seeds = seeds_to_try();
  Coverage coverage;
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    const Outcome outcome = SessionWorld(seed, Defect::kNone, false).run();
    ASSERT_EQ(outcome.violation, "") << replay(seed);
    coverage.add(outcome.coverage);
  }
  expect_reached(coverage.counts, seeds,
                 {"connections replaced",
                  "crashes",
                  "cuts",
                  "delivered",
                  "ended: peer restarted",
                  "ended: superseded",
                  "ended: timeout",
                  "frames of an old connection",
                  "frames repeated",
                  "frames sent again",
                  "half-open connections",
                  "in doubt, delivered",
                  "in doubt, not delivered",
                  "one-way partitions",
                  "partitions",
                  "refused: already connected",
                  "refused: name in use",
                  "refused: unknown session",
                  "standstills",
                  "unreachable at once",
                  "unreachable in the end",
                  "withdrawn"});
}

struct Break {
  const char* name;
  Defect defect;
  const char* violation;  // what the checks say of it, in some history
};

class SessionSimulationFinds : public testing::TestWithParam<Break> {};

TEST_P(SessionSimulationFinds, ADefectiveMachine) {
  expect_found(GetParam().violation, 2000,
               [](std::uint64_t seed) { return SessionWorld(seed, GetParam().defect, false).run().violation; });
}

INSTANTIATE_TEST_SUITE_P(
    SessionSimulation, SessionSimulationFinds,
    testing::Values(Break{"NoDeduplication", Defect::kNoDeduplication, "delivered twice"},
                    Break{"NoRetransmission", Defect::kNoRetransmission, "fresh message lost"},
                    Break{"AcknowledgesTooEarly", Defect::kAcknowledgesTooEarly, "lost"},
                    Break{"HearsOldConnections", Defect::kHearsOldConnections, "delivered twice"},
                    Break{"Reorders", Defect::kReorders, "wrong order"},
                    Break{"CancelOvertakesCall", Defect::kCancelOvertakesCall, "wrong order: a cancel before its call"},
                    Break{"ReportsWrittenAsUnwritten", Defect::kReportsWrittenAsUnwritten, "reported wrongly"},
                    Break{"ReportsUnwrittenAsWritten", Defect::kReportsUnwrittenAsWritten, "reported wrongly"},
                    Break{"ForgetsTheUnwritten", Defect::kForgetsTheUnwritten, "lost"},
                    Break{"ForgetsTheUnacknowledged", Defect::kForgetsTheUnacknowledged, "lost"},
                    Break{"ReportsTwice", Defect::kReportsTwice, "reported twice"},
                    Break{"DeliversLate", Defect::kDeliversLate, "wrong session"},
                    Break{"DialsOnce", Defect::kDialsOnce, "no agreement: not connected"},
                    Break{"NeverOnTime", Defect::kNeverOnTime, "spins"}),
    [](const auto& broken) { return broken.param.name; });

}  // namespace
}  // namespace dipc::sim
