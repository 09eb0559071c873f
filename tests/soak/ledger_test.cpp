// The soak's books find what they are kept for.

#include "tests/soak/ledger.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dipc::soak {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr int kQueue = 0x5101;
constexpr int kSet = 0x6101;
const std::set<int> kOrdered = {kQueue};

TEST(Ledger, BalancesWhenAllThatWasSentIsReceivedLeftOrADeadLetter) {
  Ledger ledger;
  ledger.add_log(1, "sender", kQueue, "s 1 ok\ns 2 ok\ns 3 ok\ns 4 EHOSTUNREACH\ns 5 ECONNRESET\nend\n");
  ledger.add_log(2, "receiver", kQueue, "r 1 1\nend\n");
  ledger.add_log(3, "drain", kQueue, "r 1 3\nend\n");
  ledger.add_dead_letter({1, 2});
  EXPECT_THAT(ledger.violations(kOrdered), IsEmpty());
  EXPECT_EQ(ledger.figures().sent, 3u);
  EXPECT_EQ(ledger.figures().in_doubt, 1u);
}

TEST(Ledger, FindsALostMessage) {
  Ledger ledger;
  ledger.add_log(1, "sender", kQueue, "s 1 ok\ns 2 ok\nend\n");
  ledger.add_log(2, "receiver", kQueue, "r 1 1\nend\n");
  EXPECT_EQ(ledger.missing(kQueue), 1u);
  EXPECT_THAT(ledger.violations(kOrdered), ElementsAre(HasSubstr("1 messages are nowhere")));
}

TEST(Ledger, AKilledReceiverAccountsForOneMissingMessage) {
  Ledger ledger;
  ledger.add_log(1, "mortal-sender", kQueue, "s 1 ok\ns 2 ok\nend\n");
  ledger.add_log(2, "mortal-receiver", kQueue, "r 1 1\n");
  EXPECT_THAT(ledger.violations({}), IsEmpty());
  ledger.add_log(3, "mortal-sender", kQueue, "s 1 ok\nend\n");
  EXPECT_THAT(ledger.violations({}), ElementsAre(HasSubstr("2 messages are nowhere")));
  ledger.excuse(kQueue, 1);
  EXPECT_THAT(ledger.violations({}), IsEmpty());
}

TEST(Ledger, FindsAMessageThatCameTwice) {
  Ledger ledger;
  ledger.add_log(1, "sender", kQueue, "s 1 ok\nend\n");
  ledger.add_log(2, "receiver", kQueue, "r 1 1\nend\n");
  ledger.add_log(3, "drain", kQueue, "r 1 1\nend\n");
  EXPECT_THAT(ledger.violations({}), ElementsAre(HasSubstr("more than once")));
}

TEST(Ledger, FindsAMessageThatCameThoughItsSenderWasToldItWasNotSent) {
  Ledger ledger;
  ledger.add_log(1, "sender", kQueue, "s 1 EHOSTUNREACH\nend\n");
  ledger.add_log(2, "receiver", kQueue, "r 1 1\nend\n");
  EXPECT_THAT(ledger.violations({}), ElementsAre(HasSubstr("certainly not sent")));
}

TEST(Ledger, ASendInDoubtOrOfAKilledSenderMayHaveBeenMade) {
  Ledger ledger;
  ledger.add_log(1, "sender", kQueue, "s 1 ECONNRESET\nend\n");
  ledger.add_log(2, "mortal-sender", kQueue, "s 1 ok\n");
  ledger.add_log(3, "receiver", kQueue, "r 1 1\nr 2 1\nr 2 2\nend\n");
  EXPECT_THAT(ledger.violations(kOrdered), IsEmpty());
  ledger.add_log(4, "receiver", kQueue, "r 2 3\nend\n");
  EXPECT_THAT(ledger.violations(kOrdered), ElementsAre(HasSubstr("certainly not sent: message 3 of sender 2")));
}

TEST(Ledger, FindsAMessageThatCameAfterALaterOne) {
  Ledger ledger;
  ledger.add_log(1, "sender", kQueue, "s 1 ok\ns 2 ok\ns 3 ok\nend\n");
  ledger.add_log(2, "receiver", kQueue, "r 1 2\nr 1 1\nend\n");
  ledger.add_log(3, "receiver", kQueue, "r 1 3\nend\n");
  EXPECT_THAT(ledger.violations({}), IsEmpty()) << "not all queues keep the order";
  EXPECT_THAT(ledger.violations(kOrdered), ElementsAre(HasSubstr("after a later one of their sender: message 1")));
}

TEST(Ledger, WhatIsLeftInTheQueueIsLaterThanAllThatWasReceived) {
  Ledger ledger;
  ledger.add_log(1, "sender", kQueue, "s 1 ok\ns 2 ok\nend\n");
  ledger.add_log(2, "receiver", kQueue, "r 1 2\nend\n");
  ledger.add_log(3, "drain", kQueue, "r 1 1\nend\n");
  EXPECT_THAT(ledger.violations(kOrdered), ElementsAre(HasSubstr("after a later one")));
}

TEST(Ledger, BooksAreARangeWhereAnOperationIsInDoubt) {
  Ledger ledger;
  ledger.add_log(1, "book", kSet,
                 "b 4 1\nb ok\nb 4 1\nb ok\nb 4 -1\nb ok\nb 4 1\nb EAGAIN\nb 5 -1\nb ECONNRESET\nend\n");
  ledger.add_log(2, "book", kSet, "b 4 1\n");
  EXPECT_EQ(ledger.book(kSet, 4).least, 1);
  EXPECT_EQ(ledger.book(kSet, 4).greatest, 2);
  EXPECT_EQ(ledger.book(kSet, 5).least, -1);
  EXPECT_EQ(ledger.book(kSet, 5).greatest, 0);
}

TEST(Ledger, FindsAnErrorThatNothingExplains) {
  Ledger ledger;
  ledger.add_log(1, "sender", kQueue, "s 1 EIDRM\nend\n");
  ledger.add_log(2, "receiver", kQueue, "e EINVAL\nend\n");
  ledger.add_log(3, "account", kSet, "e EFBIG\nend\n");
  ledger.add_log(4, "churn", 0x7000, "! msgget of a passing object fails with ENOSPC\nend\n");
  ledger.add_log(5, "sender", kQueue, "");
  EXPECT_THAT(ledger.violations(kOrdered), ElementsAre(HasSubstr("EIDRM"), HasSubstr("EINVAL"), HasSubstr("EFBIG"),
                                                       HasSubstr("ENOSPC"), HasSubstr("did not come to its end")));
}

}  // namespace
}  // namespace dipc::soak
