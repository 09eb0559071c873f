#include "daemon/local_records.h"

#include <gtest/gtest.h>
#include <sys/ipc.h>
#include <sys/sem.h>

#include <cerrno>
#include <cstring>

namespace dipc {
namespace {

constexpr ObjectRef kQueue{Kind::kMessageQueue, 3, 7};
constexpr ObjectRef kSet{Kind::kSemaphoreSet, 4, 8};

Abi abi_with_long(std::uint8_t bytes) {
  Abi abi = measured_abi();
  abi[CType::kLong].size_bytes = bytes;
  abi[CType::kSize].size_bytes = bytes;
  return abi;
}

template <typename T>
void append(Bytes& bytes, const T& value) {
  bytes.resize(bytes.size() + sizeof(value));
  std::memcpy(bytes.data() + bytes.size() - sizeof(value), &value, sizeof(value));
}

LocalRequest request(local::Op op, const Abi& abi) {
  LocalRequest made;
  made.header.op = op;
  made.abi = abi;
  return made;
}

TEST(LocalRecords, AMessageTypeIsALongOfTheProgram) {
  for (const std::uint8_t long_bytes : {std::uint8_t{4}, std::uint8_t{8}}) {
    LocalRequest send = request(local::Op::kSend, abi_with_long(long_bytes));
    if (long_bytes == 4) {
      append(send.payload, std::int32_t{-5});
    } else {
      append(send.payload, std::int64_t{-5});
    }
    send.payload.push_back(std::byte{'x'});
    send.header.size = 1;
    const auto body = call_of(send, kQueue);
    ASSERT_TRUE(body);
    const auto& call = std::get<MessageSend>(*body);
    EXPECT_EQ(call.type, -5);
    EXPECT_EQ(call.text, Bytes{std::byte{'x'}});
    EXPECT_FALSE(call.unreadable);
  }
}

TEST(LocalRecords, ATextThatDidNotArriveIsUnreadable) {
  LocalRequest send = request(local::Op::kSend, measured_abi());
  append(send.payload, 1L);
  send.header.size = 100;
  send.unreadable = true;
  const auto body = call_of(send, kQueue);
  const auto& call = std::get<MessageSend>(*body);
  EXPECT_TRUE(call.unreadable);
  EXPECT_EQ(call.declared_bytes, 100U);
}

// The kernel of a 32-bit program takes a msgsz above LONG_MAX for negative.
TEST(LocalRecords, ASizeThatIsNegativeForTheProgramIsNegativeForTheOwner) {
  LocalRequest receive = request(local::Op::kReceive, abi_with_long(4));
  receive.header.size = 0xfffffff0;
  const auto body = call_of(receive, kQueue);
  EXPECT_LT(static_cast<std::int64_t>(std::get<MessageReceive>(*body).max_bytes), 0);
  EXPECT_EQ(std::get<MessageReceive>(*body).type_bytes, 4);
}

TEST(LocalRecords, SemaphoreOperationsKeepTheirFlags) {
  LocalRequest operate = request(local::Op::kOperate, measured_abi());
  append(operate.payload, sembuf{1, -2, IPC_NOWAIT});
  append(operate.payload, sembuf{2, 3, SEM_UNDO});
  operate.header.size = 2;
  const auto body = call_of(operate, kSet);
  const auto& call = std::get<SemaphoreOperate>(*body);
  ASSERT_EQ(call.ops.size(), 2U);
  EXPECT_EQ(call.ops[0], (SemaphoreOp{1, -2, true, false}));
  EXPECT_EQ(call.ops[1], (SemaphoreOp{2, 3, false, true}));
  EXPECT_TRUE(uses_undo(*body));
  EXPECT_FALSE(call.timeout_ns);
}

TEST(LocalRecords, ATimeOutOutOfRangeIsOneTheKernelRefuses) {
  LocalRequest operate = request(local::Op::kOperate, measured_abi());
  append(operate.payload, sembuf{0, -1, 0});
  operate.header.size = 1;
  operate.header.marks = local::kHasTimeout;
  operate.header.timeout_ns = 1'000'000'000;
  EXPECT_LT(std::get<SemaphoreOperate>(*call_of(operate, kSet)).timeout_ns.value(), 0);
  operate.header.timeout_s = INT64_MAX;
  operate.header.timeout_ns = 0;
  EXPECT_GT(std::get<SemaphoreOperate>(*call_of(operate, kSet)).timeout_ns.value(), 0);
}

TEST(LocalRecords, OperationsThatTheKindHasNotAreNoCall) {
  const std::pair<local::Op, Kind> of[] = {{local::Op::kSend, Kind::kMessageQueue},
                                           {local::Op::kReceive, Kind::kMessageQueue},
                                           {local::Op::kOperate, Kind::kSemaphoreSet},
                                           {local::Op::kAttach, Kind::kSegment}};
  for (const auto& [op, kind] : of) {
    for (const Kind other : {Kind::kMessageQueue, Kind::kSemaphoreSet, Kind::kSegment}) {
      EXPECT_EQ(call_of(request(op, measured_abi()), {other, 3, 7}).has_value(), other == kind);
    }
  }
}

TEST(LocalRecords, AnAttachSaysOfWhichAbiAProgramIsThatIsNotLikeItsHost) {
  const ObjectRef segment{Kind::kSegment, 3, 7};
  const auto attach = [&](const Abi& abi) {
    return std::get<SegmentAttach>(*call_of(request(local::Op::kAttach, abi), segment));
  };
  EXPECT_EQ(attach(measured_abi()).abi, std::nullopt);
  Abi other = measured_abi();
  other[CType::kInt64].align_bytes = 1;
  EXPECT_EQ(attach(other).abi, other);
}

TEST(LocalRecords, CommandsThatTheKindHasNotAreNoCall) {
  LocalRequest control = request(local::Op::kControl, measured_abi());
  control.header.command = GETVAL;
  EXPECT_FALSE(call_of(control, kQueue));
  EXPECT_TRUE(call_of(control, kSet));
  control.header.command = IPC_SET;  // without a record
  EXPECT_FALSE(call_of(control, kSet));
}

TEST(LocalRecords, AMessageBecomesTheProgramsMsgbuf) {
  const Reply reply{.id = {}, .error = Error::kNone, .value = 2, .body = Message{9, Bytes(2, std::byte{'y'})}};
  const LocalAnswer narrow = answer_of(reply, 11, abi_with_long(4));
  ASSERT_EQ(narrow.payload.size(), 6U);
  std::int32_t type = 0;
  std::memcpy(&type, narrow.payload.data(), sizeof(type));
  EXPECT_EQ(type, 9);
  EXPECT_EQ(narrow.header.call, 11U);
  EXPECT_EQ(narrow.header.value, 2);
  EXPECT_EQ(answer_of(reply, 11, abi_with_long(8)).payload.size(), 10U);
}

TEST(LocalRecords, AnErrorIsThisMachinesNumber) {
  const LocalAnswer answer = answer_of(Error::kRemoved, 5);
  EXPECT_EQ(answer.header.error, EIDRM);
  EXPECT_EQ(answer.header.value, -1);
}

}  // namespace
}  // namespace dipc
