// Hostile payloads: no conversion reads or writes a byte too many (each buffer is an allocation of its own, for the
// sanitizer), and what arrives on another machine is what was sent, seen in the canonical form.
//
// Input: layout, machine of the sender, machine of the receiver, room less than what is needed, then the payload.

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "layouts/conversion.h"
#include "layouts/parser.h"
#include "wire/check.h"

namespace dipc {
namespace {

constexpr std::string_view kLayouts = R"(
  struct pair { short a; long b; };
  struct header { unsigned char kind; size_t count; };
  struct plain { long mtype; char c; int i; short s; double d; bool b; };
  struct nested { long mtype; struct pair pairs[3]; struct { char c; struct pair p; } in[2]; };
  struct text { long mtype; int kind; char text[]; };
  struct longs { long mtype; char c; long values[]; };
  struct counted { long mtype; int16_t n; struct pair items[n]; };
  struct wide_count { long mtype; uint64_t n; uint64_t values[n]; };
  struct deep_count { long mtype; struct header head; char c; struct pair items[head.count]; };
  struct grid { long mtype; signed char n; double cells[n][3]; };
  struct tight { long mtype; char c; long l; pid p; uid u; char text[]; } packed;
  struct loose { long mtype; char c; int i aligned(16); short tail[] ; } aligned(32);
)";
constexpr std::size_t kFirstMessage = 2;

// From, to; the canonical form stands last.
struct Conversions {
  Conversions() {
    const TypeFile file{"layouts", kLayouts};
    types = std::make_shared<const TypeSet>(*parse_types({&file, 1}));
    std::vector<Form> forms;
    for (const std::string_view machine : kKnownMachines) forms.push_back(*Form::native(*known_abi(machine)));
    forms.push_back(Form::canonical());
    for (std::size_t structure = kFirstMessage; structure < types->structs.size(); ++structure) {
      if (!types->structs[structure].tagged) continue;
      auto& of_structure = all.emplace_back();
      for (const Form& from : forms) {
        auto& of_from = of_structure.emplace_back();
        for (const Form& to : forms)
          of_from.push_back(*Conversion::compile(types, Kind::kMessageQueue, structure, from, to));
      }
    }
  }
  std::shared_ptr<const TypeSet> types;
  std::vector<std::vector<std::vector<Conversion>>> all;
};

struct Outcome {
  Converted converted;
  std::vector<std::byte> bytes;
};

// Makes another number of every id; the same each time.
class Renumbering final : public IdRewriter {
 public:
  Answer rewrite(Meaning, std::int64_t value) override {
    if (value % 7 == 3) return {Error::kInvalid, 0};
    return {Error::kNone, value % 5 == 2 ? value % 1000 * 1000000007 : ~value};
  }
};

// With ids rewritten: nothing of the result is known, but that it is one.
void convert_ids(const Conversion& conversion, const std::vector<std::byte>& payload, Ending ending) {
  Renumbering rewriter;
  std::vector<std::byte> out(conversion.largest_result_bytes(payload.size()));
  const Converted done = conversion.convert({payload, ending}, out, &rewriter);
  DIPC_CHECK(done.bytes <= out.size());
  DIPC_CHECK((done.error == Error::kNone) == (done.reason == Converted::Reason::kNone));
  if (done.error != Error::kNone) DIPC_CHECK(!conversion.describe(done).what.empty());
}

Outcome convert(const Conversion& conversion, const std::vector<std::byte>& payload, Ending ending,
                std::size_t less_room) {
  Outcome result;
  const std::size_t room = conversion.largest_result_bytes(payload.size());
  std::vector<std::byte> out(room - std::min(room, less_room));
  result.converted = conversion.convert({payload, ending}, out);
  DIPC_CHECK(result.converted.error != Error::kNone || result.converted.bytes <= out.size());
  if (result.converted.error != Error::kNone) DIPC_CHECK(!conversion.describe(result.converted).what.empty());
  result.bytes.assign(out.begin(), out.begin() + result.converted.bytes);
  return result;
}

void run(const std::uint8_t* data, std::size_t bytes) {
  static const Conversions conversions;
  constexpr std::size_t kHead = 4;
  if (bytes < kHead) return;
  const auto& of_structure = conversions.all[data[0] % conversions.all.size()];
  const std::size_t canonical = std::size(kKnownMachines);
  const std::size_t from = data[1] % (canonical + 1);
  const std::size_t to = data[2] % canonical;
  std::vector<std::byte> payload(bytes - kHead);
  std::transform(data + kHead, data + bytes, payload.begin(),
                 [](std::uint8_t byte) { return static_cast<std::byte>(byte); });
  const Ending ending = data[3] % 2 == 0 ? Ending::kLastField : Ending::kPadded;

  convert_ids(of_structure[from][to], payload, ending);
  const Outcome tight = convert(of_structure[from][to], payload, ending, data[3] / 2);
  const Outcome arrived = convert(of_structure[from][to], payload, ending, 0);
  if (tight.converted.error == Error::kNone) DIPC_CHECK(arrived.converted.error == Error::kNone);
  if (arrived.converted.error != Error::kNone) return;
  const Outcome sent = convert(of_structure[from][canonical], payload, ending, 0);
  const Outcome seen = convert(of_structure[to][canonical], arrived.bytes, {}, 0);
  DIPC_CHECK(from == canonical || sent.converted.error == Error::kNone);
  DIPC_CHECK(seen.converted.error == Error::kNone);
  DIPC_CHECK(seen.bytes == (from == canonical ? payload : sent.bytes));
}

}  // namespace
}  // namespace dipc

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  dipc::run(data, bytes);
  return 0;
}
