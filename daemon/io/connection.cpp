#include "daemon/io/connection.h"

#include <algorithm>
#include <utility>

#include "daemon/io/socket_address.h"
#include "wire/check.h"
#include "wire/codec.h"

namespace dipc {
namespace {

constexpr std::size_t kReadBytes = 64 * 1024;
// So much is encrypted before it is handed to the kernel: bounds what waits in both forms.
constexpr std::size_t kEncryptBytes = 1u << 20;

Trouble network_trouble(const std::string& what, int status) { return {what + ": " + uv_strerror(status), ""}; }

std::uint64_t milliseconds(std::chrono::milliseconds duration) {
  return static_cast<std::uint64_t>(std::max<std::chrono::milliseconds::rep>(0, duration.count()));
}

}  // namespace

// Everything of a connection that libuv may still touch after its owner has dropped it. Frees itself when its last
// handle is closed.
//
//   kConnecting -> kHandshake -> kReady -> kFarewell -> kGone
// From each state trouble leads to kFarewell: what TLS has to say (an alert) still goes out, then our half of the TCP
// connection is closed and what still comes is thrown away until the peer closes its half. Closing at once would make
// the kernel answer unread bytes with a reset, which may destroy our last words before the peer has read them.
struct Connection::Block {
  enum class Phase { kConnecting, kHandshake, kReady, kFarewell, kGone };

  Block(uv_loop_t* its_loop, TlsStream::Role its_role, const TlsContext& context, const ConnectionLimits& its_limits);

  template <typename Call>
  void call(Call which);
  void end(const Trouble& why);

  void start_dial(const Endpoint& endpoint);
  void start_tls();
  void on_bytes(ssize_t count);
  void on_plaintext();
  bool deliver_records();
  void send(const Record& record);
  void flush();
  void push();
  void on_written(int status);
  void write_failed(int status);
  void farewell();
  void finish_farewell();
  void destroy();
  void on_timer();
  std::size_t queued_bytes() const;

  uv_loop_t* loop;
  TlsStream::Role role;
  ConnectionLimits limits;
  uv_tcp_t tcp{};
  uv_timer_t timer{};  // the handshake's, later the farewell's limit
  uv_idle_t turn{};    // active while the batch is to be flushed: the loop does not sleep before it has
  uv_connect_t connecting{};
  uv_write_t writing{};
  uv_shutdown_t shutting{};
  int open_handles = 3;

  Connection* front = nullptr;  // null once it is destroyed
  std::shared_ptr<void> token;  // of hold()
  bool silent = false;          // nobody is to be called any more
  std::shared_ptr<const Callbacks> callbacks;
  Phase phase = Phase::kConnecting;
  Endpoint remote;
  TlsStream tls;
  FrameReader reader;
  Bytes incoming = Bytes(kReadBytes);
  Bytes batch;  // records, not yet encrypted
  std::size_t batch_begin = 0;
  Bytes in_flight;  // encrypted, the kernel has part of it
  bool write_pending = false;
  bool seen_record = false;
  bool shut_down = false;
  bool peer_gone = false;                // nothing more will be read
  std::optional<Trouble> dial_failure;   // to be reported on the next turn
  std::optional<Trouble> write_failure;  // to be reported unless the reading side knows better
};

Connection::Block::Block(uv_loop_t* its_loop, TlsStream::Role its_role, const TlsContext& context,
                         const ConnectionLimits& its_limits)
    : loop(its_loop), role(its_role), limits(its_limits), tls(context, its_role) {
  DIPC_CHECK(uv_tcp_init(loop, &tcp) == 0 && uv_timer_init(loop, &timer) == 0 && uv_idle_init(loop, &turn) == 0);
  tcp.data = timer.data = turn.data = connecting.data = writing.data = shutting.data = this;
  uv_update_time(loop);  // the loop's idea of now may be as old as its last turn
  uv_timer_start(
      &timer, [](uv_timer_t* handle) { static_cast<Block*>(handle->data)->on_timer(); }, milliseconds(limits.handshake),
      0);
}

template <typename Call>
void Connection::Block::call(Call which) {
  if (silent) return;
  // If the callback drops the last reference, the connection is destroyed (and this block told so) when `keep` is.
  const std::shared_ptr<Connection> keep = front->shared_from_this();
  const std::shared_ptr<const Callbacks> now = callbacks;  // may be replaced by what it calls
  which(*keep, *now);
}

void Connection::Block::end(const Trouble& why) {
  if (phase == Phase::kGone || phase == Phase::kFarewell) return;
  batch.clear();  // a peer that we don't understand should not be told more
  batch_begin = 0;
  farewell();
  call([&](Connection& connection, const Callbacks& to) {
    silent = true;  // nothing follows
    if (to.on_closed) to.on_closed(connection, why);
  });
}

void Connection::Block::start_dial(const Endpoint& endpoint) {
  remote = endpoint;
  const sockaddr_storage address = to_socket_address(endpoint);
  const int status = uv_tcp_connect(
      &connecting, &tcp, reinterpret_cast<const sockaddr*>(&address), [](uv_connect_t* request, int result) {
        auto& block = *static_cast<Block*>(request->data);
        if (result == UV_ECANCELED || block.phase != Phase::kConnecting) return;
        if (result == 0) return block.start_tls();
        block.end(network_trouble("cannot connect to " + block.remote.to_string(), result));
      });
  if (status == 0) return;
  dial_failure = network_trouble("cannot connect to " + remote.to_string(), status);
  uv_idle_start(&turn, [](uv_idle_t* handle) { static_cast<Block*>(handle->data)->flush(); });
}

void Connection::Block::start_tls() {
  phase = Phase::kHandshake;
  uv_tcp_nodelay(&tcp, 1);
  const int status = uv_read_start(
      reinterpret_cast<uv_stream_t*>(&tcp),
      [](uv_handle_t* handle, std::size_t, uv_buf_t* buffer) {
        Bytes& into = static_cast<Block*>(handle->data)->incoming;
        *buffer = uv_buf_init(reinterpret_cast<char*>(into.data()), static_cast<unsigned>(into.size()));
      },
      [](uv_stream_t* stream, ssize_t count, const uv_buf_t*) { static_cast<Block*>(stream->data)->on_bytes(count); });
  DIPC_CHECK(status == 0);
  push();
}

void Connection::Block::on_bytes(ssize_t count) {
  if (phase == Phase::kGone || count == 0) return;
  if (phase == Phase::kFarewell) {
    if (count < 0) destroy();  // the peer has closed its half too, or is gone
    return;
  }
  if (count < 0) {
    peer_gone = true;
    const bool early = phase == Phase::kHandshake;
    if (count == UV_EOF) {
      end({early ? "the peer closed the connection in the TLS handshake"
                 : "the peer closed the connection without a word",
           ""});
    } else {
      end(network_trouble("connection lost", static_cast<int>(count)));
    }
    return;
  }
  if (auto good = tls.receive({incoming.data(), static_cast<std::size_t>(count)}); !good) return end(good.error());
  if (phase == Phase::kHandshake && tls.state() == TlsStream::State::kReady) {
    phase = Phase::kReady;
    if (role == TlsStream::Role::kDialler) uv_timer_stop(&timer);  // else it waits for the first record
    push();                                                        // the handshake's last words before the first record
    call([](Connection& connection, const Callbacks& to) {
      if (to.on_ready) to.on_ready(connection);
    });
  }
  on_plaintext();
}

void Connection::Block::on_plaintext() {
  while (phase == Phase::kReady || phase == Phase::kHandshake) {
    const auto bytes = tls.read(reader.room(TlsStream::kRecordPlainBytesMax));
    if (!bytes) return end(bytes.error());
    if (*bytes == 0) break;
    reader.arrived(*bytes);
    if (!deliver_records()) return;
  }
  if (tls.state() == TlsStream::State::kPeerClosed && phase == Phase::kReady) {
    return end({"the peer closed the connection", ""});
  }
  if (!tls.output().empty()) push();
}

// False: do not go on reading.
bool Connection::Block::deliver_records() {
  while (phase == Phase::kReady) {
    const auto bytes = reader.next();
    if (!bytes) {
      end(bytes.error());
      return false;
    }
    if (!*bytes) return true;
    auto record = decode(**bytes);
    if (!record) {
      end(record.error());
      return false;
    }
    if (!std::exchange(seen_record, true) && !write_failure) uv_timer_stop(&timer);
    call([&](Connection& connection, const Callbacks& to) {
      if (to.on_record) to.on_record(connection, std::move(*record));
    });
  }
  return false;
}

void Connection::Block::send(const Record& record) {
  encode(record, batch);
  // An active idle handle keeps the loop from sleeping; it is called on the next turn, after all that this one brings.
  uv_idle_start(&turn, [](uv_idle_t* handle) { static_cast<Block*>(handle->data)->flush(); });
}

void Connection::Block::flush() {
  uv_idle_stop(&turn);
  if (dial_failure) return end(*std::exchange(dial_failure, std::nullopt));
  if (phase != Phase::kReady) return;
  if (queued_bytes() > limits.queued_bytes_max) {
    return end({"the peer does not take what is sent: " + std::to_string(queued_bytes()) + " bytes are waiting", ""});
  }
  push();
}

void Connection::Block::push() {
  if (phase == Phase::kConnecting || phase == Phase::kGone) return;
  while (!write_pending && !shut_down) {
    if (tls.output().empty()) {
      if (batch_begin == batch.size()) break;
      const auto part = std::span<const std::byte>(batch)
                            .subspan(batch_begin)
                            .first(std::min(kEncryptBytes, batch.size() - batch_begin));
      if (!tls.write(part)) {
        write_failed(UV_EPROTO);
        break;
      }
      batch_begin += part.size();
      if (batch_begin == batch.size()) {
        batch_begin = 0;
        if (batch.capacity() > 4 * kEncryptBytes) {
          Bytes().swap(batch);
        } else {
          batch.clear();
        }
      }
    }
    const auto out = tls.output();
    uv_buf_t buffer =
        uv_buf_init(const_cast<char*>(reinterpret_cast<const char*>(out.data())), static_cast<unsigned>(out.size()));
    const int written = uv_try_write(reinterpret_cast<uv_stream_t*>(&tcp), &buffer, 1);
    if (written < 0 && written != UV_EAGAIN) return write_failed(written);
    if (written > 0) tls.drop_output(static_cast<std::size_t>(written));
    if (tls.output().empty()) continue;
    in_flight = tls.take_output();
    buffer = uv_buf_init(reinterpret_cast<char*>(in_flight.data()), static_cast<unsigned>(in_flight.size()));
    const int status =
        uv_write(&writing, reinterpret_cast<uv_stream_t*>(&tcp), &buffer, 1,
                 [](uv_write_t* request, int result) { static_cast<Block*>(request->data)->on_written(result); });
    if (status != 0) return write_failed(status);
    write_pending = true;
  }
  if (phase != Phase::kFarewell || write_pending) return;
  if (!shut_down) return finish_farewell();
  if (peer_gone) destroy();
}

void Connection::Block::on_written(int status) {
  write_pending = false;
  Bytes().swap(in_flight);
  if (phase == Phase::kGone) return;
  if (status != 0) return write_failed(status);
  push();
}

// The reading side knows better why: the peer's alert may have arrived, else the same error comes there. So this only
// stops writing; the timer is for a kernel that says nothing more.
void Connection::Block::write_failed(int status) {
  shut_down = true;
  batch.clear();
  batch_begin = 0;
  if (phase == Phase::kFarewell) {
    if (peer_gone) destroy();
    return;
  }
  write_failure = network_trouble("connection lost", status);
  uv_timer_start(
      &timer, [](uv_timer_t* handle) { static_cast<Block*>(handle->data)->on_timer(); }, milliseconds(limits.farewell),
      0);
}

void Connection::Block::farewell() {
  if (phase == Phase::kFarewell || phase == Phase::kGone) return;
  uv_idle_stop(&turn);
  if (phase == Phase::kConnecting) return destroy();
  phase = Phase::kFarewell;
  uv_timer_start(
      &timer, [](uv_timer_t* handle) { static_cast<Block*>(handle->data)->on_timer(); }, milliseconds(limits.farewell),
      0);
  push();
}

void Connection::Block::finish_farewell() {
  tls.close();
  shut_down = true;
  // The close_notify is a few bytes; should the kernel have no room for them, the end of the stream says the same.
  const auto out = tls.output();
  if (!out.empty()) {
    const uv_buf_t buffer =
        uv_buf_init(const_cast<char*>(reinterpret_cast<const char*>(out.data())), static_cast<unsigned>(out.size()));
    uv_try_write(reinterpret_cast<uv_stream_t*>(&tcp), &buffer, 1);
  }
  if (peer_gone || uv_shutdown(&shutting, reinterpret_cast<uv_stream_t*>(&tcp), nullptr) != 0) destroy();
}

void Connection::Block::destroy() {
  if (phase == Phase::kGone) return;
  phase = Phase::kGone;
  token.reset();
  const auto closed = [](uv_handle_t* handle) {
    auto* block = static_cast<Block*>(handle->data);
    if (--block->open_handles == 0 && block->front == nullptr) delete block;
  };
  uv_close(reinterpret_cast<uv_handle_t*>(&tcp), closed);
  uv_close(reinterpret_cast<uv_handle_t*>(&timer), closed);
  uv_close(reinterpret_cast<uv_handle_t*>(&turn), closed);
}

void Connection::Block::on_timer() {
  switch (phase) {
    case Phase::kConnecting:
      return end(
          {"no answer from " + remote.to_string(), "is dipcd running there, and does a firewall let it through?"});
    case Phase::kHandshake:
      if (write_failure) return end(*write_failure);
      return end({"the peer did not finish the TLS handshake in " + std::to_string(limits.handshake.count()) + " ms",
                  "is it a dipcd?"});
    case Phase::kReady:
      if (write_failure) return end(*write_failure);
      return end({"the peer said nothing for " + std::to_string(limits.handshake.count()) + " ms after the handshake",
                  "is it a dipcd?"});
    case Phase::kFarewell:
      return destroy();
    case Phase::kGone:
      return;
  }
}

std::size_t Connection::Block::queued_bytes() const {
  const std::size_t in_kernel_queue = write_pending ? tcp.write_queue_size : 0;
  return batch.size() - batch_begin + tls.output().size() + in_kernel_queue;
}

// ---- Connection

std::shared_ptr<Connection> Connection::dial(uv_loop_t* loop, const Endpoint& endpoint, const TlsContext& tls,
                                             Callbacks callbacks, const ConnectionLimits& limits) {
  std::shared_ptr<Connection> connection(new Connection(new Block(loop, TlsStream::Role::kDialler, tls, limits)));
  connection->block_->front = connection.get();
  connection->set_callbacks(std::move(callbacks));
  connection->block_->start_dial(endpoint);
  return connection;
}

std::shared_ptr<Connection> Connection::accept(uv_stream_t* listening, const TlsContext& tls,
                                               const ConnectionLimits& limits) {
  auto* block = new Block(listening->loop, TlsStream::Role::kAcceptor, tls, limits);
  std::shared_ptr<Connection> connection(new Connection(block));
  block->front = connection.get();
  connection->set_callbacks({});
  if (uv_accept(listening, reinterpret_cast<uv_stream_t*>(&block->tcp)) != 0) return nullptr;
  block->remote = remote_endpoint(block->tcp);
  block->start_tls();
  return connection;
}

Connection::~Connection() {
  block_->silent = true;
  if (block_->phase != Block::Phase::kFarewell) block_->destroy();
  block_->front = nullptr;
  if (block_->open_handles == 0) delete block_;
}

void Connection::set_callbacks(Callbacks callbacks) {
  block_->callbacks = std::make_shared<const Callbacks>(std::move(callbacks));
}

void Connection::hold(std::shared_ptr<void> token) { block_->token = std::move(token); }

void Connection::send(const Record& record) {
  if (block_->phase == Block::Phase::kFarewell || block_->phase == Block::Phase::kGone) return;
  DIPC_CHECK(block_->phase == Block::Phase::kReady);
  block_->send(record);
}

void Connection::flush() { block_->flush(); }

void Connection::close() {
  block_->silent = true;
  block_->farewell();
}

void Connection::abort() {
  block_->silent = true;
  block_->destroy();
}

bool Connection::is_ready() const { return block_->phase == Block::Phase::kReady; }
bool Connection::is_dialler() const { return block_->role == TlsStream::Role::kDialler; }
std::size_t Connection::queued_bytes() const { return block_->queued_bytes(); }
const CertificateInfo& Connection::peer() const { return block_->tls.peer(); }
std::string_view Connection::cipher() const { return block_->tls.cipher(); }
const Endpoint& Connection::remote() const { return block_->remote; }

}  // namespace dipc
