// Structs of *.types files.

#include <algorithm>
#include <set>

#include "layouts/parser_state.h"

namespace dipc {
namespace {

class StructParser {
 public:
  explicit StructParser(ParserState& state) : state_(state) { ++state_.open_structs; }
  ~StructParser() { --state_.open_structs; }
  StructParser(const StructParser&) = delete;
  StructParser& operator=(const StructParser&) = delete;

  // From '{' to the attributes behind '}'. The struct is declared even if something is wrong with a field.
  bool body(StructDeclaration structure, TypeUse& use) {
    const Token begin = state_.take();
    const int inside = state_.depth();
    bool good = true;
    while (!state_.peek().is("}") && !state_.at_end() && !begins_declaration(state_) &&
           state_.has_room_for_troubles()) {
      if (!field_line(structure)) {
        good = false;
        state_.skip_to_end_of(inside);
      }
    }
    if (!state_.expect("}", "the last field")) {
      state_.leave_to(inside - 1);
      good = false;
    } else if (!parse_attributes(state_, structure.packed, structure.aligned)) {
      good = false;
    }
    if (good && structure.fields.empty()) {
      good = state_.fail(begin, "a struct without fields carries nothing", kFieldForm);
    }
    if (structure.fields.empty())
      structure.fields.push_back({"nothing", {"int", false, {}, 0}, {}, {}, {}, {}, false, 1, {}});
    content_.is_broken = content_.is_broken || !good;
    return declare(std::move(structure), begin, use) && good;
  }

 private:
  bool declare(StructDeclaration structure, const Token& begin, TypeUse& use) {
    use.is_struct = true;
    use.structure = state_.types.structs.size();
    use.text = structure.tagged ? "struct " + structure.name : "struct {...}";
    state_.sizes.add(structure);
    state_.contents.push_back(content_);
    const bool too_large = state_.sizes[use.structure].size > kStructBytesMax;
    const bool lonely = structure.is_open() && structure.fields.size() == 1;
    if (structure.tagged) state_.tags.emplace(structure.name, use.structure);
    state_.types.structs.push_back(std::move(structure));
    name_inner_structs(state_.types, use.structure);
    if (too_large) return state_.fail(begin, "this struct has more than 1 GiB", "declare shorter arrays");
    if (lonely)
      return state_.fail(begin, "C wants a field before an open array", "declare what is before it, or its length");
    return true;
  }

  // type a, b[8];
  bool field_line(StructDeclaration& structure) {
    TypeUse use;
    const Token type = state_.peek();
    if (refuse_pointer(state_) || !parse_type(state_, use)) return false;
    if (use.is_struct && state_.types.structs[use.structure].is_open()) {
      return state_.fail(type, use.text + " ends in an open array and can't be part of another struct",
                         "declare the open array here, as the last field");
    }
    for (;;) {
      if (!declarator(structure, use, type)) return false;
      const Token comma = state_.peek();
      if (!state_.take_if(",")) break;
      if (begins_field(state_.peek()))
        return state_.fail(comma, "expected ';' after the field, found ','", "write ';' here");
    }
    if (state_.peek().is("=")) {
      return state_.fail(state_.peek(), "fields have no initial values here", "leave out what is from '=' to the ';'");
    }
    return state_.expect(";", "the field", kAttributeWords);
  }

  // Behind a ',': a type, with a name behind it? Then it is another field's.
  bool begins_field(const Token& word) const {
    const bool is_type = word.is("struct") || word.is("enum") || word.is("long") || word.is("short") ||
                         word.is("unsigned") || word.is("signed") || scalar_named({word.text});
    return is_type && state_.peek(1).kind == Token::Kind::kName && !begins_attribute(state_, 1);
  }

  bool declarator(StructDeclaration& structure, const TypeUse& use, const Token& type) {
    Field field;
    field.type = use;
    const Token name = state_.peek();
    if (refuse_pointer(state_)) return false;
    if (name.kind == Token::Kind::kSymbol && name.is(";") && use.is_struct) {
      return state_.fail(name, "a struct inside a struct needs a name here",
                         "write struct { ... } name; or, if it is no part of the other, end that before it with };");
    }
    if (name.is(":")) return bit_field(name, "this field");
    if (name.kind != Token::Kind::kName) return state_.fail_at_word("the name of a field", kFieldForm);
    if (refuse_keyword(state_)) return false;
    field.name = name.text;
    field.place = state_.place(name);
    state_.take();
    if (state_.peek().is(":")) return bit_field(state_.peek(), field.name);
    if (!structure.fields.empty() && structure.is_open()) {
      return state_.fail(name, "'" + field.name + "' comes after an open array, which has no end",
                         "make the open array the last field, or give it a length");
    }
    if (names_.contains(name.text)) {
      return state_.fail(name, "the struct has two fields called '" + field.name + "'", "rename one of them");
    }
    if (!dimensions(structure, field)) return false;
    if (!parse_attributes(state_, field.packed, field.aligned)) return false;
    if (!fits(field, name, type)) return false;
    names_.insert(name.text);
    structure.fields.push_back(std::move(field));
    return true;
  }

  bool bit_field(const Token& colon, const std::string& name) {
    return state_.fail(colon, name + " is a bit-field, which every compiler places as it likes",
                       "declare the integer that holds the bits, and use masks in the program");
  }

  bool dimensions(const StructDeclaration& structure, Field& field) {
    bool first = true;
    while (state_.peek().is("[")) {
      const Token bracket = state_.take();
      const Token inside = state_.peek();
      if (inside.is("]")) {
        if (!first)
          return state_.fail(inside, "only the first length of an array can be left open", "write a length here");
        field.extent = Field::Extent::kOpen;
      } else if (inside.kind == Token::Kind::kName && !names_constant(inside) && !inside.is("sizeof")) {
        if (!first)
          return state_.fail(inside, "only the first length of an array can be a field", "write a length here");
        if (!counter(structure, field)) return false;
      } else if (!length(field, bracket)) {
        return false;
      }
      if (!state_.expect("]", "the length")) return false;
      first = false;
    }
    return true;
  }

  // A field of that name comes first: `items[count]` means what the struct says.
  bool names_constant(const Token& name) const {
    return state_.constants.contains(name.text) && !names_.contains(name.text);
  }

  bool length(Field& field, const Token& bracket) {
    std::int64_t value = 0;
    if (!parse_constant(state_, value)) return false;
    if (value < 1 || value > static_cast<std::int64_t>(kStructBytesMax)) {
      return state_.fail(bracket, "an array can't have " + std::to_string(value) + " elements",
                         "write a length from 1 to 1073741824, or [] for an array that ends with the message");
    }
    field.dimensions.push_back(static_cast<std::uint32_t>(value));
    if (field.dimensions.size() > 8) return state_.fail(bracket, "an array of more than 8 dimensions", "use fewer");
    return true;
  }

  // header.count
  bool counter(const StructDeclaration& structure, Field& field) {
    const std::vector<Field>* fields = &structure.fields;
    for (;;) {
      const Token name = state_.peek();
      if (name.kind != Token::Kind::kName)
        return state_.fail_at_word("the name of a field", "write items[header.count]");
      const auto found =
          std::find_if(fields->begin(), fields->end(), [&name](const Field& one) { return one.name == name.text; });
      if (found == fields->end()) {
        if (state_.refused.contains(name.text)) return false;
        std::vector<std::string_view> near = names_in(state_.constants);
        for (const Field& one : *fields) near.push_back(one.name);
        return state_.fail(name, shown(name) + " is neither a constant nor an earlier field",
                           remedy_or("declare it above: enum { LENGTH = 64 };, or the field that counts the array "
                                     "before it",
                                     name.text, near));
      }
      state_.take();
      field.counter.push_back(static_cast<std::size_t>(found - fields->begin()));
      field.counter_text += (field.counter_text.empty() ? "" : ".") + found->name;
      const bool is_one = found->dimensions.empty() && found->extent == Field::Extent::kFixed;
      if (found->type.is_struct && is_one && state_.take_if(".")) {
        fields = &state_.types.structs[found->type.structure].fields;
        continue;
      }
      if (state_.peek().is(".")) {
        return state_.fail(name, shown(name) + " is not one struct and has no field that could count an array",
                           "write items[header.count]");
      }
      const ScalarKind kind = found->type.scalar.kind;
      if (found->type.is_struct || !is_one || found->type.scalar.meaning != Meaning::kNumber ||
          kind == ScalarKind::kFloat || kind == ScalarKind::kDouble) {
        return state_.fail(name, shown(name) + " can't count an array", "count it by a field that is one integer");
      }
      field.extent = Field::Extent::kCounted;
      return true;
    }
  }

  // Keeps sizes far from the limits of the numbers that hold them.
  bool fits(const Field& field, const Token& name, const Token& type) {
    const bool is_struct = field.type.is_struct;
    const std::uint64_t element =
        is_struct ? state_.sizes[field.type.structure].size : state_.sizes.form().shape(field.type.scalar).size_bytes;
    std::uint64_t bytes = element;
    for (const std::uint32_t dimension : field.dimensions) {
      bytes *= dimension;
      if (bytes > kStructBytesMax) {
        return state_.fail(name, "'" + field.name + "' has more than 1 GiB", "declare a shorter array");
      }
    }
    ParserState::Content inner;
    if (is_struct) {
      inner = state_.contents[field.type.structure];
      content_.depth = std::max(content_.depth, inner.depth + 1);
    } else {
      inner.places = 1;
      inner.has_id = field.type.scalar.meaning != Meaning::kNumber;
    }
    content_.places += inner.places;
    content_.has_id = content_.has_id || inner.has_id;
    content_.is_broken = content_.is_broken || inner.is_broken;
    if (content_.places > kStructPlacesMax) {
      return state_.fail(name, "this struct has more than 65536 numbers, its nested structs written out",
                         "use an array for what repeats");
    }
    if (content_.depth > kStructDepthMax)
      return state_.fail(type, "structs are nested more than 32 deep", "nest fewer");
    return true;
  }

  ParserState& state_;
  std::set<std::string_view> names_;
  ParserState::Content content_;  // of the fields so far
};

}  // namespace

bool parse_struct(ParserState& state, TypeUse& use) {
  const Token keyword = state.take();
  StructDeclaration structure;
  if (!parse_attributes(state, structure.packed, structure.aligned)) return false;
  const Token name = state.peek();
  structure.place = state.place(name.kind == Token::Kind::kName ? name : keyword);
  structure.tagged = name.kind == Token::Kind::kName;
  if (structure.tagged) {
    structure.name = name.text;
    state.take();
  }
  const auto known = state.tags.find(name.text);
  const bool is_known = structure.tagged && known != state.tags.end();
  if (state.peek().is("{")) {
    if (state.open_structs >= kStructDepthMax) {
      return state.fail(keyword, "structs are nested more than 32 deep", "nest fewer");
    }
    const std::size_t first_of_it = state.types.structs.size();
    if (!StructParser(state).body(std::move(structure), use)) return false;
    return !is_known || declare_struct_again(state, name, first_of_it, use);
  }
  if (!structure.tagged) return state.fail_at_word("the name of a struct, or '{'", "write struct name { ... };");
  if (!is_known) {
    if (state.refused.contains(name.text)) return false;
    if (begins_attribute(state, 0)) {
      return state.fail(state.peek(), "attributes don't stand behind the name", "write them behind the '}'");
    }
    const Token& next = state.peek();
    if (next.kind != Token::Kind::kName && !next.is(";") && !next.is("*"))
      return state.expect("{", "the name of a struct");
    return state.fail(
        name, "struct " + structure.name + " is not declared before this",
        remedy_or(state.peek().is(";") ? "leave this line out" : "declare it above, or in an earlier file", name.text,
                  names_in(state.tags)));
  }
  use.is_struct = true;
  use.structure = known->second;
  use.text = "struct " + structure.name;
  return true;
}

void name_inner_structs(TypeSet& types, std::size_t structure) {
  if (types.structs[structure].name.empty()) return;  // when it has its name
  for (const Field& field : types.structs[structure].fields) {
    if (!field.type.is_struct) continue;
    StructDeclaration& inner = types.structs[field.type.structure];
    if (inner.tagged || !inner.name.empty()) continue;
    inner.name = types.structs[structure].name + "." + field.name;
    name_inner_structs(types, field.type.structure);
  }
}

}  // namespace dipc
