#pragma once

// As whom the calling thread makes system calls. The kernel keeps credentials per thread; libc's wrappers change them
// in all threads of the process, so the raw system calls are used (credentials(7), setresuid(2) "C library/kernel
// differences"). Only the effective ids change: with the real or saved ids the user could signal or trace the daemon.
// Leaving euid 0 is also what drops CAP_IPC_OWNER, so that the kernel judges the permissions of the object.

#include <sys/types.h>

#include <vector>

#include "wire/result.h"

namespace dipc {

struct Identity {
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups;  // supplementary
  bool operator==(const Identity&) const = default;
};

// The calling thread's effective ids and supplementary groups.
Identity thread_identity();

// A daemon that is root may act as anybody, another one only as itself.
bool may_act_as(const Identity& own, const Identity& as);

// A local caller: `uid` and `gid` as its socket credentials say, the supplementary groups from /proc/PID/status. When
// that file can't be read the groups are empty, which never gives more rights.
Identity local_identity(uid_t uid, gid_t gid, pid_t pid);

// While it lives the calling thread acts as `as`; then it has the uid of `own` again, on every path (aborts if the
// kernel refuses that). Gid and supplementary groups stay as they are until they have to be others: root has no more
// and no less rights with them, and they are two thirds of the cost of a switch. Nothing is done where this process is
// not root: it can only be `as` already. `own` is borrowed.
class ScopedIdentity {
 public:
  ScopedIdentity(const Identity& own, const Identity& as);
  ScopedIdentity(Identity&& own, const Identity& as) = delete;  // it is borrowed
  ~ScopedIdentity();
  ScopedIdentity(const ScopedIdentity&) = delete;
  ScopedIdentity& operator=(const ScopedIdentity&) = delete;
  // 0, or the errno with which the kernel refused (EPERM, EINVAL: an id that the user namespace lacks, ENOMEM); then
  // the thread still has the uid of `own` and the call must not be made.
  int error() const { return error_; }

 private:
  const Identity& own_;
  bool changed_ = false;
  int error_ = 0;
};

// Gives the calling thread the gid and groups back that it had before its first ScopedIdentity: for whoever makes files
// or threads.
void restore_own_groups();

}  // namespace dipc
