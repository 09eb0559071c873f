#pragma once

// Random numbers for the simulators: one seed gives the same numbers on every architecture, which std::mt19937 promises
// and std's distributions do not. Draw once per statement: f(random.next(), random.next()) evaluates its arguments in
// another order on s390x than on x86-64.
// Source: splitmix64 by Sebastiano Vigna (public domain), a bijective mixer over a Weyl sequence.

#include <cstdint>
#include <vector>

#include "wire/check.h"

namespace dipc::sim {

class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}

  std::uint64_t next() {
    state_ += 0x9e3779b97f4a7c15U;
    std::uint64_t mixed = state_;
    mixed = (mixed ^ (mixed >> 30U)) * 0xbf58476d1ce4e5b9U;
    mixed = (mixed ^ (mixed >> 27U)) * 0x94d049bb133111ebU;
    return mixed ^ (mixed >> 31U);
  }

  // Uniform in [0, n). The bias of the modulus is below n / 2^64. n is not 0.
  std::uint64_t below(std::uint64_t n) {
    DIPC_CHECK(n > 0);
    return next() % n;
  }

  // Uniform in [low, high], both included.
  std::uint64_t between(std::uint64_t low, std::uint64_t high) {
    DIPC_CHECK(low <= high);
    return low + below(high - low + 1);
  }

  bool chance(unsigned percent) { return below(100) < percent; }

  // One of the elements; the vector is not empty.
  template <typename T>
  const T& pick(const std::vector<T>& from) {
    return from[static_cast<std::size_t>(below(from.size()))];
  }

  // A generator of its own for another part of the same simulation, so that a draw more here changes nothing there.
  Random fork() { return Random(next()); }

 private:
  std::uint64_t state_;
};

}  // namespace dipc::sim
