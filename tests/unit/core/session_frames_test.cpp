// Frames of a session over one connection: their order, acknowledgements, and how many may be on their way.

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

}  // namespace
}  // namespace dipc::test
