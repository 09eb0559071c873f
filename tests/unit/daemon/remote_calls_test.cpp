#include "daemon/remote_calls.h"

#include <gmock/gmock.h>
#include <sys/msg.h>

#include "arch/abi_names.h"
#include "daemon/io/log.h"
#include "layouts/parser.h"
#include "tests/unit/daemon/naming_fixture.h"

namespace dipc::test {
namespace {

using namespace std::chrono_literals;

constexpr ObjectName kQueue{Kind::kMessageQueue, 0x10};

// The daemon of sun, asked by moon; the referee is vax.
class RemoteCallsTest : public LoopTest {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root: calls are made as other logins";
    const std::string folder = directory_.path().string();
    auto naming = Naming::open(&loop_,
                               {.host = "sun",
                                .referee = "vax",
                                .boot = "boot",
                                .incarnation = Incarnation{1},
                                .state_dir = folder,
                                .op_timeout = 30s,
                                .claim_timeout = 30s,
                                .own = thread_identity()},
                               peers_);
    ASSERT_TRUE(naming) << naming.error().what;
    naming_ = std::move(*naming);
    Executor::Options options;
    options.slot_dir = folder + "/slots";
    options.dead_letter_dir = folder + "/letters";
    auto executor = Executor::open(std::move(options), users_);
    ASSERT_TRUE(executor) << executor.error().what;
    executor_ = std::move(*executor);
    calls_.emplace(peers_, *naming_, *executor_, users_, policy_, types_);
  }
  ~RemoteCallsTest() override {
    if (naming_) {
      for (const OwnedObject& one : naming_->owned_objects()) msgctl(one.ref.id, IPC_RMID, nullptr);
    }
    calls_.reset();
    executor_.reset();
    naming_.reset();
  }

  void get(const std::string& login) {
    const GetCall call{.name = kQueue, .create = true, .mode = 0600, .claim = ClaimId{9}};
    calls_->on_call("moon", Call{CallId{1}, {login, {1, 1}}, call});
  }
  // The referee's word on the registration that is under way.
  void accept() {
    const auto registration = peers_.next<Register>("vax");
    ASSERT_TRUE(registration);
    naming_->on_peer_message("vax", Registered{registration->id, true});
  }

  Users users_;
  RemoteCalls::Policy policy_;
  HostTypes types_;
  std::unique_ptr<Naming> naming_;
  std::unique_ptr<Executor> executor_;
  std::optional<RemoteCalls> calls_;
};

TEST_F(RemoteCallsTest, AGetIsAnsweredWhenTheRefereeHasAccepted) {
  get("nobody");
  EXPECT_FALSE(peers_.next<Reply>("moon"));
  accept();
  const auto reply = peers_.next<Reply>("moon");
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->error, Error::kNone);
  EXPECT_TRUE(std::holds_alternative<GetReply>(reply->body));
}

TEST_F(RemoteCallsTest, AnAnswerIsForTheSessionOfItsCallAlone) {
  get("nobody");
  calls_->on_session_ended("moon");
  accept();
  EXPECT_FALSE(peers_.next<Reply>("moon")) << "the next session may have another call of that number";
  EXPECT_EQ(naming_->owned_objects().size(), 1u) << "the object is there all the same";
}

TEST_F(RemoteCallsTest, AGetOfWhoIsNobodyHereIsRefused) {
  get("no such login");
  const auto reply = peers_.next<Reply>("moon");
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->error, Error::kAccess);
}

TEST_F(RemoteCallsTest, AHostThatDoesNotTakeItsAnswersIsRefusedMore) {
  peers_.full.insert("moon");
  get("nobody");
  const auto reply = peers_.next<Reply>("moon");
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->error, Error::kNoMemory);
  peers_.full.clear();
  get("nobody");
  EXPECT_TRUE(peers_.next<Register>("vax"));
}

// What moon says of a call or a process is about its own, whatever numbers it takes.
TEST_F(RemoteCallsTest, AHostCannotSettleCancelOrEndWhatIsAnothersCall) {
  get("root");
  accept();
  ASSERT_TRUE(peers_.next<Reply>("moon"));
  const ObjectRef queue = naming_->owned_objects().at(0).ref;
  const ProcessId process{77, 1};
  policy_.logins = *LoginsMap::parse("*@* root\n", "logins.map");
  const auto receive = [&](const std::string& host, std::uint64_t id) {
    MessageReceive body{.object = queue};
    body.max_bytes = 100;
    calls_->on_call(host, Call{CallId{id}, {"alice", process}, body});
  };
  const auto turn = [&] {
    executor_->poll();
    calls_->send_results();
  };
  // A received message that sun has neither taken nor returned.
  ASSERT_EQ(executor_->put(queue.id, Message{1, Bytes(5)}), 0);
  receive("sun", 5);
  ASSERT_TRUE(peers_.next<Reply>("sun"));
  calls_->on_taken("moon", CallId{5});
  calls_->on_returned("moon", Returned{CallId{5}});
  EXPECT_EQ(executor_->counters().kept_messages, 1u);
  // A call of sun that waits.
  receive("sun", 6);
  calls_->on_cancel("moon", CallId{6});
  calls_->on_process_ended("moon", process);
  calls_->on_session_ended("moon");
  EXPECT_EQ(executor_->counters().kept_messages, 1u);
  EXPECT_EQ(executor_->counters().dead_letters, 0u);
  receive("moon", 6);  // the same number
  calls_->on_cancel("moon", CallId{6});
  std::optional<Reply> cancelled;
  run_until([&] {
    turn();
    return cancelled || (cancelled = peers_.next<Reply>("moon"));
  });
  EXPECT_EQ(cancelled->error, Error::kInterrupted);
  EXPECT_EQ(executor_->waiting_calls("sun"), 1u);
  EXPECT_FALSE(peers_.next<Reply>("sun"));
  ASSERT_EQ(executor_->put(queue.id, Message{2, Bytes(7)}), 0);
  std::optional<Reply> answered;
  run_until([&] {
    turn();
    return answered || (answered = peers_.next<Reply>("sun"));
  });
  EXPECT_EQ(answered->id, CallId{6});
  EXPECT_EQ(answered->value, 7);
}

// The host is its session's; what stands in the call is a login and nothing more.
TEST_F(RemoteCallsTest, ALoginOfAnotherHostCannotBeNamed) {
  policy_.logins = *LoginsMap::parse("alice@sun root\n", "logins.map");
  for (const char* login : {"alice", "alice@sun", "alice@sun ", "alice@sun@moon", "*", "alice\nalice@sun"}) {
    get(login);
    const auto reply = peers_.next<Reply>("moon");
    ASSERT_TRUE(reply) << login;
    EXPECT_EQ(reply->error, Error::kAccess) << login;
  }
  EXPECT_TRUE(naming_->owned_objects().empty());
}

// ---- what messages are

class TypedRemoteCallsTest : public RemoteCallsTest {
 protected:
  void SetUp() override {
    RemoteCallsTest::SetUp();
    if (IsSkipped()) return;
    declare(
        "struct note { long mtype; short n; long big; };\nstruct line { long mtype; char text[]; };\n"
        "bind msg 0x10 to { 1: note; 2: line; };");
    policy_.logins = *LoginsMap::parse("*@* root\n", "logins.map");
    Hello hello;
    hello.abi = *known_abi(measured_abi().byte_order == ByteOrder::kBig ? "x86-64" : "m68k");
    calls_->on_session_began("moon", hello);
    get("root");
    accept();
    ASSERT_TRUE(peers_.next<Reply>("moon"));
    queue_ = naming_->owned_objects().at(0).ref;
  }
  void declare(const std::string& text) {
    const std::vector<TypeFile> files = {{"a.types", text}};
    types_.queues = *QueueLayouts::of(*parse_types(files));
  }
  // The layout that moon is told.
  std::shared_ptr<const QueueLayout> layout() {
    calls_->on_ask_layout("moon", AskLayout{queue_});
    const auto told = peers_.next<QueueDeclarations>("moon");
    EXPECT_TRUE(told);
    return *QueueLayout::parse(told->text);
  }
  Reply answer(const CallBody& body) {
    calls_->on_call("moon", Call{CallId{++last_call_}, {"alice", {1, 1}}, body});
    const auto reply = peers_.next<Reply>("moon");
    EXPECT_TRUE(reply);
    return reply.value_or(Reply{});
  }
  MessageReceive receive(std::int64_t type, std::uint64_t bytes, std::uint16_t structure) {
    MessageReceive body{.object = queue_, .type = type, .max_bytes = bytes, .no_wait = true};
    body.layout = layout()->fingerprint();
    body.structure = structure;
    return body;
  }
  Error put(std::int64_t type, const void* bytes, std::size_t count) {
    const auto* begin = static_cast<const std::byte*>(bytes);
    return from_errno(executor_->put(queue_.id, Message{type, Bytes(begin, begin + count)}));
  }
  struct Note {
    long mtype;
    short n;
    long big;
  };
  static constexpr std::size_t kNoteBytes = sizeof(Note) - sizeof(long);

  ObjectRef queue_;
  std::uint64_t last_call_ = 100;
};

TEST_F(TypedRemoteCallsTest, OnlyQueuesThatThePeerMayUseAreDeclared) {
  EXPECT_EQ(layout()->text(), types_.queues.find(0x10)->text());
  calls_->on_ask_layout("moon", AskLayout{{Kind::kMessageQueue, queue_.id, queue_.generation + 1}});
  EXPECT_EQ(peers_.next<QueueDeclarations>("moon")->text, "");
}

TEST_F(TypedRemoteCallsTest, AMessageRestsInTheKernelAsThisHostsProgramsReadIt) {
  MessageSend send{.object = queue_, .type = 1, .text = Bytes(10), .declared_bytes = 10};
  send.text[0] = std::byte{2};
  send.text[1] = std::byte{1};
  send.form = {layout()->fingerprint(), 1, true, {}};
  EXPECT_EQ(answer(send).error, Error::kNone);
  Note note{};
  EXPECT_EQ(::msgrcv(queue_.id, &note, kNoteBytes, 1, IPC_NOWAIT), static_cast<ssize_t>(kNoteBytes));
  EXPECT_EQ(note.n, 258);
}

TEST_F(TypedRemoteCallsTest, AReceivedMessageTravelsInItsCanonicalFormAndTheOldDeclarationsHoldForWhoWasToldThem) {
  const MessageReceive wanted = receive(1, 100, 1);
  declare("struct other { long mtype; int n; };\nbind msg 0x10 to other;");
  Note note{1, 258, 3};
  ASSERT_EQ(put(1, &note.n, kNoteBytes), Error::kNone);
  const Reply reply = answer(wanted);
  ASSERT_EQ(reply.error, Error::kNone);
  const auto& message = std::get<Message>(reply.body);
  EXPECT_EQ(reply.value, 10);
  EXPECT_EQ(message.form.structure, 1u);
  EXPECT_EQ(message.text[0], std::byte{2});
  EXPECT_EQ(message.text[2], std::byte{3});
}

TEST_F(TypedRemoteCallsTest, DeclarationsThatNobodyWasToldAreNone) {
  MessageReceive wanted = receive(1, 100, 1);
  ++wanted.layout;
  EXPECT_EQ(answer(wanted).error, Error::kInvalid);
  MessageSend send{.object = queue_, .type = 1, .text = Bytes(10), .declared_bytes = 10};
  send.form = {layout()->fingerprint() + 1, 1, true, {}};
  EXPECT_EQ(answer(send).error, Error::kInvalid);
  send.form = {layout()->fingerprint(), 7, true, {}};
  EXPECT_EQ(answer(send).error, Error::kInvalid);
}

// The receiver's long has another size: what counts is what its own struct needs.
TEST_F(TypedRemoteCallsTest, AMessageThatIsTooBigInTheReceiversFormStaysInTheQueue) {
  const bool is_wide = sizeof(long) == 8;
  Note note{1, 1, 2};
  ASSERT_EQ(put(1, &note.n, kNoteBytes), Error::kNone);
  const std::uint64_t needed = is_wide ? 6 : 10;  // up to the last field: short, and a long that is aligned to 2 or 8
  const std::uint64_t there = is_wide ? needed : 16;
  EXPECT_EQ(answer(receive(1, there - 1, 1)).error, Error::kTooBig);
  EXPECT_EQ(answer(receive(1, there, 1)).error, Error::kNone);
}

// Of several structs one may fit and another not; which one is next only the kernel knows.
TEST_F(TypedRemoteCallsTest, RoomIsJudgedByWhatTheNextMessageIs) {
  const std::string text = "0123456789";
  Note note{1, 1, 2};
  ASSERT_EQ(put(2, text.data(), text.size()), Error::kNone);
  ASSERT_EQ(put(1, &note.n, kNoteBytes), Error::kNone);
  const std::uint64_t needed = sizeof(long) == 8 ? 6 : 16;
  EXPECT_EQ(answer(receive(0, 9, 0)).error, Error::kTooBig) << "the line has ten bytes";
  EXPECT_EQ(answer(receive(-2, needed - 1, 0)).error, Error::kTooBig) << "the note is of the smaller type";
  const Reply line = answer(receive(0, 10, 0));
  ASSERT_EQ(line.error, Error::kNone) << errno_name(line.error);
  EXPECT_EQ(std::get<Message>(line.body).type, 2);
  EXPECT_EQ(answer(receive(0, needed, 0)).error, Error::kNone);
  EXPECT_EQ(answer(receive(0, needed, 0)).error, Error::kNoMessage);
}

TEST_F(TypedRemoteCallsTest, WhatIsCutIsCutInTheReceiversForm) {
  Note note{1, 1, 2};
  ASSERT_EQ(put(1, &note.n, kNoteBytes), Error::kNone);
  MessageReceive wanted = receive(1, 3, 1);
  wanted.no_error = true;
  const Reply reply = answer(wanted);
  ASSERT_EQ(reply.error, Error::kNone);
  EXPECT_EQ(std::get<Message>(reply.body).text.size(), 10u) << "by the receiver's host, which knows its form";
}

TEST_F(TypedRemoteCallsTest, WhatIsNoneOfItsDeclarationBecomesADeadLetter) {
  ASSERT_EQ(put(1, "abc", 3), Error::kNone);
  EXPECT_EQ(answer(receive(1, 100, 1)).error, Error::kInvalid);
  EXPECT_EQ(executor_->counters().dead_letters, 1u);
  EXPECT_EQ(executor_->counters().kept_messages, 0u);
  EXPECT_EQ(answer(receive(1, 100, 1)).error, Error::kNoMessage);
}

TEST_F(TypedRemoteCallsTest, WhatTheReceiversHostFindsUnfitBecomesADeadLetter) {
  Note note{1, 1, 2};
  ASSERT_EQ(put(1, &note.n, kNoteBytes), Error::kNone);
  ASSERT_EQ(answer(receive(1, 100, 1)).error, Error::kNone);
  calls_->on_returned("moon", Returned{CallId{last_call_}, "note.big is 4294967296"});
  EXPECT_EQ(executor_->counters().dead_letters, 1u);
  EXPECT_EQ(answer(receive(1, 100, 1)).error, Error::kNoMessage);
}

TEST_F(TypedRemoteCallsTest, MessagesWithoutADeclarationAreCountedWhereMachinesDiffer) {
  renew_log_allowances();
  testing::internal::CaptureStderr();
  MessageSend send{.object = queue_, .type = 9, .text = Bytes(10), .declared_bytes = 10};
  EXPECT_EQ(answer(send).error, Error::kNone);
  EXPECT_EQ(calls_->queues().unconverted(queue_), 1u);
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              testing::HasSubstr("between this host, " + spoken(measured_abi()) + ", and a program of moon, "));
  EXPECT_EQ(answer(receive(9, 100, 0)).error, Error::kNone);
  EXPECT_EQ(calls_->queues().unconverted(queue_), 2u);
  send.abi = measured_abi();
  EXPECT_EQ(answer(send).error, Error::kNone);
  send.abi.reset();
  send.text.clear();
  send.declared_bytes = 0;
  EXPECT_EQ(answer(send).error, Error::kNone);
  EXPECT_EQ(calls_->queues().unconverted(queue_), 2u) << "of a program like ours, and without any text";
}

}  // namespace
}  // namespace dipc::test
