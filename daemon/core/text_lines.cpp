#include "daemon/core/text_lines.h"

#include <cstdio>

namespace dipc {
namespace {

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r'; }

}  // namespace

std::vector<TextLine> split_lines(std::string_view text) {
  std::vector<TextLine> lines;
  std::size_t number = 0;
  while (!text.empty()) {
    ++number;
    const std::size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    line = line.substr(0, line.find('#'));
    TextLine found{number, {}};
    std::size_t at = 0;
    while (at < line.size()) {
      if (is_blank(line[at])) {
        ++at;
        continue;
      }
      const std::size_t begin = at;
      while (at < line.size() && !is_blank(line[at])) ++at;
      found.words.push_back(line.substr(begin, at - begin));
    }
    if (!found.words.empty()) lines.push_back(std::move(found));
  }
  return lines;
}

Trouble trouble_at(std::string_view file, std::size_t line, std::string_view what, std::string remedy) {
  std::string text(file);
  text.append(":").append(std::to_string(line)).append(": ").append(what);
  return Trouble{std::move(text), std::move(remedy)};
}

std::string in_quotes(std::string_view text) {
  constexpr std::size_t kShownMax = 80;
  std::string result = "'";
  for (const char c : text.substr(0, kShownMax)) {
    if (c >= ' ' && c <= '~') {
      result.push_back(c);
    } else {
      char escaped[5];
      std::snprintf(escaped, sizeof escaped, "\\x%02x", static_cast<unsigned>(static_cast<unsigned char>(c)));
      result.append(escaped);
    }
  }
  if (text.size() > kShownMax) result.append("...");
  result.push_back('\'');
  return result;
}

std::string to_lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return result;
}

bool fits_pattern(std::string_view pattern, std::string_view text) {
  // Backtracks to the last '*' only, which is enough and keeps a hostile pattern at length times length.
  std::size_t p = 0, t = 0;
  std::size_t star = std::string_view::npos, resume = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = t;
    } else if (p < pattern.size() && pattern[p] == text[t]) {
      ++p;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++resume;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

}  // namespace dipc
