#include "cli/command_line.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <limits>
#include <string_view>

namespace dipc {
namespace {

constexpr std::array<std::string_view, 3> kOptionsWithValue = {"--name", "--as",
                                                               "--timeout"};  // "--as=bob" is one word

// How many words that are no options are ours, given those seen so far.
std::size_t own_words(const std::vector<std::string>& seen) {
  if (!seen.empty() && seen[0] == "run") return 1;
  if (seen.size() > 1 && seen[0] == "lab" && seen[1] == "exec") return 3;
  return std::numeric_limits<std::size_t>::max();
}

}  // namespace

CommandLine split_command_line(const std::vector<std::string>& words) {
  CommandLine line;
  std::vector<std::string> seen;
  bool is_value = false;
  for (auto word = words.begin(); word != words.end(); ++word) {
    if (*word == "--") {
      line.has_separator = true;
      line.program.assign(word + 1, words.end());
      break;
    }
    const bool is_option = word->size() > 1 && word->starts_with('-');
    if (!is_option && !is_value) {
      if (seen.size() == own_words(seen)) {
        line.program.assign(word, words.end());
        break;
      }
      seen.push_back(*word);
    }
    is_value =
        !is_value && std::find(kOptionsWithValue.begin(), kOptionsWithValue.end(), *word) != kOptionsWithValue.end();
    line.own.push_back(*word);
  }
  return line;
}

}  // namespace dipc
