// `dipc lab` with hosts that are nothing but their kernel: what a host is, how exec behaves, and that nothing is ever
// left behind.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>
#include <tuple>

#include "tests/lab/lab_fixture.h"

namespace dipc::lab_test {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

constexpr const char* kTwoBareHosts = R"(
cluster = "unused: the tests name their labs"
[[host]]
name = "vax"
daemon = false
logins = { zoe = 1001, alice = 1002 }
groups = { staff = { gid = 2000, members = ["zoe"] } }
msgmax = 100000
[[host]]
name = "amiga"
arch = "m68k"
daemon = false
logins = { alice = 2001 }
)";

std::string two_bare_hosts() {
  std::string text = kTwoBareHosts;
  return text.replace(text.find("unused: the tests name their labs"), 33, "test");
}

class BareHosts : public testing::Test {
 protected:
  // One lab for all tests that leave it as it is.
  static void SetUpTestSuite() {
    if (geteuid() != 0) return;
    lab_ = new Lab(two_bare_hosts());
    const auto up = lab_->up();
    ASSERT_EQ(up.status, 0) << up.output;
  }
  static void TearDownTestSuite() {
    delete lab_;
    lab_ = nullptr;
  }
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "the lab needs root";
  }

  static std::string in(const std::string& host, const std::string& script,
                        const std::vector<std::string>& options = {}) {
    return lab_->exec(host, {"/bin/sh", "-c", script}, options).output;
  }

  static Lab* lab_;
};
Lab* BareHosts::lab_ = nullptr;

TEST_F(BareHosts, HaveNamesOfTheirOwn) {
  EXPECT_EQ(in("vax", "uname -n"), "vax\n");
  EXPECT_EQ(in("amiga", "uname -n"), "amiga\n");
}

TEST_F(BareHosts, HaveUsersOfTheirOwn) {
  EXPECT_EQ(in("vax", "id -u alice"), "1002\n");
  EXPECT_EQ(in("amiga", "id -u alice"), "2001\n");
  EXPECT_THAT(in("amiga", "id zoe 2>&1"), HasSubstr("no such user"));
}

TEST_F(BareHosts, HaveProcessesOfTheirOwn) {
  EXPECT_EQ(in("vax", "cat /proc/1/comm"), "dipc-lab-host\n");
  // Nothing of the machine is in their /proc: its first process, and the shell with what it runs.
  const std::string all = in("vax", "for p in /proc/[0-9]*; do cat $p/comm; done");
  EXPECT_THAT(all, Not(HasSubstr("lab_bare_hosts")));
}

TEST_F(BareHosts, HaveKernelLimitsOfTheirOwn) {
  EXPECT_EQ(in("vax", "cat /proc/sys/kernel/msgmax"), "100000\n");
  EXPECT_NE(in("amiga", "cat /proc/sys/kernel/msgmax"), "100000\n");
}

TEST_F(BareHosts, HaveObjectsOfTheirOwn) {
  EXPECT_EQ(lab_->exec("vax", {DIPC_LAB_PROBE, "msgget", "4711", "create"}).status, 0);
  EXPECT_EQ(lab_->exec("vax", {DIPC_LAB_PROBE, "msgget", "4711"}).status, 0);
  EXPECT_THAT(lab_->exec("amiga", {DIPC_LAB_PROBE, "msgget", "4711"}).output, HasSubstr("No such file"));
  EXPECT_THAT(run_command({DIPC_LAB_PROBE, "msgget", "4711"})->output, HasSubstr("No such file"));
}

TEST_F(BareHosts, ReachEachOtherOverTheirNetwork) {
  Background listener(lab_->exec_command("amiga", {DIPC_LAB_PROBE, "listen", "7000"}));
  ASSERT_TRUE(listener.await_output("listening"));
  const auto sent = lab_->exec("vax", {DIPC_LAB_PROBE, "connect", "10.77.0.2", "7000", "from vax"});
  EXPECT_EQ(sent.output, "sent\n");
  EXPECT_EQ(listener.wait(), 0);
  EXPECT_TRUE(listener.await_output("from vax")) << listener.output();
}

TEST_F(BareHosts, FindEachOtherByName) { EXPECT_THAT(in("vax", "getent hosts amiga"), StartsWith("10.77.0.2 ")); }

TEST_F(BareHosts, ExecBecomesTheFirstLoginUnlessToldOtherwise) {
  EXPECT_EQ(in("vax", "id -un; id -Gn; echo $USER $LOGNAME; cd && touch here && stat -c %U here"),
            "zoe\nzoe staff\nzoe zoe\nzoe\n");
  EXPECT_EQ(in("vax", "id -un; id -Gn", {"--as", "alice"}), "alice\nalice\n");
  EXPECT_EQ(in("vax", "id -un; echo $HOME", {"--as", "root"}), "root\n/root\n");
  EXPECT_EQ(in("vax", "id -un", {"--as", "nobody"}), "nobody\n");
  const auto unknown = lab_->exec("vax", {"true"}, {"--as", "eve"});
  EXPECT_EQ(unknown.status, 125);
  EXPECT_THAT(unknown.output, HasSubstr("its logins are root, nobody, zoe, alice"));
}

TEST_F(BareHosts, ExecStartsInTheCallersFolder) { EXPECT_EQ(in("vax", "pwd"), fs::current_path().string() + "\n"); }

TEST_F(BareHosts, ExecPassesStandardInputOn) {
  EXPECT_EQ(lab_->run({"exec", "vax", "--", "tr", "a-z", "A-Z"}, "hello").output, "HELLO");
}

TEST_F(BareHosts, ExecGivesTheProgramsExitStatus) {
  EXPECT_EQ(lab_->exec("vax", {"true"}).status, 0);
  EXPECT_EQ(lab_->exec("vax", {"sh", "-c", "exit 7"}).status, 7);
  EXPECT_EQ(lab_->exec("vax", {"sh", "-c", "kill -KILL $$"}).status, 128 + SIGKILL);
  EXPECT_EQ(lab_->exec("vax", {"nosuchprogram"}).status, 127);
  EXPECT_EQ(lab_->exec("vax", {"/etc/passwd"}).status, 126);
  EXPECT_EQ(lab_->exec("vms", {"true"}).status, 125);
  EXPECT_EQ(lab_->run({"exec", "vax"}).status, 2);
  EXPECT_EQ(lab_->run({"exec", "vax", "--nonsense", "--", "true"}).status, 2);
}

// Words after "--" are the program's, whatever they look like.
TEST_F(BareHosts, ExecLeavesTheProgramsOptionsAlone) {
  EXPECT_EQ(lab_->exec("vax", {"echo", "--as", "x", "--", "--help"}).output, "--as x -- --help\n");
}

TEST_F(BareHosts, TimeoutEndsTheProgramAndWhatItStarted) {
  const auto begin = std::chrono::steady_clock::now();
  const auto ended = lab_->exec("vax", {DIPC_LAB_PROBE, "linger"}, {"--timeout", "0.2"});
  EXPECT_EQ(ended.status, 124);
  EXPECT_THAT(ended.output, HasSubstr("lingering"));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(15));
  EXPECT_EQ(in("vax", "cat /proc/[0-9]*/comm | grep -c lab_probe"), "0\n");
}

TEST_F(BareHosts, TimeoutThatIsNotReachedChangesNothing) {
  EXPECT_EQ(lab_->exec("vax", {"sh", "-c", "exit 3"}, {"--timeout", "60"}).status, 3);
}

TEST_F(BareHosts, SignalsAreHandedToTheProgram) {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGUSR1}) {
    Background program(lab_->exec_command("vax", {DIPC_LAB_PROBE, "listen", "7001"}));
    ASSERT_TRUE(program.await_output("listening"));
    program.send(signal);
    EXPECT_EQ(program.wait(), 128 + signal);
  }
}

TEST_F(BareHosts, ProgramDiesWithAKilledExec) {
  Background program(lab_->exec_command("vax", {DIPC_LAB_PROBE, "listen", "7002"}));
  ASSERT_TRUE(program.await_output("listening"));
  program.send(SIGKILL);
  program.wait();
  // The end of its output is the end of the program: it held the other end of the pipe.
  EXPECT_FALSE(program.await_output("never said"));
  EXPECT_TRUE(eventually([] { return in("vax", "cat /proc/[0-9]*/comm | grep -c lab_probe") == "0\n"; }));
}

TEST_F(BareHosts, GuestProgramsRunUnderTheirEmulator) {
  const std::string probe = DIPC_GUEST_LAB_PROBE;
  if (!fs::exists(probe)) GTEST_SKIP() << probe << " is not built";
  EXPECT_EQ(lab_->exec("amiga", {probe, "machine"}).output, "big\n");
  EXPECT_EQ(lab_->exec("amiga", {probe, "msgget", "815", "create"}).status, 0);
  EXPECT_EQ(lab_->exec("amiga", {"sh", "-c", "dipc run -- " + probe + " machine 2>/dev/null"}).output, "big\n");
}

TEST_F(BareHosts, StatusTellsWhatIsUp) {
  const auto text = lab_->run({"status"});
  EXPECT_THAT(text.output, AllOf(HasSubstr("vax  native  10.77.0.1  process "), HasSubstr("daemon none")));
  const auto json = lab_->run({"status", "--json"});
  EXPECT_THAT(json.output, HasSubstr(R"({"name": "amiga", "arch": "m68k", "address": "10.77.0.2", "pid": )"));
  EXPECT_THAT(json.output, HasSubstr(R"("daemon": "none", "daemon_alive": false})"));
}

TEST_F(BareHosts, AreNamedInUpperAndLowerCase) {
  EXPECT_EQ(lab_->run({"exec", "VAX", "--", "hostname"}).output, "vax\n");
}

TEST_F(BareHosts, OptionsAfterTheProgramAreItsOwn) {
  EXPECT_EQ(lab_->run({"exec", "vax", "echo", "--as", "bob", "--help"}).output, "--as bob --help\n");
}

TEST_F(BareHosts, HostThatIsNotThereIsToldWithThoseThatAre) {
  for (const char* verb : {"logs", "start"}) {
    EXPECT_THAT(lab_->run({verb, "nosuch"}).output, HasSubstr("its hosts are vax, amiga")) << verb;
  }
}

TEST_F(BareHosts, HostIsNotCutFromItself) {
  const auto cut = lab_->run({"cut", "vax", "vax"});
  EXPECT_EQ(cut.status, 1);
  EXPECT_THAT(cut.output, HasSubstr("vax and vax are one host"));
}

TEST_F(BareHosts, SecondLabOfOneNameIsRefusedAndLeavesTheFirstAlone) {
  const auto second = lab_->up();
  EXPECT_EQ(second.status, 1);
  EXPECT_THAT(second.output, HasSubstr("is up already"));
  EXPECT_EQ(lab_->exec("vax", {"true"}).status, 0);
}

class LabLife : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "the lab needs root";
  }
};

TEST_F(LabLife, DownLeavesTheMachineAsItWas) {
  const std::string before = state_of_the_machine();
  const Lab lab(two_bare_hosts());
  ASSERT_EQ(lab.up().status, 0);
  EXPECT_EQ(state_of_the_machine(), before) << "while it is up nothing is seen of it either";
  Background running(lab.exec_command("vax", {DIPC_LAB_PROBE, "listen", "7000"}));
  ASSERT_TRUE(running.await_output("listening"));
  const auto down = lab.down();
  EXPECT_EQ(down.status, 0) << down.output;
  EXPECT_EQ(running.wait(), 128 + SIGKILL);
  EXPECT_FALSE(fs::exists(lab.directory()));
  EXPECT_THAT(lab.processes(), IsEmpty());
  EXPECT_EQ(state_of_the_machine(), before);
}

TEST_F(LabLife, DownOfALabThatIsNotThereSaysSo) {
  const Lab lab(two_bare_hosts());
  const auto down = lab.down();
  EXPECT_EQ(down.status, 1);
  EXPECT_THAT(down.output, HasSubstr("there is no lab called " + lab.name()));
}

// `up` is killed at one moment after the other, until it got through.
TEST_F(LabLife, DownCleansUpAfterAKilledUp) {
  const std::string before = state_of_the_machine();
  bool got_through = false;
  int killed_half_way = 0;
  for (int delay_ms = 0; !got_through && delay_ms < 5000; delay_ms += delay_ms < 60 ? 3 : 40) {
    const Lab lab(two_bare_hosts());
    {
      Background up(lab.command({"up", lab.file()}));
      // Not a way to wait for something: the moment of the kill is what is tried out.
      std::this_thread::sleep_for(std::chrono::milliseconds(delay_ms));
      up.send(SIGKILL);
      got_through = up.wait() == 0;
    }
    if (fs::exists(lab.directory())) {
      if (!got_through) ++killed_half_way;
      const auto down = lab.down();
      EXPECT_EQ(down.status, 0) << "killed after " << delay_ms << " ms: " << down.output;
    }
    EXPECT_FALSE(fs::exists(lab.directory()));
    EXPECT_THAT(lab.processes(), IsEmpty()) << "killed after " << delay_ms << " ms";
  }
  EXPECT_TRUE(got_through);
  EXPECT_GT(killed_half_way, 0);
  EXPECT_EQ(state_of_the_machine(), before);
}

TEST_F(LabLife, InterruptedUpCleansUpItself) {
  const Lab lab(two_bare_hosts());
  Background up(lab.command({"up", lab.file()}));
  while (!fs::exists(lab.directory()) && identify(up.pid())) std::this_thread::yield();
  up.send(SIGINT);
  const int status = up.wait();
  // 0: all was done before the signal came.
  EXPECT_THAT(status, testing::AnyOf(0, 1));
  if (status == 1) {
    EXPECT_TRUE(up.await_output("interrupted")) << up.output();
    EXPECT_FALSE(fs::exists(lab.directory()));
    EXPECT_THAT(lab.processes(), IsEmpty());
  }
}

TEST_F(LabLife, FailedUpLeavesNothing) {
  const std::string before = state_of_the_machine();
  // A kernel limit that the kernel refuses.
  std::string text = two_bare_hosts();
  text.replace(text.find("msgmax = 100000"), 15, "msgmni = 2147483647");
  const Lab lab(text);
  const auto up = lab.up();
  EXPECT_EQ(up.status, 1);
  EXPECT_THAT(up.output, HasSubstr("/proc/sys/kernel/msgmni: Invalid argument"));
  EXPECT_THAT(up.output, HasSubstr("host vax can't be made"));
  EXPECT_FALSE(fs::exists(lab.directory()));
  EXPECT_THAT(lab.processes(), IsEmpty());
  EXPECT_EQ(state_of_the_machine(), before);
  EXPECT_THAT(lab.kept_logs(), IsEmpty()) << up.output;
}

TEST_F(LabLife, MistakeInTheLabFileIsNamedByFileAndLineAndStartsNothing) {
  const Lab lab("cluster = \"x\"\n[[host]]\nname = \"vax\"\narch = \"pdp11\"\n");
  const auto up = lab.up();
  EXPECT_EQ(up.status, 1);
  EXPECT_THAT(up.output, HasSubstr(lab.file() + ":4: \"pdp11\" is no machine that is known here"));
  EXPECT_FALSE(fs::exists(lab.directory()));
}

// A pid in a record may be somebody else's by now.
TEST_F(LabLife, DownKillsNoStranger) {
  const Lab lab(two_bare_hosts());
  ASSERT_EQ(lab.up().status, 0);
  Background stranger({"/bin/sleep", "1000"});
  const std::string record = lab.directory() + "/switch";
  const auto real = read_identity(record);
  ASSERT_TRUE(real);
  std::ofstream(record) << stranger.pid() << " 1\n";
  EXPECT_EQ(lab.down().status, 0);
  EXPECT_TRUE(identify(stranger.pid()));
  EXPECT_TRUE(send_signal(*real, SIGKILL));
}

TEST_F(LabLife, KilledHostComesBackAsAfterAPowerFailure) {
  const Lab lab(two_bare_hosts());
  ASSERT_EQ(lab.up().status, 0);
  const auto boot_id = [&] { return lab.exec("vax", {"cat", "/proc/sys/kernel/random/boot_id"}).output; };
  const std::string first_boot = boot_id();
  EXPECT_NE(first_boot, lab.exec("amiga", {"cat", "/proc/sys/kernel/random/boot_id"}).output);
  ASSERT_EQ(lab.exec("vax", {DIPC_LAB_PROBE, "msgget", "4711", "create"}).status, 0);
  ASSERT_EQ(lab.run({"kill", "vax", "host"}).status, 0);
  const auto dead = lab.exec("vax", {"true"});
  EXPECT_EQ(dead.status, 125);
  EXPECT_THAT(dead.output, HasSubstr("host vax is not up"));
  EXPECT_THAT(lab.run({"status"}).output, HasSubstr("vax  native  10.77.0.1  down"));
  const auto start = lab.run({"start", "vax"});
  ASSERT_EQ(start.status, 0) << start.output;
  EXPECT_NE(boot_id(), first_boot);
  EXPECT_THAT(lab.exec("vax", {DIPC_LAB_PROBE, "msgget", "4711"}).output, HasSubstr("No such file"));
  Background listener(lab.exec_command("vax", {DIPC_LAB_PROBE, "listen", "7000"}));
  ASSERT_TRUE(listener.await_output("listening"));
  EXPECT_EQ(lab.exec("amiga", {DIPC_LAB_PROBE, "connect", "10.77.0.1", "7000", "again"}).output, "sent\n");
  EXPECT_EQ(listener.wait(), 0);
}

TEST_F(LabLife, CutLosesEverythingInItsDirectionUntilHealed) {
  const Lab lab(two_bare_hosts());
  ASSERT_EQ(lab.up().status, 0);
  Background listener(lab.exec_command("amiga", {DIPC_LAB_PROBE, "listen", "7000"}));
  ASSERT_TRUE(listener.await_output("listening"));
  const auto connect = [&](const std::string& limit_ms) {
    return lab.exec("vax", {DIPC_LAB_PROBE, "connect", "10.77.0.2", "7000", "through", limit_ms}).output;
  };
  for (const auto& [from, to, options] : std::vector<std::tuple<std::string, std::string, std::vector<std::string>>>{
           {"vax", "amiga", {"--one-way"}}, {"amiga", "vax", {"--one-way"}}, {"vax", "amiga", {}}}) {
    std::vector<std::string> cut = {"cut", from, to};
    cut.insert(cut.end(), options.begin(), options.end());
    ASSERT_EQ(lab.run(cut).status, 0);
    EXPECT_THAT(connect("300"), HasSubstr("timed out")) << from << " " << to << " " << options.size();
    cut[0] = "heal";
    ASSERT_EQ(lab.run(cut).status, 0);
  }
  EXPECT_EQ(connect("5000"), "sent\n");
  EXPECT_EQ(listener.wait(), 0);
  EXPECT_TRUE(listener.await_output("through"));
}

// A clone in root's home folder, which no other login may enter.
TEST_F(LabLife, ProgramsBelowTheCallersFolderAreReachedWhateverLiesAboveIt) {
  const Lab lab(two_bare_hosts());
  ASSERT_EQ(lab.up().status, 0);
  std::string closed = (fs::temp_directory_path() / "dipc-closed-XXXXXX").string();
  ASSERT_NE(mkdtemp(closed.data()), nullptr);  // 0700
  fs::create_directories(closed + "/clone/build");
  fs::copy_file(DIPC_LAB_PROBE, closed + "/clone/build/probe");
  fs::copy_file(fs::exists(DIPC_GUEST_LAB_PROBE) ? DIPC_GUEST_LAB_PROBE : DIPC_LAB_PROBE,
                closed + "/clone/build/guest");
  const fs::path before = fs::current_path();
  fs::current_path(closed + "/clone");
  for (const std::string& folder : std::vector<std::string>{"build", "./build", closed + "/clone/build"}) {
    for (const char* program : {"/probe", "/guest"}) {
      const auto done = lab.exec("vax", {folder + program, "machine"});
      EXPECT_EQ(done.status, 0) << folder << program << ": " << done.output;
    }
  }
  fs::current_path("/");
  const auto outside = lab.exec("vax", {closed + "/clone/build/probe", "machine"});
  EXPECT_EQ(outside.status, 126);
  EXPECT_THAT(outside.output, HasSubstr("not enter a folder on the way to it"));
  fs::current_path(before);
  fs::remove_all(closed);
}

TEST_F(LabLife, VerbsWithoutALabSayHowToStartOne) {
  const auto lab = run_command({DIPC_PROGRAM, "lab", "--name", "no-such-lab", "status"});
  EXPECT_EQ(lab->status, 1);
  EXPECT_THAT(lab->output, HasSubstr("dipc lab up FILE"));
}

TEST_F(LabLife, OrdinaryLoginsAreToldToBecomeRoot) {
  // Through a lab's host: a login that is not root is at hand there.
  const Lab lab(two_bare_hosts());
  ASSERT_EQ(lab.up().status, 0);
  const auto up = lab.exec("vax", {"dipc", "lab", "up", "demo.toml"});
  EXPECT_EQ(up.status, 1);
  EXPECT_THAT(up.output, HasSubstr("run as root: su -c 'dipc lab up demo.toml'"));
}

}  // namespace
}  // namespace dipc::lab_test
