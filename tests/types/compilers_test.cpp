// Random structs, as our declarations and as C: what a layout says is where each machine's compiler puts things, and
// what the converter writes is what a program of that machine reads.

#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>

#include "layouts/conversion.h"
#include "tests/types/compilers.h"
#include "tests/unit/layouts/random_layout.h"

namespace dipc::types_test {
namespace {

using layout_test::RandomLayout;

constexpr int kAsserted = 150;
constexpr int kRun = 40;

std::uint64_t seed() {
  const char* given = std::getenv("DIPC_SEED");
  return given != nullptr ? std::strtoull(given, nullptr, 0) : 20;
}

struct Drawn {
  RandomLayout layout;
  std::shared_ptr<const TypeSet> types;
  std::size_t structure = 0;
  Kind kind = Kind::kSegment;
};

std::vector<Drawn> draw(sim::Random& random, int count) {
  std::vector<Drawn> drawn;
  for (int i = 0; i < count; ++i) {
    Drawn one;
    const bool is_message = random.chance(70);
    one.layout = layout_test::random_layout(random, "s" + std::to_string(i), is_message);
    one.types = std::make_shared<const TypeSet>(layout_test::parsed(one.layout.declaration));
    one.structure = *one.types->find(one.layout.name);
    one.kind = is_message ? Kind::kMessageQueue : Kind::kSegment;
    drawn.push_back(std::move(one));
  }
  return drawn;
}

std::string number(std::uint64_t value) { return std::to_string(value); }

// Offsets of all fields, sizes and alignments of all structs of a set; of its last one the offset of every number.
std::string assertions(const TypeSet& types, const Shapes& shapes) {
  std::string text;
  const std::string last = "struct " + types.structs.back().name;
  for (const layout_test::Place& place : layout_test::places(types, types.structs.size() - 1, shapes, 0)) {
    text += "_Static_assert(offsetof(" + last + ", " + place.path + ") == " + number(place.offset) + ", \"" + last +
            "." + place.path + "\");\n";
  }
  for (std::size_t i = 0; i < types.structs.size(); ++i) {
    const StructDeclaration& declared = types.structs[i];
    if (!declared.tagged) continue;  // nobody can name it; its fields are among the outermost struct's
    const std::string name = "struct " + declared.name;
    for (std::size_t f = 0; f < declared.fields.size(); ++f) {
      const std::string field = declared.fields[f].name;
      text += "_Static_assert(offsetof(" + name + ", " + field + ") == " + number(shapes[i].fields[f].offset) + ", \"" +
              name + "." + field + "\");\n";
    }
    text += "_Static_assert(sizeof(" + name + ") == " + number(shapes[i].size) + ", \"sizeof " + name + "\");\n";
    text +=
        "_Static_assert(_Alignof(" + name + ") == " + number(shapes[i].align) + ", \"alignment of " + name + "\");\n";
  }
  return text;
}

class Compilers : public testing::TestWithParam<Compiler> {
 protected:
  Form form() const {
    const std::string& machine = GetParam().machine;
    const std::size_t slash = machine.find('/');
    const Abi abi = *known_abi(machine.substr(0, slash));
    return *Form::native(slash == std::string::npos ? abi : with_time_bits(abi, 64));
  }
};

TEST_P(Compilers, PutFieldsWhereLayoutsSay) {
  sim::Random random(seed());
  std::string c = layout_test::c_prelude();
  for (const Drawn& one : draw(random, kAsserted)) {
    c += one.layout.c + assertions(*one.types, Shapes(*one.types, form()));
  }
  const Folder folder;
  const auto source = folder.write("layouts.c", c);
  const Ran ran = run("timeout 60 " + GetParam().command + " -w -ffreestanding -fsyntax-only " + source.string());
  EXPECT_EQ(ran.status, 0) << "DIPC_SEED=" << seed() << "\n" << ran.output.substr(0, 4000);
}

// That the assertions are looked at: one that is off by a byte fails.
TEST_P(Compilers, NoticeAWrongOffset) {
  const Folder folder;
  const auto source = folder.write("wrong.c", layout_test::c_prelude() +
                                                  "struct s { char c; int i; };\n"
                                                  "_Static_assert(offsetof(struct s, i) == 3, \"struct s.i\");\n");
  const Ran ran = run("timeout 60 " + GetParam().command + " -w -ffreestanding -fsyntax-only " + source.string());
  EXPECT_NE(ran.status, 0);
  EXPECT_NE(ran.output.find("struct s.i"), std::string::npos) << ran.output;
}

std::string hexadecimal(std::uint64_t value) {
  char text[24];
  std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(value));
  return text;
}

// Sets a number as the program's own C does. What C would change on the way (bool, float) goes in as bits.
std::string assignment(const layout_test::Place& place, const Form& form, std::uint64_t value) {
  const std::string field = "p->" + place.path;
  const unsigned bytes = form.shape(place.scalar).size_bytes;
  const ScalarKind kind = place.scalar.kind;
  if (kind == ScalarKind::kByte) return "  *(unsigned char *)&" + field + " = " + number(value & 0xffU) + ";\n";
  if (kind == ScalarKind::kFloat || kind == ScalarKind::kDouble) {
    return "  ((struct bits" + number(8 * bytes) + " *)&" + field + ")->bits = " + hexadecimal(value) + "ULL;\n";
  }
  return "  " + field + " = (long long)" + hexadecimal(value) + "ULL;\n";
}

// A function that fills the struct and says whether its bytes are the ones that the converter made.
std::string function(const Drawn& one, std::size_t index, const Form& form, sim::Random& random) {
  const Shapes shapes(*one.types, form);
  const std::uint64_t elements = one.types->structs[one.structure].is_open() ? random.below(4) : 0;
  const auto values = layout_test::random_values(random, *one.types, one.structure, shapes, elements);
  const Shapes canonical_shapes(*one.types, Form::canonical());
  auto canonical = layout_test::bytes_of(*one.types, one.structure, canonical_shapes, elements, values, 0);
  const bool is_message = one.kind == Kind::kMessageQueue;
  const std::uint64_t mtype = is_message ? shapes.form().shape(*one.types->mtype_of(one.structure)).size_bytes : 0;
  if (is_message) canonical.erase(canonical.begin(), canonical.begin() + 8);
  const auto conversion = *Conversion::compile(one.types, one.kind, one.structure, Form::canonical(), form);
  std::vector<std::byte> native(conversion.largest_result_bytes(canonical.size()));
  const Converted done = conversion.convert({canonical, {}}, native);
  EXPECT_EQ(done.error, Error::kNone) << conversion.describe(done).what;

  std::string text = "static unsigned char memory" + number(index) + "[" + number(native.size() + mtype + 32) +
                     "] __attribute__((aligned(128)));\nstatic const unsigned char expected" + number(index) + "[] = {";
  for (std::uint32_t i = 0; i < done.bytes; ++i) text += number(static_cast<unsigned>(native[i])) + ",";
  text += "0};\nstatic int check" + number(index) + "(void) {\n  struct " + one.layout.name + " *p = (void *)memory" +
          number(index) + ";\n";
  const auto places = layout_test::places(*one.types, one.structure, shapes, elements);
  for (std::size_t i = 0; i < places.size(); ++i) text += assignment(places[i], form, values[i]);
  return text + "  return same(memory" + number(index) + " + " + number(mtype) + ", expected" + number(index) + ", " +
         number(done.bytes) + ");\n}\n";
}

TEST_P(Compilers, MakeProgramsThatReadWhatTheConverterWrites) {
  if (GetParam().runner == "-") GTEST_SKIP() << "programs of " << GetParam().machine << " are not run here";
  sim::Random random(seed() + 1);
  std::string c = layout_test::c_prelude() +
                  "struct bits32 { uint32_t bits; } __attribute__((packed, may_alias));\n"
                  "struct bits64 { uint64_t bits; } __attribute__((packed, may_alias));\n"
                  "static int same(const unsigned char *a, const unsigned char *b, unsigned long bytes) {\n"
                  "  for (unsigned long i = 0; i < bytes; ++i)\n    if (a[i] != b[i]) return 0;\n  return 1;\n}\n" +
                  c_start();
  std::string calls;
  const auto drawn = draw(random, kRun);
  for (std::size_t index = 0; index < drawn.size(); ++index) {
    c += drawn[index].layout.c + function(drawn[index], index, form(), random);
    calls += "  if (!check" + number(index) + "()) return " + number(index + 1) + ";\n";
  }
  c += "int main_of_test(void) {\n" + calls + "  return 100;\n}\n";
  const Folder folder;
  const auto source = folder.write("program.c", c);
  const std::string program = (folder / "program").string();
  const Ran built = run("timeout 60 " + GetParam().command +
                        " -w -std=gnu11 -ffreestanding -fno-stack-protector -fno-pie -no-pie -nostdlib -static -o " +
                        program + " " + source.string() + " -lgcc");
  ASSERT_EQ(built.status, 0) << built.output.substr(0, 4000);
  const Ran ran = run("timeout 60 " + GetParam().runner + program);
  ASSERT_EQ(ran.status, 100) << "the number of the struct, from 1; DIPC_SEED=" << seed() << "\n"
                             << ran.output
                             << (ran.status > 0 && ran.status <= kRun
                                     ? drawn[static_cast<std::size_t>(ran.status - 1)].layout.declaration
                                     : "");
}

std::vector<Compiler> with_both_times() {
  std::vector<Compiler> all = compilers();
  for (const Compiler& one : compilers()) {
    if ((*known_abi(one.machine))[CType::kLong].size_bytes == 8) continue;
    all.push_back({one.machine + "/time64", one.command + " -DTIME_HAS_64_BITS", one.runner});
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(Machines, Compilers, testing::ValuesIn(with_both_times()),
                         [](const testing::TestParamInfo<Compiler>& one) {
                           std::string name;
                           for (const char c : one.param.machine) {
                             if (c != '-' && c != '/') name.push_back(c);
                           }
                           return name;
                         });

}  // namespace
}  // namespace dipc::types_test
