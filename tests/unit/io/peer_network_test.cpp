#include "daemon/io/peer_network.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <deque>
#include <random>
#include <thread>

#include "tests/unit/io/own_process.h"
#include "tests/unit/io/rogue.h"
#include "tests/unit/io/tls_fixture.h"
#include "wire/codec.h"

namespace dipc {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing_tls::Certificates;
using namespace std::chrono_literals;

// Generous: an emulator on a busy machine must not look like a hang.
constexpr auto kHang = 120s;

// An address of this machine that no other test process takes: the whole of 127.0.0.0/8 is this machine's.
Endpoint endpoint(int host) {
  const auto pid = static_cast<unsigned>(::getpid());
  const std::string address = "127." + std::to_string(1 + (pid >> 14U) % 250) + "." +
                              std::to_string((pid >> 6U) & 255U) + "." +
                              std::to_string((pid & 63U) * 4 + static_cast<unsigned>(host));
  return {*IpAddress::parse(address), 7310};
}

Hello hello_of(const std::string& host) {
  Hello hello;
  hello.protocol_min = hello.protocol_max = 1;
  hello.cluster = "lab";
  hello.referee = "vax";
  hello.host = host;
  hello.incarnation = Incarnation{std::hash<std::string>{}(host)};
  hello.boot = "boot of " + host;
  hello.abi = measured_abi();
  hello.page_bytes = 4096;
  return hello;
}

// One host's end of the network, and what came to it.
struct Host final : PeerNetwork::Handler {
  void on_peer_message(const std::string&, PeerMessage message) override { messages.push_back(std::move(message)); }
  void on_session_began(const std::string& host, const Hello&) override { ++began[host]; }
  void on_session_ended(const std::string& host, PeerSessions::EndReason, const std::vector<PeerMessage>&) override {
    ++ended[host];
  }
  void on_unreachable(const std::string&, const std::vector<PeerMessage>&) override {}

  std::vector<PeerMessage> messages;
  std::map<std::string, int> began, ended;  // by the other host
  std::unique_ptr<TlsContext> tls;
  std::unique_ptr<PeerNetwork> network;
};

class PeerNetworkTest : public testing::Test {
 protected:
  PeerNetworkTest() {
    ::signal(SIGPIPE, SIG_IGN);  // as dipcd does
    EXPECT_EQ(uv_loop_init(&loop_), 0);
  }
  ~PeerNetworkTest() override {
    for (auto& [name, host] : hosts_) host.network.reset();
    run_until([this] { return uv_loop_alive(&loop_) == 0; });
    EXPECT_EQ(uv_loop_close(&loop_), 0) << "a handle was left open";
  }

  // Turns the loop until `done`, which may also hang on other threads.
  template <typename Done>
  void run_until(Done done) {
    const auto until = std::chrono::steady_clock::now() + kHang;
    uv_timer_t look;
    uv_timer_init(&loop_, &look);
    uv_timer_start(
        &look, [](uv_timer_t*) {}, 5, 5);
    uv_unref(reinterpret_cast<uv_handle_t*>(&look));
    while (!done() && std::chrono::steady_clock::now() < until) uv_run(&loop_, UV_RUN_ONCE);
    EXPECT_TRUE(done());
    bool gone = false;
    look.data = &gone;
    uv_close(reinterpret_cast<uv_handle_t*>(&look),
             [](uv_handle_t* handle) { *static_cast<bool*>(handle->data) = true; });
    while (!gone) uv_run(&loop_, UV_RUN_NOWAIT);
  }

  // Listens at endpoint(number) and dials `dials`.
  Host& start(const std::string& name, int number, const std::map<std::string, Endpoint>& dials, const Hello& hello) {
    Host& host = hosts_[name];
    host.tls = certificates_.context(certificates_.standard(name));
    Configuration configuration;
    configuration.host = name;
    configuration.listen = {endpoint(number)};
    configuration.peers = dials;
    configuration.limits = limits_;
    std::string lines = "vax 127.0.0.0/8\nsun 127.0.0.0/8\nmoon 127.0.0.0/8\n";
    for (int i = 0; i < 10; ++i) lines += "moon" + std::to_string(i) + " 127.0.0.0/8\n";
    auto allow = HostsAllow::parse(lines, "hosts.allow");
    host.network = std::make_unique<PeerNetwork>(&loop_, configuration, *allow, *host.tls, hello, host);
    const auto started = host.network->start();
    EXPECT_TRUE(started) << started.error().what;
    return host;
  }

  // vax and sun, connected.
  void connect() {
    Host& vax = start("vax", 0, {}, hello_of("vax"));
    Host& sun = start("sun", 1, {{"vax", endpoint(0)}}, hello_of("sun"));
    run_until([&] { return vax.began["sun"] == 1 && sun.began["vax"] == 1; });
  }

  // Nothing that a third one did has touched the session of the two.
  void expect_unharmed() {
    Host& vax = hosts_["vax"];
    Host& sun = hosts_["sun"];
    const std::size_t before = vax.messages.size();
    ASSERT_TRUE(sun.network->send("vax", Taken{CallId{77}}));
    run_until([&] { return vax.messages.size() > before; });
    EXPECT_TRUE(std::holds_alternative<Taken>(vax.messages.back()));
    EXPECT_EQ(vax.began["sun"], 1);
    EXPECT_EQ(vax.ended["sun"], 0);
    EXPECT_EQ(sun.ended["vax"], 0);
  }

  uv_loop_t loop_{};
  Configuration::Limits limits_;
  static inline Certificates certificates_;
  std::map<std::string, Host> hosts_;
};

TEST_F(PeerNetworkTest, ANewerProtocolVersionIsRefusedWithBothRangesInBothLogs) {
  testing::internal::CaptureStderr();
  connect();
  Hello newer = hello_of("moon");
  newer.protocol_min = newer.protocol_max = 2;
  Host& moon = start("moon", 2, {{"vax", endpoint(0)}}, newer);
  std::string log;
  run_until([&] {
    log += testing::internal::GetCapturedStderr();
    testing::internal::CaptureStderr();
    return log.find("peer moon: refused") != std::string::npos && log.find("refuses us") != std::string::npos;
  });
  const std::string both = "vax speaks protocol versions 1 to 1, moon speaks 2 to 2: install matching versions of DIPC";
  EXPECT_THAT(log, HasSubstr("peer moon: refused a connection: " + both));
  EXPECT_THAT(log, HasSubstr("peer vax: refuses us: " + both));
  EXPECT_EQ(moon.began["vax"], 0);
  EXPECT_FALSE(moon.network->send("vax", Taken{}));
  expect_unharmed();
  testing::internal::GetCapturedStderr();
}

// Dialled again and again, told once; gone from the status as soon as the peer is there.
TEST_F(PeerNetworkTest, WhyAPeerIsNotConnectedIsInItsStatusAndLoggedOnce) {
  testing::internal::CaptureStderr();
  Host& sun = start("sun", 1, {{"vax", endpoint(0)}}, hello_of("sun"));
  const auto reason = [&] { return sun.network->peers().at(0).reason; };
  run_until([&] { return !reason().empty(); });
  const std::string refused = "cannot connect to " + endpoint(0).to_string() + ": connection refused";
  EXPECT_EQ(reason(), refused);
  Host& vax = start("vax", 0, {}, hello_of("vax"));
  run_until([&] { return vax.began["sun"] == 1 && sun.began["vax"] == 1; });
  EXPECT_EQ(reason(), "");
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_THAT(log, HasSubstr("peer vax: " + refused));
  EXPECT_EQ(log.find(refused), log.rfind(refused)) << log;
}

Bytes hello_record(const std::string& host, std::uint64_t session) {
  Hello hello = hello_of(host);
  hello.session = SessionNumber{session};
  return encode(hello);
}

Bytes with_prefix(std::uint32_t length, Bytes record) {
  Bytes bytes(kLengthPrefixBytes);
  store_length_prefix(std::span(bytes).first<kLengthPrefixBytes>(), length);
  bytes.insert(bytes.end(), record.begin(), record.end());
  return bytes;
}

TEST_F(PeerNetworkTest, BadFramesAfterTheHelloCloseTheirConnectionAndAreLogged) {
  connect();
  const Frame gap{.sequence = 5, .acknowledged = 0, .message = Taken{CallId{1}}};
  const Frame acknowledges_too_much{.sequence = 0, .acknowledged = 99, .message = {}};
  const Frame empty_with_a_number{.sequence = 1, .acknowledged = 0, .message = {}};
  const struct {
    const char* name;
    Bytes bytes;
    const char* log;
  } cases[] = {
      {"oversized", with_prefix(kRecordBytesMax + 1, {}), "a record of 33554433 bytes"},
      {"no length", with_prefix(0, {}), "a record of length 0"},
      {"random", with_prefix(64, Bytes(64, std::byte{0x5a})), "bad record"},
      {"all ones", with_prefix(64, Bytes(64, std::byte{0xff})), "bad record"},
      {"cut short", with_prefix(8, Bytes(8, std::byte{1})), "bad record"},
      {"a frame is missing", encode(gap), "connection closed: a frame is missing"},
      {"acknowledges what was never sent", encode(acknowledges_too_much),
       "connection closed: a frame that contradicts itself"},
      {"a number without a message", encode(empty_with_a_number), "connection closed: a frame that contradicts itself"},
      {"a second hello", hello_record("moon8", 1000), "connection closed: a second hello"},
  };
  int number = 0;
  for (const auto& one : cases) {
    SCOPED_TRACE(one.name);
    // Each from a host of its own: the lines that a log has for one host are limited.
    const std::string rogue_host = "moon" + std::to_string(number++);
    const auto tls = certificates_.context(certificates_.standard(rogue_host));
    testing::internal::CaptureStderr();
    std::atomic<bool> over{false};
    bool closed = false;
    std::thread peer([&] {
      Rogue rogue(endpoint(0), *tls);
      rogue.send(hello_record(rogue_host, 1));
      rogue.send(one.bytes);
      closed = rogue.is_closed();
      over = true;
    });
    run_until([&] { return over.load(); });
    peer.join();
    const std::string log = testing::internal::GetCapturedStderr();
    EXPECT_TRUE(closed) << log;
    EXPECT_THAT(log, AllOf(HasSubstr("peer " + rogue_host + ": "), HasSubstr(one.log)));
    EXPECT_THAT(log, Not(HasSubstr("peer sun: session ended")));
  }
  expect_unharmed();
}

// Good records with a few bytes changed, cut or added, a connection each.
TEST_F(PeerNetworkTest, DamagedFramesNeverHarmOtherSessions) {
  const auto tls = certificates_.context(certificates_.standard("moon"));
  connect();
  testing::internal::CaptureStderr();
  const Call call{CallId{1}, {"alice", {1, 2}}, MessageSend{{}, 1, Bytes(40, std::byte{'x'}), 40}};
  const Reply reply{.id = CallId{1}, .error = Error::kNone, .value = 3, .body = std::vector<std::uint16_t>{1, 2, 3}};
  Announce announce;
  announce.used.push_back({{Kind::kMessageQueue, 7}, 8});
  const std::vector<PeerMessage> messages = {call, reply, announce, Resolve{.id = {}, .name = {}}, ListObjects{}};
  constexpr int kConnections = 60;
  std::atomic<bool> over{false};
  std::thread peer([&] {
    std::mt19937_64 engine(20261122);
    const auto below = [&](std::size_t limit) { return static_cast<std::size_t>(engine() % limit); };
    for (int i = 0; i < kConnections; ++i) {
      Bytes stream;
      for (std::size_t at = 0; at < messages.size(); ++at) {
        Bytes record = encode(Frame{at + 1, 0, messages[at]});
        const std::size_t flips = below(4);
        for (std::size_t flip = 0; flip < flips; ++flip) {
          const std::size_t where = below(record.size());
          record[where] = static_cast<std::byte>(below(256));
        }
        if (below(8) == 0) record.resize(below(record.size()) + 1);
        if (below(8) == 0) record.push_back(static_cast<std::byte>(below(256)));
        stream.insert(stream.end(), record.begin(), record.end());
      }
      Rogue rogue(endpoint(0), *tls);
      rogue.send(hello_record("moon", static_cast<std::uint64_t>(i) + 1));
      rogue.send(stream);
    }
    over = true;
  });
  run_until([&] { return over.load(); });
  peer.join();
  testing::internal::GetCapturedStderr();
  expect_unharmed();
}

// ---- limits

// TCP connections that never say a word.
class Silent {
 public:
  Silent(int count, const Endpoint& to, const IpAddress& from) {
    for (int i = 0; i < count; ++i) {
      const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      sockets_.push_back(fd);
      const sockaddr_in own = to_sockaddr({from, 0});
      EXPECT_EQ(::bind(fd, reinterpret_cast<const sockaddr*>(&own), sizeof(own)), 0);
      const sockaddr_in address = to_sockaddr(to);
      EXPECT_EQ(::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
    }
  }
  ~Silent() {
    for (const int fd : sockets_) ::close(fd);
  }
  Silent(const Silent&) = delete;
  Silent& operator=(const Silent&) = delete;

 private:
  std::vector<int> sockets_;
};

TEST_F(PeerNetworkTest, ConnectionsThatStayInTheHandshakeAreFewAndTheNextHostGetsIn) {
  connect();
  testing::internal::CaptureStderr();
  const std::size_t before = open_descriptors();
  constexpr int kFlood = 100;
  // From an address of their own, and from that of the others.
  std::size_t most = 0;
  const auto turn = [&] {
    for (int turns = 0; turns < 200; ++turns) {
      uv_run(&loop_, UV_RUN_NOWAIT);
      most = std::max(most, open_descriptors());
    }
  };
  const Silent strangers(kFlood, endpoint(0), endpoint(3).address);
  turn();
  const Silent neighbours(kFlood, endpoint(0), *IpAddress::parse("127.0.0.1"));
  turn();
  EXPECT_LE(most, before + 2 * kFlood + 2 * std::size_t{Configuration::Limits{}.connections_per_peer} + 4);
  const auto began = std::chrono::steady_clock::now();
  start("moon", 2, {{"vax", endpoint(0)}}, hello_of("moon"));
  run_until([&] { return hosts_["vax"].began["moon"] == 1; });
  EXPECT_LT(std::chrono::steady_clock::now() - began, 10s) << "before the silent ones are given up";
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("has not said who it is, and too many others wait"));
  expect_unharmed();
}

TEST_F(PeerNetworkTest, AHostThatConnectsAgainAndAgainHasFewSocketsHere) {
  connect();
  testing::internal::CaptureStderr();
  const auto tls = certificates_.context(certificates_.standard("moon"));
  const std::size_t before = open_descriptors();
  std::atomic<bool> over{false};
  constexpr std::size_t kFlood = 60;
  std::deque<Rogue> rogues;
  std::size_t most = 0;
  std::thread peer([&] {
    for (std::size_t i = 0; i < kFlood; ++i) {
      Rogue& rogue = rogues.emplace_back(endpoint(0), *tls, endpoint(3).address);
      rogue.send(hello_record("moon", i + 1));
    }
    over = true;
  });
  run_until([&] {
    most = std::max(most, open_descriptors());
    return over.load();
  });
  peer.join();
  testing::internal::GetCapturedStderr();
  EXPECT_LE(most, before + kFlood + Configuration::Limits{}.connections_per_peer + 4);
  rogues.clear();
  expect_unharmed();
}

TEST_F(PeerNetworkTest, APeerThatReadsNothingLosesItsSessionBeforeMuchIsKeptForIt) {
  limits_.session_buffer_bytes = 1u << 20;
  limits_.bytes_per_peer = 8u << 20;
  connect();
  Host& vax = hosts_["vax"];
  const auto tls = certificates_.context(certificates_.standard("moon9"));
  std::atomic<bool> enough{false};
  std::thread peer([&] {
    Rogue rogue(endpoint(0), *tls);
    rogue.send(hello_record("moon9", 1));
    while (!enough) std::this_thread::sleep_for(5ms);
  });
  run_until([&] { return vax.began["moon9"] == 1; });
  testing::internal::CaptureStderr();
  const std::size_t before = resident_bytes();
  constexpr std::size_t kReplyBytes = 64 * 1024;
  std::size_t sent = 0;
  bool refused_more = false;
  for (; vax.ended["moon9"] == 0 && sent < (std::size_t{128} << 20); sent += kReplyBytes) {
    vax.network->send("moon9", Reply{.value = kReplyBytes, .body = Message{1, Bytes(kReplyBytes)}});
    refused_more = refused_more || !vax.network->takes_answers("moon9");
    uv_run(&loop_, UV_RUN_NOWAIT);
  }
  EXPECT_EQ(vax.ended["moon9"], 1);
  EXPECT_TRUE(refused_more);
  EXPECT_LT(resident_bytes(), before + (std::size_t{48} << 20));
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("moon9 does not take what it asks for"));
  enough = true;
  peer.join();
  expect_unharmed();
}

// The configuration that start() made, once more.
Configuration configuration_of(const std::string& name, int number) {
  Configuration configuration;
  configuration.host = name;
  configuration.listen = {endpoint(number)};
  return configuration;
}

TEST_F(PeerNetworkTest, AHostThatIsRemovedFromHostsAllowLosesItsSessionAtOnce) {
  connect();
  Host& vax = hosts_["vax"];
  Host& sun = hosts_["sun"];
  testing::internal::CaptureStderr();
  vax.network->reconfigure(configuration_of("vax", 0), *HostsAllow::parse("moon 127.0.0.0/8\n", "hosts.allow"));
  EXPECT_EQ(vax.ended["sun"], 1) << "before the next turn of the loop";
  EXPECT_FALSE(vax.network->send("sun", Taken{CallId{1}}));
  // The other end learns it, and is refused when it tries again, until it is listed again.
  run_until([&] { return sun.ended["vax"] == 1; });
  std::string log;
  run_until([&] {
    log += testing::internal::GetCapturedStderr();
    testing::internal::CaptureStderr();
    return log.find("sun is not listed in hosts.allow") != std::string::npos;
  });
  testing::internal::GetCapturedStderr();
  EXPECT_EQ(vax.began["sun"], 1);
  vax.network->reconfigure(configuration_of("vax", 0), *HostsAllow::parse("sun 127.0.0.0/8\n", "hosts.allow"));
  run_until([&] { return vax.began["sun"] == 2 && sun.began["vax"] == 2; });
}

TEST_F(PeerNetworkTest, AHostWhoseLineNoLongerFitsItsConnectionLosesItsSessionToo) {
  const std::string other = std::string("sun 127.0.0.0/8 sha256:") + std::string(64, 'a') + "\n";
  for (const std::string& lines : {std::string("sun 10.0.0.2\n"), other}) {
    connect();
    Host& vax = hosts_["vax"];
    vax.network->reconfigure(configuration_of("vax", 0), *HostsAllow::parse(lines, "hosts.allow"));
    EXPECT_EQ(vax.ended["sun"], 1) << lines;
    for (auto& [name, host] : hosts_) host.network.reset();
    run_until([this] { return uv_loop_alive(&loop_) == 0; });
    hosts_.clear();
  }
}

TEST_F(PeerNetworkTest, AReloadThatLeavesAHostAloneLeavesItsSessionAlone) {
  connect();
  hosts_["vax"].network->reconfigure(configuration_of("vax", 0),
                                     *HostsAllow::parse("moon 10.0.0.1\nsun 127.0.0.0/8\n", "hosts.allow"));
  expect_unharmed();
}

}  // namespace
}  // namespace dipc
