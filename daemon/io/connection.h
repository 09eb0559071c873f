#pragma once

// One TLS connection between two hosts on a libuv loop: TCP, TLS, framing and codec in, records out. No policy: whether
// the peer may come at all is for on_ready() to decide, which can close().
//
// All on the loop's thread. Callbacks may call anything, close() and dropping the last reference included. Dropping the
// last reference is abort(), unless close() was called: what that has to send still goes out.

#include <uv.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "daemon/core/ip_address.h"
#include "daemon/io/tls.h"
#include "wire/framing.h"
#include "wire/messages.h"
#include "wire/result.h"

namespace dipc {

struct ConnectionLimits {
  // From connect() or accept() to the end of the handshake, for the acceptor to the first record. A guest under qemu
  // needs 60 ms for one when nothing else runs.
  std::chrono::milliseconds handshake{10'000};
  // For what close() still has to send.
  std::chrono::milliseconds farewell{1'000};
  // Not sent yet. More than this closes the connection: whoever sends looks at queued_bytes() first. Sessions keep what
  // is not acknowledged themselves and bound it (session_buffer), so this is only reached when they don't.
  std::size_t queued_bytes_max = std::size_t{256} << 20;
};

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  struct Callbacks {
    // TLS is up: peer() and remote() may be compared with hosts.allow. Records may be sent from here on. A dialler gets
    // this before the acceptor has judged its certificate; a refusal then comes as on_closed.
    std::function<void(Connection&)> on_ready;
    std::function<void(Connection&, Record)> on_record;
    // Once, whatever ended it, except that close() and abort() by this side are silent. No callback follows it.
    std::function<void(Connection&, const Trouble&)> on_closed;
  };

  // Begins to connect; the outcome is on_ready or on_closed, never inside this call. `tls` is used at once only.
  static std::shared_ptr<Connection> dial(uv_loop_t* loop, const Endpoint& endpoint, const TlsContext& tls,
                                          Callbacks callbacks, const ConnectionLimits& limits = {});

  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  void set_callbacks(Callbacks callbacks);

  // Kept until the socket is closed, which is later than the end of this object while last words go out.
  void hold(std::shared_ptr<void> token);

  // Queues a record. All that is queued in one turn of the loop goes out in one write before the loop sleeps. Does
  // nothing once the connection is closing. DIPC_CHECK: ready.
  void send(const Record& record);
  // Sends what is queued now.
  void flush();

  // Orderly end: what is queued still goes out (a Refusal, say) within limits.farewell. No callback follows.
  void close();
  // The end at once, what is queued is lost. No callback follows.
  void abort();

  bool is_ready() const;
  bool is_dialler() const;
  // Plain and encrypted bytes that the kernel has not taken yet.
  std::size_t queued_bytes() const;
  // The peer's certificate: names, fingerprint. DIPC_CHECK: was ready.
  const CertificateInfo& peer() const;
  std::string_view cipher() const;
  // Where the peer is: for the acceptor its source address.
  const Endpoint& remote() const;

 private:
  friend class Listener;
  struct Block;
  // The next of those that `listening` has, TLS begun. Null: it can't be had.
  static std::shared_ptr<Connection> accept(uv_stream_t* listening, const TlsContext& tls,
                                            const ConnectionLimits& limits);
  explicit Connection(Block* block) : block_(block) {}

  Block* block_;  // freed by the loop, after this
};

}  // namespace dipc
