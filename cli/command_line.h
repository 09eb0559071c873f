#pragma once

// Which words of a command line are dipc's own, and which the program's that it is to run.

#include <string>
#include <vector>

namespace dipc {

struct CommandLine {
  std::vector<std::string> own;
  std::vector<std::string> program;  // its name and arguments
  bool has_separator = false;        // "--" stood before the program
};

// `words` are argv without argv[0]. The program is what follows "--"; with `run` and `lab exec HOST` also what begins
// at the first further word that is no option. An option after that word is the program's.
CommandLine split_command_line(const std::vector<std::string>& words);

}  // namespace dipc
