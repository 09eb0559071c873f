#include "daemon/core/segment_access.h"

#include <gtest/gtest.h>
#include <sys/shm.h>

#include "daemon/kernel/identity.h"
#include "tests/unit/kernel/kernel_fixture.h"

namespace dipc::test {
namespace {

// A real segment of a user with a mode, in this kernel.
class Segment {
 public:
  Segment(const Identity& own, const Identity& creator, std::uint32_t mode) {
    const ScopedIdentity identity(own, creator);
    id_ = shmget(IPC_PRIVATE, 1, IPC_CREAT | static_cast<int>(mode));
    EXPECT_GE(id_, 0);
  }
  ~Segment() { shmctl(id_, IPC_RMID, nullptr); }
  Segment(const Segment&) = delete;
  Segment& operator=(const Segment&) = delete;
  int id() const { return id_; }

 private:
  int id_;
};

bool kernel_attaches(int id, int flags) {
  void* at = shmat(id, nullptr, flags);
  if (at == reinterpret_cast<void*>(-1)) {
    EXPECT_EQ(errno, EACCES);
    return false;
  }
  shmdt(at);
  return true;
}

TEST(SegmentAccess, IsWhatTheKernelWouldSay) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root, to be somebody else";
  const Identity own = thread_identity();
  const Identity creator{1001, 2001, {}};
  const Identity owner{1002, 2002, {}};
  const std::vector<Identity> users = {own,
                                       creator,
                                       owner,
                                       {1003, 2001, {}},             // in the creator's group
                                       {1003, 2003, {2002}},         // in the owner's, as one of several
                                       {1003, 2003, {2003, 2004}}};  // in none
  for (std::uint32_t mode = 0; mode <= 0777; ++mode) {
    const Segment segment(own, creator, mode);
    shmid_ds record{};
    record.shm_perm.uid = owner.uid;
    record.shm_perm.gid = owner.gid;
    record.shm_perm.mode = static_cast<unsigned short>(mode);
    ASSERT_EQ(shmctl(segment.id(), IPC_SET, &record), 0);
    const SegmentPermissions permissions{owner.uid, owner.gid, creator.uid, creator.gid, mode};
    for (const Identity& user : users) {
      const SegmentUser who{user.uid, user.gid, {user.groups.begin(), user.groups.end()}};
      const ScopedIdentity identity(own, user);
      ASSERT_EQ(identity.error(), 0);
      EXPECT_EQ(may_use(permissions, who, kReadBits), kernel_attaches(segment.id(), SHM_RDONLY))
          << std::oct << mode << std::dec << " uid " << user.uid << " gid " << user.gid;
      EXPECT_EQ(may_use(permissions, who, kReadBits | kWriteBits), kernel_attaches(segment.id(), 0))
          << std::oct << mode << std::dec << " uid " << user.uid << " gid " << user.gid;
      shmid_ds same = record;
      EXPECT_EQ(may_control(permissions, who), shmctl(segment.id(), IPC_SET, &same) == 0) << "uid " << user.uid;
    }
  }
}

}  // namespace
}  // namespace dipc::test
