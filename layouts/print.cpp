// Declarations as text.

#include <set>

#include "layouts/declarations.h"

namespace dipc {
namespace {

void attributes(std::string& text, bool packed, std::uint32_t aligned) {
  if (packed) text += " packed";
  if (aligned > 1) text += " aligned(" + std::to_string(aligned) + ")";
}

class Printer {
 public:
  explicit Printer(const TypeSet& types) : types_(types) {}

  std::string print(std::size_t structure) {
    declare(structure);
    return std::move(text_);
  }

 private:
  void declare(std::size_t structure) {
    if (!done_.insert(structure).second) return;
    needed_by(structure);
    const StructDeclaration& declared = types_.structs[structure];
    text_ += "struct " + declared.name + " " + body(declared, "") + ";\n";
  }

  void needed_by(std::size_t structure) {
    for (const Field& field : types_.structs[structure].fields) {
      if (field.type.is_struct && types_.structs[field.type.structure].tagged) declare(field.type.structure);
      if (field.type.is_struct && !types_.structs[field.type.structure].tagged) needed_by(field.type.structure);
      if (!field.type.is_struct) declare_enum(field.type.text);
    }
  }

  void declare_enum(const std::string& use) {
    for (const EnumDeclaration& one : types_.enums) {
      if (use != "enum " + one.name || one.name.empty() || !enums_done_.insert(one.name).second) continue;
      text_ += "enum " + one.name + (one.type.text == "int" ? "" : " : " + one.type.text) + " {\n";
      for (const EnumDeclaration::Member& member : one.members) {
        text_ += "  " + member.name + " = " + std::to_string(member.value) + ",\n";
      }
      text_ += "};\n";
    }
  }

  std::string body(const StructDeclaration& declared, const std::string& indent) const {
    std::string text = "{\n";
    for (const Field& field : declared.fields) {
      text += indent + "  ";
      const bool is_inner = field.type.is_struct && !types_.structs[field.type.structure].tagged;
      text += is_inner ? "struct " + body(types_.structs[field.type.structure], indent + "  ") : field.type.text;
      text += " " + field.name;
      if (field.extent == Field::Extent::kOpen) text += "[]";
      if (field.extent == Field::Extent::kCounted) text += "[" + field.counter_text + "]";
      for (const std::uint32_t dimension : field.dimensions) text += "[" + std::to_string(dimension) + "]";
      attributes(text, field.packed, field.aligned);
      text += ";\n";
    }
    text += indent + "}";
    attributes(text, declared.packed, declared.aligned);
    return text;
  }

  const TypeSet& types_;
  std::string text_;
  std::set<std::size_t> done_;
  std::set<std::string> enums_done_;
};

}  // namespace

std::string to_declaration(const TypeSet& types, std::size_t structure) { return Printer(types).print(structure); }

}  // namespace dipc
