#include "layouts/parser.h"

#include <algorithm>
#include <utility>

#include "layouts/parser_state.h"

namespace dipc {
namespace {

constexpr std::string_view kDeclarations = "write struct, enum, typedef or bind";

bool parse_typedef(ParserState& state) {
  state.take();
  const std::size_t first_of_it = state.types.structs.size();
  TypeUse use;
  if (!parse_type(state, use)) return false;
  const Token name = state.peek();
  if (name.is("*")) {
    return state.fail(name, "a pointer means nothing in another process",
                      "declare the data itself, an array for instance");
  }
  if (name.kind != Token::Kind::kName) return state.fail_at_word("a name", "typedef unsigned int flags_t;");
  state.take();
  if (state.peek().is("[")) {
    return state.fail(state.peek(), "a typedef of an array is not read", "write the length where the array is used");
  }
  if (use.is_struct && state.types.structs[use.structure].name.empty()) {
    StructDeclaration& structure = state.types.structs[use.structure];
    structure.name = name.text;
    structure.tagged = true;
    name_inner_structs(state.types, use.structure);
    use.text = "struct " + structure.name;
    const bool is_new = state.tags.emplace(structure.name, use.structure).second;
    if (!is_new && !declare_struct_again(state, name, first_of_it, use)) return false;
  }
  if (scalar_named({name.text})) {
    return state.fail(name, shown(name) + " is a type that is known already", "leave this typedef out");
  }
  const bool is_new = state.aliases.emplace(name.text, ParserState::NamedType{use, state.place(name)}).second;
  if (!is_new && !declare_alias_again(state, name, use)) return false;
  return state.expect(";", "the typedef");
}

bool parse_declaration(ParserState& state) {
  const Token first = state.peek();
  TypeUse use;
  if (first.is("typedef")) return parse_typedef(state);
  if (first.is("bind")) return parse_binding(state);
  if (first.is("enum")) return parse_enum(state, use) && state.expect(";", "the enum");
  if (first.is("struct")) {
    if (!parse_struct(state, use)) return false;
    if (state.types.structs.empty() || state.types.structs[use.structure].name.empty()) {
      return state.fail(first, "this struct has no name", "write struct name { ... };");
    }
    return state.expect(";", "the struct");
  }
  if (first.is("union")) {
    return state.fail(first, "a union can't be converted: nothing says which of its members is in use",
                      "declare one struct for each kind of message and choose by mtype");
  }
  return state.fail_at_word("a declaration", kDeclarations);
}

}  // namespace

ParserState::ParserState() : sizes({}, Form::largest()) {}

void ParserState::begin_file(std::string name, std::vector<Token> tokens) {
  file_ = std::move(name);
  tokens_ = std::move(tokens);
  at_ = 0;
  depth_ = 0;
}

const Token& ParserState::peek(std::size_t ahead) const { return tokens_[std::min(at_ + ahead, tokens_.size() - 1)]; }

Token ParserState::take() {
  const Token token = peek();
  if (token.is("{")) ++depth_;
  if (token.is("}") && depth_ > 0) --depth_;
  if (!at_end()) ++at_;
  return token;
}

bool ParserState::take_if(std::string_view text) {
  if (!peek().is(text)) return false;
  take();
  return true;
}

bool ParserState::expect(std::string_view text, std::string_view after) {
  if (take_if(text)) return true;
  const std::string wanted = "'" + std::string(text) + "'";
  return fail_at_word(wanted + " after " + std::string(after), "write " + wanted + " here");
}

void ParserState::skip_to_end_of(int depth) {
  while (!at_end()) {
    if (depth_ <= depth && peek().is("}") && depth > 0) return;
    const bool ends = depth_ <= depth && peek().is(";");
    take();
    if (ends) return;
  }
}

void ParserState::forget_structs_from(std::size_t structure) {
  types.structs.erase(types.structs.begin() + static_cast<std::ptrdiff_t>(structure), types.structs.end());
  sizes.forget_from(structure);
  places.resize(structure);
  depths.resize(structure);
  have_ids.resize(structure);
}

bool ParserState::fail(const Token& where, std::string_view what, std::string_view remedy) {
  if (has_room_for_troubles()) troubles.push_back({place(where) + ": " + std::string(what), std::string(remedy)});
  return false;
}

bool ParserState::fail_at_word(std::string_view expected, std::string_view remedy) {
  const Token& found = peek();
  if (found.kind == Token::Kind::kWrong) {
    return fail(found, shown(found) + ": " + std::string(found.mistake), found.remedy);
  }
  return fail(found, "expected " + std::string(expected) + ", found " + shown(found), remedy);
}

std::string ParserState::place(const Token& where) const {
  return file_ + ":" + std::to_string(where.line) + ":" + std::to_string(where.column);
}

Parsed<TypeSet> parse_types(std::span<const TypeFile> files) {
  ParserState state;
  for (const TypeFile& file : files) {
    if (file.text.size() > kTypesFileBytesMax) {
      state.troubles.push_back({file.name + ":1:1: this file has more than 1 MiB", "declare in several files"});
      continue;
    }
    state.begin_file(file.name, tokens_of(file.text));
    while (!state.at_end() && state.has_room_for_troubles()) {
      if (!parse_declaration(state)) state.skip_to_end_of(0);
    }
  }
  if (state.troubles.empty()) check_bindings(state);
  if (!state.troubles.empty()) return tl::unexpected<Troubles>(std::move(state.troubles));
  return std::move(state.types);
}

}  // namespace dipc
