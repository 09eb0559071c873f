#include "daemon/kernel/processes.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace dipc::test {
namespace {

class Child {
 public:
  Child() : pid_(fork()) {
    if (pid_ == 0) {
      for (;;) pause();
    }
  }
  ~Child() { end(); }
  void end() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_;
};

TEST(ProcessesTest, AProcessIsKnownByPidAndStartTime) {
  Child child;
  const auto id = process_id(child.pid());
  ASSERT_TRUE(id);
  EXPECT_EQ(id->pid, child.pid());
  EXPECT_GT(id->start_ticks, 0u);
  EXPECT_EQ(process_id(child.pid()), id);
  EXPECT_FALSE(process_has_ended(*id));
  EXPECT_TRUE(process_has_ended({id->pid, id->start_ticks + 1})) << "another process has that pid";
  child.end();
  EXPECT_TRUE(process_has_ended(*id));
  EXPECT_FALSE(process_id(id->pid));
}

TEST(ProcessesTest, AZombieMayHaveThreadsThatLive) {
  const pid_t child = fork();
  if (child == 0) {
    for (;;) pause();
  }
  const auto id = process_id(child);
  ASSERT_TRUE(id);
  kill(child, SIGKILL);
  siginfo_t info{};
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT), 0);
  EXPECT_FALSE(process_has_ended(*id));
  waitpid(child, nullptr, 0);
  EXPECT_TRUE(process_has_ended(*id));
}

TEST(ProcessesTest, ANameWithBracketsAndBlanksIsNoTrouble) {
  Child plain;
  const pid_t child = fork();
  if (child == 0) {
    prctl(PR_SET_NAME, "a) S 1 2 (b");
    raise(SIGSTOP);
    _exit(0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, WUNTRACED), child);
  const auto id = process_id(child);
  const auto before = process_id(plain.pid());
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  ASSERT_TRUE(id && before);
  EXPECT_GE(id->start_ticks, before->start_ticks);
}

TEST(ProcessesTest, ADescriptorTellsOfTheEnd) {
  Child child;
  const int fd = open_process(child.pid());
  if (fd < 0 && errno == ENOSYS) GTEST_SKIP() << "no pidfd_open here";
  ASSERT_GE(fd, 0);
  pollfd poll_fd{fd, POLLIN, 0};
  EXPECT_EQ(poll(&poll_fd, 1, 0), 0);
  kill(child.pid(), SIGKILL);
  EXPECT_EQ(poll(&poll_fd, 1, 20000), 1);
  close(fd);
}

TEST(ProcessesTest, TheBootIdentityHoldsTheNamespace) {
  const auto boot = boot_identity();
  ASSERT_TRUE(boot);
  EXPECT_EQ(*boot, *boot_identity());
  const std::uint64_t ipc = ipc_namespace_of("self");
  EXPECT_NE(ipc, 0u);
  EXPECT_TRUE(boot->ends_with("/" + std::to_string(ipc)));
  EXPECT_GT(boot->size(), 30u);
  EXPECT_EQ(ipc_namespace_of("0"), 0u);
}

}  // namespace
}  // namespace dipc::test
