#include "daemon/pager/memory_record.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <new>
#include <utility>

#include "daemon/pager/own_mapping.h"

namespace dipc {
namespace {

bool write_ranges(MemoryRecord::Attachment& to, std::span<const MappedRange> ranges) {
  if (ranges.size() > MemoryRecord::kRangesMax) return false;
  for (std::size_t i = 0; i < ranges.size(); ++i) to.ranges[i] = ranges[i];
  to.range_count = static_cast<std::uint32_t>(ranges.size());
  return true;
}

// Another process reads what was written until the writer is killed: the order matters, to the compiler alone.
void written() { std::atomic_thread_fence(std::memory_order_seq_cst); }

}  // namespace

MemoryRecord& MemoryRecord::operator=(MemoryRecord&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(header_, other.header_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

MemoryRecord::~MemoryRecord() {
  if (header_ != nullptr) munmap(header_, bytes_);
}

std::size_t MemoryRecord::bytes_for(std::uint32_t page_count) {
  return sizeof(Header) + kSlotsMax * sizeof(Attachment) + page_count;
}

MemoryRecord::Attachment* MemoryRecord::slots(Header* header) { return reinterpret_cast<Attachment*>(header + 1); }

std::uint8_t* MemoryRecord::pages() const { return reinterpret_cast<std::uint8_t*>(slots(header_) + kSlotsMax); }

Result<MemoryRecord> MemoryRecord::make(std::string_view label, std::uint64_t memory_bytes, std::uint64_t unit_bytes) {
  const std::string name(label);
  if (label.size() >= kLabelMax) return trouble(name + ": too long a name to be written down");
  const auto page_count = static_cast<std::uint32_t>(memory_bytes / unit_bytes);
  MemoryRecord made;
  made.fd_ = Descriptor(memfd_create(kMemoryRecordName, MFD_CLOEXEC));
  const std::size_t bytes = bytes_for(page_count);
  if (!made.fd_ || fchmod(made.fd_.get(), 0600) != 0 || ftruncate(made.fd_.get(), static_cast<off_t>(bytes)) != 0) {
    return trouble(name + ": no memory for what outlives the daemon: " + std::strerror(errno));
  }
  void* at = map_for_ourselves(made.fd_.get(), bytes);
  if (at == MAP_FAILED) return trouble(name + ": mmap: " + std::strerror(errno));
  made.bytes_ = bytes;
  made.header_ = new (at) Header;
  made.header_->daemon = getpid();
  made.header_->keep = label.empty() ? 0 : 1;
  made.header_->memory_bytes = memory_bytes;
  made.header_->unit_bytes = unit_bytes;
  made.header_->page_count = page_count;
  std::memcpy(made.header_->label, name.c_str(), name.size() + 1);
  return made;
}

MemoryRecord::Header* MemoryRecord::map(int fd) {
  struct stat status {};
  if (fstat(fd, &status) != 0 || status.st_size < static_cast<off_t>(bytes_for(0))) return nullptr;
  const auto bytes = static_cast<std::size_t>(status.st_size);
  void* at = map_for_ourselves(fd, bytes);
  if (at == MAP_FAILED) return nullptr;
  auto* header = static_cast<Header*>(at);
  if (header->version == kVersion && bytes == bytes_for(header->page_count) && header->slots_end <= kSlotsMax) {
    return header;
  }
  munmap(at, bytes);
  return nullptr;
}

Result<MemoryRecord> MemoryRecord::open(Descriptor fd) {
  MemoryRecord opened;
  opened.header_ = map(fd.get());
  if (opened.header_ == nullptr) return trouble("what an earlier daemon has left of a segment is of another version");
  opened.fd_ = std::move(fd);
  opened.bytes_ = bytes_for(opened.header_->page_count);
  opened.header_->label[kLabelMax - 1] = '\0';
  return opened;
}

MemoryRecord::Page MemoryRecord::page(std::uint32_t index) const {
  return static_cast<Page>(std::atomic_ref(pages()[index]).load());
}

void MemoryRecord::set_page(std::uint32_t index, Page page) {
  std::atomic_ref(pages()[index]).store(static_cast<std::uint8_t>(page));
}

std::uint32_t MemoryRecord::add(Header& header, const Attachment& attachment) {
  std::uint32_t slot = 0;
  while (slot < header.slots_end && slots(&header)[slot].used != 0) ++slot;
  if (slot == kSlotsMax) {
    header.doubtful = 1;
    return kNoSlot;
  }
  Attachment& to = slots(&header)[slot];
  to = attachment;
  to.used = 0;
  written();
  to.used = 1;
  if (slot == header.slots_end) header.slots_end = slot + 1;
  written();
  return slot;
}

std::uint32_t MemoryRecord::add(const Attachment& attachment, const MappedRanges& ranges) {
  Attachment whole = attachment;
  if (!write_ranges(whole, ranges.all())) header_->doubtful = 1;
  return add(*header_, whole);
}

// One that is killed in between has said by reads() that it may not all be here.
void MemoryRecord::set_ranges(std::uint32_t slot, const MappedRanges& ranges) {
  if (slot == kNoSlot) return;
  if (!write_ranges(slots(header_)[slot], ranges.all())) header_->doubtful = 1;
  written();
}

void MemoryRecord::remove(std::uint32_t slot) {
  if (slot == kNoSlot) return;
  slots(header_)[slot].used = 0;
  written();
}

TimePoint MemoryRecord::lapses() const { return TimePoint(std::chrono::nanoseconds(header_->lapses_ns)); }

void MemoryRecord::set_lapses(TimePoint lapses) {
  if (header_ == nullptr) return;
  header_->lapses_ns = std::chrono::nanoseconds(lapses.time_since_epoch()).count();
  written();
}

void MemoryRecord::reads(bool does) {
  written();
  header_->reads = does ? 1 : 0;
  written();
}

}  // namespace dipc
