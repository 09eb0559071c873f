#include <fstream>
#include <limits>

#include "tests/unit/kernel/kernel_fixture.h"

namespace dipc::test {
namespace {

class ExecutorMessagesTest : public ExecutorTest {
 protected:
  CallKey receive(const Queue& queue, const std::string& host = "vax", const Identity& as = kRoot) {
    const CallKey key = start(receiving(queue, 0, true), host, 100, as);
    EXPECT_EQ(reply_of(key).error, Error::kNone);
    return key;
  }
  std::vector<DeadLetter> letters() {
    std::vector<DeadLetter> read;
    for (const std::string& name : executor_->dead_letters().names()) {
      const auto letter = executor_->dead_letters().read(name);
      EXPECT_TRUE(letter) << letter.error().what;
      if (letter) read.push_back(*letter);
    }
    return read;
  }
};

TEST_F(ExecutorMessagesTest, AMessageIsKeptUntilItIsTaken) {
  const Queue queue;
  ASSERT_TRUE(queue.send(3, "one"));
  const CallKey key = start(receiving(queue));
  const Reply reply = reply_of(key);
  EXPECT_EQ(reply.value, 3);
  EXPECT_EQ(std::get<Message>(reply.body), (Message{3, bytes_of("one")}));
  EXPECT_EQ(executor_->counters().kept_messages, 1u);
  executor_->taken(key);
  EXPECT_EQ(executor_->counters().kept_messages, 0u);
  executor_->returned(key);
  EXPECT_EQ(queue.stat().msg_qnum, 0u) << "what was taken can't be returned";
}

TEST_F(ExecutorMessagesTest, AReturnedMessageGoesBackToTheTail) {
  const Queue queue;
  ASSERT_TRUE(queue.send(3, "one"));
  ASSERT_TRUE(queue.send(4, "two"));
  const CallKey key = receive(queue);
  executor_->returned(key);
  executor_->returned(key);
  EXPECT_EQ(executor_->counters().put_back, 1u);
  EXPECT_EQ(queue.receive(), "4:two");
  EXPECT_EQ(queue.receive(), "3:one");
  EXPECT_EQ(queue.stat().msg_qnum, 0u);
  EXPECT_TRUE(letters().empty());
}

TEST_F(ExecutorMessagesTest, AReturnedMessageWakesTheNextReceiver) {
  const Queue queue;
  ASSERT_TRUE(queue.send(3, "one"));
  const CallKey first = receive(queue);
  const CallKey next = start(receiving(queue), "sun");
  settle(queue.ref());
  executor_->returned(first);
  EXPECT_EQ(text_of(std::get<Message>(reply_of(next).body).text), "one");
}

TEST_F(ExecutorMessagesTest, WhoMayOnlyReceiveStillHasItsMessagePutBack) {
  const Queue queue;
  queue.give_to(kBob.uid, kBob.gid, 0604);
  ASSERT_TRUE(queue.send(3, "one"));
  EXPECT_EQ(call(sending(queue, 1, "x"), "vax", 100, kAlice).error, Error::kAccess);
  executor_->returned(receive(queue, "vax", kAlice));
  EXPECT_EQ(queue.receive(), "3:one");
}

TEST_F(ExecutorMessagesTest, AReturnedMessageThatFindsTheQueueFullIsADeadLetter) {
  const Queue queue;
  queue.limit_bytes(5);
  queue.give_to(0, 0, 0600);
  ASSERT_TRUE(queue.send(3, "12345"));
  const CallKey key = receive(queue);
  ASSERT_TRUE(queue.send(4, "67890"));
  executor_->returned(key);
  const auto found = letters();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].message, (Message{3, bytes_of("12345")}));
  EXPECT_EQ(found[0].host, "vax");
  EXPECT_EQ(found[0].queue, queue.id());
  EXPECT_EQ(found[0].owner, "root");
  EXPECT_TRUE(found[0].length_exact);
  EXPECT_NE(found[0].reason.find("full"), std::string::npos) << found[0].reason;
  EXPECT_EQ(executor_->counters().kept_messages, 0u);
  EXPECT_EQ(queue.receive(), "4:67890");
}

TEST_F(ExecutorMessagesTest, AReturnedMessageOfARemovedQueueIsADeadLetter) {
  CallKey key;
  {
    const Queue queue;
    ASSERT_TRUE(queue.send(3, "one"));
    key = receive(queue);
  }
  executor_->returned(key);
  ASSERT_EQ(letters().size(), 1u);
  EXPECT_NE(letters()[0].reason.find("gone"), std::string::npos) << letters()[0].reason;
}

TEST_F(ExecutorMessagesTest, TheEndOfAHostMakesDeadLettersOfWhatItDidNotAcknowledge) {
  const Queue queue;
  for (int i = 1; i <= 3; ++i) ASSERT_TRUE(queue.send(i, "m" + std::to_string(i)));
  const CallKey taken = receive(queue);
  receive(queue);
  const CallKey others = receive(queue, "sun");
  executor_->taken(taken);
  end_host("vax");
  const auto found = letters();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].message, (Message{2, bytes_of("m2")}));
  executor_->returned(others);
  EXPECT_EQ(queue.receive(), "3:m3");
}

TEST_F(ExecutorMessagesTest, AMessageThatComesForAHostThatIsGoneIsNotLost) {
  int dead = 0;
  for (int round = 0; round < 200; ++round) {
    const Queue queue;
    start(receiving(queue));
    settle(queue.ref());
    ASSERT_TRUE(queue.send(1, "late"));
    end_host("vax");
    wait_until([&] { return executor_->counters().blocked_now == 0; });
    const auto now_dead = static_cast<int>(letters().size());
    EXPECT_EQ(now_dead - dead + static_cast<int>(queue.stat().msg_qnum), 1);
    dead = now_dead;
  }
  EXPECT_GT(dead, 0);
}

TEST_F(ExecutorMessagesTest, TheEndOfTheExecutorKeepsWhatWasNotAcknowledged) {
  const Queue queue;
  ASSERT_TRUE(queue.send(7, "kept"));
  receive(queue);
  executor_.reset();
  open(options());
  ASSERT_EQ(letters().size(), 1u);
  EXPECT_EQ(letters()[0].message, (Message{7, bytes_of("kept")}));
}

TEST_F(ExecutorMessagesTest, TheOldestDeadLetterGoesWhenThereAreTooMany) {
  Executor::Options few = options();
  few.dead_letters_max = 3;
  open(std::move(few));
  const Queue queue;
  for (int i = 1; i <= 5; ++i) {
    ASSERT_TRUE(queue.send(i, "m"));
    receive(queue);
  }
  end_host("vax");
  const auto found = letters();
  ASSERT_EQ(found.size(), 3u);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(found[static_cast<std::size_t>(i)].message.type, i + 3);
  int told = 0;
  for (const std::string& line : log_) told += line.find("the oldest is removed") != std::string::npos ? 1 : 0;
  EXPECT_EQ(told, 2);
}

TEST_F(ExecutorMessagesTest, ATypeThatTheReceiverCanNotHoldIsAnErrorOnceAndADeadLetter) {
  if (sizeof(long) == 4) GTEST_SKIP() << "here every type fits 32 bits";
  const Queue queue;
  const auto type = static_cast<long>(std::int64_t{1} << 40);
  ASSERT_TRUE(queue.send(type, "wide"));
  ASSERT_TRUE(queue.send(5, "narrow"));
  MessageReceive narrow = receiving(queue, 0, true);
  narrow.type_bytes = 4;
  MessageReceive look = narrow;
  look.copy = true;
  EXPECT_EQ(call(look).error, Error::kOverflow) << "a copy leaves the message where it is";
  EXPECT_EQ(queue.stat().msg_qnum, 2u);
  EXPECT_EQ(call(narrow).error, Error::kOverflow);
  const Reply next = call(narrow);
  ASSERT_EQ(next.error, Error::kNone);
  EXPECT_EQ(std::get<Message>(next.body).type, 5);
  ASSERT_EQ(letters().size(), 1u);
  EXPECT_EQ(letters()[0].message, (Message{type, bytes_of("wide")}));
}

TEST_F(ExecutorMessagesTest, TypesBeyondTheOwnersLong) {
  if (sizeof(long) == 8) GTEST_SKIP() << "here every type fits";
  const Queue queue;
  const std::int64_t wide = std::int64_t{1} << 40;
  EXPECT_EQ(call(sending(queue, wide, "x")).error, Error::kInvalid);
  ASSERT_TRUE(queue.send(9, "nine"));
  EXPECT_EQ(call(receiving(queue, wide, true)).error, Error::kInvalid);
  MessageReceive except = receiving(queue, wide, true);
  except.except = true;
  EXPECT_EQ(std::get<Message>(call(except).body).type, 9) << "every message has another type";
  ASSERT_TRUE(queue.send(std::numeric_limits<long>::max(), "largest"));
  EXPECT_EQ(text_of(std::get<Message>(call(receiving(queue, -wide, true)).body).text), "largest");
}

TEST_F(ExecutorMessagesTest, ACopyIsNotKept) {
  const Queue queue;
  ASSERT_TRUE(queue.send(1, "first"));
  ASSERT_TRUE(queue.send(2, "second"));
  MessageReceive copy = receiving(queue, 1, true);
  copy.copy = true;
  const Reply reply = call(copy);
  ASSERT_EQ(reply.error, Error::kNone) << errno_name(reply.error);
  EXPECT_EQ(std::get<Message>(reply.body), (Message{2, bytes_of("second")}));
  EXPECT_EQ(executor_->counters().kept_messages, 0u);
  EXPECT_EQ(queue.stat().msg_qnum, 2u);
  copy.type = 7;
  EXPECT_EQ(call(copy).error, Error::kNoMessage);
  copy.type = 0;
  copy.no_wait = false;
  EXPECT_EQ(call(copy).error, Error::kInvalid);
}

TEST_F(ExecutorMessagesTest, ReceiveFlagsMeanWhatTheyMeanHere) {
  const Queue queue;
  ASSERT_TRUE(queue.send(4, "0123456789"));
  ASSERT_TRUE(queue.send(2, "b"));
  MessageReceive small = receiving(queue, 0, true);
  small.max_bytes = 4;
  EXPECT_EQ(call(small).error, Error::kTooBig);
  small.no_error = true;
  EXPECT_EQ(text_of(std::get<Message>(call(small).body).text), "0123");
  ASSERT_TRUE(queue.send(3, "c"));
  ASSERT_TRUE(queue.send(1, "d"));
  EXPECT_EQ(text_of(std::get<Message>(call(receiving(queue, -2, true)).body).text), "d");
  MessageReceive except = receiving(queue, 2, true);
  except.except = true;
  EXPECT_EQ(text_of(std::get<Message>(call(except).body).text), "c");
  EXPECT_EQ(call(receiving(queue, 9, true)).error, Error::kNoMessage);
}

TEST_F(ExecutorMessagesTest, MessagesOfAMegabyteWhereTheOwnerAllowsThem) {
  if (!kOwnNamespace) GTEST_SKIP() << "would change the limits of the whole machine";
  constexpr std::size_t kMegabyte = 1 << 20;
  const auto limit = [](const char* name, std::size_t value) {
    std::ofstream(std::string("/proc/sys/kernel/") + name) << value << std::flush;
  };
  const Queue queue;
  MessageReceive large = receiving(queue);
  large.max_bytes = kMegabyte + 5;
  const CallKey early = start(large);  // while the limit still is small
  settle(queue.ref());
  limit("msgmax", kMegabyte);
  limit("msgmnb", 4 * kMegabyte);
  queue.limit_bytes(4 * kMegabyte);
  std::string text(kMegabyte, 'x');
  for (std::size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>('a' + i % 23);
  const Reply sent = call(sending(queue, 1, text));
  EXPECT_EQ(sent.error, Error::kNone) << errno_name(sent.error);
  EXPECT_EQ(text_of(std::get<Message>(reply_of(early).body).text), text) << "slept with less room than it takes";
  EXPECT_EQ(call(sending(queue, 1, text + "y")).error, Error::kInvalid);
  ASSERT_EQ(call(sending(queue, 2, text)).error, Error::kNone);
  limit("msgmax", 8192);  // the message in the queue is larger than the limit now
  MessageReceive cut = large;
  cut.max_bytes = 100000;
  EXPECT_EQ(call(cut).error, Error::kTooBig);
  EXPECT_EQ(text_of(std::get<Message>(call(large).body).text), text);
  ASSERT_TRUE(queue.send(1, "short"));
  cut.no_error = true;
  EXPECT_EQ(text_of(std::get<Message>(call(cut).body).text), "short");
}

TEST_F(ExecutorMessagesTest, ACallNumberInUseIsRefused) {
  const Queue queue;
  ASSERT_TRUE(queue.send(1, "kept"));
  const CallKey key = receive(queue);
  last_call_ = static_cast<std::uint64_t>(key.call) - 1;
  EXPECT_EQ(call(sending(queue, 1, "x")).error, Error::kInvalid);
  executor_->returned(key);
  EXPECT_EQ(queue.receive(), "1:kept");
}

TEST_F(ExecutorMessagesTest, BlockedSendersGoOnWhenThereIsRoom) {
  const Queue queue;
  queue.limit_bytes(10);
  ASSERT_TRUE(queue.send(1, "0123456789"));
  const CallKey send = start(sending(queue, 2, "abc"));
  EXPECT_EQ(call(sending(queue, 2, "abc", true), "sun").error, Error::kAgain);
  EXPECT_FALSE(answered(send));
  EXPECT_EQ(queue.receive(), "1:0123456789");
  EXPECT_EQ(reply_of(send).error, Error::kNone);
  EXPECT_EQ(queue.receive(), "2:abc");
}

}  // namespace
}  // namespace dipc::test
