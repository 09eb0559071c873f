#include "daemon/pager/guard_keeping.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <span>

#include "daemon/pager/descriptor_table.h"
#include "daemon/pager/memory_guard.h"
#include "daemon/pager/memory_record.h"

namespace dipc {
namespace {

constexpr std::uint32_t kListener = 0xffffffff;  // in an epoll_event, where a segment's number is

struct Segment {
  MemoryRecord::Header* header = nullptr;
  ino_t memory = 0;
  ino_t for_reading = 0;
  int record = -1;
  bool kept = false;
};
Segment* g_segments = nullptr;  // as many as the daemon had
std::uint32_t g_count = 0, g_room = 0;
std::int64_t g_until_ns = 0;

std::int64_t now_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

// Room for one more. False: no memory.
bool make_room() {
  if (g_count < g_room) return true;
  const std::uint32_t room = std::max(1024U, 2 * g_room);
  void* at = mmap(nullptr, room * sizeof(Segment), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) return false;
  auto* more = static_cast<Segment*>(at);
  std::copy(g_segments, g_segments + g_count, more);
  if (g_segments != nullptr) munmap(g_segments, g_room * sizeof(Segment));
  g_segments = more;
  g_room = room;
  return true;
}

// 0: not of a file that there is.
ino_t inode_of(int fd, off_t* bytes) {
  struct stat status {};
  if (fstat(fd, &status) != 0) return 0;
  *bytes = status.st_size;
  return status.st_ino;
}

// Whether it was set up, and is of memory that a program still has: asks for something that changes nothing.
bool is_of_a_program(int userfaultfd) {
  constexpr std::uint64_t kWhereNothingIs = 65536;
  uffdio_writeprotect nothing{{kWhereNothingIs, 4096}, 0};
  return ioctl(userfaultfd, UFFDIO_WRITEPROTECT, &nothing) == 0 || errno == ENOENT || errno == EAGAIN;
}

// Whether what has that number is one at all.
bool is_directory(int fd) {
  char path[32] = "/proc/self/fd/";
  char* const digits = path + std::strlen(path);
  *std::to_chars(digits, path + sizeof path - 1, fd).ptr = '\0';
  char target[128] = {};
  return readlink(path, target, sizeof target - 1) > 0 && is_memfd_named(target, kDirectoryName);
}

enum class Of : std::uint8_t { kAnySegment, kKeptSegment };
bool is_attachments(int fd, Of which) {
  for (std::uint32_t i = 0; i < g_count; ++i) {
    if (which == Of::kKeptSegment && !g_segments[i].kept) continue;
    const MemoryRecord::Header& header = *g_segments[i].header;
    const auto* slots = MemoryRecord::slots(g_segments[i].header);
    for (std::uint32_t slot = 0; slot < header.slots_end; ++slot) {
      if (slots[slot].used != 0 && slots[slot].userfaultfd == fd) return true;
    }
  }
  return false;
}

bool is_record(int fd) {
  for (std::uint32_t i = 0; i < g_count; ++i) {
    if (g_segments[i].kept && g_segments[i].record == fd) return true;
  }
  return false;
}

void keep_nothing() {
  for (std::uint32_t i = 0; i < g_count; ++i) g_segments[i].kept = false;
}

bool keeps_any() {
  for (std::uint32_t i = 0; i < g_count; ++i) {
    if (g_segments[i].kept) return true;
  }
  return false;
}

// ---- what programs do

// Takes [begin, end) of the addresses out of what is mapped; what that was goes to `out`. As MappedRanges, without
// memory of its own. False: there are too many.
bool cut(MemoryRecord::Attachment& from, std::uint64_t begin, std::uint64_t end, MappedRange* out,
         std::uint32_t* out_count) {
  MappedRange left[2 * MemoryRecord::kRangesMax];
  std::uint32_t left_count = 0;
  *out_count = 0;
  for (std::uint32_t i = 0; i < from.range_count; ++i) {
    const MappedRange range = from.ranges[i];
    const std::uint64_t range_end = range.address + range.length;
    const std::uint64_t first = std::clamp(begin, range.address, range_end);
    const std::uint64_t last = std::clamp(end, first, range_end);
    if (last == first) {
      left[left_count++] = range;
      continue;
    }
    out[(*out_count)++] = {first, range.offset + (first - range.address), last - first};
    if (first > range.address) left[left_count++] = {range.address, range.offset, first - range.address};
    if (range_end > last) left[left_count++] = {last, range.offset + (last - range.address), range_end - last};
  }
  if (left_count > MemoryRecord::kRangesMax) return false;
  std::copy(left, left + left_count, from.ranges);
  from.range_count = left_count;
  return true;
}

bool move(MemoryRecord::Attachment& of, std::uint64_t from, std::uint64_t to, std::uint64_t length) {
  MappedRange moved[MemoryRecord::kRangesMax];
  std::uint32_t count = 0;
  if (!cut(of, from, from + length, moved, &count) || of.range_count + count > MemoryRecord::kRangesMax) return false;
  for (std::uint32_t i = 0; i < count; ++i) {
    moved[i].address = to + (moved[i].address - from);
    of.ranges[of.range_count++] = moved[i];
  }
  return true;
}

bool listen(int epoll, std::uint32_t segment, std::uint32_t slot, int fd) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = std::uint64_t{segment} << 32 | slot;
  return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

// A fault waits: the next daemon has its thread try again.
bool read_messages(int epoll, std::uint32_t segment, std::uint32_t slot) {
  MemoryRecord::Header& header = *g_segments[segment].header;
  MemoryRecord::Attachment& attachment = MemoryRecord::slots(&header)[slot];
  uffd_msg messages[16];
  // The program has it too, and can make it wait: see Userfault::read().
  iovec into{messages, sizeof messages};
  ssize_t bytes = preadv2(attachment.userfaultfd, &into, 1, -1, RWF_NOWAIT);
  if (bytes < 0 && errno == EOPNOTSUPP) {
    fcntl(attachment.userfaultfd, F_SETFL, O_NONBLOCK);
    bytes = ::read(attachment.userfaultfd, messages, sizeof messages);
  }
  const auto count = bytes < 0 ? 0U : static_cast<std::size_t>(bytes) / sizeof messages[0];
  for (const uffd_msg& message : std::span(messages, count)) {
    MappedRange gone[MemoryRecord::kRangesMax];
    std::uint32_t gone_count = 0;
    bool known = true;
    if (message.event == UFFD_EVENT_UNMAP) {
      known = cut(attachment, message.arg.remove.start, message.arg.remove.end, gone, &gone_count);
    } else if (message.event == UFFD_EVENT_REMAP) {
      known = move(attachment, message.arg.remap.from, message.arg.remap.to, message.arg.remap.len);
    } else if (message.event == UFFD_EVENT_FORK) {
      MemoryRecord::Attachment child = attachment;
      child.userfaultfd = static_cast<int>(message.arg.fork.ufd);
      child.pid = 0;
      const std::uint32_t at = MemoryRecord::add(header, child);
      known = at != MemoryRecord::kNoSlot && listen(epoll, segment, at, child.userfaultfd);
    }
    if (!known) header.doubtful = 1;
  }
  return header.doubtful == 0;
}

// ---- handing over

bool send(int connection, const KeptPacket& packet, const int* descriptors, std::size_t count) {
  iovec part{const_cast<KeptPacket*>(&packet), sizeof packet};
  alignas(cmsghdr) static char control[CMSG_SPACE(kKeptDescriptorsMax * sizeof(int))];
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (count != 0) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(count * sizeof(int));
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(count * sizeof(int));
    std::memcpy(CMSG_DATA(header), descriptors, count * sizeof(int));
  }
  ssize_t sent;
  while ((sent = sendmsg(connection, &message, MSG_NOSIGNAL)) < 0 && errno == EINTR) {
  }
  return sent == static_cast<ssize_t>(sizeof packet);
}

bool send(int connection, const Segment& segment) {
  const MemoryRecord::Header& record = *segment.header;
  const int memory[] = {segment.record, record.memory, record.for_reading, record.directory};
  const auto* slots = MemoryRecord::slots(segment.header);
  int userfaultfds[kKeptDescriptorsMax];
  std::uint32_t count = 0;
  if (!send(connection, {KeptOp::kSegment, 0}, memory, record.directory >= 0 ? 4 : 3)) return false;
  for (std::uint32_t slot = 0; slot < segment.header->slots_end; ++slot) {
    if (slots[slot].used == 0) continue;
    userfaultfds[count++] = slots[slot].userfaultfd;
    if (count < kKeptDescriptorsMax) continue;
    if (!send(connection, {KeptOp::kAttached, count}, userfaultfds, count)) return false;
    count = 0;
  }
  return count == 0 || send(connection, {KeptOp::kAttached, count}, userfaultfds, count);
}

// What the daemon says then: the byte, or nothing.
bool hand_over(int connection) {
  const std::int64_t left_ns = std::max<std::int64_t>(g_until_ns - now_ns(), 1'000'000);
  timeval most{};
  most.tv_sec = static_cast<time_t>(left_ns / 1'000'000'000);
  most.tv_usec = static_cast<suseconds_t>(left_ns % 1'000'000'000 / 1000);
  setsockopt(connection, SOL_SOCKET, SO_SNDTIMEO, &most, sizeof most);
  setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &most, sizeof most);
  for (std::uint32_t i = 0; i < g_count; ++i) {
    if (g_segments[i].kept && !send(connection, g_segments[i])) return false;
  }
  if (!send(connection, {KeptOp::kAll, 0}, nullptr, 0)) return false;
  char byte;
  ssize_t got;
  while ((got = recv(connection, &byte, 1, 0)) < 0 && errno == EINTR) {
  }
  return got == 1;
}

}  // namespace

bool find_kept_memory(pid_t daemon, std::int64_t alone_max_ns) {
  const std::int64_t now = now_ns();
  g_until_ns = now + alone_max_ns;
  for_each_descriptor([&](int fd, const char* target) {
    if (!is_memfd_named(target, kMemoryRecordName)) return;
    MemoryRecord::Header* header = MemoryRecord::map(fd);
    if (header == nullptr || header->daemon != daemon || !make_room()) return;
    off_t bytes_for_reading = 0;
    off_t bytes = 0;  // fewer: it was taken from the programs, or one has done that
    Segment segment{header, inode_of(header->memory, &bytes), inode_of(header->for_reading, &bytes_for_reading), fd};
    segment.kept = header->keep != 0 && header->doubtful == 0 && segment.memory != 0 && segment.for_reading != 0 &&
                   bytes == static_cast<off_t>(header->memory_bytes) && bytes_for_reading == bytes &&
                   (header->directory < 0 || is_directory(header->directory));
    g_segments[g_count++] = segment;
    if (!segment.kept) return;
    if (header->lapses_ns == 0) header->lapses_ns = now + alone_max_ns;
    g_until_ns = std::min(g_until_ns, header->lapses_ns);
  });
  // A child that was forked just when the daemon was killed: whose it is, and where, is not written down.
  for_each_descriptor([&](int fd, const char* target) {
    if (std::strcmp(target, "anon_inode:[userfaultfd]") != 0 || is_attachments(fd, Of::kAnySegment)) return;
    if (is_of_a_program(fd)) keep_nothing();
  });
  return keeps_any();
}

bool is_kept_memory(int fd) {
  off_t bytes = 0;
  const ino_t inode = inode_of(fd, &bytes);
  for (std::uint32_t i = 0; i < g_count; ++i) {
    if (g_segments[i].kept && (g_segments[i].memory == inode || g_segments[i].for_reading == inode)) return true;
  }
  return false;
}

void close_needless(Needless which, int listener) {
  for_each_descriptor([&](int fd, const char* target) {
    const bool is_userfaultfd = std::strcmp(target, "anon_inode:[userfaultfd]") == 0;
    const bool is_memory = is_memfd_named(target, kSegmentMemoryName);
    if (fd == listener || is_record(fd)) return;
    if (which == Needless::kOfNoSegment && (is_userfaultfd || is_memory)) return;
    if (is_userfaultfd && is_attachments(fd, Of::kKeptSegment)) return;
    for (std::uint32_t i = 0; i < g_count; ++i) {
      if (!g_segments[i].kept) continue;
      const MemoryRecord::Header& record = *g_segments[i].header;
      if (fd == record.memory || fd == record.for_reading || fd == record.directory) return;
    }
    close(fd);
  });
}

void forget_kept_memory() { keep_nothing(); }

void keep_until_fetched(int listener) {
  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  if (epoll < 0 || !listen(epoll, kListener, 0, listener)) return;
  for (std::uint32_t i = 0; i < g_count; ++i) {
    if (!g_segments[i].kept) continue;
    const auto* slots = MemoryRecord::slots(g_segments[i].header);
    for (std::uint32_t slot = 0; slot < g_segments[i].header->slots_end; ++slot) {
      if (slots[slot].used != 0 && !listen(epoll, i, slot, slots[slot].userfaultfd)) return;
    }
  }
  for (std::int64_t now = now_ns(); now < g_until_ns; now = now_ns()) {
    epoll_event ready[64];
    const int count = epoll_wait(epoll, ready, 64, static_cast<int>((g_until_ns - now) / 1'000'000 + 1));
    for (int i = 0; i < count; ++i) {
      const auto segment = static_cast<std::uint32_t>(ready[i].data.u64 >> 32);
      const auto slot = static_cast<std::uint32_t>(ready[i].data.u64);
      if (segment != kListener) {
        if (!read_messages(epoll, segment, slot)) return;
        continue;
      }
      const int connection = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
      if (connection < 0) continue;
      if (hand_over(connection)) _exit(0);
      return;
    }
  }
}

}  // namespace dipc
