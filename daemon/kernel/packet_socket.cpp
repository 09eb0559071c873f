#include "daemon/kernel/packet_socket.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

namespace dipc {

namespace {
// 65,536 supplementary groups and 32,000 operations fit. Without root the kernel gives what net.core.wmem_max allows.
constexpr int kBufferBytes = 1 << 20;
}  // namespace

PacketSocket::PacketSocket(int fd) : fd_(fd) {
  if (::setsockopt(fd_, SOL_SOCKET, SO_SNDBUFFORCE, &kBufferBytes, sizeof kBufferBytes) != 0) {
    ::setsockopt(fd_, SOL_SOCKET, SO_SNDBUF, &kBufferBytes, sizeof kBufferBytes);
  }
  int room = 0;
  socklen_t room_bytes = sizeof room;
  constexpr int kOverhead = 32;  // unix_dgram_sendmsg() of the kernel
  if (::getsockopt(fd_, SOL_SOCKET, SO_SNDBUF, &room, &room_bytes) == 0 && room > kOverhead) {
    packet_bytes_max_ = static_cast<std::size_t>(room - kOverhead);
  }
}

PacketSocket::~PacketSocket() { ::close(fd_); }

bool PacketSocket::try_send(const Bytes& packet) const {
  ssize_t sent = 0;
  do {
    sent = ::send(fd_, packet.data(), packet.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  } while (sent < 0 && errno == EINTR);
  // Any other error is the end of the connection, which receive() finds.
  return sent >= 0 || (errno != EAGAIN && errno != ENOBUFS && errno != ENOMEM);
}

bool PacketSocket::send(Bytes packet) {
  if (packet.size() > packet_bytes_max_) return false;
  flush();
  if (!unsent_.empty() || !try_send(packet)) unsent_.push_back(std::move(packet));
  return true;
}

void PacketSocket::flush() {
  while (!unsent_.empty() && try_send(unsent_.front())) unsent_.pop_front();
}

std::optional<Bytes> PacketSocket::receive() {
  Bytes packet;
  for (;;) {
    std::byte first{};
    const ssize_t waiting = ::recv(fd_, &first, sizeof first, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT);
    if (waiting < 0 && errno == EINTR) continue;
    if (waiting < 0 && errno == EAGAIN) return std::nullopt;
    if (waiting <= 0) break;
    packet.resize(static_cast<std::size_t>(waiting));
    if (::recv(fd_, packet.data(), packet.size(), MSG_DONTWAIT) == waiting) return packet;
    break;
  }
  closed_ = true;
  return std::nullopt;
}

}  // namespace dipc
