#pragma once

// Who may do what with a segment. Of queues and semaphore sets the owner's kernel judges; of segments it has only the
// stand-in, so its rules stand here. Source: ipcperms(), ipcctl_obtain_check() and ipc_update_perm() in the kernel's
// ipc/util.c, do_shmat() in ipc/shm.c.

#include <cstdint>
#include <vector>

namespace dipc {

// struct ipc_perm, the part that is about permissions. `mode` has nine bits.
struct SegmentPermissions {
  std::uint32_t uid = 0, gid = 0;
  std::uint32_t cuid = 0, cgid = 0;
  std::uint32_t mode = 0;
};

struct SegmentUser {
  std::uint32_t uid = 0, gid = 0;
  std::vector<std::uint32_t> groups;  // supplementary
};

inline constexpr std::uint32_t kReadBits = 0444;
inline constexpr std::uint32_t kWriteBits = 0222;
inline constexpr std::uint32_t kExecuteBits = 0111;

// `wanted`: mode bits, in whichever of the three places; the flags of shmget as they are. EACCES otherwise. Root may
// all.
bool may_use(const SegmentPermissions& permissions, const SegmentUser& user, std::uint32_t wanted);
// IPC_SET and IPC_RMID, SHM_LOCK and SHM_UNLOCK: the owner, the creator, root. EPERM otherwise.
bool may_control(const SegmentPermissions& permissions, const SegmentUser& user);

}  // namespace dipc
