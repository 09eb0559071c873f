#pragma once

#include <string>
#include <string_view>

namespace dipc {

// Without control characters: text from other hosts must not play with the terminal.
inline std::string printable(std::string_view text) {
  std::string result;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    result.push_back(byte < 0x20 || byte == 0x7f ? '?' : c);
  }
  return result;
}

}  // namespace dipc
