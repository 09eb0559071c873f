#include "daemon/core/id_passage.h"

#include <limits>

#include "daemon/core/logins_map.h"

namespace dipc {
namespace {

constexpr std::int64_t kPids = std::int64_t{1} << kPidBits;
constexpr std::int64_t kComposedMax = std::numeric_limits<std::int32_t>::max();

}  // namespace

IdRewriter::Answer pid_leaving(std::int64_t pid, std::uint16_t own) {
  if (pid <= 0) return {Error::kNone, pid};
  if (pid > kComposedMax) return {Error::kInvalid, 0};
  if (pid >= kPids) return {Error::kNone, pid};  // of another host: it has its number
  if (own == 0) return {Error::kHostUnreachable, 0};
  return {Error::kNone, std::int64_t{own} * kPids + pid};
}

IdRewriter::Answer pid_entering(std::int64_t pid, std::uint16_t own) {
  if (pid <= 0) return {Error::kNone, pid};
  // Without a host's number it would be taken for one of this host.
  if (pid > kComposedMax || pid < kPids) return {Error::kInvalid, 0};
  if (pid / kPids == own) return {Error::kNone, pid % kPids};
  return {Error::kNone, pid};
}

IdRewriter::Answer IdsLeaving::rewrite(Meaning meaning, std::int64_t value) {
  if (meaning == Meaning::kPid) return pid_leaving(value, own_);
  if (const auto known = known_.find({meaning, value}); known != known_.end()) return {Error::kNone, known->second};
  // A signed field holds what C converts: -1 is the largest uid_t. More than that is not anybody's.
  if (value < std::numeric_limits<std::int32_t>::min() || value > std::numeric_limits<std::uint32_t>::max()) {
    return {Error::kOverflow, 0};
  }
  std::string name = name_of_(meaning, static_cast<std::uint32_t>(value));
  if (name.empty()) return {Error::kInvalid, 0};
  const auto number = static_cast<std::int64_t>(logins_.size());
  logins_.push_back(std::move(name));
  known_.emplace(std::pair(meaning, value), number);
  return {Error::kNone, number};
}

IdRewriter::Answer IdsEntering::rewrite(Meaning meaning, std::int64_t value) {
  if (meaning == Meaning::kPid) return pid_entering(value, own_);
  if (const auto known = known_.find({meaning, value}); known != known_.end()) return {Error::kNone, known->second};
  if (value < 0 || static_cast<std::uint64_t>(value) >= logins_.size()) return {Error::kInvalid, 0};
  const std::string& name = logins_[static_cast<std::size_t>(value)];
  if (name.size() > kLoginBytesMax) {
    unknown_ = "a name of " + std::to_string(name.size()) + " bytes";
    return {Error::kInvalid, 0};
  }
  const auto id = id_of_(meaning, name);
  if (!id) {
    unknown_ = name;
    return {Error::kInvalid, 0};
  }
  known_.emplace(std::pair(meaning, value), *id);
  return {Error::kNone, *id};
}

}  // namespace dipc
