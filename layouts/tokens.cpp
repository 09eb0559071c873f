#include "layouts/tokens.h"

#include <charconv>
#include <cstdio>

namespace dipc {
namespace {

constexpr std::size_t kNameLengthMax = 127;  // no compiler promises more; keeps messages readable

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool begins_name(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool continues_name(char c) { return begins_name(c) || is_digit(c); }
bool is_beyond_ascii(char c) { return (static_cast<unsigned char>(c) & 0x80U) != 0; }

// What to write for a line that begins with '#'.
std::string_view instead_of_line(std::string_view line) {
  std::string words;
  for (const char c : line.substr(1)) {
    if (c == '/') break;
    if (std::string_view(" \t\r").find(c) == std::string_view::npos) words.push_back(c);
  }
  if (words.starts_with("include")) return "leave it out; declare above what is used of that file";
  if (words.starts_with("pragmapack(") && words.ends_with("1)"))
    return "write packed behind the '}' of each struct that it is for";
  if (words.starts_with("pragmapack(") && words.ends_with("2)"))
    return "write packed aligned(2) behind each field of more than two bytes that it is for";
  if (words.starts_with("pragmapack()") || words.starts_with("pragmapack(pop")) return "leave it out";
  if (words.starts_with("pragmapack("))
    return "leave it out if it moves no field; else build the programs with pack(1), which is packed here";
  if (words.starts_with("pragma")) return "leave it out";
  if (words.starts_with("if") || words.starts_with("el") || words.starts_with("endif"))
    return "leave it out, and of what it chooses between all but one";
  return "write a constant as enum { LENGTH = 64 };, a comment after //";
}

class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {
    constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";  // some editors begin UTF-8 with it
    if (text_.starts_with(kByteOrderMark)) position_ = line_begin_ = kByteOrderMark.size();
  }

  std::vector<Token> all() {
    std::vector<Token> tokens;
    for (;;) {
      tokens.push_back(next());
      if (tokens.back().kind == Token::Kind::kEnd) return tokens;
    }
  }

 private:
  char at(std::size_t ahead) const { return position_ + ahead < text_.size() ? text_[position_ + ahead] : '\0'; }
  bool ended() const { return position_ >= text_.size(); }

  void advance(std::size_t bytes) {
    for (; bytes > 0; --bytes, ++position_) {
      if (text_[position_] == '\n') {
        ++line_;
        line_begin_ = position_ + 1;
      }
    }
  }

  Token here() const {
    Token token;
    token.line = line_;
    token.column = position_ - line_begin_ + 1;
    return token;
  }

  // Of `bytes` characters that begin here, and past them.
  Token take(Token::Kind kind, std::size_t bytes) {
    Token token = here();
    token.kind = kind;
    token.text = text_.substr(position_, bytes);
    advance(bytes);
    return token;
  }

  Token wrong(std::size_t bytes, std::string_view mistake, std::string_view remedy) {
    Token token = take(Token::Kind::kWrong, bytes);
    token.mistake = mistake;
    token.remedy = remedy;
    return token;
  }

  // Past blanks and comments. False: a comment has no end.
  bool skip() {
    while (!ended()) {
      if (std::string_view(" \t\n\v\f\r").find(at(0)) != std::string_view::npos && at(0) != '\0') {
        advance(1);
      } else if (at(0) == '/' && at(1) == '/') {
        while (!ended() && at(0) != '\n') advance(1);
      } else if (at(0) == '/' && at(1) == '*') {
        const std::size_t end = text_.find("*/", position_ + 2);
        if (end == std::string_view::npos) return false;
        advance(end + 2 - position_);
      } else {
        break;
      }
    }
    return true;
  }

  Token next() {
    if (!skip()) return wrong(text_.size() - position_, "this comment has no end", "end it with */");
    if (ended()) return here();
    if (begins_name(at(0))) {
      std::size_t length = 1;
      while (continues_name(at(length))) ++length;
      if (is_beyond_ascii(at(length))) return beyond_ascii();
      if (length > kNameLengthMax) return wrong(length, "this name is too long", "use at most 127 characters");
      return take(Token::Kind::kName, length);
    }
    if (is_digit(at(0))) return number();
    if (at(0) == '#') {
      std::size_t length = 1;
      while (at(length) != '\n' && position_ + length < text_.size()) ++length;
      return wrong(length, "there is no preprocessor here", instead_of_line(text_.substr(position_, length)));
    }
    if (is_beyond_ascii(at(0))) return beyond_ascii();
    if (at(0) == '\'' || at(0) == '"') return quoted();
    constexpr std::string_view kSymbols = "{}[]();,:.-=*+/%<>&|^~";
    if (kSymbols.find(at(0)) != std::string_view::npos && at(0) != '\0') return take(Token::Kind::kSymbol, 1);
    return wrong(1, "this character means nothing here", "declare as C does: struct name { int field; };");
  }

  // A name, or what else it is that has other letters.
  Token beyond_ascii() {
    std::size_t length = 1;
    while (continues_name(at(length)) || is_beyond_ascii(at(length))) ++length;
    return wrong(length, "letters beyond ASCII mean nothing here", "write names with A to Z, a to z, 0 to 9 and _");
  }

  // Up to the same quote, or to the end of the line.
  Token quoted() {
    const char quote = at(0);
    std::size_t length = 1;
    while (position_ + length < text_.size() && at(length) != '\n' && at(length) != quote) {
      length += at(length) == '\\' && at(length + 1) != '\n' && position_ + length + 1 < text_.size() ? 2 : 1;
    }
    if (at(length) == quote) ++length;
    return quote == '"' ? wrong(length, "text in quotes means nothing here", "write a number, or a name without quotes")
                        : wrong(length, "characters in quotes are not read", "write its number: 65 for 'A'");
  }

  Token number() {
    std::size_t length = 1;
    while (continues_name(at(length))) ++length;
    const std::string_view text = text_.substr(position_, length);
    const bool hexadecimal = text.starts_with("0x") || text.starts_with("0X");
    if (!hexadecimal && length > 1 && text.front() == '0') {
      return wrong(length, "a number that begins with 0 would be octal in C", "write it in decimal, or with 0x");
    }
    const char* begin = text.data() + (hexadecimal ? 2 : 0);
    const char* end = text.data() + text.size();
    std::uint64_t value = 0;
    const auto read = std::from_chars(begin, end, value, hexadecimal ? 16 : 10);
    if (read.ec != std::errc() || read.ptr != end || begin == end) {
      return wrong(length, "this is not a number", "write 64 or 0x40, at most 64 bits, without a suffix");
    }
    Token token = take(Token::Kind::kNumber, length);
    token.number = value;
    return token;
  }

  std::string_view text_;
  std::size_t position_ = 0;
  std::size_t line_ = 1;
  std::size_t line_begin_ = 0;
};

}  // namespace

std::vector<Token> tokens_of(std::string_view text) { return Reader(text).all(); }

std::string shown(const Token& token) {
  if (token.kind == Token::Kind::kEnd) return "the end of the file";
  constexpr std::size_t kShownMax = 60;
  std::string result = "'";
  for (const char c : token.text.substr(0, kShownMax)) {
    if (c >= ' ' && c <= '~') {
      result.push_back(c);
    } else {
      char escaped[5];
      std::snprintf(escaped, sizeof escaped, "\\x%02x", static_cast<unsigned>(static_cast<unsigned char>(c)));
      result.append(escaped);
    }
  }
  if (token.text.size() > kShownMax) result.append("...");
  result.push_back('\'');
  return result;
}

}  // namespace dipc
