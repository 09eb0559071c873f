#pragma once

// Small fields by 16 bytes at a time: where a struct is a change of places (bytes turned round, padding in or out), one
// byte shuffle of the processor does what several steps do. Only on machines that have the instruction (SSSE3, every
// x86-64 of the last fifteen years); elsewhere the steps do it all.

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "layouts/steps.h"

namespace dipc {

// 16 bytes from `source` on, put where `places` says (each target byte's index in the source's 16, or 0x80 for zero),
// joined with the shuffles before it for the same block, and stored at `target` by the last of them.
struct Shuffle {
  std::array<std::uint8_t, 16> places{};
  std::uint32_t source = 0;
  std::uint32_t target = 0;
  bool is_last = false;  // of its block
};

// What a conversion does to one struct: shuffles first, then steps, which write over what the shuffles left wrong.
struct Program {
  std::vector<Shuffle> shuffles;
  std::vector<Step> steps;
};

// Does this processor have the instruction?
bool can_shuffle();

// `steps` turn a struct of `source_bytes` into one of `target_bytes` and write every byte of it. Takes out those that
// shuffles do as well and faster. No shuffle touches a byte outside of the two structs.
Program with_shuffles(std::vector<Step> steps, std::uint32_t source_bytes, std::uint32_t target_bytes);

// What with_shuffles() made, which makes none where can_shuffle() is false: nothing is looked up here, between two
// messages.
void run_shuffles(const std::vector<Shuffle>& shuffles, const std::byte* source, std::byte* target);

}  // namespace dipc
