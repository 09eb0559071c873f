#pragma once

// Reading files of lines and words: '#' begins a comment, words are separated by blanks and tabs.

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "wire/result.h"

namespace dipc {

struct TextLine {
  std::size_t number = 0;               // from 1
  std::vector<std::string_view> words;  // at least one; parts of the text that was given
};

// The lines that say something. A NUL or other control character is no blank, so it ends up in a word and is refused
// there. "\r\n" is taken as "\n".
std::vector<TextLine> split_lines(std::string_view text);

// "hosts.allow:3: what" and the remedy.
Trouble trouble_at(std::string_view file, std::size_t line, std::string_view what, std::string remedy);

// `text` in quotes for a message: control characters and bytes above 126 as \xNN, at most 80 characters of it.
std::string in_quotes(std::string_view text);

// ASCII only, whatever the locale.
std::string to_lower(std::string_view text);

// Does `text` fit `pattern`, in which '*' stands for any characters, none included?
bool fits_pattern(std::string_view pattern, std::string_view text);

}  // namespace dipc
