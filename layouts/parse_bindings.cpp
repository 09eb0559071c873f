// Enums and other constants, and the bindings of keys, of *.types files.

#include <algorithm>
#include <limits>
#include <utility>

#include "layouts/parser_state.h"

namespace dipc {
namespace {

constexpr std::string_view kBindingForm =
    "bind msg 0x1234 to request;  or  bind msg 0x1000-0x1fff to { 1: request; default: note; }";
constexpr std::uint64_t kKeyMax = 0xffffffffU;
constexpr std::uint64_t kMtypeMax = std::numeric_limits<std::int64_t>::max();

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
  state.take();
  if (state.take_if("=") && !parse_constant(state, next)) return false;
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

bool parse_enum_body(ParserState& state, ReadEnum read, TypeUse& use) {
  const Token begin = state.take();
  std::int64_t next = 0;
  while (!state.peek().is("}")) {
    if (!enum_member(state, read, next)) return false;
    if (!state.take_if(",")) break;
  }
  std::uint32_t aligned = 1;
  if (!state.expect("}", "the last constant") || !parse_attributes(state, read.packed, aligned)) return false;
  if (read.declared.members.empty()) {
    return state.fail(begin, "an enum without constants", "enum color { red, green = 5 };");
  }
  if (aligned != 1)
    return state.fail(begin, "an enum has no alignment of its own here", "write aligned(n) at the field");
  return give_type(state, begin, read) && declare_enum(state, std::move(read), use);
}

// A key of 32 bits, as ipcs prints it.
bool parse_key(ParserState& state, std::uint32_t& value) {
  const Token token = state.peek();
  if (token.kind != Token::Kind::kNumber) return state.fail_at_word("a key", kBindingForm);
  if (token.number > kKeyMax) return state.fail(token, shown(token) + " is no key", "keys go from 1 to 0xffffffff");
  if (token.number == 0) return state.fail(token, "key 0 is IPC_PRIVATE", "write private");
  value = static_cast<std::uint32_t>(token.number);
  state.take();
  return true;
}

// 0x1234, 0x1000-0x1fff, all, private
bool parse_keys(ParserState& state, Binding& binding) {
  const Token first = state.peek();
  Binding::Keys& keys = binding.keys.emplace_back();
  keys.place = state.place(first);
  if (state.take_if("all")) {
    keys.which = Binding::Keys::Which::kAll;
    return true;
  }
  if (state.take_if("private")) {
    keys.which = Binding::Keys::Which::kPrivate;
    return true;
  }
  if (!parse_key(state, keys.first)) return false;
  keys.last = keys.first;
  if (state.take_if("-") && !parse_key(state, keys.last)) return false;
  if (keys.last >= keys.first) return true;
  return state.fail(first, "this range ends before it begins", "write the smaller key first");
}

// The same memory is read by all hosts, so that an id in it is what the host that wrote it means by it.
bool refuse_ids(ParserState& state, const Token& where, std::size_t structure) {
  const auto id = state.types.id_in(structure);
  const std::string& type = id->field->type.text;  // "uid", "pid short"
  const std::size_t blank = type.find(' ');
  const std::string word = type.substr(0, blank);
  const std::string number = (blank != std::string::npos ? type.substr(blank + 1)
                              : word == "pid"            ? "int"
                                                         : "unsigned int") +
                             " " + id->field->name;
  return state.fail(where,
                    "struct " + state.types.structs[structure].name + " can't be a segment: '" + id->path + "' is a " +
                        word + ", and nothing is rewritten in memory that hosts share",
                    "write " + number + ", which is left as it is, or send the id in a message");
}

bool parse_layout(ParserState& state, Kind kind, std::size_t& structure) {
  state.take_if("struct");
  const Token name = state.peek();
  if (name.kind != Token::Kind::kName) return state.fail_at_word("the name of a struct", kBindingForm);
  state.take();
  const auto tag = state.tags.find(name.text);
  const auto alias = state.aliases.find(name.text);
  if (tag != state.tags.end()) {
    structure = tag->second;
  } else if (alias != state.aliases.end() && alias->second.use.is_struct) {
    structure = alias->second.use.structure;
  } else {
    return state.fail(name, "struct " + std::string(name.text) + " is not declared before this",
                      "declare it above, or in an earlier file");
  }
  if (kind == Kind::kSegment) return !state.have_ids[structure] || refuse_ids(state, name, structure);
  const auto mtype = state.types.mtype_of(structure);
  return mtype || state.fail(name, mtype.error().what, mtype.error().remedy);
}

bool parse_mtype(ParserState& state, std::int64_t& value) {
  const Token token = state.peek();
  if (!parse_constant(state, value)) return false;
  return value >= 1 ||
         state.fail(token, "a message's type is at least 1", "write 1: request; 2-9: reply; default: note;");
}

struct ReadCase {
  Token where;
  Binding::MtypeCase what;
};

// 1: request;   2-9: reply;   default: note;
bool parse_case(ParserState& state, Binding& binding, std::vector<ReadCase>& cases) {
  const Token first = state.peek();
  Binding::MtypeCase found;
  const bool is_default = state.take_if("default");
  if (!is_default) {
    if (!parse_mtype(state, found.first)) return false;
    found.last = found.first;
    if (state.take_if("-") && !parse_mtype(state, found.last)) return false;
    if (found.last < found.first)
      return state.fail(first, "this range ends before it begins", "write the smaller type first");
  }
  if (!state.expect(":", "the message type")) return false;
  const Token name = state.peek();
  if (!parse_layout(state, binding.kind, found.structure)) return false;
  if (is_default && binding.otherwise) return state.fail(first, "there is a default already", "leave one of them out");
  if (!is_default && state.types.mtype_of(found.structure)->meaning == Meaning::kPid) {
    return state.fail(name, "a message type that is a pid can't choose a struct by its value", "bind it as default");
  }
  if (is_default) {
    binding.otherwise = found.structure;
  } else {
    cases.push_back({first, found});
  }
  return state.expect(";", "the struct");
}

// Into the binding, in the order of the types. False: two overlap.
bool sort_cases(ParserState& state, std::vector<ReadCase> cases, Binding& binding) {
  std::stable_sort(cases.begin(), cases.end(),
                   [](const ReadCase& a, const ReadCase& b) { return a.what.first < b.what.first; });
  for (std::size_t i = 0; i < cases.size(); ++i) {
    if (i > 0 && cases[i].what.first <= cases[i - 1].what.last) {
      const Token& a = cases[i - 1].where;
      const Token& b = cases[i].where;
      const bool in_order = std::pair(a.line, a.column) < std::pair(b.line, b.column);
      return state.fail(in_order ? b : a, "message type " + std::to_string(cases[i].what.first) + " is bound twice",
                        "make the ranges end before they meet");
    }
    binding.cases.push_back(cases[i].what);
  }
  return true;
}

}  // namespace

bool parse_constant(ParserState& state, std::int64_t& value) {
  const bool negative = state.take_if("-");
  const Token token = state.peek();
  if (token.kind == Token::Kind::kNumber) {
    if (token.number > kMtypeMax)
      return state.fail(token, shown(token) + " is too large", "write at most 0x7fffffffffffffff");
    state.take();
    value = static_cast<std::int64_t>(token.number);
  } else if (const auto known = state.constants.find(token.text); known != state.constants.end()) {
    state.take();
    value = known->second.value;
  } else if (token.kind == Token::Kind::kName) {
    return state.fail(token, shown(token) + " is no constant that is known here",
                      "declare it above: enum { LENGTH = 64 };");
  } else {
    return state.fail_at_word("a number", "write 64, 0x40, or a constant of an enum above");
  }
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
    return state.fail(keyword, "enum " + declared.name + " is not declared before this",
                      "declare it above, or write int");
  }
  use = known->second.use;
  return true;
}

bool parse_binding(ParserState& state) {
  state.take();
  Binding binding;
  if (state.take_if("shm")) {
    binding.kind = Kind::kSegment;
  } else if (state.peek().is("sem")) {
    return state.fail(state.peek(), "semaphores need no layout",
                      "leave this binding out: their values are numbers on every host");
  } else if (!state.take_if("msg")) {
    return state.fail_at_word("msg or shm", kBindingForm);
  }
  do {
    if (!parse_keys(state, binding)) return false;
  } while (state.take_if(","));
  if (!state.expect("to", "the keys")) return false;
  if (state.peek().is("{")) {
    if (binding.kind == Kind::kSegment)
      return state.fail(state.peek(), "a segment has one struct", "bind shm 0x1234 to table;");
    const Token begin = state.take();
    std::vector<ReadCase> cases;
    while (!state.peek().is("}")) {
      if (!parse_case(state, binding, cases)) return false;
    }
    state.take();
    if (cases.empty() && !binding.otherwise) return state.fail(begin, "these keys are bound to nothing", kBindingForm);
    if (!sort_cases(state, std::move(cases), binding)) return false;
  } else {
    std::size_t structure = 0;
    if (!parse_layout(state, binding.kind, structure)) return false;
    binding.otherwise = structure;
  }
  state.types.bindings.push_back(std::move(binding));
  return state.expect(";", "the binding");
}

void check_bindings(ParserState& state) {
  using Which = Binding::Keys::Which;
  struct Bound {
    Kind kind;
    const Binding::Keys* keys;
  };
  std::vector<Bound> sorted;
  for (const Binding& one : state.types.bindings) {
    for (const Binding::Keys& keys : one.keys) sorted.push_back({one.kind, &keys});
  }
  std::stable_sort(sorted.begin(), sorted.end(), [](const Bound& a, const Bound& b) {
    if (a.kind != b.kind) return a.kind < b.kind;
    if (a.keys->which != b.keys->which) return a.keys->which < b.keys->which;
    return a.keys->first < b.keys->first;
  });
  const Bound* widest = nullptr;  // of the ranges so far the one that reaches furthest
  for (const Bound& one : sorted) {
    const bool same_sort = widest != nullptr && widest->kind == one.kind && widest->keys->which == one.keys->which;
    if (same_sort && (one.keys->which != Which::kRange || one.keys->first <= widest->keys->last)) {
      const std::string what = ": these keys are bound already, at " + widest->keys->place;
      if (state.has_room_for_troubles())
        state.troubles.push_back({one.keys->place + what, "make the ranges end before they meet"});
    }
    if (!same_sort || one.keys->last > widest->keys->last) widest = &one;
  }
}

}  // namespace dipc
