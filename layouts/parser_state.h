#pragma once

// What the parts of the parser share: the words of the file at hand, what was declared so far, what is wrong.

#include <compare>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "layouts/declarations.h"
#include "layouts/shape.h"
#include "layouts/tokens.h"
#include "wire/parsed.h"

namespace dipc {

inline constexpr std::size_t kTypeTroublesMax = 20;  // what is more follows from the first ones mostly

// Remedies and words that several parts have.
inline constexpr std::string_view kFieldForm = "write a field as C does: unsigned long name[8];";
inline constexpr std::string_view kAttributeWords[] = {"packed", "aligned"};

class ParserState {
 public:
  ParserState();

  void begin_file(std::string name, std::vector<Token> tokens);

  // ---- words
  const Token& peek(std::size_t ahead = 0) const;
  Token take();  // counts braces
  bool take_if(std::string_view text);
  // False: said so, where ';' or '}' should be, behind the word before; else at the word found.
  bool expect(std::string_view text, std::string_view after, std::span<const std::string_view> near = {});
  bool at_end() const { return peek().kind == Token::Kind::kEnd; }
  int depth() const { return depth_; }  // braces that are open, never below 0; what closes none is only a word
  // To behind the next ';' at this depth of braces, or to before the '}' that ends it, or to the end. Nowhere, where
  // only the ';' at the end of a line was missing: what comes next is good.
  void skip_to_end_of(int depth);
  // As if the '}' that is missing here were there.
  void leave_to(int depth);
  void note_refused(const Token& first, const Token& second);  // of a declaration: its name is known to be missing

  // ---- errors
  bool fail(const Token& where, std::string_view what, std::string_view remedy);  // always false
  // "expected X, found Y", or why Y is no word. `near`: what could be meant by Y, if it is like one of those.
  bool fail_at_word(std::string_view expected, std::string_view remedy, std::span<const std::string_view> near = {});
  struct Position {
    std::size_t file = 0, line = 0, column = 0;
    auto operator<=>(const Position&) const = default;
  };
  Position position(const Token& where) const { return {file_count_, where.line, where.column}; }
  // At a place that was passed before.
  void fail_at(const Position& at, std::string_view place, std::string_view what, std::string_view remedy);
  std::string place(const Token& where) const;
  bool has_room_for_troubles() const { return said_.size() < kTypeTroublesMax; }
  bool is_good() const { return said_.empty(); }
  Troubles take_troubles();  // in the order of their places; where there is no room for more, that is the last one

  // ---- what is declared
  void forget_structs_from(std::size_t structure);  // the last ones, which nothing uses yet
  struct Constant {
    std::int64_t value = 0;
    std::size_t enumeration = 0;  // index into TypeSet::enums, where it may come to lie yet
    std::string place;
  };
  struct NamedType {
    TypeUse use;
    std::string place;
  };
  TypeSet types;
  Shapes sizes;  // in the largest form: for limits
  // What a struct has, those nested in it counted in.
  struct Content {
    std::uint64_t places = 0;  // scalars
    unsigned depth = 1;        // levels of structs, itself one
    bool has_id = false;       // a pid, uid or gid
    bool is_broken = false;    // a field was refused: what the struct lacks is no news
  };
  std::vector<Content> contents;  // of each struct of `types`
  std::map<std::string, std::size_t, std::less<>> tags;
  std::map<std::string, NamedType, std::less<>> aliases;
  std::map<std::string, NamedType, std::less<>> enum_tags;
  std::map<std::string, Constant, std::less<>> constants;
  std::set<std::string, std::less<>> refused;  // names whose declarations were refused: each use says nothing new
  struct Bound {
    Kind kind;
    Binding::Keys keys;
    Position at;
  };
  std::vector<Bound> bound;   // all keys that bindings name, those of refused bindings too
  unsigned open_structs = 0;  // whose '}' is still to come: how deep the parser has called itself

 private:
  static constexpr std::size_t kNowhere = static_cast<std::size_t>(-1);

  std::string file_;
  std::vector<Token> tokens_;
  std::size_t file_count_ = 0;
  std::size_t at_ = 0;
  std::size_t resume_at_ = kNowhere;  // the word before which only a ';' or '}' was missing
  int depth_ = 0;
  std::size_t end_line_ = 1;  // behind the last word taken
  std::size_t end_column_ = 1;
  struct Said {
    Position at;
    Trouble trouble;
  };
  std::vector<Said> said_;
};

// Each reads from its first word on. False: something is wrong and was said; the reader stands somewhere in it.
bool parse_enum(ParserState& state, TypeUse& use);    // "enum ...", a declaration or a use
bool parse_struct(ParserState& state, TypeUse& use);  // "struct ...", likewise
bool parse_type(ParserState& state, TypeUse& use);
bool parse_scalar_or_alias(ParserState& state, TypeUse& use);  // "unsigned long", "double", "size_t", a typedef's name
bool parse_binding(ParserState& state);                        // "bind ..."
void check_bindings(ParserState& state);                       // when all files are read: overlaps
// A constant in a place where only that can stand: 64, 0x40, LENGTH, -1. `ends_range`: a '-' behind it is no minus.
bool parse_constant(ParserState& state, std::int64_t& value, bool ends_range = false);
// Is what begins here a pointer's declaration: names, then a '*'? Then it was refused by the pointer's name.
bool refuse_pointer(ParserState& state);
// Is what comes next a word of C, where a name should be? Then it was refused.
bool refuse_keyword(ParserState& state);
// Does what comes next begin no field or case, but the next declaration?
bool begins_declaration(const ParserState& state);
// packed, aligned(8), __attribute__((packed, aligned(8))): any number of them, none included.
bool parse_attributes(ParserState& state, bool& packed, std::uint32_t& aligned);
bool begins_attribute(const ParserState& state, std::size_t ahead);
// Of what has the name of something that is known: false unless it is the same, which `use` is then. `first_of_it`: the
// first struct that was declared within. An enum without a name that is another one has said nothing.
bool declare_struct_again(ParserState& state, const Token& name, std::size_t first_of_it, TypeUse& use);
bool declare_alias_again(ParserState& state, const Token& name, const TypeUse& use);
bool declare_enum_again(ParserState& state, const Token& where, const EnumDeclaration& declared, std::size_t known);
// ---- what was meant by a name that there is not
// "did you mean X?", if there is an X as near; else the remedy.
std::string remedy_or(std::string_view remedy, std::string_view written, std::span<const std::string_view> near);
// The names that a map has, unless they are so many that comparing with them takes its time.
template <typename Map>
std::vector<std::string_view> names_in(const Map& map) {
  constexpr std::size_t kCandidatesMax = 1000;
  std::vector<std::string_view> names;
  if (map.size() > kCandidatesMax) return names;
  for (const auto& one : map) names.push_back(one.first);
  return names;
}
// Names of the structs that were declared inside this one without a name of their own.
void name_inner_structs(TypeSet& types, std::size_t structure);

}  // namespace dipc
