#pragma once

// One end of a unix SEQPACKET socket that must never make its thread wait: what the other end does not take yet is
// kept.

#include <deque>
#include <optional>

#include "wire/messages.h"

namespace dipc {

class PacketSocket {
 public:
  // Takes the non-blocking descriptor over. Asks for buffers that hold the largest record.
  explicit PacketSocket(int fd);
  ~PacketSocket();
  PacketSocket(const PacketSocket&) = delete;
  PacketSocket& operator=(const PacketSocket&) = delete;

  int fd() const { return fd_; }
  // False: a packet of this size can't be sent, nothing was.
  bool send(Bytes packet);
  void flush();
  bool has_unsent() const { return !unsent_.empty(); }
  // Nothing: no packet is there now, or the other end has closed.
  std::optional<Bytes> receive();
  bool closed() const { return closed_; }

 private:
  // False: the other end has no room now.
  bool try_send(const Bytes& packet) const;

  const int fd_;
  std::size_t packet_bytes_max_ = 0;
  bool closed_ = false;
  std::deque<Bytes> unsent_;
};

}  // namespace dipc
