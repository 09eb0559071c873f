#pragma once

// What is so of one segment's memory in this host's programs, in memory of its own that outlives the daemon: its guard
// (memory_guard.h) and the next daemon go on from it. The pager's thread writes, before what it does can be seen by
// anybody else; after a daemon the guard does. Nothing here allocates but make() and open().
//
// A state is written before programs or other hosts can see what follows from it, with one exception each way: what a
// page is while it is filled (kFills...) and what it was while it is taken (its last state, and then it is a hole).
// Descriptors are numbers in the table that a daemon and its guard share.

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "daemon/core/time.h"
#include "daemon/pager/mapped_ranges.h"
#include "wire/descriptor.h"
#include "wire/result.h"

namespace dipc {

inline constexpr const char* kMemoryRecordName = "dipc record";
// What its owner knows of a segment (daemon/directory_record.h).
inline constexpr const char* kDirectoryName = "dipc directory";

class MemoryRecord {
 public:
  enum class Page : std::uint8_t { kHole, kShared, kExclusive, kLost, kFillsForReading, kFillsForWriting };
  static constexpr std::uint32_t kNoSlot = 0xffffffff;
  static constexpr std::uint32_t kSlotsMax = 4096;
  static constexpr std::uint32_t kRangesMax = 8;
  static constexpr std::size_t kLabelMax = 65'536;
  static constexpr std::uint32_t kVersion = 2;
  struct Attachment {
    std::uint32_t used = 0;
    std::uint32_t writable = 0;
    std::int32_t userfaultfd = -1;
    std::int32_t pid = 0;
    std::uint32_t uid = 0;
    std::uint32_t range_count = 0;
    std::uint64_t ticket = 0;  // a forked child's is its parent's
    MappedRange ranges[kRangesMax];
  };
  struct Header {
    std::uint32_t version = kVersion;
    std::int32_t daemon = 0;  // whose descriptors these are
    std::uint32_t keep = 0;   // for the next daemon; else to be taken from the programs
    // More than can be written down here, or it is not known what is so: not to be kept.
    std::uint32_t doubtful = 0;
    std::uint32_t reads = 0;  // what programs have done is read just now, and may not be written down yet
    // CLOCK_MONOTONIC, ns: until then others may count with what a daemon has left that was killed. 0: one lives that
    // they count with.
    std::int64_t lapses_ns = 0;
    std::int32_t memory = -1;
    std::int32_t for_reading = -1;
    std::int32_t directory = -1;  // of a segment of this host's; with a label it is kept with it or not at all
    std::uint64_t memory_bytes = 0;
    std::uint64_t unit_bytes = 0;
    std::uint32_t page_count = 0;
    std::uint32_t slots_end = 0;  // none is used from here on
    char label[kLabelMax];        // Pager::Options. Ends with a 0; what is behind it takes no memory
  };

  MemoryRecord() = default;
  MemoryRecord(MemoryRecord&& other) noexcept { *this = std::move(other); }
  MemoryRecord& operator=(MemoryRecord&& other) noexcept;
  ~MemoryRecord();

  // Of a memory of `memory_bytes` in units, all holes. Trouble: no memory or descriptors, or the label is too long.
  static Result<MemoryRecord> make(std::string_view label, std::uint64_t memory_bytes, std::uint64_t unit_bytes);
  // One that a daemon has made. Trouble: it is none, or of another version.
  static Result<MemoryRecord> open(Descriptor fd);
  // For the guard: the header of the record with that descriptor, or null. Stays mapped.
  static Header* map(int fd);
  static Attachment* slots(Header* header);

  bool exists() const { return header_ != nullptr; }
  Header& header() { return *header_; }
  const Header& header() const { return *header_; }
  std::string_view label() const { return header_->label; }
  std::span<Attachment> attachments() { return {slots(header_), header_->slots_end}; }

  Page page(std::uint32_t index) const;
  void set_page(std::uint32_t index, Page page);
  // kNoSlot: there is no room, and all is doubtful from now on.
  std::uint32_t add(const Attachment& attachment, const MappedRanges& ranges);
  static std::uint32_t add(Header& header, const Attachment& attachment);  // for the guard
  void set_ranges(std::uint32_t slot, const MappedRanges& ranges);
  void remove(std::uint32_t slot);
  void reads(bool does);
  TimePoint lapses() const;
  void set_lapses(TimePoint lapses);  // {}: not soon

 private:
  static std::size_t bytes_for(std::uint32_t page_count);
  std::uint8_t* pages() const;

  Descriptor fd_;
  Header* header_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace dipc
