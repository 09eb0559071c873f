#include "daemon/kernel/stand_ins.h"

#include <sys/shm.h>
#include <sys/wait.h>

#include <fstream>

#include "daemon/kernel/segment_stand_ins.h"
#include "tests/unit/kernel/kernel_fixture.h"

namespace dipc::test {
namespace {

constexpr ObjectName kQueueName{Kind::kMessageQueue, 0x1d1bc02};
constexpr ObjectName kSetName{Kind::kSemaphoreSet, 0x1d1bc02};
constexpr ObjectName kSegmentName{Kind::kSegment, 0x1d1bc02};

class StandInsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root";
  }
  void TearDown() override {
    for (const ObjectName& name : {kQueueName, kSetName, kSegmentName}) {
      if (const auto id = find_object(name)) remove_stand_in(name, *id);
    }
  }
};

TEST_F(StandInsTest, NobodyCanUseAQueuesStandIn) {
  const auto id = make_stand_in(kQueueName, 0);
  ASSERT_TRUE(id);
  EXPECT_TRUE(stand_in_exists(kQueueName, *id));
  EXPECT_EQ(find_object(kQueueName), *id);
  struct {
    long type = 1;
    char text[1] = {};
  } message;
  EXPECT_EQ(msgsnd(*id, &message, 0, IPC_NOWAIT), -1);
  EXPECT_EQ(errno, EAGAIN) << "root passes mode 0, and must not lose a message";
  {
    const ScopedIdentity identity(kRoot, kAlice);
    EXPECT_EQ(msgsnd(*id, &message, 1, IPC_NOWAIT), -1);
    EXPECT_EQ(errno, EACCES);
    EXPECT_EQ(msgget(kQueueName.key, 0600), -1);
    EXPECT_EQ(errno, EACCES);
  }
  EXPECT_TRUE(remove_stand_in(kQueueName, *id));
  EXPECT_FALSE(stand_in_exists(kQueueName, *id));
  EXPECT_EQ(find_object(kQueueName).error(), Error::kNoEntry);
}

TEST_F(StandInsTest, ASegmentsStandInIsForNobodyAndItsIdIsTakenUntilItsPinGoes) {
  const auto id = make_stand_in(kSegmentName, 0);
  ASSERT_TRUE(id);
  EXPECT_TRUE(stand_in_exists(kSegmentName, *id));
  {
    const ScopedIdentity identity(kRoot, kAlice);
    EXPECT_EQ(shmat(*id, nullptr, SHM_RDONLY), reinterpret_cast<void*>(-1));
    EXPECT_EQ(errno, EACCES);
  }
  shmid_ds record{};
  {
    const auto pin = SegmentPin::take(*id);
    ASSERT_TRUE(pin);
    EXPECT_TRUE(remove_stand_in(kSegmentName, *id));
    EXPECT_FALSE(stand_in_exists(kSegmentName, *id));
    EXPECT_EQ(find_object(kSegmentName).error(), Error::kNoEntry) << "the key is free";
    EXPECT_EQ(shmctl(*id, IPC_STAT, &record), 0) << "and the id is nobody else's";
    EXPECT_EQ(SegmentPin::take(*id + 1).error(), Error::kInvalid);
  }
  EXPECT_EQ(shmctl(*id, IPC_STAT, &record), -1);
}

TEST_F(StandInsTest, ASetsStandInHasTheRealNumberOfSemaphores) {
  const auto id = make_stand_in(kSetName, 4);
  ASSERT_TRUE(id);
  EXPECT_EQ(semget(kSetName.key, 4, 0), *id);
  EXPECT_EQ(semget(kSetName.key, 5, 0), -1);
  EXPECT_EQ(errno, EINVAL);
  const ScopedIdentity identity(kRoot, kAlice);
  EXPECT_EQ(semctl(*id, 0, GETVAL), -1);
  EXPECT_EQ(errno, EACCES);
}

TEST_F(StandInsTest, AKeyThatIsTakenIsLeftAlone) {
  const int mine = msgget(kQueueName.key, IPC_CREAT | 0600);
  ASSERT_GE(mine, 0);
  EXPECT_EQ(make_stand_in(kQueueName, 0).error(), Error::kExists);
  EXPECT_FALSE(stand_in_exists(kQueueName, mine)) << "not a stand-in";
  EXPECT_TRUE(remove_stand_in(kQueueName, mine));
  EXPECT_EQ(find_object(kQueueName), mine) << "so it isn't removed";
  msgctl(mine, IPC_RMID, nullptr);
}

TEST_F(StandInsTest, ARemovedStandInIsNoticedEvenIfTheKeyIsUsedAgain) {
  const auto id = make_stand_in(kQueueName, 0);
  ASSERT_TRUE(id);
  msgctl(*id, IPC_RMID, nullptr);
  EXPECT_FALSE(stand_in_exists(kQueueName, *id));
  const int other = msgget(kQueueName.key, IPC_CREAT | 0600);
  EXPECT_FALSE(stand_in_exists(kQueueName, *id));
  EXPECT_FALSE(stand_in_exists(kQueueName, other));
  msgctl(other, IPC_RMID, nullptr);
  const auto again = make_stand_in(kQueueName, 0);
  ASSERT_TRUE(again);
  EXPECT_TRUE(stand_in_exists(kQueueName, *again));
}

TEST_F(StandInsTest, PrivateOnesAreEachNew) {
  const ObjectName name{Kind::kMessageQueue, IPC_PRIVATE};
  const auto a = make_stand_in(name, 0);
  const auto b = make_stand_in(name, 0);
  ASSERT_TRUE(a && b);
  EXPECT_NE(*a, *b);
  EXPECT_TRUE(remove_stand_in(name, *a));
  EXPECT_FALSE(stand_in_exists(name, *a));
  EXPECT_TRUE(stand_in_exists(name, *b));
  EXPECT_TRUE(remove_stand_in(name, *b));
}

TEST_F(StandInsTest, NoRoomIsSaidAsSuch) {
  if (!kOwnNamespace) GTEST_SKIP() << "would change the limits of the whole machine";
  const std::string before = limits_of(Kind::kMessageQueue);
  std::ofstream("/proc/sys/kernel/msgmni") << 0 << std::flush;
  EXPECT_EQ(make_stand_in(kQueueName, 0).error(), Error::kNoSpace);
  EXPECT_EQ(limits_of(Kind::kMessageQueue), "kernel.msgmni = 0");
  std::ofstream("/proc/sys/kernel/msgmni") << before.substr(before.rfind(' ') + 1) << std::flush;
  EXPECT_TRUE(make_stand_in(kQueueName, 0));
  EXPECT_EQ(make_stand_in(kSetName, 1 << 30).error(), Error::kInvalid);
}

TEST_F(StandInsTest, ADaemonWithoutRootTellsItsOwnFromNothing) {
  const pid_t child = fork();
  if (child == 0) {
    if (setresgid(kAlice.gid, kAlice.gid, kAlice.gid) != 0 || setresuid(kAlice.uid, kAlice.uid, kAlice.uid) != 0) {
      _exit(1);
    }
    const auto queue = make_stand_in(kQueueName, 0);
    const auto set = make_stand_in(kSetName, 2);
    if (!queue || !set) _exit(2);
    if (!stand_in_exists(kQueueName, *queue) || !stand_in_exists(kSetName, *set)) _exit(3);
    if (!remove_stand_in(kQueueName, *queue) || !remove_stand_in(kSetName, *set)) _exit(4);
    if (stand_in_exists(kQueueName, *queue) || find_object(kSetName)) _exit(5);
    _exit(0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace dipc::test
