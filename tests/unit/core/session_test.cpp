// How sessions begin, who may begin one, and how they end.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/unit/core/session_fixture.h"

namespace dipc::test {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

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
}  // namespace dipc::test
