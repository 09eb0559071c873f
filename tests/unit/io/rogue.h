#pragma once

// A host with a certificate that says by hand what a daemon never would: blocking, on a thread or in a process of its
// own.

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <optional>

#include "daemon/core/ip_address.h"
#include "daemon/io/tls.h"
#include "wire/check.h"
#include "wire/codec.h"
#include "wire/framing.h"

namespace dipc {

inline sockaddr_in to_sockaddr(const Endpoint& endpoint) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(endpoint.port);
  ::inet_pton(AF_INET, endpoint.address.to_string().c_str(), &address.sin_addr);
  return address;
}

// A member of the cluster, with a good certificate, that sends what it likes after its Hello: blocking, by hand.
class Rogue {
 public:
  Rogue(const Endpoint& to, const TlsContext& tls, std::optional<IpAddress> from = std::nullopt)
      : tls_(tls, TlsStream::Role::kDialler) {
    fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const timeval limit{60, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    const sockaddr_in own = to_sockaddr({from.value_or(IpAddress{}), 0});
    if (from) {
      DIPC_CHECK(::bind(fd_, reinterpret_cast<const sockaddr*>(&own), sizeof(own)) == 0);
    }
    const sockaddr_in address = to_sockaddr(to);
    connected_ = ::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
    if (!connected_) return;
    flush();
    while (tls_.state() == TlsStream::State::kHandshake && receive()) flush();
  }
  ~Rogue() { ::close(fd_); }
  Rogue(const Rogue&) = delete;
  Rogue& operator=(const Rogue&) = delete;

  bool is_connected() const { return connected_ && tls_.state() == TlsStream::State::kReady; }
  // The next record that comes; nothing: the connection is closed, silent for `limit`, or says what is none.
  std::optional<Record> next(std::chrono::milliseconds limit) {
    for (;;) {
      while (true) {
        const auto count = tls_.read(reader_.room(TlsStream::kRecordPlainBytesMax));
        if (!count || *count == 0) break;
        reader_.arrived(*count);
      }
      if (const auto bytes = reader_.next(); bytes && *bytes) {
        auto record = decode(**bytes);
        return record ? std::optional(std::move(*record)) : std::nullopt;
      }
      pollfd wait{fd_, POLLIN, 0};
      if (::poll(&wait, 1, static_cast<int>(limit.count())) <= 0 || !receive()) return std::nullopt;
    }
  }
  // Not if the other end has hung up before the handshake was over.
  void send(const Bytes& plaintext) {
    if (is_connected() && tls_.write(plaintext)) flush();
  }
  // Reads until the other side closes.
  bool is_closed() {
    Bytes room(65536);
    do {
      while (true) {
        const auto count = tls_.read(room);
        if (!count || *count == 0) break;
      }
      if (tls_.state() != TlsStream::State::kReady) return true;
    } while (receive());
    return !timed_out_;
  }

 private:
  bool receive() {
    const ssize_t count = ::recv(fd_, received_.data(), received_.size(), 0);
    timed_out_ = count < 0 && errno == EAGAIN;
    return count > 0 && tls_.receive({received_.data(), static_cast<std::size_t>(count)});
  }
  void flush() {
    const Bytes out = tls_.take_output();
    if (!out.empty()) (void)!::send(fd_, out.data(), out.size(), MSG_NOSIGNAL);
  }

  TlsStream tls_;
  Bytes received_ = Bytes(65536);  // tls_ reads from it until it gives 0
  FrameReader reader_;
  int fd_ = -1;
  bool connected_ = false;
  bool timed_out_ = false;
};

}  // namespace dipc
