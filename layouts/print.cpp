// Declarations as text.

#include <cstdio>
#include <set>

#include "layouts/declarations.h"

namespace dipc {
namespace {

void add_attributes(std::string& text, bool packed, std::uint32_t aligned) {
  if (packed) text += " packed";
  if (aligned > 1) text += " aligned(" + std::to_string(aligned) + ")";
}

std::string declarator(const Field& field) {
  std::string text = field.name;
  if (field.extent == Field::Extent::kOpen) text += "[]";
  if (field.extent == Field::Extent::kCounted) text += "[" + field.counter_text + "]";
  for (const std::uint32_t dimension : field.dimensions) text += "[" + std::to_string(dimension) + "]";
  add_attributes(text, field.packed, field.aligned);
  return text;
}

class Printer {
 public:
  explicit Printer(const TypeSet& types) : types_(types) {}

  // With what it needs, but for what was declared before.
  void declare(std::size_t structure) {
    if (!done_.insert(structure).second) return;
    needed_by(structure);
    const StructDeclaration& declared = types_.structs[structure];
    text_ += "struct " + declared.name + " " + body(declared, "") + ";\n";
  }
  std::string take() { return std::move(text_); }

 private:
  void needed_by(std::size_t structure) {
    for (const Field& field : types_.structs[structure].fields) {
      if (field.type.is_struct && types_.structs[field.type.structure].tagged) declare(field.type.structure);
      if (field.type.is_struct && !types_.structs[field.type.structure].tagged) needed_by(field.type.structure);
      if (field.type.enumeration) declare_enum(*field.type.enumeration);
    }
  }

  void declare_enum(std::size_t index) {
    if (!enums_done_.insert(index).second) return;
    const EnumDeclaration& declared = types_.enums[index];
    text_ += "enum " + declared.name + (declared.has_type ? " : " + declared.type.text : "") + " {\n";
    for (const EnumDeclaration::Member& member : declared.members) {
      text_ += "  " + member.name + " = " + std::to_string(member.value) + ",\n";
    }
    text_ += "};\n";
  }

  bool is_nameless(const Field& field) const {
    return field.type.is_struct && !types_.structs[field.type.structure].tagged;
  }

  std::string body(const StructDeclaration& declared, const std::string& indent) const {
    std::string text = "{\n";
    const Field* before = nullptr;
    for (const Field& field : declared.fields) {
      // Fields of one struct without a name are one declaration: written out for each of them, nested ones double.
      const bool continues = before != nullptr && is_nameless(field) && is_nameless(*before) &&
                             field.type.structure == before->type.structure;
      if (continues) {
        text += ",";
      } else {
        text += before == nullptr ? "" : ";\n";
        text += indent + "  ";
        text += is_nameless(field) ? "struct " + body(types_.structs[field.type.structure], indent + "  ")
                                   : field.type.text;
      }
      text += " " + declarator(field);
      before = &field;
    }
    text += ";\n" + indent + "}";
    add_attributes(text, declared.packed, declared.aligned);
    return text;
  }

  const TypeSet& types_;
  std::string text_;
  std::set<std::size_t> done_;
  std::set<std::size_t> enums_done_;
};

}  // namespace

std::string to_declaration(const Field& field) { return field.type.text + " " + declarator(field); }

std::string to_declaration(const TypeSet& types, std::size_t structure) {
  Printer printer(types);
  printer.declare(structure);
  return printer.take();
}

std::string to_declaration(const TypeSet& types, const std::vector<std::size_t>& structures) {
  Printer printer(types);
  for (const std::size_t structure : structures) printer.declare(structure);
  return printer.take();
}

std::string keys_text(const Binding& binding) {
  using Which = Binding::Keys::Which;
  std::string text;
  const auto add = [&text](std::uint32_t key) {
    char digits[16];
    std::snprintf(digits, sizeof(digits), "0x%08x", static_cast<unsigned>(key));
    text += digits;
  };
  for (const Binding::Keys& keys : binding.keys) {
    if (!text.empty()) text += ", ";
    if (keys.which == Which::kAll) text += "all";
    if (keys.which == Which::kPrivate) text += "private";
    if (keys.which != Which::kRange) continue;
    add(keys.first);
    if (keys.first == keys.last) continue;
    text += "-";
    add(keys.last);
  }
  return text;
}

std::string to_declaration(const TypeSet& types, const Binding& binding, const std::string& keys) {
  const auto name = [&types](std::size_t structure) { return types.structs[structure].name; };
  std::string text = binding.kind == Kind::kSegment ? "bind shm " : "bind msg ";
  text += keys + " to ";
  if (binding.cases.empty() && binding.otherwise) return text + name(*binding.otherwise) + ";\n";
  text += "{";
  for (const Binding::MtypeCase& one : binding.cases) {
    text += " " + std::to_string(one.first);
    if (one.last != one.first) text += "-" + std::to_string(one.last);
    text += ": " + name(one.structure) + ";";
  }
  if (binding.otherwise) text += " default: " + name(*binding.otherwise) + ";";
  return text + " };\n";
}

}  // namespace dipc
