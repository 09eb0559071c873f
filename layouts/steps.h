#pragma once

// What a conversion does to a payload, as a list of steps made once and run for every message: runs of equal-width
// swaps, copies, zeros for padding, numbers that change their width, loops over arrays of structs. Nothing in here
// checks bounds: who runs steps has made sure that source and destination are as large as the struct they were made
// for.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "layouts/id_rewriter.h"
#include "wire/errors.h"

namespace dipc {

enum class StepCode : std::uint8_t {
  kCopy1,  // one scalar; the number says bytes
  kCopy2,
  kCopy4,
  kCopy8,
  kCopy,   // `count` bytes
  kZero,   // `count` bytes of the destination
  kSwap2,  // one scalar, turned round
  kSwap4,
  kSwap8,
  kSwap2Run,  // `count` of them, side by side on both ends
  kSwap4Run,
  kSwap8Run,
  kResize,   // `count` scalars that have 4 bytes on one end and 8 on the other
  kRewrite,  // `count` pids or logins
  kLoop,     // the next `body` steps, `count` times
};

// How a number is written on one end.
struct NumberForm {
  std::uint8_t bytes = 4;  // 2, 4 or 8; a counter's may be 1
  bool swapped = false;    // against the machine that this runs on
};

struct Step {
  StepCode code = StepCode::kCopy;
  bool is_signed = false;              // kResize, kRewrite
  Meaning meaning = Meaning::kNumber;  // kRewrite
  NumberForm from, to;                 // kResize, kRewrite
  std::uint32_t body = 0;              // kLoop
  std::uint32_t count = 1;
  std::uint32_t source = 0;  // offsets, bytes; inside a loop from the element's begin
  std::uint32_t target = 0;
  std::uint32_t source_stride = 0;  // kLoop, bytes
  std::uint32_t target_stride = 0;
};
static_assert(sizeof(Step) == 32);

// Where and why steps stopped.
struct StepFailure {
  Error error = Error::kNone;
  const std::byte* at = nullptr;  // the scalar in the source
  std::uint64_t value = 0;        // sign-extended if `is_signed`
  bool is_signed = false;
};

// Bytes that a step reads one after the other from `source` on; 0 if it does not read them so (loops, zeros).
std::uint32_t run_bytes(const Step& step);

// The steps [first, last), in their order. `rewriter` may be null: then pids and logins pass as they are. False:
// stopped, and `failure` says where; the destination holds part of the result. Allocates nothing.
bool run_steps(const Step* first, const Step* last, const std::byte* source, std::byte* target, IdRewriter* rewriter,
               StepFailure& failure);

// An unsigned or sign-extended number as `form` has it.
std::uint64_t load_number(const std::byte* at, NumberForm form, bool is_signed);

// Adds a step behind the others, as part of the one before where the two are one run and that one is not before index
// `joinable` (a loop's body, whose steps are not the loop's neighbour's).
void append_step(std::vector<Step>& steps, std::size_t joinable, const Step& step);

}  // namespace dipc
