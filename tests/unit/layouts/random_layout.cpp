#include "tests/unit/layouts/random_layout.h"

#include <array>
#include <cstdio>

#include "layouts/parser.h"
#include "wire/check.h"

namespace dipc::layout_test {
namespace {

const std::vector<std::string>& scalar_names() {
  static const std::vector<std::string> kNames = {
      "char",
      "signed char",
      "unsigned char",
      "short",
      "unsigned short",
      "int",
      "unsigned",
      "long",
      "unsigned long",
      "long long",
      "unsigned long long",
      "size_t",
      "ssize_t",
      "time_t",
      "bool",
      "float",
      "double",
      "int8_t",
      "uint8_t",
      "int16_t",
      "uint16_t",
      "int32_t",
      "uint32_t",
      "int64_t",
      "uint64_t",
      "pid",
      "uid",
      "gid",
  };
  return kNames;
}

// What `pid`, `uid` and `gid` may be held by.
const std::vector<std::string>& id_holders() {
  static const std::vector<std::string> kNames = {"short",         "unsigned short", "unsigned", "long",
                                                  "unsigned long", "long long",      "uint64_t", "size_t"};
  return kNames;
}

// A type, as a declaration says it and as C does.
struct RandomType {
  std::string declared, c;
  std::string counter;  // "" if a field of it may count an array; ".f2" if its field f2 may; else kNone
};
constexpr const char* kNone = "-";

class Generator {
 public:
  Generator(sim::Random& random, std::string prefix) : random_(random), prefix_(std::move(prefix)) {}

  RandomLayout generate(bool is_message) {
    if (random_.chance(60)) enumeration();
    if (random_.chance(60)) alias();
    const std::uint64_t inner = random_.below(4);
    for (std::uint64_t i = 0; i < inner; ++i) structure(prefix_ + "_" + std::to_string(i), Begin::kAnyField, false);
    const bool in_head = is_message && random_.chance(20);
    if (in_head) structure(prefix_ + "_head", Begin::kMtype, false);
    RandomLayout result;
    result.name = prefix_;
    structure(prefix_, in_head ? Begin::kHead : is_message ? Begin::kMtype : Begin::kAnyField, true);
    result.declaration = text_;
    result.c = c_;
    return result;
  }

 private:
  enum class Begin { kAnyField, kMtype, kHead };

  void both(const std::string& text) {
    text_ += text;
    c_ += text;
  }

  // Plain, packed, or of a type that is written down, which C of today can't: there it is that type itself.
  void enumeration() {
    constexpr std::array<const char*, 5> kHighest = {"1", "127", "200", "40000", "3000000000"};
    const std::string name = prefix_ + "_color";
    const std::string first = random_.chance(50) ? "0" : "-1";
    const std::size_t highest = static_cast<std::size_t>(random_.below(kHighest.size() - (first == "0" ? 0 : 1)));
    const std::string members = " { " + name + "_a = " + first + ", " + name + "_b = " + kHighest[highest] + " }";
    if (random_.chance(30)) {
      const bool is_short = highest < 3;
      text_ += "enum " + name + " : " + (is_short ? "int16_t" : "int64_t") + members + ";\n";
      add_type({"enum " + name, is_short ? "int16_t" : "int64_t", kNone});
      return;
    }
    both("enum " + name + members + (random_.chance(50) ? " __attribute__((packed))" : "") + ";\n");
    add_type({"enum " + name, "enum " + name, kNone});
  }

  void alias() {
    const std::string of = random_.pick(scalar_names());
    const std::string name = prefix_ + "_alias";
    both("typedef " + of + " " + name + ";\n");
    add_type({name, name, kNone});
  }

  void add_type(const RandomType& type) { types_.push_back(type); }

  RandomType type() {
    if (!types_.empty() && random_.chance(30)) return random_.pick(types_);
    if (random_.chance(8)) {
      const std::string held = random_.pick(id_holders());
      const std::string meaning = random_.pick(std::vector<std::string>{"pid ", "uid ", "gid "});
      return {meaning + held, held, kNone};
    }
    const std::string name = random_.pick(scalar_names());
    const bool counts = name == "int" || name == "uint16_t" || name == "size_t" || name == "unsigned char";
    return {name, name, counts ? "" : kNone};
  }

  std::string attributes(unsigned percent) {
    if (!random_.chance(percent)) return "";
    const bool packed = random_.chance(50);
    if (packed && random_.chance(70)) return " __attribute__((packed))";
    const std::uint64_t exponents = random_.chance(60) ? 5 : 8;
    const std::string aligned = "aligned(" + std::to_string(1U << random_.below(exponents)) + ")";
    return " __attribute__((" + std::string(packed ? "packed, " : "") + aligned + "))";
  }

  std::string dimensions() {
    std::string text;
    const std::uint64_t count = random_.chance(30) ? random_.between(1, 2) : 0;
    for (std::uint64_t i = 0; i < count; ++i) text += "[" + std::to_string(random_.between(1, 5)) + "]";
    return text;
  }

  // Returns what in it may count an array behind it.
  std::string field(const std::string& name, unsigned depth) {
    if (depth < 2 && random_.chance(8)) {
      nameless(name, depth);
      return kNone;
    }
    const RandomType of = type();
    const std::string lengths = dimensions();
    const std::string rest = " " + name + lengths + attributes(8) + ";\n";
    text_ += "  " + of.declared + rest;
    c_ += "  " + of.c + rest;
    return lengths.empty() && of.counter != kNone ? name + of.counter : kNone;
  }

  // struct { ... } a, a2[3];
  void nameless(const std::string& name, unsigned depth) {
    both("  struct {\n");
    const std::uint64_t count = random_.between(1, 3);
    for (std::uint64_t i = 0; i < count; ++i) field("i" + std::to_string(i), depth + 1);
    const std::string after = attributes(15);
    const std::string first = dimensions();
    const std::string second = random_.chance(30) ? ", " + name + "b" + dimensions() : "";
    both("  }" + after + " " + name + first + second + ";\n");
  }

  void structure(const std::string& name, Begin begin, bool is_outermost) {
    both("struct " + name + " {\n");
    if (begin == Begin::kMtype) both("  long mtype;\n");
    if (begin == Begin::kHead) both("  struct " + prefix_ + "_head head;\n");
    const std::uint64_t count = random_.between(begin == Begin::kMtype && !is_outermost ? 0 : 1, 7);
    std::vector<std::string> counters;
    if (!is_outermost && begin == Begin::kAnyField && random_.chance(30)) {
      both("  unsigned short count;\n");
      counters.emplace_back("count");
    }
    for (std::uint64_t i = 0; i < count; ++i) {
      const std::string found = field("f" + std::to_string(i), 0);
      if (found != kNone) counters.push_back(found);
    }
    if (is_outermost && random_.chance(40)) open_array(counters);
    const std::string after = attributes(15);
    both("}" + after + ";\n");
    if (begin == Begin::kMtype) return;  // in the head of a message once
    const std::string tag = "struct " + name;
    add_type({tag, tag, counters.empty() ? kNone : "." + random_.pick(counters)});
  }

  void open_array(const std::vector<std::string>& counters) {
    const RandomType of = type();
    std::string counter = !counters.empty() && random_.chance(60) ? random_.pick(counters) : "";
    for (const std::string& other : counters) {
      const bool is_nested = other.find('.') != std::string::npos;  // there are few
      if (is_nested && random_.chance(70)) counter = other;
    }
    const std::string more = random_.chance(20) ? "[" + std::to_string(random_.between(1, 3)) + "]" : "";
    text_ += "  " + of.declared + " tail[" + counter + "]" + more + ";\n";
    c_ += "  " + of.c + " tail[]" + more + ";\n";
  }

  sim::Random& random_;
  std::string prefix_;
  std::string text_;
  std::string c_;
  std::vector<RandomType> types_;
};

void add_places(const TypeSet& types, std::size_t structure, const Shapes& shapes, std::uint64_t elements,
                std::uint64_t base, const std::string& prefix, std::vector<Place>& found) {
  const StructDeclaration& declared = types.structs[structure];
  for (std::size_t i = 0; i < declared.fields.size(); ++i) {
    const Field& field = declared.fields[i];
    const FieldShape& at = shapes[structure].fields[i];
    std::vector<std::uint64_t> lengths(field.dimensions.begin(), field.dimensions.end());
    if (field.extent != Field::Extent::kFixed) lengths.insert(lengths.begin(), elements);
    std::uint64_t count = 1;
    for (const std::uint64_t length : lengths) count *= length;
    for (std::uint64_t element = 0; element < count; ++element) {
      std::string index;
      std::uint64_t rest = element;
      for (auto length = lengths.rbegin(); length != lengths.rend(); ++length) {
        index.insert(0, "[" + std::to_string(rest % *length) + "]");
        rest /= *length;
      }
      const std::uint64_t offset = base + at.offset + element * at.element_bytes;
      const std::string path = prefix + field.name + index;
      if (field.type.is_struct) {
        add_places(types, field.type.structure, shapes, 0, offset, path + ".", found);
      } else {
        found.push_back({field.type.scalar, offset, path});
      }
    }
  }
}

std::uint64_t truncated(std::uint64_t value, unsigned bytes, bool is_signed) {
  if (bytes == 8) return value;
  const std::uint64_t mask = (std::uint64_t{1} << (8 * bytes)) - 1;
  value &= mask;
  const bool negative = is_signed && (value >> (8 * bytes - 1)) != 0;
  return negative ? value | ~mask : value;
}

}  // namespace

RandomLayout random_layout(sim::Random& random, const std::string& prefix, bool is_message) {
  return Generator(random, prefix).generate(is_message);
}

std::string c_prelude() {
  return "#include <stdbool.h>\n#include <stddef.h>\n#include <stdint.h>\n"
         "typedef __PTRDIFF_TYPE__ ssize_t;\n"
         "#ifdef TIME_HAS_64_BITS\ntypedef int64_t time_t;\n#else\ntypedef long time_t;\n#endif\n"
         "typedef int pid;\ntypedef unsigned uid;\ntypedef unsigned gid;\n";
}

std::vector<Place> places(const TypeSet& types, std::size_t structure, const Shapes& shapes, std::uint64_t elements) {
  std::vector<Place> found;
  add_places(types, structure, shapes, elements, 0, {}, found);
  return found;
}

std::vector<std::uint64_t> random_values(sim::Random& random, const TypeSet& types, std::size_t structure,
                                         const Shapes& shapes, std::uint64_t elements) {
  const StructDeclaration& declared = types.structs[structure];
  std::string counter;
  if (declared.fields.back().extent == Field::Extent::kCounted) counter = declared.fields.back().counter_text;
  std::vector<std::uint64_t> values;
  for (const Place& place : places(types, structure, shapes, elements)) {
    const unsigned bytes = shapes.form().shape(place.scalar).size_bytes;
    const std::uint64_t draw = random.next();
    std::uint64_t value = draw;
    switch (random.below(8)) {
      case 0:
        value = std::uint64_t{1} << (draw % 64);  // 0x80 to 0x8000000000000000 among them
        break;
      case 1:
        value = (std::uint64_t{1} << (draw % 64)) - 1;
        break;
      case 2:
        value = ~(std::uint64_t{1} << (draw % 32));
        break;
      case 3:
      case 4:
      case 5:
        value = draw % 1000;
        break;
      default:
        break;
    }
    if (place.path == counter) value = elements;
    values.push_back(truncated(value, bytes, place.scalar.is_signed));
  }
  return values;
}

bool fits(const Scalar& scalar, std::uint64_t value, const Form& to) {
  return truncated(value, to.shape(scalar).size_bytes, scalar.is_signed) == value;
}

std::uint64_t end_of(const TypeSet& types, std::size_t structure, const Shapes& shapes, std::uint64_t elements) {
  const StructShape& shape = shapes[structure];
  const Field& last = types.structs[structure].fields.back();
  if (last.extent == Field::Extent::kFixed) return shape.end;
  return shape.end + elements * shape.fields.back().element_bytes * last.elements();
}

std::uint64_t padding_of(const TypeSet& types, std::size_t structure, const Shapes& shapes, std::uint64_t elements) {
  const std::uint64_t over = end_of(types, structure, shapes, elements) % shapes[structure].align;
  return over == 0 ? 0 : shapes[structure].align - over;
}

std::vector<std::byte> bytes_of(const TypeSet& types, std::size_t structure, const Shapes& shapes,
                                std::uint64_t elements, const std::vector<std::uint64_t>& values,
                                std::uint64_t padding) {
  std::vector<std::byte> bytes(static_cast<std::size_t>(end_of(types, structure, shapes, elements) + padding));
  const std::vector<Place> all = places(types, structure, shapes, elements);
  DIPC_CHECK(all.size() == values.size());
  for (std::size_t i = 0; i < all.size(); ++i) {
    const unsigned count = shapes.form().shape(all[i].scalar).size_bytes;
    for (unsigned b = 0; b < count; ++b) {
      const unsigned shift = shapes.form().byte_order() == ByteOrder::kLittle ? 8 * b : 8 * (count - 1 - b);
      bytes[static_cast<std::size_t>(all[i].offset) + b] = static_cast<std::byte>(values[i] >> shift);
    }
  }
  return bytes;
}

TypeSet parsed(const std::string& text) {
  const TypeFile file{"test.types", text};
  auto types = parse_types({&file, 1});
  if (!types) {
    for (const Trouble& one : types.error()) std::fprintf(stderr, "%s\n  %s\n", one.what.c_str(), one.remedy.c_str());
    std::fprintf(stderr, "%s", text.c_str());
  }
  DIPC_CHECK(types.has_value());
  return std::move(*types);
}

}  // namespace dipc::layout_test
