// What the machines do in the world, and whether it is what they promise.

#include <algorithm>
#include <cstdio>

#include "tests/sim/session_world.h"

namespace dipc::sim {
namespace {

using namespace std::chrono_literals;

using Sessions = PeerSessions;

template <typename T>
std::size_t kind_of() {
  return PeerMessage(T{}).index();
}

std::uint64_t number(CallId id) { return static_cast<std::uint64_t>(id); }
std::uint64_t number(SessionNumber id) { return static_cast<std::uint64_t>(id); }
std::uint64_t number(ConnectionId id) { return static_cast<std::uint64_t>(id); }

const char* name(Sessions::EndReason reason) {
  switch (reason) {
    case Sessions::EndReason::kTimeout:
      return "ended: timeout";
    case Sessions::EndReason::kPeerRestarted:
      return "ended: peer restarted";
    case Sessions::EndReason::kSuperseded:
      return "ended: superseded";
    case Sessions::EndReason::kRefused:
      return "ended: refused";
    case Sessions::EndReason::kProtocol:
      return "ended: protocol";
    case Sessions::EndReason::kEnded:
      return "ended: on request";
  }
  return "ended: ?";
}

const char* name(Refusal::Reason reason) {
  switch (reason) {
    case Refusal::Reason::kNameInUse:
      return "refused: name in use";
    case Refusal::Reason::kAlreadyConnected:
      return "refused: already connected";
    case Refusal::Reason::kUnknownSession:
      return "refused: unknown session";
    default:
      return "refused: for good";
  }
}

}  // namespace

SessionWorld::MessageKey SessionWorld::key_of(const PeerMessage& message) {
  std::uint64_t id = 0;
  if (const auto* call = std::get_if<Call>(&message)) id = number(call->id);
  if (const auto* reply = std::get_if<Reply>(&message)) id = number(reply->id);
  if (const auto* cancel = std::get_if<Cancel>(&message)) id = number(cancel->id);
  if (const auto* taken = std::get_if<Taken>(&message)) id = number(taken->id);
  if (const auto* returned = std::get_if<Returned>(&message)) id = number(returned->id);
  if (const auto* ended = std::get_if<ProcessEnded>(&message)) id = static_cast<std::uint64_t>(ended->process.pid);
  return {message.index(), id};
}

void SessionWorld::violation(const std::string& what) {
  if (outcome_.violation.empty()) outcome_.violation = what;
}

void SessionWorld::trace(Side side, const char* what, std::uint64_t a, std::uint64_t b, std::uint64_t c) {
  const auto mix = [this](std::uint64_t value) {
    for (int byte = 0; byte < 8; ++byte) {
      outcome_.trace_hash = (outcome_.trace_hash ^ ((value >> (8 * byte)) & 0xffU)) * 0x100000001b3U;  // FNV-1a
    }
  };
  const auto time_ns = static_cast<std::uint64_t>(now_.time_since_epoch().count());
  mix(time_ns);
  mix(side);
  for (const char* letter = what; *letter != '\0'; ++letter) mix(static_cast<unsigned char>(*letter));
  mix(a);
  mix(b);
  mix(c);
  if (log_) {
    std::printf("%10.6f %s %s %llu %llu %llu\n", static_cast<double>(time_ns) / 1e9 - 1000.0, hosts_[side].name.c_str(),
                what, static_cast<unsigned long long>(a), static_cast<unsigned long long>(b),
                static_cast<unsigned long long>(c));
  }
}

void SessionWorld::after_input(Side side) {
  Host& host = hosts_[side];
  for (;;) {
    std::vector<Sessions::Action> actions = host.machine->take_actions();
    if (actions.empty()) break;
    spoil(side, actions);
    for (Sessions::Action& action : actions) act(side, action);
  }
  host.timer = host.machine->deadline();
  if (host.timer != kNever && random_.chance(10)) {
    host.timer = std::max(host.timer, now_) + std::chrono::milliseconds(random_.below(30));
  }
}

void SessionWorld::act(Side side, Sessions::Action& action) {
  Host& host = hosts_[side];
  const Side other = 1 - side;
  if (std::get_if<Sessions::Dial>(&action) != nullptr) {
    trace(side, "dials", 0);
    dial(side);
  } else if (std::get_if<Sessions::StopDial>(&action) != nullptr) {
    trace(side, "stops dialling", 0);
    host.dial = 0;
  } else if (auto* hello = std::get_if<Sessions::SendHello>(&action)) {
    trace(side, hello->hello.resumes ? "resumes" : "proposes", number(hello->connection), number(hello->hello.session),
          hello->hello.last_received);
    if (hello->hello.resumes) ++outcome_.coverage.counts["hellos that resume"];
    put(by_id_.at(hello->connection), other, std::move(hello->hello));
  } else if (auto* refusal = std::get_if<Sessions::SendRefusal>(&action)) {
    trace(side, name(refusal->refusal.reason), number(refusal->connection));
    ++outcome_.coverage.counts[name(refusal->refusal.reason)];
    put(by_id_.at(refusal->connection), other, std::move(refusal->refusal));
  } else if (auto* transmit = std::get_if<Sessions::Transmit>(&action)) {
    Frame& frame = transmit->frame;
    trace(side, "writes", number(transmit->connection), frame.sequence, frame.acknowledged);
    if (!host.in_session) violation("session order: a frame outside a session");
    if (frame.message) {
      Sent& sent = sent_.at(key_of(*frame.message));
      if (sent.written_in != SessionNumber{} && sent.written_in != host.session) {
        violation("wrong session: written in two");
      }
      if (sent.written_in != SessionNumber{}) ++outcome_.coverage.counts["frames sent again"];
      sent.written_in = host.session;
      if (sent.withdrawn) violation("reported wrongly: written after it was withdrawn");
    }
    host.highest_written = std::max(host.highest_written, frame.sequence);
    put(by_id_.at(transmit->connection), other, std::move(frame));
  } else if (auto* close = std::get_if<Sessions::Close>(&action)) {
    trace(side, ("closes: " + close->reason).c_str(), number(close->connection));
    if (close->reason == "replaced by a newer connection") ++outcome_.coverage.counts["connections replaced"];
    const std::size_t index = by_id_.at(close->connection);
    if (!connections_[index].closed) {
      connections_[index].closed = true;
      tell_closed(index, other);
    }
    connections_[index].to[other].dead = true;
  } else if (auto* delivery = std::get_if<Sessions::Deliver>(&action)) {
    deliver(side, delivery->message);
  } else if (std::get_if<Sessions::Began>(&action) != nullptr) {
    host.session = host.machine->session_number();
    trace(side, "begins", number(host.session));
    ++outcome_.coverage.counts["began"];
    if (host.in_session) violation("session order: began in a session");
    if (host.ended.count(host.session) != 0) violation("session order: a number that was ended before");
    host.in_session = true;
    host.last_ordered = 0;
    host.last_settling = 0;
    host.highest_received = 0;
    host.highest_written = 0;
  } else if (auto* ended = std::get_if<Sessions::Ended>(&action)) {
    trace(side, name(ended->reason), number(host.session), ended->unwritten.size(), ended->unacknowledged.size());
    ++outcome_.coverage.counts[name(ended->reason)];
    if (!host.in_session) violation("session order: ended without a session");
    host.in_session = false;
    host.ended.insert(host.session);
    for (const PeerMessage& message : ended->unwritten) report(side, message, false);
    for (const PeerMessage& message : ended->unacknowledged) report(side, message, true);
  } else if (auto* unreachable = std::get_if<Sessions::Unreachable>(&action)) {
    trace(side, "unreachable", unreachable->unwritten.size());
    ++outcome_.coverage.counts["unreachable in the end"];
    for (const PeerMessage& message : unreachable->unwritten) report(side, message, false);
  }
}

void SessionWorld::deliver(Side side, const PeerMessage& message) {
  Host& host = hosts_[side];
  const MessageKey key = key_of(message);
  trace(side, "gets", key.first, key.second);
  ++outcome_.coverage.counts["delivered"];
  const auto found = sent_.find(key);
  if (found == sent_.end() || found->second.from == side) return violation("wrong session: a message from nowhere");
  Sent& sent = found->second;
  if (!host.in_session) return violation("session order: a delivery outside a session");
  if (sent.delivered) return violation("delivered twice");
  if (sent.unwritten || sent.withdrawn) return violation("delivered and reported unwritten");
  if (sent.written_in != host.session) return violation("wrong session: delivered in another than it was written in");
  sent.delivered = true;

  // Calls, replies and the like come in the order of send(). What settles a call may come before those that wait for
  // room, but after what it is about.
  const auto still_to_come = [this](std::uint64_t call) {
    const auto other = sent_.find({kind_of<Call>(), call});
    return other != sent_.end() && !other->second.settled();
  };
  if (key.first == kind_of<Cancel>()) {
    if (still_to_come(key.second)) violation("wrong order: a cancel before its call");
  } else if (key.first == kind_of<ProcessEnded>()) {
    for (const std::uint64_t call : calls_of_[key.second]) {
      if (still_to_come(call)) violation("wrong order: the end of a process before a call of it");
    }
  } else {
    const bool settling = key.first == kind_of<Taken>() || key.first == kind_of<Returned>();
    std::uint64_t& last = settling ? host.last_settling : host.last_ordered;
    if (sent.order < last) violation("wrong order");
    last = sent.order;
  }
}

void SessionWorld::report(Side side, const PeerMessage& message, bool written) {
  Sent& sent = sent_.at(key_of(message));
  if (sent.from != side || sent.life != hosts_[side].life) return violation("reported wrongly: not sent from here");
  if (sent.unwritten || sent.unacknowledged || sent.withdrawn) return violation("reported twice");
  if (written != (sent.written_in != SessionNumber{})) {
    return violation(written ? "reported wrongly: as written, but was not" : "reported wrongly: as unwritten, but was");
  }
  (written ? sent.unacknowledged : sent.unwritten) = true;
  if (sent.unwritten && sent.delivered) violation("delivered and reported unwritten");
  if (sent.unacknowledged && sent.delivered) ++outcome_.coverage.counts["in doubt, delivered"];
  if (sent.unacknowledged && !sent.delivered) ++outcome_.coverage.counts["in doubt, not delivered"];
}

// After the faults: one session over one connection, and a message gets through each way.
void SessionWorld::check_agreement() {
  if (!outcome_.violation.empty()) return;
  for (const Host& host : hosts_) {
    if (host.machine->state(now_) != Sessions::State::kConnected) return violation("no agreement: not connected");
  }
  if (hosts_[0].session != hosts_[1].session) return violation("no agreement: two sessions");
  const std::size_t connection = by_id_.at(*hosts_[0].machine->connection());
  if (by_id_.at(*hosts_[1].machine->connection()) != connection) return violation("no agreement: two connections");
  for (Side side = 0; side < 2; ++side) {
    if (hosts_[side].machine->peer_hello()->incarnation != Incarnation{hosts_[1 - side].life}) {
      return violation("no agreement: with an incarnation of the past");
    }
  }
  std::array<MessageKey, 2> fresh;
  for (Side side = 0; side < 2; ++side) {
    const PeerMessage message = Reply{CallId{next_id_++}, Error::kNone, 0, {}};
    fresh[side] = key_of(message);
    send(side, message);
  }
  step_until(now_ + 2s);
  for (const MessageKey& key : fresh) {
    const auto sent = sent_.find(key);
    if (sent == sent_.end() || !sent->second.delivered) return violation("fresh message lost");
  }
}

void SessionWorld::check_fates() {
  for (const auto& [key, sent] : sent_) {
    const bool sender_lives = hosts_[sent.from].life == sent.life;
    if (sender_lives && !sent.settled()) {
      return violation("lost: kind " + std::to_string(key.first) + ", id " + std::to_string(key.second));
    }
  }
}

}  // namespace dipc::sim
