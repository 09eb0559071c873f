#include "cli/launch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "cli/elf.h"
#include "cli/installation.h"
#include "cli/machines.h"

namespace dipc {
namespace {

namespace fs = std::filesystem;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;

// A folder for programs and a PATH that holds it alone; both gone afterwards.
class Launching : public testing::Test {
 protected:
  Launching() {
    folder_ = (fs::temp_directory_path() / "dipc-launch-XXXXXX").string();
    EXPECT_NE(mkdtemp(folder_.data()), nullptr);
    path_before_ = std::getenv("PATH");
    setenv("PATH", folder_.c_str(), 1);
  }
  ~Launching() override {
    setenv("PATH", path_before_.c_str(), 1);
    fs::remove_all(folder_);
  }

  std::string make_file(const std::string& name, const std::string& content, mode_t mode = 0755) {
    const std::string path = folder_ + "/" + name;
    std::ofstream(path, std::ios::binary) << content;
    chmod(path.c_str(), mode);
    return path;
  }

  // An ELF file of that machine, with no more in it than what is looked at.
  std::string make_program(const std::string& name, const Machine& machine, bool dynamic, mode_t mode = 0755) {
    const bool wide = machine.elf.is_64_bit;
    const bool big = machine.elf.byte_order == ByteOrder::kBig;
    std::string image(wide ? 64 + 56 : 52 + 32, '\0');
    const auto put = [&](std::size_t offset, std::uint64_t value, std::size_t bytes) {
      for (std::size_t i = 0; i < bytes; ++i) {
        image[offset + (big ? bytes - 1 - i : i)] = static_cast<char>(value >> (8 * i) & 0xff);
      }
    };
    image.replace(0, 4, "\177ELF");
    image[4] = wide ? 2 : 1;
    image[5] = big ? 2 : 1;
    put(18, machine.elf.machine, 2);
    put(wide ? 32 : 28, wide ? 64 : 52, wide ? 8 : 4);  // e_phoff
    put(wide ? 54 : 42, wide ? 56 : 32, 2);             // e_phentsize
    put(wide ? 56 : 44, 1, 2);                          // e_phnum
    put(wide ? 64 : 52, dynamic ? 3 : 1, 4);            // PT_INTERP or PT_LOAD
    return make_file(name, image, mode);
  }

  static Launch planned(const std::vector<std::string>& command, bool preload = false) {
    const auto plan = plan_launch(command, {.preload = preload, .strict = false, .socket = "/nonexistent/dipcd.sock"});
    if (const auto* failed = std::get_if<LaunchFailure>(&plan)) {
      ADD_FAILURE() << failed->trouble.what;
      return {};
    }
    return std::get<Launch>(plan);
  }

  static int status_of_failure(const std::vector<std::string>& command) {
    const auto plan = plan_launch(command, {});
    const auto* failed = std::get_if<LaunchFailure>(&plan);
    return failed != nullptr ? failed->exit_status : 0;
  }

  std::string folder_;
  std::string path_before_;
};

TEST_F(Launching, ElfHeaderTellsMachineAndLinkage) {
  for (const char* name : {"x86_64", "i386", "m68k", "s390x", "aarch64"}) {
    const Machine* machine = machine_named(name);
    ASSERT_NE(machine, nullptr);
    for (const bool dynamic : {true, false}) {
      const auto elf = read_elf(make_program("program", *machine, dynamic));
      ASSERT_TRUE(elf);
      EXPECT_EQ(machine_of(*elf), machine) << name;
      EXPECT_EQ(elf->has_interpreter, dynamic);
    }
  }
}

TEST_F(Launching, CutOrForeignFilesAreNoElf) {
  EXPECT_FALSE(read_elf(make_file("text", "hello")));
  EXPECT_FALSE(read_elf(make_file("short", std::string("\177ELF\1\2\1", 7) + std::string(20, '\0'))));
  EXPECT_FALSE(read_elf(folder_ + "/nothing"));
}

TEST_F(Launching, OwnProgramIsNative) {
  ASSERT_NE(native_machine(), nullptr);
  EXPECT_TRUE(runs_natively(native_machine()->elf));
}

TEST_F(Launching, KernelRunsI386BesidesX8664AndNothingElseBesides) {
  for (const Machine* machine : native_machines()) {
    EXPECT_TRUE(machine == native_machine() || machine->also_on == native_machine()->name) << machine->name;
  }
  EXPECT_EQ(native_machines().size(), native_machine()->name == "x86_64" ? 2u : 1u);
}

// Which folder $LIB means to an i386 program depends on whose libc it runs with.
TEST_F(Launching, PreloadGoesThroughLibWhereEveryFolderThatItMayMeanHasTheLibrary) {
  setenv("DIPC_LIBRARY_PATH", (folder_ + "/lib").c_str(), 1);
  const Machine& m68k = *machine_named("m68k");
  const Machine& i386 = *machine_named("i386");
  for (const char* folder : {"/lib/m68k-linux-gnu", "/lib/i386-linux-gnu", "/lib32"}) {
    fs::create_directories(folder_ + folder);
  }
  make_program("lib/m68k-linux-gnu/libdipc.so", m68k, true);
  EXPECT_EQ(find_shim(m68k.elf), folder_ + "/$LIB/libdipc.so");
  const std::string one = make_program("lib/i386-linux-gnu/libdipc.so", i386, true);
  EXPECT_EQ(find_shim(i386.elf), one);
  make_program("lib32/libdipc.so", i386, true);
  EXPECT_EQ(find_shim(i386.elf), folder_ + "/$LIB/libdipc.so");
  unsetenv("DIPC_LIBRARY_PATH");
}

TEST_F(Launching, ProgramsAreLookedUpAsExecvpDoes) {
  const std::string program = make_program("tool", *native_machine(), true);
  EXPECT_EQ(planned({"tool"}).file, program);
  EXPECT_EQ(planned({program, "-x"}).file, program);
  EXPECT_THAT(planned({"tool", "-x", "--"}).arguments, ElementsAre("tool", "-x", "--"));
}

TEST_F(Launching, MissingProgramIs127AndOneThatMayNotBeRun126) {
  make_file("data", "x", 0644);
  EXPECT_EQ(status_of_failure({"nosuch"}), kExitNotFound);
  EXPECT_EQ(status_of_failure({folder_ + "/nosuch"}), kExitNotFound);
  EXPECT_EQ(status_of_failure({""}), kExitNotFound);
  EXPECT_EQ(status_of_failure({"data"}), kExitCannotRun);
  EXPECT_EQ(status_of_failure({folder_}), kExitCannotRun);
}

TEST_F(Launching, ProgramOfAnotherMachineRunsUnderItsEmulator) {
  const Machine* guest = machine_named(std::string(native_machine()->name) == "m68k" ? "s390x" : "m68k");
  const std::string emulator = make_program("qemu-" + std::string(guest->name) + "-static", *native_machine(), false);
  const std::string program = make_program("server", *guest, true);
  const Launch launch = planned({"server", "one"});
  EXPECT_EQ(launch.file, emulator);
  // argv[0] stays what the user typed.
  ASSERT_GE(launch.arguments.size(), 5u);
  const std::vector<std::string> end(launch.arguments.end() - 4, launch.arguments.end());
  EXPECT_THAT(end, ElementsAre("-0", "server", program, "one"));
  // What is in LD_PRELOAD for native programs must not reach a dynamically linked emulator.
  EXPECT_THAT(launch.environment,
              Contains(std::pair<std::string, std::optional<std::string>>("LD_PRELOAD", std::nullopt)));
}

TEST_F(Launching, ScriptOfAForeignInterpreterRunsUnderItsEmulator) {
  const Machine* guest = machine_named(std::string(native_machine()->name) == "m68k" ? "s390x" : "m68k");
  make_program("qemu-" + std::string(guest->name) + "-static", *native_machine(), false);
  const std::string interpreter = make_program("perl", *guest, true);
  const std::string inner = make_file("inner", "#! " + interpreter + " -w \nrest");
  const std::string script = make_file("script", "#!" + inner + "\n");
  const Launch launch = planned({"script", "one"});
  ASSERT_GE(launch.arguments.size(), 5u);
  const std::vector<std::string> end(launch.arguments.end() - 5, launch.arguments.end());
  EXPECT_THAT(end, ElementsAre(interpreter, "-w", inner, script, "one"));
}

TEST_F(Launching, ScriptOfANativeInterpreterIsLeftToTheKernel) {
  const std::string interpreter = make_program("perl", *native_machine(), true);
  const std::string script = make_file("script", "#!" + interpreter + " -w\n");
  const Launch launch = planned({"script", "one"});
  EXPECT_EQ(launch.file, script);
  EXPECT_THAT(launch.arguments, ElementsAre("script", "one"));
}

TEST_F(Launching, ScriptWithoutItsInterpreterIs127) {
  make_file("script", "#!/nowhere/perl\n");
  EXPECT_EQ(status_of_failure({"script"}), kExitNotFound);
}

TEST_F(Launching, ScriptsInACircleEnd) {
  const std::string a = folder_ + "/a";
  const std::string b = make_file("b", "#!" + a + "\n");
  make_file("a", "#!" + b + "\n");
  EXPECT_EQ(status_of_failure({"a"}), kExitCannotRun);
}

TEST_F(Launching, FileWithoutAKnownFormGoesToTheShell) {
  const std::string script = make_file("plain", "echo hello\n");
  const Launch launch = planned({"plain", "one"});
  EXPECT_EQ(launch.file, "/bin/sh");
  EXPECT_THAT(launch.arguments, ElementsAre("/bin/sh", script, "one"));
}

TEST_F(Launching, StaticProgramIsWarnedOf) {
  make_program("still", *native_machine(), false);
  const Launch launch = planned({"still"}, true);
  EXPECT_THAT(launch.warnings, ElementsAre(HasSubstr("linked statically")));
  EXPECT_TRUE(launch.environment.empty() || launch.environment[0].first != "LD_PRELOAD");
}

TEST_F(Launching, SetUidProgramIsWarnedOf) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root to give a file away";
  const std::string program = make_program("su", *native_machine(), true);
  ASSERT_EQ(chown(program.c_str(), 12345, 12345), 0);
  ASSERT_EQ(chmod(program.c_str(), 04755), 0);
  EXPECT_THAT(planned({"su"}, true).warnings, ElementsAre(HasSubstr("set-uid")));
}

TEST_F(Launching, MissingDaemonIsWarnedOf) {
  make_program("tool", *native_machine(), true);
  EXPECT_THAT(planned({"tool"}, true).warnings, Contains(HasSubstr("no daemon runs here")));
}

TEST_F(Launching, StrictGoesIntoTheEnvironment) {
  make_program("tool", *native_machine(), true);
  const auto plan = plan_launch({"tool"}, {.preload = false, .strict = true, .socket = ""});
  EXPECT_THAT(std::get<Launch>(plan).environment,
              ElementsAre(std::pair<std::string, std::optional<std::string>>("DIPC_STRICT", "1")));
}

}  // namespace
}  // namespace dipc
