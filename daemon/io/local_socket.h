#pragma once

// The unix SOCK_SEQPACKET socket of wire/local.h on the daemon's side: how it is made, and how packets go through it
// with what the kernel adds to them (who sent them, descriptors) and payloads that are too large for one. Knows nothing
// of calls, programs or limits.

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <tl/expected.hpp>

#include "wire/bytes.h"
#include "wire/descriptor.h"
#include "wire/local.h"
#include "wire/result.h"

namespace dipc {

// The sender's effective ids at this request, checked by the kernel (SCM_CREDENTIALS).
struct LocalCredentials {
  pid_t pid = 0;
  uid_t uid = 0;
  gid_t gid = 0;
};

inline constexpr std::size_t kPacketBytesMax = sizeof(local::Request) + local::kInlineBytesMax;
inline constexpr std::size_t kReplyDescriptorsMax = 2;

// Takes the place of a dead daemon's socket in one step: without a file programs would take it that no daemon runs
// here, and go to the kernel. Trouble: another daemon answers on the path; the folder can't be written.
Result<Descriptor> listen_at(const std::string& path);

// What connect(2) and every packet are to carry.
void want_credentials(int socket);

struct LocalPacket {
  std::span<const std::byte> bytes;  // in the buffer
  Descriptor passed;                 // one at most
  LocalCredentials credentials;
};
enum class NoPacket : std::uint8_t {
  kYet,
  kClosed,
  kReset,  // closed with something that we sent unread
  kUnfit,  // longer than the buffer, or with more than one descriptor
};
tl::expected<LocalPacket, NoPacket> receive_packet(int socket, std::span<std::byte> buffer);

// A payload of more than kInlineBytesMax goes in a memfd, as `header` says then; it has no `descriptors` (borrowed, at
// most two) with it. False: it was not sent.
bool send_reply(int socket, local::Reply header, std::span<const std::byte> payload, std::span<const int> descriptors);

// A file in memory, and not one that may never answer a read, as in FUSE, or that shows us what it hides from the
// program, as in /proc.
bool is_memfd(int descriptor);
// What the sender put into it, up to `bytes`.
Bytes read_memfd(int memfd, std::size_t bytes);

// Of what was sent, not read by the other end yet.
bool has_unread(int socket);

}  // namespace dipc
