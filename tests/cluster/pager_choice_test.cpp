// How the programs of a host are paged: as its configuration says, else as its kernel can.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/shm.h>

#include <memory>
#include <string>

#include "tests/cluster/cluster.h"

namespace dipc::test {
namespace {

using testing::HasSubstr;

constexpr const char* kFallsBack = "; programs of this host page shared memory by SIGSEGV";

int count(const std::string& text, const std::string& what) {
  int found = 0;
  for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++found;
  return found;
}

class PagerChoiceTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!am_root()) GTEST_SKIP() << "needs root: a lab has namespaces";
    const auto host = [](const std::string& name, const std::string& more) {
      return "[[host]]\nname = \"" + name + "\"\nlogins = { alice = 1001 }\n" + more;
    };
    cluster_ = std::make_unique<Cluster>(
        "pager-choice", "vax",
        host("vax", "") + host("sun", "") + host("moon", "memory = { pager = \"userfaultfd\" }\n") +
            host("mars", "memory = { pager = \"sigsegv\" }\n") + "[[keys]]\nrange = \"all\"\nhome = \"vax\"\n");
    if (count(cluster_->log_of("vax"), kFallsBack) != 0) GTEST_SKIP() << "this kernel has no userfaultfd for us";
  }
  // As a kernel without it; its daemon is another one then.
  void take_userfaultfd_from(const std::string& host) {
    ASSERT_EQ(cluster_->run(host, "root", {"mount", "--bind", "/dev/null", "/dev/userfaultfd"}).status, 0);
    ASSERT_EQ(cluster_->lab({"kill", host, "daemon"}).status, 0);
    ASSERT_EQ(cluster_->lab({"start", host}).status, 0);
  }
  std::unique_ptr<Program> sharer(const std::string& host) {
    return cluster_->start(host, "alice", {native_program("tests/cluster/sharer")});
  }
  static std::string attach(Program& program) {
    const std::string id = first_word(ask(program, "shmget 0x20 4096 011600"));
    return ask(program, "shmat " + id + " 0");
  }
  // A program that pages itself has two more for each attachment.
  int threads_of(const std::string& host, Program& program) {
    const auto tasks = cluster_->run(host, "root", {"ls", "/proc/" + first_word(ask(program, "pid")) + "/task"});
    return count(tasks.output, "\n");
  }

  std::unique_ptr<Cluster> cluster_;
};

TEST_F(PagerChoiceTest, WithoutUserfaultfdProgramsPageThemselvesAndTheLogSaysSoOnce) {
  take_userfaultfd_from("sun");
  const auto vax = sharer("vax"), sun = sharer("sun"), other = sharer("sun");
  for (Program* program : {vax.get(), sun.get(), other.get()}) EXPECT_EQ(attach(*program), "0 -");
  EXPECT_EQ(threads_of("vax", *vax), 1);
  EXPECT_EQ(threads_of("sun", *sun), 3);
  for (int round = 0; round < 3; ++round) {
    EXPECT_EQ(ask(*vax, "put 0 0 " + std::to_string(2 * round + 1)), "0 -");
    EXPECT_EQ(ask(*sun, "get 0 0"), std::to_string(2 * round + 1) + " -");
    EXPECT_EQ(ask(*other, "put 0 0 " + std::to_string(2 * round + 2)), "0 -");
    EXPECT_EQ(ask(*vax, "get 0 0"), std::to_string(2 * round + 2) + " -");
  }
  EXPECT_EQ(count(cluster_->log_of("sun"), kFallsBack), 1) << cluster_->log_of("sun");
  EXPECT_EQ(count(cluster_->log_of("vax"), kFallsBack), 0);
}

TEST_F(PagerChoiceTest, WhatTheConfigurationDemandsIsNotReplaced) {
  const auto moon = sharer("moon"), mars = sharer("mars");
  EXPECT_EQ(attach(*moon), "0 -");
  EXPECT_EQ(attach(*mars), "0 -");
  EXPECT_EQ(threads_of("moon", *moon), 1);
  EXPECT_EQ(threads_of("mars", *mars), 3);
  EXPECT_EQ(count(cluster_->log_of("mars"), kFallsBack), 0) << "it is no surprise";
  take_userfaultfd_from("moon");
  EXPECT_EQ(ask(*moon, "shmget 0x21 4096 011600"), "-1 ENOSYS");
  EXPECT_THAT(cluster_->log_of("moon"), HasSubstr("memory.pager demands it"));
}

}  // namespace
}  // namespace dipc::test
