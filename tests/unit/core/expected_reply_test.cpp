#include "daemon/core/expected_reply.h"

#include <gtest/gtest.h>

#include <vector>

namespace dipc {
namespace {

Reply reply(ReplyBody body, std::int64_t value = 0) {
  return Reply{.id = CallId{1}, .error = Error::kNone, .value = value, .body = std::move(body)};
}

Control control(ControlCommand command) {
  Control call;
  call.object.kind = Kind::kSemaphoreSet;
  call.command = command;
  return call;
}

MessageReceive receive(std::uint64_t max_bytes, std::uint8_t type_bytes = 8) {
  MessageReceive call;
  call.max_bytes = max_bytes;
  call.type_bytes = type_bytes;
  return call;
}

// One body of each type. Whatever the call, at most one of them is what it may be answered with.
const std::vector<ReplyBody> kBodies = {
    std::monostate{},          GetReply{}, Message{1, {}}, Stat{}, std::vector<std::uint16_t>{1, 2, 3},
    AttachReply{5000, 4096, 0}};

TEST(ExpectedReply, EveryCallHasOneTypeOfAnswer) {
  const struct {
    CallBody call;
    std::size_t body;  // index in kBodies
  } cases[] = {
      {GetCall{}, 1},
      {MessageSend{}, 0},
      {receive(10), 2},
      {SemaphoreOperate{}, 0},
      {control(ControlCommand::kStat), 3},
      {control(ControlCommand::kGetAll), 4},
      {control(ControlCommand::kSetAll), 0},
      {control(ControlCommand::kGetValue), 0},
      {control(ControlCommand::kRemove), 0},
      {SegmentAttach{.page_bytes = 4096}, 5},
  };
  for (const auto& one : cases) {
    for (std::size_t i = 0; i < kBodies.size(); ++i) {
      EXPECT_EQ(!ExpectedReply(one.call, 3).objection(reply(kBodies[i])), i == one.body)
          << "call " << one.call.index() << ", body " << i;
    }
  }
}

TEST(ExpectedReply, AnErrorAlwaysFits) {
  for (const ReplyBody& body : kBodies) {
    Reply failed = reply(body, -1);
    failed.error = Error::kAccess;
    EXPECT_FALSE(ExpectedReply(receive(10)).objection(failed));
  }
}

TEST(ExpectedReply, AMessageFitsItsRoomAndItsCount) {
  const ExpectedReply expected(receive(10));
  EXPECT_FALSE(expected.objection(reply(Message{1, Bytes(10)}, 10)));
  EXPECT_TRUE(expected.objection(reply(Message{1, Bytes(11)}, 11)));
  EXPECT_TRUE(expected.objection(reply(Message{1, Bytes(10)}, 9)));
}

TEST(ExpectedReply, ATypeFitsTheReceiversLong) {
  const std::int64_t wide = std::int64_t{1} << 40;
  EXPECT_FALSE(ExpectedReply(receive(10, 8)).objection(reply(Message{wide, {}})));
  EXPECT_TRUE(ExpectedReply(receive(10, 4)).objection(reply(Message{wide, {}})));
  EXPECT_FALSE(ExpectedReply(receive(10, 4)).objection(reply(Message{0x7fffffff, {}})));
}

TEST(ExpectedReply, GetallBringsAValueForEachSemaphore) {
  const std::vector<std::uint16_t> three = {1, 2, 3};
  EXPECT_FALSE(ExpectedReply(control(ControlCommand::kGetAll), 3).objection(reply(three)));
  EXPECT_TRUE(ExpectedReply(control(ControlCommand::kGetAll), 2).objection(reply(three)));
  EXPECT_TRUE(ExpectedReply(control(ControlCommand::kGetAll), 4).objection(reply(three)));
}

TEST(ExpectedReply, AnObjectIsOfTheKindThatWasAskedForAndHasAnId) {
  const ExpectedReply expected(GetCall{.name = {Kind::kSemaphoreSet, 7}});
  EXPECT_FALSE(expected.objection(reply(GetReply{{Kind::kSemaphoreSet, 5, 1}, 3})));
  EXPECT_TRUE(expected.objection(reply(GetReply{{Kind::kMessageQueue, 5, 1}, 3})));
  EXPECT_TRUE(expected.objection(reply(GetReply{{Kind::kSemaphoreSet, -1, 1}, 3})));
  EXPECT_TRUE(expected.objection(reply(GetReply{{Kind::kSemaphoreSet, 5, 1}, -3})));
}

TEST(ExpectedReply, ASegmentHasPagesThatTheHostCanHave) {
  const ExpectedReply expected(SegmentAttach{.page_bytes = 8192});
  EXPECT_FALSE(expected.objection(reply(AttachReply{1, 8192, 0})));
  EXPECT_FALSE(expected.objection(reply(AttachReply{1, 65536, 0})));
  EXPECT_TRUE(expected.objection(reply(AttachReply{0, 8192, 0})));
  EXPECT_TRUE(expected.objection(reply(AttachReply{1, 4096, 0})));
  EXPECT_TRUE(expected.objection(reply(AttachReply{1, 12288, 0})));
  EXPECT_TRUE(expected.objection(reply(AttachReply{1, 2 * kUnitBytesMax, 0})));
  EXPECT_TRUE(expected.objection(reply(AttachReply{std::uint64_t{1} << 63U, 8192, 0})));
}

}  // namespace
}  // namespace dipc
