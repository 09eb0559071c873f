// `dipc run` as a user meets it: which library the program really got, and what the exit status is.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <cstdlib>
#include <filesystem>

#include "tests/lab/lab_fixture.h"

namespace dipc::lab_test {
namespace {

using testing::HasSubstr;
using testing::Not;

std::string run(const std::vector<std::string>& program, int* status = nullptr) {
  std::vector<std::string> command = {DIPC_PROGRAM, "run", "--"};
  command.insert(command.end(), program.begin(), program.end());
  const auto done = run_command(command);
  if (!done) return done.error().what;
  if (status != nullptr) *status = done->status;
  return done->output;
}

int status_of(const std::vector<std::string>& program) {
  int status = -1;
  run(program, &status);
  return status;
}

class DipcRun : public testing::Test {
 protected:
  DipcRun() { setenv("DIPC_SOCKET", "/nonexistent/dipcd.sock", 1); }
  ~DipcRun() override { unsetenv("DIPC_SOCKET"); }
};

TEST_F(DipcRun, ProgramHasTheShimInItsAddressSpace) {
  EXPECT_THAT(run({"cat", "/proc/self/maps"}), HasSubstr("/libdipc.so\n"));
  EXPECT_THAT(run_command({"cat", "/proc/self/maps"})->output, Not(HasSubstr("libdipc")));
}

TEST_F(DipcRun, ChildrenOfTheProgramHaveItToo) {
  EXPECT_THAT(run({"sh", "-c", "cat /proc/self/maps; true"}), HasSubstr("/libdipc.so\n"));
}

TEST_F(DipcRun, GuestProgramHasTheShimOfItsMachine) {
  const std::string probe = DIPC_GUEST_LAB_PROBE;
  if (!std::filesystem::exists(probe)) GTEST_SKIP() << probe << " is not built";
  setenv("DIPC_M68K_BUILD", DIPC_GUEST_BUILD, 1);
  const std::string output = run({probe, "shim"});
  EXPECT_THAT(output, HasSubstr("shim: yes\n"));
  EXPECT_THAT(output, Not(HasSubstr("cannot be preloaded")));
}

TEST_F(DipcRun, ExitStatusIsTheProgramsOrAsEnvGivesIt) {
  EXPECT_EQ(status_of({"true"}), 0);
  EXPECT_EQ(status_of({"sh", "-c", "exit 7"}), 7);
  EXPECT_EQ(status_of({"nosuchprogram"}), 127);
  EXPECT_EQ(status_of({"/etc/passwd"}), 126);
  EXPECT_EQ(run_command({DIPC_PROGRAM, "run"})->status, 2);
  EXPECT_EQ(run_command({DIPC_PROGRAM, "run", "--nonsense", "--", "true"})->status, 2);
  EXPECT_EQ(run_command({DIPC_PROGRAM})->status, 2);
  EXPECT_EQ(run_command({DIPC_PROGRAM, "--help"})->status, 0);
}

// The program takes dipc's place: a signal to the one is a signal to the other.
TEST_F(DipcRun, ProgramKeepsTheProcess) {
  Background program({DIPC_PROGRAM, "run", "--", "sh", "-c", "echo pid $$ end; exec sleep 1000"});
  ASSERT_TRUE(program.await_output(" end"));
  EXPECT_THAT(program.output(), HasSubstr("pid " + std::to_string(program.pid()) + " end"));
  program.send(SIGTERM);
  EXPECT_EQ(program.wait(), 128 + SIGTERM);
}

TEST_F(DipcRun, MissingDaemonIsSaidOnceOnStandardError) {
  const auto done = run_command({"/bin/sh", "-c", std::string(DIPC_PROGRAM) + " run -- echo out 2>/dev/null"});
  EXPECT_EQ(done->output, "out\n");
  const std::string both = run({"echo", "out"});
  EXPECT_THAT(both, HasSubstr("dipc: warning: no daemon runs here (there is no /nonexistent/dipcd.sock)"));
}

TEST_F(DipcRun, ProgramAndItsOptionsNeedNoSeparator) {
  const auto done = run_command({DIPC_PROGRAM, "run", "sh", "-c", "echo $0 $1", "--strict", "--help"});
  EXPECT_EQ(done->status, 0);
  EXPECT_THAT(done->output, HasSubstr("--strict --help\n"));
}

TEST_F(DipcRun, WordThatIsNoCommandIsNamedWithThoseThatAre) {
  const auto wrong = run_command({DIPC_PROGRAM, "rum", "true"});
  EXPECT_EQ(wrong->status, 2);
  EXPECT_THAT(wrong->output, HasSubstr("dipc: there is no 'rum'; there are: run, lab\n"));
  EXPECT_THAT(run_command({DIPC_PROGRAM, "lab", "sttus"})->output,
              HasSubstr("dipc lab: there is no 'sttus'; there are: up, exec, status, "));
}

TEST_F(DipcRun, HelpShowsWhereTheProgramGoes) {
  EXPECT_THAT(run_command({DIPC_PROGRAM, "lab", "exec", "--help"})->output, HasSubstr("HOST -- PROGRAM ARGS\n"));
  EXPECT_EQ(run_command({DIPC_PROGRAM, "--version"})->status, 0);
}

TEST_F(DipcRun, StrictIsHandedToTheShim) {
  const auto strict = run_command({DIPC_PROGRAM, "run", "--strict", "--", "sh", "-c", "echo strict: $DIPC_STRICT"});
  EXPECT_THAT(strict->output, HasSubstr("strict: 1\n"));
}

}  // namespace
}  // namespace dipc::lab_test
