#pragma once

// A text with a few things wrong with it, the same for the same seed on every machine: bytes changed, cut out, or
// written twice. For parsers that must answer every text with an error or a value.

#include <random>
#include <string>

namespace dipc {

inline std::string damaged(std::string text, std::mt19937& random) {
  const auto below = [&random](std::size_t limit) {
    return limit == 0 ? 0 : static_cast<std::size_t>(random()) % limit;
  };
  const std::size_t changes = 1 + below(6);
  for (std::size_t i = 0; i < changes && !text.empty(); ++i) {
    const std::size_t at = below(text.size());
    const std::size_t how = below(4);
    if (how == 0) {
      text.erase(at, 1 + below(20));
    } else if (how == 1) {
      const std::size_t from = below(text.size());
      const std::size_t length = below(30);
      text.insert(at, text.substr(from, length));
    } else {
      text[at] = static_cast<char>(below(256));
    }
  }
  return text;
}

}  // namespace dipc
