#include "daemon/kernel/identity.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>

#include "wire/check.h"

namespace dipc {
namespace {

// Old 32-bit machines have two generations of these calls; the first knows 16-bit ids only.
#ifdef SYS_setresuid32
constexpr long kSetResUid = SYS_setresuid32;
constexpr long kSetResGid = SYS_setresgid32;
constexpr long kSetGroups = SYS_setgroups32;
#else
constexpr long kSetResUid = SYS_setresuid;
constexpr long kSetResGid = SYS_setresgid;
constexpr long kSetGroups = SYS_setgroups;
#endif

constexpr long kUnchanged = -1;

int set_effective_uid(uid_t uid) { return static_cast<int>(syscall(kSetResUid, kUnchanged, uid, kUnchanged)); }
int set_effective_gid(gid_t gid) { return static_cast<int>(syscall(kSetResGid, kUnchanged, gid, kUnchanged)); }
int set_groups(const std::vector<gid_t>& groups) {
  return static_cast<int>(syscall(kSetGroups, groups.size(), groups.data()));
}

// What this thread has now, where ScopedIdentity has set it; and what it had before.
struct Groups {
  gid_t gid = 0;
  std::vector<gid_t> groups;
};
thread_local std::optional<Groups> set_here;
thread_local std::optional<Groups> own_here;

// 0 or errno; then the thread has something of both.
int take_groups(gid_t gid, const std::vector<gid_t>& groups) {
  if (set_here && set_here->gid == gid && set_here->groups == groups) return 0;
  set_here.reset();
  if (set_groups(groups) != 0 || set_effective_gid(gid) != 0) return errno;
  set_here = Groups{gid, groups};
  return 0;
}

}  // namespace

Identity thread_identity() {
  Identity identity{geteuid(), getegid(), {}};
  const int count = getgroups(0, nullptr);
  if (count > 0) {
    identity.groups.resize(static_cast<std::size_t>(count));
    const int filled = getgroups(count, identity.groups.data());
    identity.groups.resize(filled > 0 ? static_cast<std::size_t>(filled) : 0);
  }
  return identity;
}

bool may_act_as(const Identity& own, const Identity& as) {
  return own.uid == 0 || (as.uid == own.uid && as.gid == own.gid);
}

Identity local_identity(uid_t uid, gid_t gid, pid_t pid) {
  Identity identity{uid, gid, {}};
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(status, line);) {
    constexpr std::string_view kLabel = "Groups:";
    if (line.compare(0, kLabel.size(), kLabel) != 0) continue;
    std::istringstream numbers(line.substr(kLabel.size()));
    for (gid_t group = 0; numbers >> group;) identity.groups.push_back(group);
    break;
  }
  return identity;
}

ScopedIdentity::ScopedIdentity(const Identity& own, const Identity& as) : own_(own) {
  DIPC_CHECK(may_act_as(own, as));
  if (own.uid != 0) return;
  if (!own_here) own_here = Groups{own.gid, own.groups};
  // The uid last: only euid 0 may change the others.
  error_ = take_groups(as.gid, as.groups);
  if (error_ == 0 && as.uid != own.uid) {
    changed_ = set_effective_uid(as.uid) == 0;
    if (!changed_) error_ = errno;
  }
  if (error_ != 0) restore_own_groups();
}

ScopedIdentity::~ScopedIdentity() {
  if (!changed_) return;
  const int saved = errno;
  DIPC_CHECK(set_effective_uid(own_.uid) == 0);
  errno = saved;
}

void restore_own_groups() {
  if (own_here) DIPC_CHECK(take_groups(own_here->gid, own_here->groups) == 0);
}

}  // namespace dipc
