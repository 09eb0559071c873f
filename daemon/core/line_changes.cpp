#include "daemon/core/line_changes.h"

#include <map>

namespace dipc {
namespace {

std::map<std::string_view, std::size_t> counted(const std::vector<std::string>& lines) {
  std::map<std::string_view, std::size_t> counts;
  for (const std::string& line : lines) ++counts[line];
  return counts;
}

// Those of `lines` that `others` has too go to `common`, the rest to `alone`.
void split(const std::vector<std::string>& lines, const std::vector<std::string>& others,
           std::vector<std::string_view>& common, std::vector<std::string_view>& alone) {
  auto left = counted(others);
  for (const std::string& line : lines) {
    const auto found = left.find(line);
    if (found != left.end() && found->second > 0) {
      --found->second;
      common.push_back(line);
    } else {
      alone.push_back(line);
    }
  }
}

}  // namespace

std::vector<std::string> line_changes(std::string_view what, const std::vector<std::string>& before,
                                      const std::vector<std::string>& after) {
  std::vector<std::string_view> stayed_before, stayed_after, removed, added;
  split(before, after, stayed_before, removed);
  split(after, before, stayed_after, added);
  const std::string begin = std::string(what) + ": ";
  std::vector<std::string> changes;
  changes.reserve(removed.size() + added.size() + 1);
  for (const std::string_view line : removed) changes.push_back(begin + "removed " + std::string(line));
  for (const std::string_view line : added) changes.push_back(begin + "added " + std::string(line));
  if (stayed_before != stayed_after) changes.push_back(begin + "its lines stand in another order");
  return changes;
}

}  // namespace dipc
