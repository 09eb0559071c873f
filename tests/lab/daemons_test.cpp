// `dipc lab` with daemons: that it starts them, tells how they are, and says why when one does not start.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <filesystem>
#include <sstream>

#include "tests/lab/lab_fixture.h"

namespace dipc::lab_test {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

constexpr const char* kTwoHosts = R"(
cluster = "daemons"
[[host]]
name = "vax"
logins = { alice = 1001 }
[[host]]
name = "sun"
logins = { alice = 2001 }
[[keys]]
range = "0x1000-0x1fff"
)";

class LabDaemons : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "the lab needs root";
  }

  // "the logs are kept in PLACE": removes it, and says whether `file` was there.
  static bool remove_kept_logs(const std::string& output, const std::string& file) {
    const std::size_t begin = output.find("kept in ");
    if (begin == std::string::npos) return false;
    const std::string place = output.substr(begin + 8, output.find('\n', begin) - begin - 8);
    const bool found = fs::exists(place + "/" + file);
    fs::remove_all(place);
    return found;
  }
};

TEST_F(LabDaemons, UpWaitsUntilEveryDaemonAnswers) {
  const Lab lab(kTwoHosts);
  const auto up = lab.up();
  ASSERT_EQ(up.status, 0) << up.output;
  EXPECT_THAT(lab.run({"status"}).output, AllOf(HasSubstr("vax  native  10.77.0.1"), Not(HasSubstr("silent")),
                                                Not(HasSubstr("dead")), HasSubstr("daemon alive")));
  EXPECT_THAT(lab.run({"logs", "sun"}).output, HasSubstr("host sun of cluster"));
  EXPECT_EQ(lab.exec("sun", {"dipcctl", "status"}, {"--as", "root"}).status, 0);
}

TEST_F(LabDaemons, ExecGivesTheShimUnlessToldNotTo) {
  const Lab lab(kTwoHosts);
  ASSERT_EQ(lab.up().status, 0);
  // No warnings either: the daemon is there and the library is one that this login can read.
  EXPECT_EQ(lab.exec("vax", {DIPC_LAB_PROBE, "shim"}).output, "shim: yes\n");
  EXPECT_EQ(lab.exec("vax", {"sh", "-c", std::string(DIPC_LAB_PROBE) + " shim"}).output, "shim: yes\n");
  EXPECT_EQ(lab.exec("vax", {DIPC_LAB_PROBE, "shim"}, {"--no-preload"}).output, "shim: no\n");
  EXPECT_EQ(lab.exec("vax", {"dipc", "run", "--", DIPC_LAB_PROBE, "shim"}, {"--no-preload"}).output, "shim: yes\n");
}

TEST_F(LabDaemons, KeysOfTheLabFileAreDistributedBetweenItsHosts) {
  const Lab lab(kTwoHosts);
  ASSERT_EQ(lab.up().status, 0);
  const std::string key = std::to_string(0x1234);
  const auto created = lab.exec("vax", {DIPC_LAB_PROBE, "msgget", key, "create"});
  ASSERT_EQ(created.status, 0) << created.output;
  // The login alice is known on both, with different numbers.
  const auto found = lab.exec("sun", {DIPC_LAB_PROBE, "msgget", key});
  EXPECT_EQ(found.status, 0) << found.output;
  EXPECT_THAT(lab.exec("sun", {DIPC_LAB_PROBE, "msgget", std::to_string(0x2234)}).output, HasSubstr("No such file"));
}

TEST_F(LabDaemons, KilledDaemonIsSeenAndStartedAgain) {
  const Lab lab(kTwoHosts);
  ASSERT_EQ(lab.up().status, 0);
  ASSERT_EQ(lab.run({"kill", "vax", "daemon"}).status, 0);
  EXPECT_THAT(lab.run({"status"}).output, HasSubstr("daemon dead"));
  EXPECT_THAT(lab.run({"kill", "vax", "daemon"}).output, HasSubstr("does not run"));
  EXPECT_THAT(lab.run({"logs", "vax"}).output, HasSubstr("ended: signal 9"));
  const auto start = lab.run({"start", "vax"});
  EXPECT_EQ(start.status, 0) << start.output;
  EXPECT_EQ(lab.exec("vax", {"dipcctl", "status"}, {"--as", "root"}).status, 0);
  EXPECT_THAT(lab.run({"start", "vax"}).output, HasSubstr("runs already"));
}

TEST_F(LabDaemons, StoppedDaemonIsCalledSilent) {
  const Lab lab(kTwoHosts);
  ASSERT_EQ(lab.up().status, 0);
  ASSERT_EQ(lab.run({"kill", "sun", "daemon", "--signal", "STOP"}).status, 0);
  EXPECT_THAT(lab.run({"status", "--json"}).output, HasSubstr(R"("daemon": "silent", "daemon_alive": false)"));
  ASSERT_EQ(lab.run({"kill", "sun", "daemon", "--signal", "CONT"}).status, 0);
  EXPECT_THAT(lab.run({"status", "--json"}).output, Not(HasSubstr("silent")));
}

TEST_F(LabDaemons, LogsAreKeptIfADaemonDied) {
  const Lab lab(kTwoHosts);
  ASSERT_EQ(lab.up().status, 0);
  // From inside: a daemon that `dipc lab kill` has killed is no surprise.
  ASSERT_EQ(
      lab.exec("vax", {"sh", "-c", "kill -SEGV $(grep -l dipcd /proc/[0-9]*/comm | cut -d / -f 3)"}, {"--as", "root"})
          .status,
      0);
  EXPECT_TRUE(eventually([&] { return lab.run({"status"}).output.find("daemon dead") != std::string::npos; }));
  const auto down = lab.down();
  EXPECT_EQ(down.status, 0);
  EXPECT_TRUE(remove_kept_logs(down.output, "vax.log")) << down.output;
}

TEST_F(LabDaemons, LogsAreNotKeptIfTheDaemonWasKilledOnPurpose) {
  const Lab lab(kTwoHosts);
  ASSERT_EQ(lab.up().status, 0);
  ASSERT_EQ(lab.run({"kill", "vax", "daemon"}).status, 0);
  EXPECT_THAT(lab.down().output, Not(HasSubstr("logs are kept")));
  ASSERT_EQ(lab.up().status, 0);
  const auto down = lab.run({"down", "--keep-logs"});
  EXPECT_TRUE(remove_kept_logs(down.output, "sun.log")) << down.output;
}

TEST_F(LabDaemons, DaemonThatRefusesItsConfigurationFailsUpWithTheReason) {
  // A map is handed on unread.
  const Lab lab("map = [\"not a line of a map\"]\n" + std::string(kTwoHosts));
  const auto up = lab.up();
  EXPECT_EQ(up.status, 1);
  EXPECT_THAT(up.output, AllOf(HasSubstr("the daemon of vax ended with status"), HasSubstr("logins.map:1")));
  EXPECT_THAT(lab.kept_logs(), testing::SizeIs(1));
  EXPECT_TRUE(remove_kept_logs(up.output, "vax.log")) << up.output;
  EXPECT_THAT(lab.kept_logs(), testing::IsEmpty());
  EXPECT_FALSE(fs::exists(lab.directory()));
  EXPECT_THAT(lab.processes(), testing::IsEmpty());
}

TEST_F(LabDaemons, MissingProgramsOfAGuestAreNamedWithTheRemedy) {
  const Lab lab("cluster = \"x\"\n[[host]]\nname = \"z\"\narch = \"sparc64\"\n");
  const auto up = lab.up();
  EXPECT_EQ(up.status, 1);
  EXPECT_THAT(up.output, HasSubstr(":4: there is no libdipc.so for z, a host of sparc64"));
  EXPECT_THAT(up.output, HasSubstr("or name its build folder in DIPC_SPARC64_BUILD"));
}

TEST_F(LabDaemons, UpThatFailsByNoDaemonsFaultLeavesNothing) {
  const Lab lab("cluster = \"x\"\n[[host]]\nname = \"y\"\n[[host]]\nname = \"z\"\narch = \"sparc64\"\n");
  const auto up = lab.up();
  EXPECT_EQ(up.status, 1);
  EXPECT_THAT(up.output, Not(HasSubstr("logs are kept")));
  EXPECT_THAT(lab.kept_logs(), testing::IsEmpty());
  EXPECT_FALSE(fs::exists(lab.directory()));
  EXPECT_THAT(lab.processes(), testing::IsEmpty());
}

TEST_F(LabDaemons, GuestHostHasAGuestDaemonAndItsTools) {
  if (!fs::exists(std::string(DIPC_GUEST_BUILD) + "/daemon/dipcd")) GTEST_SKIP() << DIPC_GUEST_BUILD << " is not built";
  setenv("DIPC_M68K_BUILD", DIPC_GUEST_BUILD, 1);
  std::string text = kTwoHosts;
  text.replace(text.find("name = \"sun\""), 12, "name = \"sun\"\narch = \"m68k\"");
  const Lab lab(text);
  const auto up = lab.up();
  ASSERT_EQ(up.status, 0) << up.output;
  EXPECT_EQ(lab.exec("sun", {DIPC_GUEST_LAB_PROBE, "shim"}).output, "shim: yes\n");
  const auto status = lab.exec("sun", {"dipcctl", "status"}, {"--as", "root"});
  EXPECT_EQ(status.status, 0) << status.output;
  EXPECT_THAT(status.output, HasSubstr("host sun of cluster"));
  // A native program can't use this daemon, and is told so; the machine's own tools are not.
  EXPECT_THAT(lab.exec("sun", {DIPC_LAB_PROBE, "shim"}).output,
              AllOf(HasSubstr("and sun a host of m68k"), HasSubstr("compile it with m68k-linux-gnu-gcc"),
                    HasSubstr("shim: no")));
  EXPECT_EQ(lab.exec("sun", {"echo", "quiet"}).output, "quiet\n");
  // From a native shell a guest program is started as on any machine that is not its own.
  EXPECT_EQ(
      lab.exec("sun", {"sh", "-c", "dipc run -- " + std::string(DIPC_GUEST_LAB_PROBE) + " shim"}, {"--no-preload"})
          .output,
      "shim: yes\n");
}

// An x86-64 kernel runs i386 programs, which have an ABI of their own: on whichever host, they take the library of
// theirs.
TEST_F(LabDaemons, HostAndProgramsOfAMachineThatTheKernelRunsBesidesItsOwn) {
  const std::string probe = DIPC_BUILDS "/i386/tests/lab/lab_probe";
  if (!fs::exists(DIPC_BUILDS "/i386/daemon/dipcd")) GTEST_SKIP() << "the i386 build is not there: make i386";
  setenv("DIPC_I386_BUILD", DIPC_BUILDS "/i386", 1);
  std::string text = kTwoHosts;
  text.replace(text.find("name = \"sun\""), 12, "name = \"sun\"\narch = \"i386\"");
  const Lab lab(text);
  const auto up = lab.up();
  ASSERT_EQ(up.status, 0) << up.output;
  for (const char* host : {"vax", "sun"}) {
    EXPECT_EQ(lab.exec(host, {probe, "shim"}).output, "shim: yes\n") << host;
    EXPECT_EQ(lab.exec(host, {DIPC_LAB_PROBE, "shim"}).output, "shim: yes\n") << host;
    EXPECT_EQ(lab.exec(host, {"sh", "-c", probe + " shim"}).output, "shim: yes\n") << host << ", and silently";
  }
  const auto status = lab.exec("vax", {"dipcctl", "status"}, {"--as", "root"});
  EXPECT_THAT(status.output, HasSubstr("32-bit little-endian (i386)"));
}

}  // namespace
}  // namespace dipc::lab_test
