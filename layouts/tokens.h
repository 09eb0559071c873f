#pragma once

// The words of a *.types file: names, numbers and single characters, each with its place; comments of C left out.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace dipc {

struct Token {
  enum class Kind : std::uint8_t { kName, kNumber, kSymbol, kWrong, kEnd };
  Kind kind = Kind::kEnd;
  std::string_view text;     // part of the text that was given; empty at the end
  std::uint64_t number = 0;  // kNumber: decimal or 0x; kWrong: unused
  std::string_view mistake;  // kWrong: what is wrong with it
  std::string_view remedy;   // kWrong
  std::size_t line = 1;      // from 1
  std::size_t column = 1;    // from 1, in bytes

  bool is(std::string_view what) const { return (kind == Kind::kName || kind == Kind::kSymbol) && text == what; }
};

// Ends with one kEnd token, never empty.
std::vector<Token> tokens_of(std::string_view text);

// In quotes for a message: what can't be printed as \xNN, at most 60 characters.
std::string shown(const Token& token);

}  // namespace dipc
