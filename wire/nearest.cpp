#include "wire/nearest.h"

#include <algorithm>
#include <vector>

namespace dipc {
namespace {

char small(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    before.swap(last);
    last.swap(row);
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const bool same = small(a[i - 1]) == small(b[j - 1]);
      row[j] = std::min({last[j - 1] + (same ? 0 : 1), last[j] + 1, row[j - 1] + 1});
      const bool swapped = i > 1 && j > 1 && small(a[i - 1]) == small(b[j - 2]) && small(a[i - 2]) == small(b[j - 1]);
      if (swapped) row[j] = std::min(row[j], before[j - 2] + 1);
    }
  }
  return row[b.size()];
}

}  // namespace

std::string nearest(std::string_view written, std::span<const std::string_view> candidates) {
  constexpr std::size_t kLengthMax = 64;  // longer than any candidate of ours: not worth the quadratic cost
  std::string_view best;
  std::size_t best_distance = 0;
  if (written.size() > kLengthMax) return {};
  for (const std::string_view candidate : candidates) {
    if (candidate.size() > kLengthMax) continue;
    const std::size_t letters = std::max(written.size(), candidate.size());
    const std::size_t allowed = std::max<std::size_t>(1, letters / 3);
    const std::size_t found = distance(written, candidate);
    if (found > allowed || found >= letters || (!best.empty() && found >= best_distance)) continue;
    best = candidate;
    best_distance = found;
  }
  return std::string(best);
}

}  // namespace dipc
