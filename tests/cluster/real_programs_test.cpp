// Programs that nobody here wrote, as Debian ships them, with their objects on another host: Perl's IPC::SysV,
// stress-ng, fakeroot, ipcs, ipcrm and ipcmk. They run on x86-64 hosts; the owner of their objects is an x86-64 or an
// m68k host.

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <sstream>

#include "tests/cluster/cluster.h"

namespace dipc::test {
namespace {

constexpr auto kLimit = std::chrono::seconds(60);

std::string first_line_with(const std::string& text, const std::string& part) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.find(part) != std::string::npos) return line;
  }
  return "";
}

// A folder that every login may write to.
class SharedFolder {
 public:
  SharedFolder() {
    char folder[] = "/tmp/dipc-fakeroot-XXXXXX";
    if (::mkdtemp(folder) == nullptr) throw std::runtime_error("mkdtemp");
    path_ = folder;
    ::chmod(folder, 0777);
  }
  ~SharedFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  SharedFolder(const SharedFolder&) = delete;
  SharedFolder& operator=(const SharedFolder&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// vax owns all objects; sun and moon are x86-64 hosts, where alice has other numbers than on vax.
class RealPrograms : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (!am_root()) GTEST_SKIP() << "needs root: a lab has namespaces";
    if (GetParam() == "m68k" && !have_m68k()) GTEST_SKIP() << "the m68k build is not there: make m68k";
    auto& cluster = clusters()[GetParam()];
    if (!cluster) {
      // stress-ng --msg makes queues until there is no room: let that be soon.
      cluster = std::make_unique<Cluster>("real-" + GetParam(), "vax",
                                          "[[host]]\nname = \"vax\"\narch = \"" + GetParam() +
                                              "\"\nlogins = { alice = 1001, bob = 1002 }\nmsgmni = 40\n"
                                              "[[host]]\nname = \"sun\"\nlogins = { alice = 2001, bob = 1001 }\n"
                                              "msgmni = 40\n"
                                              "[[host]]\nname = \"moon\"\nlogins = { alice = 3001, bob = 1001 }\n"
                                              "[[keys]]\nrange = [\"all\", \"private\"]\nhome = \"vax\"\n");
      // Ids of the hosts must not be the same numbers by chance.
      for (int i = 0; i < 3; ++i) cluster->run("vax", "alice", {"ipcmk", "-Q", "-S", "1"});
    }
    cluster_ = cluster.get();
  }

  static std::map<std::string, std::unique_ptr<Cluster>>& clusters() {
    static std::map<std::string, std::unique_ptr<Cluster>> all;
    return all;
  }

  static void TearDownTestSuite() { clusters().clear(); }

  // What a program prints; the test fails if it does not end well.
  std::string run(const std::string& host, std::vector<std::string> program, const std::string& login = "alice") {
    const Cluster::Ran ran = cluster_->run(host, login, program, kLimit);
    EXPECT_EQ(ran.status, 0) << host << ": " << program[0] << "\n" << ran.output;
    return ran.output;
  }

  // Runs it on sun. What it finds wrong it says, and its exit status says so too.
  void stress(const std::string& options) {
    const std::string told =
        run("sun", {"sh", "-c", "cd /tmp; exec stress-ng --verify --timeout 50 " + options + " 2>&1"});
    EXPECT_EQ(told.find("fail"), std::string::npos) << told;
    EXPECT_NE(told.find("successful run completed"), std::string::npos) << told;
  }

  // Calls that the owner has carried out for other hosts.
  long calls_at_the_owner() {
    const std::string line =
        first_line_with(run("vax", {"dipcctl", "status", "--json"}, "root"), "\"calls_received\":");
    return std::strtol(line.substr(line.find(':') + 1).c_str(), nullptr, 10);
  }

  // Objects in the kernel of a host, stand-ins too.
  long count(const std::string& host) {
    std::istringstream lines(run(host, {"ipcs", "-q", "-s"}));
    long rows = 0;
    for (std::string line; std::getline(lines, line);) rows += line.starts_with("0x") ? 1 : 0;
    return rows;
  }

  // A row of ipcs without its line's trailing blanks and with one blank between words; "" if there is none.
  std::string row(const std::string& host, const std::string& kind, const std::string& key) {
    std::istringstream words(first_line_with(run(host, {"ipcs", kind}), key + " "));
    std::string row;
    for (std::string word; words >> word;) row += (row.empty() ? "" : " ") + word;
    return row;
  }

  const Cluster* cluster_ = nullptr;
};

TEST_P(RealPrograms, PerlsQueuesAndSemaphoresAreThoseOfAnotherHost) {
  const std::string script = native_program("tests/cluster/sysv.pl");
  run("sun", {"perl", script, "create", "4096"});
  // On an m68k host this perl has no library of ours: it uses its kernel, whose objects these are.
  const auto server = cluster_->start("vax", "alice", {"perl", script, "serve", "4096"});
  const long before = calls_at_the_owner();
  const auto moon = cluster_->start("moon", "alice", {"perl", script, "wait", "4096"});
  std::string told;
  ASSERT_EQ(moon->wait(kLimit, &told), 0) << told;
  run("sun", {"perl", script, "ask", "4096", "4", "20"});
  EXPECT_GE(calls_at_the_owner() - before, 4 * 20 * 6) << "all that the processes on sun did";
  run("sun", {"perl", script, "remove", "4096"});
  EXPECT_EQ(server->wait(kLimit, &told), 0) << told;
  EXPECT_NE(told.find("80 requests were answered"), std::string::npos) << told;
}

// stress-ng compares each message with what was sent, and values of semaphores with what they must be.
TEST_P(RealPrograms, StressNgFindsNoFaultInQueuesOfAnotherHost) {
  const long objects = count("vax");
  const long stand_ins = count("sun");
  const long before = calls_at_the_owner();
  stress("--msg 1 --msg-ops 150");
  stress("--msg 1 --msg-types 4 --msg-ops 150");
  EXPECT_GE(calls_at_the_owner() - before, 2 * 2 * 150) << "a send and a receive for each";
  EXPECT_EQ(count("vax"), objects) << "it removes its queues";
  EXPECT_EQ(count("sun"), stand_ins) << "and their stand-ins go";
}

TEST_P(RealPrograms, StressNgFindsNoFaultInSemaphoresOfAnotherHost) {
  const long objects = count("vax");
  const long stand_ins = count("sun");
  const long before = calls_at_the_owner();
  stress("--sem-sysv 1 --sem-sysv-procs 3 --sem-sysv-ops 150");
  EXPECT_GE(calls_at_the_owner() - before, 2 * 150) << "down and up for each";
  EXPECT_EQ(count("vax"), objects) << "it removes its set";
  EXPECT_EQ(count("sun"), stand_ins) << "and its stand-in goes";
}

INSTANTIATE_TEST_SUITE_P(Owner, RealPrograms, testing::Values("native", "m68k"),
                         [](const auto& instance) { return instance.param; });

}  // namespace
}  // namespace dipc::test
