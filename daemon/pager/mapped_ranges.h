#pragma once

// Where one program has which bytes of a segment: one range as shmat made it, then what munmap and mremap left of it.

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace dipc {

struct MappedRange {
  std::uint64_t address = 0;
  std::uint64_t offset = 0;  // into the segment, of what is mapped there
  std::uint64_t length = 0;
};

class MappedRanges {
 public:
  MappedRanges(std::uint64_t address, std::uint64_t length) : ranges_{{address, 0, length}} {}
  explicit MappedRanges(std::vector<MappedRange> ranges) : ranges_(std::move(ranges)) {}

  // What of the segment's bytes [offset, offset + length) is mapped.
  std::vector<MappedRange> of(std::uint64_t offset, std::uint64_t length) const;
  // Which byte of the segment is mapped there.
  std::optional<std::uint64_t> offset_of(std::uint64_t address) const;
  const std::vector<MappedRange>& all() const { return ranges_; }
  bool empty() const { return ranges_.empty(); }

  void unmap(std::uint64_t begin, std::uint64_t end);
  void move(std::uint64_t from, std::uint64_t to, std::uint64_t length);

 private:
  std::vector<MappedRange> cut(std::uint64_t begin, std::uint64_t end);
  std::vector<MappedRange> ranges_;
};

}  // namespace dipc
