// Enums and other constants, and the bindings of keys, of *.types files.

#include <algorithm>
#include <limits>

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
// What an enum's members may be in C: those of its type, or of int and unsigned where none was written.
Limits limits_of(const Scalar& type, std::string_view text) {
  if (text == "int") return {std::numeric_limits<std::int32_t>::min(), std::numeric_limits<std::uint32_t>::max()};
  const unsigned bits = type.kind == ScalarKind::kByte    ? 8
                        : type.kind == ScalarKind::kShort ? 16
                        : type.kind == ScalarKind::kInt   ? 32
                                                          : 64;
  if (bits == 64)
    return {type.is_signed ? std::numeric_limits<std::int64_t>::min() : 0, std::numeric_limits<std::int64_t>::max()};
  const std::int64_t values = std::int64_t{1} << bits;
  return type.is_signed ? Limits{-values / 2, values / 2 - 1} : Limits{0, values - 1};
}

// The smallest integer that has them all, as gcc takes for a packed enum.
TypeUse smallest_type(std::int64_t low, std::int64_t high) {
  constexpr std::string_view kTypes[] = {"uint8_t", "uint16_t", "uint32_t", "int8_t", "int16_t", "int32_t"};
  for (const std::string_view name : kTypes) {
    const Scalar scalar = *scalar_named({name});
    const Limits limits = limits_of(scalar, name);
    if (limits.low <= low && high <= limits.high) return {std::string(name), false, scalar, 0};
  }
  return {"int64_t", false, *scalar_named({"int64_t"}), 0};
}

bool enum_member(ParserState& state, EnumDeclaration& declared, std::int64_t& next) {
  const Token name = state.peek();
  if (name.kind != Token::Kind::kName) return state.fail_at_word("a name", "enum color { red, green = 5 };");
  state.take();
  if (state.take_if("=") && !parse_constant(state, next)) return false;
  const auto [known, is_new] = state.constants.emplace(name.text, ParserState::Constant{next, state.place(name)});
  if (!is_new) {
    return state.fail(name, shown(name) + " is declared twice, first at " + known->second.place, "rename one of them");
  }
  const Limits limits = limits_of(declared.type.scalar, declared.type.text);
  if (next < limits.low || next > limits.high) {
    return state.fail(name, shown(name) + " is " + std::to_string(next) + ", which no " + declared.type.text + " holds",
                      "write the type that holds it: enum name : int64_t { ... };");
  }
  declared.members.push_back({std::string(name.text), next});
  if (next < std::numeric_limits<std::int64_t>::max()) ++next;
  return true;
}

bool enum_body(ParserState& state, EnumDeclaration declared, bool has_type, bool packed, TypeUse& use) {
  const Token begin = state.take();
  std::int64_t next = 0;
  while (!state.peek().is("}")) {
    if (!enum_member(state, declared, next)) return false;
    if (!state.take_if(",")) break;
  }
  std::uint32_t aligned = 1;
  if (!state.expect("}", "the last constant") || !parse_attributes(state, packed, aligned)) return false;
  if (declared.members.empty()) return state.fail(begin, "an enum without constants", "enum color { red, green = 5 };");
  if (aligned != 1)
    return state.fail(begin, "an enum has no alignment of its own here", "write aligned(n) at the field");
  const auto [low, high] = std::minmax_element(
      declared.members.begin(), declared.members.end(),
      [](const EnumDeclaration::Member& a, const EnumDeclaration::Member& b) { return a.value < b.value; });
  if (packed && !has_type) declared.type = smallest_type(low->value, high->value);
  if (!packed && !has_type && low->value < 0 && high->value > std::numeric_limits<std::int32_t>::max()) {
    return state.fail(begin, "no int of 32 bits holds all of these constants",
                      "write the type that does: enum name : int64_t { ... };");
  }
  declared.type.scalar.is_signed = declared.type.scalar.is_signed && (has_type || low->value < 0);
  use = declared.type;
  if (!declared.name.empty()) {
    use.text = "enum " + declared.name;
    if (!state.enum_tags.emplace(declared.name, use).second) {
      return state.fail(begin, "enum " + declared.name + " is declared twice", "give one of them another name");
    }
  }
  state.types.enums.push_back(std::move(declared));
  return true;
}

// A key of 32 bits, as ipcs prints it.
bool key(ParserState& state, std::uint32_t& value) {
  const Token token = state.peek();
  if (token.kind != Token::Kind::kNumber) return state.fail_at_word("a key", kBindingForm);
  if (token.number > kKeyMax) return state.fail(token, shown(token) + " is no key", "keys go from 1 to 0xffffffff");
  if (token.number == 0) return state.fail(token, "key 0 is IPC_PRIVATE", "write private");
  value = static_cast<std::uint32_t>(token.number);
  state.take();
  return true;
}

// 0x1234, 0x1000-0x1fff, all, private
bool keys(ParserState& state, Binding& binding) {
  const Token first = state.peek();
  binding.place = state.place(first);
  if (state.take_if("all")) {
    binding.keys = Binding::Keys::kAll;
    return true;
  }
  if (state.take_if("private")) {
    binding.keys = Binding::Keys::kPrivate;
    return true;
  }
  if (!key(state, binding.first_key)) return false;
  binding.last_key = binding.first_key;
  if (state.take_if("-") && !key(state, binding.last_key)) return false;
  if (binding.last_key >= binding.first_key) return true;
  return state.fail(first, "this range ends before it begins", "write the smaller key first");
}

bool structure_named(ParserState& state, Kind kind, std::size_t& structure) {
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
  const StructDeclaration& declared = state.types.structs[structure];
  const Meaning meaning = declared.fields.front().type.scalar.meaning;
  if (kind == Kind::kMessageQueue &&
      (!declared.begins_with_mtype() || meaning == Meaning::kUid || meaning == Meaning::kGid)) {
    return state.fail(name, "struct " + declared.name + " is no message: it does not begin with a long",
                      "declare all of what msgsnd is given: struct " + declared.name + " { long mtype; ... };");
  }
  return true;
}

bool mtype(ParserState& state, std::int64_t& value) {
  const Token token = state.peek();
  if (!parse_constant(state, value)) return false;
  return value >= 1 ||
         state.fail(token, "a message's type is at least 1", "write 1: request; 2-9: reply; default: note;");
}

// 1: request;   2-9: reply;   default: note;
bool mtype_case(ParserState& state, Binding& binding) {
  const Token first = state.peek();
  Binding::MtypeCase found;
  const bool is_default = state.take_if("default");
  if (!is_default) {
    if (!mtype(state, found.first)) return false;
    found.last = found.first;
    if (state.take_if("-") && !mtype(state, found.last)) return false;
    if (found.last < found.first)
      return state.fail(first, "this range ends before it begins", "write the smaller type first");
  }
  if (!state.expect(":", "the message type")) return false;
  const Token name = state.peek();
  if (!structure_named(state, binding.kind, found.structure)) return false;
  if (is_default && binding.otherwise) return state.fail(first, "there is a default already", "leave one of them out");
  const Field& first_field = state.types.structs[found.structure].fields.front();
  if (!is_default && first_field.type.scalar.meaning == Meaning::kPid) {
    return state.fail(name, "a message type that is a pid can't choose a struct by its value", "bind it as default");
  }
  for (const Binding::MtypeCase& other : binding.cases) {
    if (!is_default && found.first <= other.last && other.first <= found.last) {
      return state.fail(first, "message type " + std::to_string(std::max(found.first, other.first)) + " is bound twice",
                        "make the ranges end before they meet");
    }
  }
  if (is_default) {
    binding.otherwise = found.structure;
  } else {
    binding.cases.push_back(found);
  }
  return state.expect(";", "the struct");
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
  EnumDeclaration declared;
  bool packed = false;
  std::uint32_t aligned = 1;
  if (!parse_attributes(state, packed, aligned)) return false;
  declared.type = {"int", false, *scalar_named({"int"}), 0};
  if (state.peek().kind == Token::Kind::kName) declared.name = state.take().text;
  bool has_type = false;
  if (state.take_if(":")) {
    const Token type = state.peek();
    TypeUse underlying;
    if (!parse_type(state, underlying)) return false;
    const ScalarKind kind = underlying.scalar.kind;
    if (underlying.is_struct || kind == ScalarKind::kFloat || kind == ScalarKind::kDouble ||
        underlying.scalar.meaning != Meaning::kNumber) {
      return state.fail(type, underlying.text + " can't hold an enum", "use an integer: enum name : uint8_t { ... };");
    }
    declared.type = underlying;
    has_type = true;
  }
  if (state.peek().is("{")) return enum_body(state, std::move(declared), has_type, packed, use);
  const auto known = state.enum_tags.find(declared.name);
  if (known == state.enum_tags.end()) {
    return state.fail(keyword, "enum " + declared.name + " is not declared before this",
                      "declare it above, or write int");
  }
  use = known->second;
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
  std::vector<Binding> bound;  // one for each part of the list of keys
  do {
    if (!keys(state, binding)) return false;
    bound.push_back(binding);
  } while (state.take_if(","));
  if (!state.expect("to", "the keys")) return false;
  Binding what;
  what.kind = binding.kind;
  if (state.peek().is("{")) {
    if (what.kind == Kind::kSegment)
      return state.fail(state.peek(), "a segment has one struct", "bind shm 0x1234 to table;");
    state.take();
    while (!state.peek().is("}")) {
      if (!mtype_case(state, what)) return false;
    }
    state.take();
  } else {
    std::size_t structure = 0;
    if (!structure_named(state, what.kind, structure)) return false;
    what.otherwise = structure;
  }
  for (Binding& one : bound) {
    one.cases = what.cases;
    one.otherwise = what.otherwise;
    state.types.bindings.push_back(std::move(one));
  }
  return state.expect(";", "the binding");
}

void check_bindings(ParserState& state) {
  std::vector<const Binding*> sorted;
  for (const Binding& one : state.types.bindings) sorted.push_back(&one);
  std::stable_sort(sorted.begin(), sorted.end(), [](const Binding* a, const Binding* b) {
    if (a->kind != b->kind) return a->kind < b->kind;
    if (a->keys != b->keys) return a->keys < b->keys;
    return a->first_key < b->first_key;
  });
  const Binding* widest = nullptr;  // of the ranges so far the one that reaches furthest
  for (const Binding* one : sorted) {
    const bool same_sort = widest != nullptr && widest->kind == one->kind && widest->keys == one->keys;
    if (same_sort && (one->keys != Binding::Keys::kRange || one->first_key <= widest->last_key)) {
      const std::string what = ": these keys are bound already, at " + widest->place;
      if (state.has_room_for_troubles())
        state.troubles.push_back({one->place + what, "make the ranges end before they meet"});
    }
    if (!same_sort || one->last_key > widest->last_key) widest = one;
  }
}

}  // namespace dipc
