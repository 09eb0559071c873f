// Shared memory between hosts of a lab, over real TLS and with real pagers: what programs see.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/shm.h>

#include <memory>
#include <regex>
#include <string_view>
#include <thread>
#include <vector>

#include "tests/cluster/cluster.h"

namespace dipc::test {
namespace {

using testing::AllOf;
using testing::AnyOf;
using testing::HasSubstr;

constexpr int kIpcDipc = 010000;
constexpr const char* kPageTwo = "4096";

// Programs on a host that attach one segment, each for itself.
constexpr int kHerd = 100;

// What a host is and how its programs are paged, as lines of a lab file.
constexpr std::string_view kUserfaultfd = "memory = { pager = \"userfaultfd\" }\n";
constexpr std::string_view kSigsegv = "memory = { pager = \"sigsegv\" }\n";
constexpr std::string_view kM68k = "arch = \"m68k\"\n";  // these two have no userfaultfd
constexpr std::string_view kS390x = "arch = \"s390x\"\n";
constexpr std::string_view kI386 = "arch = \"i386\"\n";
constexpr std::string_view kI386Sigsegv = "arch = \"i386\"\nmemory = { pager = \"sigsegv\" }\n";

struct Hosts {
  const char* name;
  std::string_view vax;
  std::string_view sun;
  std::string_view moon;
  std::string_view of(const std::string& host) const { return host == "vax" ? vax : host == "sun" ? sun : moon; }
};

// The owner is vax.
class SharedMemory : public testing::TestWithParam<Hosts> {
 protected:
  void SetUp() override {
    if (!am_root()) GTEST_SKIP() << "needs root: a lab has namespaces";
    for (const char* host : {"vax", "sun", "moon"}) {
      if (const std::string missing = missing_build(arch_of(host)); !missing.empty()) GTEST_SKIP() << missing;
    }
    const auto host = [](const std::string& name, const std::string& logins) {
      return "[[host]]\nname = \"" + name + "\"\nlogins = { " + logins + " }\n" + std::string(GetParam().of(name));
    };
    // An emulated host takes seconds to connect on a busy machine.
    const std::string timing =
        std::string("[timing]\nkeepalive = \"500ms\"\npeer_timeout = ") + (has_emulated() ? "\"6s\"\n" : "\"3s\"\n");
    cluster_ = std::make_unique<Cluster>("memory", "ref",
                                         timing +
                                             "[limits]\nsegment_size = \"64MiB\"\n"
                                             "[[host]]\nname = \"ref\"\nlogins = { alice = 1001 }\n" +
                                             host("vax", "alice = 1001, bob = 1002") +
                                             host("sun", "alice = 2001, bob = 1001") + host("moon", "alice = 3001") +
                                             "[[keys]]\nrange = \"0x40\"\nhome = \"vax\"\nunit = \"segment\"\n"
                                             "[[keys]]\nrange = \"0x60\"\nhome = \"vax\"\npage_size = \"16KiB\"\n"
                                             "[[keys]]\nrange = \"all\"\nhome = \"vax\"\n");
  }

  static std::string arch_of(const std::string& host) {
    for (const Architecture& one : kArchitectures) {
      if (GetParam().of(host).find("arch = \"" + one.arch + "\"") != std::string_view::npos) return one.arch;
    }
    return "native";
  }
  static bool has_emulated() {
    return architecture(arch_of("vax")).is_emulated || architecture(arch_of("sun")).is_emulated ||
           architecture(arch_of("moon")).is_emulated;
  }
  std::unique_ptr<Program> sharer(const std::string& host, const std::string& login = "alice") {
    return cluster_->start(host, login, {program_of(arch_of(host), "tests/cluster/sharer")});
  }
  static std::string get_flags(int more) { return std::to_string(kIpcDipc | more); }
  // The id of the segment that the tests use, there.
  std::string segment(Program& program, const std::string& bytes = "12288") {
    return first_word(ask(program, "shmget 0x20 " + bytes + " " + get_flags(IPC_CREAT | 0600)));
  }
  // Attached once, as number 0. Its id.
  std::string attach(Program& program) {
    const std::string id = segment(program);
    EXPECT_EQ(ask(program, "shmat " + id + " 0"), "0 -");
    return id;
  }
  void expect_soon(Program& program, const std::string& command, const testing::Matcher<std::string>& expected) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    std::string last;
    do last = ask(program, command);
    while (!expected.Matches(last) && std::chrono::steady_clock::now() < until);
    EXPECT_THAT(last, expected) << command;
  }

  std::unique_ptr<Cluster> cluster_;
};

TEST_P(SharedMemory, WhatOneHostWritesTheOthersRead) {
  const auto vax = sharer("vax"), sun = sharer("sun"), moon = sharer("moon");
  for (Program* program : {vax.get(), sun.get(), moon.get()}) attach(*program);
  EXPECT_EQ(ask(*moon, "get 0 0"), "0 -");
  const std::vector<Program*> all = {vax.get(), sun.get(), moon.get()};
  int value = 0;
  for (int round = 0; round < 5; ++round) {
    for (Program* writer : all) {
      const std::string text = std::to_string(++value);
      EXPECT_EQ(ask(*writer, "put 0 4097 " + text), "0 -");
      for (Program* reader : all) EXPECT_EQ(ask(*reader, "get 0 4097"), text + " -");
    }
  }
}

TEST_P(SharedMemory, PagesAreAsLargeAsTheConfigurationHasThem) {
  const auto vax = sharer("vax"), sun = sharer("sun");
  for (Program* program : {vax.get(), sun.get()}) {
    const std::string id = first_word(ask(*program, "shmget 0x60 40960 " + get_flags(IPC_CREAT | 0600)));
    ASSERT_EQ(ask(*program, "shmat " + id + " 0"), "0 -");
  }
  EXPECT_THAT(cluster_->run("vax", "root", {"dipcctl", "pages", "0x60"}).output, HasSubstr("3 pages of 16.0 KiB"));
  for (int value = 1; value <= 3; ++value) {
    for (const std::string at : {"12288", "36864"}) {
      EXPECT_EQ(ask(*sun, "put 0 " + at + " " + std::to_string(value)), "0 -");
      EXPECT_EQ(ask(*vax, "get 0 " + at), std::to_string(value) + " -");
      EXPECT_EQ(ask(*vax, "put 0 " + at + " " + std::to_string(value + 10)), "0 -");
      EXPECT_EQ(ask(*sun, "get 0 " + at), std::to_string(value + 10) + " -");
    }
  }
  EXPECT_EQ(ask(*sun, "get 0 0"), "0 -");
  EXPECT_EQ(ask(*sun, "get 0 40959"), "0 -");
}

TEST_P(SharedMemory, IncrementsUnderASemaphoreAreAllThere) {
  const auto vax = sharer("vax"), sun = sharer("sun"), moon = sharer("moon");
  const std::vector<Program*> all = {vax.get(), sun.get(), moon.get()};
  std::vector<std::string> sets;
  for (Program* program : all) {
    attach(*program);
    sets.push_back(first_word(ask(*program, "semget 0x21 1 " + get_flags(IPC_CREAT | 0600))));
  }
  ASSERT_EQ(ask(*vax, "semop " + sets[0] + " 1"), "0 -");
  // Of sun it is a child, which has the attachment from its parent.
  sun->write_line("forked add 0 0 " + sets[1] + " 200");
  vax->write_line("add 0 0 " + sets[0] + " 200");
  moon->write_line("add 0 0 " + sets[2] + " 200");
  for (Program* program : all) EXPECT_EQ(program->read_line(std::chrono::seconds(60)), "0 -");
  EXPECT_EQ(ask(*sun, "get 0 0"), std::to_string(600 & 255) + " -");
  EXPECT_EQ(ask(*sun, "get 0 1"), std::to_string(600 >> 8) + " -");
}

TEST_P(SharedMemory, TheRecordCountsAttachmentsOfAllHosts) {
  const auto vax = sharer("vax"), sun = sharer("sun");
  const std::string theirs = attach(*vax);
  const std::string id = attach(*sun);
  const std::string sun_pid = first_word(ask(*sun, "pid"));
  EXPECT_EQ(ask(*sun, "shmat " + id + " " + std::to_string(SHM_RDONLY)), "1 -");
  EXPECT_THAT(ask(*vax, "stat " + theirs),
              testing::AllOf(HasSubstr("bytes 12288 nattch 3 mode 600"), HasSubstr("lpid " + sun_pid + " key 20")));
  EXPECT_EQ(ask(*sun, "get 1 0"), "0 -");
  EXPECT_EQ(ask(*sun, "put 1 0 1"), "-1 SIGSEGV") << "read-only";
  EXPECT_EQ(ask(*sun, "put 0 0 1"), "0 -");
  EXPECT_EQ(ask(*sun, "get 1 0"), "1 -") << "of the same process";
  EXPECT_EQ(ask(*sun, "shmdt 1"), "0 -");
  EXPECT_THAT(ask(*sun, "stat " + id), HasSubstr("nattch 2"));
  EXPECT_EQ(ask(*sun, "set " + id + " 0644"), "0 -");
  EXPECT_THAT(ask(*vax, "stat " + theirs), HasSubstr("mode 644"));
}

TEST_P(SharedMemory, TheRecordSaysWhenWhatWasDoneAndWhetherItIsLocked) {
  const auto vax = sharer("vax"), sun = sharer("sun");
  auto bob = sharer("sun", "bob");
  const std::string id = segment(*sun);
  EXPECT_THAT(ask(*sun, "times " + id), testing::MatchesRegex("0 - changed [0-9] attached -1 detached -1"));
  EXPECT_EQ(ask(*sun, "shmat " + id + " 0"), "0 -");
  EXPECT_THAT(ask(*sun, "times " + id), testing::MatchesRegex("0 - changed [0-9] attached [0-9] detached -1"));
  EXPECT_EQ(ask(*sun, "shmdt 0"), "0 -");
  EXPECT_THAT(ask(*sun, "times " + id), testing::MatchesRegex("0 - changed [0-9] attached [0-9] detached [0-9]"));
  EXPECT_EQ(ask(*sun, "lock " + id), "0 -");
  EXPECT_THAT(ask(*vax, "stat " + segment(*vax)), HasSubstr("mode 2600"));
  EXPECT_EQ(ask(*bob, "unlock " + id), "-1 EPERM");
  EXPECT_EQ(ask(*sun, "unlock " + id), "0 -");
  EXPECT_THAT(ask(*sun, "stat " + id), HasSubstr("mode 600"));
}

// Each message lies across two pages, of which the second is another host's.
TEST_P(SharedMemory, CallsTakeAndGiveWhatLiesInTheSegment) {
  const auto vax = sharer("vax"), sun = sharer("sun"), moon = sharer("moon");
  for (Program* program : {vax.get(), sun.get(), moon.get()}) attach(*program);
  const std::string make_queue = "msgget 0x22 " + get_flags(IPC_CREAT | 0600);
  EXPECT_EQ(ask(*vax, std::string("put 0 ") + kPageTwo + " 7"), "0 -");
  EXPECT_EQ(ask(*vax, "put 0 8192 1"), "0 -");
  EXPECT_EQ(ask(*sun, std::string("send 0 ") + kPageTwo + " " + first_word(ask(*sun, make_queue))), "0 -");
  EXPECT_EQ(ask(*moon, "receive 0 8192 " + first_word(ask(*moon, make_queue))), "1 -");
  EXPECT_EQ(ask(*vax, "get 0 8192"), "7 -");
}

TEST_P(SharedMemory, AKilledProgramIsDetached) {
  const auto vax = sharer("vax");
  auto sun = sharer("sun");
  const std::string id = attach(*vax);
  attach(*sun);
  EXPECT_EQ(ask(*sun, "put 0 0 42"), "0 -");
  sun->signal(SIGKILL);
  sun.reset();
  expect_soon(*vax, "stat " + id, HasSubstr("nattch 1"));
  EXPECT_EQ(ask(*vax, "get 0 0"), "42 -") << "what it had written is not lost with it";
}

TEST_P(SharedMemory, ARemovedSegmentGoesOnUntilItsLastDetach) {
  const auto vax = sharer("vax"), sun = sharer("sun"), moon = sharer("moon");
  const std::string theirs = attach(*vax);
  const std::string ours = attach(*sun);
  EXPECT_EQ(ask(*sun, "put 0 0 42"), "0 -");
  const std::string idle = segment(*moon);
  EXPECT_EQ(ask(*sun, "rm " + ours), "0 -");
  EXPECT_EQ(ask(*vax, "shmget 0x20 0 " + get_flags(0)), "-1 ENOENT");
  EXPECT_THAT(ask(*moon, "stat " + idle), HasSubstr("nattch 2 mode 1600"));
  EXPECT_EQ(ask(*moon, "shmat " + idle + " 0"), "0 -") << "by its id";
  EXPECT_EQ(ask(*moon, "get 0 0"), "42 -");
  const std::string fresh = segment(*moon);
  EXPECT_NE(fresh, idle);
  EXPECT_EQ(ask(*vax, "shmdt 0"), "0 -");
  EXPECT_EQ(ask(*sun, "shmdt 0"), "0 -");
  EXPECT_EQ(ask(*moon, "put 0 0 43"), "0 -");
  EXPECT_EQ(ask(*moon, "shmdt 0"), "0 -");
  expect_soon(*vax, "stat " + theirs, "-1 EINVAL");
  expect_soon(*moon, "stat " + idle, "-1 EINVAL");
  EXPECT_THAT(ask(*moon, "stat " + fresh), HasSubstr("nattch 0 mode 600"));
}

// By a root who knows nothing of DIPC.
TEST_P(SharedMemory, WhenItsStandInOnTheOwnerIsRemovedItIsRemoved) {
  const auto vax = sharer("vax"), sun = sharer("sun");
  attach(*vax);
  const std::string id = attach(*sun);
  const auto remover = cluster_->start("vax", "root", {"ipcrm", "-M", "0x20"}, false);
  ASSERT_EQ(remover->wait(std::chrono::seconds(20)), 0);
  expect_soon(*sun, "stat " + id, HasSubstr("nattch 2 mode 1600"));
  EXPECT_EQ(ask(*vax, "shmget 0x20 0 " + get_flags(0)), "-1 ENOENT");
  EXPECT_EQ(ask(*sun, "shmget 0x20 0 " + get_flags(0)), "-1 ENOENT");
  EXPECT_EQ(ask(*sun, "put 0 0 42"), "0 -");
  EXPECT_EQ(ask(*vax, "get 0 0"), "42 -");
  EXPECT_EQ(ask(*vax, "shmdt 0"), "0 -");
  EXPECT_EQ(ask(*sun, "shmdt 0"), "0 -");
  expect_soon(*sun, "stat " + id, "-1 EINVAL");
}

TEST_P(SharedMemory, SizesAndPermissionsAreJudgedByTheOwner) {
  const auto vax = sharer("vax"), alice = sharer("sun"), bob = sharer("sun", "bob");
  const std::string create = " " + get_flags(IPC_CREAT | 0640);
  EXPECT_EQ(ask(*alice, "shmget 0x30 0" + create), "-1 EINVAL");
  EXPECT_EQ(ask(*alice, "shmget 0x30 67108865" + create), "-1 EINVAL") << "limits.segment_size";
  EXPECT_EQ(ask(*alice, "shmget 0x30 1 " + get_flags(0)), "-1 ENOENT");
  const std::string id = first_word(ask(*alice, "shmget 0x30 5000" + create));
  EXPECT_EQ(ask(*alice, "shmget 0x30 5000 " + get_flags(IPC_CREAT | IPC_EXCL | 0600)), "-1 EEXIST");
  EXPECT_EQ(ask(*alice, "shmget 0x30 5001" + create), "-1 EINVAL");
  EXPECT_EQ(ask(*bob, "shmget 0x30 5000 " + get_flags(0600)), "-1 EACCES");
  EXPECT_EQ(ask(*bob, "shmat " + id + " 0"), "-1 EACCES");
  EXPECT_EQ(ask(*bob, "rm " + id), "-1 EPERM");
  EXPECT_EQ(ask(*alice, "shmat " + id + " 0"), "0 -");
  EXPECT_EQ(ask(*alice, "shmat 123456 0"), "-1 EINVAL");
  EXPECT_EQ(ask(*alice, "rm " + id), "0 -");
}

TEST_P(SharedMemory, ACutShorterThanPeerTimeoutIsNoticedByTheClockOnly) {
  const auto vax = sharer("vax"), sun = sharer("sun");
  attach(*vax);
  attach(*sun);
  EXPECT_EQ(ask(*vax, "put 0 0 1"), "0 -");
  ASSERT_EQ(cluster_->lab({"cut", "vax", "sun"}).status, 0);
  sun->write_line("get 0 0");
  // So long that the connection is lost, but for hosts that take seconds to connect again.
  std::this_thread::sleep_for(std::chrono::milliseconds(has_emulated() ? 500 : 1500));
  EXPECT_FALSE(sun->has_output()) << "the page is on vax";
  ASSERT_EQ(cluster_->lab({"heal", "vax", "sun"}).status, 0);
  EXPECT_EQ(sun->read_line(std::chrono::seconds(20)), "1 -");
  EXPECT_EQ(ask(*sun, "put 0 0 2"), "0 -");
  EXPECT_EQ(ask(*vax, "get 0 0"), "2 -");
}

// The page has 8 MiB: so often is it on its way when the connections of the two are cut.
TEST_P(SharedMemory, APageWhoseTransferIsCutArrivesWhole) {
  if (has_emulated()) GTEST_SKIP() << "under qemu a host takes seconds to connect again, as long as peer_timeout here";
  const std::string last = "8388607";
  const auto vax = sharer("vax"), sun = sharer("sun");
  for (Program* program : {vax.get(), sun.get()}) {
    const std::string id = first_word(ask(*program, "shmget 0x40 8388608 " + get_flags(IPC_CREAT | 0600)));
    ASSERT_EQ(ask(*program, "shmat " + id + " 0"), "0 -");
  }
  int cuts = 0, rounds = 0;
  while (cuts < 3) {
    ASSERT_LT(++rounds, 100) << "no cuts";
    const std::string value = std::to_string(rounds);
    for (const auto& [writer, reader] : {std::pair(vax.get(), sun.get()), std::pair(sun.get(), vax.get())}) {
      ASSERT_EQ(ask(*writer, "put 0 0 " + value), "0 -");
      ASSERT_EQ(ask(*writer, "put 0 " + last + " " + value), "0 -");
      reader->write_line("get 0 " + last);
      const auto cut = cluster_->run(
          "vax", "root", {"ss", "-K", "-Htn", "(", "sport", "=", ":7310", "or", "dport", "=", ":7310", ")"});
      if (!cut.output.empty() && !reader->has_output()) ++cuts;
      ASSERT_EQ(reader->read_line(std::chrono::seconds(30)), value + " -");
      ASSERT_EQ(ask(*reader, "get 0 0"), value + " -");
    }
  }
}

// Longer than that it is as the end of the other host: who waits for a page of its learns it, and may attach again.
TEST_P(SharedMemory, ACutLongerThanPeerTimeoutEndsTheSegmentOnTheHostThatIsNotItsOwner) {
  const auto vax = sharer("vax"), sun = sharer("sun");
  attach(*vax);
  const std::string id = attach(*sun);
  EXPECT_EQ(ask(*vax, "put 0 0 1"), "0 -");
  ASSERT_EQ(cluster_->lab({"cut", "vax", "sun"}).status, 0);
  sun->write_line("get 0 0");
  EXPECT_EQ(sun->read_line(std::chrono::seconds(20)), "-1 SIGBUS");
  EXPECT_EQ(ask(*vax, "put 0 0 2"), "0 -") << "the owner goes on";
  ASSERT_EQ(cluster_->lab({"heal", "vax", "sun"}).status, 0);
  EXPECT_EQ(ask(*sun, "get 0 0"), "-1 SIGBUS") << "what was attached stays lost";
  EXPECT_EQ(ask(*sun, "shmdt 0"), "0 -");
  expect_soon(*sun, "shmat " + id + " 0", "1 -");
  EXPECT_EQ(ask(*sun, "get 1 0"), "2 -");
}

TEST_P(SharedMemory, AHundredProgramsOfOneHostShareASegment) {
  const auto vax = sharer("vax"), moon = sharer("moon");
  const std::string theirs = attach(*vax);
  const std::string make_set = "semget 0x21 1 " + get_flags(IPC_CREAT | 0600);
  const std::string vax_set = first_word(ask(*vax, make_set)), moon_set = first_word(ask(*moon, make_set));
  ASSERT_EQ(ask(*vax, "semop " + vax_set + " 1"), "0 -");
  moon->write_line("herd 0x20 " + std::to_string(kHerd) + " " + moon_set + " 2");
  ASSERT_EQ(moon->read_line(std::chrono::seconds(60)), "herding");
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  const std::string all = "nattch " + std::to_string(kHerd + 1) + " ";
  std::string stat;
  do stat = ask(*vax, "stat " + theirs);
  while (stat.find(all) == std::string::npos && std::chrono::steady_clock::now() < until);
  EXPECT_THAT(stat, HasSubstr(all));
  moon->write_line("");
  EXPECT_EQ(ask(*vax, "add 0 0 " + vax_set + " 50"), "0 -");
  EXPECT_EQ(moon->read_line(std::chrono::seconds(120)), "0 -") << "children that failed";
  EXPECT_EQ(ask(*vax, "get 0 0"), std::to_string((2 * kHerd + 50) & 255) + " -");
  const auto gone = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  do stat = ask(*vax, "stat " + theirs);
  while (stat.find("nattch 1 ") == std::string::npos && std::chrono::steady_clock::now() < gone);
  EXPECT_THAT(stat, HasSubstr("nattch 1 "));
}

TEST_P(SharedMemory, AProgramKilledWhileItWaitsForAPageHarmsNobody) {
  const auto vax = sharer("vax"), other = sharer("sun");
  auto victim = sharer("sun");
  const std::string id = attach(*vax);
  attach(*other);
  attach(*victim);
  EXPECT_EQ(ask(*vax, "put 0 0 1"), "0 -");
  ASSERT_EQ(cluster_->lab({"cut", "vax", "sun"}).status, 0);
  victim->write_line("put 0 0 99");
  other->write_line("put 0 1 2");
  std::this_thread::sleep_for(std::chrono::milliseconds(200));  // until they wait for it, or less is tested
  EXPECT_FALSE(victim->has_output());
  victim->signal(SIGKILL);
  victim.reset();
  ASSERT_EQ(cluster_->lab({"heal", "vax", "sun"}).status, 0);
  EXPECT_EQ(other->read_line(std::chrono::seconds(20)), "0 -");
  EXPECT_EQ(ask(*vax, "get 0 0"), "1 -") << "it was killed before it could write";
  EXPECT_EQ(ask(*vax, "get 0 1"), "2 -");
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  std::string stat;
  do stat = ask(*vax, "stat " + id);
  while (stat.find("nattch 2 ") == std::string::npos && std::chrono::steady_clock::now() < until);
  EXPECT_THAT(stat, HasSubstr("nattch 2 "));
}

TEST_P(SharedMemory, ChildrenOfAProgramWithThreadsHaveItsMemory) {
  const auto vax = sharer("vax"), sun = sharer("sun");
  attach(*vax);
  attach(*sun);
  sun->write_line("forks 0 0 20");
  // The same page, as long as they do so.
  do ASSERT_EQ(ask(*vax, "put 0 4000 1"), "0 -");
  while (!sun->has_output());
  EXPECT_EQ(sun->read_line(std::chrono::seconds(60)), "0 -") << "what went wrong, so often";
  for (int child = 0; child < 20; ++child) EXPECT_EQ(ask(*vax, "get 0 " + std::to_string(4 + child)), "2 -");
}

TEST_P(SharedMemory, AProgramMayCloseAllItsDescriptors) {
  const auto vax = sharer("vax"), sun = sharer("sun");
  attach(*vax);
  const std::string id = attach(*sun);
  EXPECT_EQ(ask(*sun, "closeall"), "0 -");
  EXPECT_EQ(ask(*vax, "put 0 0 1"), "0 -");
  EXPECT_EQ(ask(*sun, "get 0 0"), "1 -");
  EXPECT_EQ(ask(*sun, "put 0 0 2"), "0 -");
  EXPECT_EQ(ask(*vax, "get 0 0"), "2 -");
  EXPECT_EQ(ask(*sun, "shmat " + id + " 0"), "1 -");
  EXPECT_EQ(ask(*sun, "get 1 0"), "2 -");
}

TEST_P(SharedMemory, WithAHostGoThePagesThatOnlyItHad) {
  const auto vax = sharer("vax"), moon = sharer("moon");
  const auto sun = sharer("sun");
  for (Program* program : {vax.get(), sun.get(), moon.get()}) attach(*program);
  EXPECT_EQ(ask(*sun, "put 0 0 1"), "0 -");
  EXPECT_EQ(ask(*moon, std::string("put 0 ") + kPageTwo + " 2"), "0 -");
  ASSERT_EQ(cluster_->lab({"kill", "sun", "daemon"}).status, 0);
  expect_soon(*sun, "get 0 0", "-1 SIGBUS");
  EXPECT_EQ(ask(*sun, "get 0 8192"), "-1 SIGBUS") << "and no zeros";
  expect_soon(*moon, "get 0 0", "-1 SIGBUS");
  EXPECT_EQ(ask(*vax, "get 0 0"), "-1 SIGBUS");
  EXPECT_EQ(ask(*vax, std::string("get 0 ") + kPageTwo), "2 -");
  EXPECT_EQ(ask(*moon, "get 0 8192"), "0 -") << "nobody had written to it";
}

TEST_P(SharedMemory, WithItsOwnerASegmentIsLost) {
  const auto sun = sharer("sun"), moon = sharer("moon");
  attach(*sun);
  attach(*moon);
  EXPECT_EQ(ask(*sun, "put 0 0 1"), "0 -");
  EXPECT_EQ(ask(*moon, "get 0 0"), "1 -");
  ASSERT_EQ(cluster_->lab({"kill", "vax", "daemon"}).status, 0);
  expect_soon(*moon, "get 0 0", "-1 SIGBUS");
  expect_soon(*sun, "put 0 8192 1", "-1 SIGBUS");
}

TEST_P(SharedMemory, DipcctlShowsWhoHasWhat) {
  const auto sun = sharer("sun"), moon = sharer("moon");
  const std::string here = attach(*sun);
  attach(*moon);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(ask(*sun, "put 0 0 1"), "0 -");
    EXPECT_EQ(ask(*moon, "put 0 0 2"), "0 -");
  }
  EXPECT_EQ(ask(*sun, "get 0 4096"), "0 -");
  const auto segments = cluster_->run("vax", "root", {"dipcctl", "segments"});
  EXPECT_THAT(segments.output, HasSubstr("0x00000020"));
  const auto pages = cluster_->run("vax", "root", {"dipcctl", "pages", "0x20"});
  EXPECT_EQ(pages.status, 0);
  EXPECT_THAT(pages.output, AnyOf(HasSubstr("wr."), HasSubstr("wrr"))) << "the third came along, or not";
  EXPECT_THAT(pages.output, HasSubstr("moon 3, sun 2"));
  const auto elsewhere = cluster_->run("sun", "root", {"dipcctl", "pages", "0x20"});
  EXPECT_EQ(elsewhere.status, 1);
  EXPECT_THAT(cluster_->run("sun", "root", {"sh", "-c", "dipcctl pages 0x20 2>&1"}).output,
              HasSubstr("this segment lives on vax"));
  std::smatch id;
  ASSERT_TRUE(std::regex_search(pages.output, id, std::regex("id ([0-9]+):")));
  ASSERT_EQ(ask(*sun, "rm " + here), "0 -");
  EXPECT_THAT(cluster_->run("vax", "root", {"dipcctl", "pages", "--id", id[1]}).output,
              AllOf(HasSubstr("segment removed, "), HasSubstr("moon 3, sun 2")));
}

INSTANTIATE_TEST_SUITE_P(Hosts, SharedMemory,
                         testing::Values(Hosts{"Userfaultfd", kUserfaultfd, kUserfaultfd, kUserfaultfd},
                                         Hosts{"Sigsegv", kSigsegv, kSigsegv, kSigsegv},
                                         Hosts{"M68kClient", kUserfaultfd, kM68k, kUserfaultfd},
                                         Hosts{"M68kOwner", kM68k, kUserfaultfd, kSigsegv},
                                         Hosts{"I386Client", kUserfaultfd, kI386, kI386Sigsegv},
                                         Hosts{"I386Owner", kI386, kUserfaultfd, kSigsegv},
                                         Hosts{"S390xClient", kUserfaultfd, kS390x, kUserfaultfd}),
                         [](const auto& hosts) { return std::string(hosts.param.name); });

}  // namespace
}  // namespace dipc::test
