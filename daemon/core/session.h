#pragma once

// The sessions with one peer host: at most one alive at a time, each an ordered stream of messages in both directions
// that outlives the connections carrying it. Every message is delivered at most once; what was not delivered when a
// session ends comes back to the caller, told apart by whether it was ever written to a connection.
// Source: sequence numbers and cumulative acknowledgement as in TCP (RFC 9293, 3.4); the rest is DIPC's own.
//
// In: on_*(), send(), withdraw(), end()   Out: take_actions(), deadline()   Owns: messages not yet acknowledged.
// After every input: carry out take_actions() in order, then call on_time() when deadline() has come.
//
// How the two ends come to agree, whatever is lost:
//  - The dialler's Hello names a session number. Without a session it is a fresh random one, kept through failed dials
//    until a session begins; with a session it is that session's, and `resumes` is set.
//  - The acceptor resumes if it knows the number, with the incarnations unchanged. A fresh number ends what session it
//    had and begins the new one. A number that was ended here, or one to be resumed that is not alive here, is refused
//    with kUnknownSession: the dialler ends its session and comes back with a fresh number. So a number names at most
//    one life of a session on each side, and an old life is never taken for another.
//  - If the acceptor's answer is lost, the dialler asks again with the same number: the acceptor, who has heard no
//    frame in that session, takes it as the same beginning. Or the acceptor dials first and asks to resume: the
//    dialler finds its own number and begins.
//  - Each resuming Hello carries the last frame received; both ends send what comes after it.
//  - Of two simultaneous dials the one by the host with the smaller name (as bytes) stays. Later, a new connection that
//    resumes the session replaces the old one, which may be half-open.

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "daemon/core/session_outbox.h"
#include "daemon/core/time.h"
#include "wire/messages.h"

namespace dipc {

// One TLS connection. The caller numbers them; a number is never used twice.
enum class ConnectionId : std::uint64_t {};

struct SessionOptions {
  bool dials = false;                                // we have an address for the peer
  Duration keepalive = std::chrono::seconds(1);      // sending nothing for so long sends an empty frame
  Duration peer_timeout = std::chrono::seconds(10);  // hearing nothing for so long ends the session
  Duration op_timeout = std::chrono::seconds(5);     // how long messages wait for the first session
  std::uint64_t buffer_bytes = 64U << 20U;           // of messages written and not acknowledged
  std::uint64_t answer_bytes = 256U << 20U;  // beyond these, of what the peer asked for and does not take; more ends
                                             // the session
};

class PeerSessions {
 public:
  // Begin a TCP and TLS connection to the peer: on_dialled() or on_dial_failed(). One at a time.
  struct Dial {};
  // Give the dial up, connection included; neither of the two may be called for it any more.
  struct StopDial {};
  struct SendHello {
    ConnectionId connection{};
    Hello hello;
  };
  struct SendRefusal {
    ConnectionId connection{};
    Refusal refusal;
  };
  struct Transmit {
    ConnectionId connection{};
    Frame frame;
  };
  // Close after what was given to the connection before is written. Whatever it still reports is ignored.
  struct Close {
    ConnectionId connection{};
    std::string reason;
    bool expected = true;  // false: the peer broke the protocol, or fell silent: for the log
  };
  struct Deliver {
    PeerMessage message;
  };
  // A session is there. `peer` is the other side's Hello.
  struct Began {
    Hello peer;
  };
  enum class EndReason : std::uint8_t {
    kTimeout,        // nothing heard for peer_timeout
    kPeerRestarted,  // another incarnation
    kSuperseded,     // the peer has ended it and begins anew
    kRefused,        // the peer wants no session with us; `text` says why
    kProtocol,       // the peer broke the protocol
    kEnded,          // by end()
  };
  // The session is over. `unwritten` were never given to a connection, so the peer certainly has not seen them;
  // whether it has seen those in `unacknowledged` is unknown. Both in the order of send().
  struct Ended {
    EndReason reason{};
    std::string text;
    std::vector<PeerMessage> unwritten;
    std::vector<PeerMessage> unacknowledged;
  };
  // No session came in time for these (see kConnecting): the peer certainly has not seen them.
  struct Unreachable {
    std::vector<PeerMessage> unwritten;
  };
  // The peer's refusal, for the log. What follows from it is done already.
  struct Refused {
    Refusal refusal;
  };
  using Action = std::variant<Dial, StopDial, SendHello, SendRefusal, Transmit, Close, Deliver, Began, Ended,
                              Unreachable, Refused>;

  enum class State : std::uint8_t {
    kUnreachable,  // no session: send() refuses
    kConnecting,   // none yet, but messages wait for it: op_timeout long after the start (if we dial), and again when
                   // the peer itself has ended a session and so must be there
    kConnected,
    kDisconnected,  // a session without a connection: messages wait for up to peer_timeout
  };

  // `own` is our Hello; its session, resumes and last_received are filled in here.
  PeerSessions(TimePoint now, Hello own, std::string peer, SessionOptions options);

  // ---- what happens to connections. Reports about connections that are not known (any more) do nothing
  void on_dialled(TimePoint now, ConnectionId connection, std::string remote_address);
  void on_dial_failed(TimePoint now);
  // The peer (by its certificate) has connected. `remote_address` without the port: two hosts with one name are told
  // apart by it.
  void on_accepted(TimePoint now, ConnectionId connection, std::string remote_address);
  void on_hello(TimePoint now, ConnectionId connection, const Hello& hello);
  void on_refusal(TimePoint now, ConnectionId connection, const Refusal& refusal);
  void on_frame(TimePoint now, ConnectionId connection, Frame frame);
  void on_closed(TimePoint now, ConnectionId connection);

  // At deadline(); extra calls do nothing. `random` is a fresh random number: session numbers and jitter come from it.
  void on_time(TimePoint now, std::uint64_t random);

  // ---- what this host wants

  // False: there is no session and none is to be expected; nothing was kept (EHOSTUNREACH). True: the message is
  // delivered, or comes back in Ended or Unreachable. Cancel, Taken, Returned, ProcessEnded and what is said of
  // pages do not wait for room in the buffer; they overtake messages that do, but never the call or the calls of the
  // process that they are about.
  bool send(TimePoint now, PeerMessage message);
  // Takes a Call back that was not written yet. True: it is gone for good, the peer will never see it. False: it was
  // written (or never sent): send a Cancel.
  bool withdraw(CallId call) { return outbox_.withdraw(call); }
  // The peer broke the protocol with what it said in a message: the session ends at both ends, dialling goes on.
  void on_bad_message(TimePoint now, std::string text);
  // Whether an address for the peer is configured (after a reload).
  void set_dials(TimePoint now, bool dials);
  // No session with this peer from now on: tells it so, ends the session, stops dialling until set_dials(). For a peer
  // that is no longer allowed, and before this daemon stops.
  void end(TimePoint now, Refusal refusal);

  std::vector<Action> take_actions();
  TimePoint deadline() const;  // kNever: nothing to wait for

  State state(TimePoint now) const;
  const std::string& peer() const { return peer_; }
  const Hello* peer_hello() const { return session_ ? &session_->peer : nullptr; }  // of the session alive
  SessionNumber session_number() const { return session_ ? session_->number : SessionNumber{}; }
  std::optional<ConnectionId> connection() const;
  // False: the peer does not take what it asks for, and half of what is kept for it is: refuse it more.
  bool takes_answers() const { return outbox_.answer_bytes() <= options_.buffer_bytes + options_.answer_bytes / 2; }
  // Not yet written, because of the buffer's bound or for want of a connection: slow down the programs that call.
  std::uint64_t waiting_bytes() const { return outbox_.waiting_bytes(); }

 private:
  struct Session {
    SessionNumber number{};
    Hello peer;
    TimePoint heard{};              // last proof that the peer is there and hears us
    bool confirmed = false;         // a frame has come: the peer knows that the session has begun
    std::uint64_t received = 0;     // sequence number of the last frame delivered
    std::uint64_t owed_frames = 0;  // received since we last told the peer what we have
    std::uint64_t owed_bytes = 0;
    TimePoint acknowledge_at = kNever;
  };
  struct Link {  // the connection that carries the session
    ConnectionId id{};
    std::string address;
    bool dialled = false;
    TimePoint since{};
    TimePoint heard{};
    TimePoint sent{};
  };
  struct Arrival {  // a connection by the peer that has not said Hello
    std::string address;
    TimePoint since{};
  };
  enum class DialStep : std::uint8_t { kOff, kWaiting, kDialling, kGreeting };

  void on_first_hello(TimePoint now, ConnectionId connection, std::string address, const Hello& hello);
  void on_answer(TimePoint now, const Hello& hello);
  std::optional<Refusal> objection(const Hello& hello) const;
  void refuse(ConnectionId connection, Refusal refusal);
  void begin(TimePoint now, SessionNumber number, const Hello& peer);
  void attach(TimePoint now, ConnectionId connection, std::string address, bool dialled, const Hello& peer);
  bool can_resume(const Hello& hello) const;
  void end_session(TimePoint now, EndReason reason, std::string text);
  void lose_link(TimePoint now, std::string reason);
  void fail_waiting();
  bool is_overrun() const;
  void transmit(TimePoint now, std::uint64_t sequence, const PeerMessage* message);
  void pump(TimePoint now);
  void stop_dialling(std::string reason);
  void schedule_dial(TimePoint now);
  Hello own_hello(SessionNumber number, bool resumes) const;

  Hello own_;
  std::string peer_;
  SessionOptions options_;
  std::vector<Action> actions_;

  std::optional<Session> session_;
  std::optional<Link> link_;              // only with a session
  SessionOutbox outbox_;                  // of the session, or waiting for one
  std::optional<TimePoint> grace_until_;  // kConnecting, until then; only without a session
  std::deque<SessionNumber> ended_;       // the latest ones
  std::map<ConnectionId, Arrival> arrivals_;

  DialStep dial_step_ = DialStep::kOff;
  TimePoint dial_at_{};         // kWaiting: when to dial. kDialling, kGreeting: when to give up
  unsigned dial_failures_ = 0;  // in a row, for the backoff
  std::uint64_t random_ = 0;
  ConnectionId greeting_{};  // kGreeting: the connection and what we said on it
  std::string greeting_address_;
  bool greeting_resumes_ = false;
  SessionNumber proposed_{};  // number of the session that we try to begin; 0: none yet
};

}  // namespace dipc
