#include "daemon/io/listener.h"

#include <string>
#include <utility>

#include "daemon/io/log.h"
#include "daemon/io/socket_address.h"
#include "wire/check.h"

namespace dipc {

namespace {

constexpr int kBacklog = 128;

}  // namespace

struct Listener::Block {
  uv_tcp_t tcp{};
  const TlsContext* tls = nullptr;
  OnAccept on_accept;
  ConnectionLimits limits;
  Endpoint local;

  void accept();
};

void Listener::Block::accept() {
  auto connection = Connection::accept(reinterpret_cast<uv_stream_t*>(&tcp), *tls, limits);
  if (!connection || connection->remote() == Endpoint{}) {
    log_warning("connections", "one to " + local.to_string() +
                                   " was reset before it was accepted; the kernel does not " +
                                   "say any more where it came from");
    return;
  }
  on_accept(std::move(connection));
}

Result<std::unique_ptr<Listener>> Listener::open(uv_loop_t* loop, const Endpoint& endpoint, const TlsContext& tls,
                                                 OnAccept on_accept, const ConnectionLimits& limits) {
  auto* block = new Block;
  std::unique_ptr<Listener> listener(new Listener(block));
  DIPC_CHECK(uv_tcp_init(loop, &block->tcp) == 0);
  block->tcp.data = block;
  block->tls = &tls;
  block->on_accept = std::move(on_accept);
  block->limits = limits;
  const sockaddr_storage address = to_socket_address(endpoint);
  auto* stream = reinterpret_cast<uv_stream_t*>(&block->tcp);
  int status = uv_tcp_bind(&block->tcp, reinterpret_cast<const sockaddr*>(&address),
                           endpoint.address.v6 ? static_cast<unsigned>(UV_TCP_IPV6ONLY) : 0u);
  if (status == 0) {
    status = uv_listen(stream, kBacklog, [](uv_stream_t* server, int result) {
      if (result == 0) static_cast<Block*>(server->data)->accept();
    });
  }
  if (status != 0) {
    std::string remedy;
    switch (status) {
      case UV_EADDRINUSE:
        remedy =
            "another program listens there (`ss -ltnp` shows it), perhaps another dipcd; stop it or change `listen`";
        break;
      case UV_EADDRNOTAVAIL:
        remedy = "this host has no such address (`ip addr` shows those it has); change `listen`";
        break;
      case UV_EACCES:
        remedy = "ports below 1024 need root; change `listen`";
        break;
      default:
        break;
    }
    return trouble("cannot listen on " + endpoint.to_string() + ": " + uv_strerror(status), remedy);
  }
  block->local = local_endpoint(block->tcp);
  return listener;
}

Listener::~Listener() {
  uv_close(reinterpret_cast<uv_handle_t*>(&block_->tcp),
           [](uv_handle_t* handle) { delete static_cast<Block*>(handle->data); });
}

const Endpoint& Listener::local() const { return block_->local; }

}  // namespace dipc
