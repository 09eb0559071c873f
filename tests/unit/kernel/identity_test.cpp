#include "daemon/kernel/identity.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <fstream>
#include <string>
#include <thread>

#include "tests/unit/kernel/kernel_fixture.h"

namespace dipc::test {
namespace {

// "real effective saved filesystem" of the calling thread, from the kernel itself.
std::string ids_of_this_thread(const std::string& label) {
  std::ifstream status("/proc/self/task/" + std::to_string(syscall(SYS_gettid)) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(label)) return line.substr(label.size());
  }
  return {};
}

class IdentityTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root";
  }
  void TearDown() override { restore_own_groups(); }
  const Identity own_ = thread_identity();
};

TEST_F(IdentityTest, OnlyTheEffectiveIdsOfTheThreadChangeAndTheUidComesBack) {
  const std::string groups_before = ids_of_this_thread("Groups:");
  const Identity as{kAlice.uid, kAlice.gid, {13001, 13002}};
  {
    const ScopedIdentity identity(own_, as);
    ASSERT_EQ(identity.error(), 0);
    EXPECT_EQ(ids_of_this_thread("Uid:"), "\t0\t12001\t0\t12001");
    EXPECT_EQ(ids_of_this_thread("Gid:"), "\t0\t12001\t0\t12001");
    EXPECT_EQ(thread_identity(), as);
  }
  EXPECT_EQ(ids_of_this_thread("Uid:"), "\t0\t0\t0\t0");
  EXPECT_EQ(ids_of_this_thread("Gid:"), "\t0\t12001\t0\t12001");
  restore_own_groups();
  EXPECT_EQ(ids_of_this_thread("Gid:"), "\t0\t0\t0\t0");
  EXPECT_EQ(ids_of_this_thread("Groups:"), groups_before);
  EXPECT_EQ(thread_identity(), own_);
}

TEST_F(IdentityTest, TheNextOneHasItsOwnGroupsWhateverTheLastOneHad) {
  const Identity first{kAlice.uid, kAlice.gid, {13001, 13002}};
  const Identity same_gid{kBob.uid, kAlice.gid, {13001}};
  for (const Identity& as : {first, same_gid, kBob, own_, first, first}) {
    const ScopedIdentity identity(own_, as);
    ASSERT_EQ(identity.error(), 0);
    EXPECT_EQ(thread_identity(), as);
  }
}

TEST_F(IdentityTest, AThreadThatInheritedGroupsTakesTheRightOnesAllTheSame) {
  { const ScopedIdentity identity(own_, {kAlice.uid, kAlice.gid, {13001}}); }
  Identity seen;
  std::thread other([&] {
    const ScopedIdentity identity(own_, kBob);
    seen = thread_identity();
  });
  other.join();
  EXPECT_EQ(seen, kBob);
}

TEST_F(IdentityTest, OtherThreadsKeepTheirs) {
  std::atomic<int> step = 0;
  std::string seen;
  std::thread other([&] {
    while (step == 0) std::this_thread::yield();
    seen = ids_of_this_thread("Uid:");
    step = 2;
  });
  {
    const ScopedIdentity identity(own_, kAlice);
    step = 1;
    while (step == 1) std::this_thread::yield();
  }
  other.join();
  EXPECT_EQ(seen, "\t0\t0\t0\t0");
}

TEST_F(IdentityTest, TheUserLosesRootsPowers) {
  const Queue queue(0600);
  {
    const ScopedIdentity identity(own_, kAlice);
    EXPECT_FALSE(queue.send(1, "x"));
    EXPECT_EQ(errno, EACCES);
  }
  EXPECT_TRUE(queue.send(1, "x"));
}

TEST_F(IdentityTest, ErrnoOfTheCallSurvivesTheWayBack) {
  errno = 0;
  {
    const ScopedIdentity identity(own_, kAlice);
    errno = ENOMSG;
  }
  EXPECT_EQ(errno, ENOMSG);
}

TEST_F(IdentityTest, ARefusalLeavesTheThreadAsItWas) {
  Identity as = kAlice;
  as.groups.assign(70000, 1);  // NGROUPS_MAX is 65536
  { const ScopedIdentity before(own_, kBob); }
  const ScopedIdentity identity(own_, as);
  EXPECT_EQ(identity.error(), EINVAL);
  EXPECT_EQ(thread_identity(), own_);
}

TEST_F(IdentityTest, OnlyRootMayActAsOthers) {
  EXPECT_TRUE(may_act_as(kRoot, kAlice));
  EXPECT_TRUE(may_act_as(kAlice, kAlice));
  EXPECT_FALSE(may_act_as(kAlice, kBob));
  EXPECT_FALSE(may_act_as(kAlice, kRoot));
  EXPECT_FALSE(may_act_as(kAlice, {kAlice.uid, kBob.gid, {}}));
}

TEST_F(IdentityTest, ALocalCallersGroupsAreReadFromItsProcess) {
  const ScopedIdentity identity(own_, {kAlice.uid, kAlice.gid, {13001, 13002}});
  // The status file of a process shows its main thread, which this is.
  EXPECT_EQ(local_identity(kAlice.uid, kAlice.gid, getpid()), (Identity{kAlice.uid, kAlice.gid, {13001, 13002}}));
  EXPECT_EQ(local_identity(5, 6, -1), (Identity{5, 6, {}}));
}

}  // namespace
}  // namespace dipc::test
