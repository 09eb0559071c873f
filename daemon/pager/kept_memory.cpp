#include "daemon/pager/kept_memory.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>

#include "daemon/pager/guard_keeping.h"
#include "daemon/pager/memory_guard.h"
#include "daemon/pager/userfault_pager.h"

namespace dipc {
namespace {

constexpr int kAnswerTimeoutMs = 20'000;

// The guard that listens there; none: nobody does.
Descriptor connect_to(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return {};
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  Descriptor made(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!made || connect(made.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return {};
  return made;
}

struct Received {
  KeptPacket packet;
  std::vector<Descriptor> descriptors;
};

std::optional<Received> receive_packet(int connection) {
  pollfd answer{connection, POLLIN, 0};
  if (poll(&answer, 1, kAnswerTimeoutMs) != 1) return std::nullopt;
  Received received;
  iovec part{&received.packet, sizeof received.packet};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kKeptDescriptorsMax * sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const ssize_t got = recvmsg(connection, &message, MSG_CMSG_CLOEXEC);
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(header) + i * sizeof fd, sizeof fd);
      received.descriptors.emplace_back(fd);
    }
  }
  if (got != sizeof received.packet || (message.msg_flags & MSG_CTRUNC) != 0) return std::nullopt;
  return received;
}

bool is_mapped_as_known(const KeptSegment& segment, bool writable, const MappedRange& mapped) {
  return std::any_of(segment.attachments.begin(), segment.attachments.end(), [&](const KeptAttachment& attachment) {
    return attachment.writable == writable &&
           std::any_of(attachment.ranges.begin(), attachment.ranges.end(), [&](const MappedRange& range) {
             return range.address - range.offset == mapped.address - mapped.offset && range.address <= mapped.address &&
                    mapped.address + mapped.length <= range.address + range.length;
           });
  });
}

// Whether each process that has mapped the memory has it where it was written down.
bool all_is_known(const KeptSegment& segment) {
  struct stat memory {};
  struct stat for_reading {};
  if (fstat(segment.memory.get(), &memory) != 0 || fstat(segment.for_reading.get(), &for_reading) != 0) return false;
  std::error_code error;
  for (const auto& process : std::filesystem::directory_iterator("/proc", error)) {
    const std::string pid = process.path().filename();
    if (pid.find_first_not_of("0123456789") != std::string::npos || pid == std::to_string(getpid())) continue;
    std::ifstream maps(process.path() / "maps");
    for (std::string line; std::getline(maps, line);) {
      if (line.find(std::string("/memfd:") + kSegmentMemoryName) == std::string::npos) continue;
      std::istringstream words(line);
      std::string addresses, rights, device;
      std::uint64_t offset = 0, inode = 0;
      words >> addresses >> rights >> std::hex >> offset >> device >> std::dec >> inode;
      if (inode != memory.st_ino && inode != for_reading.st_ino) continue;
      std::size_t dash = 0;
      const std::uint64_t begin = std::stoull(addresses, &dash, 16);
      const std::uint64_t end = std::stoull(addresses.substr(dash + 1), nullptr, 16);
      if (!is_mapped_as_known(segment, inode == memory.st_ino, {begin, offset, end - begin})) return false;
    }
  }
  return true;
}

}  // namespace

KeptMemory KeptMemory::fetch(const std::string& socket) {
  KeptMemory kept;
  kept.connection_ = connect_to(socket);
  if (!kept.connection_) return kept;
  if (!kept.receive()) {
    kept.troubles_.emplace_back("the guard of an earlier dipcd does not hand over the memory that it keeps");
    // It takes all from the programs when the connection ends.
    kept.segments_.clear();
    kept.connection_ = Descriptor();
  }
  for (auto segment = kept.segments_.begin(); segment != kept.segments_.end();) {
    if (segment->record.header().reads == 0 || all_is_known(*segment)) {
      ++segment;
      continue;
    }
    kept.troubles_.push_back("a program moved its memory just when dipcd was killed: its segment (" + segment->label +
                             ") is lost here");
    discard(std::move(*segment));
    segment = kept.segments_.erase(segment);
  }
  return kept;
}

bool KeptMemory::receive() {
  std::vector<std::uint32_t> slots;  // of the last segment, still to come
  for (;;) {
    auto received = receive_packet(connection_.get());
    if (!received) {
      connection_ = Descriptor();  // it may have more to hand over, and is not to think that we have it
      return segments_.empty();    // a guard that has nothing to keep just ends
    }
    std::vector<Descriptor>& descriptors = received->descriptors;
    if (received->packet.op == KeptOp::kAll) return slots.empty();
    if (received->packet.op == KeptOp::kSegment) {
      if (!slots.empty() || descriptors.size() < 3 || descriptors.size() > 4) return false;
      auto record = MemoryRecord::open(std::move(descriptors[0]));
      if (!record || (record->header().directory >= 0) != (descriptors.size() == 4)) return false;
      KeptSegment segment{std::string(record->label()),
                          std::move(*record),
                          std::move(descriptors[1]),
                          std::move(descriptors[2]),
                          descriptors.size() == 4 ? std::move(descriptors[3]) : Descriptor(),
                          {}};
      for (std::uint32_t slot = 0; slot < segment.record.attachments().size(); ++slot) {
        if (segment.record.attachments()[slot].used != 0) slots.push_back(slot);
      }
      segments_.push_back(std::move(segment));
      continue;
    }
    if (segments_.empty() || descriptors.size() > slots.size()) return false;
    for (std::size_t i = 0; i < descriptors.size(); ++i) {
      const MemoryRecord::Attachment& from = segments_.back().record.attachments()[slots[i]];
      if (from.range_count > MemoryRecord::kRangesMax) return false;
      segments_.back().attachments.push_back({AttachTicket{from.ticket},
                                              from.pid,
                                              from.uid,
                                              from.writable != 0,
                                              {from.ranges, from.ranges + from.range_count},
                                              std::move(descriptors[i])});
    }
    slots.erase(slots.begin(), slots.begin() + static_cast<std::ptrdiff_t>(descriptors.size()));
  }
}

void KeptMemory::taken() {
  if (!connection_) return;
  const char byte = 0;
  send(connection_.get(), &byte, sizeof byte, MSG_NOSIGNAL);
  connection_ = Descriptor();
}

// The userfaultfds go last, with `kept`.
void discard(KeptSegment kept) {
  const auto bytes = static_cast<std::size_t>(kept.record.header().memory_bytes);
  SegmentMemory::take_over(std::move(kept.memory), bytes).cut_to_nothing();
  SegmentMemory::take_over(std::move(kept.for_reading), bytes).cut_to_nothing();
}

Result<std::unique_ptr<Pager>> take_over(Pager::Options options, Pager::Handler& handler, KeptSegment kept,
                                         HeldMemory& held) {
  if (const std::string missing = UserfaultPager::missing(); !missing.empty()) {
    discard(std::move(kept));
    return trouble(options.name + ": programs have it by userfaultfd, and now there is: " + missing);
  }
  return UserfaultPager::take_over(std::move(options), handler, std::move(kept), held);
}

}  // namespace dipc
