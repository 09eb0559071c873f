// Calls on queues whose owner has declared what their messages are.

#include <gmock/gmock.h>

#include <cerrno>

#include "layouts/parser.h"
#include "tests/unit/daemon/local_calls_fixture.h"

namespace dipc::test {
namespace {

using testing::HasSubstr;

constexpr char kNote[] = "struct note {\n  long mtype;\n  short n;\n  long big;\n};\nbind msg all to note;\n";

struct Note {
  long mtype = 1;
  short n = 258;
  long big = 3;
};
constexpr std::size_t kNoteBytes = sizeof(Note) - sizeof(long);

class TypedLocalCallsTest : public LocalCallsTest {
 protected:
  void send_note(Program& program) {
    local::Request request;
    request.op = local::Op::kSend;
    request.size = kNoteBytes;
    const Note note;
    program.send(request, std::string(reinterpret_cast<const char*>(&note), sizeof(note)));
  }
};

TEST_F(TypedLocalCallsTest, CallsOnAQueueWaitInTheirOrderUntilItsOwnerHasSaidWhatItsMessagesAre) {
  Program other((directory_.path() / "dipcd.sock").string());
  send_note(*program_);
  std::optional<AskLayout> question;
  run_until([&] { return question || (question = peers_.next<AskLayout>("moon")); });
  local::Request receive;
  receive.op = local::Op::kReceive;
  receive.size = 100;
  other.send(receive);
  run_until([this] { return calls_->under_way() == 2; });
  EXPECT_TRUE(peers_.sent.empty()) << "one question is enough, and nothing passes it";
  calls_->on_declarations("moon", {kQueue, ""});
  const auto first = peers_.next<Call>("moon");
  const auto second = peers_.next<Call>("moon");
  ASSERT_TRUE(first && second);
  EXPECT_TRUE(std::holds_alternative<MessageSend>(first->body));
  EXPECT_TRUE(std::holds_alternative<MessageReceive>(second->body));
  EXPECT_EQ(std::get<MessageSend>(first->body).text.size(), kNoteBytes) << "bytes, as nothing is declared";
  EXPECT_EQ(std::get<MessageSend>(first->body).form, PayloadForm{});
}

TEST_F(TypedLocalCallsTest, ACallThatWaitsForDeclarationsIsInterruptedAtOnceAndNeverSent) {
  send_note(*program_);
  run_until([this] { return calls_->under_way() == 1; });
  program_->cancel();
  EXPECT_EQ(answer().error, EINTR);
  calls_->on_declarations("moon", {kQueue, ""});
  EXPECT_FALSE(peers_.next<Call>("moon"));
}

TEST_F(TypedLocalCallsTest, ACallThatWaitsForDeclarationsWhenTheSessionEndsWasNotExecuted) {
  send_note(*program_);
  run_until([this] { return calls_->under_way() == 1; });
  calls_->on_session_ended("moon", {});
  EXPECT_EQ(answer().error, EHOSTUNREACH);
  send_note(*program_);
  std::optional<AskLayout> question;
  peers_.sent.clear();
  run_until([&] { return question || (question = peers_.next<AskLayout>("moon")); });
}

TEST_F(TypedLocalCallsTest, NobodyIsAskedByAnAnswerWithoutAQuestion) {
  calls_->on_declarations("moon", {kQueue, kNote});
  const Call call = call_of(local::Op::kReceive);
  EXPECT_EQ(std::get<MessageReceive>(call.body).layout, 0u) << "what was said then does not count";
}

TEST_F(TypedLocalCallsTest, ADeclaredMessageTravelsInItsCanonicalForm) {
  declarations_ = kNote;
  send_note(*program_);
  std::optional<Call> call;
  run_until([&] {
    tell_declarations();
    return call || (call = peers_.next<Call>("moon"));
  });
  const auto& send = std::get<MessageSend>(call->body);
  const Bytes expected = {std::byte{2}, std::byte{1}, std::byte{3}, {}, {}, {}, {}, {}, {}, {}};
  EXPECT_EQ(send.text, expected);
  EXPECT_EQ(send.declared_bytes, 10u);
  EXPECT_EQ(send.form.layout, (*QueueLayout::parse(kNote))->fingerprint());
  EXPECT_EQ(send.form.structure, 1u);
}

TEST_F(TypedLocalCallsTest, AMessageThatIsNotWhatIsDeclaredIsInvalidAndStaysHere) {
  declarations_ = kNote;
  local::Request request;
  request.op = local::Op::kSend;
  request.size = 5;
  program_->send(request, std::string(sizeof(long) + 5, 'x'));
  run_until([this] { return calls_->under_way() == 1; });
  tell_declarations();
  EXPECT_EQ(answer().error, EINVAL);
  EXPECT_FALSE(peers_.next<Call>("moon"));
}

TEST_F(TypedLocalCallsTest, AReceivedMessageIsInTheFormOfItsProgram) {
  declarations_ = kNote;
  const Call call = call_of(local::Op::kReceive);
  const auto& receive = std::get<MessageReceive>(call.body);
  EXPECT_EQ(receive.max_bytes, 100u);
  EXPECT_NE(receive.layout, 0u);
  Message message{1, Bytes(10), {receive.layout, 1, true, {}}};
  message.text[0] = std::byte{7};
  calls_->on_reply("moon", Reply{.id = call.id, .value = 10, .body = message});
  EXPECT_EQ(answer().value, static_cast<std::int64_t>(kNoteBytes));
  EXPECT_TRUE(peers_.ended.empty());
}

TEST_F(TypedLocalCallsTest, AReceivedMessageThatTheProgramCannotHaveIsSaidToBeUnfit) {
  declarations_ = kNote;
  const Call call = call_of(local::Op::kReceive);
  const std::uint64_t layout = std::get<MessageReceive>(call.body).layout;
  calls_->on_reply("moon", Reply{.id = call.id, .value = 3, .body = Message{1, Bytes(3), {layout, 1, false, {}}}});
  EXPECT_EQ(answer().error, EINVAL);
  const auto returned = peers_.next<Returned>("moon");
  ASSERT_TRUE(returned);
  EXPECT_THAT(returned->unfit, HasSubstr("struct note"));
  EXPECT_FALSE(peers_.next<Taken>("moon"));
}

TEST_F(TypedLocalCallsTest, AMessageInAFormThatWasNotAskedForEndsTheSession) {
  const Call call = call_of(local::Op::kReceive);
  calls_->on_reply("moon", Reply{.id = call.id, .value = 3, .body = Message{1, Bytes(3), {5, 1, false, {}}}});
  ASSERT_EQ(peers_.ended.size(), 1u);
  EXPECT_THAT(peers_.ended[0].second, HasSubstr("another form"));
}

TEST_F(TypedLocalCallsTest, AQueueThatThisHostDeclaresOtherwiseIsRefused) {
  const std::vector<TypeFile> files = {
      {"a.types", "struct note { long mtype; int n; long big; };\nbind msg 0x10 to note;"}};
  types_.queues = *QueueLayouts::of(*parse_types(files));
  for (const char* theirs : {kNote, ""}) {
    declarations_ = theirs;
    send_note(*program_);
    run_until([this] { return calls_->under_way() == 1; });
    tell_declarations();
    EXPECT_EQ(answer().error, EINVAL);
    EXPECT_FALSE(peers_.next<Call>("moon"));
    calls_->on_declarations_changed("moon");
  }
  declarations_ = types_.queues.find(kKey)->text();
  EXPECT_NE(std::get<MessageReceive>(call_of(local::Op::kReceive).body).layout, 0u) << "the same is as good as none";
}

TEST_F(TypedLocalCallsTest, AReloadHereCountsForWhatOwnersHaveToldAlready) {
  declarations_ = kNote;
  call_of(local::Op::kReceive);
  const std::vector<TypeFile> files = {
      {"a.types", "struct note { long mtype; int n; long big; };\nbind msg 0x10 to note;"}};
  types_.queues = *QueueLayouts::of(*parse_types(files));
  calls_->on_reload();
  program_.emplace((directory_.path() / "dipcd.sock").string());
  send_note(*program_);
  EXPECT_EQ(answer().error, EINVAL);
  types_.queues = QueueLayouts();
  calls_->on_reload();
  send_note(*program_);
  std::optional<Call> call;
  run_until([&] { return call || (call = peers_.next<Call>("moon")); });
}

TEST_F(TypedLocalCallsTest, WhatIsKnownOfARemovedQueueIsForgotten) {
  declarations_ = kNote;
  const Call call = call_of(local::Op::kReceive);
  calls_->on_reply("moon", Reply{.id = call.id, .error = Error::kRemoved, .value = -1});
  EXPECT_EQ(answer().error, EIDRM);
  peers_.sent.clear();
  send_note(*program_);
  std::optional<AskLayout> question;
  run_until([&] { return question || (question = peers_.next<AskLayout>("moon")); });
}

TEST_F(TypedLocalCallsTest, DeclarationsAreAskedForAgainWhenTheOwnerHasChangedThem) {
  call_of(local::Op::kReceive);
  calls_->on_declarations_changed("moon");
  declarations_ = kNote;
  program_.emplace((directory_.path() / "dipcd.sock").string());
  EXPECT_NE(std::get<MessageReceive>(call_of(local::Op::kReceive).body).layout, 0u);
}

}  // namespace
}  // namespace dipc::test
