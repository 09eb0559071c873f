// What the library itself is made of: nothing but libc, and no names but those it means to give.

#include <gtest/gtest.h>
#include <stdio.h>

#include <set>
#include <sstream>
#include <string>

#include "tests/shim/machine.h"

namespace dipc::test {
namespace {

class Library : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (std::string why = machine().missing(); !why.empty()) GTEST_SKIP() << why;
  }
  const Machine& machine() const { return test::machine(GetParam()); }
  std::string readelf(const std::string& what) const {
    std::string command = "readelf -W " + what + " '" + machine().shim + "'";
    FILE* pipe = popen(command.c_str(), "r");
    std::string output;
    char part[4096];
    while (size_t bytes = fread(part, 1, sizeof part, pipe)) output.append(part, bytes);
    EXPECT_EQ(pclose(pipe), 0) << command;
    return output;
  }
};

TEST_P(Library, NeedsNothingButLibc) {
  std::multiset<std::string> needed;
  std::istringstream lines(readelf("-d"));
  for (std::string line; std::getline(lines, line);) {
    if (line.find("(NEEDED)") != std::string::npos) needed.insert(line.substr(line.find('[')));
  }
  EXPECT_EQ(needed, std::multiset<std::string>{"[libc.so.6]"});
}

TEST_P(Library, ExportsTheInterposedNamesAndDipcH) {
  std::set<std::string> expected{"msgget",
                                 "msgsnd",
                                 "msgrcv",
                                 "msgctl",
                                 "semget",
                                 "semop",
                                 "semtimedop",
                                 "semctl",
                                 "shmget",
                                 "shmctl",
                                 "shmat",
                                 "shmdt",
                                 "sigaction",
                                 "signal",
                                 "sysv_signal",
                                 "__sysv_signal",
                                 "sigprocmask",
                                 "pthread_sigmask",
                                 "ftok",
                                 "dlopen",
                                 "syscall",
                                 "dipc_is_distributed_msg",
                                 "dipc_is_distributed_sem",
                                 "dipc_version"};
  if (machine().long_bytes == 4) expected.insert({"__msgctl64", "__semctl64", "__semtimedop64", "__shmctl64"});
  std::set<std::string> exported;
  std::istringstream lines(readelf("--dyn-syms"));
  for (std::string line; std::getline(lines, line);) {
    // Num: Value Size Type Bind Vis Ndx Name
    std::istringstream words(line);
    std::string number, value, size, type, bind, visibility, section, name;
    words >> number >> value >> size >> type >> bind >> visibility >> section >> name;
    if ((bind == "GLOBAL" || bind == "WEAK") && section != "UND") exported.insert(name);
  }
  EXPECT_EQ(exported, expected);
}

TEST_P(Library, IsNotForTheDaemonItself) {
  Program daemon(machine(), "../../daemon/dipcd", {"--config", "/nowhere"}, {}, machine().shim);
  const auto ending = daemon.finish();
  EXPECT_EQ(ending.status, 1);
  EXPECT_NE(ending.output.find("libdipc.so is loaded into this dipcd"), std::string::npos) << ending.output;
  EXPECT_NE(ending.output.find("without the library in LD_PRELOAD"), std::string::npos) << ending.output;
}

TEST_P(Library, KeepsItsThreadStateWhereASignalHandlerMayTouchIt) {
  // Initial-exec: an offset from the thread pointer, not a call of __tls_get_addr, which allocates at a thread's first
  // access.
  EXPECT_EQ(readelf("--dyn-syms").find("__tls_get_addr"), std::string::npos);
  std::string relocations = readelf("-r");
  EXPECT_EQ(relocations.find("DTPMOD"), std::string::npos);
  EXPECT_TRUE(relocations.find("TPOFF") != std::string::npos || relocations.find("TPREL") != std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(native, Library, testing::Values("native"), [](const auto&) { return "native"; });
INSTANTIATE_TEST_SUITE_P(m68k, Library, testing::Values("m68k"), [](const auto&) { return "m68k"; });
INSTANTIATE_TEST_SUITE_P(s390x, Library, testing::Values("s390x"), [](const auto&) { return "s390x"; });
INSTANTIATE_TEST_SUITE_P(i386, Library, testing::Values("i386"), [](const auto&) { return "i386"; });

}  // namespace
}  // namespace dipc::test
