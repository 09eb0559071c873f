#include "daemon/dead_letter_commands.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "daemon/kernel/native_calls.h"
#include "tests/unit/kernel/kernel_fixture.h"

namespace dipc::test {
namespace {

using testing::HasSubstr;

constexpr std::uint64_t kGeneration = 77;

// Letters of one queue, which is really there.
class DeadLetterCommandsTest : public testing::Test {
 protected:
  DeadLetterCommandsTest()
      : letters_(*DeadLetters::open(directory_.path(), 10000, [](const std::string&) {})),
        commands_(
            letters_, [this](std::int32_t id) { return id == object_.ref.id ? &object_ : nullptr; },
            [this](std::int32_t queue, const Message& message) { return put(queue, message); }) {
    object_.ref = {Kind::kMessageQueue, queue_.id(), kGeneration};
  }

  int put(std::int32_t queue, const Message& message) {
    letters_when_put_ = letters_.count();
    const MessageSend send{{Kind::kMessageQueue, queue, 0}, message.type, message.text, message.text.size(), true};
    return attempt(to_native(send)).error;
  }

  DeadLetter letter(const std::string& text) const {
    DeadLetter letter;
    letter.time_s = 1795365000;
    letter.reason = "its session ended";
    letter.host = "vax";
    letter.login = "alice";
    letter.queue = queue_.id();
    letter.generation = kGeneration;
    letter.owner = "alicia";
    letter.message = {42, bytes_of(text)};
    return letter;
  }
  std::uint64_t add(const DeadLetter& letter) { return *dead_letter_number(*letters_.add(letter)); }
  std::string refusal(std::uint64_t number) {
    const auto done = commands_.requeue(number, "root");
    return done ? std::string("(done)") : done.error().what;
  }

  const Queue queue_;
  const TemporaryDirectory directory_;
  OwnedObject object_;
  DeadLetters letters_;
  DeadLetterCommands commands_;
  std::size_t letters_when_put_ = 0;
};

TEST_F(DeadLetterCommandsTest, AListNamesWhatIsKnown) {
  add(letter("hello"));
  const auto report = commands_.list(0);
  ASSERT_EQ(report.rows.size(), 1u);
  EXPECT_EQ(report.rows[0], (DeadLettersReport::Row{.id = 1,
                                                    .time = "2026-11-22 16:30:00 UTC",
                                                    .reason = "its session ended",
                                                    .host = "vax",
                                                    .login = "alice",
                                                    .queue = queue_.id(),
                                                    .key = 0,
                                                    .generation = kGeneration,
                                                    .owner = "alicia",
                                                    .type = 42,
                                                    .bytes = 5}));
  EXPECT_FALSE(report.next);
}

TEST_F(DeadLetterCommandsTest, ALongListComesInPiecesWithoutGapsAndWithoutRepeats) {
  const std::size_t count = 2 * DeadLetterCommands::kRowsMax + 1;
  for (std::size_t i = 0; i < count; ++i) add(letter("x"));
  std::vector<std::uint64_t> ids;
  std::optional<std::uint64_t> next = 0;
  int pieces = 0;
  while (next && pieces < 10) {
    const auto piece = commands_.list(*next);
    EXPECT_LE(piece.rows.size(), DeadLetterCommands::kRowsMax);
    for (const auto& row : piece.rows) ids.push_back(row.id);
    next = piece.next;
    ++pieces;
  }
  EXPECT_EQ(pieces, 3);
  ASSERT_EQ(ids.size(), count);
  for (std::size_t i = 0; i < count; ++i) ASSERT_EQ(ids[i], i + 1);
}

TEST_F(DeadLetterCommandsTest, ALongTextComesInPieces) {
  std::string text(DeadLetterCommands::kPieceBytes + 10, 'a');
  text.back() = 'z';
  const std::uint64_t number = add(letter(text));
  const auto first = commands_.show(number, 0);
  ASSERT_TRUE(first);
  EXPECT_EQ(first->text.size(), DeadLetterCommands::kPieceBytes);
  EXPECT_EQ(first->row.bytes, text.size());
  const auto second = commands_.show(number, first->text.size());
  ASSERT_TRUE(second);
  EXPECT_EQ(second->text, "aaaaaaaaaz");
  EXPECT_EQ(second->offset, first->text.size());
  EXPECT_FALSE(commands_.show(number, text.size() + 1));
  EXPECT_FALSE(commands_.show(number + 1, 0));
}

TEST_F(DeadLetterCommandsTest, RequeuePutsTheMessageAtTheTailAndOnlyThenRemovesTheLetter) {
  ASSERT_TRUE(queue_.send(1, "first"));
  const std::uint64_t number = add(letter("again"));
  const auto done = commands_.requeue(number, "root");
  ASSERT_TRUE(done) << done.error().what;
  EXPECT_EQ(letters_when_put_, 1u) << "a daemon that is killed in between would have lost the message";
  EXPECT_EQ(letters_.count(), 0u);
  EXPECT_EQ(queue_.receive(), "1:first");
  EXPECT_EQ(queue_.receive(), "42:again");
  EXPECT_THAT(refusal(number), HasSubstr("there is no dead letter 1"));
}

TEST_F(DeadLetterCommandsTest, AFullQueueKeepsTheLetterALetter) {
  queue_.limit_bytes(8);
  ASSERT_TRUE(queue_.send(1, "12345678"));
  const std::uint64_t number = add(letter("again"));
  EXPECT_THAT(refusal(number), HasSubstr("is full"));
  EXPECT_EQ(letters_.count(), 1u);
  EXPECT_EQ(queue_.receive(), "1:12345678");
  EXPECT_EQ(refusal(number), "(done)");
}

TEST_F(DeadLetterCommandsTest, OnlyTheQueueThatItCameFromTakesItBack) {
  const std::uint64_t number = add(letter("again"));
  object_.ref.generation = kGeneration + 1;
  EXPECT_THAT(refusal(number), HasSubstr("is another one now"));
  object_.ref.generation = kGeneration;
  object_.state = OwnedObject::State::kFenced;
  EXPECT_THAT(refusal(number), HasSubstr("is fenced"));
  object_.state = OwnedObject::State::kLive;
  object_.ref.id = -1;
  EXPECT_THAT(refusal(number), HasSubstr("is gone, or no distributed queue"));
  object_.ref.id = queue_.id();
  DeadLetter old = letter("of unknown origin");
  old.generation = 0;
  EXPECT_THAT(refusal(add(old)), HasSubstr("does not say which"));
  DeadLetter odd = letter("of no type");
  odd.message.type = 0;
  EXPECT_THAT(refusal(add(odd)), HasSubstr("can have type 0"));
  EXPECT_EQ(letters_.count(), 3u);
  EXPECT_EQ(queue_.stat().msg_qnum, 0u);
  ASSERT_EQ(msgctl(queue_.id(), IPC_RMID, nullptr), 0);
  EXPECT_THAT(refusal(number), HasSubstr("is gone"));
  EXPECT_EQ(letters_.count(), 3u);
}

TEST_F(DeadLetterCommandsTest, AMessageLargerThanTheKernelTakesIsSaidSo) {
  EXPECT_THAT(refusal(add(letter(std::string(9000, 'x')))), HasSubstr("the kernel does not take the message"));
}

TEST_F(DeadLetterCommandsTest, AFileThatIsNoLetterIsListedAndGoesOnlyWhenItIsDropped) {
  std::ofstream(directory_.path() / "000000000005.letter") << "dipc dead letter 2\n\n";
  letters_ = *DeadLetters::open(directory_.path(), 10, [](const std::string&) {});
  const auto report = commands_.list(0);
  ASSERT_EQ(report.rows.size(), 1u);
  EXPECT_EQ(report.rows[0].id, 5u);
  EXPECT_THAT(report.rows[0].trouble, HasSubstr("version 2"));
  EXPECT_THAT(refusal(5), HasSubstr("version 2"));
  EXPECT_THAT(commands_.show(5, 0).error().what, HasSubstr("version 2"));
  EXPECT_TRUE(std::filesystem::exists(directory_.path() / "000000000005.letter"));
  ASSERT_TRUE(commands_.drop(5, "root"));
  EXPECT_FALSE(std::filesystem::exists(directory_.path() / "000000000005.letter"));
  EXPECT_FALSE(commands_.drop(5, "root"));
}

TEST_F(DeadLetterCommandsTest, EveryChangeIsLoggedWithWhoAsked) {
  testing::internal::CaptureStderr();
  for (int i = 0; i < 30; ++i) {
    const std::uint64_t number = add(letter("x"));
    ASSERT_TRUE(i % 2 == 0 ? commands_.requeue(number, "alice (uid 0, pid 5)") : commands_.drop(number, "bob"));
  }
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_THAT(log, HasSubstr("by alice (uid 0, pid 5): letter 1 (queue "));
  EXPECT_THAT(log, HasSubstr("by bob: letter 30 (queue "));
  EXPECT_THAT(log, HasSubstr("dropped"));
}

}  // namespace
}  // namespace dipc::test
