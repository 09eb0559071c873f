#include "daemon/io/peer_network.h"

#include <algorithm>

#include "arch/abi_names.h"
#include "daemon/io/log.h"
#include "daemon/io/random.h"

namespace dipc {

namespace {

// Connections of all addresses that have not said who they are. When there are too many the oldest goes: a daemon says
// who it is within milliseconds.
constexpr std::size_t kStrangersMax = 256;

std::string topic(const std::string& host) { return "peer " + host; }

// Of two hosts that dial each other at the same moment one is refused: nothing is wrong then.
LogLevel level_of(const Refusal& refusal) {
  return refusal.reason == Refusal::Reason::kAlreadyConnected ? LogLevel::kDebug : LogLevel::kWarning;
}

}  // namespace

struct PeerNetwork::Peer {
  Peer(uv_loop_t* loop, Hello own, const std::string& host, SessionOptions options, std::function<void()> on_time)
      : sessions(loop_now(), std::move(own), host, options), timer(loop, std::move(on_time)) {}
  PeerSessions sessions;
  Timer timer;
  std::shared_ptr<Connection> dialled;  // not yet reported to `sessions`
  std::map<ConnectionId, std::shared_ptr<Connection>> connections;
  bool carrying_out = false;
  std::string reason;  // what last kept it from being connected
};

PeerNetwork::PeerNetwork(uv_loop_t* loop, Configuration configuration, HostsAllow allow, const TlsContext& tls,
                         Hello own, Handler& handler)
    : loop_(loop),
      configuration_(std::move(configuration)),
      allow_(std::move(allow)),
      tls_(tls),
      own_(std::move(own)),
      handler_(handler),
      guests_(std::make_shared<std::map<IpAddress, std::size_t>>()),
      after_poll_(std::make_unique<AfterPoll>(loop, [this] { deliver_to_self(); })) {}

PeerNetwork::~PeerNetwork() {
  for (const auto& connection : strangers_) connection->abort();
  for (auto& [host, peer] : peers_) {
    if (peer->dialled) peer->dialled->abort();
    for (auto& [id, connection] : peer->connections) connection->close();
  }
}

Result<void> PeerNetwork::start() {
  for (const Endpoint& endpoint : configuration_.listen) {
    auto listener = Listener::open(
        loop_, endpoint, tls_, [this](std::shared_ptr<Connection> connection) { on_accept(std::move(connection)); },
        connection_limits());
    if (!listener) return tl::unexpected(listener.error());
    log_info("listening", "on " + endpoint.to_string());
    listeners_.push_back(std::move(*listener));
  }
  for (const auto& [host, endpoint] : configuration_.peers) carry_out(peer(host));
  return {};
}

PeerNetwork::Peer& PeerNetwork::peer(const std::string& host) {
  auto& slot = peers_[host];
  if (!slot) {
    SessionOptions options;
    options.dials = configuration_.peers.contains(host);
    options.keepalive = configuration_.timing.keepalive;
    options.peer_timeout = configuration_.timing.peer_timeout;
    options.op_timeout = configuration_.timing.op_timeout;
    options.buffer_bytes = configuration_.limits.session_buffer_bytes;
    options.answer_bytes = configuration_.limits.bytes_per_peer;
    slot = std::make_unique<Peer>(loop_, own_, host, options, [this, host] {
      Peer& due = *peers_.at(host);
      due.sessions.on_time(loop_now(), random_number());
      carry_out(due);
    });
  }
  return *slot;
}

HostsAllow::Verdict PeerNetwork::judge(const Connection& connection, const std::string& claimed) const {
  const CertificateInfo& certificate = connection.peer();
  return allow_.check({.certificate_names = certificate.names,
                       .fingerprint = normalize_fingerprint(certificate.fingerprint).value_or(""),
                       .address = connection.remote().address,
                       .claimed_host = claimed});
}

// All that a session may have to send again fits, in its encoded form too.
ConnectionLimits PeerNetwork::connection_limits() const {
  ConnectionLimits limits;
  limits.queued_bytes_max =
      static_cast<std::size_t>(std::min<std::uint64_t>(4 * configuration_.limits.session_buffer_bytes, SIZE_MAX));
  return limits;
}

// ---- connections that come

// False: the address has all the connections that it may have, and each belongs to a session or is being closed.
bool PeerNetwork::make_room(const IpAddress& address) {
  const auto has_address = [&](const auto& stranger) { return stranger->remote().address == address; };
  const auto found = guests_->find(address);
  const bool many_of_address = found != guests_->end() && found->second >= configuration_.limits.connections_per_peer;
  if (!many_of_address && strangers_.size() < kStrangersMax) return true;
  const auto oldest =
      many_of_address ? std::find_if(strangers_.begin(), strangers_.end(), has_address) : strangers_.begin();
  if (oldest == strangers_.end()) return false;
  log_warning("limit of " + (*oldest)->remote().address.to_string(),
              (*oldest)->remote().to_string() + ": has not said who it is, and too many others wait");
  (*oldest)->abort();
  strangers_.erase(oldest);
  return true;
}

void PeerNetwork::on_accept(std::shared_ptr<Connection> connection) {
  const std::string from = connection->remote().to_string();
  if (!allow_.may_come_from(connection->remote().address)) {
    log_warning("refused", from + ": no line of hosts.allow has this address");
    connection->abort();
    return;
  }
  const IpAddress address = connection->remote().address;
  if (!make_room(address)) {
    log_warning("limit of " + address.to_string(), from + ": this address has " +
                                                       std::to_string(configuration_.limits.connections_per_peer) +
                                                       " connections here (limits.connections_per_peer)");
    connection->abort();
    return;
  }
  ++(*guests_)[address];
  connection->hold({nullptr, [guests = guests_, address](void*) {
                      const auto one = guests->find(address);
                      if (--one->second == 0) guests->erase(one);
                    }});
  Connection::Callbacks callbacks;
  callbacks.on_record = [this](Connection& from_peer, Record record) {
    on_first_record(from_peer.shared_from_this(), std::move(record));
  };
  callbacks.on_closed = [this, from](Connection& closed, const Trouble& why) {
    // Of two hosts that dial each other at the same moment one gives its connection up.
    const bool may_be_needless = is_connecting_with(closed.remote().address);
    log_trouble(may_be_needless ? LogLevel::kInfo : LogLevel::kWarning, "connection from " + from, why);
    drop_stranger(closed);
  };
  connection->set_callbacks(std::move(callbacks));
  strangers_.push_back(std::move(connection));
}

void PeerNetwork::drop_stranger(const Connection& connection) {
  strangers_.remove_if([&](const auto& stranger) { return stranger.get() == &connection; });
}

void PeerNetwork::on_first_record(const std::shared_ptr<Connection>& connection, Record record) {
  drop_stranger(*connection);
  const std::string from = connection->remote().to_string();
  const auto* hello = std::get_if<Hello>(&record);
  if (hello == nullptr) {
    log_warning("connection from " + from, "does not begin with a hello");
    connection->abort();
    return;
  }
  const auto verdict = judge(*connection, hello->host);
  if (!verdict.allowed) {
    log_warning("refused", from + ": " + verdict.reason);
    connection->send(Refusal{Refusal::Reason::kNotAllowed, "not allowed here; ask the administrator of " + own_.host});
    connection->close();
    return;
  }
  if (hello->host == own_.host) {
    log_warning("refused", from + ": claims to be " + own_.host + ", which is this host");
    connection->send(Refusal{Refusal::Reason::kSelf, own_.host + " is the name of the host that you called"});
    connection->close();
    return;
  }
  Peer& known = peer(hello->host);
  const ConnectionId id{next_connection_++};
  adopt(known, id, connection, false);
  known.sessions.on_accepted(loop_now(), id, connection->remote().address.to_string());
  known.sessions.on_hello(loop_now(), id, *hello);
  carry_out(known);
}

// ---- connections that we make

void PeerNetwork::dial(Peer& peer) {
  const std::string host = peer.sessions.peer();
  const auto address = configuration_.peers.find(host);
  if (address == configuration_.peers.end()) {
    peer.sessions.on_dial_failed(loop_now());
    return;
  }
  Connection::Callbacks callbacks;
  callbacks.on_ready = [this, host](Connection& ready) {
    Peer& dialled = *peers_.at(host);
    const std::shared_ptr<Connection> connection = std::move(dialled.dialled);
    const auto verdict = judge(ready, host);
    if (verdict.allowed) {
      const ConnectionId id{next_connection_++};
      adopt(dialled, id, connection, true);
      dialled.sessions.on_dialled(loop_now(), id, ready.remote().address.to_string());
    } else {
      note(dialled, LogLevel::kWarning, "refused", {"dialled " + host + ": " + verdict.reason, ""});
      connection->abort();
      dialled.sessions.on_dial_failed(loop_now());
    }
    carry_out(dialled);
  };
  callbacks.on_closed = [this, host](Connection&, const Trouble& why) {
    Peer& dialled = *peers_.at(host);
    note(dialled, LogLevel::kWarning, topic(host), why);
    dialled.dialled.reset();
    dialled.sessions.on_dial_failed(loop_now());
    carry_out(dialled);
  };
  peer.dialled = Connection::dial(loop_, address->second, tls_, std::move(callbacks), connection_limits());
}

void PeerNetwork::stop_dial(Peer& peer) {
  if (peer.dialled) peer.dialled->abort();
  peer.dialled.reset();
}

// ---- connections with a peer at the other end

void PeerNetwork::adopt(Peer& peer, ConnectionId id, std::shared_ptr<Connection> connection, bool is_ours) {
  const std::string host = peer.sessions.peer();
  Connection::Callbacks callbacks;
  callbacks.on_record = [this, host, id](Connection&, Record record) {
    on_record(*peers_.at(host), id, std::move(record));
  };
  callbacks.on_closed = [this, host, id, is_ours](Connection&, const Trouble& why) {
    Peer& of = *peers_.at(host);
    // A peer that does not believe our certificate says so only after the handshake has ended for us.
    note(of, is_ours && !has_session(host) ? LogLevel::kWarning : LogLevel::kInfo, topic(host), why);
    of.connections.erase(id);
    of.sessions.on_closed(loop_now(), id);
    carry_out(of);
  };
  connection->set_callbacks(std::move(callbacks));
  peer.connections.emplace(id, std::move(connection));
}

// A peer that can't be reached is dialled again and again: what is wrong is told once, until it changes.
void PeerNetwork::note(Peer& peer, LogLevel level, const std::string& about, const Trouble& why) {
  log_trouble(why.what == peer.reason ? LogLevel::kDebug : level, about, why);
  peer.reason = why.what;
}

bool PeerNetwork::is_connecting_with(const IpAddress& address) const {
  return std::any_of(peers_.begin(), peers_.end(), [&](const auto& entry) {
    const auto& [host, known] = entry;
    const auto configured = configuration_.peers.find(host);
    if (known->dialled && configured != configuration_.peers.end() && configured->second.address == address)
      return true;
    return std::any_of(known->connections.begin(), known->connections.end(),
                       [&](const auto& one) { return one.second->remote().address == address; });
  });
}

void PeerNetwork::on_record(Peer& peer, ConnectionId id, Record record) {
  if (auto* frame = std::get_if<Frame>(&record)) {
    peer.sessions.on_frame(loop_now(), id, std::move(*frame));
  } else if (const auto* hello = std::get_if<Hello>(&record)) {
    peer.sessions.on_hello(loop_now(), id, *hello);
  } else {
    peer.sessions.on_refusal(loop_now(), id, std::get<Refusal>(record));
  }
  carry_out(peer);
}

Connection* PeerNetwork::connection_of(Peer& peer, ConnectionId id) {
  const auto found = peer.connections.find(id);
  return found == peer.connections.end() ? nullptr : found->second.get();
}

// Handlers may send(), which only adds to the actions: they are carried out by the loop that is running already.
void PeerNetwork::carry_out(Peer& peer) {
  if (peer.carrying_out) return;
  peer.carrying_out = true;
  for (;;) {
    auto actions = peer.sessions.take_actions();
    if (actions.empty()) break;
    for (auto& action : actions) act(peer, action);
  }
  peer.carrying_out = false;
  if (peer.sessions.connection()) peer.reason.clear();
  peer.timer.start_at(peer.sessions.deadline());
}

void PeerNetwork::act(Peer& peer, PeerSessions::Action& action) {
  const std::string& host = peer.sessions.peer();
  if (auto* transmit = std::get_if<PeerSessions::Transmit>(&action)) {
    if (Connection* connection = connection_of(peer, transmit->connection))
      connection->send(std::move(transmit->frame));
  } else if (auto* deliver = std::get_if<PeerSessions::Deliver>(&action)) {
    handler_.on_peer_message(host, std::move(deliver->message));
  } else if (std::holds_alternative<PeerSessions::Dial>(action)) {
    dial(peer);
  } else if (std::holds_alternative<PeerSessions::StopDial>(action)) {
    stop_dial(peer);
  } else if (const auto* hello = std::get_if<PeerSessions::SendHello>(&action)) {
    if (Connection* connection = connection_of(peer, hello->connection)) connection->send(hello->hello);
  } else if (const auto* refusal = std::get_if<PeerSessions::SendRefusal>(&action)) {
    log_event(level_of(refusal->refusal), topic(host), "refused a connection: " + refusal->refusal.text);
    if (Connection* connection = connection_of(peer, refusal->connection)) connection->send(refusal->refusal);
  } else if (const auto* close = std::get_if<PeerSessions::Close>(&action)) {
    if (!close->expected) log_warning(topic(host), "connection closed: " + close->reason);
    const auto found = peer.connections.find(close->connection);
    if (found != peer.connections.end()) {
      found->second->close();
      peer.connections.erase(found);
    }
  } else if (const auto* began = std::get_if<PeerSessions::Began>(&action)) {
    log_info(topic(host), "session began; " + spoken(began->peer.abi));
    handler_.on_session_began(host, began->peer);
  } else if (const auto* ended = std::get_if<PeerSessions::Ended>(&action)) {
    peer.reason = ended->text;
    log_warning(topic(host), "session ended: " + ended->text);
    handler_.on_session_ended(host, ended->reason, ended->unwritten);
  } else if (const auto* unreachable = std::get_if<PeerSessions::Unreachable>(&action)) {
    handler_.on_unreachable(host, unreachable->unwritten);
  } else if (const auto* refused = std::get_if<PeerSessions::Refused>(&action)) {
    const LogLevel level = level_of(refused->refusal);
    if (level == LogLevel::kWarning) {
      note(peer, level, topic(host), {"refuses us: " + refused->refusal.text, ""});
    } else {
      log_event(level, topic(host), "refuses us: " + refused->refusal.text);
    }
  }
}

bool PeerNetwork::send(const std::string& host, PeerMessage message) {
  if (host == own_.host) {
    to_self_.push_back(std::move(message));
    after_poll_->keep_turning(true);
    return true;
  }
  const auto found = peers_.find(host);
  if (found == peers_.end()) return false;
  Peer& to = *found->second;
  const bool taken = to.sessions.send(loop_now(), std::move(message));
  carry_out(to);
  return taken;
}

bool PeerNetwork::withdraw(const std::string& host, CallId call) {
  const auto found = peers_.find(host);
  return found != peers_.end() && found->second->sessions.withdraw(call);
}

bool PeerNetwork::takes_answers(const std::string& host) const {
  const auto found = peers_.find(host);
  return found == peers_.end() || found->second->sessions.takes_answers();
}

void PeerNetwork::end_session(const std::string& host, const std::string& why) {
  const auto found = peers_.find(host);
  if (found == peers_.end()) return;
  found->second->sessions.on_bad_message(loop_now(), why);
  carry_out(*found->second);
}

void PeerNetwork::deliver_to_self() {
  while (!to_self_.empty()) {
    PeerMessage message = std::move(to_self_.front());
    to_self_.pop_front();
    handler_.on_peer_message(own_.host, std::move(message));
  }
  after_poll_->keep_turning(false);
}

// ---- administration

void PeerNetwork::reconfigure(Configuration configuration, HostsAllow allow) {
  configuration_ = std::move(configuration);
  allow_ = std::move(allow);
  for (auto& [host, known] : peers_) {
    bool allowed = allow_.lists(host);
    for (const auto& [id, connection] : known->connections) allowed = allowed && judge(*connection, host).allowed;
    if (allowed) {
      known->sessions.set_dials(loop_now(), configuration_.peers.contains(host));
    } else {
      log_warning(topic(host), "no longer allowed by hosts.allow");
      known->sessions.end(loop_now(), {Refusal::Reason::kNotAllowed, "no longer allowed"});
    }
    carry_out(*known);
  }
  for (const auto& [host, endpoint] : configuration_.peers) carry_out(peer(host));
}

void PeerNetwork::stop(const std::string& why) {
  listeners_.clear();
  for (auto& [host, known] : peers_) {
    known->sessions.end(loop_now(), {Refusal::Reason::kUnknownSession, why});
    carry_out(*known);
  }
}

std::vector<PeerNetwork::PeerStatus> PeerNetwork::peers() const {
  std::vector<PeerStatus> list;
  for (const auto& [host, known] : peers_) {
    PeerStatus status{.host = host};
    const auto address = configuration_.peers.find(host);
    if (address != configuration_.peers.end()) status.address = address->second.to_string();
    if (const auto id = known->sessions.connection()) {
      const auto connection = known->connections.find(*id);
      if (connection != known->connections.end()) status.address = connection->second->remote().to_string();
    }
    status.state = known->sessions.state(loop_now());
    if (status.state != PeerSessions::State::kConnected) status.reason = known->reason;
    status.session = known->sessions.session_number();
    if (const Hello* hello = known->sessions.peer_hello()) status.abi = hello->abi;
    status.waiting_bytes = known->sessions.waiting_bytes();
    list.push_back(std::move(status));
  }
  return list;
}

std::vector<std::string> PeerNetwork::hosts() const {
  std::vector<std::string> names;
  for (const auto& [host, known] : peers_) names.push_back(host);
  return names;
}

bool PeerNetwork::has_session(const std::string& host) const {
  const auto found = peers_.find(host);
  if (found == peers_.end()) return false;
  const auto state = found->second->sessions.state(loop_now());
  return state == PeerSessions::State::kConnected || state == PeerSessions::State::kDisconnected;
}

}  // namespace dipc
