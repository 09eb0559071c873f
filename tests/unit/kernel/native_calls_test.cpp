#include "daemon/kernel/native_calls.h"

#include <gtest/gtest.h>
#include <sys/ipc.h>
#include <sys/msg.h>

#include <cerrno>
#include <cstring>
#include <limits>

namespace dipc::test {
namespace {

constexpr std::size_t kSizeMax = std::numeric_limits<std::size_t>::max();
constexpr long kLongMax = std::numeric_limits<long>::max();

TEST(NativeCallsTest, ASizeThatIsNegativeForTheCallerIsOneThatTheKernelRefuses) {
  MessageReceive call;
  char room[64];
  call.max_bytes = 0xffffffff;
  call.type_bytes = 4;
  EXPECT_FALSE(text_bytes_wanted(call));
  EXPECT_EQ(to_native(call, room, 32)->text_bytes, kSizeMax);
  call.type_bytes = 8;
  EXPECT_EQ(text_bytes_wanted(call), 0xffffffffu) << "four gigabytes, where size_t has 64 bits";
  EXPECT_EQ(to_native(call, room, 32)->text_bytes, 32u);
  call.max_bytes = std::numeric_limits<std::uint64_t>::max();
  EXPECT_FALSE(text_bytes_wanted(call));
}

TEST(NativeCallsTest, NoMessageIsCutShorterThanItsReceiverAskedFor) {
  MessageReceive call;
  char room[64];
  call.max_bytes = 40;
  call.no_error = true;
  EXPECT_EQ(to_native(call, room, 40)->flags & MSG_NOERROR, MSG_NOERROR);
  EXPECT_EQ(to_native(call, room, 39)->flags & MSG_NOERROR, 0) << "E2BIG, and then more room";
}

TEST(NativeCallsTest, NegativeTypesEndAtTheSmallestLong) {
  MessageReceive call;
  call.type = std::numeric_limits<std::int64_t>::min();
  EXPECT_EQ(to_native(call, nullptr, 0)->type, std::numeric_limits<long>::min());
  call.type = -5;
  EXPECT_EQ(to_native(call, nullptr, 0)->type, -5);
}

TEST(NativeCallsTest, NothingBeyondTheTextThatCameIsSent) {
  MessageSend call;
  call.type = 5;
  call.text.resize(3);
  call.declared_bytes = 4;
  EXPECT_FALSE(to_native(call).text_is_readable) << "whatever the peer forgot to say";
  call.declared_bytes = 2;
  EXPECT_TRUE(to_native(call).text_is_readable);
  EXPECT_EQ(to_native(call).text_bytes, 2u);
  call.declared_bytes = std::numeric_limits<std::uint64_t>::max();
  EXPECT_EQ(to_native(call).text_bytes, kSizeMax);
  SemaphoreOperate operate;
  operate.declared_ops = 2;
  operate.ops.resize(1);
  EXPECT_TRUE(to_native(operate).unreadable);
}

TEST(NativeCallsTest, OnlyAWaitThatMayEndWellIsUndecided) {
  const Outcome again{-1, EAGAIN};
  NativeOperate operate;
  operate.ops = {{0, -1, IPC_NOWAIT}, {1, -1, 0}};
  EXPECT_TRUE(is_undecided(operate, again)) << "which of the two has to wait?";
  EXPECT_FALSE(is_undecided(operate, {0, 0}));
  EXPECT_FALSE(is_undecided(operate, {-1, EIDRM}));
  operate.timeout = Duration::zero();
  EXPECT_FALSE(is_undecided(operate, again));
  operate.timeout = std::chrono::seconds(1);
  operate.ops[1].sem_flg = IPC_NOWAIT;
  EXPECT_FALSE(is_undecided(operate, again));
  NativeReceive receive;
  EXPECT_TRUE(is_undecided(receive, {-1, ENOMSG}));
  EXPECT_FALSE(is_undecided(receive, again));
  receive.flags = MSG_COPY;
  EXPECT_FALSE(is_undecided(receive, {-1, ENOMSG}));
  NativeSend send;
  EXPECT_TRUE(is_undecided(send, again));
  send.no_wait = true;
  EXPECT_FALSE(is_undecided(send, again));
}

// qemu-user's msgrcv writes it all the same.
TEST(NativeCallsTest, AReceiveThatFailsLeavesNoType) {
  const int queue = ::msgget(IPC_PRIVATE, 0600);
  ASSERT_GE(queue, 0);
  struct {
    long type = 77;
    char text[100] = "text";
  } message;
  NativeReceive receive;
  receive.queue = queue;
  receive.into = &message;
  receive.text_bytes = sizeof message.text;
  EXPECT_EQ(::msgsnd(queue, &message, 10, 0), 0);
  EXPECT_EQ(attempt(receive).value, 10) << "its memory has held a message now";
  EXPECT_EQ(message.type, 77);
  EXPECT_EQ(attempt(receive).error, ENOMSG);
  EXPECT_EQ(message.type, 0);
  ::msgctl(queue, IPC_RMID, nullptr);
}

TEST(NativeCallsTest, TypesOfAnotherWidth) {
  MessageReceive call;
  call.type = std::numeric_limits<std::int64_t>::max();
  const auto exact = to_native(call, nullptr, 0);
  EXPECT_EQ(exact.has_value(), sizeof(long) == 8) << "no message of a 32-bit owner has it";
  call.copy = true;
  EXPECT_EQ(to_native(call, nullptr, 0)->type, kLongMax) << "an index, not a type";
  MessageSend send;
  send.type = call.type;
  long type = -1;
  std::memcpy(&type, to_native(send).message.data(), sizeof type);
  EXPECT_EQ(type, sizeof(long) == 8 ? kLongMax : 0);
}

}  // namespace
}  // namespace dipc::test
