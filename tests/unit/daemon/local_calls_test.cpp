#include "daemon/local_calls.h"

#include <gmock/gmock.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>

#include "daemon/kernel/processes.h"
#include "layouts/parser.h"
#include "tests/unit/daemon/naming_fixture.h"
#include "wire/local_abi.h"

namespace dipc::test {
namespace {

using testing::HasSubstr;

constexpr ObjectRef kQueue{Kind::kMessageQueue, 5, 7};
constexpr ObjectRef kSegment{Kind::kSegment, 7, 9};
constexpr ObjectRef kSet{Kind::kSemaphoreSet, 6, 8};
constexpr std::int64_t kSemaphores = 2;
constexpr std::size_t kCallsMax = 3;
constexpr std::int32_t kKey = 0x10;

// A program of this host, as its shim speaks to the daemon.
class Program {
 public:
  explicit Program(const std::string& path) : fd_(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof(address.sun_path) - 1);
    EXPECT_EQ(::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
    local::HelloRequest hello;
    const local::AbiBytes abi = local::encode_abi(measured_abi());
    std::memcpy(hello.abi, abi.bytes, sizeof(hello.abi));
    EXPECT_EQ(::send(fd_, &hello, sizeof(hello), 0), static_cast<ssize_t>(sizeof(hello)));
  }
  ~Program() { close(); }
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }
  void send(local::Request request, const std::string& payload = "") {
    request.call = 1;
    request.payload_bytes = static_cast<std::uint32_t>(payload.size());
    const std::string packet = std::string(reinterpret_cast<const char*>(&request), sizeof(request)) + payload;
    EXPECT_EQ(::send(fd_, packet.data(), packet.size(), 0), static_cast<ssize_t>(packet.size()));
  }
  void cancel() {
    local::Request request;
    request.op = local::Op::kCancel;
    send(request);
  }
  // What came by now.
  std::optional<local::Reply> reply() {
    char packet[65536];
    const ssize_t bytes = ::recv(fd_, packet, sizeof(packet), MSG_DONTWAIT);
    if (bytes < static_cast<ssize_t>(sizeof(local::Reply))) return std::nullopt;  // the welcome is shorter
    local::Reply reply;
    std::memcpy(&reply, packet, sizeof(reply));
    return reply;
  }

 private:
  int fd_;
};

// This host's programs, and their objects on moon.
class LocalCallsTest : public LoopTest, public ShimServer::Handler {
 protected:
  void SetUp() override {
    calls_.emplace(&loop_, peers_, users_, types_, kCallsMax,
                   [this](const std::string& owner, const ObjectRef& object, Error) {
                     EXPECT_EQ(owner, "moon");
                     EXPECT_FALSE(program_->reply()) << "a program that has its answer looks with ipcs";
                     gone_objects_.push_back(object);
                   });
    const std::string path = (directory_.path() / "dipcd.sock").string();
    auto server = ShimServer::listen(&loop_, {.path = path, .op_timeout_ms = 1000}, *this);
    ASSERT_TRUE(server) << server.error().what;
    server_ = std::move(*server);
    calls_->attach(*server_);
    program_.emplace(path);
  }
  ~LocalCallsTest() override {
    program_.reset();
    server_.reset();
    calls_.reset();
  }

  void on_request(LocalRequest request) override {
    client_ = request.client;
    const bool is_set = request.header.op == local::Op::kControl || request.header.op == local::Op::kOperate;
    if (request.header.op == local::Op::kAttach) return calls_->begin(request, "moon", kSegment, 0);
    calls_->begin(request, "moon", is_set ? kSet : kQueue, is_set ? kSemaphores : 0, kKey);
  }
  void on_cancel(ClientId client, std::uint64_t call) override { calls_->on_cancel(client, call); }
  void on_reply_taken(ClientId client, std::uint64_t call) override {
    ++taken_;
    calls_->on_reply_taken(client, call);
  }
  void on_reply_unread(ClientId client, std::uint64_t call) override { calls_->on_reply_unread(client, call); }
  void on_client_gone(ClientId client) override {
    calls_->on_client_gone(client);
    gone_ = true;
  }

  // The call that the owner got of a program's request.
  Call call_of(local::Op op, std::int32_t command = 0) {
    local::Request request;
    request.op = op;
    request.size = 100;
    request.command = command;
    program_->send(request);
    std::optional<Call> call;
    run_until([&] {
      tell_declarations();
      return call || (call = peers_.next<Call>("moon"));
    });
    return *call;
  }
  // If moon has been asked what messages are.
  void tell_declarations() {
    if (const auto question = peers_.next<AskLayout>("moon")) {
      EXPECT_EQ(question->queue, kQueue);
      calls_->on_declarations("moon", {kQueue, declarations_});
    }
  }
  Call undo_call() {
    local::Request request;
    request.op = local::Op::kOperate;
    request.size = 1;
    const sembuf op{0, -1, SEM_UNDO};
    program_->send(request, std::string(reinterpret_cast<const char*>(&op), sizeof(op)));
    std::optional<Call> call;
    run_until([&] { return call || (call = peers_.next<Call>("moon")); });
    return *call;
  }
  local::Reply answer() {
    std::optional<local::Reply> reply;
    run_until([&] { return reply || (reply = program_->reply()); });
    return *reply;
  }

  Users users_;
  HostTypes types_;
  std::string declarations_;  // of kQueue, at moon
  std::unique_ptr<ShimServer> server_;
  std::optional<LocalCalls> calls_;
  std::optional<Program> program_;
  ClientId client_{};
  bool gone_ = false;
  int taken_ = 0;
  std::vector<ObjectRef> gone_objects_;
};

TEST_F(LocalCallsTest, AReplyGoesToItsProgram) {
  const Call call = call_of(local::Op::kReceive);
  calls_->on_reply("moon", Reply{.id = call.id, .value = 2, .body = Message{9, Bytes(2)}});
  EXPECT_EQ(answer().value, 2);
  EXPECT_TRUE(peers_.ended.empty());
}

TEST_F(LocalCallsTest, AReplyThatIsNoAnswerToItsCallEndsTheSessionAndTheOutcomeIsUnknown) {
  const Call call = call_of(local::Op::kReceive);
  calls_->on_reply("moon", Reply{.id = call.id, .body = std::vector<std::uint16_t>(50000)});
  ASSERT_EQ(peers_.ended.size(), 1u);
  EXPECT_EQ(peers_.ended[0].first, "moon");
  EXPECT_THAT(peers_.ended[0].second, HasSubstr("it brings no message"));
  EXPECT_FALSE(program_->reply()) << "not before the session has ended";
  calls_->on_session_ended("moon", {});
  EXPECT_EQ(answer().error, ECONNRESET);
}

TEST_F(LocalCallsTest, AGrantedShmatIsHandedOnAndAnsweredThere) {
  std::vector<LocalCalls::Granted> granted;
  calls_->on_granted([&](const LocalCalls::Granted& one) { granted.push_back(one); });
  const AttachReply shape{5000, 65536, 7};
  const Call call = call_of(local::Op::kAttach);
  EXPECT_FALSE(std::get<SegmentAttach>(call.body).read_only);
  calls_->on_reply("moon", Reply{.id = call.id, .body = shape});
  ASSERT_EQ(granted.size(), 1u);
  EXPECT_EQ(granted[0].owner, "moon");
  EXPECT_EQ(granted[0].segment, kSegment);
  EXPECT_EQ(granted[0].shape, shape);
  EXPECT_TRUE(granted[0].writable);
  EXPECT_EQ(granted[0].abi, measured_abi());
  EXPECT_EQ(granted[0].client, client_);
  EXPECT_EQ(granted[0].call, 1u);
  EXPECT_FALSE(program_->reply());
}

TEST_F(LocalCallsTest, AShmatThatIsGrantedToAProgramThatHasEndedIsHandedOnToo) {
  std::vector<LocalCalls::Granted> granted;
  calls_->on_granted([&](const LocalCalls::Granted& one) { granted.push_back(one); });
  const Call call = call_of(local::Op::kAttach);
  program_->close();
  run_until([this] { return gone_; });
  calls_->on_reply("moon", Reply{.id = call.id, .body = AttachReply{5000, 65536, 7}});
  ASSERT_EQ(granted.size(), 1u) << "the owner counts it";
  EXPECT_FALSE(granted[0].call);
}

TEST_F(LocalCallsTest, AShmatThatIsRefusedIsAnswered) {
  const Call call = call_of(local::Op::kAttach);
  calls_->on_reply("moon", Reply{.id = call.id, .error = Error::kAccess, .value = -1});
  EXPECT_EQ(answer().error, EACCES);
}

TEST_F(LocalCallsTest, MoreValuesThanTheSetHasSemaphoresDoNotReachTheProgramsArray) {
  const Call call = call_of(local::Op::kControl, GETALL);
  calls_->on_reply("moon", Reply{.id = call.id, .body = std::vector<std::uint16_t>{1, 2, 3}});
  ASSERT_EQ(peers_.ended.size(), 1u);
  EXPECT_THAT(peers_.ended[0].second, HasSubstr("3 values for 2 semaphores"));
}

TEST_F(LocalCallsTest, ACallThatTheOwnerNeverSawIsInterruptedAtOnce) {
  peers_.writes_nothing = true;
  call_of(local::Op::kReceive);
  program_->cancel();
  EXPECT_EQ(answer().error, EINTR);
  EXPECT_FALSE(peers_.next<Cancel>("moon"));
  EXPECT_EQ(calls_->under_way(), 0u);
}

TEST_F(LocalCallsTest, ACallOnItsWayIsCancelledAtItsOwnerWhoseAnswerCounts) {
  const Call call = call_of(local::Op::kReceive);
  program_->cancel();
  std::optional<Cancel> cancel;
  run_until([&] { return cancel || (cancel = peers_.next<Cancel>("moon")); });
  EXPECT_EQ(cancel->id, call.id);
  EXPECT_FALSE(program_->reply());
  calls_->on_reply("moon", Reply{.id = call.id, .value = 0, .body = Message{1, {}}});
  EXPECT_EQ(answer().error, 0) << "the message came first";
}

TEST_F(LocalCallsTest, ACallOfAProgramThatEndedIsForgottenIfTheOwnerNeverSawIt) {
  peers_.writes_nothing = true;
  call_of(local::Op::kReceive);
  program_->close();
  run_until([this] { return gone_; });
  EXPECT_EQ(calls_->under_way(), 0u);
  EXPECT_FALSE(peers_.next<Cancel>("moon"));
}

TEST_F(LocalCallsTest, AnObjectThatAProgramRemovedIsGoneBeforeTheProgramHears) {
  const Call call = call_of(local::Op::kControl, IPC_RMID);
  calls_->on_reply("moon", Reply{.id = call.id});
  EXPECT_EQ(answer().error, 0);
  EXPECT_EQ(gone_objects_, std::vector{kSet}) << "no referee speaks of an object without a key";
}

TEST_F(LocalCallsTest, AnObjectIsGoneWhenItsOwnerSaysSoAndNotWhenARemovalIsRefused) {
  Call call = call_of(local::Op::kControl, IPC_RMID);
  calls_->on_reply("moon", Reply{.id = call.id, .error = Error::kNotPermitted, .value = -1});
  EXPECT_EQ(answer().error, EPERM);
  EXPECT_TRUE(gone_objects_.empty());
  call = call_of(local::Op::kReceive);
  calls_->on_reply("moon", Reply{.id = call.id, .error = Error::kRemoved, .value = -1});
  EXPECT_EQ(answer().error, EIDRM);
  EXPECT_EQ(gone_objects_, std::vector{kQueue});
}

TEST_F(LocalCallsTest, AProcessHoldsUndoOnceACallWithItHasSucceeded) {
  Call call = undo_call();
  EXPECT_FALSE(call.holds_undo);
  calls_->on_reply("moon", Reply{.id = call.id, .error = Error::kAccess, .value = -1});
  EXPECT_EQ(answer().error, EACCES);
  call = undo_call();
  EXPECT_FALSE(call.holds_undo) << "nothing was done";
  calls_->on_reply("moon", Reply{.id = call.id});
  EXPECT_EQ(answer().error, 0);
  calls_->on_session_ended("moon", {});
  call = undo_call();
  EXPECT_TRUE(call.holds_undo) << "in the next session too";
  calls_->on_reply("moon", Reply{.id = call.id, .error = Error::kConnectionReset, .value = -1});
  EXPECT_EQ(answer().error, ECONNRESET);
  EXPECT_FALSE(undo_call().holds_undo) << "the program has been told";
}

TEST_F(LocalCallsTest, WithAnotherBootOfTheOwnerNothingIsHeldThere) {
  calls_->on_session_began("moon", "boot 1");
  Call call = undo_call();
  calls_->on_reply("moon", Reply{.id = call.id});
  EXPECT_EQ(answer().error, 0);
  calls_->on_session_began("moon", "boot 1");
  call = undo_call();
  EXPECT_TRUE(call.holds_undo);
  calls_->on_reply("moon", Reply{.id = call.id});
  EXPECT_EQ(answer().error, 0);
  calls_->on_session_began("moon", "boot 2");
  EXPECT_FALSE(undo_call().holds_undo);
}

TEST_F(LocalCallsTest, TheOwnerHearsWhichHoldersHaveEndedAndTheOthersAreKnown) {
  const ProcessId living = *process_id(::getpid());
  const ProcessId reused{living.pid, living.start_ticks + 1};
  calls_->on_undo_holders("moon", UndoHolders{{living, reused}});
  const auto ended = peers_.next<ProcessEnded>("moon");
  ASSERT_TRUE(ended);
  EXPECT_EQ(ended->process, reused);
  EXPECT_FALSE(peers_.next<ProcessEnded>("moon"));
  EXPECT_TRUE(undo_call().holds_undo);
}

TEST_F(LocalCallsTest, AHostThatWasNotAskedCannotAnswer) {
  const Call call = call_of(local::Op::kReceive);
  const Message forged{1, Bytes(2)};
  calls_->on_reply("mars", Reply{.id = call.id, .value = 2, .body = forged});
  calls_->on_reply("mars", Reply{.id = CallId{static_cast<std::uint64_t>(call.id) + 1}, .value = 2, .body = forged});
  EXPECT_EQ(calls_->under_way(), 1u);
  EXPECT_FALSE(program_->reply());
  calls_->on_reply("moon", Reply{.id = call.id, .value = 1, .body = Message{9, Bytes(1)}});
  EXPECT_EQ(answer().value, 1);
  EXPECT_TRUE(peers_.ended.empty());
}

TEST_F(LocalCallsTest, AnOwnerHearsOfACancelOnce) {
  const Call call = call_of(local::Op::kReceive);
  for (int i = 0; i < 100; ++i) {
    program_->cancel();
    for (int turns = 0; turns < 3; ++turns) uv_run(&loop_, UV_RUN_NOWAIT);
  }
  program_->close();
  run_until([this] { return gone_; });
  ASSERT_TRUE(peers_.next<Cancel>("moon"));
  EXPECT_FALSE(peers_.next<Cancel>("moon"));
}

TEST_F(LocalCallsTest, ALoginThatHasTooManyCallsUnderWayGetsENOMEMUntilTheyAreAnswered) {
  // Calls that their programs gave up count until the owner has answered them.
  std::vector<CallId> given_up;
  for (std::size_t i = 0; i < kCallsMax; ++i) {
    given_up.push_back(call_of(local::Op::kReceive).id);
    gone_ = false;
    program_.emplace((directory_.path() / "dipcd.sock").string());
    run_until([this] { return gone_; });
  }
  EXPECT_EQ(calls_->under_way(), kCallsMax);
  local::Request request;
  request.op = local::Op::kReceive;
  program_->send(request);
  EXPECT_EQ(answer().error, ENOMEM);
  EXPECT_FALSE(peers_.next<Call>("moon"));
  calls_->on_reply("moon", Reply{.id = given_up[0], .error = Error::kInterrupted, .value = -1});
  call_of(local::Op::kReceive);
}

TEST_F(LocalCallsTest, AnOwnerNamesHoldersOnceInASession) {
  const ProcessId nobody{::getpid(), 1};
  calls_->on_undo_holders("moon", UndoHolders{{nobody}});
  EXPECT_TRUE(peers_.next<ProcessEnded>("moon"));
  EXPECT_TRUE(peers_.ended.empty());
  calls_->on_undo_holders("moon", UndoHolders{{nobody}});
  EXPECT_FALSE(peers_.next<ProcessEnded>("moon"));
  ASSERT_EQ(peers_.ended.size(), 1u);
  EXPECT_THAT(peers_.ended[0].second, HasSubstr("says twice"));
  calls_->on_session_ended("moon", {});
  calls_->on_undo_holders("moon", UndoHolders{{nobody}});
  EXPECT_TRUE(peers_.next<ProcessEnded>("moon")) << "a new session";
}

TEST_F(LocalCallsTest, AMessageIsTakenWhenItsProgramHasReadItAndReturnedIfItNeverDoes) {
  const Call read = call_of(local::Op::kReceive);
  calls_->on_reply("moon", Reply{.id = read.id, .value = 0, .body = Message{1, {}}});
  EXPECT_EQ(answer().error, 0);
  std::optional<Taken> taken;
  run_until([&] { return taken || (taken = peers_.next<Taken>("moon")); });
  ASSERT_TRUE(taken);
  EXPECT_EQ(taken->id, read.id);
  const Call unread = call_of(local::Op::kReceive);
  calls_->on_reply("moon", Reply{.id = unread.id, .value = 0, .body = Message{1, {}}});
  program_.reset();
  run_until([this] { return gone_; });
  const auto returned = peers_.next<Returned>("moon");
  ASSERT_TRUE(returned);
  EXPECT_EQ(returned->id, unread.id);
  EXPECT_FALSE(peers_.next<Taken>("moon"));
}

TEST_F(LocalCallsTest, NothingOfAnEndedSessionIsSentInTheNext) {
  const Call call = call_of(local::Op::kReceive);
  calls_->on_session_ended("moon", {});
  EXPECT_EQ(answer().error, ECONNRESET);
  calls_->on_cancel(client_, 1);
  calls_->on_reply("moon", Reply{.id = call.id, .value = 0, .body = Message{1, {}}});
  EXPECT_TRUE(peers_.sent.empty());
  const Call read = call_of(local::Op::kReceive);
  calls_->on_reply("moon", Reply{.id = read.id, .value = 0, .body = Message{1, {}}});
  calls_->on_session_ended("moon", {});
  EXPECT_EQ(answer().error, 0);
  run_until([this] { return taken_ == 1; });
  EXPECT_TRUE(peers_.sent.empty());
}

// ---- what messages are

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

TEST_F(TypedLocalCallsTest, DeclarationsAreAskedForAgainWhenTheOwnerHasChangedThem) {
  call_of(local::Op::kReceive);
  calls_->on_declarations_changed("moon");
  declarations_ = kNote;
  program_.emplace((directory_.path() / "dipcd.sock").string());
  EXPECT_NE(std::get<MessageReceive>(call_of(local::Op::kReceive).body).layout, 0u);
}

}  // namespace
}  // namespace dipc::test
