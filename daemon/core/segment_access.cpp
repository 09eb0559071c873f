#include "daemon/core/segment_access.h"

#include <algorithm>

namespace dipc {

bool may_use(const SegmentPermissions& permissions, const SegmentUser& user, std::uint32_t wanted) {
  if (user.uid == 0) return true;
  const auto in_group = [&](std::uint32_t group) {
    return user.gid == group || std::find(user.groups.begin(), user.groups.end(), group) != user.groups.end();
  };
  std::uint32_t granted = permissions.mode;
  if (user.uid == permissions.cuid || user.uid == permissions.uid) {
    granted >>= 6U;
  } else if (in_group(permissions.cgid) || in_group(permissions.gid)) {
    granted >>= 3U;
  }
  const std::uint32_t asked = (wanted >> 6U | wanted >> 3U | wanted) & 07;
  return (asked & ~granted & 07) == 0;
}

bool may_control(const SegmentPermissions& permissions, const SegmentUser& user) {
  return user.uid == 0 || user.uid == permissions.uid || user.uid == permissions.cuid;
}

}  // namespace dipc
