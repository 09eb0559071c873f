// Types and attributes of *.types files.

#include <algorithm>
#include <bit>

#include "layouts/parser_state.h"

namespace dipc {
namespace {

// Types that people write and that can't be one of ours, with what to write instead.
struct RefusedType {
  std::string_view name, what, remedy;
};
constexpr RefusedType kRefusedTypes[] = {
    {"pid_t", "a process id means something on one host only",
     "write pid: rewritten between hosts; or int: left as it is"},
    {"uid_t", "a user id means something on one host only",
     "write uid: goes through the login's name; or unsigned int: left as it is"},
    {"gid_t", "a group id means something on one host only",
     "write gid: goes through the group's name; or unsigned int: left as it is"},
    {"intptr_t", "an address means nothing in another process", "declare the data itself"},
    {"uintptr_t", "an address means nothing in another process", "declare the data itself"},
    {"void", "void is no type of a field", kFieldForm},
    {"union", "a union can't be converted: nothing says which of its members is in use",
     "declare one struct for each kind of message and choose by mtype"},
    {"__int128", "no other machine need have a 128-bit integer", "declare two of 64 bits, in this machine's order"},
};

// Names that only some C libraries have: not taken for those that are like them.
struct LibraryType {
  std::string_view name, remedy;
};
constexpr LibraryType kLibraryTypes[] = {
    {"uint", "write unsigned int"},
    {"ushort", "write unsigned short"},
    {"ulong", "write unsigned long"},
    {"u_char", "write unsigned char"},
    {"u_short", "write unsigned short"},
    {"u_int", "write unsigned int"},
    {"u_long", "write unsigned long"},
    {"u_int8_t", "write uint8_t"},
    {"u_int16_t", "write uint16_t"},
    {"u_int32_t", "write uint32_t"},
    {"u_int64_t", "write uint64_t"},
    {"key_t", "write int"},
    {"mode_t", "write unsigned int"},
    {"off_t", "write long; or int64_t, if the programs are built with _FILE_OFFSET_BITS=64"},
};

bool is_integer_word(const Token& token) {
  constexpr std::string_view kWords[] = {"signed", "unsigned", "short", "long", "int", "char"};
  return token.kind == Token::Kind::kName &&
         std::find(std::begin(kWords), std::end(kWords), token.text) != std::end(kWords);
}

std::string_view meaning_word(Meaning meaning) {
  return meaning == Meaning::kPid ? "pid" : meaning == Meaning::kUid ? "uid" : "gid";
}

// What comes behind `pid`: the type that holds it, or the field's name? C's words and the names of our scalars are
// types always, but for pid, uid and gid, which hold no other; the name of a typedef is one if a field's name follows
// it.
bool names_holder(const ParserState& state) {
  const Token& next = state.peek();
  if (next.kind != Token::Kind::kName) return false;
  if (const auto scalar = scalar_named({next.text})) return scalar->meaning == Meaning::kNumber;
  if (is_integer_word(next)) return true;
  return state.aliases.contains(next.text) && state.peek(1).kind == Token::Kind::kName && !begins_attribute(state, 1);
}

// `pid`, `pid long`.
bool parse_meaning(ParserState& state, TypeUse& use) {
  const Token first = state.take();
  const Scalar plain = *scalar_named({first.text});
  if (!names_holder(state)) {
    use.scalar = plain;
    use.text = first.text;
    return true;
  }
  const Token type = state.peek();
  if (!parse_scalar_or_alias(state, use)) return false;
  const ScalarKind kind = use.scalar.kind;
  if (use.is_struct || kind == ScalarKind::kFloat || kind == ScalarKind::kDouble || kind == ScalarKind::kByte ||
      use.scalar.meaning != Meaning::kNumber || use.enumeration) {
    return state.fail(type, shown(first) + " can't be held by " + use.text, "use an integer of at least 16 bits");
  }
  use.scalar.meaning = plain.meaning;
  use.text = std::string(meaning_word(plain.meaning)) + " " + use.text;
  return true;
}

bool parse_attribute_word(ParserState& state, bool& packed, std::uint32_t& aligned) {
  const Token word = state.peek();
  const bool is_packed = word.is("packed") || word.is("__packed__");
  if (!is_packed && !word.is("aligned") && !word.is("__aligned__")) {
    return state.fail(word, shown(word) + " is no attribute that is known here",
                      remedy_or("write packed or aligned(8)", word.text, kAttributeWords));
  }
  state.take();
  if (is_packed) {
    packed = true;
    return true;
  }
  const Token bracket = state.peek();
  std::int64_t value = 0;
  if (!state.expect("(", "aligned") || !parse_constant(state, value)) return false;
  if (value < 1 || value > kAlignedMax || !std::has_single_bit(static_cast<std::uint64_t>(value))) {
    return state.fail(bracket, "an alignment of " + std::to_string(value) + " bytes is not one",
                      "write a power of two from 1 to 4096");
  }
  aligned = std::max(aligned, static_cast<std::uint32_t>(value));
  return state.expect(")", "the alignment");
}

// A name that is no type.
bool fail_at_type(ParserState& state, const Token& name) {
  if (state.tags.contains(name.text)) {
    return state.fail(name, shown(name) + " is a struct", "write struct " + std::string(name.text));
  }
  if (state.refused.contains(name.text)) return false;
  for (const LibraryType& one : kLibraryTypes) {
    if (name.is(one.name)) return state.fail(name, shown(name) + " is not known here", one.remedy);
  }
  std::vector<std::string_view> near = scalar_words();
  near.insert(near.end(), {"struct", "enum", "const", "volatile"});
  const std::vector<std::string_view> aliases = names_in(state.aliases);
  near.insert(near.end(), aliases.begin(), aliases.end());
  return state.fail(name, shown(name) + " is no type that is known here",
                    remedy_or("use C's own, int8_t to uint64_t, size_t, time_t, bool, pid, uid, gid, or declare it "
                              "above with typedef",
                              name.text, near));
}

// Words that are no type together: `long double`, `unsigned float`, `short char`. The last one of those with a float
// may be meant as the field's name, which is refused as such.
bool refuse_mixture(ParserState& state) {
  constexpr std::size_t kWordsMax = 8;
  const auto is_float = [](const Token& word) { return word.is("float") || word.is("double"); };
  std::vector<std::string_view> words;
  std::string text;
  bool has_float = false;
  while (words.size() < kWordsMax) {
    const Token& word = state.peek(words.size());
    if (!is_integer_word(word) && !is_float(word)) break;
    has_float = has_float || is_float(word);
    text += (words.empty() ? "" : " ") + std::string(word.text);
    words.push_back(word.text);
  }
  const bool is_named = state.peek(words.size()).kind == Token::Kind::kName;
  if (words.size() < 2 || (has_float && !is_named) || scalar_named(words)) return false;
  const bool is_long_double = words.size() == 2 && has_float && text.find("long") != std::string::npos &&
                              text.find("double") != std::string::npos;
  if (is_long_double) {
    state.fail(state.peek(), "a long double has another format on every machine", "use double in the program");
  } else {
    state.fail(state.peek(), "'" + text + "' is no type",
               has_float ? "write float or double, which have no other words beside them"
                         : "write char, short, int, long or long long, with or without signed or unsigned");
  }
  return true;
}

}  // namespace

bool refuse_pointer(ParserState& state) {
  constexpr std::size_t kTypeWordsMax = 16;  // of names without end not all are looked at, for each of them again
  std::size_t ahead = 0;
  while (ahead < kTypeWordsMax && state.peek(ahead).kind == Token::Kind::kName) ++ahead;
  const Token star = state.peek(ahead);
  const bool is_function = star.is("(") && state.peek(ahead + 1).is("*");
  if (!star.is("*") && !is_function) return false;
  const auto is_before_name = [](const Token& word) {
    return word.is("*") || word.is("(") || word.is("const") || word.is("volatile");
  };
  while (is_before_name(state.peek(ahead))) ++ahead;
  const Token& name = state.peek(ahead);
  const std::string who = name.kind == Token::Kind::kName ? "'" + std::string(name.text) + "' is" : "this is";
  state.fail(star, who + " a pointer, which can't be converted: it means nothing in another process",
             "send what it points to: an array with a length, or an open one at the end");
  return true;
}

bool refuse_keyword(ParserState& state) {
  constexpr std::string_view kKeywords[] = {
      "auto",   "break",    "case",     "char",     "const", "continue", "default", "do",     "double",
      "else",   "enum",     "extern",   "float",    "for",   "goto",     "if",      "inline", "int",
      "long",   "register", "restrict", "return",   "short", "signed",   "sizeof",  "static", "struct",
      "switch", "typedef",  "union",    "unsigned", "void",  "volatile", "while",   "_Bool"};
  const Token& name = state.peek();
  if (std::find(std::begin(kKeywords), std::end(kKeywords), name.text) == std::end(kKeywords)) return false;
  state.fail(name, shown(name) + " is a word of C and no name", "give it another name");
  return true;
}

bool parse_scalar_or_alias(ParserState& state, TypeUse& use) {
  const Token first = state.peek();
  if (refuse_mixture(state)) return false;
  std::vector<std::string_view> words;
  while (is_integer_word(state.peek())) words.push_back(state.take().text);
  if (words.empty()) {
    for (const RefusedType& refused : kRefusedTypes) {
      if (first.is(refused.name))
        return state.fail(first, shown(first) + ": " + std::string(refused.what), refused.remedy);
    }
    if (first.kind != Token::Kind::kName) return state.fail_at_word("a type", kFieldForm);
    state.take();
    if (const auto alias = state.aliases.find(first.text); alias != state.aliases.end()) {
      use = alias->second.use;
      return true;
    }
    words.push_back(first.text);
  }
  const auto scalar = scalar_named(words);
  if (!scalar) return fail_at_type(state, first);
  use.scalar = *scalar;
  for (const std::string_view word : words) use.text += (use.text.empty() ? "" : " ") + std::string(word);
  return true;
}

bool begins_attribute(const ParserState& state, std::size_t ahead) {
  const Token& word = state.peek(ahead);
  return word.is("packed") || word.is("__attribute__") || (word.is("aligned") && state.peek(ahead + 1).is("("));
}

bool parse_attributes(ParserState& state, bool& packed, std::uint32_t& aligned) {
  for (;;) {
    if (state.peek().is("packed") || state.peek().is("aligned")) {
      if (!parse_attribute_word(state, packed, aligned)) return false;
    } else if (state.take_if("__attribute__")) {
      if (!state.expect("(", "__attribute__") || !state.expect("(", "__attribute__(")) return false;
      do {
        if (!parse_attribute_word(state, packed, aligned)) return false;
      } while (state.take_if(","));
      if (!state.expect(")", "the attributes") || !state.expect(")", "the attributes")) return false;
    } else {
      return true;
    }
  }
}

bool parse_type(ParserState& state, TypeUse& use) {
  while (state.peek().is("const") || state.peek().is("volatile")) state.take();
  const Token& first = state.peek();
  bool good = false;
  if (first.is("struct")) {
    good = parse_struct(state, use);
  } else if (first.is("enum")) {
    good = parse_enum(state, use);
  } else if (first.is("pid") || first.is("uid") || first.is("gid")) {
    good = parse_meaning(state, use);
  } else {
    good = parse_scalar_or_alias(state, use);
  }
  while (good && (state.peek().is("const") || state.peek().is("volatile"))) state.take();
  return good;
}

}  // namespace dipc
