#include "layouts/steps.h"

#include <cstring>

namespace dipc {
namespace {

template <typename T>
T load(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

template <typename T>
void store(std::byte* at, T value) {
  std::memcpy(at, &value, sizeof value);
}

std::uint16_t turned(std::uint16_t value) { return __builtin_bswap16(value); }
std::uint32_t turned(std::uint32_t value) { return __builtin_bswap32(value); }
std::uint64_t turned(std::uint64_t value) { return __builtin_bswap64(value); }

template <typename T>
void swap_one(const std::byte* source, std::byte* target) {
  store(target, turned(load<T>(source)));
}

// Four in a row without a loop: runs are short mostly, a block of coordinates, and then the loop is what costs.
template <typename T>
void swap_run(const std::byte* source, std::byte* target, std::size_t count) {
  for (; count >= 4; count -= 4, source += 4 * sizeof(T), target += 4 * sizeof(T)) {
    const T a = load<T>(source);
    const T b = load<T>(source + sizeof(T));
    const T c = load<T>(source + 2 * sizeof(T));
    const T d = load<T>(source + 3 * sizeof(T));
    store(target, turned(a));
    store(target + sizeof(T), turned(b));
    store(target + 2 * sizeof(T), turned(c));
    store(target + 3 * sizeof(T), turned(d));
  }
  if (count >= 2) {
    swap_one<T>(source, target);
    swap_one<T>(source + sizeof(T), target + sizeof(T));
    source += 2 * sizeof(T);
    target += 2 * sizeof(T);
  }
  if (count % 2 != 0) swap_one<T>(source, target);
}

template <typename T, bool kSwapped>
T load_as(const std::byte* at) {
  const T value = load<T>(at);
  return kSwapped ? turned(value) : value;
}

template <typename T, bool kSwapped>
void store_as(std::byte* at, T value) {
  store(at, kSwapped ? turned(value) : value);
}

std::uint64_t extended(std::uint32_t value, bool is_signed) {
  return is_signed ? static_cast<std::uint64_t>(static_cast<std::int64_t>(static_cast<std::int32_t>(value))) : value;
}

template <bool kFromSwapped, bool kToSwapped>
void widen(const Step& step, const std::byte* __restrict source, std::byte* __restrict target) {
  for (std::uint32_t i = 0; i < step.count; ++i) {
    const auto value = load_as<std::uint32_t, kFromSwapped>(source + 4 * i);
    store_as<std::uint64_t, kToSwapped>(target + 8 * i, extended(value, step.is_signed));
  }
}

// Looks for a value that does not fit after the whole run, so that the run itself has no branch.
template <bool kFromSwapped, bool kToSwapped>
bool narrow(const Step& step, const std::byte* __restrict source, std::byte* __restrict target, StepFailure& failure) {
  std::uint64_t lost = 0;
  for (std::uint32_t i = 0; i < step.count; ++i) {
    const auto value = load_as<std::uint64_t, kFromSwapped>(source + 8 * i);
    const auto narrowed = static_cast<std::uint32_t>(value);
    lost |= value ^ extended(narrowed, step.is_signed);
    store_as<std::uint32_t, kToSwapped>(target + 4 * i, narrowed);
  }
  if (lost == 0) return true;
  for (std::uint32_t i = 0; i < step.count; ++i) {
    const auto value = load_as<std::uint64_t, kFromSwapped>(source + 8 * i);
    if (value == extended(static_cast<std::uint32_t>(value), step.is_signed)) continue;
    failure = {Error::kOverflow, source + 8 * i, value, step.is_signed};
    break;
  }
  return false;
}

bool resize_one(const Step& step, const std::byte* source, std::byte* target, StepFailure& failure) {
  if (step.from.bytes == 4) {
    const auto value = load<std::uint32_t>(source);
    const std::uint64_t wide = extended(step.from.swapped ? turned(value) : value, step.is_signed);
    store(target, step.to.swapped ? turned(wide) : wide);
    return true;
  }
  const auto read = load<std::uint64_t>(source);
  const std::uint64_t value = step.from.swapped ? turned(read) : read;
  const auto narrowed = static_cast<std::uint32_t>(value);
  store(target, step.to.swapped ? turned(narrowed) : narrowed);
  if (extended(narrowed, step.is_signed) == value) return true;
  failure = {Error::kOverflow, source, value, step.is_signed};
  return false;
}

template <bool kFromSwapped, bool kToSwapped>
bool resize(const Step& step, const std::byte* source, std::byte* target, StepFailure& failure) {
  if (step.from.bytes == 8) return narrow<kFromSwapped, kToSwapped>(step, source, target, failure);
  widen<kFromSwapped, kToSwapped>(step, source, target);
  return true;
}

bool resize(const Step& step, const std::byte* source, std::byte* target, StepFailure& failure) {
  if (step.count == 1) return resize_one(step, source, target, failure);
  if (step.from.swapped) {
    return step.to.swapped ? resize<true, true>(step, source, target, failure)
                           : resize<true, false>(step, source, target, failure);
  }
  return step.to.swapped ? resize<false, true>(step, source, target, failure)
                         : resize<false, false>(step, source, target, failure);
}

bool fits(std::int64_t value, unsigned bytes, bool is_signed) {
  if (bytes == 8) return true;
  const std::int64_t values = std::int64_t{1} << (8 * bytes);
  return is_signed ? value >= -values / 2 && value < values / 2 : value >= 0 && value < values;
}

void store_number(std::byte* at, NumberForm form, std::uint64_t value) {
  if (form.bytes == 8) {
    store(at, form.swapped ? turned(value) : value);
  } else if (form.bytes == 4) {
    const auto narrowed = static_cast<std::uint32_t>(value);
    store(at, form.swapped ? turned(narrowed) : narrowed);
  } else {
    const auto narrowed = static_cast<std::uint16_t>(value);
    store(at, form.swapped ? turned(narrowed) : narrowed);
  }
}

// An unsigned id of fewer than 64 bits is never negative here, so it passes through a signed number as it is.
bool rewrite(const Step& step, const std::byte* source, std::byte* target, IdRewriter* rewriter, StepFailure& failure) {
  if (rewriter == nullptr && step.from.bytes + step.to.bytes == 4 + 8) return resize(step, source, target, failure);
  for (std::uint32_t i = 0; i < step.count; ++i) {
    const std::byte* from = source + i * step.from.bytes;
    const std::uint64_t number = load_number(from, step.from, step.is_signed);
    IdRewriter::Answer answer{Error::kNone, static_cast<std::int64_t>(number)};
    if (rewriter != nullptr) answer = rewriter->rewrite(step.meaning, answer.value);
    if (answer.error == Error::kNone && !fits(answer.value, step.to.bytes, step.is_signed))
      answer.error = Error::kOverflow;
    if (answer.error != Error::kNone) {
      failure = {answer.error, from, number, step.is_signed};
      return false;
    }
    store_number(target + i * step.to.bytes, step.to, static_cast<std::uint64_t>(answer.value));
  }
  return true;
}

// The first and the last `kBytes`, which may overlap.
template <std::size_t kBytes>
void copy_ends(const std::byte* source, std::byte* target, std::uint32_t bytes) {
  std::byte first[kBytes];
  std::byte last[kBytes];
  std::memcpy(first, source, kBytes);
  std::memcpy(last, source + bytes - kBytes, kBytes);
  std::memcpy(target, first, kBytes);
  std::memcpy(target + bytes - kBytes, last, kBytes);
}

// Of a payload's odd lengths: a call of memcpy costs more than the copy.
void copy(const std::byte* source, std::byte* target, std::uint32_t bytes) {
  if (bytes > 32 || bytes < 4) {
    std::memcpy(target, source, bytes);
  } else if (bytes > 16) {
    copy_ends<16>(source, target, bytes);
  } else if (bytes >= 8) {
    copy_ends<8>(source, target, bytes);
  } else {
    copy_ends<4>(source, target, bytes);
  }
}

void zero(std::byte* target, std::uint32_t bytes) {
  for (; bytes >= 8; bytes -= 8, target += 8) store(target, std::uint64_t{0});
  if (bytes >= 4) {
    store(target, std::uint32_t{0});
    target += 4;
  }
  if (bytes % 4 >= 2) {
    store(target, std::uint16_t{0});
    target += 2;
  }
  if (bytes % 2 != 0) *target = std::byte{0};
}

bool run_loop(const Step* step, const std::byte* source, std::byte* target, IdRewriter* rewriter,
              StepFailure& failure) {
  for (std::uint32_t i = 0; i < step->count; ++i) {
    if (!run_steps(step + 1, step + 1 + step->body, source, target, rewriter, failure)) return false;
    source += step->source_stride;
    target += step->target_stride;
  }
  return true;
}

StepCode run_code(StepCode code) {
  switch (code) {
    case StepCode::kSwap2:
      return StepCode::kSwap2Run;
    case StepCode::kSwap4:
      return StepCode::kSwap4Run;
    case StepCode::kSwap8:
      return StepCode::kSwap8Run;
    case StepCode::kCopy1:
    case StepCode::kCopy2:
    case StepCode::kCopy4:
    case StepCode::kCopy8:
      return StepCode::kCopy;
    default:
      return code;
  }
}

unsigned unit_bytes(StepCode run) {
  return run == StepCode::kSwap2Run ? 2 : run == StepCode::kSwap4Run ? 4 : run == StepCode::kSwap8Run ? 8 : 1;
}

std::uint32_t written_bytes(const Step& step) {
  if (step.code == StepCode::kResize || step.code == StepCode::kRewrite) return step.count * step.to.bytes;
  return step.code == StepCode::kZero ? step.count : run_bytes(step);
}

bool same_numbers(const Step& a, const Step& b) {
  return a.is_signed == b.is_signed && a.meaning == b.meaning && a.from.bytes == b.from.bytes &&
         a.from.swapped == b.from.swapped && a.to.bytes == b.to.bytes && a.to.swapped == b.to.swapped;
}

}  // namespace

std::uint64_t load_number(const std::byte* at, NumberForm form, bool is_signed) {
  if (form.bytes == 8) {
    const auto value = load<std::uint64_t>(at);
    return form.swapped ? turned(value) : value;
  }
  if (form.bytes == 4) {
    const auto value = load<std::uint32_t>(at);
    return extended(form.swapped ? turned(value) : value, is_signed);
  }
  if (form.bytes == 1) {
    const auto value = load<std::uint8_t>(at);
    return is_signed ? static_cast<std::uint64_t>(static_cast<std::int64_t>(static_cast<std::int8_t>(value))) : value;
  }
  const auto value = load<std::uint16_t>(at);
  const std::uint16_t plain = form.swapped ? turned(value) : value;
  return is_signed ? static_cast<std::uint64_t>(static_cast<std::int64_t>(static_cast<std::int16_t>(plain))) : plain;
}

std::uint32_t run_bytes(const Step& step) {
  switch (step.code) {
    case StepCode::kCopy1:
      return 1;
    case StepCode::kCopy2:
    case StepCode::kSwap2:
      return 2;
    case StepCode::kCopy4:
    case StepCode::kSwap4:
      return 4;
    case StepCode::kCopy8:
    case StepCode::kSwap8:
      return 8;
    case StepCode::kCopy:
      return step.count;
    case StepCode::kSwap2Run:
    case StepCode::kSwap4Run:
    case StepCode::kSwap8Run:
      return step.count * unit_bytes(step.code);
    case StepCode::kResize:
    case StepCode::kRewrite:
      return step.count * step.from.bytes;
    case StepCode::kZero:
    case StepCode::kLoop:
      break;
  }
  return 0;
}

void append_step(std::vector<Step>& steps, std::size_t joinable, const Step& step) {
  if (steps.size() > joinable) {
    Step& last = steps.back();
    const StepCode code = run_code(step.code);
    const bool follows =
        last.source + run_bytes(last) == step.source && last.target + written_bytes(last) == step.target;
    const bool zeros_follow = step.code == StepCode::kZero && last.target + last.count == step.target;
    if (code != StepCode::kLoop && run_code(last.code) == code && same_numbers(last, step) &&
        (code == StepCode::kZero ? zeros_follow : follows)) {
      const bool counts_itself = code == StepCode::kResize || code == StepCode::kRewrite || code == StepCode::kZero;
      last.count = counts_itself ? last.count + step.count : (run_bytes(last) + run_bytes(step)) / unit_bytes(code);
      last.code = code;
      return;
    }
  }
  steps.push_back(step);
}

bool run_steps(const Step* first, const Step* last, const std::byte* source, std::byte* target, IdRewriter* rewriter,
               StepFailure& failure) {
  for (const Step* step = first; step != last; ++step) {
    const std::byte* from = source + step->source;
    std::byte* to = target + step->target;
    switch (step->code) {
      case StepCode::kCopy1:
        *to = *from;
        break;
      case StepCode::kCopy2:
        store(to, load<std::uint16_t>(from));
        break;
      case StepCode::kCopy4:
        store(to, load<std::uint32_t>(from));
        break;
      case StepCode::kCopy8:
        store(to, load<std::uint64_t>(from));
        break;
      case StepCode::kCopy:
        copy(from, to, step->count);
        break;
      case StepCode::kZero:
        zero(to, step->count);
        break;
      case StepCode::kSwap2:
        swap_one<std::uint16_t>(from, to);
        break;
      case StepCode::kSwap4:
        swap_one<std::uint32_t>(from, to);
        break;
      case StepCode::kSwap8:
        swap_one<std::uint64_t>(from, to);
        break;
      case StepCode::kSwap2Run:
        swap_run<std::uint16_t>(from, to, step->count);
        break;
      case StepCode::kSwap4Run:
        swap_run<std::uint32_t>(from, to, step->count);
        break;
      case StepCode::kSwap8Run:
        swap_run<std::uint64_t>(from, to, step->count);
        break;
      case StepCode::kResize:
        if (!resize(*step, from, to, failure)) return false;
        break;
      case StepCode::kRewrite:
        if (!rewrite(*step, from, to, rewriter, failure)) return false;
        break;
      case StepCode::kLoop:
        if (!run_loop(step, from, to, rewriter, failure)) return false;
        step += step->body;
        break;
    }
  }
  return true;
}

}  // namespace dipc
