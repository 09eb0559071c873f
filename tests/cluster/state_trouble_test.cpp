// The files that a daemon needs after a restart, when they can't be read or written: said with what to do, nothing is
// overwritten, and all goes on once they are as they should be.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "tests/cluster/cluster.h"

namespace dipc::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr auto kLimit = std::chrono::seconds(30);

std::string contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// vax is the referee and owns everything; sun uses it.
class StateTrouble : public testing::Test {
 protected:
  void SetUp() override {
    if (!am_root()) GTEST_SKIP() << "needs root: a lab has namespaces";
    cluster_ = std::make_unique<Cluster>("state", "vax",
                                         "[[host]]\nname = \"vax\"\nlogins = { alice = 1001 }\n"
                                         "[[host]]\nname = \"sun\"\nlogins = { alice = 1001 }\n"
                                         "[timing]\nop_timeout = \"1s\"\nclaim_timeout = \"1s\"\n"
                                         "[[keys]]\nrange = \"all\"\nhome = \"vax\"\n");
    puppet_ = cluster_->start("sun", "alice", {native_program("tests/kernel/puppet")});
    queue_ = first_word(ask(*puppet_, "msgget 1 950"));
    ASSERT_EQ(ask(*puppet_, "msgsnd " + queue_ + " 7 42 100 0"), "0 -");
  }
  std::string file(const std::string& host, const std::string& name) const {
    return cluster_->folder() + "/hosts/" + host + "/state/" + name;
  }
  Cluster::Ran sh(const std::string& host, const std::string& script) const {
    return cluster_->run(host, "root", {"sh", "-c", script});
  }
  // Not by the lab, so that its words and its status are ours; without the library, as an administrator starts it.
  Cluster::Ran start_dipcd(const std::string& host) const {
    const auto daemon = cluster_->start(
        host, "root", {"sh", "-c", "exec timeout 20 dipcd --config /run/lab/etc/dipc.toml 2>&1"}, false);
    Cluster::Ran ran;
    ran.status = daemon->wait(kLimit, &ran.output);
    return ran;
  }
  // The state folder moves to a small file system of its own, which is full.
  void fill_disk(const std::string& host) const {
    const auto ran = sh(host,
                        "set -e; cd /run/lab; kept=$(mktemp -d); cp -a state/. $kept;"
                        "mount -t tmpfs -o size=64k none state; cp -a $kept/. state; rm -rf $kept;"
                        "dd if=/dev/zero of=state/full bs=4096 2>/dev/null || true");
    ASSERT_EQ(ran.status, 0) << ran.output;
  }
  void free_disk(const std::string& host) const { EXPECT_EQ(sh(host, "rm /run/lab/state/full").status, 0); }
  // Until the answer is no trouble of a restart any more.
  std::string settled(const std::string& command) {
    const auto until = std::chrono::steady_clock::now() + kLimit;
    std::string last;
    do last = ask(*puppet_, command);
    while (last.starts_with("-1 E") &&
           (last.ends_with("UNREACH") || last.ends_with("RESET") || last.ends_with("OUT")) &&
           std::chrono::steady_clock::now() < until);
    return last;
  }

  std::unique_ptr<Cluster> cluster_;
  std::unique_ptr<Program> puppet_;
  std::string queue_;
};

TEST_F(StateTrouble, AFileThatCanNotBeUnderstoodStopsTheDaemonAndIsLeftAsItIs) {
  const struct {
    const char* host;
    const char* name;
    const char* cut;  // what is said of a file that is cut, and what to do
    const char* cut_remedy;
    const char* newer;  // and of one of a later version
    const char* newer_remedy;
  } cases[] = {
      {"vax", "registry", "cut short", "put a saved copy in its place", "written in format 99",
       "run the dipcd that wrote it"},
      {"vax", "state", "cut short", "take it from a backup", "of version '99'", "start the dipcd that wrote it"},
      {"sun", "state", "cut short", "take it from a backup", "of version '99'", "start the dipcd that wrote it"},
  };
  for (const auto& one : cases) {
    SCOPED_TRACE(std::string(one.host) + " " + one.name);
    const std::string path = file(one.host, one.name);
    ASSERT_EQ(cluster_->lab({"kill", one.host, "daemon"}).status, 0);
    const std::string whole = contents(path);
    const std::size_t version = whole.find(' ') + 1;
    ASSERT_NE(version, 0u) << whole;
    const std::string cut = whole.substr(0, whole.size() - 5);
    const std::string newer = whole.substr(0, version) + "99" + whole.substr(whole.find('\n'));
    for (const bool is_cut : {true, false}) {
      const std::string& damaged = is_cut ? cut : newer;
      std::ofstream(path, std::ios::binary) << damaged;
      const auto started = start_dipcd(one.host);
      EXPECT_EQ(started.status, 1);
      EXPECT_THAT(started.output,
                  AllOf(HasSubstr("/" + std::string(one.name) + ":"), HasSubstr(is_cut ? one.cut : one.newer),
                        HasSubstr(is_cut ? one.cut_remedy : one.newer_remedy)));
      EXPECT_EQ(contents(path), damaged);
    }
    std::ofstream(path, std::ios::binary) << whole;
    ASSERT_EQ(cluster_->lab({"start", one.host}).status, 0);
  }
  EXPECT_EQ(first_word(settled("msgget 1 0")), queue_);
  EXPECT_EQ(first_word(settled("msgrcv " + queue_ + " 0 200 2048")), "100");
}

TEST_F(StateTrouble, OnAFullDiskNothingNewIsMadeAndWhatIsThereGoesOn) {
  for (const std::string host : {"sun", "vax"}) {
    SCOPED_TRACE(host);
    const std::string key = host == "sun" ? "2" : "3";
    fill_disk(host);
    EXPECT_EQ(settled("msgget " + key + " 950"), "-1 ENOSPC");
    EXPECT_EQ(settled("msgget " + key + " 0"), "-1 ENOENT") << "nothing is left of it";
    EXPECT_EQ(ask(*puppet_, "msgsnd " + queue_ + " 8 1 10 0"), "0 -");
    EXPECT_THAT(cluster_->log_of(host), AllOf(HasSubstr("/state: "), HasSubstr("No space left on device")));
    EXPECT_THAT(cluster_->run(host, "root", {"dipcctl", "status"}).output,
                HasSubstr("until the state file can be written"));
    free_disk(host);
    const auto until = std::chrono::steady_clock::now() + kLimit;
    std::string made;
    do made = settled("msgget " + key + " 950");
    while (made == "-1 ENOSPC" && std::chrono::steady_clock::now() < until);
    EXPECT_EQ(made.substr(made.find(' ')), " -") << made;
    ASSERT_EQ(cluster_->lab({"kill", host, "daemon"}).status, 0);
    ASSERT_EQ(cluster_->lab({"start", host}).status, 0);
    EXPECT_EQ(settled("msgget " + key + " 0"), made) << "it knows it after a restart";
  }
}

TEST_F(StateTrouble, ARefereeThatCanNotWriteItsRegistryDoesNotStart) {
  fill_disk("vax");
  ASSERT_EQ(cluster_->lab({"kill", "vax", "daemon"}).status, 0);
  const auto started = start_dipcd("vax");
  EXPECT_EQ(started.status, 1);
  EXPECT_THAT(started.output, AllOf(HasSubstr("/registry: "), HasSubstr("No space left on device"),
                                    HasSubstr("the old file is unchanged")));
  free_disk("vax");
  ASSERT_EQ(cluster_->lab({"start", "vax"}).status, 0);
  EXPECT_EQ(first_word(settled("msgget 1 0")), queue_);
  EXPECT_EQ(first_word(settled("msgrcv " + queue_ + " 0 200 2048")), "100");
}

}  // namespace
}  // namespace dipc::test
