#include "daemon/ctl/daemon_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>

#include "tests/unit/ctl/fake_daemon.h"
#include "wire/local_abi.h"

namespace dipc {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::StartsWith;
using Verb = AdminCommand::Verb;

const AdminCommand kForget{Verb::kForget, {Kind::kMessageQueue, 0x1234}};

TEST(DaemonClient, SendsTheCommandAsTheUserItActsFor) {
  const TemporaryFolder folder;
  FakeDaemon daemon(folder / "sock", FakeDaemon::answering(0, "{}"));
  const auto answer = ask_daemon((folder / "sock").string(), kForget, 20s);
  ASSERT_TRUE(answer) << answer.error().what;
  EXPECT_EQ(answer->error, 0);
  EXPECT_EQ(answer->json, "{}");

  const Heard& heard = daemon.join();
  ASSERT_EQ(heard.packets.size(), 2u);
  local::HelloRequest hello;
  ASSERT_EQ(heard.packets[0].size(), sizeof hello);
  std::memcpy(&hello, heard.packets[0].data(), sizeof hello);
  EXPECT_EQ(hello.magic, local::kMagic);
  EXPECT_EQ(hello.version, local::kVersion);
  EXPECT_EQ(local::decode_abi(hello.abi), measured_abi());
  local::Request request;
  ASSERT_GE(heard.packets[1].size(), sizeof request);
  std::memcpy(&request, heard.packets[1].data(), sizeof request);
  EXPECT_EQ(request.op, local::Op::kAdmin);
  EXPECT_NE(request.call, 0u);
  EXPECT_EQ(heard.packets[1].substr(sizeof request), "forget msg 0x00001234");
  EXPECT_EQ(request.payload_bytes, std::strlen("forget msg 0x00001234"));
  for (const ucred& credentials : heard.credentials) {
    EXPECT_EQ(credentials.pid, ::getpid());
    EXPECT_EQ(credentials.uid, ::geteuid());
    EXPECT_EQ(credentials.gid, ::getegid());
  }
}

TEST(DaemonClient, TheDaemonsErrorComesWithItsText) {
  const TemporaryFolder folder;
  FakeDaemon daemon(folder / "sock", FakeDaemon::answering(EPERM, "{\"troubles\": []}"));
  const auto answer = ask_daemon((folder / "sock").string(), kForget, 20s);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->error, EPERM);
  EXPECT_EQ(answer->json, "{\"troubles\": []}");
}

TEST(DaemonClient, ALongAnswerComesInAMemfd) {
  const TemporaryFolder folder;
  const std::string json(3'000'000, 'x');
  FakeDaemon daemon(folder / "sock", FakeDaemon::answering(0, json, true));
  const auto answer = ask_daemon((folder / "sock").string(), kForget, 20s);
  ASSERT_TRUE(answer) << answer.error().what;
  EXPECT_TRUE(answer->json == json);
}

TEST(DaemonClient, NoSocketIsNoDaemon) {
  const TemporaryFolder folder;
  const auto answer = ask_daemon((folder / "sock").string(), kForget, 20s);
  ASSERT_FALSE(answer);
  EXPECT_THAT(answer.error().what, StartsWith("no dipcd answers at "));
  EXPECT_THAT(answer.error().remedy, HasSubstr("start dipcd"));
}

TEST(DaemonClient, ASocketThatNobodyServesIsNoDaemon) {
  const TemporaryFolder folder;
  {
    FakeDaemon gone(folder / "sock", [](int, Heard&) {});
    ask_daemon((folder / "sock").string(), kForget, 20s);
  }
  const auto answer = ask_daemon((folder / "sock").string(), kForget, 20s);
  ASSERT_FALSE(answer);
  EXPECT_THAT(answer.error().what, StartsWith("no dipcd answers at "));
}

TEST(DaemonClient, ADaemonThatClosesIsOfAnotherKind) {
  const TemporaryFolder folder;
  FakeDaemon daemon(folder / "sock", [](int fd, Heard& heard) { FakeDaemon::hear(fd, heard); });
  const auto answer = ask_daemon((folder / "sock").string(), kForget, 20s);
  ASSERT_FALSE(answer);
  EXPECT_THAT(answer.error().what, HasSubstr("closed the connection without an answer"));
}

TEST(DaemonClient, ADaemonOfAnotherVersionIsNamed) {
  const TemporaryFolder folder;
  FakeDaemon daemon(folder / "sock", [](int fd, Heard& heard) {
    FakeDaemon::hear(fd, heard);
    local::HelloReply refusal;
    refusal.error = EPROTO;
    ::send(fd, &refusal, sizeof refusal, MSG_NOSIGNAL);
    FakeDaemon::hear(fd, heard);
  });
  const auto answer = ask_daemon((folder / "sock").string(), kForget, 20s);
  ASSERT_FALSE(answer);
  EXPECT_THAT(answer.error().what, HasSubstr("does not speak version " + std::to_string(local::kVersion)));
}

TEST(DaemonClient, ADaemonThatIsSilentIsGivenUp) {
  const TemporaryFolder folder;
  FakeDaemon daemon(folder / "sock", [](int fd, Heard& heard) {
    FakeDaemon::greet(fd, heard);
    FakeDaemon::hear(fd, heard);
    FakeDaemon::hear(fd, heard);  // until the client goes
  });
  const auto answer = ask_daemon((folder / "sock").string(), kForget, 50ms);
  ASSERT_FALSE(answer);
  EXPECT_THAT(answer.error().what, HasSubstr("does not answer"));
}

TEST(DaemonClient, AnAnswerThatIsNoneIsSaidSo) {
  const auto ask = [](const std::function<void(local::Reply&, std::string&)>& spoil) {
    const TemporaryFolder folder;
    FakeDaemon daemon(folder / "sock", [&](int fd, Heard& heard) {
      FakeDaemon::greet(fd, heard);
      FakeDaemon::hear(fd, heard);
      local::Reply reply;
      reply.call = 1;
      std::string payload;
      spoil(reply, payload);
      const std::string packet = std::string(reinterpret_cast<const char*>(&reply), sizeof reply) + payload;
      ::send(fd, packet.data(), packet.size(), MSG_NOSIGNAL);
    });
    const auto answer = ask_daemon((folder / "sock").string(), kForget, 20s);
    return answer ? std::string("(answer)") : answer.error().what;
  };
  EXPECT_EQ(ask([](local::Reply&, std::string&) {}), "(answer)");
  EXPECT_THAT(ask([](local::Reply& reply, std::string&) { reply.magic = 1; }), HasSubstr("what is no answer"));
  EXPECT_THAT(ask([](local::Reply& reply, std::string&) { reply.call = 2; }), HasSubstr("what is no answer"));
  EXPECT_THAT(ask([](local::Reply& reply, std::string&) { reply.payload_bytes = 5; }), HasSubstr("what is no answer"));
  EXPECT_THAT(ask([](local::Reply& reply, std::string&) { reply.payload_bytes = 0xffffffff; }),
              HasSubstr("what is no answer"));
  EXPECT_THAT(ask([](local::Reply&, std::string& payload) { payload = "more"; }), HasSubstr("what is no answer"));
  EXPECT_THAT(ask([](local::Reply& reply, std::string&) {
                reply.marks = local::kPayloadInMemfd;
                reply.payload_bytes = 3;
              }),
              HasSubstr("what is no answer"));
}

TEST(DaemonClient, APathThatNoSocketCanHaveIsNamed) {
  const auto answer = ask_daemon("/" + std::string(200, 'x'), kForget, 20s);
  ASSERT_FALSE(answer);
  EXPECT_THAT(answer.error().what, HasSubstr("1 to 107 characters, not 201"));
}

TEST(DaemonClient, TheSocketIsTheOneThatProgramsTake) {
  const TemporaryFolder folder;
  ::setenv("DIPC_SOCKET", "/x/y", 1);
  EXPECT_EQ(default_socket_path(), "/x/y");
  ::unsetenv("DIPC_SOCKET");
  if (std::filesystem::exists("/run/dipc/dipcd.sock")) GTEST_SKIP() << "a daemon runs on this machine";
  ::setenv("XDG_RUNTIME_DIR", (folder / "").c_str(), 1);
  EXPECT_EQ(default_socket_path(), "/run/dipc/dipcd.sock");
  std::filesystem::create_directory(folder / "dipc");
  std::ofstream(folder / "dipc/dipcd.sock") << "";
  EXPECT_EQ(std::filesystem::path(default_socket_path()).lexically_normal(), folder / "dipc/dipcd.sock");
}

}  // namespace
}  // namespace dipc
