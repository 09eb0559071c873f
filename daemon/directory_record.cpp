#include "daemon/directory_record.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <bit>
#include <cerrno>
#include <cstring>
#include <utility>

#include "daemon/pager/memory_record.h"
#include "daemon/pager/own_mapping.h"
#include "wire/check.h"

namespace dipc {
namespace {

// Who reads it does so after the writer was killed: the order matters to the compiler alone.
void written() { std::atomic_signal_fence(std::memory_order_seq_cst); }

// Two of a kind, of which one is so: 0 is neither, 1 the first, 2 the second.
constexpr std::size_t other_of(std::uint8_t current) { return current == 1 ? 1 : 0; }
constexpr std::size_t index_of(std::uint8_t current) { return current == 2 ? 1 : 0; }

template <typename Part>
struct TwoOf {
  Part parts[2];
  std::uint8_t current;

  const Part& now() const { return parts[index_of(current)]; }
  void become(const Part& part) {
    const std::size_t other = other_of(current);
    parts[other] = part;
    written();
    current = static_cast<std::uint8_t>(other + 1);
    written();
  }
};

using Name = char[DirectoryRecord::kHostNameMax + 1];

// Nothing beyond the name's end is read, whatever is there.
std::string text_of(const Name& name) { return std::string(name, strnlen(name, DirectoryRecord::kHostNameMax)); }

void set_name(Name& name, const std::string& text) {
  std::memcpy(name, text.data(), text.size());
  name[text.size()] = '\0';
}

struct Facts {
  std::int32_t key, creator_pid, last_pid;
  std::uint32_t uid, gid, cuid, cgid, mode;
  std::int64_t attach_time_s, detach_time_s, change_time_s;
  std::uint64_t unconverted;
  std::uint8_t locked;
  Name creator_host;
};

struct MemberState {
  std::uint64_t attachments;
  std::uint8_t may_write, out_of_reach;
};

struct Member {
  Name name;                 // changed only while nobody has the slot
  TwoOf<MemberState> state;  // neither: nobody has it
};

enum : std::uint8_t { kWritten = 1, kLost = 2, kExclusive = 4, kRequesterWrites = 8, kInDoubt = 16 };
constexpr std::uint8_t flag(bool is, std::uint8_t which) { return is ? which : std::uint8_t{0}; }

// Where pages begin: a page of any kernel's, so that holes are holes.
constexpr std::size_t kPagesOffset = kHostPageBytesMax;

}  // namespace

struct DirectoryRecord::Header {
  std::uint32_t version;
  std::uint32_t page_count;
  std::uint32_t epoch;
  std::uint32_t doubtful;
  TwoOf<Facts> facts;
  Member members[kMembersMax];
};

// As TwoOf, with no more than half a cache line.
struct DirectoryRecord::Page {
  std::uint64_t holders[2];  // by slot, from the lowest bit
  std::uint8_t requester[2];
  std::uint8_t flags[2];
  std::uint8_t current;
  std::uint8_t unused[11];
};

namespace {
constexpr std::uint32_t kVersion = 1;
}

DirectoryRecord& DirectoryRecord::operator=(DirectoryRecord&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(header_, other.header_);
  std::swap(bytes_, other.bytes_);
  std::swap(hosts_, other.hosts_);
  std::swap(slots_, other.slots_);
  return *this;
}

DirectoryRecord::~DirectoryRecord() {
  if (header_ != nullptr) munmap(header_, bytes_);
}

std::uint64_t DirectoryRecord::bytes_for(std::uint32_t page_count) {
  static_assert(sizeof(Header) <= kPagesOffset && sizeof(Page) == 32);
  return kPagesOffset + std::uint64_t{page_count} * sizeof(Page);
}

DirectoryRecord::Page* DirectoryRecord::pages() const {
  return reinterpret_cast<Page*>(reinterpret_cast<char*>(header_) + kPagesOffset);
}

Result<DirectoryRecord> DirectoryRecord::make(std::uint32_t page_count) {
  const std::uint64_t bytes = bytes_for(page_count);
  if (!std::in_range<off_t>(bytes) || !std::in_range<std::size_t>(bytes)) {
    return trouble("a segment of " + std::to_string(page_count) + " pages is too large to be written down here");
  }
  DirectoryRecord made;
  made.fd_ = Descriptor(memfd_create(kDirectoryName, MFD_CLOEXEC));
  if (!made.fd_ || fchmod(made.fd_.get(), 0600) != 0 || ftruncate(made.fd_.get(), static_cast<off_t>(bytes)) != 0) {
    return trouble("no memory for what the next daemon is to know of a segment: " + std::string(std::strerror(errno)));
  }
  made.bytes_ = static_cast<std::size_t>(bytes);
  void* at = map_for_ourselves(made.fd_.get(), made.bytes_);
  if (at == MAP_FAILED) return trouble("mmap of what is known of a segment: " + std::string(std::strerror(errno)));
  made.header_ = static_cast<Header*>(at);  // zeros
  made.header_->page_count = page_count;
  made.header_->epoch = 1;
  written();
  made.header_->version = kVersion;
  return made;
}

Result<DirectoryRecord> DirectoryRecord::open(Descriptor fd) {
  const auto useless = [](const char* why) {
    return trouble(std::string("what an earlier daemon knew of a segment ") + why);
  };
  struct stat status {};
  if (fstat(fd.get(), &status) != 0 || status.st_size < static_cast<off_t>(kPagesOffset)) {
    return useless("is not there");
  }
  DirectoryRecord opened;
  opened.fd_ = std::move(fd);
  opened.bytes_ = static_cast<std::size_t>(status.st_size);
  void* at = map_for_ourselves(opened.fd_.get(), opened.bytes_);
  if (at == MAP_FAILED) return useless("can't be mapped");
  opened.header_ = static_cast<Header*>(at);
  Header& header = *opened.header_;
  if (header.version != kVersion || bytes_for(header.page_count) != opened.bytes_) {
    return useless("is of another version");
  }
  if (header.doubtful != 0 || header.facts.current == 0) return useless("is not all written down");
  ++header.epoch;
  written();
  return opened;
}

std::uint32_t DirectoryRecord::page_count() const { return header_->page_count; }

std::uint64_t DirectoryRecord::epoch() const { return header_->epoch; }

bool DirectoryRecord::doubtful() const { return header_->doubtful != 0; }

// ---- facts

void DirectoryRecord::write(const SegmentFacts& facts) {
  if (facts.creator_host.size() > kHostNameMax) header_->doubtful = 1;
  if (doubtful()) return;
  Facts next{.key = facts.key,
             .creator_pid = facts.creator_pid,
             .last_pid = facts.last_pid,
             .uid = facts.uid,
             .gid = facts.gid,
             .cuid = facts.cuid,
             .cgid = facts.cgid,
             .mode = facts.mode,
             .attach_time_s = facts.attach_time_s,
             .detach_time_s = facts.detach_time_s,
             .change_time_s = facts.change_time_s,
             .unconverted = facts.unconverted,
             .locked = flag(facts.locked, 1),
             .creator_host = {}};
  set_name(next.creator_host, facts.creator_host);
  header_->facts.become(next);
}

SegmentFacts DirectoryRecord::facts() const {
  const Facts& now = header_->facts.now();
  return {.key = now.key,
          .uid = now.uid,
          .gid = now.gid,
          .cuid = now.cuid,
          .cgid = now.cgid,
          .mode = now.mode,
          .locked = now.locked != 0,
          .creator_host = text_of(now.creator_host),
          .creator_pid = now.creator_pid,
          .last_pid = now.last_pid,
          .attach_time_s = now.attach_time_s,
          .detach_time_s = now.detach_time_s,
          .change_time_s = now.change_time_s,
          .unconverted = now.unconverted};
}

// ---- members

std::uint8_t DirectoryRecord::slot_of(HostId host) const {
  const auto number = static_cast<std::uint32_t>(host);
  return number < slots_.size() ? slots_[number] : kNoSlot;
}

void DirectoryRecord::set_slot(HostId host, std::uint8_t slot) {
  const auto number = static_cast<std::uint32_t>(host);
  if (number >= slots_.size()) slots_.resize(number + 1, kNoSlot);
  slots_[number] = slot;
}

void DirectoryRecord::write_members(const std::map<HostId, MemberRecord>& members, const SegmentHosts& hosts) {
  if (members.size() > kMembersMax) header_->doubtful = 1;
  for (std::uint8_t slot = 0; slot < kMembersMax && !doubtful(); ++slot) {
    TwoOf<MemberState>& state = header_->members[slot].state;
    if (state.current == 0 || members.contains(hosts_[slot])) continue;
    state.current = 0;
    written();
    if (hosts_[slot] != SegmentHosts::kStranger) set_slot(hosts_[slot], kNoSlot);
    hosts_[slot] = SegmentHosts::kStranger;
  }
  for (const auto& [host, record] : members) {
    if (doubtful()) return;
    const MemberState state{record.attachments, flag(record.may_write, 1), flag(record.out_of_reach, 1)};
    if (const std::uint8_t slot = slot_of(host); slot != kNoSlot) {
      header_->members[slot].state.become(state);
      continue;
    }
    const std::string& name = hosts.name(host);
    if (name.size() > kHostNameMax) {
      header_->doubtful = 1;
      return;
    }
    std::uint8_t slot = 0;  // there is one: those of others are free by now
    while (header_->members[slot].state.current != 0) ++slot;
    set_name(header_->members[slot].name, name);
    written();
    header_->members[slot].state.become(state);
    hosts_[slot] = host;
    set_slot(host, slot);
  }
}

// ---- pages

void DirectoryRecord::write_page(PageIndex index, const PageRecord& record) {
  if (doubtful()) return;
  DIPC_CHECK(static_cast<std::uint32_t>(index) < header_->page_count);
  std::uint64_t holders = 0;
  for (const HostId host : record.holders) {
    const std::uint8_t slot = slot_of(host);
    DIPC_CHECK(slot != kNoSlot);
    holders |= std::uint64_t{1} << slot;
  }
  const std::uint8_t requester = record.requester ? slot_of(*record.requester) : kNoSlot;
  DIPC_CHECK(!record.requester || requester != kNoSlot);
  Page& page = pages()[static_cast<std::uint32_t>(index)];
  const std::size_t other = other_of(page.current);
  page.holders[other] = holders;
  page.requester[other] = requester;
  page.flags[other] = static_cast<std::uint8_t>(
      flag(record.written, kWritten) | flag(record.lost, kLost) | flag(record.exclusive, kExclusive) |
      flag(record.requester_writes, kRequesterWrites) | flag(record.in_doubt, kInDoubt));
  written();
  page.current = static_cast<std::uint8_t>(other + 1);
  written();
}

// One that speaks of a host which is not there is nothing to go by: lost. No order of writing that is allowed leaves
// such a page.
PageRecord DirectoryRecord::record_of(const Page& page) const {
  const std::size_t now = index_of(page.current);
  const std::uint8_t flags = page.flags[now];
  PageRecord record{.holders = {},
                    .requester = {},
                    .requester_writes = (flags & kRequesterWrites) != 0,
                    .written = (flags & kWritten) != 0,
                    .lost = (flags & kLost) != 0,
                    .exclusive = (flags & kExclusive) != 0,
                    .in_doubt = (flags & kInDoubt) != 0};
  const auto host_at = [&](std::uint8_t slot) {
    const HostId host = slot < kMembersMax ? hosts_[slot] : SegmentHosts::kStranger;
    if (host == SegmentHosts::kStranger) record.lost = true;
    return host;
  };
  for (std::uint64_t left = page.holders[now]; left != 0; left &= left - 1) {
    const HostId host = host_at(static_cast<std::uint8_t>(std::countr_zero(left)));
    if (host != SegmentHosts::kStranger) record.holders.insert(host);
  }
  if (page.requester[now] != kNoSlot) {
    const HostId host = host_at(page.requester[now]);
    if (host != SegmentHosts::kStranger) record.requester = host;
  }
  return record;
}

void DirectoryRecord::read_pages(std::uint32_t first, std::uint32_t end, std::map<PageIndex, PageRecord>& into) const {
  for (std::uint32_t number = first; number < end; ++number) {
    const Page& page = pages()[number];
    if (page.current != 0) into.emplace_hint(into.end(), PageIndex{number}, record_of(page));
  }
}

DirectoryRecords DirectoryRecord::read(SegmentHosts& hosts) {
  DirectoryRecords records;
  records.epoch = epoch();
  for (std::uint8_t slot = 0; slot < kMembersMax; ++slot) {
    const Member& member = header_->members[slot];
    if (member.state.current == 0) continue;
    const HostId host = hosts.admit(text_of(member.name));
    hosts_[slot] = host;
    set_slot(host, slot);
    const MemberState& state = member.state.now();
    records.members[host] = {state.attachments, state.may_write != 0, state.out_of_reach != 0};
  }
  // To look at a hole through the mapping would fill it.
  for (off_t begin = kPagesOffset, end = 0; begin < static_cast<off_t>(bytes_); begin = end) {
    begin = lseek(fd_.get(), begin, SEEK_DATA);
    end = begin < 0 ? -1 : lseek(fd_.get(), begin, SEEK_HOLE);
    if (end < 0) break;  // ENXIO: nothing but a hole follows
    const auto number_at = [](off_t offset) {
      return static_cast<std::uint32_t>((static_cast<std::uint64_t>(offset) - kPagesOffset) / sizeof(Page));
    };
    read_pages(number_at(begin), number_at(end), records.pages);
  }
  return records;
}

}  // namespace dipc
