// Sessions whose connection breaks: what is sent again, and what two hosts make of each other's hellos.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/unit/core/session_fixture.h"

namespace dipc::test {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

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

}  // namespace
}  // namespace dipc::test
