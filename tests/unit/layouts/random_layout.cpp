#include "tests/unit/layouts/random_layout.h"

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

class Generator {
 public:
  Generator(sim::Random& random, std::string prefix) : random_(random), prefix_(std::move(prefix)) {}

  RandomLayout generate(bool is_message) {
    const std::uint64_t inner = random_.below(4);
    for (std::uint64_t i = 0; i < inner; ++i) structure(prefix_ + "_" + std::to_string(i), false, false);
    RandomLayout result;
    result.name = prefix_;
    structure(prefix_, is_message, true);
    result.declaration = text_;
    result.c = c_;
    return result;
  }

 private:
  void line(const std::string& text) { both("  " + text + ";\n"); }
  void both(const std::string& text) {
    text_ += text;
    c_ += text;
  }

  std::string type() {
    if (!names_.empty() && random_.chance(25)) return "struct " + random_.pick(names_);
    return random_.pick(scalar_names());
  }

  std::string attributes(unsigned percent) {
    if (!random_.chance(percent)) return "";
    const bool packed = random_.chance(50);
    if (packed && random_.chance(70)) return " __attribute__((packed))";
    const std::string aligned = "aligned(" + std::to_string(1U << random_.below(5)) + ")";
    return " __attribute__((" + std::string(packed ? "packed, " : "") + aligned + "))";
  }

  void structure(const std::string& name, bool is_message, bool is_outermost) {
    both("struct " + name + " {\n");
    if (is_message) line("long mtype");
    const std::uint64_t count = random_.between(1, 7);
    std::string counter;
    for (std::uint64_t i = 0; i < count; ++i) {
      std::string field = type();
      const bool counts = field == "int" || field == "uint16_t" || field == "size_t" || field == "unsigned char";
      const std::string field_name = "f" + std::to_string(i);
      field += " " + field_name;
      const std::uint64_t dimensions = random_.chance(30) ? random_.between(1, 2) : 0;
      for (std::uint64_t d = 0; d < dimensions; ++d) field += "[" + std::to_string(random_.between(1, 5)) + "]";
      if (counts && dimensions == 0) counter = field_name;
      line(field + attributes(8));
    }
    if (is_outermost && random_.chance(40)) open_array(counter);
    const std::string after = attributes(15);
    both("}" + after + ";\n");
    names_.push_back(name);
  }

  void open_array(const std::string& counter) {
    const std::string of = type();
    const bool counted = !counter.empty() && random_.chance(50);
    const std::string more = random_.chance(20) ? "[" + std::to_string(random_.between(1, 3)) + "]" : "";
    text_ += "  " + of + " tail[" + (counted ? counter : "") + "]" + more + ";\n";
    c_ += "  " + of + " tail[]" + more + ";\n";
  }

  sim::Random& random_;
  std::string prefix_;
  std::string text_;
  std::string c_;
  std::vector<std::string> names_;
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
         "typedef __PTRDIFF_TYPE__ ssize_t;\ntypedef long time_t;\n"
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
