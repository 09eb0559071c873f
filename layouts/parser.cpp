#include "layouts/parser.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "layouts/parser_state.h"
#include "wire/nearest.h"

namespace dipc {
namespace {

constexpr std::string_view kDeclarations = "write struct, enum, typedef or bind";
constexpr std::string_view kDeclarationWords[] = {"struct", "enum", "typedef", "bind"};

bool parse_typedef(ParserState& state) {
  state.take();
  const std::size_t first_of_it = state.types.structs.size();
  TypeUse use;
  if (refuse_pointer(state) || !parse_type(state, use) || refuse_pointer(state)) return false;
  const Token name = state.peek();
  if (name.kind != Token::Kind::kName) return state.fail_at_word("a name", "typedef unsigned int flags_t;");
  if (refuse_keyword(state)) return false;
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
  if (use.is_struct) state.types.typedefs.emplace(name.text, use.structure);
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
    if (state.types.structs[use.structure].name.empty()) {
      return state.fail(first, "this struct has no name", "write struct name { ... };");
    }
    return state.expect(";", "the struct");
  }
  if (first.is("union")) {
    return state.fail(first, "a union can't be converted: nothing says which of its members is in use",
                      "declare one struct for each kind of message and choose by mtype");
  }
  return state.fail_at_word("a declaration", kDeclarations, kDeclarationWords);
}

}  // namespace

ParserState::ParserState() : sizes({}, Form::largest()) {}

void ParserState::begin_file(std::string name, std::vector<Token> tokens) {
  file_ = std::move(name);
  tokens_ = std::move(tokens);
  ++file_count_;
  at_ = 0;
  resume_at_ = kNowhere;
  depth_ = 0;
}

const Token& ParserState::peek(std::size_t ahead) const { return tokens_[std::min(at_ + ahead, tokens_.size() - 1)]; }

Token ParserState::take() {
  const Token token = peek();
  if (token.is("{")) ++depth_;
  if (token.is("}") && depth_ > 0) --depth_;
  if (at_end()) return token;
  ++at_;
  end_line_ = token.line;
  end_column_ = token.column + token.text.size();
  return token;
}

bool ParserState::take_if(std::string_view text) {
  if (!peek().is(text)) return false;
  take();
  return true;
}

bool ParserState::expect(std::string_view text, std::string_view after, std::span<const std::string_view> near) {
  if (take_if(text)) return true;
  const std::string wanted = "'" + std::string(text) + "'";
  // What ends at the outermost level ends with both.
  const std::string remedy = "write " + (text == "}" && depth_ <= 1 ? "'};'" : wanted) + " here";
  const Token& found = peek();
  const bool ends = text == ";" || text == "}";
  if (!ends || found.kind == Token::Kind::kWrong)
    return fail_at_word(wanted + " after " + std::string(after), remedy, near);
  if (text == ";" && found.line > end_line_) resume_at_ = at_;
  Token behind;
  behind.line = end_line_;
  behind.column = end_column_;
  return fail(behind, "expected " + wanted + " after " + std::string(after) + ", found " + shown(found),
              remedy_or(remedy, found.text, near));
}

void ParserState::skip_to_end_of(int depth) {
  const bool is_nowhere = resume_at_ == at_;
  resume_at_ = kNowhere;
  while (!is_nowhere && !at_end()) {
    if (depth_ <= depth && peek().is("}") && depth > 0) return;
    if (depth == 0 && depth_ == 0 && peek().line > end_line_ && begins_declaration(*this)) {
      if (at_ > 0 && tokens_[at_ - 1].is("}")) expect(";", "'}'");
      break;
    }
    // A line of its own, whatever was wrong before it.
    const Token& passed = peek();
    if (passed.kind == Token::Kind::kWrong && passed.text.starts_with("#")) fail_at_word("a declaration", {});
    const bool ends = depth_ <= depth && peek().is(";");
    take();
    if (ends) break;
  }
  resume_at_ = kNowhere;
}

void ParserState::leave_to(int depth) {
  depth_ = depth;
  resume_at_ = at_;
}

void ParserState::note_refused(const Token& first, const Token& second) {
  const bool is_typedef = first.is("typedef");
  if (is_typedef && (at_ < 2 || !tokens_[at_ - 1].is(";"))) return;
  const Token& name = is_typedef ? tokens_[at_ - 2] : second;
  if (name.kind == Token::Kind::kName && !first.is("bind")) refused.emplace(name.text);
}

void ParserState::forget_structs_from(std::size_t structure) {
  types.structs.erase(types.structs.begin() + static_cast<std::ptrdiff_t>(structure), types.structs.end());
  sizes.forget_from(structure);
  contents.resize(structure);
}

bool ParserState::fail(const Token& where, std::string_view what, std::string_view remedy) {
  fail_at(position(where), place(where), what, remedy);
  return false;
}

void ParserState::fail_at(const Position& at, std::string_view place, std::string_view what, std::string_view remedy) {
  if (!has_room_for_troubles()) return;
  Trouble trouble{std::string(place) + ": " + std::string(what), std::string(remedy)};
  // Two structs that end where the file does lack their '}' at one place.
  if (std::any_of(said_.begin(), said_.end(), [&](const Said& one) { return one.trouble.what == trouble.what; }))
    return;
  said_.push_back({at, std::move(trouble)});
}

Troubles ParserState::take_troubles() {
  const std::optional<Said> last = has_room_for_troubles() ? std::nullopt : std::optional(said_.back());
  std::stable_sort(said_.begin(), said_.end(), [](const Said& a, const Said& b) { return a.at < b.at; });
  Troubles troubles;
  for (Said& one : said_) troubles.push_back(std::move(one.trouble));
  if (!last) return troubles;
  const std::string& what = last->trouble.what;  // "a.types:3:8: ..."
  const std::string numbers = ":" + std::to_string(last->at.line) + ":" + std::to_string(last->at.column) + ": ";
  troubles.push_back({what.substr(0, what.find(numbers)) + numbers +
                          "there may be more: " + std::to_string(kTypeTroublesMax) + " mistakes are said at once",
                      "mend these, and check again"});
  return troubles;
}

bool ParserState::fail_at_word(std::string_view expected, std::string_view remedy,
                               std::span<const std::string_view> near) {
  const Token& found = peek();
  if (found.kind == Token::Kind::kWrong) {
    return fail(found, shown(found) + ": " + std::string(found.mistake), found.remedy);
  }
  return fail(found, "expected " + std::string(expected) + ", found " + shown(found),
              remedy_or(remedy, found.text, near));
}

std::string ParserState::place(const Token& where) const {
  return file_ + ":" + std::to_string(where.line) + ":" + std::to_string(where.column);
}

bool begins_declaration(const ParserState& state) {
  if (state.peek().is("typedef")) return true;
  if (state.depth() == 0 && (state.peek().is("struct") || state.peek().is("enum"))) return true;
  const Token& kind = state.peek(1);
  const Token& key = state.peek(2);
  return state.peek().is("bind") && (kind.is("msg") || kind.is("shm") || kind.is("sem")) &&
         (key.kind == Token::Kind::kNumber || key.kind == Token::Kind::kName);
}

std::string remedy_or(std::string_view remedy, std::string_view written, std::span<const std::string_view> near) {
  const std::string meant = nearest(written, near);
  return meant.empty() ? std::string(remedy) : "did you mean " + meant + "?";
}

Parsed<TypeSet> parse_types(std::span<const TypeFile> files) {
  ParserState state;
  for (const TypeFile& file : files) {
    const bool is_too_large = file.text.size() > kTypesFileBytesMax;
    state.begin_file(file.name, tokens_of(is_too_large ? std::string_view() : file.text));
    if (is_too_large) state.fail(state.peek(), "this file has more than 1 MiB", "declare in several files");
    while (!state.at_end() && state.has_room_for_troubles()) {
      const Token first = state.peek();
      const Token second = state.peek(1);
      if (parse_declaration(state)) continue;
      state.skip_to_end_of(0);
      state.note_refused(first, second);
    }
  }
  check_bindings(state);
  if (!state.is_good()) return tl::unexpected<Troubles>(state.take_troubles());
  return std::move(state.types);
}

}  // namespace dipc
