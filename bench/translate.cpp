// Conversion of payloads against what one would write by hand, in one process, in turn, the middle of many rounds.
//
//   translate       lines "NAME VALUE BASELINE RATIO": bytes of payload per second; RATIO is VALUE / BASELINE
//
// Canonical form to a big-endian machine and back, the slower of the two, and between two machines of one ABI. The
// baselines are compiled as everything else is.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "layouts/conversion.h"
#include "layouts/parser.h"

namespace {

constexpr std::size_t kArrayBytes = 8192;  // as large a message as a queue takes unless its host's limits were raised
constexpr std::size_t kCopyBytes = 65536;  // of one machine to its like: as raised limits allow
constexpr int kRounds = 401;

struct Figures {
  double value, baseline, ratio;
};

[[noreturn]] void die(const char* what) {
  std::fprintf(stderr, "translate: %s\n", what);
  std::exit(1);
}

// The compiler must believe that somebody reads what is here.
void is_read(const void* memory) { asm volatile("" : : "g"(memory) : "memory"); }

template <typename Work>
double seconds(int repeats, Work&& work) {
  const auto before = std::chrono::steady_clock::now();
  for (int i = 0; i < repeats; ++i) work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - before).count();
}

double middle(std::vector<double> of) {
  std::nth_element(of.begin(), of.begin() + static_cast<std::ptrdiff_t>(of.size() / 2), of.end());
  return of[of.size() / 2];
}

// One after the other in each round, so that both meet the same frequency and the same neighbours.
template <typename Ours, typename Baseline>
Figures compare(std::size_t bytes, int repeats, Ours&& ours, Baseline&& baseline) {
  std::vector<double> values, baselines, ratios;
  for (int round = 0; round < kRounds; ++round) {
    const double work = static_cast<double>(bytes) * repeats;
    const double value = work / seconds(repeats, ours);
    const double base = work / seconds(repeats, baseline);
    values.push_back(value);
    baselines.push_back(base);
    ratios.push_back(value / base);
  }
  return {middle(values), middle(baselines), middle(ratios)};
}

dipc::Form form(std::string_view machine) { return *dipc::Form::native(*dipc::known_abi(machine)); }

dipc::Conversion conversion(std::string_view text, const dipc::Form& from, const dipc::Form& to) {
  const dipc::TypeFile file{"translate", text};
  auto types = dipc::parse_types({&file, 1});
  if (!types) die(types.error().front().what.c_str());
  const std::size_t last = types->structs.size() - 1;
  return *dipc::Conversion::compile(std::make_shared<const dipc::TypeSet>(std::move(*types)), dipc::Kind::kMessageQueue,
                                    last, from, to);
}

void convert(const dipc::Conversion& conversion, std::span<const std::byte> in, std::span<std::byte> out,
             dipc::IdRewriter* rewriter = nullptr) {
  const dipc::Converted done = conversion.convert({in, {}}, out, rewriter);
  if (done.error != dipc::Error::kNone) die(conversion.describe(done).what.c_str());
  is_read(out.data());
}

// ---- arrays of 32-bit numbers, against the plain loop

__attribute__((noinline)) void swap_plainly(const std::byte* source, std::byte* target, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    std::uint32_t number;
    std::memcpy(&number, source + 4 * i, 4);
    number = __builtin_bswap32(number);
    std::memcpy(target + 4 * i, &number, 4);
  }
}

Figures slower(const Figures& a, const Figures& b) { return a.ratio < b.ratio ? a : b; }

Figures arrays(const dipc::Form& source, const dipc::Form& destination) {
  const auto ours = conversion("struct m { long mtype; uint32_t numbers[]; };", source, destination);
  const std::vector<std::byte> in(kArrayBytes, std::byte{0x5a});
  std::vector<std::byte> out(kArrayBytes);
  return compare(
      kArrayBytes, 50, [&] { convert(ours, in, out); },
      [&] {
        swap_plainly(in.data(), out.data(), kArrayBytes / 4);
        is_read(out.data());
      });
}

// ---- a struct of everything, against the converter that one would write for it

constexpr std::string_view kOrder = R"(
  struct position { double x, y; };
  struct order {
    long mtype;
    pid sender;
    short kind;
    char name[18];
    long serial;
    struct position at;
    unsigned int amounts[4];
    time_t sent;
    int64_t total;
    unsigned char flags;
    short checks[3];
  };
)";
// Behind the mtype, as kOrder on s390x; pid is int there.
struct Order {
  std::int32_t sender;
  std::int16_t kind;
  char name[18];
  std::int64_t serial;
  double x, y;
  std::uint32_t amounts[4];
  std::int64_t sent;
  std::int64_t total;
  std::uint8_t flags;
  std::int16_t checks[3];
};
static_assert(sizeof(Order) == 88);

template <typename T>
T take(const std::byte*& from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  from += sizeof value;
  return value;
}
template <typename T>
void put(std::byte*& to, T value) {
  std::memcpy(to, &value, sizeof value);
  to += sizeof value;
}

// As a host composes pids: one that is not its own has the number of its host in front.
class Composing final : public dipc::IdRewriter {
 public:
  Answer rewrite(dipc::Meaning meaning, std::int64_t value) override {
    if (meaning != dipc::Meaning::kPid || value <= 0) return {dipc::Error::kNone, value};
    return {dipc::Error::kNone, value >> 22 == here_ ? value & 0x3fffff : value};
  }

 private:
  std::int64_t here_ = 5;
};

constexpr std::size_t kCanonicalBytes = 8 + 2 + 18 + 8 + 16 + 16 + 8 + 8 + 1 + 6;

// What lies alike in both forms but for the order of its bytes.
inline void swap_kind_to_flags(const std::byte*& from, std::byte*& to) {
  put(to, __builtin_bswap16(take<std::uint16_t>(from)));
  std::memcpy(to, from, 18);
  from += 18;
  to += 18;
  for (int i = 0; i < 3; ++i) put(to, __builtin_bswap64(take<std::uint64_t>(from)));
  for (int i = 0; i < 4; ++i) put(to, __builtin_bswap32(take<std::uint32_t>(from)));
  for (int i = 0; i < 2; ++i) put(to, __builtin_bswap64(take<std::uint64_t>(from)));
  put(to, take<std::uint8_t>(from));
}

// Canonical to big-endian; the same checks: the length, and that the pid fits.
__attribute__((noinline)) std::size_t order_by_hand(std::span<const std::byte> in, std::span<std::byte> out,
                                                    dipc::IdRewriter& rewriter) {
  if (in.size() != kCanonicalBytes || out.size() < sizeof(Order)) return 0;
  const std::byte* from = in.data();
  std::byte* to = out.data();
  const auto sender = rewriter.rewrite(dipc::Meaning::kPid, take<std::int64_t>(from));
  if (sender.error != dipc::Error::kNone || sender.value != static_cast<std::int32_t>(sender.value)) return 0;
  put(to, __builtin_bswap32(static_cast<std::uint32_t>(sender.value)));
  swap_kind_to_flags(from, to);
  put(to, std::uint8_t{0});
  for (int i = 0; i < 3; ++i) put(to, __builtin_bswap16(take<std::uint16_t>(from)));
  return static_cast<std::size_t>(to - out.data());
}

// Back: no number can be too large there.
__attribute__((noinline)) std::size_t order_back_by_hand(std::span<const std::byte> in, std::span<std::byte> out,
                                                         dipc::IdRewriter& rewriter) {
  if (in.size() != sizeof(Order) || out.size() < kCanonicalBytes) return 0;
  const std::byte* from = in.data();
  std::byte* to = out.data();
  const auto native = static_cast<std::int32_t>(__builtin_bswap32(take<std::uint32_t>(from)));
  const auto sender = rewriter.rewrite(dipc::Meaning::kPid, native);
  if (sender.error != dipc::Error::kNone) return 0;
  put(to, sender.value);
  swap_kind_to_flags(from, to);
  ++from;
  for (int i = 0; i < 3; ++i) put(to, __builtin_bswap16(take<std::uint16_t>(from)));
  return static_cast<std::size_t>(to - out.data());
}

Figures structs() {
  const auto out_of = conversion(kOrder, form("s390x"), dipc::Form::canonical());
  const auto into = conversion(kOrder, dipc::Form::canonical(), form("s390x"));
  Composing rewriter;
  std::vector<std::byte> native(sizeof(Order), std::byte{0});
  std::vector<std::byte> canonical(out_of.largest_result_bytes(native.size()));
  for (std::size_t i = 0; i < native.size(); ++i) native[i] = static_cast<std::byte>(i);
  native[offsetof(Order, flags) + 1] = std::byte{0};  // padding
  convert(out_of, native, canonical, &rewriter);
  std::vector<std::byte> by_hand(native.size()), back_by_hand(canonical.size());
  if (order_by_hand(canonical, by_hand, rewriter) != native.size() || by_hand != native ||
      order_back_by_hand(native, back_by_hand, rewriter) != canonical.size() || back_by_hand != canonical) {
    die("the two converters disagree");
  }
  std::vector<std::byte> result(std::max(native.size(), canonical.size()));
  const Figures there = compare(
      native.size(), 2000, [&] { convert(into, canonical, result, &rewriter); },
      [&] {
        if (order_by_hand(canonical, result, rewriter) == 0) die("by hand");
        is_read(result.data());
      });
  const Figures back = compare(
      native.size(), 2000, [&] { convert(out_of, native, result, &rewriter); },
      [&] {
        if (order_back_by_hand(native, result, rewriter) == 0) die("by hand");
        is_read(result.data());
      });
  return slower(there, back);
}

// ---- the same machine on both ends, against memcpy

Figures same_abi() {
  const auto ours = conversion("struct m { long mtype; int kind; double values[]; };", form("x86-64"), form("arm64"));
  const std::vector<std::byte> in(kCopyBytes, std::byte{0x5a});
  std::vector<std::byte> out(in.size());
  return compare(
      in.size(), 20, [&] { convert(ours, in, out); },
      [&] {
        std::memcpy(out.data(), in.data(), in.size());
        is_read(out.data());
      });
}

void print(const char* name, const Figures& figures) {
  std::printf("%s %.0f %.0f %.3f\n", name, figures.value, figures.baseline, figures.ratio);
}

}  // namespace

int main() {
  print("translate_i32",
        slower(arrays(dipc::Form::canonical(), form("s390x")), arrays(form("s390x"), dipc::Form::canonical())));
  print("translate_struct", structs());
  print("translate_same_abi", same_abi());
}
