#include "daemon/ctl/certificate_commands.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "daemon/core/hosts_allow.h"
#include "daemon/io/certificates.h"
#include "tests/unit/ctl/fake_daemon.h"

namespace dipc {
namespace {

using testing::HasSubstr;
namespace fs = std::filesystem;

std::string why(const Result<std::string>& result) { return result ? "(done)" : result.error().what; }

class CertificateCommands : public testing::Test {
 protected:
  void SetUp() override {
    const auto made = make_authority(folder_ / "ca", "lab", 100);
    ASSERT_TRUE(made) << made.error().what;
  }
  IssueOptions options(const std::string& host) const { return {folder_ / "ca", host, 10, folder_ / (host + ".pem")}; }

  TemporaryFolder folder_;
};

TEST_F(CertificateCommands, AHostGetsItsCertificateAndKeepsItsKey) {
  ASSERT_EQ(why(make_request(folder_ / "sun", "Sun")), "(done)");
  const auto issued = issue_for_request(options("sun"), folder_ / "sun/host.csr");
  ASSERT_EQ(why(issued), "(done)");
  EXPECT_FALSE(fs::exists(folder_ / "ca/host.key"));
  ASSERT_EQ(why(install(folder_ / "sun", folder_ / "sun.pem", folder_ / "ca/ca.pem", false)), "(done)");
  const auto info = read_certificate(folder_ / "sun/host.pem");
  ASSERT_TRUE(info) << info.error().what;
  EXPECT_THAT(info->names, testing::ElementsAre("sun"));
  EXPECT_EQ(info->issuer, "lab");
  EXPECT_EQ(fs::status(folder_ / "sun/host.key").permissions(), fs::perms(0600));
  EXPECT_TRUE(fs::exists(folder_ / "sun/ca.pem"));

  // What is printed for hosts.allow is what hosts.allow takes.
  const std::size_t at = issued->find("  sun  ADDRESS  sha256:");
  ASSERT_NE(at, std::string::npos) << *issued;
  std::string line = issued->substr(at);
  line.replace(line.find("ADDRESS"), 7, "10.0.0.2");
  const auto hosts = HostsAllow::parse(line, "hosts.allow");
  ASSERT_TRUE(hosts) << hosts.error()[0].what;
  EXPECT_TRUE(hosts->check({info->names, info->fingerprint, *IpAddress::parse("10.0.0.2"), "sun"}).allowed);
}

TEST_F(CertificateCommands, ARenewalKeepsTheKeyAndReplacesTheCertificate) {
  ASSERT_EQ(why(issue_into(options("sun"), folder_ / "sun")), "(done)");
  const auto before = read_certificate(folder_ / "sun/host.pem");
  ASSERT_EQ(why(make_request(folder_ / "sun", "sun")), "(done)");
  ASSERT_EQ(why(issue_for_request(options("sun"), folder_ / "sun/host.csr")), "(done)");
  EXPECT_NE(why(install(folder_ / "sun", folder_ / "sun.pem", std::nullopt, false)), "(done)");
  EXPECT_EQ(read_certificate(folder_ / "sun/host.pem")->serial, before->serial);
  EXPECT_EQ(why(install(folder_ / "sun", folder_ / "sun.pem", std::nullopt, true)), "(done)");
  EXPECT_NE(read_certificate(folder_ / "sun/host.pem")->serial, before->serial);
  EXPECT_FALSE(fs::exists(folder_ / "sun/host.csr"));
}

TEST_F(CertificateCommands, ARequestIsSignedForItsOwnHostOnly) {
  ASSERT_EQ(why(make_request(folder_ / "sun", "sun")), "(done)");
  EXPECT_THAT(why(issue_for_request(options("vax"), folder_ / "sun/host.csr")), HasSubstr("sun"));
  EXPECT_FALSE(fs::exists(folder_ / "vax.pem"));
}

TEST_F(CertificateCommands, AllAtOnceMakesAWholeFolderAndNeverTwice) {
  ASSERT_EQ(why(issue_into(options("vax"), folder_ / "vax")), "(done)");
  for (const char* file : {"host.key", "host.pem", "ca.pem"}) EXPECT_TRUE(fs::exists(folder_ / "vax" / file)) << file;
  EXPECT_THAT(why(issue_into(options("vax"), folder_ / "vax")), HasSubstr("host.pem: exists already"));
}

TEST_F(CertificateCommands, WithoutAnAuthorityNothingIsMade) {
  IssueOptions none = options("vax");
  none.ca_dir = folder_ / "nowhere";
  const auto result = issue_into(none, folder_ / "vax");
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().remedy, HasSubstr("dipcctl ca init"));
  EXPECT_FALSE(fs::exists(folder_ / "vax"));
}

TEST_F(CertificateCommands, MistakesAreNamed) {
  EXPECT_THAT(why(make_request(folder_ / "x", "a b")), HasSubstr("'a b' is not a host name"));
  EXPECT_THAT(why(issue_for_request(options("sun"), folder_ / "none.csr")),
              HasSubstr("none.csr: there is no such file"));
  EXPECT_NE(why(issue_for_request(options("sun"), folder_ / "ca/ca.pem")), "(done)");
  EXPECT_NE(why(make_authority(folder_ / "ca", "lab", 100)), "(done)");
  ASSERT_EQ(why(issue_into(options("vax"), folder_ / "vax")), "(done)");
  EXPECT_THAT(why(install(folder_ / "vax", folder_ / "vax/host.pem", folder_ / "vax/host.pem", true)),
              HasSubstr("is not the certificate of an authority"));
  std::ofstream(folder_ / "garbage.pem") << "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
  EXPECT_NE(why(describe_certificate(folder_ / "garbage.pem")), "(done)");
  EXPECT_NE(why(install(folder_ / "vax", folder_ / "garbage.pem", std::nullopt, true)), "(done)");
}

TEST_F(CertificateCommands, ACertificateForAnotherKeyIsNotInstalled) {
  ASSERT_EQ(why(issue_into(options("vax"), folder_ / "vax")), "(done)");
  ASSERT_EQ(why(issue_into(options("sun"), folder_ / "sun")), "(done)");
  EXPECT_NE(why(install(folder_ / "sun", folder_ / "vax/host.pem", std::nullopt, true)), "(done)");
  EXPECT_THAT(read_certificate(folder_ / "sun/host.pem")->names, testing::ElementsAre("sun"));
}

TEST_F(CertificateCommands, WhatACertificateSaysIsShown) {
  ASSERT_EQ(why(issue_into(options("vax"), folder_ / "vax")), "(done)");
  const auto host = describe_certificate(folder_ / "vax/host.pem");
  ASSERT_TRUE(host);
  EXPECT_THAT(*host, HasSubstr("hosts        vax\n"));
  EXPECT_THAT(*host, HasSubstr("issued by    lab\n"));
  EXPECT_THAT(*host, HasSubstr("days left)\n"));
  EXPECT_THAT(*describe_certificate(folder_ / "ca/ca.pem"), HasSubstr("the authority of lab\n"));
}

}  // namespace
}  // namespace dipc
