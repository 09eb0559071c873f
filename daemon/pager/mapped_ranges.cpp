#include "daemon/pager/mapped_ranges.h"

#include <algorithm>

namespace dipc {

std::vector<MappedRange> MappedRanges::of(std::uint64_t offset, std::uint64_t length) const {
  std::vector<MappedRange> found;
  for (const MappedRange& range : ranges_) {
    const std::uint64_t begin = std::max(range.offset, offset);
    const std::uint64_t end = std::min(range.offset + range.length, offset + length);
    if (begin < end) found.push_back({range.address + (begin - range.offset), begin, end - begin});
  }
  return found;
}

std::optional<std::uint64_t> MappedRanges::offset_of(std::uint64_t address) const {
  for (const MappedRange& range : ranges_) {
    if (address >= range.address && address - range.address < range.length) {
      return range.offset + (address - range.address);
    }
  }
  return std::nullopt;
}

void MappedRanges::unmap(std::uint64_t begin, std::uint64_t end) { cut(begin, end); }

void MappedRanges::move(std::uint64_t from, std::uint64_t to, std::uint64_t length) {
  const std::vector<MappedRange> moved = cut(from, from + length);
  for (MappedRange range : moved) {
    range.address = to + (range.address - from);
    ranges_.push_back(range);
  }
}

// Takes [begin, end) of the addresses out; what was mapped there.
std::vector<MappedRange> MappedRanges::cut(std::uint64_t begin, std::uint64_t end) {
  std::vector<MappedRange> left;
  std::vector<MappedRange> out;
  for (const MappedRange& range : ranges_) {
    const std::uint64_t range_end = range.address + range.length;
    const std::uint64_t first = std::clamp(begin, range.address, range_end);
    const std::uint64_t last = std::clamp(end, first, range_end);
    if (first > range.address) left.push_back({range.address, range.offset, first - range.address});
    if (last > first) out.push_back({first, range.offset + (first - range.address), last - first});
    if (range_end > last && last > first)
      left.push_back({last, range.offset + (last - range.address), range_end - last});
    if (last == first && first == range.address) left.push_back(range);
  }
  ranges_ = left;
  return out;
}

}  // namespace dipc
