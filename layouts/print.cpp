// Declarations as text.

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

std::string to_declaration(const TypeSet& types, std::size_t structure) { return Printer(types).print(structure); }

}  // namespace dipc
