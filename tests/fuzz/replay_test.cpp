// What a fuzzer does, without one: the inputs of its corpus, and the same number of damaged ones of each from a seed.
// DIPC_SEED=N takes another.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

#include "tests/sim/random.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes);

namespace {

using Input = std::vector<std::uint8_t>;

std::vector<Input> corpus() {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(CORPUS)) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  std::vector<Input> inputs;
  for (const auto& file : files) {
    std::ifstream stream(file, std::ios::binary);
    inputs.emplace_back(std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>());
  }
  return inputs;
}

std::uint8_t hostile(dipc::sim::Random& random) {
  constexpr std::array<std::uint8_t, 8> kHostile = {0x00, 0x01, 0x7f, 0x80, 0xff, 0xfe, '{', ']'};
  return kHostile[static_cast<std::size_t>(random.below(kHostile.size()))];
}

void damage(dipc::sim::Random& random, Input& input, const std::vector<Input>& others) {
  const std::size_t at = input.empty() ? 0 : static_cast<std::size_t>(random.below(input.size()));
  const auto place = input.begin() + static_cast<std::ptrdiff_t>(at);
  switch (random.below(6)) {
    case 0:
      if (!input.empty()) input[at] = static_cast<std::uint8_t>(random.next());
      break;
    case 1:
      for (std::size_t i = at; i < std::min(at + 8, input.size()); ++i) input[i] = hostile(random);
      break;
    case 2:
      input.resize(at);
      break;
    case 3: {
      const std::uint8_t filling = hostile(random);
      input.insert(place, static_cast<std::size_t>(random.below(40)), filling);
      break;
    }
    case 4: {
      const Input& other = random.pick(others);
      input.insert(place, other.begin(), other.begin() + static_cast<std::ptrdiff_t>(random.below(other.size() + 1)));
      break;
    }
    default:
      input.erase(place, input.begin() +
                             static_cast<std::ptrdiff_t>(std::min<std::uint64_t>(input.size(), at + random.below(16))));
      break;
  }
}

TEST(Fuzz, CorpusAndDamagedInputsBreakNothing) {
  const char* given = std::getenv("DIPC_SEED");
  const std::uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 0) : 1;
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  dipc::sim::Random random(seed);
  const std::vector<Input> inputs = corpus();
  ASSERT_FALSE(inputs.empty());
  for (const Input& input : inputs) LLVMFuzzerTestOneInput(input.data(), input.size());
  for (int round = 0; round < ROUNDS; ++round) {
    for (Input input : inputs) {
      const std::uint64_t damages = random.between(1, 4);
      for (std::uint64_t i = 0; i < damages; ++i) damage(random, input, inputs);
      LLVMFuzzerTestOneInput(input.data(), input.size());
    }
  }
}

}  // namespace
