#pragma once

// What an owner knows of one segment, in memory of its own that outlives the daemon: the segment's facts, the hosts
// that take part and who has each page. Its guard shares the descriptor (daemon/pager/memory_guard.h) and hands it to
// the next daemon with the segment's memory, and that one goes on from it (page_records.h).
//
// The writer may be killed between any two stores, and the reader comes after it, on the same machine. So nothing is
// changed in place: facts, members and pages are there twice, with one byte that says which of the two is so and is
// written last; that is enough also where 64 bits are not stored at once. What was never written down is zeros, and
// takes no memory.
//
// Each write_...() is whole or not at all, write_members() for each host. Their order is the caller's matter.
// write_page() allocates nothing and makes no system call.

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "daemon/core/page_records.h"
#include "daemon/segment_hosts.h"
#include "wire/descriptor.h"
#include "wire/result.h"

namespace dipc {

// See IPC_STAT; OwnedSegments has these. Whether it was removed is known from its name.
struct SegmentFacts {
  std::int32_t key = 0;
  std::uint32_t uid = 0, gid = 0, cuid = 0, cgid = 0, mode = 0;
  bool locked = false;
  std::string creator_host;
  std::int32_t creator_pid = 0, last_pid = 0;
  std::int64_t attach_time_s = 0, detach_time_s = 0, change_time_s = 0;
  std::uint64_t unconverted = 0;
  bool operator==(const SegmentFacts&) const = default;
};

class DirectoryRecord {
 public:
  static constexpr std::size_t kMembersMax = 64;
  static constexpr std::size_t kHostNameMax = 255;  // bytes

  DirectoryRecord() = default;
  DirectoryRecord(DirectoryRecord&& other) noexcept { *this = std::move(other); }
  DirectoryRecord& operator=(DirectoryRecord&& other) noexcept;
  ~DirectoryRecord();

  // Of a segment that nobody takes part in, epoch 1. It is nothing to go by before its facts are written. Trouble: no
  // memory or descriptors.
  static Result<DirectoryRecord> make(std::uint32_t page_count);
  // One that an earlier daemon has made; it is this one's now, with an epoch of its own. Trouble: it is none, of
  // another version, or not all is in it.
  static Result<DirectoryRecord> open(Descriptor fd);

  bool exists() const { return header_ != nullptr; }
  int fd() const { return fd_.get(); }
  std::uint32_t page_count() const;
  std::uint64_t epoch() const;
  // There were more hosts than kMembersMax at once, or a name longer than kHostNameMax: nothing is written any more,
  // and the next daemon can't go on with the segment.
  bool doubtful() const;

  void write(const SegmentFacts& facts);
  SegmentFacts facts() const;
  // All that take part, now. Hosts that do not any more are forgotten: pages that spoke of them have been written
  // before.
  void write_members(const std::map<HostId, MemberRecord>& members, const SegmentHosts& hosts);
  // DIPC_CHECK: the hosts in it are members that were written.
  void write_page(PageIndex page, const PageRecord& record);
  // After open(), before any write_members() or write_page(): what is so, but for `removed`; `hosts` knows its hosts
  // from then on. Of pages those that were ever written down.
  DirectoryRecords read(SegmentHosts& hosts);

 private:
  struct Header;
  struct Page;
  static constexpr std::uint8_t kNoSlot = 0xff;

  static std::uint64_t bytes_for(std::uint32_t page_count);
  Page* pages() const;
  std::uint8_t slot_of(HostId host) const;
  void set_slot(HostId host, std::uint8_t slot);
  PageRecord record_of(const Page& page) const;
  void read_pages(std::uint32_t first, std::uint32_t end, std::map<PageIndex, PageRecord>& into) const;

  Descriptor fd_;
  Header* header_ = nullptr;
  std::size_t bytes_ = 0;
  std::array<HostId, kMembersMax> hosts_{};  // by slot; kStranger: nobody's, or it has not been read whose
  std::vector<std::uint8_t> slots_;          // by host
};

}  // namespace dipc
