// Shared memory of hosts whose daemons are killed, and are started again or not: programs go on with what they have, or
// get SIGBUS; nobody ever reads what is older than what was written.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/shm.h>

#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/cluster/cluster.h"

namespace dipc::test {
namespace {

using testing::HasSubstr;
using namespace std::chrono_literals;

constexpr int kIpcDipc = 010000;
constexpr auto kPeerTimeout = 6s;  // longer than a restart takes, on a busy machine too
constexpr auto kLimit = 30s;
constexpr std::size_t kPages = 8;

// The owner is vax.
class MemoryRestart : public testing::Test {
 protected:
  void SetUp() override {
    if (!am_root()) GTEST_SKIP() << "needs root: a lab has namespaces";
    const auto host = [](const std::string& name) {
      return "[[host]]\nname = \"" + name + "\"\nlogins = { alice = 1001 }\nmemory = { pager = \"userfaultfd\" }\n";
    };
    cluster_ = std::make_unique<Cluster>("memory-restart", "ref",
                                         "[timing]\npeer_timeout = \"6s\"\nkeepalive = \"500ms\"\n" + host("ref") +
                                             host("vax") + host("sun") + host("moon") +
                                             "[[host]]\nname = \"mars\"\nlogins = { alice = 1001 }\n"
                                             "memory = { pager = \"sigsegv\" }\n"
                                             "[[keys]]\nrange = \"all\"\nhome = \"vax\"\n");
  }
  void TearDown() override {
    if (!HasFailure()) return;
    for (const char* host : {"vax", "sun", "moon", "mars"})
      std::printf("---- %s\n%s", host, cluster_->log_of(host).c_str());
  }
  // Attached once, as number 0.
  std::unique_ptr<Program> sharer(const std::string& host, int flags = 0) {
    auto program = cluster_->start(host, "alice", {native_program("tests/cluster/sharer")});
    id_ = first_word(ask(
        *program, "shmget 0x20 " + std::to_string(kPages * 4096) + " " + std::to_string(kIpcDipc | IPC_CREAT | 0600)));
    EXPECT_EQ(ask(*program, "shmat " + id_ + " " + std::to_string(flags)), "0 -");
    return program;
  }
  void lab(std::vector<std::string> words) {
    const auto ran = cluster_->lab(std::move(words));
    ASSERT_EQ(ran.status, 0) << ran.output;
  }
  void restart(const std::string& host) {
    lab({"kill", host, "daemon"});
    lab({"start", host});
  }
  void expect_soon(Program& program, const std::string& command, const std::string& expected) {
    const auto until = std::chrono::steady_clock::now() + kLimit;
    std::string last;
    do last = ask(program, command);
    while (last != expected && std::chrono::steady_clock::now() < until);
    EXPECT_EQ(last, expected) << command;
  }

  std::unique_ptr<Cluster> cluster_;
  std::string id_;  // on the host of the last sharer
};

TEST_F(MemoryRestart, AHostsProgramsGoOnWithoutTheirDaemonAndWithTheNext) {
  const auto vax = sharer("vax"), moon = sharer("moon"), sun = sharer("sun");
  EXPECT_EQ(ask(*sun, "put 0 0 1"), "0 -");
  EXPECT_EQ(ask(*moon, "put 0 4096 2"), "0 -");
  EXPECT_EQ(ask(*moon, "put 0 8192 3"), "0 -");
  EXPECT_EQ(ask(*sun, "get 0 8192"), "3 -");
  lab({"kill", "sun", "daemon"});
  EXPECT_EQ(ask(*sun, "put 0 0 4"), "0 -") << "it has the page for writing";
  EXPECT_EQ(ask(*sun, "get 0 8192"), "3 -") << "and this one for reading";
  sun->write_line("put 0 4096 5");  // and this one not at all
  moon->write_line("get 0 0");
  std::this_thread::sleep_for(200ms);
  EXPECT_FALSE(sun->has_output());
  EXPECT_FALSE(moon->has_output());
  lab({"start", "sun"});
  EXPECT_EQ(sun->read_line(kLimit), "0 -");
  EXPECT_EQ(moon->read_line(kLimit), "4 -");
  EXPECT_EQ(ask(*vax, "get 0 4096"), "5 -");
  EXPECT_EQ(ask(*moon, "put 0 8192 6"), "0 -");
  EXPECT_EQ(ask(*sun, "get 0 8192"), "6 -") << "its copy was taken from it";
  EXPECT_EQ(ask(*sun, "put 0 0 7"), "0 -");
  EXPECT_EQ(ask(*vax, "get 0 0"), "7 -");
  EXPECT_THAT(ask(*sun, "stat " + id_), HasSubstr("nattch 3"));
  EXPECT_EQ(ask(*sun, "shmat " + id_ + " 0"), "1 -");
  EXPECT_EQ(ask(*sun, "get 1 0"), "7 -");
  std::this_thread::sleep_for(kPeerTimeout + 1s);
  EXPECT_EQ(ask(*sun, "put 0 0 8"), "0 -") << "also when the time is over in which the next daemon had to come";
  EXPECT_EQ(ask(*moon, "get 0 0"), "8 -");
}

TEST_F(MemoryRestart, ProgramsForkAndDetachWithoutTheirDaemon) {
  const auto vax = sharer("vax"), moon = sharer("moon");
  auto other = sharer("sun");
  const auto sun = sharer("sun");
  EXPECT_EQ(ask(*sun, "put 0 0 1"), "0 -");
  EXPECT_EQ(ask(*sun, "shmat " + id_ + " 0"), "1 -");
  EXPECT_EQ(ask(*moon, "put 0 4096 2"), "0 -");
  lab({"kill", "sun", "daemon"});
  EXPECT_EQ(ask(*sun, "forked put 0 0 3"), "0 -");
  EXPECT_EQ(ask(*sun, "shmdt 1"), "0 -");
  other->signal(SIGKILL);
  other.reset();
  sun->write_line("forked get 0 4096");
  std::this_thread::sleep_for(200ms);
  EXPECT_FALSE(sun->has_output()) << "a child waits for a page as well";
  lab({"start", "sun"});
  EXPECT_EQ(sun->read_line(kLimit), "2 -");
  EXPECT_EQ(ask(*moon, "get 0 0"), "3 -");
  const auto until = std::chrono::steady_clock::now() + kLimit;
  std::string stat;
  do stat = ask(*vax, "stat " + id_);
  while (stat.find("nattch 3") == std::string::npos && std::chrono::steady_clock::now() < until);
  EXPECT_THAT(stat, HasSubstr("nattch 3")) << "of two programs on sun there is one, with one attachment";
}

TEST_F(MemoryRestart, AReaderHasItsOwnCopiesTakenFromItAsBefore) {
  const auto moon = sharer("moon"), sun = sharer("sun", SHM_RDONLY);
  EXPECT_EQ(ask(*moon, "put 0 0 1"), "0 -");
  EXPECT_EQ(ask(*sun, "get 0 0"), "1 -");
  for (int value = 2; value < 5; ++value) {
    restart("sun");
    EXPECT_EQ(ask(*sun, "get 0 0"), std::to_string(value - 1) + " -");
    EXPECT_EQ(ask(*moon, "put 0 0 " + std::to_string(value)), "0 -");
    EXPECT_EQ(ask(*sun, "get 0 0"), std::to_string(value) + " -");
  }
}

TEST_F(MemoryRestart, WithoutANextDaemonInTimeItsProgramsGetSigbusAndThePagesThatOnlyTheyHadAreLost) {
  const auto moon = sharer("moon"), sun = sharer("sun");
  EXPECT_EQ(ask(*sun, "put 0 0 1"), "0 -");
  EXPECT_EQ(ask(*moon, "put 0 4096 2"), "0 -");
  const auto before = std::chrono::steady_clock::now();
  lab({"kill", "sun", "daemon"});
  EXPECT_EQ(ask(*sun, "get 0 0"), "1 -");
  sun->write_line("get 0 4096");
  EXPECT_EQ(sun->read_line(kLimit), "-1 SIGBUS") << "and no zeros";
  EXPECT_GT(std::chrono::steady_clock::now() - before, kPeerTimeout - 500ms);
  EXPECT_EQ(ask(*sun, "get 0 0"), "-1 SIGBUS");
  EXPECT_EQ(ask(*sun, "get 0 8192"), "-1 SIGBUS");
  expect_soon(*moon, "get 0 0", "-1 SIGBUS");
  EXPECT_EQ(ask(*moon, "get 0 4096"), "2 -");
  lab({"start", "sun"});
  expect_soon(*sun, "shmat " + id_ + " 0", "1 -");
  EXPECT_EQ(ask(*sun, "get 1 4096"), "2 -");
}

TEST_F(MemoryRestart, AGuardThatIsKilledHasASuccessorThatGuardsTheSameSegments) {
  const auto moon = sharer("moon"), sun = sharer("sun");
  EXPECT_EQ(ask(*sun, "put 0 0 1"), "0 -");
  EXPECT_EQ(ask(*moon, "put 0 4096 2"), "0 -");
  const std::string each_guard = "for p in /proc/[0-9]*; do test \"$(cat $p/comm)\" = dipc-guard && ";
  const auto guards = [&](const std::string& what) {
    return cluster_->run("sun", "root", {"sh", "-c", each_guard + what + " ${p#/proc/}; done 2>&-"}).output;
  };
  for (int times = 0; times < 2; ++times) {
    const std::string before = guards("echo");
    ASSERT_NE(before, "");
    guards("kill -9");
    const auto until = std::chrono::steady_clock::now() + kLimit;
    std::string after;
    do after = guards("echo");
    while ((after.empty() || after == before) && std::chrono::steady_clock::now() < until);
    ASSERT_NE(after, before);
  }
  EXPECT_THAT(cluster_->log_of("sun"), HasSubstr("(dipc-guard) was killed"));
  lab({"kill", "sun", "daemon"});
  EXPECT_EQ(ask(*sun, "put 0 0 3"), "0 -");
  sun->write_line("get 0 4096");
  std::this_thread::sleep_for(200ms);
  EXPECT_FALSE(sun->has_output()) << "zeros are what a page is without a guard";
  lab({"start", "sun"});
  EXPECT_EQ(sun->read_line(kLimit), "2 -");
  EXPECT_EQ(ask(*moon, "get 0 0"), "3 -");
}

// ---- the owner's daemon

TEST_F(MemoryRestart, TheNextDaemonOfTheOwnerGoesOnWithItsSegments) {
  const auto vax = sharer("vax"), moon = sharer("moon"), mars = sharer("mars"), sun = sharer("sun");
  EXPECT_EQ(ask(*moon, "put 0 0 1"), "0 -");
  EXPECT_EQ(ask(*vax, "put 0 4096 2"), "0 -");
  EXPECT_EQ(ask(*sun, "put 0 8192 3"), "0 -");
  EXPECT_EQ(ask(*mars, "get 0 8192"), "3 -");
  EXPECT_EQ(ask(*sun, "set " + id_ + " 416"), "0 -");  // 0640
  const std::string record = ask(*sun, "stat " + id_);
  EXPECT_THAT(record, HasSubstr("nattch 4 mode 640 "));
  lab({"kill", "vax", "daemon"});
  EXPECT_EQ(ask(*moon, "put 0 0 4"), "0 -") << "it has the page for writing";
  EXPECT_EQ(ask(*vax, "put 0 4096 5"), "0 -") << "as this host has this one";
  EXPECT_EQ(ask(*mars, "get 0 8192"), "3 -");
  sun->write_line("get 0 4096");
  mars->write_line("put 0 0 6");
  vax->write_line("get 0 8192");
  std::this_thread::sleep_for(200ms);
  for (Program* waits : {sun.get(), mars.get(), vax.get()}) EXPECT_FALSE(waits->has_output());
  lab({"start", "vax"});
  EXPECT_EQ(sun->read_line(kLimit), "5 -");
  EXPECT_EQ(mars->read_line(kLimit), "0 -");
  EXPECT_EQ(vax->read_line(kLimit), "3 -");
  EXPECT_EQ(ask(*moon, "get 0 0"), "6 -");
  EXPECT_EQ(ask(*moon, "put 0 8192 7"), "0 -");
  for (Program* reader : {sun.get(), mars.get(), vax.get()}) EXPECT_EQ(ask(*reader, "get 0 8192"), "7 -");
  EXPECT_EQ(ask(*sun, "stat " + id_), record);
  EXPECT_EQ(ask(*sun, "shmget 0x20 0 " + std::to_string(kIpcDipc)), id_ + " -");
  EXPECT_EQ(ask(*sun, "shmat " + id_ + " 0"), "1 -");
  EXPECT_EQ(ask(*sun, "get 1 0"), "6 -");
  EXPECT_EQ(ask(*sun, "rm " + id_), "0 -");
  EXPECT_EQ(ask(*sun, "shmget 0x20 0 " + std::to_string(kIpcDipc)), "-1 ENOENT");
}

TEST_F(MemoryRestart, ARemovedSegmentGoesOnWithTheOwnersNextDaemonUntilItsLastDetach) {
  const auto vax = sharer("vax"), sun = sharer("sun");
  EXPECT_EQ(ask(*sun, "put 0 0 1"), "0 -");
  EXPECT_EQ(ask(*sun, "rm " + id_), "0 -");
  restart("vax");
  EXPECT_EQ(ask(*vax, "get 0 0"), "1 -");
  EXPECT_EQ(ask(*vax, "put 0 0 2"), "0 -");
  EXPECT_EQ(ask(*sun, "get 0 0"), "2 -");
  EXPECT_THAT(ask(*sun, "stat " + id_), HasSubstr("nattch 2 mode 1600 "));
  EXPECT_EQ(ask(*sun, "shmget 0x20 0 " + std::to_string(kIpcDipc)), "-1 ENOENT");
  EXPECT_EQ(ask(*vax, "shmdt 0"), "0 -");
  EXPECT_EQ(ask(*sun, "shmdt 0"), "0 -");
  expect_soon(*sun, "stat " + id_, "-1 EINVAL");
}

TEST_F(MemoryRestart, ASegmentThatNobodyHasAttachedKeepsWhatWasWritten) {
  const auto sun = sharer("sun");
  EXPECT_EQ(ask(*sun, "put 0 0 1"), "0 -");
  EXPECT_EQ(ask(*sun, "shmdt 0"), "0 -");
  const auto until = std::chrono::steady_clock::now() + kLimit;
  std::string pages;
  do pages = cluster_->run("vax", "root", {"dipcctl", "pages", "0x20"}).output;
  while (pages.find("r.......") == std::string::npos && std::chrono::steady_clock::now() < until);
  ASSERT_THAT(pages, HasSubstr("r.......")) << "its host has given the page to the owner, which may read it";
  restart("vax");
  expect_soon(*sun, "shmat " + id_ + " 0", "1 -");  // EHOSTUNREACH while sun has not seen yet that it is another daemon
  EXPECT_EQ(ask(*sun, "get 1 0"), "1 -");
}

TEST_F(MemoryRestart, TheDaemonsOfTheOwnerAndOfAHolderMayBeKilledTogether) {
  const auto vax = sharer("vax"), moon = sharer("moon"), sun = sharer("sun");
  EXPECT_EQ(ask(*sun, "put 0 0 1"), "0 -");
  EXPECT_EQ(ask(*moon, "put 0 4096 2"), "0 -");
  lab({"kill", "sun", "daemon"});
  restart("vax");
  EXPECT_EQ(ask(*vax, "get 0 4096"), "2 -");
  lab({"start", "sun"});
  EXPECT_EQ(ask(*moon, "get 0 0"), "1 -");
  EXPECT_EQ(ask(*sun, "get 0 4096"), "2 -");
  EXPECT_THAT(ask(*sun, "stat " + id_), HasSubstr("nattch 3"));
}

TEST_F(MemoryRestart, WithoutTheOwnersNextDaemonInTimeEverybodyGetsSigbus) {
  const auto vax = sharer("vax"), sun = sharer("sun");
  EXPECT_EQ(ask(*sun, "put 0 0 1"), "0 -");
  const auto before = std::chrono::steady_clock::now();
  lab({"kill", "vax", "daemon"});
  EXPECT_EQ(ask(*sun, "get 0 0"), "1 -");
  vax->write_line("get 0 0");
  EXPECT_EQ(vax->read_line(kLimit), "-1 SIGBUS");
  EXPECT_GT(std::chrono::steady_clock::now() - before, kPeerTimeout - 500ms);
  expect_soon(*sun, "get 0 0", "-1 SIGBUS");
  lab({"start", "vax"});
  const std::string get = "shmget 0x20 4096 " + std::to_string(kIpcDipc | IPC_CREAT | IPC_EXCL | 0600);
  const std::string id = first_word(ask(*vax, get));
  EXPECT_NE(id, "-1") << "its key is free";
  EXPECT_EQ(ask(*vax, "shmat " + id + " 0"), "1 -");
  EXPECT_EQ(ask(*vax, "get 1 0"), "0 -");
}

// Each page is on its way all the time. What was just being given away when the daemon was killed may be lost.
TEST_F(MemoryRestart, NobodyReadsWhatIsOldHoweverOftenADaemonIsKilled) {
  const char* const hosts[] = {"vax", "sun", "moon"};
  constexpr int kRounds = 5;
  int lost = 0;
  for (int round = 0; round < kRounds; ++round) {
    std::vector<std::unique_ptr<Program>> programs;
    for (const char* host : hosts) programs.push_back(sharer(host));
    for (std::size_t i = 0; i < programs.size(); ++i) {
      programs[i]->write_line("tally 0 " + std::to_string(kPages) + " " + std::to_string(i) + " 3 5000");
    }
    for (const char* host : {"sun", "vax", "moon"}) {
      std::this_thread::sleep_for(std::chrono::milliseconds(300 + 37 * round));
      restart(host);
    }
    std::vector<std::string> came;
    for (auto& program : programs) came.push_back(program->read_line(kLimit).value_or("(silent)"));
    bool whole = true;
    for (const std::string& how_far : came) {
      EXPECT_NE(first_word(how_far), "-2") << "a word went back";
      EXPECT_NE(how_far, "(silent)");
      whole = whole && how_far != "-1 SIGBUS";
    }
    lost += whole ? 0 : 1;
    for (std::size_t i = 0; whole && i < programs.size(); ++i) {
      for (auto& reader : programs) {
        long sum = 0;
        for (std::size_t page = 0; page < kPages; ++page) {
          sum += std::stol(ask(*reader, "word 0 " + std::to_string(page) + " " + std::to_string(i)));
        }
        EXPECT_EQ(sum, std::stol(came[i])) << "of " << hosts[i];
      }
    }
    EXPECT_EQ(ask(*programs[0], "rm " + first_word(ask(*programs[0], "shmget 0x20 0 " + std::to_string(kIpcDipc)))),
              "0 -");
  }
  RecordProperty("rounds_with_lost_pages", lost);
  EXPECT_LT(lost, kRounds) << "it hardly ever is just then";
}

}  // namespace
}  // namespace dipc::test
