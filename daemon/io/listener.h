#pragma once

#include <uv.h>

#include <functional>
#include <memory>

#include "daemon/core/ip_address.h"
#include "daemon/io/connection.h"
#include "daemon/io/tls.h"
#include "wire/result.h"

namespace dipc {

// Accepts connections at one address.
class Listener {
 public:
  // A connection that just arrived: keep it and give it callbacks.
  using OnAccept = std::function<void(std::shared_ptr<Connection>)>;

  // `tls` is borrowed for the listener's life (a reload of it counts for later connections). Trouble: the address is in
  // use, not this host's, or needs privileges; it names the address and a remedy.
  static Result<std::unique_ptr<Listener>> open(uv_loop_t* loop, const Endpoint& endpoint, const TlsContext& tls,
                                                OnAccept on_accept, const ConnectionLimits& limits = {});
  // Stops accepting. Connections that were handed out stay.
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  // Where it listens: with the port the kernel chose if 0 was asked for.
  const Endpoint& local() const;

 private:
  struct Block;
  explicit Listener(Block* block) : block_(block) {}

  Block* block_;  // freed by the loop, after this
};

}  // namespace dipc
