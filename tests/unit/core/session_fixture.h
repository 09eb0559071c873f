#pragma once

// One end of a session, played by hand: what is said to it, and what it does, as lines of text.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "daemon/core/session.h"

namespace dipc::test {

inline Hello hello_of(const std::string& host, std::uint64_t incarnation) {
  Hello hello;
  hello.protocol_min = 1;
  hello.protocol_max = 1;
  hello.cluster = "lab";
  hello.referee = "vax";
  hello.host = host;
  hello.incarnation = Incarnation{incarnation};
  return hello;
}

inline Hello asking(Hello hello, std::uint64_t session, bool resumes = false, std::uint64_t last_received = 0) {
  hello.session = SessionNumber{session};
  hello.resumes = resumes;
  hello.last_received = last_received;
  return hello;
}

inline Call call(std::uint64_t id, std::size_t bytes = 0) {
  MessageSend send;
  send.text.resize(bytes);
  return Call{CallId{id}, Caller{"alice", ProcessId{static_cast<std::int32_t>(id), 0}}, send};
}

inline std::string words(const PeerMessage& message) {
  const auto number = [](CallId id) { return std::to_string(static_cast<std::uint64_t>(id)); };
  if (const auto* of = std::get_if<Call>(&message)) return "call " + number(of->id);
  if (const auto* of = std::get_if<Reply>(&message)) return "reply " + number(of->id);
  if (const auto* of = std::get_if<Cancel>(&message)) return "cancel " + number(of->id);
  if (const auto* of = std::get_if<Taken>(&message)) return "taken " + number(of->id);
  if (const auto* of = std::get_if<Returned>(&message)) return "returned " + number(of->id);
  if (const auto* of = std::get_if<ProcessEnded>(&message)) return "ended " + std::to_string(of->process.pid);
  return "message";
}

inline std::string words(const std::vector<PeerMessage>& messages) {
  std::string all;
  for (const PeerMessage& message : messages) all += (all.empty() ? "" : ", ") + words(message);
  return all.empty() ? "none" : all;
}

// One line for each action, so that a test reads like the log of what happened.
struct Words {
  using Sessions = PeerSessions;
  static std::string on(ConnectionId connection) {
    return "c" + std::to_string(static_cast<std::uint64_t>(connection)) + " ";
  }
  std::string operator()(const Sessions::Dial&) const { return "dial"; }
  std::string operator()(const Sessions::StopDial&) const { return "stop dial"; }
  std::string operator()(const Sessions::SendHello& of) const {
    return on(of.connection) + "hello " + std::to_string(static_cast<std::uint64_t>(of.hello.session)) +
           (of.hello.resumes ? " resumes after " : " after ") + std::to_string(of.hello.last_received);
  }
  std::string operator()(const Sessions::SendRefusal& of) const {
    using Reason = Refusal::Reason;
    switch (of.refusal.reason) {
      case Reason::kProtocolVersion:
        return on(of.connection) + "refuse version";
      case Reason::kCluster:
        return on(of.connection) + "refuse cluster";
      case Reason::kReferee:
        return on(of.connection) + "refuse referee";
      case Reason::kNotAllowed:
        return on(of.connection) + "refuse not allowed";
      case Reason::kNameInUse:
        return on(of.connection) + "refuse name in use";
      case Reason::kAlreadyConnected:
        return on(of.connection) + "refuse already connected";
      case Reason::kUnknownSession:
        return on(of.connection) + "refuse unknown session";
      case Reason::kSelf:
        return on(of.connection) + "refuse self";
    }
    return "?";
  }
  std::string operator()(const Sessions::Transmit& of) const {
    return on(of.connection) + std::to_string(of.frame.sequence) + " ack " + std::to_string(of.frame.acknowledged) +
           (of.frame.message ? " " + words(*of.frame.message) : "");
  }
  std::string operator()(const Sessions::Close& of) const { return on(of.connection) + "close"; }
  std::string operator()(const Sessions::Deliver& of) const { return "deliver " + words(of.message); }
  std::string operator()(const Sessions::Began& of) const {
    return "began with " + std::to_string(static_cast<std::uint64_t>(of.peer.incarnation));
  }
  std::string operator()(const Sessions::Ended& of) const {
    using Reason = Sessions::EndReason;
    const char* why = "?";
    switch (of.reason) {
      case Reason::kTimeout:
        why = "timeout";
        break;
      case Reason::kPeerRestarted:
        why = "restarted";
        break;
      case Reason::kSuperseded:
        why = "superseded";
        break;
      case Reason::kRefused:
        why = "refused";
        break;
      case Reason::kProtocol:
        why = "protocol";
        break;
      case Reason::kEnded:
        why = "ended";
        break;
    }
    return std::string("ended ") + why + "; unwritten: " + words(of.unwritten) +
           "; unacknowledged: " + words(of.unacknowledged);
  }
  std::string operator()(const Sessions::Unreachable& of) const { return "unreachable: " + words(of.unwritten); }
  std::string operator()(const Sessions::Refused&) const { return "refused"; }
};

inline constexpr ConnectionId c1{1}, c2{2}, c3{3}, c4{4};

// A machine, a clock and the last actions. Names: "amy" < "bob", so amy's dial stays of two.
class Host {
 public:
  Host(const std::string& own, const std::string& peer, bool dials, std::uint64_t buffer_bytes = 1U << 20U)
      : sessions_(now_, hello_of(own, 11), peer, options(dials, buffer_bytes)) {}

  static SessionOptions options(bool dials, std::uint64_t buffer_bytes) {
    SessionOptions options;
    options.dials = dials;
    options.buffer_bytes = buffer_bytes;
    options.answer_bytes = buffer_bytes;
    return options;
  }

  PeerSessions* operator->() { return &sessions_; }
  TimePoint now() const { return now_; }
  void pass(Duration time) { now_ += time; }

  std::vector<std::string> actions() {
    std::vector<std::string> lines;
    for (const auto& action : sessions_.take_actions()) lines.emplace_back(std::visit(Words{}, action));
    return lines;
  }
  // Goes to each deadline up to `time` from now. Session numbers come out as 7, 8, ...
  std::vector<std::string> run(Duration time) {
    const TimePoint until = now_ + time;
    std::vector<std::string> lines = actions();
    while (sessions_.deadline() <= until) {
      now_ = std::max(now_, sessions_.deadline());
      sessions_.on_time(now_, next_random_);
      for (std::string& line : actions()) {
        if (line == "dial") ++next_random_;
        lines.emplace_back(std::move(line));
      }
    }
    now_ = until;
    return lines;
  }
  std::vector<std::string> hello(ConnectionId connection, const Hello& hello) {
    sessions_.on_hello(now_, connection, hello);
    return actions();
  }
  std::vector<std::string> accept(ConnectionId connection, const Hello& first,
                                  const std::string& address = "10.0.0.2") {
    sessions_.on_accepted(now_, connection, address);
    return hello(connection, first);
  }
  std::vector<std::string> frame(ConnectionId connection, std::uint64_t sequence, std::uint64_t acknowledged,
                                 std::optional<PeerMessage> message = std::nullopt) {
    sessions_.on_frame(now_, connection, Frame{sequence, acknowledged, std::move(message)});
    return actions();
  }
  std::vector<std::string> send(PeerMessage message) {
    EXPECT_TRUE(sessions_.send(now_, std::move(message)));
    return actions();
  }
  std::vector<std::string> close(ConnectionId connection) {
    sessions_.on_closed(now_, connection);
    return actions();
  }
  std::vector<std::string> refusal(ConnectionId connection, Refusal::Reason reason) {
    sessions_.on_refusal(now_, connection, Refusal{reason, "because"});
    return actions();
  }

  // Dials and gets as far as an established session, number 7, over c1.
  void connect() {
    ASSERT_THAT(run(std::chrono::seconds(0)), testing::ElementsAre("dial"));
    sessions_.on_dialled(now_, c1, "10.0.0.2");
    ASSERT_THAT(actions(), testing::ElementsAre("c1 hello 7 after 0"));
    ASSERT_THAT(hello(c1, asking(peer_hello, 7)), testing::ElementsAre("began with 22", "c1 0 ack 0"));
  }

  Hello peer_hello;

 private:
  TimePoint now_{std::chrono::seconds(1000)};
  PeerSessions sessions_;
  std::uint64_t next_random_ = 7;
};

class Amy : public Host {
 public:
  explicit Amy(bool dials = true, std::uint64_t buffer_bytes = 1U << 20U) : Host("amy", "bob", dials, buffer_bytes) {
    peer_hello = hello_of("bob", 22);
  }
};

class Bob : public Host {
 public:
  explicit Bob(bool dials = true) : Host("bob", "amy", dials) { peer_hello = hello_of("amy", 22); }
};

}  // namespace dipc::test
