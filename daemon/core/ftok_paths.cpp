#include "daemon/core/ftok_paths.h"

#include <algorithm>

namespace dipc {
namespace {

constexpr std::uint32_t kPathBits = 0x00ffffff;

// FNV-1a (Fowler, Noll, Vo), folded to 24 bits as its authors say.
std::uint32_t path_part(std::string_view path) {
  std::uint32_t hash = 2166136261u;
  for (const char c : path) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619u;
  const std::uint32_t folded = (hash >> 24) ^ (hash & kPathBits);
  // With some id they would be IPC_PRIVATE, and -1, which is ftok's error.
  return folded == 0 ? 1 : folded == kPathBits ? kPathBits - 1 : folded;
}

}  // namespace

std::int32_t ftok_key(std::string_view path, std::int32_t id) {
  return static_cast<std::int32_t>(static_cast<std::uint32_t>(id) << 24 | path_part(path));
}

std::string path_objection(std::string_view path) {
  if (!path.starts_with('/')) return "is not an absolute path";
  if (path.find('\0') != std::string_view::npos) return "has a zero byte";
  if (path.size() > 1 && path.ends_with('/')) return "ends with a slash";
  const std::string around = std::string(path) + "/";
  for (const std::string_view part : {"//", "/./", "/../"}) {
    if (path.size() > 1 && around.find(part) != std::string::npos) {
      return "has a part that says nothing or leads back";
    }
  }
  return {};
}

std::optional<FtokTwin> ftok_twin(const std::vector<std::string>& listed) {
  for (std::size_t i = 1; i < listed.size(); ++i) {
    for (std::size_t before = 0; before < i; ++before) {
      if (path_part(listed[before]) == path_part(listed[i])) return FtokTwin{i, before};
    }
  }
  return std::nullopt;
}

std::optional<std::int32_t> listed_ftok_key(const std::vector<std::string>& listed, std::string_view path,
                                            std::int32_t id) {
  if (std::find(listed.begin(), listed.end(), path) == listed.end()) return std::nullopt;
  return ftok_key(path, id);
}

}  // namespace dipc
