// A host of the cluster that lies: rogue ADDRESS TLS-FOLDER CLUSTER HOST KEY [pages]. With a certificate of its own it
// begins a session with the host at ADDRESS, which is the referee and owns the queue KEY, says of everything that is
// not its own whatever might do harm, and prints what it is answered, a line each.
//
// With `pages` KEY is a segment that there is not yet, and its machine has pages of 64 KiB. It says so, waits for the
// segment, attaches it for reading, and says that it has what it was not granted.

#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>

#include "daemon/core/ip_address.h"
#include "daemon/io/random.h"
#include "tests/unit/io/rogue.h"

namespace dipc {
namespace {

constexpr std::chrono::seconds kPatience{10};
constexpr std::uint32_t kLargePageBytes = 65536;
constexpr std::uint64_t kGuesses = 200;  // calls, requests and claims are numbered from 1 on

class Liar {
 public:
  Liar(const Endpoint& to, const TlsContext& tls, const std::string& cluster, const std::string& host,
       std::uint32_t page_bytes)
      : rogue_(to, tls) {
    Hello hello;
    hello.protocol_min = hello.protocol_max = 1;
    hello.cluster = cluster;
    hello.referee = "vax";
    hello.host = host;
    hello.incarnation = Incarnation{random_number()};
    hello.boot = "boot of a liar";
    hello.session = SessionNumber{random_number()};
    hello.abi = measured_abi();
    hello.page_bytes = page_bytes;
    rogue_.send(encode(hello));
  }
  void say(PeerMessage message) { rogue_.send(encode(Frame{++sequence_, received_, std::move(message)})); }
  // The next message of this type; others are passed over.
  template <typename T>
  std::optional<T> hear() {
    while (auto record = rogue_.next(kPatience)) {
      auto* frame = std::get_if<Frame>(&*record);
      if (frame == nullptr || !frame->message) continue;
      received_ = frame->sequence;
      if (const auto* message = std::get_if<T>(&*frame->message)) return *message;
    }
    return std::nullopt;
  }
  Error call(CallBody body, const std::string& login) {
    say(Call{.id = CallId{++calls_}, .caller = {login, {1, 1}}, .body = std::move(body)});
    const auto reply = hear<Reply>();
    if (!reply) return Error::kConnectionReset;
    if (const auto* got = std::get_if<GetReply>(&reply->body)) object_ = got->object;
    return reply->error;
  }
  // Whether the other side ends the session.
  bool is_refused() {
    while (auto record = rogue_.next(kPatience)) {
      if (std::holds_alternative<Refusal>(*record)) return true;
    }
    return false;
  }
  const ObjectRef& object() const { return object_; }

 private:
  Rogue rogue_;
  std::uint64_t sequence_ = 0;
  std::uint64_t received_ = 0;
  std::uint64_t calls_ = 0;
  ObjectRef object_;
};

void print(const char* what, long long outcome) {
  std::printf("%s %lld\n", what, outcome);
  std::fflush(stdout);
}

void lie(Liar& liar, const ObjectName& name) {
  // Which it may: the queue is open to all, and its generation is told to whoever asks.
  print("get", static_cast<int>(liar.call(GetCall{.name = name}, "alice")));
  liar.say(Resolve{.id = RequestId{1}, .name = name, .create = true});
  const auto resolved = liar.hear<Resolved>();
  const std::uint64_t generation = resolved ? resolved->generation : 0;
  print("present", resolved && resolved->outcome == Resolved::Outcome::kPresent);
  // Names of another.
  liar.say(Announce{.owned = {{name, generation}, {name, generation + 1}}, .used = {}, .last = true});
  const auto announced = liar.hear<Announced>();
  print("announced, refused", announced ? static_cast<long long>(announced->refused.size()) : -1);
  liar.say(Removed{name, generation});
  liar.say(Dropped{name, generation});
  liar.say(Announced{{{name, generation}}});
  int accepted = 0;
  for (std::uint64_t guess = 1; guess <= kGuesses; ++guess) {
    liar.say(Abandon{ClaimId{guess}});
    liar.say(Registered{RequestId{guess}, false});
    liar.say(Resolved{.id = RequestId{guess}, .outcome = Resolved::Outcome::kAbsent});
    liar.say(Register{RequestId{guess}, ClaimId{guess}, name, generation, guess % 2 == 0 ? "sun" : ""});
    const auto registered = liar.hear<Registered>();
    if (!registered || registered->accepted) ++accepted;
  }
  print("registered", accepted);
  // Calls and processes of others.
  for (std::uint64_t guess = 1; guess <= kGuesses; ++guess) {
    liar.say(Reply{.id = CallId{guess}, .value = 1, .body = Message{1, Bytes(1)}});
    liar.say(Cancel{CallId{guess}});
    liar.say(Taken{CallId{guess}});
    liar.say(Returned{CallId{guess}});
    liar.say(ProcessEnded{{static_cast<std::int32_t>(guess), guess}});
  }
  // Logins of others.
  const Control remove{.object = liar.object(), .command = ControlCommand::kRemove};
  for (const char* login : {"root", "alice@sun", "bob", "", "alice@moon@sun"}) {
    print("remove", static_cast<int>(liar.call(remove, login)));
  }
  // The queue that it was told of, in another generation, and objects that nobody told it of.
  Control other = remove;
  ++other.object.generation;
  print("stale", static_cast<int>(liar.call(other, "alice")));
  print("still there", static_cast<int>(liar.call(GetCall{.name = name}, "alice")));
}

void lie_about_pages(Liar& liar, const ObjectName& name) {
  Error error = liar.call(GetCall{.name = name}, "alice");
  print("there", error == Error::kNone);
  while (error != Error::kNone) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    error = liar.call(GetCall{.name = name}, "alice");
  }
  const ObjectRef segment = liar.object();
  const SegmentAttach attach{.object = segment, .read_only = true, .page_bytes = kLargePageBytes};
  print("attach", static_cast<int>(liar.call(attach, "alice")));
  // Of a transaction that is or was: of the page that the others have. Contents that nobody has asked for are dropped;
  // nor are those taken that come while others are waited for, of the page that the others pass to and fro.
  const auto forged = std::make_shared<const Bytes>(kLargePageBytes, std::byte{99});
  for (std::uint64_t guess = 1; guess <= kGuesses; ++guess) {
    liar.say(HeldPage{"vax", segment, PageData{PageIndex{0}, TransactionNumber{guess}, forged}, {}});
  }
  for (std::uint64_t guess = 1; guess <= kGuesses; ++guess) {
    liar.say(HeldPage{"vax", segment, PageData{PageIndex{1}, TransactionNumber{guess}, forged}, {}});
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  liar.say(SegmentReport{segment, PageInstalled{PageIndex{0}, TransactionNumber{1}}, 0, kPagesAtOnceMax});
  print("refused", liar.is_refused());
}

}  // namespace
}  // namespace dipc

int main(int argc, char** argv) {
  const bool about_pages = argc == 7 && std::string(argv[6]) == "pages";
  if (argc != 6 && !about_pages) return 2;
  const std::string tls = argv[2];
  const auto address = dipc::Endpoint::parse(argv[1]);
  const auto context = dipc::TlsContext::load({tls + "/ca.pem", tls + "/host.pem", tls + "/host.key"});
  if (!address || !context) return 1;
  dipc::Liar liar(*address, **context, argv[3], argv[4], about_pages ? dipc::kLargePageBytes : 4096);
  const auto key = static_cast<std::int32_t>(std::strtol(argv[5], nullptr, 0));
  if (about_pages) {
    dipc::lie_about_pages(liar, {dipc::Kind::kSegment, key});
  } else {
    dipc::lie(liar, {dipc::Kind::kMessageQueue, key});
  }
  return 0;
}
