#include "daemon/core/session.h"

#include <algorithm>
#include <utility>

#include "wire/check.h"

namespace dipc {
namespace {

constexpr int kSilentKeepalives = 3;  // so many without a word, and the connection counts as broken
constexpr std::chrono::milliseconds kBackoffFirst{100};
constexpr std::chrono::milliseconds kBackoffMost{2000};
// An acknowledgement waits for a frame to ride on: a reply usually follows within this time. Long enough for that, and
// short against the time in which a fast sender fills the buffer.
constexpr std::chrono::milliseconds kAcknowledgeDelay{5};
constexpr std::uint64_t kAcknowledgeFrames = 64;
constexpr std::uint64_t kAcknowledgeBytes = 1U << 20U;
constexpr std::size_t kEndedNumbers = 16;
constexpr std::size_t kBootBytesMax = 128;  // a UUID and the namespace; the referee keeps it with each name

std::string names(const std::string& ours, const std::string& theirs) {
  return "ours is \"" + ours + "\", yours is \"" + theirs + "\"";
}

}  // namespace

PeerSessions::PeerSessions(TimePoint now, Hello own, std::string peer, SessionOptions options)
    : own_(std::move(own)), peer_(std::move(peer)), options_(options), outbox_(options.buffer_bytes) {
  DIPC_CHECK(own_.protocol_min <= own_.protocol_max);
  DIPC_CHECK(options_.keepalive > Duration::zero());
  DIPC_CHECK(options_.peer_timeout > options_.keepalive);
  if (!options_.dials) return;
  grace_until_ = now + options_.op_timeout;
  dial_step_ = DialStep::kWaiting;
  dial_at_ = now;
}

// ---- connections

void PeerSessions::on_dialled(TimePoint now, ConnectionId connection, std::string remote_address) {
  if (dial_step_ != DialStep::kDialling) {
    actions_.emplace_back(Close{connection, "not needed any more"});
    return;
  }
  dial_step_ = DialStep::kGreeting;
  dial_at_ = now + options_.peer_timeout / 2;
  greeting_ = connection;
  greeting_address_ = std::move(remote_address);
  greeting_resumes_ = session_.has_value();
  if (!session_ && proposed_ == SessionNumber{}) proposed_ = SessionNumber{random_ == 0 ? 1 : random_};
  const SessionNumber number = session_ ? session_->number : proposed_;
  actions_.emplace_back(SendHello{connection, own_hello(number, greeting_resumes_)});
}

void PeerSessions::on_dial_failed(TimePoint now) {
  if (dial_step_ == DialStep::kDialling) schedule_dial(now);
}

void PeerSessions::on_accepted(TimePoint now, ConnectionId connection, std::string remote_address) {
  arrivals_[connection] = Arrival{std::move(remote_address), now};
}

void PeerSessions::on_closed(TimePoint now, ConnectionId connection) {
  if (link_ && link_->id == connection) {
    link_.reset();
    schedule_dial(now);
  } else if (dial_step_ == DialStep::kGreeting && greeting_ == connection) {
    schedule_dial(now);
  } else {
    arrivals_.erase(connection);
  }
}

void PeerSessions::on_hello(TimePoint now, ConnectionId connection, const Hello& hello) {
  if (dial_step_ == DialStep::kGreeting && greeting_ == connection) {
    on_answer(now, hello);
  } else if (link_ && link_->id == connection) {
    lose_link(now, "a second hello on one connection");
  } else if (const auto arrival = arrivals_.find(connection); arrival != arrivals_.end()) {
    std::string address = std::move(arrival->second.address);
    arrivals_.erase(arrival);
    on_first_hello(now, connection, std::move(address), hello);
  }
}

// What makes a session with this host impossible, whoever dialled.
std::optional<Refusal> PeerSessions::objection(const Hello& hello) const {
  using Reason = Refusal::Reason;
  if (hello.incarnation == own_.incarnation || hello.host == own_.host) {
    return Refusal{Reason::kSelf, "\"" + hello.host + "\" is this host itself: each host needs a name of its own"};
  }
  if (hello.protocol_max < own_.protocol_min || hello.protocol_min > own_.protocol_max) {
    const auto range = [](const Hello& of) {
      return std::to_string(of.protocol_min) + " to " + std::to_string(of.protocol_max);
    };
    return Refusal{Reason::kProtocolVersion, own_.host + " speaks protocol versions " + range(own_) + ", " +
                                                 hello.host + " speaks " + range(hello) +
                                                 ": install matching versions of DIPC"};
  }
  if (hello.boot.size() > kBootBytesMax) {
    return Refusal{Reason::kNotAllowed, "the boot id in the hello has " + std::to_string(hello.boot.size()) + " bytes"};
  }
  if (hello.cluster != own_.cluster) {
    return Refusal{Reason::kCluster,
                   "not the same cluster: " + names(own_.cluster, hello.cluster) + " (cluster in dipc.toml)"};
  }
  if (hello.referee != own_.referee) {
    return Refusal{Reason::kReferee, "all hosts of a cluster have one referee: " + names(own_.referee, hello.referee) +
                                         " (referee in dipc.toml)"};
  }
  if (hello.host != peer_) {
    return Refusal{Reason::kNotAllowed, "the certificate is for \"" + peer_ + "\", the hello says \"" + hello.host +
                                            "\" (host in dipc.toml)"};
  }
  return std::nullopt;
}

void PeerSessions::refuse(ConnectionId connection, Refusal refusal) {
  std::string reason = "refused: " + refusal.text;
  actions_.emplace_back(SendRefusal{connection, std::move(refusal)});
  actions_.emplace_back(Close{connection, std::move(reason)});
}

bool PeerSessions::can_resume(const Hello& hello) const {
  return session_ && session_->number == hello.session && session_->peer.incarnation == hello.incarnation &&
         hello.last_received >= outbox_.acknowledged() && hello.last_received <= outbox_.written();
}

// The peer's Hello on a connection that it dialled: resume, begin or refuse.
void PeerSessions::on_first_hello(TimePoint now, ConnectionId connection, std::string address, const Hello& hello) {
  using Reason = Refusal::Reason;
  if (auto refusal = objection(hello)) return refuse(connection, std::move(*refusal));
  if (hello.session == SessionNumber{} || (!hello.resumes && hello.last_received != 0)) {
    return refuse(connection, {Reason::kUnknownSession, "a hello that contradicts itself"});
  }
  const Duration silent = options_.keepalive * kSilentKeepalives;
  const bool other_incarnation = session_ && session_->peer.incarnation != hello.incarnation;
  if (other_incarnation && link_ && now - link_->heard <= silent && address != link_->address) {
    return refuse(connection, {Reason::kNameInUse, "\"" + peer_ + "\" is connected from " + link_->address +
                                                       ": two hosts have one name, or the old daemon still runs"});
  }
  // Simultaneous dials. Both ends decide alike: what the host with the smaller name dialled stays. It may have been
  // answered here already when the other Hello, on its way since before, comes in.
  if (own_.host < peer_) {
    const bool just_connected = link_ && link_->dialled && now - link_->since < options_.keepalive;
    if (dial_step_ == DialStep::kGreeting || just_connected) {
      return refuse(connection, {Reason::kAlreadyConnected, own_.host + " has dialled at the same time"});
    }
  }

  if (hello.resumes) {
    if (!session_ && hello.session == proposed_ && hello.last_received == 0) {
      begin(now, hello.session, hello);  // we proposed it, the answer was lost
    } else if (!can_resume(hello)) {
      return refuse(connection, {Reason::kUnknownSession, own_.host + " does not know this session any more"});
    }
    return attach(now, connection, std::move(address), false, hello);
  }
  if (session_ && session_->number == hello.session && !other_incarnation) {
    // Proposed again since our answer was lost; or a late arrival, if the peer has taken part in the session since.
    if (session_->confirmed) {
      return refuse(connection, {Reason::kAlreadyConnected, "this session has begun already"});
    }
    return attach(now, connection, std::move(address), false, hello);
  }
  if (std::find(ended_.begin(), ended_.end(), hello.session) != ended_.end()) {
    return refuse(connection, {Reason::kUnknownSession, own_.host + " has ended this session"});
  }
  if (other_incarnation) {
    end_session(now, EndReason::kPeerRestarted, "the daemon of " + peer_ + " was started again");
  } else if (session_) {
    end_session(now, EndReason::kSuperseded, peer_ + " begins a new session");
  }
  begin(now, hello.session, hello);
  attach(now, connection, std::move(address), false, hello);
}

// The peer's Hello on a connection that we dialled.
void PeerSessions::on_answer(TimePoint now, const Hello& hello) {
  const ConnectionId connection = greeting_;
  const SessionNumber number = session_ ? session_->number : proposed_;
  std::optional<Refusal> refusal = objection(hello);
  EndReason reason = EndReason::kProtocol;
  if (!refusal && greeting_resumes_ && session_->peer.incarnation != hello.incarnation) {
    reason = EndReason::kPeerRestarted;
    refusal = Refusal{Refusal::Reason::kUnknownSession, "this session was with another incarnation of " + peer_};
  }
  if (!refusal && (hello.session != number ||
                   (greeting_resumes_ ? !hello.resumes || !can_resume(hello) : hello.last_received != 0))) {
    refusal = Refusal{Refusal::Reason::kUnknownSession, "the answer does not fit what was asked"};
  }
  if (refusal) {
    std::string text = refusal->text;
    proposed_ = SessionNumber{};
    schedule_dial(now);
    refuse(connection, std::move(*refusal));
    if (greeting_resumes_) end_session(now, reason, std::move(text));
    return;
  }
  if (!greeting_resumes_) begin(now, number, hello);
  attach(now, connection, std::move(greeting_address_), true, hello);
  session_->heard = now;
}

void PeerSessions::on_refusal(TimePoint now, ConnectionId connection, const Refusal& refusal) {
  using Reason = Refusal::Reason;
  if (link_ && link_->id == connection) {
    actions_.emplace_back(Refused{refusal});
    // A peer that has merely ended the session, to be restarted for instance, will be there again.
    const bool again = refusal.reason == Reason::kUnknownSession;
    end_session(now, again ? EndReason::kSuperseded : EndReason::kRefused, refusal.text);
    return;
  }
  if (dial_step_ != DialStep::kGreeting || greeting_ != connection) {
    if (arrivals_.erase(connection) != 0) actions_.emplace_back(Close{connection, "a refusal before a hello", false});
    return;
  }
  actions_.emplace_back(Refused{refusal});
  actions_.emplace_back(Close{connection, "refused by " + peer_ + ": " + refusal.text});
  const bool resumed = greeting_resumes_;
  schedule_dial(now);
  if (refusal.reason == Reason::kAlreadyConnected) return;
  proposed_ = SessionNumber{};
  if (refusal.reason == Reason::kUnknownSession) {
    if (!resumed) return;
    // The peer is there and waits for a new session: at once, unless this goes round in circles.
    end_session(now, EndReason::kSuperseded, peer_ + ": " + refusal.text);
    if (dial_failures_ <= 1 && dial_step_ == DialStep::kWaiting) dial_at_ = now;
    return;
  }
  // What is wrong here, somebody has to correct: neither callers nor the peer are to be kept busy meanwhile.
  if (resumed) {
    end_session(now, EndReason::kRefused, refusal.text);
  } else if (!session_) {
    fail_waiting();
  }
}

// ---- a session's beginning and end

Hello PeerSessions::own_hello(SessionNumber number, bool resumes) const {
  Hello hello = own_;
  hello.session = number;
  hello.resumes = resumes;
  hello.last_received = session_ && session_->number == number ? session_->received : 0;
  return hello;
}

void PeerSessions::begin(TimePoint now, SessionNumber number, const Hello& peer) {
  DIPC_CHECK(!session_);
  session_.emplace(Session{});  // clang 14 sees no default constructor: a nested class with member initialisers
  session_->number = number;
  session_->peer = peer;
  session_->heard = now;
  proposed_ = SessionNumber{};
  grace_until_.reset();
  actions_.emplace_back(Began{peer});
}

// The session goes on over this connection, from where the peer says it is.
void PeerSessions::attach(TimePoint now, ConnectionId connection, std::string address, bool dialled,
                          const Hello& peer) {
  if (dialled) {
    dial_step_ = DialStep::kOff;
  } else {
    stop_dialling("the peer has connected");
  }
  if (link_) actions_.emplace_back(Close{link_->id, "replaced by a newer connection"});
  link_ = Link{connection, std::move(address), dialled, now, now, now};
  if (!dialled) {
    // A beginning has nothing to resume on either side, so the peer that proposes it reads the same from both values.
    actions_.emplace_back(SendHello{connection, own_hello(session_->number, peer.resumes)});
    session_->owed_frames = 0;
    session_->owed_bytes = 0;
    session_->acknowledge_at = kNever;
  }
  outbox_.acknowledge(peer.last_received);
  for (std::uint64_t sequence = outbox_.acknowledged() + 1; sequence <= outbox_.written(); ++sequence) {
    transmit(now, sequence, &outbox_.at(sequence));
  }
  pump(now);
  // The acceptor does not know yet that its answer has come.
  if (dialled && outbox_.written() == outbox_.acknowledged()) transmit(now, 0, nullptr);
}

void PeerSessions::end_session(TimePoint now, EndReason reason, std::string text) {
  DIPC_CHECK(session_);
  if (link_) actions_.emplace_back(Close{link_->id, "the session has ended: " + text});
  link_.reset();
  if (dial_step_ == DialStep::kGreeting && greeting_resumes_) stop_dialling("the session has ended: " + text);
  ended_.push_back(session_->number);
  if (ended_.size() > kEndedNumbers) ended_.pop_front();

  SessionOutbox::Rest rest = outbox_.take_rest();
  Ended ended{reason, std::move(text), std::move(rest.unwritten), std::move(rest.unacknowledged)};
  session_.reset();
  actions_.emplace_back(std::move(ended));
  if ((reason == EndReason::kPeerRestarted || reason == EndReason::kSuperseded) && options_.dials) {
    grace_until_ = now + options_.op_timeout;
  }
  if (dial_step_ == DialStep::kOff) schedule_dial(now);
}

void PeerSessions::lose_link(TimePoint now, std::string reason) {
  actions_.emplace_back(Close{link_->id, std::move(reason), false});
  link_.reset();
  schedule_dial(now);
}

void PeerSessions::fail_waiting() {
  grace_until_.reset();
  SessionOutbox::Rest rest = outbox_.take_rest();
  if (!rest.unwritten.empty()) actions_.emplace_back(Unreachable{std::move(rest.unwritten)});
}

// ---- frames

void PeerSessions::on_frame(TimePoint now, ConnectionId connection, Frame frame) {
  if (!link_ || link_->id != connection) {
    if (dial_step_ == DialStep::kGreeting && greeting_ == connection) {
      actions_.emplace_back(Close{connection, "a frame before a hello", false});
      schedule_dial(now);
    } else if (arrivals_.erase(connection) != 0) {
      actions_.emplace_back(Close{connection, "a frame before a hello", false});
    }
    return;
  }
  Session& session = *session_;
  if ((frame.sequence != 0) != frame.message.has_value() || frame.acknowledged > outbox_.written()) {
    return lose_link(now, "a frame that contradicts itself");
  }
  if (frame.sequence > session.received + 1) return lose_link(now, "a frame is missing");
  link_->heard = now;
  session.heard = now;
  session.confirmed = true;
  dial_failures_ = 0;
  if (frame.sequence != 0) {
    ++session.owed_frames;  // a repeated one too: its sender does not know that we have it
    if (session.acknowledge_at == kNever) session.acknowledge_at = now + kAcknowledgeDelay;
    if (frame.sequence == session.received + 1) {
      session.received = frame.sequence;
      session.owed_bytes += SessionOutbox::bytes_of(*frame.message);
      actions_.emplace_back(Deliver{std::move(*frame.message)});
    }
    if (session.owed_frames >= kAcknowledgeFrames || session.owed_bytes >= kAcknowledgeBytes) transmit(now, 0, nullptr);
  }
  if (frame.acknowledged > outbox_.acknowledged()) {
    outbox_.acknowledge(frame.acknowledged);
    pump(now);
  }
}

// Sequence 0: a frame without a message, as keep-alive or acknowledgement.
void PeerSessions::transmit(TimePoint now, std::uint64_t sequence, const PeerMessage* message) {
  Transmit out{link_->id, Frame{sequence, session_->received, std::nullopt}};
  if (message != nullptr) out.frame.message = *message;
  actions_.emplace_back(std::move(out));
  link_->sent = now;
  session_->owed_frames = 0;
  session_->owed_bytes = 0;
  session_->acknowledge_at = kNever;
}

// Writes what may be written.
void PeerSessions::pump(TimePoint now) {
  if (!link_) return;
  while (const PeerMessage* next = outbox_.write_next()) transmit(now, outbox_.written(), next);
}

bool PeerSessions::is_overrun() const {
  return session_ && outbox_.answer_bytes() > options_.buffer_bytes + options_.answer_bytes;
}

bool PeerSessions::send(TimePoint now, PeerMessage message) {
  if (state(now) == State::kUnreachable) return false;
  outbox_.add(std::move(message));
  pump(now);
  return true;
}

// ---- time and dialling

void PeerSessions::on_time(TimePoint now, std::uint64_t random) {
  if (session_ && session_->heard + options_.peer_timeout <= now) {
    end_session(now, EndReason::kTimeout, "nothing was heard of " + peer_);
  }
  if (is_overrun()) {
    std::string text = peer_ + " does not take what it asks for: " + std::to_string(outbox_.answer_bytes()) +
                       " bytes are kept for it (limits.bytes_per_peer)";
    if (link_) actions_.emplace_back(SendRefusal{link_->id, {Refusal::Reason::kUnknownSession, text}});
    end_session(now, EndReason::kProtocol, std::move(text));
  }
  if (link_ && link_->heard + options_.keepalive * kSilentKeepalives <= now) {
    lose_link(now, "the connection is silent");
  }
  if (link_ && (link_->sent + options_.keepalive <= now || session_->acknowledge_at <= now)) {
    transmit(now, 0, nullptr);
  }
  if (!session_ && grace_until_ && *grace_until_ <= now) fail_waiting();
  for (auto arrival = arrivals_.begin(); arrival != arrivals_.end();) {
    if (arrival->second.since + options_.peer_timeout / 2 <= now) {
      actions_.emplace_back(Close{arrival->first, "no hello came", false});
      arrival = arrivals_.erase(arrival);
    } else {
      ++arrival;
    }
  }
  if (dial_step_ == DialStep::kOff || dial_at_ > now) return;
  if (dial_step_ == DialStep::kWaiting) {
    random_ = random;
    ++dial_failures_;
    dial_step_ = DialStep::kDialling;
    dial_at_ = now + options_.peer_timeout / 2;
    actions_.emplace_back(Dial{});
  } else {
    stop_dialling("no answer");
    schedule_dial(now);
  }
}

void PeerSessions::stop_dialling(std::string reason) {
  if (dial_step_ == DialStep::kDialling) actions_.emplace_back(StopDial{});
  if (dial_step_ == DialStep::kGreeting) actions_.emplace_back(Close{greeting_, std::move(reason)});
  dial_step_ = DialStep::kOff;
}

// Dial again, later. After a connection that worked the host with the smaller name is the one to dial at once; the
// other one leaves it the time, for of two dials one would be in vain.
void PeerSessions::schedule_dial(TimePoint now) {
  dial_step_ = options_.dials ? DialStep::kWaiting : DialStep::kOff;
  dial_at_ = now;
  if (dial_failures_ == 0 && own_.host < peer_) return;
  Duration backoff = kBackoffFirst;
  for (unsigned failure = 1; failure < dial_failures_ && backoff < kBackoffMost; ++failure) backoff *= 2;
  backoff = std::min<Duration>(backoff, kBackoffMost);
  dial_at_ += backoff + backoff * static_cast<std::int64_t>(random_ >> 56U) / 512;  // up to half as much again
}

void PeerSessions::on_bad_message(TimePoint now, std::string text) {
  if (!session_) return;  // ended since
  if (link_) actions_.emplace_back(SendRefusal{link_->id, {Refusal::Reason::kUnknownSession, text}});
  end_session(now, EndReason::kProtocol, std::move(text));
}

void PeerSessions::set_dials(TimePoint now, bool dials) {
  if (options_.dials == dials) return;
  options_.dials = dials;
  if (!dials) {
    stop_dialling("no address is configured any more");
    if (!session_) fail_waiting();
  } else if (!link_) {
    dial_failures_ = 0;
    dial_step_ = DialStep::kWaiting;
    dial_at_ = now;
    if (!session_) grace_until_ = now + options_.op_timeout;
  }
}

void PeerSessions::end(TimePoint now, Refusal refusal) {
  options_.dials = false;
  stop_dialling("ended: " + refusal.text);
  for (const auto& [connection, arrival] : arrivals_) refuse(connection, refusal);
  arrivals_.clear();
  proposed_ = SessionNumber{};
  if (session_) {
    if (link_) actions_.emplace_back(SendRefusal{link_->id, refusal});
    end_session(now, EndReason::kEnded, std::move(refusal.text));
  }
  fail_waiting();
}

std::vector<PeerSessions::Action> PeerSessions::take_actions() { return std::exchange(actions_, {}); }

TimePoint PeerSessions::deadline() const {
  TimePoint next = kNever;
  if (session_) next = std::min(next, session_->heard + options_.peer_timeout);
  if (is_overrun()) next = session_->heard;  // at once, but not within send(), whose caller has more to do
  if (link_) {
    next = std::min(next, link_->heard + options_.keepalive * kSilentKeepalives);
    next = std::min(next, link_->sent + options_.keepalive);
    next = std::min(next, session_->acknowledge_at);
  }
  if (!session_ && grace_until_) next = std::min(next, *grace_until_);
  for (const auto& [connection, arrival] : arrivals_) next = std::min(next, arrival.since + options_.peer_timeout / 2);
  if (dial_step_ != DialStep::kOff) next = std::min(next, dial_at_);
  return next;
}

PeerSessions::State PeerSessions::state(TimePoint now) const {
  if (session_) return link_ ? State::kConnected : State::kDisconnected;
  return grace_until_ && now < *grace_until_ ? State::kConnecting : State::kUnreachable;
}

std::optional<ConnectionId> PeerSessions::connection() const { return link_ ? std::optional(link_->id) : std::nullopt; }

}  // namespace dipc
