// The bindings of keys, of *.types files.

#include <algorithm>
#include <cstdio>
#include <utility>

#include "layouts/parser_state.h"

namespace dipc {
namespace {

constexpr std::string_view kBindingForm =
    "bind msg 0x1234 to request;  or  bind msg 0x1000-0x1fff to { 1: request; default: note; }";
constexpr std::uint64_t kKeyMax = 0xffffffffU;

constexpr std::string_view kKindWords[] = {"msg", "shm"};
constexpr std::string_view kToWord[] = {"to"};

// A name where a key should be: of a constant, or of what people write for keys in C.
bool parse_key_name(ParserState& state, std::int64_t& value) {
  const Token name = state.peek();
  if (name.is("IPC_PRIVATE")) return state.fail(name, "IPC_PRIVATE is written private", "bind msg private to request;");
  if (name.is("ftok")) {
    return state.fail(
        name, "a key that ftok makes is another one on every host, and known only to who runs it there",
        "list its path under [ftok] of dipc.toml and write the key that dipcctl ftok PATH ID prints, or have "
        "the programs use a number that is the same on all hosts: bind msg 0x1234 to ...");
  }
  const auto known = state.constants.find(name.text);
  if (known == state.constants.end()) {
    if (state.refused.contains(name.text)) return false;
    std::vector<std::string_view> near = names_in(state.constants);
    near.insert(near.end(), {"all", "private"});
    return state.fail(name, shown(name) + " is no key and no constant that is known here",
                      remedy_or("write the number, or declare it above: enum { REQUESTS = 0x1234 };", name.text, near));
  }
  value = known->second.value;
  state.take();
  return true;
}

// Of the number behind a '-'.
std::string negative_key_remedy(const Token& number) {
  if (number.kind != Token::Kind::kNumber || number.number == 0 || number.number > 0x80000000U)
    return "write a negative key as ipcs does: 0xfffffffe for -2";
  char key[11];
  std::snprintf(key, sizeof key, "0x%08x", -static_cast<unsigned>(number.number));
  return "write a negative key as ipcs does: " + std::string(key);
}

// A key of 32 bits, as ipcs prints it.
bool parse_key(ParserState& state, std::uint32_t& key) {
  const Token token = state.peek();
  std::int64_t value = 0;
  if (token.kind == Token::Kind::kName) {
    if (!parse_key_name(state, value)) return false;
  } else if (token.kind != Token::Kind::kNumber) {
    return state.fail_at_word("a key", token.is("-") ? negative_key_remedy(state.peek(1)) : std::string(kBindingForm));
  } else {
    value = static_cast<std::int64_t>(std::min<std::uint64_t>(token.number, kKeyMax + 1));
    state.take();
  }
  if (value == 0) return state.fail(token, "key 0 is IPC_PRIVATE", "write private");
  if (value < 0 || value > static_cast<std::int64_t>(kKeyMax))
    return state.fail(token, shown(token) + " is no key", "keys go from 1 to 0xffffffff");
  key = static_cast<std::uint32_t>(value);
  return true;
}

// 0x1234, 0x1000-0x1fff, REQUESTS, all, private
bool parse_keys(ParserState& state, Binding::Keys& keys) {
  const Token first = state.peek();
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

// To before the next ',' or what comes behind the last one; what a function is given in C is skipped with it.
void skip_to_end_of_keys(ParserState& state) {
  for (int inside = 0; !state.at_end() && !state.peek().is(";"); state.take()) {
    const Token& next = state.peek();
    if (inside == 0 && (next.is(",") || next.is("to") || next.is("{") || next.is("}"))) return;
    if (next.is("(")) ++inside;
    if (next.is(")")) --inside;
  }
}

// All keys, up to `to`. Those that are good are known to be bound even if others are not.
bool parse_key_list(ParserState& state, Binding& binding) {
  bool good = true;
  Token comma;
  do {
    if (comma.is(",") && state.peek().is("to"))
      return state.fail(comma, "there is no key behind this ','", "leave the ',' out");
    const ParserState::Position at = state.position(state.peek());
    Binding::Keys keys;
    if (parse_keys(state, keys)) {
      state.bound.push_back({binding.kind, keys, at});
      binding.keys.push_back(std::move(keys));
    } else {
      good = false;
      skip_to_end_of_keys(state);
    }
    comma = state.peek();
  } while (state.take_if(","));
  return good;
}

// The same memory is read by all hosts, so that an id in it is what the host that wrote it means by it.
bool refuse_ids(ParserState& state, const Token& where, std::size_t structure) {
  for (const TypeSet::IdField& id : state.types.ids_in(structure, kTypeTroublesMax)) {
    const std::string& type = id.field->type.text;  // "uid", "pid short"
    const std::size_t blank = type.find(' ');
    const std::string word = type.substr(0, blank);
    const std::string number = (blank != std::string::npos ? type.substr(blank + 1)
                                : word == "pid"            ? "int"
                                                           : "unsigned int") +
                               " " + id.field->name;
    state.fail(where,
               "struct " + state.types.structs[structure].name + " can't be a segment: '" + id.path + "', at " +
                   id.field->place + ", is a " + word + ", and nothing is rewritten in memory that hosts share",
               "write " + number + ", which is left as it is, or send the id in a message");
  }
  return false;
}

// A segment has its size, and a count in it changes while hosts share it. What is open ends where the segment does.
bool refuse_counted(ParserState& state, const Token& where, std::size_t structure) {
  const StructDeclaration& declared = state.types.structs[structure];
  const Field& last = declared.fields.back();
  return state.fail(where,
                    "struct " + declared.name + " can't be a segment: '" + last.name + "', at " + last.place +
                        ", is counted by " + last.counter_text + ", which changes while hosts share the memory",
                    "write " + last.name + "[], which fills the rest of the segment, or its length");
}

bool parse_segment(ParserState& state, const Token& name, std::size_t structure) {
  const bool is_counted = state.types.structs[structure].fields.back().extent == Field::Extent::kCounted;
  if (is_counted) refuse_counted(state, name, structure);
  const bool has_id = state.contents[structure].has_id;
  if (has_id) refuse_ids(state, name, structure);
  return !is_counted && !has_id;
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
  } else if (state.refused.contains(name.text)) {
    return false;
  } else {
    return state.fail(name, "struct " + std::string(name.text) + " is not declared before this",
                      remedy_or("declare it above, or in an earlier file", name.text, names_in(state.tags)));
  }
  if (state.contents[structure].is_broken) return true;  // it may lack what was refused; no binding is made of it
  if (kind == Kind::kSegment) return parse_segment(state, name, structure);
  const auto mtype = state.types.mtype_of(structure);
  return mtype || state.fail(name, mtype.error().what, mtype.error().remedy);
}

bool parse_mtype(ParserState& state, std::int64_t& value) {
  const Token token = state.peek();
  if (!parse_constant(state, value, true)) return false;
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
    constexpr std::string_view kDefaultWord[] = {"default"};
    const bool is_name = first.kind == Token::Kind::kName && !state.constants.contains(first.text);
    if (const std::string remedy = remedy_or("", first.text, kDefaultWord); is_name && !remedy.empty())
      return state.fail_at_word("a message type", remedy);
    if (!parse_mtype(state, found.first)) return false;
    found.last = found.first;
    if (state.take_if("-") && !parse_mtype(state, found.last)) return false;
    if (found.last < found.first)
      return state.fail(first, "this range ends before it begins", "write the smaller type first");
  }
  if (!state.expect(":", "the message type")) return false;
  const Token name = state.peek();
  if (!parse_layout(state, binding.kind, found.structure)) {
    if (state.peek().is(",")) state.expect(";", "the struct");
    return false;
  }
  if (is_default && binding.otherwise) return state.fail(first, "there is a default already", "leave one of them out");
  const bool is_broken = state.contents[found.structure].is_broken;
  if (!is_default && !is_broken && state.types.mtype_of(found.structure)->meaning == Meaning::kPid) {
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

// { 1: request; 2-9: reply; default: note; }
bool parse_cases(ParserState& state, Binding& binding) {
  if (binding.kind == Kind::kSegment)
    return state.fail(state.peek(), "a segment has one struct", "bind shm 0x1234 to table;");
  const Token begin = state.take();
  const int inside = state.depth();
  bool good = true;
  std::vector<ReadCase> cases;
  while (!state.peek().is("}") && !state.at_end() && !begins_declaration(state) && state.has_room_for_troubles()) {
    if (parse_case(state, binding, cases)) continue;
    good = false;
    state.skip_to_end_of(inside);
  }
  if (!state.expect("}", "the last case")) {
    state.leave_to(inside - 1);
    return false;
  }
  if (good && cases.empty() && !binding.otherwise)
    return state.fail(begin, "these keys are bound to nothing", kBindingForm);
  return sort_cases(state, std::move(cases), binding) && good;
}

}  // namespace

bool parse_binding(ParserState& state) {
  state.take();
  Binding binding;
  if (state.take_if("shm")) {
    binding.kind = Kind::kSegment;
  } else if (state.peek().is("sem")) {
    return state.fail(state.peek(), "semaphores need no layout",
                      "leave this binding out: their values are numbers on every host");
  } else if (!state.take_if("msg")) {
    return state.fail_at_word("msg or shm", kBindingForm, kKindWords);
  }
  bool good = parse_key_list(state, binding);
  if (!good && !state.peek().is("to")) return false;
  if (!state.expect("to", "the keys", kToWord)) return false;
  if (state.peek().is("{")) {
    good = parse_cases(state, binding) && good;
  } else {
    std::size_t structure = 0;
    good = parse_layout(state, binding.kind, structure) && good;
    binding.otherwise = structure;
  }
  if (!good && !state.peek().is(";")) return false;
  if (good) state.types.bindings.push_back(std::move(binding));
  return state.expect(";", "the binding");
}

void check_bindings(ParserState& state) {
  using Which = Binding::Keys::Which;
  using Bound = ParserState::Bound;
  std::vector<Bound> sorted = std::move(state.bound);
  std::stable_sort(sorted.begin(), sorted.end(), [](const Bound& a, const Bound& b) {
    if (a.kind != b.kind) return a.kind < b.kind;
    if (a.keys.which != b.keys.which) return a.keys.which < b.keys.which;
    return a.keys.first < b.keys.first;
  });
  const Bound* widest = nullptr;  // of the ranges so far the one that reaches furthest
  for (const Bound& one : sorted) {
    const bool same_sort = widest != nullptr && widest->kind == one.kind && widest->keys.which == one.keys.which;
    if (same_sort && (one.keys.which != Which::kRange || one.keys.first <= widest->keys.last)) {
      const bool ranges = one.keys.which == Which::kRange;
      state.fail_at(one.at, one.keys.place, "these keys are bound already, at " + widest->keys.place,
                    ranges ? "make the ranges end before they meet" : "leave one of the two out");
    }
    if (!same_sort || one.keys.last > widest->keys.last) widest = &one;
  }
}

}  // namespace dipc
