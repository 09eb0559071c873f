// What *.types files declare again: taken where it is the same, as in C of 2023, so that files with what two messages
// have in common can be put together.

#include <algorithm>

#include "layouts/parser_state.h"

namespace dipc {
namespace {

constexpr std::string_view kRemedy = "leave one of them out, or give one of them another name";

struct Unlike {
  std::string there, here;  // both empty: none
  bool found() const { return !there.empty(); }
};

Unlike differ(const std::string& there, const std::string& here) {
  return {there.empty() ? "nothing" : there, here.empty() ? "nothing" : here};
}

bool is_nameless(const TypeSet& types, const TypeUse& use) {
  return use.is_struct && !types.structs[use.structure].tagged;
}

// But for structs without a name, which are compared by what they have.
bool same_type(const TypeSet& types, const TypeUse& a, const TypeUse& b) {
  if (is_nameless(types, a) && is_nameless(types, b)) return true;
  if (a.is_struct || b.is_struct) return a.is_struct && b.is_struct && a.structure == b.structure;
  return a.scalar == b.scalar && a.enumeration == b.enumeration;
}

bool same_field(const TypeSet& types, const Field& a, const Field& b) {
  return a.name == b.name && same_type(types, a.type, b.type) && a.dimensions == b.dimensions && a.extent == b.extent &&
         a.counter == b.counter && a.packed == b.packed && a.aligned == b.aligned;
}

std::string attributes(const StructDeclaration& declared) {
  std::string text = declared.packed ? "packed" : "";
  if (declared.aligned > 1) text += (text.empty() ? "" : " ") + ("aligned(" + std::to_string(declared.aligned) + ")");
  return text.empty() ? "without attributes" : text;
}

// Of two structs. `within`: " in 'outer'" of those without a name.
Unlike unlike_in(const TypeSet& types, std::size_t there, std::size_t here, const std::string& within) {
  const StructDeclaration& a = types.structs[there];
  const StructDeclaration& b = types.structs[here];
  const auto text = [&within](const StructDeclaration& declared, std::size_t i) {
    return i < declared.fields.size() ? "'" + to_declaration(declared.fields[i]) + "'" + within : "";
  };
  std::size_t compared = here;  // the inner struct before: that of `a, b` is one, and compared for each it would double
  for (std::size_t i = 0; i < std::max(a.fields.size(), b.fields.size()); ++i) {
    const bool both = i < a.fields.size() && i < b.fields.size();
    if (!both || !same_field(types, a.fields[i], b.fields[i])) return differ(text(a, i), text(b, i));
    const TypeUse& one = a.fields[i].type;
    const TypeUse& other = b.fields[i].type;
    if (!is_nameless(types, one) || other.structure == compared) continue;
    compared = other.structure;
    const Unlike inner = unlike_in(types, one.structure, other.structure, " in '" + a.fields[i].name + "'" + within);
    if (inner.found()) return inner;
  }
  if (a.packed == b.packed && a.aligned == b.aligned) return {};
  return differ(attributes(a) + within, attributes(b) + within);
}

Unlike unlike_in(const EnumDeclaration& a, const EnumDeclaration& b) {
  const auto text = [](const EnumDeclaration& declared, std::size_t i) {
    if (i >= declared.members.size()) return std::string();
    return "'" + declared.members[i].name + " = " + std::to_string(declared.members[i].value) + "'";
  };
  for (std::size_t i = 0; i < std::max(a.members.size(), b.members.size()); ++i) {
    if (text(a, i) != text(b, i)) return differ(text(a, i), text(b, i));
  }
  if (a.type.scalar == b.type.scalar) return {};
  return differ("held by " + a.type.text, "by " + b.type.text);
}

bool fail_as_another(ParserState& state, const Token& where, const std::string& what, const std::string& first_place,
                     const Unlike& unlike) {
  return state.fail(where,
                    what + " is declared twice, first at " + first_place + ", and not the same: " + unlike.there +
                        " there, " + unlike.here + " here",
                    kRemedy);
}

}  // namespace

bool declare_struct_again(ParserState& state, const Token& name, std::size_t first_of_it, TypeUse& use) {
  const std::size_t known = state.tags.find(name.text)->second;
  if (state.contents[known].is_broken) return true;  // of that one all is said
  const Unlike found = unlike_in(state.types, known, use.structure, "");
  if (found.found()) {
    const StructDeclaration& declared = state.types.structs[known];
    return fail_as_another(state, name, "struct " + declared.name, declared.place, found);
  }
  state.forget_structs_from(first_of_it);  // those with a name in it are older
  use.structure = known;
  use.text = "struct " + std::string(name.text);
  return true;
}

bool declare_alias_again(ParserState& state, const Token& name, const TypeUse& use) {
  const ParserState::NamedType& known = state.aliases.find(name.text)->second;
  if (same_type(state.types, known.use, use)) return true;
  const auto text = [](const TypeUse& one) { return "'" + one.text + "'"; };
  return fail_as_another(state, name, shown(name), known.place, {text(known.use), text(use)});
}

bool declare_enum_again(ParserState& state, const Token& where, const EnumDeclaration& declared, std::size_t known) {
  const Unlike found = unlike_in(state.types.enums[known], declared);
  if (!found.found()) return true;
  if (declared.name.empty()) return false;
  return fail_as_another(state, where, "enum " + declared.name, state.enum_tags.find(declared.name)->second.place,
                         found);
}

}  // namespace dipc
