#include "daemon/io/local_socket.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "wire/check.h"

namespace dipc {
namespace {

constexpr std::size_t kPassedMax = 253;  // SCM_MAX_FD of include/net/scm.h

Trouble system_trouble(const std::string& what, const std::string& remedy = {}) {
  return Trouble{what + ": " + std::strerror(errno), remedy};
}

sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  return address;
}

Descriptor unix_socket() { return Descriptor(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)); }

bool somebody_answers(const sockaddr_un& address) {
  const Descriptor socket = unix_socket();
  if (!socket) return false;
  return ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0 || errno == EAGAIN;
}

Descriptor memfd_with(std::span<const std::byte> payload) {
  Descriptor memfd(::memfd_create("dipc-reply", MFD_CLOEXEC));
  std::size_t written = 0;
  while (memfd && written < payload.size()) {
    const ssize_t n = ::write(memfd.get(), payload.data() + written, payload.size() - written);
    if (n <= 0) return Descriptor();
    written += static_cast<std::size_t>(n);
  }
  return memfd;
}

}  // namespace

Result<Descriptor> listen_at(const std::string& path) {
  const std::string beside = path + ".new";
  if (beside.size() >= sizeof(sockaddr_un::sun_path)) {
    return trouble(path + ": too long for a unix socket", "choose a [paths] run of fewer than 92 characters");
  }
  const sockaddr_un address = address_of(beside);
  if (somebody_answers(address_of(path))) {
    return trouble(path + ": another dipcd answers there", "stop it, or give this one its own [paths] run");
  }
  ::unlink(beside.c_str());
  Descriptor socket = unix_socket();
  if (!socket) return tl::unexpected(system_trouble("socket"));
  // Before listen(): a program that connects and sends before accept() has its credentials attached all the same.
  want_credentials(socket.get());
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 ||
      ::chmod(beside.c_str(), 0666) != 0 ||  // everybody may ask; the kernel says who it is
      ::listen(socket.get(), SOMAXCONN) != 0 || ::rename(beside.c_str(), path.c_str()) != 0) {
    return tl::unexpected(system_trouble(path, "see that the folder exists and can be written"));
  }
  return socket;
}

void want_credentials(int socket) {
  const int on = 1;
  ::setsockopt(socket, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on));
}

tl::expected<LocalPacket, NoPacket> receive_packet(int socket, std::span<std::byte> buffer) {
  // Room for all that can be passed, though one is right: what does not fit, qemu-user 7.2 leaves open and unnamed.
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(ucred)) + CMSG_SPACE(kPassedMax * sizeof(int))];
  iovec vector{buffer.data(), buffer.size()};
  msghdr message{};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  const ssize_t n = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return tl::unexpected(NoPacket::kYet);
  if (n <= 0) return tl::unexpected(n < 0 && errno == ECONNRESET ? NoPacket::kReset : NoPacket::kClosed);
  LocalPacket packet;
  packet.bytes = buffer.first(std::min(buffer.size(), static_cast<std::size_t>(n)));
  std::vector<Descriptor> passed;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET) continue;
    if (header->cmsg_type == SCM_CREDENTIALS) {
      ucred from{};
      std::memcpy(&from, CMSG_DATA(header), sizeof(from));
      packet.credentials = {from.pid, from.uid, from.gid};
    } else if (header->cmsg_type == SCM_RIGHTS) {
      const std::size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      for (std::size_t i = 0; i < count; ++i) {
        int number = -1;
        std::memcpy(&number, CMSG_DATA(header) + i * sizeof(int), sizeof(number));
        passed.emplace_back(number);
      }
    }
  }
  if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0 || passed.size() > 1) {
    return tl::unexpected(NoPacket::kUnfit);
  }
  if (!passed.empty()) packet.passed = std::move(passed.front());
  return packet;
}

bool send_reply(int socket, local::Reply header, std::span<const std::byte> payload, std::span<const int> descriptors) {
  DIPC_CHECK(descriptors.size() <= kReplyDescriptorsMax);
  header.payload_bytes = static_cast<std::uint32_t>(payload.size());
  Descriptor memfd;
  int memfd_number = -1;
  if (payload.size() > local::kInlineBytesMax) {
    DIPC_CHECK(descriptors.empty());
    memfd = memfd_with(payload);
    if (!memfd) return false;
    memfd_number = memfd.get();
    header.marks |= local::kPayloadInMemfd;
    payload = {};
    descriptors = {&memfd_number, 1};
  }
  iovec vectors[2] = {{&header, sizeof(header)},
                      {const_cast<std::byte*>(payload.data()), payload.size()}};  // sendmsg does not write to it
  msghdr message{};
  message.msg_iov = vectors;
  message.msg_iovlen = 2;
  alignas(cmsghdr) char control[CMSG_SPACE(kReplyDescriptorsMax * sizeof(int))] = {};
  if (!descriptors.empty()) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
    cmsghdr* rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(descriptors.size_bytes());
    std::memcpy(CMSG_DATA(rights), descriptors.data(), descriptors.size_bytes());
  }
  return ::sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0;
}

bool is_memfd(int descriptor) { return ::fcntl(descriptor, F_GET_SEALS) >= 0; }  // only shmem has seals (fcntl(2))

// pread, never mmap, so that truncating it meanwhile can't hurt us.
Bytes read_memfd(int memfd, std::size_t bytes) {
  Bytes data(bytes);
  std::size_t have = 0;
  while (have < bytes) {
    const ssize_t n = ::pread(memfd, data.data() + have, bytes - have, static_cast<off_t>(have));
    if (n <= 0) break;
    have += static_cast<std::size_t>(n);
  }
  data.resize(have);
  return data;
}

bool has_unread(int socket) {
  int unread_bytes = 0;
  return ::ioctl(socket, TIOCOUTQ, &unread_bytes) == 0 && unread_bytes > 0;
}

}  // namespace dipc
