#include "daemon/io/listener.h"

#include <gmock/gmock.h>

#include "tests/unit/io/connection_fixture.h"

namespace dipc {
namespace {

using testing::HasSubstr;
using ListenerTest = ConnectionTest;

TEST_F(ListenerTest, PortThatIsTakenIsTroubleWithAddressAndRemedy) {
  sun_ = certificates_.context(certificates_.standard("sun"));
  listen(*sun_);
  const auto again = Listener::open(&loop_, listener_->local(), *sun_, [](std::shared_ptr<Connection>) {});
  ASSERT_FALSE(again.has_value());
  EXPECT_THAT(again.error().what, HasSubstr(listener_->local().to_string() + ": address already in use"));
  EXPECT_THAT(again.error().remedy, HasSubstr("another program listens there"));
}

TEST_F(ListenerTest, AddressOfAnotherHostIsTroubleWithARemedy) {
  sun_ = certificates_.context(certificates_.standard("sun"));
  const auto refused = Listener::open(&loop_, {*IpAddress::parse("192.0.2.1"), 7310}, *sun_, {});
  ASSERT_FALSE(refused.has_value());
  EXPECT_THAT(refused.error().what, HasSubstr("192.0.2.1:7310"));
  EXPECT_THAT(refused.error().remedy, HasSubstr("no such address"));
}

TEST_F(ListenerTest, ConnectionThatIsResetBeforeItIsAcceptedIsSaidToBeThat) {
  sun_ = certificates_.context(certificates_.standard("sun"));
  listen(*sun_);
  {
    const Client client(listener_->local());
    const linger reset{1, 0};
    ASSERT_EQ(::setsockopt(client.fd(), SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)), 0);
  }
  const Client after(listener_->local());
  testing::internal::CaptureStderr();
  run_until([this] { return here_.connection != nullptr; });
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              HasSubstr("one to " + listener_->local().to_string() + " was reset before it was accepted"));
  EXPECT_EQ(here_.connection->remote().address.to_string(), "127.0.0.1") << "the next one is served";
  EXPECT_TRUE(more_.empty());
}

TEST_F(ListenerTest, Ipv6WorksTheSame) {
  const int probe = ::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  address.sin6_addr = in6addr_loopback;
  const bool has_ipv6 = probe >= 0 && ::bind(probe, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
  if (probe >= 0) ::close(probe);
  if (!has_ipv6) GTEST_SKIP() << "this machine has no ::1";
  sun_ = certificates_.context(certificates_.standard("sun"));
  vax_ = certificates_.context(certificates_.standard("vax"));
  listen(*vax_, {*IpAddress::parse("::1"), 0});
  dial(*sun_);
  run_until([this] { return there_.ready && here_.ready; });
  EXPECT_EQ(here_.connection->remote().address.to_string(), "::1");
}

TEST_F(ListenerTest, ReloadedCertificateCountsForLaterConnections) {
  connect();
  const auto files = certificates_.host("sun");
  sun_ = certificates_.context(files);
  Seen second;
  second.connection = Connection::dial(&loop_, listener_->local(), *sun_, second.callbacks(), patient());
  run_until([&] { return second.ready && more_.size() == 1 && more_[0]->is_ready(); });
  EXPECT_NE(more_[0]->peer().fingerprint, here_.connection->peer().fingerprint);
  second.connection->abort();
}

}  // namespace
}  // namespace dipc
