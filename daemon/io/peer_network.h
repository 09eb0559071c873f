#pragma once

// The other hosts: listens, dials, judges who may take part, and drives one PeerSessions per peer over TLS connections.
//
// A peer is let in if hosts.allow has a line for the name that it claims, its certificate carries that name (and the
// line's fingerprint, if it has one), and its address fits. Everybody else is told why and logged with the rule.
//
// In: send(), reconfigure()   Out: Handler   Owns: the listeners, connections and sessions.

#include <uv.h>

#include <deque>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/core/configuration.h"
#include "daemon/core/hosts_allow.h"
#include "daemon/core/session.h"
#include "daemon/io/connection.h"
#include "daemon/io/listener.h"
#include "daemon/io/log.h"
#include "daemon/io/loop.h"
#include "daemon/io/peer_outbox.h"
#include "daemon/io/tls.h"

namespace dipc {

class PeerNetwork : public PeerOutbox {
 public:
  struct Handler {
    virtual ~Handler() = default;
    virtual void on_peer_message(const std::string& host, PeerMessage message) = 0;
    virtual void on_session_began(const std::string& host, const Hello& hello) = 0;
    // `unwritten`: messages that the peer certainly has not seen. Of what was sent else the fate is unknown.
    virtual void on_session_ended(const std::string& host, PeerSessions::EndReason reason,
                                  const std::vector<PeerMessage>& unwritten) = 0;
    // No session came in time for these; there was none, so nothing else is lost.
    virtual void on_unreachable(const std::string& host, const std::vector<PeerMessage>& unwritten) = 0;
  };
  struct PeerStatus {
    std::string host;
    std::string address;  // of the connection, or where it is dialled
    PeerSessions::State state{};
    std::string reason;  // why it is not connected; empty if it is, or nothing has gone wrong yet
    SessionNumber session{};
    std::optional<Abi> abi;  // of the session
    std::uint64_t waiting_bytes = 0;
  };

  // `own` is this host's Hello. `tls` and `handler` are borrowed for life.
  PeerNetwork(uv_loop_t* loop, Configuration configuration, HostsAllow allow, const TlsContext& tls, Hello own,
              Handler& handler);
  ~PeerNetwork() override;

  // Opens the listeners; then dials every configured peer.
  Result<void> start();
  bool send(const std::string& host, PeerMessage message) override;
  bool withdraw(const std::string& host, CallId call) override;
  bool takes_answers(const std::string& host) const override;
  void end_session(const std::string& host, const std::string& why) override;
  // Hosts that may not come any more lose their session at once. Addresses of `listen` need a restart.
  void reconfigure(Configuration configuration, HostsAllow allow);
  // Ends every session; peers are told.
  void stop(const std::string& why);

  std::vector<PeerStatus> peers() const;
  // Every host with a session or an address, this one not included.
  std::vector<std::string> hosts() const;
  bool has_session(const std::string& host) const;

 private:
  struct Peer;
  Peer& peer(const std::string& host);
  void on_accept(std::shared_ptr<Connection> connection);
  ConnectionLimits connection_limits() const;
  bool make_room(const IpAddress& address);
  void drop_stranger(const Connection& connection);
  void on_first_record(const std::shared_ptr<Connection>& connection, Record record);
  void dial(Peer& peer);
  void stop_dial(Peer& peer);
  void adopt(Peer& peer, ConnectionId id, std::shared_ptr<Connection> connection, bool is_ours);
  void note(Peer& peer, LogLevel level, const std::string& about, const Trouble& why);
  bool is_connecting_with(const IpAddress& address) const;
  void on_record(Peer& peer, ConnectionId id, Record record);
  HostsAllow::Verdict judge(const Connection& connection, const std::string& claimed) const;
  void carry_out(Peer& peer);
  void act(Peer& peer, PeerSessions::Action& action);
  Connection* connection_of(Peer& peer, ConnectionId id);
  void deliver_to_self();

  uv_loop_t* loop_;
  Configuration configuration_;
  HostsAllow allow_;
  const TlsContext& tls_;
  Hello own_;
  Handler& handler_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  // Sockets that came from each address and are not closed yet; outlived by those that still say their last words.
  std::shared_ptr<std::map<IpAddress, std::size_t>> guests_;
  std::list<std::shared_ptr<Connection>> strangers_;  // accepted, no Hello yet; the oldest first
  std::map<std::string, std::unique_ptr<Peer>> peers_;
  std::uint64_t next_connection_ = 1;
  std::deque<PeerMessage> to_self_;
  std::unique_ptr<AfterPoll> after_poll_;
};

}  // namespace dipc
