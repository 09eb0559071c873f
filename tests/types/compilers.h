#pragma once

// The C compilers of the five machines, as Debian has them, and what runs their programs. No C library is needed.

#include <filesystem>
#include <string>
#include <vector>

namespace dipc::types_test {

struct Compiler {
  std::string machine;  // as known_abi() knows it
  std::string command;
  std::string runner;  // put before a program; "-": what it makes can't be run here
};
const std::vector<Compiler>& compilers();

// A folder that goes when this does.
class Folder {
 public:
  Folder();
  ~Folder();
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  // Writes a file there.
  std::filesystem::path write(const std::string& name, const std::string& text) const;
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

// Compiles C into `folder`, unlinked or however `options` say; EXPECTs that it is good C.
std::filesystem::path compiled(const Folder& folder, const Compiler& compiler, const std::string& c,
                               const std::string& options = "-g -c");

// Runs a command of the shell. Its output, stdout and stderr, and its exit status (128 + signal).
struct Ran {
  int status = 0;
  std::string output;
};
Ran run(const std::string& command);

// C that makes `int main_of_test(void)` a program without a C library, which exits with what it returns.
std::string c_start();

}  // namespace dipc::types_test
