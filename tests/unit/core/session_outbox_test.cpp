#include "daemon/core/session_outbox.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dipc {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

Call call(std::uint64_t id, std::size_t bytes = 0) {
  MessageSend send;
  send.text.resize(bytes);
  return Call{CallId{id}, Caller{}, std::move(send)};
}

std::vector<PeerMessage> write_all(SessionOutbox& outbox) {
  std::vector<PeerMessage> written;
  while (const PeerMessage* next = outbox.write_next()) written.push_back(*next);
  return written;
}

TEST(SessionOutbox, KeepsTheOrderWhileThereIsRoom) {
  SessionOutbox outbox(10'000);
  outbox.add(call(1));
  outbox.add(Taken{CallId{7}});
  outbox.add(call(2));
  outbox.add(Cancel{CallId{1}});
  EXPECT_THAT(write_all(outbox), ElementsAre(call(1), Taken{CallId{7}}, call(2), Cancel{CallId{1}}));
  EXPECT_EQ(outbox.written(), 4U);
}

TEST(SessionOutbox, CountsOnlyWhatTakesRoom) {
  SessionOutbox outbox(1000);
  outbox.add(call(1, 500));
  outbox.add(call(2, 500));
  EXPECT_THAT(write_all(outbox), ElementsAre(call(1, 500)));
  EXPECT_EQ(outbox.waiting_bytes(), SessionOutbox::bytes_of(call(2, 500)));
  outbox.add(Taken{CallId{1}});
  EXPECT_THAT(write_all(outbox), ElementsAre(Taken{CallId{1}}));
  outbox.acknowledge(1);
  EXPECT_THAT(write_all(outbox), ElementsAre(call(2, 500)));
  EXPECT_EQ(outbox.waiting_bytes(), 0U);
  EXPECT_EQ(outbox.at(2), PeerMessage(Taken{CallId{1}}));
  EXPECT_EQ(outbox.at(3), PeerMessage(call(2, 500)));
}

TEST(SessionOutbox, PagesOvertakeWhatWaitsForRoomAndNeverEachOther) {
  const ObjectRef segment{Kind::kSegment, 1, 2};
  const PageIndex page{3};
  const TransactionNumber transaction{4};
  const auto contents = std::make_shared<const Bytes>(5000);
  const SegmentOrder grant{segment, PageGrant{.page = page, .transaction = transaction}, ""};
  const SegmentOrder data{segment, PageData{page, transaction, contents}, ""};
  const HeldPage held{"vax", segment, {page, transaction, contents}, {}};
  const SegmentReport dropped{segment, PageDropped{page, transaction}, 0};
  SessionOutbox outbox(1000);
  outbox.add(call(1, 900));
  outbox.add(call(2, 900));
  outbox.add(data);
  outbox.add(grant);
  outbox.add(held);
  outbox.add(dropped);
  EXPECT_GT(outbox.answer_bytes(), 10'000U);
  EXPECT_THAT(write_all(outbox), ElementsAre(call(1, 900), data, grant, held, dropped));
  outbox.acknowledge(1);
  EXPECT_THAT(write_all(outbox), ElementsAre(call(2, 900)));
  outbox.acknowledge(6);
  EXPECT_EQ(outbox.answer_bytes(), 0U);
}

TEST(SessionOutbox, CountsAnswersUntilTheyAreAcknowledgedAndCallsNever) {
  SessionOutbox outbox(1000);
  Reply reply;
  reply.body = Message{1, Bytes(500)};
  outbox.add(call(1, 100));
  EXPECT_EQ(outbox.answer_bytes(), 0U);
  outbox.add(reply);
  outbox.add(reply);
  outbox.add(Taken{CallId{7}});
  const std::uint64_t all = outbox.answer_bytes();
  EXPECT_GT(all, 2 * SessionOutbox::bytes_of(reply));
  EXPECT_THAT(write_all(outbox), ElementsAre(call(1, 100), reply, Taken{CallId{7}}));
  EXPECT_EQ(outbox.answer_bytes(), all);
  outbox.acknowledge(3);
  EXPECT_EQ(outbox.answer_bytes(), SessionOutbox::bytes_of(reply));
}

TEST(SessionOutbox, ACancelOfAWithdrawnCallWaitsForNothing) {
  SessionOutbox outbox(1000);
  outbox.add(call(1, 900));
  outbox.add(call(2, 900));
  outbox.add(Cancel{CallId{2}});
  outbox.add(call(3, 900));
  EXPECT_THAT(write_all(outbox), ElementsAre(call(1, 900)));
  EXPECT_TRUE(outbox.withdraw(CallId{2}));
  EXPECT_THAT(write_all(outbox), ElementsAre(Cancel{CallId{2}}));
}

TEST(SessionOutbox, TheRestComesInTheOrderOfAddAndLeavesAnEmptyBox) {
  SessionOutbox outbox(1000);
  outbox.add(call(1, 900));
  outbox.add(call(2, 900));
  outbox.add(Cancel{CallId{2}});
  outbox.add(call(3));
  EXPECT_THAT(write_all(outbox), ElementsAre(call(1, 900)));
  const SessionOutbox::Rest rest = outbox.take_rest();
  EXPECT_THAT(rest.unacknowledged, ElementsAre(call(1, 900)));
  EXPECT_THAT(rest.unwritten, ElementsAre(call(2, 900), Cancel{CallId{2}}, call(3)));
  EXPECT_EQ(outbox.written(), 0U);
  EXPECT_EQ(outbox.waiting_bytes(), 0U);
  EXPECT_THAT(write_all(outbox), IsEmpty());
}

TEST(SessionOutbox, LargeRepliesAndListsTakeRoom) {
  Reply reply;
  reply.body = Message{1, Bytes(5000)};
  EXPECT_GE(SessionOutbox::bytes_of(reply), 5000U);
  EXPECT_LT(SessionOutbox::bytes_of(reply), 5500U);
  EXPECT_EQ(SessionOutbox::bytes_of(Returned{}), 0U);
  EXPECT_GT(SessionOutbox::bytes_of(Resolve{}), 0U);
}

}  // namespace
}  // namespace dipc
