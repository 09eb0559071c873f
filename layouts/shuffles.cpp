#include "layouts/shuffles.h"

#include <algorithm>

#include "wire/check.h"

#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#endif

namespace dipc {
namespace {

constexpr std::uint32_t kBlockBytes = 16;
constexpr std::uint32_t kRunBytesMax = 64;                // longer runs are as fast by themselves
constexpr std::uint32_t kMappedBytesMax = 4096;           // of loops written out
constexpr std::uint32_t kStructBytesShuffledMax = 16384;  // what is larger is long runs mostly

// Where each byte of the target comes from.
class ByteMap {
 public:
  static constexpr std::uint32_t kZero = 0xffffffff;
  static constexpr std::uint32_t kAny = 0xfffffffe;  // a step writes it later

  explicit ByteMap(std::uint32_t target_bytes) : from_(target_bytes, kAny) {}

  // False: the step is none that a shuffle does; then the map is as it was.
  bool take(const Step* step, std::uint32_t source, std::uint32_t target) {
    if (!is_taken(*step)) return false;
    if (step->code == StepCode::kLoop) return take_loop(step, source, target);
    source += step->source;
    target += step->target;
    const std::uint32_t unit = swapped_bytes(step->code);
    const std::uint32_t bytes = step->code == StepCode::kZero ? step->count : run_bytes(*step);
    DIPC_CHECK(std::uint64_t{target} + bytes <= from_.size());
    for (std::uint32_t i = 0; i < bytes; ++i) {
      const std::uint32_t turned = unit == 1 ? i : i / unit * unit + (unit - 1 - i % unit);
      from_[target + i] = step->code == StepCode::kZero ? kZero : source + turned;
    }
    return true;
  }

  std::uint32_t operator[](std::uint32_t target) const { return from_[target]; }
  std::uint32_t size() const { return static_cast<std::uint32_t>(from_.size()); }

 private:
  static bool is_taken(const Step& step) {
    switch (step.code) {
      case StepCode::kResize:
      case StepCode::kRewrite:
        return false;
      case StepCode::kLoop: {
        const std::uint64_t bytes = std::uint64_t{step.count} * step.target_stride;
        return bytes <= kMappedBytesMax &&
               std::all_of(&step + 1, &step + 1 + step.body, [](const Step& inside) { return is_taken(inside); });
      }
      case StepCode::kZero:
        return step.count <= kRunBytesMax;
      default:
        return run_bytes(step) <= kRunBytesMax;
    }
  }

  static std::uint32_t swapped_bytes(StepCode code) {
    switch (code) {
      case StepCode::kSwap2:
      case StepCode::kSwap2Run:
        return 2;
      case StepCode::kSwap4:
      case StepCode::kSwap4Run:
        return 4;
      case StepCode::kSwap8:
      case StepCode::kSwap8Run:
        return 8;
      default:
        return 1;
    }
  }

  bool take_loop(const Step* step, std::uint32_t source, std::uint32_t target) {
    for (std::uint32_t i = 0; i < step->count; ++i) {
      for (const Step* inside = step + 1; inside < step + 1 + step->body;) {
        take(inside, source + step->source + i * step->source_stride, target + step->target + i * step->target_stride);
        inside += inside->code == StepCode::kLoop ? 1 + inside->body : 1;
      }
    }
    return true;
  }

  std::vector<std::uint32_t> from_;
};

// The shuffles of one block: as few windows of the source as have all of its bytes.
void add_block(const ByteMap& map, std::uint32_t block, std::uint32_t source_bytes, std::vector<Shuffle>& shuffles) {
  DIPC_CHECK(source_bytes >= kBlockBytes && block + kBlockBytes <= map.size());
  std::vector<std::uint32_t> wanted;
  for (std::uint32_t i = 0; i < kBlockBytes; ++i) {
    if (map[block + i] < ByteMap::kAny) wanted.push_back(map[block + i]);
  }
  std::sort(wanted.begin(), wanted.end());
  DIPC_CHECK(wanted.empty() || wanted.back() < source_bytes);
  std::size_t next = 0;
  do {
    Shuffle shuffle;
    shuffle.target = block;
    shuffle.source = next < wanted.size() ? std::min(wanted[next], source_bytes - kBlockBytes) : 0;
    shuffle.places.fill(0x80);
    for (std::uint32_t i = 0; i < kBlockBytes; ++i) {
      const std::uint32_t from = map[block + i];
      const bool is_new = next < wanted.size() && from < ByteMap::kAny && from >= wanted[next];
      if (is_new && from < shuffle.source + kBlockBytes) {
        shuffle.places[i] = static_cast<std::uint8_t>(from - shuffle.source);
      }
    }
    while (next < wanted.size() && wanted[next] < shuffle.source + kBlockBytes) ++next;
    shuffle.is_last = next == wanted.size();
    shuffles.push_back(shuffle);
  } while (next < wanted.size());
}

}  // namespace

Program with_shuffles(std::vector<Step> steps, std::uint32_t source_bytes, std::uint32_t target_bytes) {
  Program program;
  if (!can_shuffle() || source_bytes < kBlockBytes || target_bytes < kBlockBytes ||
      target_bytes > kStructBytesShuffledMax) {
    program.steps = std::move(steps);
    return program;
  }
  ByteMap map(target_bytes);
  std::vector<Step> left;
  std::size_t taken = 0;
  for (std::size_t i = 0; i < steps.size();) {
    const std::size_t parts = steps[i].code == StepCode::kLoop ? 1 + steps[i].body : 1;
    if (map.take(&steps[i], 0, 0)) {
      taken += steps[i].code == StepCode::kLoop ? std::size_t{steps[i].count} * steps[i].body : 1;
    } else {
      left.insert(left.end(), steps.begin() + static_cast<std::ptrdiff_t>(i),
                  steps.begin() + static_cast<std::ptrdiff_t>(i + parts));
    }
    i += parts;
  }
  for (std::uint32_t at = 0; at < target_bytes;) {
    if (map[at] == ByteMap::kAny) {
      ++at;
      continue;
    }
    const std::uint32_t block = std::min(at, target_bytes - kBlockBytes);
    add_block(map, block, source_bytes, program.shuffles);
    at = block + kBlockBytes;
  }
  // A shuffle costs less than a step, but two of them no longer do.
  if (program.shuffles.size() > 2 * taken) {
    program.shuffles.clear();
    program.steps = std::move(steps);
  } else {
    program.steps = std::move(left);
  }
  return program;
}

#if defined(__x86_64__) || defined(__i386__)

bool can_shuffle() {
  static const bool can = __builtin_cpu_supports("ssse3") != 0;
  return can;
}

__attribute__((target("ssse3"))) void run_shuffles(const std::vector<Shuffle>& shuffles, const std::byte* source,
                                                   std::byte* target) {
  __m128i block = _mm_setzero_si128();
  for (const Shuffle& shuffle : shuffles) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(source + shuffle.source));
    const __m128i places = _mm_loadu_si128(reinterpret_cast<const __m128i*>(shuffle.places.data()));
    block = _mm_or_si128(block, _mm_shuffle_epi8(bytes, places));
    if (shuffle.is_last) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(target + shuffle.target), block);
      block = _mm_setzero_si128();
    }
  }
}

#else

bool can_shuffle() { return false; }

void run_shuffles(const std::vector<Shuffle>& shuffles, const std::byte*, std::byte*) { DIPC_CHECK(shuffles.empty()); }

#endif

}  // namespace dipc
