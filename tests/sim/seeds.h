#pragma once

// What the tests of all simulators do with seeds: one from the environment again, or many.

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <map>
#include <string>

namespace dipc::sim {

inline std::uint64_t number_from_environment(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 0);
}

// The one seed to be replayed; 0: many are to be tried.
inline std::uint64_t seed_to_replay() { return number_from_environment("DIPC_SIM_SEED", 0); }
inline std::uint64_t seeds_to_try() { return number_from_environment("DIPC_SIM_SEEDS", 5000); }

// How to see the history of `seed` again: `program` and the name of its test.
inline std::string replay(std::uint64_t seed, const std::string& program, const std::string& test) {
  return "seed " + std::to_string(seed) + ", replay with: DIPC_SIM_SEED=" + std::to_string(seed) + " " + program +
         " --gtest_filter=" + test;
}

// Fails unless `violation`, as a beginning, is what `run` finds in the history of one of the seeds.
template <typename Run>
void expect_found(const char* violation, std::uint64_t seeds, const Run& run) {
  std::map<std::string, int> found;
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    const std::string wrong = run(seed);
    if (wrong.empty()) continue;
    if (++found[wrong]; wrong.starts_with(violation)) return;
  }
  for (const auto& [wrong, count] : found) std::printf("%6d %s\n", count, wrong.c_str());
  ADD_FAILURE() << "no history shows: " << violation;
}

// Prints them. Fails unless each that is named in `reached` came in one history of a hundred; fewer seeds than a
// thousand say nothing of that.
inline void expect_reached(const std::map<std::string, std::uint64_t>& counts, std::uint64_t seeds,
                           std::initializer_list<const char*> reached) {
  for (const auto& [what, count] : counts) {
    std::printf("%10llu %s\n", static_cast<unsigned long long>(count), what.c_str());
  }
  if (seeds < 1000) return;
  // The faults reach what is there for them: else the silence of the checks says nothing.
  for (const char* what : reached) {
    const auto found = counts.find(what);
    EXPECT_GE(found == counts.end() ? 0 : found->second, seeds / 100) << what;
  }
}

}  // namespace dipc::sim
