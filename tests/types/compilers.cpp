#include "tests/types/compilers.h"

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <stdexcept>

namespace dipc::types_test {

const std::vector<Compiler>& compilers() {
  // clang's integrated assembler would do too, but what users have compiled with is what counts. Position-independent
  // is off: a program without a C library has nobody who would relocate it.
  static const std::vector<Compiler> kCompilers = {
      {"x86-64", "gcc -mstackrealign", ""},
      {"i386", "gcc -m32 -mstackrealign", "-"},
      {"m68k", "m68k-linux-gnu-gcc", "qemu-m68k-static "},
      {"s390x", "s390x-linux-gnu-gcc", "qemu-s390x-static "},
      {"arm64", "aarch64-linux-gnu-gcc", "-"},
  };
  return kCompilers;
}

Folder::Folder() {
  std::string name = (std::filesystem::temp_directory_path() / "dipc-types-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp");
  path_ = name;
}

Folder::~Folder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::filesystem::path Folder::write(const std::string& name, const std::string& text) const {
  const std::filesystem::path path = path_ / name;
  std::ofstream(path) << text;
  return path;
}

Ran run(const std::string& command) {
  Ran ran;
  const std::string path = "PATH=\"$PATH:" DIPC_TOOLS_DIR "\"; ";
  std::FILE* pipe = ::popen((path + command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return {-1, "popen"};
  char buffer[4096];
  for (std::size_t bytes = 0; (bytes = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;)
    ran.output.append(buffer, bytes);
  const int status = ::pclose(pipe);
  ran.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return ran;
}

std::filesystem::path compiled(const Folder& folder, const Compiler& compiler, const std::string& c,
                               const std::string& options) {
  const auto source = folder.write("program.c", c);
  const auto object = folder / "program.o";
  const Ran ran = run("timeout 60 " + compiler.command + " -w -ffreestanding " + options + " -o " + object.string() +
                      " " + source.string());
  EXPECT_EQ(ran.status, 0) << ran.output;
  return object;
}

std::string c_start() {
  return R"(
static void exit_with(long status) {
#if defined(__x86_64__)
  __asm__ volatile("syscall" : : "a"(60L), "D"(status));
#elif defined(__m68k__)
  register long number __asm__("d0") = 1;
  register long first __asm__("d1") = status;
  __asm__ volatile("trap #0" : : "d"(number), "d"(first));
#elif defined(__s390x__)
  register long first __asm__("2") = status;
  __asm__ volatile("svc 1" : : "d"(first));
#endif
}
int main_of_test(void);
void _start(void) {
  exit_with(main_of_test());
  for (;;) {
  }
}
)";
}

}  // namespace dipc::types_test
