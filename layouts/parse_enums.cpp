// Enums and the constants that they declare, of *.types files.

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

#include "layouts/parser_state.h"

namespace dipc {
namespace {

constexpr std::uint64_t kNumberMax = std::numeric_limits<std::int64_t>::max();

struct Limits {
  std::int64_t low, high;
};
Limits limits_of(const Scalar& type) {
  const unsigned bits = type.kind == ScalarKind::kByte    ? 8
                        : type.kind == ScalarKind::kShort ? 16
                        : type.kind == ScalarKind::kInt   ? 32
                                                          : 64;
  if (bits == 64)
    return {type.is_signed ? std::numeric_limits<std::int64_t>::min() : 0, std::numeric_limits<std::int64_t>::max()};
  const std::int64_t values = std::int64_t{1} << bits;
  return type.is_signed ? Limits{-values / 2, values / 2 - 1} : Limits{0, values - 1};
}

// What an enum's members may be in C: those of its type; of int and unsigned where none was written.
Limits limits_of(const EnumDeclaration& declared) {
  if (declared.has_type) return limits_of(declared.type.scalar);
  return {std::numeric_limits<std::int32_t>::min(), std::numeric_limits<std::uint32_t>::max()};
}

// The smallest integer that has them all, as gcc takes for a packed enum.
TypeUse smallest_type(std::int64_t low, std::int64_t high) {
  constexpr std::string_view kTypes[] = {"uint8_t", "uint16_t", "uint32_t", "int8_t", "int16_t", "int32_t"};
  for (const std::string_view name : kTypes) {
    const Scalar scalar = *scalar_named({name});
    const Limits limits = limits_of(scalar);
    if (limits.low <= low && high <= limits.high) return {std::string(name), false, scalar, 0};
  }
  return {"int64_t", false, *scalar_named({"int64_t"}), 0};
}

bool fail_as_known(ParserState& state, const Token& name) {
  return state.fail(name, shown(name) + " is declared twice, first at " + state.constants.find(name.text)->second.place,
                    "rename one of them");
}

// Of an enum that is being read.
struct ReadEnum {
  EnumDeclaration declared;
  Token where;  // its name, or the word enum
  bool packed = false;
  std::optional<Token> known;              // the first member that an enum before this one has too
  std::optional<std::size_t> enumeration;  // that one: index into TypeSet::enums
};

bool enum_member(ParserState& state, ReadEnum& read, std::int64_t& next) {
  const Token name = state.peek();
  if (name.kind != Token::Kind::kName) return state.fail_at_word("a name", "enum color { red, green = 5 };");
  if (refuse_keyword(state)) return false;
  state.take();
  if (state.take_if("=") && !parse_constant(state, next)) {
    state.refused.emplace(name.text);
    return false;
  }
  const std::size_t own = state.types.enums.size();
  const auto [known, is_new] = state.constants.emplace(name.text, ParserState::Constant{next, own, state.place(name)});
  if (!is_new && known->second.enumeration == own) return fail_as_known(state, name);
  if (!is_new && !read.known) {
    read.known = name;
    read.enumeration = known->second.enumeration;
  }
  EnumDeclaration& declared = read.declared;
  const Limits limits = limits_of(declared);
  if (next < limits.low || next > limits.high) {
    return state.fail(name, shown(name) + " is " + std::to_string(next) + ", which no " + declared.type.text + " holds",
                      "write the type that holds it: enum name : int64_t { ... };");
  }
  declared.members.push_back({std::string(name.text), next});
  if (next < std::numeric_limits<std::int64_t>::max()) ++next;
  return true;
}

// Its type, when all members are known.
bool give_type(ParserState& state, const Token& begin, ReadEnum& read) {
  EnumDeclaration& declared = read.declared;
  const auto [low, high] = std::minmax_element(
      declared.members.begin(), declared.members.end(),
      [](const EnumDeclaration::Member& a, const EnumDeclaration::Member& b) { return a.value < b.value; });
  const bool was_said = declared.has_type;
  if (read.packed && !was_said) {
    declared.type = smallest_type(low->value, high->value);
    declared.has_type = true;
  }
  if (!read.packed && !was_said && low->value < 0 && high->value > std::numeric_limits<std::int32_t>::max()) {
    return state.fail(begin, "no int of 32 bits holds all of these constants",
                      "write the type that does: enum name : int64_t { ... };");
  }
  declared.type.scalar.is_signed = declared.type.scalar.is_signed && (was_said || low->value < 0);
  return true;
}

// Into the set, unless it is there.
bool declare_enum(ParserState& state, ReadEnum read, TypeUse& use) {
  EnumDeclaration& declared = read.declared;
  use = declared.type;
  if (declared.name.empty()) {
    const bool is_again = read.enumeration && state.types.enums[*read.enumeration].name.empty() &&
                          declare_enum_again(state, read.where, declared, *read.enumeration);
    if (is_again) return true;
    if (read.known) return fail_as_known(state, *read.known);
  } else {
    const auto known = state.enum_tags.find(declared.name);
    if (known != state.enum_tags.end()) {
      use = known->second.use;
      return declare_enum_again(state, read.where, declared, *use.enumeration);
    }
    if (read.known) return fail_as_known(state, *read.known);
    use.text = "enum " + declared.name;
    use.enumeration = state.types.enums.size();
    state.enum_tags.emplace(declared.name, ParserState::NamedType{use, state.place(read.where)});
  }
  state.types.enums.push_back(std::move(declared));
  return true;
}

void skip_to_end_of_member(ParserState& state) {
  const auto ends = [&state] {
    const Token& next = state.peek();
    return state.at_end() || next.is(",") || next.is("}") || next.is(";") || next.is("{");
  };
  while (!ends()) state.take();
}

bool parse_enum_body(ParserState& state, ReadEnum read, TypeUse& use) {
  const Token begin = state.take();
  std::int64_t next = 0;
  bool good = true;
  while (!state.peek().is("}") && state.has_room_for_troubles()) {
    if (!enum_member(state, read, next)) {
      good = false;
      skip_to_end_of_member(state);
    }
    if (state.take_if(",")) continue;
    if (state.peek().kind != Token::Kind::kName || begins_declaration(state)) break;
    good = state.expect(",", "the constant");
  }
  std::uint32_t aligned = 1;
  if (!state.expect("}", "the last constant") || !parse_attributes(state, read.packed, aligned) || !good) return false;
  if (read.declared.members.empty()) {
    return state.fail(begin, "an enum without constants", "enum color { red, green = 5 };");
  }
  if (aligned != 1)
    return state.fail(begin, "an enum has no alignment of its own here", "write aligned(n) at the field");
  return give_type(state, begin, read) && declare_enum(state, std::move(read), use);
}

bool begins_calculation(const Token& token) { return token.is("(") || token.is("~") || token.is("sizeof"); }

bool continues_calculation(const Token& token) {
  constexpr std::string_view kOperators = "+-*/%<>&|^";
  return token.kind == Token::Kind::kSymbol && kOperators.find(token.text) != std::string_view::npos;
}

bool fail_as_calculated(ParserState& state, const Token& where) {
  return state.fail(where, "constants are not calculated here",
                    "write the number that it is, or give that a name: enum { LENGTH = 65 };");
}

}  // namespace

bool parse_constant(ParserState& state, std::int64_t& value, bool ends_range) {
  const bool negative = state.take_if("-");
  const Token token = state.peek();
  const auto known = state.constants.find(token.text);
  if (begins_calculation(token)) return fail_as_calculated(state, token);
  if (token.kind == Token::Kind::kNumber) {
    if (token.number > kNumberMax)
      return state.fail(token, shown(token) + " is too large", "write at most 0x7fffffffffffffff");
    value = static_cast<std::int64_t>(token.number);
  } else if (known != state.constants.end()) {
    value = known->second.value;
  } else if (token.kind == Token::Kind::kName) {
    if (state.refused.contains(token.text)) return false;
    return state.fail(token, shown(token) + " is no constant that is known here",
                      remedy_or("declare it above: enum { LENGTH = 64 };", token.text, names_in(state.constants)));
  } else {
    return state.fail_at_word("a number", "write 64, 0x40, or a constant of an enum above");
  }
  state.take();
  const Token& next = state.peek();
  if (continues_calculation(next) && !(ends_range && next.is("-"))) return fail_as_calculated(state, next);
  if (negative) value = -value;  // the least number is not among those read
  return true;
}

bool parse_enum(ParserState& state, TypeUse& use) {
  const Token keyword = state.take();
  ReadEnum read;
  read.where = keyword;
  EnumDeclaration& declared = read.declared;
  std::uint32_t aligned = 1;
  if (!parse_attributes(state, read.packed, aligned)) return false;
  declared.type = {"int", false, *scalar_named({"int"}), 0};
  if (state.peek().kind == Token::Kind::kName) {
    read.where = state.take();
    declared.name = read.where.text;
  }
  if (state.take_if(":")) {
    const Token type = state.peek();
    TypeUse underlying;
    if (!parse_scalar_or_alias(state, underlying)) return false;
    const ScalarKind kind = underlying.scalar.kind;
    if (underlying.is_struct || kind == ScalarKind::kFloat || kind == ScalarKind::kDouble ||
        underlying.scalar.meaning != Meaning::kNumber || underlying.enumeration) {
      return state.fail(type, underlying.text + " can't hold an enum", "use an integer: enum name : uint8_t { ... };");
    }
    declared.type = underlying;
    declared.has_type = true;
  }
  if (state.peek().is("{")) return parse_enum_body(state, std::move(read), use);
  const auto known = state.enum_tags.find(declared.name);
  if (known == state.enum_tags.end()) {
    if (state.refused.contains(declared.name)) return false;
    return state.fail(keyword, "enum " + declared.name + " is not declared before this",
                      remedy_or("declare it above, or write int", declared.name, names_in(state.enum_tags)));
  }
  use = known->second.use;
  return true;
}

}  // namespace dipc
