// Random layouts, random values, every ordered pair of ABIs: what a conversion gives is what the values are on the
// other side, byte for byte, or EOVERFLOW exactly when one of them does not fit there. DIPC_SEED=N repeats the run that
// failed.

#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <memory>

#include "layouts/conversion.h"
#include "layouts/parser.h"
#include "tests/unit/layouts/random_layout.h"

namespace dipc::layout_test {
namespace {

const std::vector<std::string>& machines() {
  static const std::vector<std::string> kMachines = {
      "x86-64", "i386", "m68k", "s390x", "arm64", "m68k, time_t of 64 bits", "i386, time_t of 64 bits"};
  return kMachines;
}

Form form_of(const std::string& machine) {
  const Abi abi = *known_abi(machine.substr(0, machine.find(',')));
  return *Form::native(machine.find(',') == std::string::npos ? abi : with_time_bits(abi, 64));
}

// The payload of a struct.
struct Case {
  std::shared_ptr<const TypeSet> types;
  std::size_t structure = 0;
  Kind kind = Kind::kSegment;  // a queue: the payload is without its mtype
  std::uint64_t elements = 0;
  std::vector<std::uint64_t> values;
  Ending ending = Ending::kLastField;

  std::vector<std::byte> payload(const Shapes& shapes) const {
    const std::uint64_t padding = ending == Ending::kPadded ? padding_of(*types, structure, shapes, elements) : 0;
    std::vector<std::byte> bytes = bytes_of(*types, structure, shapes, elements, values, padding);
    const bool is_message = kind == Kind::kMessageQueue;
    const std::uint64_t skipped = is_message ? shapes.form().shape(*types->mtype_of(structure)).size_bytes : 0;
    bytes.erase(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(skipped));
    return bytes;
  }
  // Padding behind an open array that nothing counts would be taken for elements if it has room for one.
  bool is_ambiguous(const Shapes& shapes) const {
    const Field& last = types->structs[structure].fields.back();
    const std::uint64_t element = shapes[structure].fields.back().element_bytes * last.elements();
    return last.extent == Field::Extent::kOpen && padding_of(*types, structure, shapes, elements) >= element;
  }
  // Where the sender's length says nothing of padding, a fixed struct counts as padded and an open array as not.
  Ending expected_ending(const Shapes& from, const Shapes& to) const {
    if (is_ambiguous(to)) return Ending::kLastField;
    if (padding_of(*types, structure, from, elements) > 0) return ending;
    return types->structs[structure].is_open() ? Ending::kLastField : Ending::kPadded;
  }
  // Of the first value that `to` can't hold; npos: all fit.
  std::size_t first_that_overflows(const Form& to) const {
    const auto all = places(*types, structure, Shapes(*types, to), elements);
    const std::size_t first = kind == Kind::kMessageQueue ? 1 : 0;
    for (std::size_t i = first; i < all.size(); ++i) {
      if (!fits(all[i].scalar, values[i], to)) return i;
    }
    return std::string::npos;
  }
};

// A buffer of its own for each result, so that a byte too many is seen by the sanitizer; filled, so that a padding that
// is not zeroed is seen.
struct Outcome {
  Converted converted;
  std::vector<std::byte> bytes;
};
Outcome converted(const Conversion& conversion, const std::vector<std::byte>& payload, Ending ending,
                  IdRewriter* rewriter = nullptr) {
  Outcome result;
  result.bytes.assign(conversion.largest_result_bytes(payload.size()), std::byte{0xaa});
  result.converted = conversion.convert({payload, ending}, result.bytes, rewriter);
  if (result.converted.error == Error::kNone) result.bytes.resize(result.converted.bytes);
  return result;
}

// Leaves every id as it is and writes down what it was asked.
class ListeningRewriter final : public IdRewriter {
 public:
  Answer rewrite(Meaning meaning, std::int64_t value) override {
    asked.emplace_back(meaning, value);
    return {Error::kNone, value};
  }
  std::vector<std::pair<Meaning, std::int64_t>> asked;
};

// With somebody who is asked for ids all is as without, and the ids are asked for in the payload's order.
void check_ids(const Case& one, const Conversion& conversion, const std::vector<std::byte>& payload, const Shapes& from,
               const Outcome& expected) {
  ListeningRewriter rewriter;
  const Outcome found = converted(conversion, payload, one.ending, &rewriter);
  ASSERT_EQ(found.converted.error, expected.converted.error);
  ASSERT_EQ(found.converted.at, expected.converted.at);
  if (found.converted.error != Error::kNone) return;
  EXPECT_EQ(found.bytes, expected.bytes);
  std::vector<std::pair<Meaning, std::int64_t>> ids;
  const auto all = places(*one.types, one.structure, from, one.elements);
  for (std::size_t i = one.kind == Kind::kMessageQueue ? 1 : 0; i < all.size(); ++i) {
    if (all[i].scalar.meaning == Meaning::kNumber) continue;
    ids.emplace_back(all[i].scalar.meaning, static_cast<std::int64_t>(one.values[i]));
  }
  EXPECT_EQ(rewriter.asked, ids);
}

void check_pair(const Case& one, const Form& from, const Form& to) {
  const Shapes from_shapes(*one.types, from);
  const Shapes to_shapes(*one.types, to);
  const auto out = *Conversion::compile(one.types, one.kind, one.structure, from, Form::canonical());
  const auto in = *Conversion::compile(one.types, one.kind, one.structure, Form::canonical(), to);
  const auto straight = *Conversion::compile(one.types, one.kind, one.structure, from, to, Conversion::Engine::kPlain);
  const auto shuffled = *Conversion::compile(one.types, one.kind, one.structure, from, to);
  const std::vector<std::byte> payload = one.payload(from_shapes);

  const Outcome canonical = converted(out, payload, {});
  ASSERT_EQ(canonical.converted.error, Error::kNone) << out.describe(canonical.converted).what;
  const Outcome arrived = converted(in, canonical.bytes, canonical.converted.ending);
  const Outcome directly = converted(straight, payload, {});
  EXPECT_EQ(arrived.converted.error, directly.converted.error);
  check_ids(one, shuffled, payload, from_shapes, converted(shuffled, payload, {}));

  const std::size_t overflow = one.first_that_overflows(to);
  if (overflow != std::string::npos) {
    const auto all = places(*one.types, one.structure, from_shapes, one.elements);
    ASSERT_EQ(arrived.converted.error, Error::kOverflow) << "of " << all[overflow].path;
    const std::string path = one.types->structs[one.structure].name + "." + all[overflow].path + " is ";
    EXPECT_EQ(in.describe(arrived.converted).what.substr(0, path.size()), path);
    EXPECT_EQ(straight.describe(directly.converted).what.substr(0, path.size()), path);
    return;
  }
  ASSERT_EQ(arrived.converted.error, Error::kNone) << in.describe(arrived.converted).what;
  Case expected = one;
  expected.ending = one.expected_ending(from_shapes, to_shapes);
  EXPECT_EQ(arrived.bytes, expected.payload(to_shapes));
  EXPECT_EQ(directly.bytes, arrived.bytes);
  EXPECT_EQ(converted(shuffled, payload, {}).bytes, arrived.bytes);

  const auto back_out = *Conversion::compile(one.types, one.kind, one.structure, to, Form::canonical());
  const auto back_in = *Conversion::compile(one.types, one.kind, one.structure, Form::canonical(), from);
  const Outcome back_canonical = converted(back_out, arrived.bytes, {});
  ASSERT_EQ(back_canonical.converted.error, Error::kNone);
  EXPECT_EQ(back_canonical.bytes, canonical.bytes);
  const Outcome back = converted(back_in, back_canonical.bytes, one.ending);
  ASSERT_EQ(back.converted.error, Error::kNone);
  EXPECT_EQ(back.bytes, payload);
}

// That the draws have what they are to have.
void note_what_is_drawn(const TypeSet& types, std::size_t structure, std::map<std::string, unsigned>& seen) {
  const StructDeclaration& declared = types.structs[structure];
  if (declared.fields.front().name == "head") ++seen["type in a nested struct"];
  if (declared.fields.back().counter.size() > 1) ++seen["nested counter"];
  for (const StructDeclaration& one : types.structs) {
    if (!one.tagged) ++seen["struct without a name"];
    for (const Field& field : one.fields) {
      if (field.type.enumeration) ++seen["enum"];
      const Scalar& scalar = field.type.scalar;
      if (scalar.meaning != Meaning::kNumber && scalar.kind != ScalarKind::kInt) ++seen["id held by another type"];
      if (field.aligned > 16) ++seen["alignment above 16"];
    }
  }
}

void check_layout(std::uint64_t seed, std::map<std::string, unsigned>& seen) {
  sim::Random random(seed);
  const bool is_message = random.chance(70);
  const RandomLayout layout = random_layout(random, "s", is_message);
  SCOPED_TRACE(layout.declaration);
  Case one;
  one.types = std::make_shared<const TypeSet>(parsed(layout.declaration));
  one.structure = *one.types->find(layout.name);
  one.kind = is_message ? Kind::kMessageQueue : Kind::kSegment;
  const StructDeclaration& declared = one.types->structs[one.structure];
  const TypeSet again = parsed(to_declaration(*one.types, one.structure));
  ASSERT_EQ(to_declaration(again, *again.find(layout.name)), to_declaration(*one.types, one.structure));
  note_what_is_drawn(*one.types, one.structure, seen);
  for (const std::string& from : machines()) {
    const Shapes shapes(*one.types, form_of(from));
    one.elements = declared.is_open() ? random.below(6) : 0;
    one.values = random_values(random, *one.types, one.structure, shapes, one.elements);
    one.ending = random.chance(50) && !one.is_ambiguous(shapes) ? Ending::kPadded : Ending::kLastField;
    for (const std::string& to : machines()) {
      SCOPED_TRACE(from + " to " + to);
      check_pair(one, form_of(from), form_of(to));
      ++seen[one.first_that_overflows(form_of(to)) == std::string::npos ? "fits" : "overflows"];
      if (testing::Test::HasFailure()) return;
    }
  }
}

TEST(LayoutProperties, EveryPairOfMachinesKeepsValuesOrSaysThatOneDoesNotFit) {
  const char* given = std::getenv("DIPC_SEED");
  const std::uint64_t first = given != nullptr ? std::strtoull(given, nullptr, 0) : 1;
  const std::uint64_t count = given != nullptr ? 1 : SEEDS;
  std::map<std::string, unsigned> seen;
  for (std::uint64_t seed = first; seed < first + count; ++seed) {
    check_layout(seed, seen);
    if (HasFailure()) FAIL() << "seed " << seed << "; DIPC_SEED=" << seed << " repeats it";
  }
  if (given == nullptr) {
    std::printf("seeds 1 to %u: %u conversions fit, %u overflow\n", static_cast<unsigned>(count), seen["fits"],
                seen["overflows"]);
    EXPECT_GT(seen["fits"], 20 * count);
    EXPECT_GT(seen["overflows"], count);
    for (const char* drawn : {"type in a nested struct", "nested counter", "struct without a name", "enum",
                              "id held by another type", "alignment above 16"}) {
      std::printf("%s: %u\n", drawn, seen[drawn]);
      EXPECT_GT(seen[drawn], 0U) << drawn;
    }
  }
}

}  // namespace
}  // namespace dipc::layout_test
