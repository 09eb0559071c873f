// New contents of the administrator's files while programs work: they count at once, all of them or none, and the log
// says what changed and who asked.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "daemon/core/status_report.h"
#include "tests/cluster/cluster.h"

namespace dipc::test {
namespace {

using testing::HasSubstr;
using testing::Not;
using namespace std::chrono_literals;

constexpr auto kLimit = 30s;

std::string contents(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

// Time-outs that are far longer than the test: what ends a session here is the reload.
class Reload : public testing::Test {
 protected:
  void SetUp() override {
    if (!am_root()) GTEST_SKIP() << "needs root: a lab has namespaces";
    cluster_ = std::make_unique<Cluster>("reload", "vax",
                                         "[[host]]\nname = \"vax\"\nlogins = { alice = 1001, bob = 1002 }\n"
                                         "[[host]]\nname = \"sun\"\nlogins = { alice = 2001 }\n"
                                         "[[keys]]\nrange = \"all\"\nhome = \"vax\"\n"
                                         "[timing]\npeer_timeout = \"300s\"\nkeepalive = \"1s\"\n");
    alice_ = cluster_->start("sun", "alice", {native_program("tests/kernel/puppet")});
    queue_ = first_word(ask(*alice_, "msgget 4660 896"));  // IPC_CREAT | 0600
  }

  std::string file(const std::string& name) const { return cluster_->folder() + "/hosts/vax/etc/" + name; }
  void write(const std::string& name, const std::string& text) const { std::ofstream(file(name)) << text; }
  Cluster::Ran reload() const { return cluster_->run("vax", "root", {"sh", "-c", "dipcctl reload 2>&1"}); }
  std::string session() const {
    const auto report = status_from_json(cluster_->run("vax", "root", {"dipcctl", "status", "--json"}).output);
    if (!report || report->peers.empty()) return "";
    return report->peers[0].session + " " + report->peers[0].state;
  }
  testing::AssertionResult logs(const std::string& text) const {
    const auto until = std::chrono::steady_clock::now() + kLimit;
    do {
      if (cluster_->log_of("vax").find(text) != std::string::npos) return testing::AssertionSuccess();
    } while (std::chrono::steady_clock::now() < until);
    return testing::AssertionFailure() << "\"" << text << "\" is not in the log:\n" << cluster_->log_of("vax");
  }
  std::string send() { return ask(*alice_, "msgsnd " + queue_ + " 1 1 10 2048"); }

  std::unique_ptr<Cluster> cluster_;
  std::unique_ptr<Program> alice_;
  std::string queue_;
};

TEST_F(Reload, AHostThatIsRemovedLosesItsSessionAtOnceAndComesBackWhenItIsListedAgain) {
  const auto waiting = cluster_->start("sun", "alice", {native_program("tests/kernel/puppet")});
  const std::string id = first_word(ask(*waiting, "msgget 4660 0"));
  waiting->write_line("msgrcv " + id + " 99 100 0");
  ASSERT_EQ(send(), "0 -");
  const std::string before = contents(file("hosts.allow"));
  const std::string session_before = session();
  write("hosts.allow", "vax 10.77.0.1\n");
  const auto done = reload();
  EXPECT_EQ(done.status, 0);
  EXPECT_THAT(done.output, HasSubstr("hosts.allow: removed sun 10.77.0.2"));
  const auto answer = waiting->read_line(kLimit);
  ASSERT_TRUE(answer) << "it waits for a host that is not allowed any more";
  EXPECT_EQ(*answer, "-1 ECONNRESET");
  EXPECT_EQ(send(), "-1 EHOSTUNREACH");
  EXPECT_TRUE(logs("reload by root (uid 0, pid "));
  EXPECT_TRUE(logs("): hosts.allow: removed sun 10.77.0.2"));

  write("hosts.allow", before);
  EXPECT_THAT(reload().output, HasSubstr("hosts.allow: added sun 10.77.0.2"));
  const auto until = std::chrono::steady_clock::now() + kLimit;
  while (session().find("connected") == std::string::npos && std::chrono::steady_clock::now() < until) {
  }
  EXPECT_THAT(session(), Not(HasSubstr(first_word(session_before))));
  EXPECT_EQ(send(), "0 -");
}

TEST_F(Reload, ANewLoginsMapAppliesToTheNextCallAndSighupDoesTheSame) {
  ASSERT_EQ(send(), "0 -");
  const std::string before = session();
  write("logins.map", "alice@sun bob\n");
  ASSERT_EQ(reload().status, 0);
  EXPECT_EQ(send(), "-1 EACCES") << "the queue is alice's";
  EXPECT_TRUE(logs("): logins.map: added alice@sun bob"));
  write("logins.map", "eve@sun alice\n*@sun *\n");
  ASSERT_EQ(cluster_->lab({"kill", "vax", "daemon", "--signal", "HUP"}).status, 0);
  EXPECT_TRUE(logs("reload by SIGHUP: logins.map: removed alice@sun bob"));
  EXPECT_EQ(send(), "0 -");
  EXPECT_EQ(session(), before);
}

TEST_F(Reload, OneMistakeAndNothingChanges) {
  const std::string before = session();
  const std::string certificate = contents(file("tls/host.pem"));
  write("hosts.allow", "vax 10.77.0.1\n");
  write("logins.map", "alice@sun\n");
  EXPECT_EQ(reload().status, 1);
  EXPECT_EQ(session(), before);
  EXPECT_EQ(send(), "0 -");
  // The files are good now, the certificate is not.
  write("logins.map", "alice@sun bob\n");
  write("tls/host.pem", "no certificate\n");
  const auto refused = reload();
  EXPECT_EQ(refused.status, 1);
  EXPECT_THAT(refused.output, HasSubstr("host.pem"));
  EXPECT_EQ(session(), before);
  EXPECT_EQ(send(), "0 -");
  EXPECT_THAT(cluster_->log_of("vax"), Not(HasSubstr("hosts.allow: removed")));
  write("tls/host.pem", certificate);
  EXPECT_EQ(reload().status, 0);
  EXPECT_EQ(send(), "-1 EHOSTUNREACH");
}

TEST_F(Reload, WhoMayNotAskChangesNothingAndWhatNeedsAStartIsNamed) {
  write("hosts.allow", "vax 10.77.0.1\n");
  const auto refused = cluster_->run("vax", "alice", {"sh", "-c", "dipcctl reload 2>&1"});
  EXPECT_EQ(refused.status, 1);
  EXPECT_THAT(refused.output, HasSubstr("you may not"));
  EXPECT_EQ(send(), "0 -");
  write("hosts.allow", "vax 10.77.0.1\nsun 10.77.0.2\n");
  std::string text = contents(file("dipc.toml"));
  const std::size_t timing = text.find("300s");
  ASSERT_NE(timing, std::string::npos) << text;
  write("dipc.toml", text.replace(timing, 4, "400s"));
  const auto done = reload();
  EXPECT_EQ(done.status, 0) << done.output;
  EXPECT_THAT(done.output, HasSubstr("[timing] has changed, which counts from the next start of dipcd"));
}

}  // namespace
}  // namespace dipc::test
