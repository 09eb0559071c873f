#include "daemon/io/certificates.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "tests/unit/io/tls_fixture.h"

namespace dipc {
namespace {

using std::chrono::hours;
using std::chrono::system_clock;
using testing::ElementsAre;
using testing::HasSubstr;
using testing_tls::contents;
using testing_tls::TemporaryFolder;
using testing_tls::write;

unsigned mode(const std::filesystem::path& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 ? status.st_mode & 07777u : ~0u;
}

TEST(Certificates, AuthorityIsOnePrivateKeyAndOnePublicCertificate) {
  TemporaryFolder folder;
  const auto dir = folder.path() / "ca";
  ASSERT_TRUE(create_ca(dir, "lab"));
  EXPECT_EQ(mode(dir), 0700u);
  EXPECT_EQ(mode(dir / "ca.key"), 0600u);
  EXPECT_EQ(mode(dir / "ca.pem"), 0644u);
  const auto info = read_certificate(dir / "ca.pem");
  ASSERT_TRUE(info.has_value());
  EXPECT_TRUE(info->is_ca);
  EXPECT_EQ(info->subject, "lab");
  EXPECT_EQ(info->issuer, "lab");
  EXPECT_EQ(info->days_left(system_clock::now()), kCaDaysDefault - 1);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir), {}), 2);  // no litter
}

TEST(Certificates, HostGetsACertificateForItsNameWithoutGivingItsKeyAway) {
  TemporaryFolder folder;
  ASSERT_TRUE(create_ca(folder.path() / "ca", "lab"));
  const auto tls = folder.path() / "etc" / "tls";
  ASSERT_TRUE(create_host_key_and_request(tls, "sun"));
  EXPECT_EQ(mode(tls / "host.key"), 0600u);
  const std::string request = contents(tls / "host.csr");
  EXPECT_THAT(request, HasSubstr("BEGIN CERTIFICATE REQUEST"));
  EXPECT_THAT(request, Not(HasSubstr("PRIVATE")));
  const auto now = system_clock::now();
  const auto pem = sign_request(folder.path() / "ca", request, "sun", 90, now);
  ASSERT_TRUE(pem.has_value()) << pem.error().what;
  ASSERT_TRUE(install_certificate(tls, *pem));
  const auto info = read_certificate(tls / "host.pem");
  ASSERT_TRUE(info.has_value());
  EXPECT_EQ(info->subject, "sun");
  EXPECT_EQ(info->issuer, "lab");
  EXPECT_THAT(info->names, ElementsAre("sun"));
  EXPECT_FALSE(info->is_ca);
  EXPECT_EQ(info->days_left(now), 89);
  EXPECT_EQ(info->not_before, std::chrono::floor<std::chrono::seconds>(now) - hours(1));
  EXPECT_EQ(info->fingerprint.size(), std::string("sha256:").size() + 64);
  EXPECT_EQ(info->serial.size(), 32u);
}

TEST(Certificates, SerialNumbersDiffer) {
  TemporaryFolder folder;
  ASSERT_TRUE(create_ca(folder.path() / "ca", "lab"));
  ASSERT_TRUE(create_host_key_and_request(folder.path() / "tls", "sun"));
  const std::string request = contents(folder.path() / "tls" / "host.csr");
  const auto first = sign_request(folder.path() / "ca", request, "sun");
  const auto second = sign_request(folder.path() / "ca", request, "sun");
  ASSERT_TRUE(first && second);
  EXPECT_NE(parse_certificate(*first)->serial, parse_certificate(*second)->serial);
}

TEST(Certificates, ExistingFilesAreNeverOverwritten) {
  TemporaryFolder folder;
  const auto ca = folder.path() / "ca";
  const auto tls = folder.path() / "tls";
  ASSERT_TRUE(create_ca(ca, "lab"));
  const std::string before = contents(ca / "ca.key");
  const auto again = create_ca(ca, "lab");
  ASSERT_FALSE(again);
  EXPECT_THAT(again.error().what, HasSubstr((ca / "ca.key").string() + " exists"));
  EXPECT_THAT(again.error().remedy, HasSubstr("not overwritten"));
  std::filesystem::remove(ca / "ca.pem");
  EXPECT_FALSE(create_ca(ca, "lab"));
  EXPECT_EQ(contents(ca / "ca.key"), before);

  ASSERT_TRUE(create_host_key_and_request(tls, "sun"));
  const auto asked_again = create_host_key_and_request(tls, "sun");
  ASSERT_FALSE(asked_again);
  EXPECT_THAT(asked_again.error().what, HasSubstr("host.csr exists"));
}

TEST(Certificates, RenewalKeepsTheKey) {
  TemporaryFolder folder;
  const auto ca = folder.path() / "ca";
  const auto tls = folder.path() / "tls";
  ASSERT_TRUE(create_ca(ca, "lab"));
  ASSERT_TRUE(create_host_key_and_request(tls, "sun"));
  ASSERT_TRUE(install_certificate(tls, *sign_request(ca, contents(tls / "host.csr"), "sun")));
  const std::string key = contents(tls / "host.key");
  std::filesystem::remove(tls / "host.csr");
  ASSERT_TRUE(create_host_key_and_request(tls, "sun"));
  EXPECT_EQ(contents(tls / "host.key"), key);
  const auto renewed = sign_request(ca, contents(tls / "host.csr"), "sun");
  ASSERT_TRUE(renewed);
  const auto refused = install_certificate(tls, *renewed);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().what, HasSubstr("host.pem exists"));
  ASSERT_TRUE(install_certificate(tls, *renewed, true));
  EXPECT_EQ(contents(tls / "host.pem"), *renewed);
}

TEST(Certificates, CertificateForAnotherKeyIsNotInstalled) {
  TemporaryFolder folder;
  ASSERT_TRUE(create_ca(folder.path() / "ca", "lab"));
  ASSERT_TRUE(create_host_key_and_request(folder.path() / "sun", "sun"));
  ASSERT_TRUE(create_host_key_and_request(folder.path() / "vax", "vax"));
  const auto pem = sign_request(folder.path() / "ca", contents(folder.path() / "vax" / "host.csr"), "vax");
  const auto refused = install_certificate(folder.path() / "sun", *pem);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().what, HasSubstr("not for the key"));
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "sun" / "host.pem"));
}

TEST(Certificates, RequestForAnotherNameIsRefused) {
  TemporaryFolder folder;
  ASSERT_TRUE(create_ca(folder.path() / "ca", "lab"));
  ASSERT_TRUE(create_host_key_and_request(folder.path() / "tls", "vax"));
  const auto refused = sign_request(folder.path() / "ca", contents(folder.path() / "tls" / "host.csr"), "sun");
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().what, HasSubstr("not for sun"));
}

TEST(Certificates, DamagedRequestIsRefused) {
  TemporaryFolder folder;
  ASSERT_TRUE(create_ca(folder.path() / "ca", "lab"));
  ASSERT_TRUE(create_host_key_and_request(folder.path() / "tls", "sun"));
  const std::string request = contents(folder.path() / "tls" / "host.csr");
  EXPECT_FALSE(sign_request(folder.path() / "ca", "", "sun"));
  EXPECT_FALSE(sign_request(folder.path() / "ca", "hello", "sun"));
  unsigned refused = 0;
  const std::size_t begin = request.find('\n') + 1;
  for (std::size_t at = begin; at < request.size() - 40; at += 7) {
    std::string damaged = request;
    damaged[at] = damaged[at] == 'A' ? 'B' : 'A';
    if (!sign_request(folder.path() / "ca", damaged, "sun")) ++refused;
  }
  EXPECT_GT(refused, 20u);
}

TEST(Certificates, CertificateDoesNotOutliveItsAuthority) {
  TemporaryFolder folder;
  ASSERT_TRUE(create_ca(folder.path() / "ca", "lab", 10));
  ASSERT_TRUE(create_host_key_and_request(folder.path() / "tls", "sun"));
  const std::string request = contents(folder.path() / "tls" / "host.csr");
  const auto pem = sign_request(folder.path() / "ca", request, "sun", 90);
  ASSERT_TRUE(pem);
  EXPECT_EQ(parse_certificate(*pem)->not_after, read_certificate(folder.path() / "ca" / "ca.pem")->not_after);
  const auto late = sign_request(folder.path() / "ca", request, "sun", 90, system_clock::now() + hours(24 * 11));
  ASSERT_FALSE(late);
  EXPECT_THAT(late.error().what, HasSubstr("expired on"));
}

TEST(Certificates, DatesBeyond2038AreRight) {
  TemporaryFolder folder;
  ASSERT_TRUE(create_ca(folder.path() / "ca", "lab", 20'000));
  EXPECT_EQ(read_certificate(folder.path() / "ca" / "ca.pem")->days_left(system_clock::now()), 19'999);
}

TEST(Certificates, ExpiryIsWarnedOfThirtyDaysBefore) {
  CertificateInfo info;
  const auto now = std::chrono::floor<std::chrono::seconds>(system_clock::now());
  info.not_after = now + hours(24 * 30);
  EXPECT_EQ(info.days_left(now), 30);
  EXPECT_FALSE(info.expires_soon(now));
  EXPECT_TRUE(info.expires_soon(now + std::chrono::seconds(1)));
  EXPECT_EQ(info.days_left(now + hours(24 * 30) + std::chrono::seconds(1)), -1);
}

TEST(Certificates, NamesThatAreNoHostNamesAreRefused) {
  TemporaryFolder folder;
  for (const char* name : {"", "Sun", "a b", "sun,DNS:vax", "-sun", "sun\n", "../sun"}) {
    const auto refused = create_host_key_and_request(folder.path() / "tls", name);
    ASSERT_FALSE(refused) << name;
    EXPECT_THAT(refused.error().what, HasSubstr("not a host name"));
  }
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "tls"));
}

TEST(Certificates, FolderThatCannotBeMadeIsNamed) {
  TemporaryFolder folder;
  write(folder.path() / "file", "");
  const auto refused = create_ca(folder.path() / "file", "lab");
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().what, HasSubstr((folder.path() / "file").string()));
}

}  // namespace
}  // namespace dipc
