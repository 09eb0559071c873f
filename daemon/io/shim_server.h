#pragma once

// The daemon's end of wire/local.h: programs (through the shim) and dipcctl on a unix SOCK_SEQPACKET socket. Reads
// whole requests, puts those of one turn of the loop into the order in which the programs issued them, and sends
// replies. Knows nothing of what the requests mean.
//
// Order. epoll may report a later writer first, so requests carry CLOCK_MONOTONIC at issue; all that is readable in one
// turn is read first and handed over sorted by that stamp. A process that another one saw asleep in its call had
// written its request before, so it is never overtaken.
//
// Replies with a message must not be lost: a reply is `taken` when the program has read it, known from its next
// request, from an empty send queue (SIOCOUTQ) or a clean close; a socket closed with the reply unread gives ECONNRESET
// (unix(7), net/unix/af_unix.c unix_release_sock), and the reply is `unread`.
//
// Limits. Each login (the user of connect(2)) has so many connections and so many bytes: of requests that are not
// answered and of large replies that are not read. Beyond them a request gets ENOMEM. Connections beyond the limit are
// let in for administration alone, a few at a time: whoever has used up his own can still ask why. All but root, and
// the user that runs the daemon, leave half of the daemon's descriptors to others.

#include <sys/types.h>
#include <uv.h>

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "arch/abi.h"
#include "daemon/io/local_socket.h"
#include "daemon/io/loop.h"
#include "daemon/io/process_watch.h"
#include "wire/descriptor.h"
#include "wire/local.h"
#include "wire/messages.h"
#include "wire/result.h"

namespace dipc {

// One socket of one program (one thread of it); never used again by this server.
enum class ClientId : std::uint64_t {};

struct LocalRequest {
  ClientId client{};
  LocalCredentials credentials;
  Abi abi;  // of the client
  local::Request header;
  Bytes payload;                       // what arrived
  bool unreadable = false;             // less arrived than header.payload_bytes: the program's buffer can't be read
  std::shared_ptr<Descriptor> passed;  // a descriptor that came with it and is not the payload's; usually none
};

class ShimServer {
 public:
  struct Handler {
    virtual ~Handler() = default;
    // A request of any kind but kHello and kCancel. Answered by reply(), now or later, exactly once.
    virtual void on_request(LocalRequest request) = 0;
    // The program gives the outstanding call up. It is still answered by reply().
    virtual void on_cancel(ClientId client, std::uint64_t call) = 0;
    // Replies sent with `track`: one of the two, once.
    virtual void on_reply_taken(ClientId client, std::uint64_t call) = 0;
    virtual void on_reply_unread(ClientId client, std::uint64_t call) = 0;
    // The socket is closed or its process ended; nothing may be sent any more.
    virtual void on_client_gone(ClientId client) = 0;
  };
  struct Options {
    std::string path;                 // of the socket
    std::uint32_t op_timeout_ms = 0;  // told to programs, as is the keeper's pid; unset: there is no keeper
    std::function<std::int32_t()> keeper_pid;
    std::function<std::string(uid_t)> login_of = {};  // for the log
    std::size_t connections_per_login = 10000;
    std::uint64_t bytes_per_login = std::uint64_t{256} << 20;
    std::size_t descriptors_max = 0;  // of programs that are not root's; 0: half of RLIMIT_NOFILE
    std::chrono::milliseconds hello_timeout{10'000};
  };

  // Errors: see listen_at().
  static Result<std::unique_ptr<ShimServer>> listen(uv_loop_t* loop, Options options, Handler& handler);
  // Closes all sockets and removes the socket file: from now on programs act as if DIPC were not there.
  ~ShimServer();

  // False: the client has gone or does not read; a tracked reply is then unread. Payload: up to 4 GiB, copied.
  // `descriptors`: at most two, borrowed; a payload with them is not longer than kInlineBytesMax.
  bool reply(ClientId client, local::Reply header, std::span<const std::byte> payload, bool track = false,
             std::span<const int> descriptors = {});

  // Connections that have not asked for administration, as dipcctl does.
  std::size_t program_count() const;

 private:
  struct Client;
  struct Login {
    std::size_t connections = 0;
    std::uint64_t bytes = 0;
  };
  ShimServer(uv_loop_t* loop, Options options, Handler& handler, Descriptor socket);
  void on_connection();
  void add_client(Descriptor socket);
  bool has_room(uid_t uid) const;
  void settle_in(Client& client);
  void add_surplus(const Client& client);
  void end_silent();
  bool refuse(Client& client, std::uint64_t call, const std::string& why);
  bool admit(Client& client, const local::Request& header, std::size_t bytes, uid_t uid);
  void hold_bytes(Client& client, uid_t uid, std::uint64_t bytes);
  void let_go(Client& client);
  void forget_login(uid_t uid);
  std::string name_of(uid_t uid) const;
  void pause_accepting();
  void on_readable(Client& client);
  bool on_hello(Client& client, const local::HelloRequest& hello, const LocalCredentials& credentials);
  bool on_packet(Client& client, LocalPacket packet);
  void on_process_ended(pid_t pid);
  void close_client(ClientId client, bool unread);
  void confirm_taken(Client& client);
  void look_for_taken();
  void hand_over();

  uv_loop_t* loop_;
  Options options_;
  Handler& handler_;
  Descriptor socket_;
  std::uint64_t ipc_namespace_;
  std::uint64_t next_client_ = 1;
  std::map<ClientId, std::unique_ptr<Client>> clients_;
  std::map<uid_t, Login> logins_;                                 // those with something
  std::deque<ClientId> surplus_;                                  // let in for administration alone, the oldest first
  std::deque<std::pair<TimePoint, ClientId>> silent_;             // when those that have not said hello are closed
  std::vector<LocalRequest> turn_;                                // read in this turn, not yet handed over
  std::vector<std::pair<ClientId, std::uint64_t>> turn_cancels_;  // likewise; after the requests
  std::vector<std::byte> packet_;
  ProcessWatch processes_;
  std::unique_ptr<ReadPoll> accept_poll_;
  std::unique_ptr<Timer> accept_timer_;
  std::unique_ptr<AfterPoll> after_poll_;
  std::unique_ptr<Timer> taken_timer_;
  std::unique_ptr<Timer> hello_timer_;
};

}  // namespace dipc
