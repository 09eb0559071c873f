// What an administrator's mistakes and refusals look like, to programs and in the log.

#include <gtest/gtest.h>

#include "tests/cluster/cluster.h"

namespace dipc::test {
namespace {

constexpr auto kLimit = std::chrono::seconds(30);

std::string hosts(const std::string& of_vax, const std::string& of_sun = "", const std::string& keys = "") {
  return "[[host]]\nname = \"vax\"\nlogins = { alice = 1001, bob = 1002 }\n" + of_vax +
         "[[host]]\nname = \"sun\"\nlogins = { alice = 1001, bob = 1002 }\n" + of_sun + keys +
         "[[keys]]\nrange = \"all\"\n[timing]\nop_timeout = \"2s\"\n";
}

class Refusals : public testing::Test {
 protected:
  void SetUp() override {
    if (!am_root()) GTEST_SKIP() << "needs root: a lab has namespaces";
  }

  static std::string ask(const Cluster& cluster, const std::string& login, const std::string& command) {
    const auto puppet = cluster.start("sun", login, {native_program("tests/kernel/puppet")});
    puppet->write_line(command);
    return puppet->read_line(kLimit).value_or("(silent)");
  }

  // The log line comes from a host that acts on its own: wait for it.
  static bool logs(const Cluster& cluster, const std::string& host, const std::string& text) {
    const auto until = std::chrono::steady_clock::now() + kLimit;
    while (std::chrono::steady_clock::now() < until) {
      if (cluster.log_of(host).find(text) != std::string::npos) return true;
    }
    ADD_FAILURE() << "\"" << text << "\" is not in the log of " << host << ":\n" << cluster.log_of(host);
    return false;
  }
};

TEST_F(Refusals, AHostThatIsNotListedIsToldSoAndItsProgramsGetAnErrorInTime) {
  const Cluster cluster("unlisted", "vax", hosts("allow = [\"vax 10.77.0.1\", \"other 10.77.0.2\"]\n"));
  const auto before = std::chrono::steady_clock::now();
  const std::string got = ask(cluster, "alice", "msgget 4660 950");
  EXPECT_TRUE(got == "-1 ETIMEDOUT" || got == "-1 EHOSTUNREACH") << got;
  EXPECT_LT(std::chrono::steady_clock::now() - before, std::chrono::seconds(10));
  EXPECT_TRUE(logs(cluster, "vax", "sun is not listed"));
  EXPECT_TRUE(logs(cluster, "sun", "not allowed here; ask the administrator of vax"));
}

TEST_F(Refusals, TheRightNameFromTheWrongAddressIsRefusedWithTheLine) {
  const Cluster cluster("address", "vax",
                        hosts("allow = [\"vax 10.77.0.1\", \"sun 10.77.0.99\", \"other 10.77.0.2\"]\n"));
  EXPECT_TRUE(logs(cluster, "vax", "hosts.allow:2"));
}

TEST_F(Refusals, AnAddressThatNoLineHasIsRefusedBeforeItSaysAnything) {
  const Cluster cluster("stranger", "vax", hosts("allow = [\"vax 10.77.0.1\"]\n"));
  EXPECT_TRUE(logs(cluster, "vax", "no line of hosts.allow has this address"));
}

TEST_F(Refusals, ALoginWithoutALineIsRefusedAndTheLogSaysWhy) {
  const Cluster cluster("logins", "vax",
                        hosts("map = [\"alice@sun alice\"]\n", "", "[[keys]]\nrange = \"0x7000\"\nhome = \"vax\"\n"));
  EXPECT_NE(ask(cluster, "alice", "msgget 28672 950").substr(0, 2), "-1");
  EXPECT_EQ(ask(cluster, "bob", "msgget 28672 950"), "-1 EACCES");
  EXPECT_TRUE(logs(cluster, "vax", "bob@sun matches no line of"));
}

TEST_F(Refusals, AKeyThatPolicyRefusesIsEaccesWithIpcDipc) {
  const Cluster cluster("keys", "vax", hosts("", "", "[[keys]]\nrange = \"0x7001\"\nrefuse = true\n"));
  // IPC_DIPC | IPC_CREAT | 0666
  EXPECT_EQ(ask(cluster, "alice", "msgget 28673 5046"), "-1 EACCES");
  // Without the flag the key is this host's own, as ever.
  EXPECT_NE(ask(cluster, "alice", "msgget 28673 950").substr(0, 2), "-1");
  EXPECT_TRUE(logs(cluster, "sun", "is refused ("));
}

TEST_F(Refusals, AnUndistributedObjectOfTheSameKeyIsNotTakenOver) {
  const Cluster cluster("taken", "vax", hosts("", "", "[[keys]]\nrange = \"0x7002\"\nhome = \"vax\"\n"));
  // Made on vax by a program without the shim: the cluster does not know it.
  const auto bare = cluster.start("vax", "alice", {native_program("tests/kernel/puppet")}, false);
  bare->write_line("msgget 28674 950");
  ASSERT_NE(bare->read_line(kLimit).value_or("-1").substr(0, 2), "-1");
  EXPECT_EQ(ask(cluster, "alice", "msgget 28674 950"), "-1 EEXIST");
  EXPECT_TRUE(logs(cluster, "vax", "msg 0x00007002"));
}

TEST_F(Refusals, WithoutTheFlagAndOutsideTheRangesTheKernelAloneIsAsked) {
  const Cluster cluster("outside", "vax",
                        "[[host]]\nname = \"vax\"\nlogins = { alice = 1001 }\n"
                        "[[host]]\nname = \"sun\"\nlogins = { alice = 1001 }\n"
                        "[[keys]]\nrange = \"0x1000-0x1fff\"\n");
  const auto puppet = cluster.start("vax", "alice", {native_program("tests/kernel/puppet")});
  puppet->write_line("msgget 8192 950");
  ASSERT_NE(puppet->read_line(kLimit).value_or("-1").substr(0, 2), "-1");
  EXPECT_EQ(ask(cluster, "alice", "msgget 8192 0"), "-1 ENOENT") << "another host, another kernel";
  puppet->write_line("msgget 4096 950");
  ASSERT_NE(puppet->read_line(kLimit).value_or("-1").substr(0, 2), "-1");
  EXPECT_NE(ask(cluster, "alice", "msgget 4096 0"), "-1 ENOENT");
  // The flag does it for any key.
  puppet->write_line("msgget 12288 5046");
  ASSERT_NE(puppet->read_line(kLimit).value_or("-1").substr(0, 2), "-1");
  EXPECT_NE(ask(cluster, "alice", "msgget 12288 4096"), "-1 ENOENT");
}

TEST_F(Refusals, ALoginThatHasUsedUpItsConnectionsGetsENOMEMAndNobodyElseNotices) {
  const Cluster cluster(
      "crowd", "vax",
      hosts("", "limits = { connections_per_login = 3 }\n", "[[keys]]\nrange = \"0x7003\"\nhome = \"vax\"\n"));
  std::vector<std::unique_ptr<Program>> crowd;
  for (int i = 0; i < 3; ++i) {
    crowd.push_back(cluster.start("sun", "alice", {native_program("tests/kernel/puppet")}));
    crowd.back()->write_line("msgget 28675 950");
    ASSERT_NE(crowd.back()->read_line(kLimit).value_or("-1").substr(0, 2), "-1");
  }
  EXPECT_EQ(ask(cluster, "alice", "msgget 28675 950"), "-1 ENOMEM");
  EXPECT_NE(ask(cluster, "bob", "msgget 28675 950").substr(0, 2), "-1");
  const auto status = cluster.run("sun", "root", {"dipcctl", "status"});
  EXPECT_EQ(status.status, 0) << status.output;
  EXPECT_TRUE(logs(cluster, "sun", "alice (uid 1001) has 3 connections (limits.connections_per_login)"));
  crowd.pop_back();
  // The daemon sees the socket's end by itself.
  const auto until = std::chrono::steady_clock::now() + kLimit;
  std::string got;
  while ((got = ask(cluster, "alice", "msgget 28675 950")) == "-1 ENOMEM" && std::chrono::steady_clock::now() < until) {
  }
  EXPECT_NE(got.substr(0, 2), "-1") << "there is room again";
}

}  // namespace
}  // namespace dipc::test
