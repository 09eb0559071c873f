#pragma once

// What the parts of the parser share: the words of the file at hand, what was declared so far, what is wrong.

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "layouts/declarations.h"
#include "layouts/shape.h"
#include "layouts/tokens.h"
#include "wire/parsed.h"

namespace dipc {

inline constexpr std::size_t kTypeTroublesMax = 20;  // what is more follows from the first ones mostly

class ParserState {
 public:
  ParserState();

  void begin_file(std::string name, std::vector<Token> tokens);

  // ---- words
  const Token& peek(std::size_t ahead = 0) const;
  Token take();  // counts braces
  bool take_if(std::string_view text);
  bool expect(std::string_view text, std::string_view after);  // false: said so
  bool at_end() const { return peek().kind == Token::Kind::kEnd; }
  int depth() const { return depth_; }  // braces that are open, never below 0; what closes none is only a word
  // To behind the next ';' at this depth of braces, or to before the '}' that ends it, or to the end.
  void skip_to_end_of(int depth);

  // ---- errors
  bool fail(const Token& where, std::string_view what, std::string_view remedy);  // always false
  bool fail_at_word(std::string_view expected, std::string_view remedy);  // "expected X, found Y", or why Y is no word
  std::string place(const Token& where) const;
  bool has_room_for_troubles() const { return troubles.size() < kTypeTroublesMax; }

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
  Shapes sizes;                       // in the largest form: for limits
  std::vector<std::uint64_t> places;  // per struct: scalars, those of nested structs counted in
  std::vector<unsigned> depths;       // per struct: levels of structs, itself counted
  std::vector<bool> have_ids;         // per struct: a pid, uid or gid, in nested structs too
  std::map<std::string, std::size_t, std::less<>> tags;
  std::map<std::string, NamedType, std::less<>> aliases;
  std::map<std::string, NamedType, std::less<>> enum_tags;
  std::map<std::string, Constant, std::less<>> constants;
  Troubles troubles;
  unsigned open_structs = 0;  // whose '}' is still to come: how deep the parser has called itself

 private:
  std::string file_;
  std::vector<Token> tokens_;
  std::size_t at_ = 0;
  int depth_ = 0;
};

// Each reads from its first word on. False: something is wrong and was said; the reader stands somewhere in it.
bool parse_enum(ParserState& state, TypeUse& use);    // "enum ...", a declaration or a use
bool parse_struct(ParserState& state, TypeUse& use);  // "struct ...", likewise
bool parse_type(ParserState& state, TypeUse& use);
bool parse_scalar_or_alias(ParserState& state, TypeUse& use);  // "unsigned long", "double", "size_t", a typedef's name
bool parse_binding(ParserState& state);                        // "bind ..."
void check_bindings(ParserState& state);                       // when all files are read: overlaps
// A constant in a place where only that can stand: 64, 0x40, LENGTH, -1.
bool parse_constant(ParserState& state, std::int64_t& value);
// packed, aligned(8), __attribute__((packed, aligned(8))): any number of them, none included.
bool parse_attributes(ParserState& state, bool& packed, std::uint32_t& aligned);
// Of what has the name of something that is known: false unless it is the same, which `use` is then. `first_of_it`: the
// first struct that was declared within. An enum without a name that is another one has said nothing.
bool declare_struct_again(ParserState& state, const Token& name, std::size_t first_of_it, TypeUse& use);
bool declare_alias_again(ParserState& state, const Token& name, const TypeUse& use);
bool declare_enum_again(ParserState& state, const Token& where, const EnumDeclaration& declared, std::size_t known);
// Names of the structs that were declared inside this one without a name of their own.
void name_inner_structs(TypeSet& types, std::size_t structure);

}  // namespace dipc
