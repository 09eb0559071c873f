#include "daemon/core/session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace dipc {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

Hello hello_of(const std::string& host, std::uint64_t incarnation) {
  Hello hello;
  hello.protocol_min = 1;
  hello.protocol_max = 1;
  hello.cluster = "lab";
  hello.referee = "vax";
  hello.host = host;
  hello.incarnation = Incarnation{incarnation};
  return hello;
}

Hello asking(Hello hello, std::uint64_t session, bool resumes = false, std::uint64_t last_received = 0) {
  hello.session = SessionNumber{session};
  hello.resumes = resumes;
  hello.last_received = last_received;
  return hello;
}

Call call(std::uint64_t id, std::size_t bytes = 0) {
  MessageSend send;
  send.text.resize(bytes);
  return Call{CallId{id}, Caller{"alice", ProcessId{static_cast<std::int32_t>(id), 0}}, send};
}

std::string words(const PeerMessage& message) {
  const auto number = [](CallId id) { return std::to_string(static_cast<std::uint64_t>(id)); };
  if (const auto* of = std::get_if<Call>(&message)) return "call " + number(of->id);
  if (const auto* of = std::get_if<Reply>(&message)) return "reply " + number(of->id);
  if (const auto* of = std::get_if<Cancel>(&message)) return "cancel " + number(of->id);
  if (const auto* of = std::get_if<Taken>(&message)) return "taken " + number(of->id);
  if (const auto* of = std::get_if<Returned>(&message)) return "returned " + number(of->id);
  if (const auto* of = std::get_if<ProcessEnded>(&message)) return "ended " + std::to_string(of->process.pid);
  return "message";
}

std::string words(const std::vector<PeerMessage>& messages) {
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

constexpr ConnectionId c1{1}, c2{2}, c3{3}, c4{4};

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
    ASSERT_THAT(run(0s), ElementsAre("dial"));
    sessions_.on_dialled(now_, c1, "10.0.0.2");
    ASSERT_THAT(actions(), ElementsAre("c1 hello 7 after 0"));
    ASSERT_THAT(hello(c1, asking(peer_hello, 7)), ElementsAre("began with 22", "c1 0 ack 0"));
  }

  Hello peer_hello;

 private:
  TimePoint now_{1000s};
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

// ---- beginning

TEST(Session, DiallerBeginsWhenItsHelloIsAnswered) {
  Amy amy;
  EXPECT_THAT(amy.run(0s), ElementsAre("dial"));
  amy->on_dialled(amy.now(), c1, "10.0.0.2");
  EXPECT_THAT(amy.actions(), ElementsAre("c1 hello 7 after 0"));
  EXPECT_EQ(amy->state(amy.now()), PeerSessions::State::kConnecting);
  EXPECT_THAT(amy.hello(c1, asking(hello_of("bob", 22), 7)), ElementsAre("began with 22", "c1 0 ack 0"));
  EXPECT_EQ(amy->state(amy.now()), PeerSessions::State::kConnected);
  EXPECT_EQ(amy->session_number(), SessionNumber{7});
  EXPECT_THAT(amy.send(call(1)), ElementsAre("c1 1 ack 0 call 1"));
}

TEST(Session, AcceptorBeginsWithTheDiallersNumber) {
  Amy amy(false);
  EXPECT_THAT(amy.run(1h), IsEmpty());
  EXPECT_THAT(amy.accept(c1, asking(amy.peer_hello, 99)), ElementsAre("began with 22", "c1 hello 99 after 0"));
  EXPECT_EQ(amy->connection(), c1);
}

TEST(Session, MessagesSentWhileTheFirstDialIsUnderWayWait) {
  Amy amy;
  EXPECT_THAT(amy.send(call(1)), IsEmpty());
  EXPECT_THAT(amy.send(call(2)), IsEmpty());
  EXPECT_THAT(amy.run(0s), ElementsAre("dial"));
  amy->on_dialled(amy.now(), c1, "10.0.0.2");
  amy.actions();
  EXPECT_THAT(amy.hello(c1, asking(amy.peer_hello, 7)),
              ElementsAre("began with 22", "c1 1 ack 0 call 1", "c1 2 ack 0 call 2"));
}

TEST(Session, MessagesThatWaitedForTheFirstSessionInVainComeBack) {
  Amy amy;
  amy.send(call(1));
  EXPECT_THAT(amy.run(5s - 1ns), ElementsAre("dial"));
  EXPECT_EQ(amy->state(amy.now()), PeerSessions::State::kConnecting);
  EXPECT_THAT(amy.run(1ns), ElementsAre("unreachable: call 1", "stop dial"));
  EXPECT_FALSE(amy->send(amy.now(), call(2)));
}

TEST(Session, WithoutAnAddressOfThePeerNothingWaits) {
  Amy amy(false);
  EXPECT_FALSE(amy->send(amy.now(), call(1)));
}

TEST(Session, ARefusalForGoodFailsWhatWaits) {
  Amy amy;
  amy.send(call(1));
  amy.run(0s);
  amy->on_dialled(amy.now(), c1, "10.0.0.2");
  amy.actions();
  EXPECT_THAT(amy.refusal(c1, Refusal::Reason::kNotAllowed), ElementsAre("refused", "c1 close", "unreachable: call 1"));
  EXPECT_FALSE(amy->send(amy.now(), call(2)));
  EXPECT_THAT(amy.run(200ms), ElementsAre("dial"));
}

TEST(Session, FailedDialsAreRepeatedWithBackoffUpToTwoSeconds) {
  Amy amy;
  std::vector<Duration> pauses;
  TimePoint failed = amy.now();
  for (int attempt = 0; attempt < 8; ++attempt) {
    while (amy->deadline() <= amy.now()) amy.run(0s);
    amy->on_dial_failed(amy.now());
    failed = amy.now();
    while (amy.run(1ms).empty()) continue;
    pauses.push_back(amy.now() - failed);
  }
  EXPECT_THAT(pauses, ElementsAre(100ms, 200ms, 400ms, 800ms, 1600ms, 2000ms, 2000ms, 2000ms));
}

TEST(Session, JitterComesFromTheRandomNumber) {
  Amy amy;
  amy->on_time(amy.now(), 0x8000000000000000U);  // half of the range: a quarter more
  amy->on_dial_failed(amy.now());
  EXPECT_EQ(amy->deadline() - amy.now(), 125ms);
}

TEST(Session, DialWithoutAnyAnswerIsGivenUpAndRepeated) {
  Amy amy;
  EXPECT_THAT(amy.run(6s), ElementsAre("dial", "stop dial", "dial"));
  amy->on_dialled(amy.now(), c1, "10.0.0.2");
  EXPECT_THAT(amy.actions(), ElementsAre("c1 hello 8 after 0"));
  EXPECT_THAT(amy.run(6s), ElementsAre("c1 close", "dial"));
}

TEST(Session, AResultOfADialGivenUpIsClosed) {
  Amy amy(false);
  amy->on_dialled(amy.now(), c1, "10.0.0.2");
  EXPECT_THAT(amy.actions(), ElementsAre("c1 close"));
}

TEST(Session, AConnectionThatNeverSaysHelloIsClosed) {
  Amy amy(false);
  amy->on_accepted(amy.now(), c1, "10.0.0.2");
  EXPECT_THAT(amy.run(5s), ElementsAre("c1 close"));
  EXPECT_THAT(amy.hello(c1, asking(amy.peer_hello, 99)), IsEmpty());
}

TEST(Session, AFrameBeforeTheHelloClosesTheConnection) {
  Amy amy;
  amy->on_accepted(amy.now(), c2, "10.0.0.2");
  EXPECT_THAT(amy.frame(c2, 1, 0, call(1)), ElementsAre("c2 close"));
  amy.run(0s);
  amy->on_dialled(amy.now(), c1, "10.0.0.2");
  amy.actions();
  EXPECT_THAT(amy.frame(c1, 1, 0, call(1)), ElementsAre("c1 close"));
}

// ---- who may begin

struct Misfit {
  const char* name;
  void (*change)(Hello&);
  const char* refusal;
  const char* text;
};

class SessionRefuses : public testing::TestWithParam<Misfit> {};

TEST_P(SessionRefuses, AHelloThatDoesNotFit) {
  Amy amy(false);
  Hello hello = asking(amy.peer_hello, 99);
  GetParam().change(hello);
  amy->on_accepted(amy.now(), c1, "10.0.0.2");
  amy->on_hello(amy.now(), c1, hello);
  const auto actions = amy->take_actions();
  ASSERT_EQ(actions.size(), 2U);
  EXPECT_EQ(std::visit(Words{}, actions[0]), GetParam().refusal);
  EXPECT_EQ(std::visit(Words{}, actions[1]), "c1 close");
  EXPECT_THAT(std::get<PeerSessions::SendRefusal>(actions[0]).refusal.text, HasSubstr(GetParam().text));
  EXPECT_EQ(amy->state(amy.now()), PeerSessions::State::kUnreachable);
}

INSTANTIATE_TEST_SUITE_P(
    Session, SessionRefuses,
    testing::Values(Misfit{"ANewerProtocol", [](Hello& of) { of.protocol_min = of.protocol_max = 2; },
                           "c1 refuse version", "bob speaks 2 to 2"},
                    Misfit{"AnotherCluster", [](Hello& of) { of.cluster = "work"; }, "c1 refuse cluster", "\"work\""},
                    Misfit{"AnotherReferee", [](Hello& of) { of.referee = "sun"; }, "c1 refuse referee", "\"sun\""},
                    Misfit{"AnotherName", [](Hello& of) { of.host = "eve"; }, "c1 refuse not allowed", "\"eve\""},
                    Misfit{"OurOwnName", [](Hello& of) { of.host = "amy"; }, "c1 refuse self", "\"amy\""},
                    Misfit{"Ourselves", [](Hello& of) { of.incarnation = Incarnation{11}; }, "c1 refuse self",
                           "itself"},
                    Misfit{"NoSessionNumber", [](Hello& of) { of.session = SessionNumber{}; },
                           "c1 refuse unknown session", "contradicts"}),
    [](const auto& misfit) { return misfit.param.name; });

TEST(Session, ProtocolRangesThatOverlapFit) {
  Amy amy(false);
  Hello hello = asking(amy.peer_hello, 99);
  hello.protocol_max = 4;
  EXPECT_THAT(amy.accept(c1, hello), ElementsAre("began with 22", "c1 hello 99 after 0"));
}

TEST(Session, ADiallerRefusesAnAnswerThatDoesNotFit) {
  Amy amy;
  amy.run(0s);
  amy->on_dialled(amy.now(), c1, "10.0.0.2");
  amy.actions();
  EXPECT_THAT(amy.hello(c1, asking(hello_of("eve", 22), 7)), ElementsAre("c1 refuse not allowed", "c1 close"));
  EXPECT_THAT(amy.run(200ms), ElementsAre("dial"));
}

TEST(Session, AnAnswerWithAnotherNumberIsRefused) {
  Amy amy;
  amy.run(0s);
  amy->on_dialled(amy.now(), c1, "10.0.0.2");
  amy.actions();
  EXPECT_THAT(amy.hello(c1, asking(amy.peer_hello, 8)), ElementsAre("c1 refuse unknown session", "c1 close"));
}

TEST(Session, ARefusalOnTheEstablishedConnectionEndsTheSession) {
  Amy amy;
  amy.connect();
  EXPECT_THAT(amy.refusal(c1, Refusal::Reason::kNotAllowed),
              ElementsAre("refused", "c1 close", "ended refused; unwritten: none; unacknowledged: none"));
  EXPECT_FALSE(amy->send(amy.now(), call(1)));
}

// ---- frames

TEST(Session, FramesAreDeliveredInOrderAndOnce) {
  Amy amy;
  amy.connect();
  EXPECT_THAT(amy.frame(c1, 1, 0, call(1)), ElementsAre("deliver call 1"));
  EXPECT_THAT(amy.frame(c1, 2, 0, call(2)), ElementsAre("deliver call 2"));
  EXPECT_THAT(amy.frame(c1, 1, 0, call(1)), IsEmpty());
  EXPECT_THAT(amy.frame(c1, 2, 0, call(2)), IsEmpty());
  EXPECT_THAT(amy.frame(c1, 3, 0, call(3)), ElementsAre("deliver call 3"));
}

TEST(Session, AMissingFrameClosesTheConnection) {
  Amy amy;
  amy.connect();
  EXPECT_THAT(amy.frame(c1, 2, 0, call(2)), ElementsAre("c1 close"));
  EXPECT_EQ(amy->state(amy.now()), PeerSessions::State::kDisconnected);
}

TEST(Session, AnAcknowledgementOfWhatWasNeverWrittenClosesTheConnection) {
  Amy amy;
  amy.connect();
  amy.send(call(1));
  EXPECT_THAT(amy.frame(c1, 0, 2), ElementsAre("c1 close"));
}

TEST(Session, AFrameWithANumberButNoMessageClosesTheConnection) {
  Amy amy;
  amy.connect();
  EXPECT_THAT(amy.frame(c1, 1, 0), ElementsAre("c1 close"));
}

TEST(Session, AcknowledgementsRideOnFrames) {
  Amy amy;
  amy.connect();
  amy.frame(c1, 1, 0, call(1));
  EXPECT_THAT(amy.send(Reply{CallId{1}, Error::kNone, 0, {}}), ElementsAre("c1 1 ack 1 reply 1"));
  EXPECT_THAT(amy.run(999ms), IsEmpty());
}

TEST(Session, AnAcknowledgementWithoutAFrameToRideOnGoesAlone) {
  Amy amy;
  amy.connect();
  amy.frame(c1, 1, 0, call(1));
  amy.frame(c1, 2, 0, call(2));
  EXPECT_THAT(amy.run(4ms), IsEmpty());
  EXPECT_THAT(amy.run(1ms), ElementsAre("c1 0 ack 2"));
}

TEST(Session, ManyFramesAreAcknowledgedWithoutDelay) {
  Amy amy;
  amy.connect();
  std::vector<std::string> sent;
  for (std::uint64_t sequence = 1; sequence <= 64; ++sequence) {
    for (std::string& line : amy.frame(c1, sequence, 0, call(sequence))) {
      if (line.find("deliver") != 0) sent.emplace_back(std::move(line));
    }
  }
  EXPECT_THAT(sent, ElementsAre("c1 0 ack 64"));
}

TEST(Session, AKeepAliveGoesOutWhenNothingElseDoes) {
  Amy amy;
  amy.connect();
  EXPECT_THAT(amy.run(1s), ElementsAre("c1 0 ack 0"));
  EXPECT_THAT(amy.run(500ms), IsEmpty());
  amy.send(call(1));
  EXPECT_THAT(amy.run(999ms), IsEmpty());
}

// ---- the buffer

TEST(Session, MessagesBeyondTheBufferWaitUntilOthersAreAcknowledged) {
  Amy amy(true, 1000);
  amy.connect();
  EXPECT_THAT(amy.send(call(1, 500)), ElementsAre("c1 1 ack 0 call 1"));
  EXPECT_THAT(amy.send(call(2, 500)), IsEmpty());
  EXPECT_THAT(amy.send(call(3)), IsEmpty());  // has room, but call 2 came first
  EXPECT_GT(amy->waiting_bytes(), 500U);
  EXPECT_THAT(amy.frame(c1, 0, 1), ElementsAre("c1 2 ack 0 call 2", "c1 3 ack 0 call 3"));
  EXPECT_EQ(amy->waiting_bytes(), 0U);
}

TEST(Session, AMessageLargerThanTheBufferGoesAlone) {
  Amy amy(true, 1000);
  amy.connect();
  EXPECT_THAT(amy.send(call(1, 5000)), ElementsAre("c1 1 ack 0 call 1"));
  EXPECT_THAT(amy.send(call(2)), IsEmpty());
  EXPECT_THAT(amy.frame(c1, 0, 1), ElementsAre("c1 2 ack 0 call 2"));
}

TEST(Session, WhatSettlesACallDoesNotWaitForRoom) {
  Amy amy(true, 1000);
  amy.connect();
  amy.send(call(1, 990));
  amy.send(call(2, 500));
  EXPECT_THAT(amy.send(Taken{CallId{1}}), ElementsAre("c1 2 ack 0 taken 1"));
  EXPECT_THAT(amy.send(Returned{CallId{1}}), ElementsAre("c1 3 ack 0 returned 1"));
  EXPECT_THAT(amy.send(Cancel{CallId{1}}), ElementsAre("c1 4 ack 0 cancel 1"));
  EXPECT_THAT(amy.send(ProcessEnded{ProcessId{1, 0}}), ElementsAre("c1 5 ack 0 ended 1"));
}

TEST(Session, ACancelDoesNotOvertakeItsCallNorAProcessEndItsCalls) {
  Amy amy(true, 1000);
  amy.connect();
  amy.send(call(1, 990));
  amy.send(call(2, 500));
  EXPECT_THAT(amy.send(Cancel{CallId{2}}), IsEmpty());
  EXPECT_THAT(amy.send(ProcessEnded{ProcessId{2, 0}}), IsEmpty());
  EXPECT_THAT(amy.frame(c1, 0, 1), ElementsAre("c1 2 ack 0 call 2", "c1 3 ack 0 cancel 2", "c1 4 ack 0 ended 2"));
}

TEST(Session, ACallThatWasNotWrittenCanBeWithdrawn) {
  Amy amy(true, 1000);
  amy.connect();
  amy.send(call(1, 990));
  amy.send(call(2, 500));
  EXPECT_FALSE(amy->withdraw(CallId{1}));
  EXPECT_TRUE(amy->withdraw(CallId{2}));
  EXPECT_FALSE(amy->withdraw(CallId{2}));
  EXPECT_THAT(amy.frame(c1, 0, 1), IsEmpty());
}

// ---- broken connections

TEST(Session, BothSendAgainWhatTheOtherHasNotReceived) {
  Amy amy;
  amy.connect();
  amy.send(call(1));
  amy.send(call(2));
  amy.send(call(3));
  amy.frame(c1, 1, 1, call(101));
  EXPECT_THAT(amy.close(c1), IsEmpty());
  EXPECT_THAT(amy.send(call(4)), IsEmpty());
  EXPECT_THAT(amy.run(0s), ElementsAre("dial"));
  amy->on_dialled(amy.now(), c2, "10.0.0.2");
  EXPECT_THAT(amy.actions(), ElementsAre("c2 hello 7 resumes after 1"));
  EXPECT_THAT(amy.hello(c2, asking(amy.peer_hello, 7, true, 2)), ElementsAre("c2 3 ack 1 call 3", "c2 4 ack 1 call 4"));
}

TEST(Session, TheAcceptorResumesToo) {
  Amy amy(false);
  amy.accept(c1, asking(amy.peer_hello, 99));
  amy.frame(c1, 1, 0, call(101));
  amy.send(call(1));
  amy.send(call(2));
  amy.close(c1);
  EXPECT_THAT(amy.accept(c2, asking(amy.peer_hello, 99, true, 1)),
              ElementsAre("c2 hello 99 resumes after 1", "c2 2 ack 1 call 2"));
}

TEST(Session, FramesOfAnOlderConnectionAreIgnored) {
  Amy amy(false);
  amy.accept(c1, asking(amy.peer_hello, 99));
  amy.frame(c1, 0, 0);
  EXPECT_THAT(amy.accept(c2, asking(amy.peer_hello, 99, true)), ElementsAre("c1 close", "c2 hello 99 resumes after 0"));
  EXPECT_THAT(amy.frame(c1, 1, 0, call(101)), IsEmpty());
  EXPECT_THAT(amy.frame(c2, 1, 0, call(101)), ElementsAre("deliver call 101"));
  EXPECT_THAT(amy.close(c1), IsEmpty());
  EXPECT_EQ(amy->state(amy.now()), PeerSessions::State::kConnected);
}

TEST(Session, ASilentConnectionIsClosedAndTheSessionGoesOn) {
  Amy amy;
  amy.connect();
  amy.frame(c1, 0, 0);
  EXPECT_THAT(amy.run(3s), ElementsAre("c1 0 ack 0", "c1 0 ack 0", "c1 close", "dial"));
  EXPECT_EQ(amy->state(amy.now()), PeerSessions::State::kDisconnected);
}

TEST(Session, TheSessionEndsAfterPeerTimeoutAndDiallingGoesOn) {
  Amy amy;
  amy.connect();
  amy.send(call(1));
  amy.close(c1);
  amy.send(call(2));
  EXPECT_THAT(amy.run(10s - 1ns), ElementsAre("dial", "stop dial", "dial"));
  EXPECT_THAT(amy.run(1ns), ElementsAre("ended timeout; unwritten: call 2; unacknowledged: call 1"));
  EXPECT_FALSE(amy->send(amy.now(), call(3)));
  amy->on_dialled(amy.now(), c2, "10.0.0.2");  // dialled for the old session, good for a new one
  EXPECT_THAT(amy.actions(), ElementsAre("c2 hello 9 after 0"));
  EXPECT_THAT(amy.hello(c2, asking(amy.peer_hello, 9)), ElementsAre("began with 22", "c2 0 ack 0"));
}

TEST(Session, AResumeUnderWayIsGivenUpWhenTheSessionEnds) {
  Amy amy;
  amy.connect();
  amy.run(9s);
  amy->on_dialled(amy.now(), c2, "10.0.0.2");
  EXPECT_THAT(amy.actions(), ElementsAre("c2 hello 7 resumes after 0"));
  EXPECT_THAT(amy.run(1s), ElementsAre("c2 close", "ended timeout; unwritten: none; unacknowledged: none"));
  EXPECT_THAT(amy.hello(c2, asking(amy.peer_hello, 7, true)), IsEmpty());
}

TEST(Session, ThePeerThatDoesNotKnowTheSessionGetsANewOne) {
  Amy amy;
  amy.connect();
  amy.frame(c1, 0, 0);
  amy.send(call(1));
  amy.close(c1);
  amy.run(0s);
  amy->on_dialled(amy.now(), c2, "10.0.0.2");
  amy.actions();
  EXPECT_THAT(amy.refusal(c2, Refusal::Reason::kUnknownSession),
              ElementsAre("refused", "c2 close", "ended superseded; unwritten: none; unacknowledged: call 1"));
  EXPECT_THAT(amy.send(call(2)), IsEmpty());  // the peer is there: worth waiting
  EXPECT_THAT(amy.run(0s), ElementsAre("dial"));
  amy->on_dialled(amy.now(), c3, "10.0.0.2");
  EXPECT_THAT(amy.actions(), ElementsAre("c3 hello 9 after 0"));
  EXPECT_THAT(amy.hello(c3, asking(hello_of("bob", 23), 9)), ElementsAre("began with 23", "c3 1 ack 0 call 2"));
}

TEST(Session, AnAnswerFromAnotherIncarnationEndsTheSession) {
  Amy amy;
  amy.connect();
  amy.close(c1);
  amy.run(200ms);
  amy->on_dialled(amy.now(), c2, "10.0.0.2");
  amy.actions();
  EXPECT_THAT(
      amy.hello(c2, asking(hello_of("bob", 23), 7, true)),
      ElementsAre("c2 refuse unknown session", "c2 close", "ended restarted; unwritten: none; unacknowledged: none"));
}

TEST(Session, AResumeThatThePeerCanNotMeanIsRefused) {
  Amy amy(false);
  amy.accept(c1, asking(amy.peer_hello, 99));
  amy.send(call(1));
  amy.frame(c1, 0, 1);
  amy.close(c1);
  EXPECT_THAT(amy.accept(c2, asking(amy.peer_hello, 99, true, 0)),
              ElementsAre("c2 refuse unknown session", "c2 close"));
  EXPECT_THAT(amy.accept(c3, asking(amy.peer_hello, 99, true, 2)),
              ElementsAre("c3 refuse unknown session", "c3 close"));
  EXPECT_THAT(amy.accept(c4, asking(amy.peer_hello, 99, true, 1)), ElementsAre("c4 hello 99 resumes after 0"));
}

// ---- agreement

TEST(Session, AHelloWithAnotherNumberEndsTheOldSessionFirst) {
  Amy amy(false);
  amy.accept(c1, asking(amy.peer_hello, 99));
  amy.frame(c1, 1, 0, call(101));
  amy.send(call(1));
  EXPECT_THAT(amy.accept(c2, asking(amy.peer_hello, 100)),
              ElementsAre("c1 close", "ended superseded; unwritten: none; unacknowledged: call 1", "began with 22",
                          "c2 hello 100 after 0"));
}

TEST(Session, ABeginningWhoseAnswerWasLostIsTheSameBeginning) {
  Amy amy(false);
  EXPECT_THAT(amy.accept(c1, asking(amy.peer_hello, 99)), ElementsAre("began with 22", "c1 hello 99 after 0"));
  amy.send(call(1));
  amy.close(c1);
  EXPECT_THAT(amy.accept(c2, asking(amy.peer_hello, 99)), ElementsAre("c2 hello 99 after 0", "c2 1 ack 0 call 1"));
}

TEST(Session, TheDiallerKeepsItsNumberUntilASessionBegins) {
  Amy amy;
  amy.run(0s);
  amy->on_dialled(amy.now(), c1, "10.0.0.2");
  EXPECT_THAT(amy.actions(), ElementsAre("c1 hello 7 after 0"));
  amy.close(c1);
  EXPECT_THAT(amy.run(200ms), ElementsAre("dial"));
  amy->on_dialled(amy.now(), c2, "10.0.0.2");
  EXPECT_THAT(amy.actions(), ElementsAre("c2 hello 7 after 0"));
}

TEST(Session, TheAcceptorWhoseAnswerWasLostMayDialAndResume) {
  Amy amy;
  amy.run(0s);
  amy->on_dialled(amy.now(), c1, "10.0.0.2");
  amy.actions();
  amy.close(c1);
  EXPECT_THAT(amy.accept(c2, asking(amy.peer_hello, 7, true)),
              ElementsAre("began with 22", "c2 hello 7 resumes after 0"));
}

TEST(Session, ALateBeginningOfTheSessionAliveChangesNothing) {
  Amy amy(false);
  amy.accept(c1, asking(amy.peer_hello, 99));
  amy.frame(c1, 0, 0);
  EXPECT_THAT(amy.accept(c2, asking(amy.peer_hello, 99)), ElementsAre("c2 refuse already connected", "c2 close"));
  EXPECT_EQ(amy->connection(), c1);
}

TEST(Session, ANumberThatWasEndedNeverBeginsAgain) {
  Amy amy(false);
  amy.accept(c1, asking(amy.peer_hello, 99));
  amy.run(10s);
  EXPECT_THAT(amy.accept(c2, asking(amy.peer_hello, 99)), ElementsAre("c2 refuse unknown session", "c2 close"));
  EXPECT_THAT(amy.accept(c3, asking(amy.peer_hello, 99, true)), ElementsAre("c3 refuse unknown session", "c3 close"));
  EXPECT_THAT(amy.accept(c4, asking(amy.peer_hello, 100)), ElementsAre("began with 22", "c4 hello 100 after 0"));
}

TEST(Session, ANumberThatThePeerHasEndedIsReplaced) {
  Amy amy;
  amy.run(0s);
  amy->on_dialled(amy.now(), c1, "10.0.0.2");
  amy.actions();
  EXPECT_THAT(amy.refusal(c1, Refusal::Reason::kUnknownSession), ElementsAre("refused", "c1 close"));
  amy.run(200ms);
  amy->on_dialled(amy.now(), c2, "10.0.0.2");
  EXPECT_THAT(amy.actions(), ElementsAre("c2 hello 8 after 0"));
}

TEST(Session, HellosThatAreNeverAnsweredDoNotKeepTheSessionAlive) {
  Amy amy(false);
  amy.accept(c1, asking(amy.peer_hello, 99));
  amy.close(c1);
  std::vector<std::string> all;
  for (std::uint64_t attempt = 0; attempt < 5; ++attempt) {
    amy.accept(ConnectionId{10 + attempt}, asking(amy.peer_hello, 99));
    for (std::string& line : amy.run(2s)) all.emplace_back(std::move(line));
  }
  EXPECT_THAT(all, testing::Contains("ended timeout; unwritten: none; unacknowledged: none"));
}

// ---- simultaneous dials

TEST(Session, OfTwoDialsTheOneByTheSmallerNameStays) {
  Amy amy;
  amy.run(0s);
  amy->on_dialled(amy.now(), c1, "10.0.0.2");
  amy.actions();
  EXPECT_THAT(amy.accept(c2, asking(amy.peer_hello, 99)), ElementsAre("c2 refuse already connected", "c2 close"));
  EXPECT_THAT(amy.hello(c1, asking(amy.peer_hello, 7)), ElementsAre("began with 22", "c1 0 ack 0"));

  Bob bob;
  bob.run(0s);
  bob->on_dialled(bob.now(), c1, "10.0.0.2");
  bob.actions();
  EXPECT_THAT(bob.accept(c2, asking(bob.peer_hello, 99)),
              ElementsAre("began with 22", "c1 close", "c2 hello 99 after 0"));
}

TEST(Session, ADialThatHasNotGotThroughYieldsToAConnectionThatHas) {
  Amy amy;
  amy.run(0s);
  EXPECT_THAT(amy.accept(c2, asking(amy.peer_hello, 99)),
              ElementsAre("began with 22", "stop dial", "c2 hello 99 after 0"));
}

TEST(Session, ASimultaneousDialThatComesLateDoesNotReplaceTheConnection) {
  Amy amy;
  amy.connect();
  amy.run(500ms);
  EXPECT_THAT(amy.accept(c2, asking(amy.peer_hello, 99)), ElementsAre("c2 refuse already connected", "c2 close"));
  EXPECT_THAT(amy.accept(c3, asking(amy.peer_hello, 7, true)), ElementsAre("c3 refuse already connected", "c3 close"));
  amy.frame(c1, 0, 0);
  amy.run(500ms);
  EXPECT_THAT(amy.accept(c4, asking(amy.peer_hello, 7, true)), ElementsAre("c1 close", "c4 hello 7 resumes after 0"));
}

TEST(Session, TheRefusedOfTwoKeepsItsSessionAndTriesAgain) {
  Bob bob;
  bob.connect();
  bob.frame(c1, 0, 0);
  bob.close(c1);
  EXPECT_THAT(bob.run(99ms), IsEmpty());  // leaves the time to the smaller name
  EXPECT_THAT(bob.run(1ms), ElementsAre("dial"));
  bob->on_dialled(bob.now(), c2, "10.0.0.2");
  bob.actions();
  EXPECT_THAT(bob.refusal(c2, Refusal::Reason::kAlreadyConnected), ElementsAre("refused", "c2 close"));
  EXPECT_THAT(bob.accept(c3, asking(bob.peer_hello, 7, true)), ElementsAre("c3 hello 7 resumes after 0"));
  EXPECT_THAT(bob.run(999ms), IsEmpty());
}

// ---- incarnations

TEST(Session, ANewIncarnationFromTheSameAddressEndsTheOldSession) {
  Amy amy(false);
  amy.accept(c1, asking(amy.peer_hello, 99), "10.0.0.2");
  amy.send(call(1));
  EXPECT_THAT(amy.accept(c2, asking(hello_of("bob", 23), 100), "10.0.0.2"),
              ElementsAre("c1 close", "ended restarted; unwritten: none; unacknowledged: call 1", "began with 23",
                          "c2 hello 100 after 0"));
}

TEST(Session, ASecondHostWithTheNameIsRefusedWhileTheFirstIsAlive) {
  Amy amy(false);
  amy.accept(c1, asking(amy.peer_hello, 99), "10.0.0.2");
  EXPECT_THAT(amy.accept(c2, asking(hello_of("bob", 23), 100), "10.0.0.9"),
              ElementsAre("c2 refuse name in use", "c2 close"));
  EXPECT_THAT(amy.frame(c1, 1, 0, call(101)), ElementsAre("deliver call 101"));
  amy.run(3s);  // silent: the connection is given up
  EXPECT_THAT(
      amy.accept(c3, asking(hello_of("bob", 23), 100), "10.0.0.9"),
      ElementsAre("ended restarted; unwritten: none; unacknowledged: none", "began with 23", "c3 hello 100 after 0"));
}

TEST(Session, AnotherIncarnationCanNotResume) {
  Amy amy(false);
  amy.accept(c1, asking(amy.peer_hello, 99));
  amy.send(call(1));
  amy.close(c1);
  EXPECT_THAT(amy.accept(c2, asking(hello_of("bob", 23), 99, true)),
              ElementsAre("c2 refuse unknown session", "c2 close"));
  EXPECT_THAT(amy.accept(c3, asking(amy.peer_hello, 99, true)),
              ElementsAre("c3 hello 99 resumes after 0", "c3 1 ack 0 call 1"));
}

// ---- configuration

TEST(Session, APeerThatEndsTheSessionToBeRestartedIsWorthWaitingFor) {
  Amy amy;
  amy.connect();
  EXPECT_THAT(amy.refusal(c1, Refusal::Reason::kUnknownSession),
              ElementsAre("refused", "c1 close", "ended superseded; unwritten: none; unacknowledged: none"));
  EXPECT_THAT(amy.send(call(1)), IsEmpty());
  EXPECT_EQ(amy->state(amy.now()), PeerSessions::State::kConnecting);
}

TEST(Session, EndTellsThePeerAndStaysDown) {
  Amy amy;
  amy.connect();
  amy.send(call(1));
  amy->end(amy.now(), Refusal{Refusal::Reason::kNotAllowed, "removed from hosts.allow"});
  EXPECT_THAT(amy.actions(),
              ElementsAre("c1 refuse not allowed", "c1 close", "ended ended; unwritten: none; unacknowledged: call 1"));
  EXPECT_FALSE(amy->send(amy.now(), call(2)));
  EXPECT_EQ(amy->deadline(), kNever);
}

TEST(Session, AMessageThatBreaksTheProtocolEndsTheSessionForBothAndANewOneMayBegin) {
  Amy amy;
  amy.connect();
  amy.send(call(1));
  amy->on_bad_message(amy.now(), "nonsense");
  EXPECT_THAT(amy.actions(), ElementsAre("c1 refuse unknown session", "c1 close",
                                         "ended protocol; unwritten: none; unacknowledged: call 1"));
  EXPECT_THAT(amy.run(10s), testing::Contains("dial"));
  amy->on_bad_message(amy.now(), "once more");
  EXPECT_THAT(amy.actions(), IsEmpty()) << "the session has ended";
}

TEST(Session, APeerThatAcknowledgesNothingIsRefusedMoreAndThenLosesItsSession) {
  Amy amy(true, 10'000);
  amy.connect();
  Reply reply;
  reply.body = Message{1, Bytes(900)};
  int answers = 0;
  for (; amy->takes_answers(); ++answers) amy.send(reply);
  EXPECT_EQ(answers, 16) << "the buffer's, and half of the answers'";
  EXPECT_GT(amy->deadline(), amy.now());
  // What takes no room counts too: there may be no end of it.
  for (int i = 0; i < 1000 && amy->deadline() > amy.now(); ++i) amy.send(ProcessEnded{{1, 1}});
  EXPECT_THAT(amy.run(0s), ElementsAre("c1 refuse unknown session", "c1 close", HasSubstr("ended protocol")));
  EXPECT_TRUE(amy->takes_answers());
}

TEST(Session, CallsOfThisHostThatThePeerDoesNotTakeEndNoSession) {
  Amy amy(true, 10'000);
  amy.connect();
  for (std::uint64_t id = 1; id <= 100; ++id) amy.send(call(id, 900));
  EXPECT_TRUE(amy->takes_answers());
  EXPECT_GT(amy->deadline(), amy.now());
}

TEST(Session, AnAddressThatIsConfiguredLaterIsDialledAndOneThatIsRemovedNotAnyMore) {
  Amy amy(false);
  amy->set_dials(amy.now(), true);
  EXPECT_THAT(amy.run(0s), ElementsAre("dial"));
  EXPECT_EQ(amy->state(amy.now()), PeerSessions::State::kConnecting);
  amy->set_dials(amy.now(), false);
  EXPECT_THAT(amy.actions(), ElementsAre("stop dial"));
  EXPECT_EQ(amy->deadline(), kNever);
}

}  // namespace
}  // namespace dipc
