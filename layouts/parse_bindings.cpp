// The bindings of keys, of *.types files.

#include <algorithm>
#include <utility>

#include "layouts/parser_state.h"

namespace dipc {
namespace {

constexpr std::string_view kBindingForm =
    "bind msg 0x1234 to request;  or  bind msg 0x1000-0x1fff to { 1: request; default: note; }";
constexpr std::uint64_t kKeyMax = 0xffffffffU;

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
