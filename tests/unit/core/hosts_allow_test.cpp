#include "daemon/core/hosts_allow.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>

#include "tests/unit/core/damaged_text.h"

namespace dipc {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

const std::string kDigits = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
const std::string kOtherDigits = "0f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

HostsAllow good(std::string_view text) {
  auto parsed = HostsAllow::parse(text, "hosts.allow");
  EXPECT_TRUE(parsed) << (parsed ? "" : parsed.error()[0].what);
  return parsed ? *parsed : HostsAllow{};
}

PeerIdentity peer(const std::string& name, const std::string& address) {
  return {{name}, kDigits, *IpAddress::parse(address), name};
}

TEST(HostsAllow, NobodyMayComeByAnEmptyFile) {
  EXPECT_FALSE(HostsAllow{}.check(peer("vax", "10.0.0.3")).allowed);
  EXPECT_FALSE(good("# nobody yet\n\n").check(peer("vax", "10.0.0.3")).allowed);
}

TEST(HostsAllow, AHostMayComeFromItsAddress) {
  const auto verdict = good("# comment\nvax 10.0.0.3  # the referee\n").check(peer("vax", "10.0.0.3"));
  EXPECT_TRUE(verdict.allowed);
  EXPECT_EQ(verdict.line, 2u);
  EXPECT_EQ(verdict.reason, "");
}

TEST(HostsAllow, AHostMayComeFromItsNetwork) {
  const HostsAllow hosts = good("vax 10.1.0.0/23\n");
  EXPECT_TRUE(hosts.check(peer("vax", "10.1.1.255")).allowed);
  EXPECT_FALSE(hosts.check(peer("vax", "10.1.2.0")).allowed);
}

TEST(HostsAllow, UnlistedNameIsNamedInTheRefusal) {
  const auto verdict = good("vax 10.0.0.3\n").check(peer("sun", "10.0.0.3"));
  EXPECT_FALSE(verdict.allowed);
  EXPECT_EQ(verdict.reason, "sun is not listed in hosts.allow");
}

TEST(HostsAllow, WrongAddressIsNamedWithTheLine) {
  const auto verdict = good("\nvax 10.0.0.3\nvax 10.2.0.0/16\n").check(peer("vax", "10.0.0.9"));
  EXPECT_FALSE(verdict.allowed);
  EXPECT_EQ(verdict.line, 2u);
  EXPECT_EQ(verdict.reason,
            "vax is listed, but 10.0.0.9 is not in 10.0.0.3 (hosts.allow:2), 10.2.0.0/16 (hosts.allow:3)");
}

TEST(HostsAllow, EachLineOfAHostCounts) {
  const HostsAllow hosts = good("vax 10.0.0.3\nvax fd00::3\n");
  EXPECT_EQ(hosts.check(peer("vax", "10.0.0.3")).line, 1u);
  EXPECT_EQ(hosts.check(peer("vax", "fd00::3")).line, 2u);
}

TEST(HostsAllow, WrongFingerprintIsNamedWithTheLine) {
  const HostsAllow hosts = good("vax 10.0.0.3 sha256:" + kOtherDigits + "\n");
  const auto verdict = hosts.check(peer("vax", "10.0.0.3"));
  EXPECT_FALSE(verdict.allowed);
  EXPECT_EQ(verdict.reason, "vax's certificate has the fingerprint sha256:" + kDigits + ", not sha256:" + kOtherDigits +
                                " (hosts.allow:1)");
}

TEST(HostsAllow, FingerprintMayStandInAnySpelling) {
  std::string colons, upper;
  for (std::size_t i = 0; i < kDigits.size(); i += 2) colons += (i > 0 ? ":" : "") + kDigits.substr(i, 2);
  for (const char c : colons) upper += static_cast<char>(c >= 'a' && c <= 'f' ? c - 'a' + 'A' : c);
  for (const std::string& written : {kDigits, colons, upper}) {
    auto verdict = good("vax 10.0.0.3 SHA256:" + written + "\n").check(peer("vax", "10.0.0.3"));
    EXPECT_TRUE(verdict.allowed) << written << " " << verdict.reason;
  }
  PeerIdentity identity = peer("vax", "10.0.0.3");
  identity.fingerprint = "sha256:" + kDigits;
  EXPECT_TRUE(good("vax 10.0.0.3 sha256:" + kDigits).check(identity).allowed);
}

TEST(HostsAllow, APeerWithoutFingerprintFailsALineThatAsksForOne) {
  PeerIdentity identity = peer("vax", "10.0.0.3");
  identity.fingerprint = "";
  EXPECT_FALSE(good("vax 10.0.0.3 sha256:" + kDigits).check(identity).allowed);
}

TEST(HostsAllow, TheCertificateMustCarryTheClaimedName) {
  const HostsAllow hosts = good("vax 10.0.0.0/8\nsun 10.0.0.0/8\n");
  PeerIdentity liar = peer("sun", "10.0.0.4");
  liar.claimed_host = "vax";
  const auto verdict = hosts.check(liar);
  EXPECT_FALSE(verdict.allowed);
  EXPECT_EQ(verdict.reason, "the certificate does not carry the name vax, it carries sun (hosts.allow:1)");
  liar.certificate_names = {};
  EXPECT_THAT(hosts.check(liar).reason, HasSubstr("it carries no name"));
  liar.certificate_names = {"sun", "VAX"};  // DNS names know no case
  EXPECT_TRUE(hosts.check(liar).allowed);
}

TEST(HostsAllow, OneHostHasOneSpelling) {
  const HostsAllow hosts = good("Vax 10.0.0.3\n");
  EXPECT_TRUE(hosts.check(peer("vax", "10.0.0.3")).allowed);
  const auto verdict = hosts.check(peer("VAX", "10.0.0.3"));
  EXPECT_FALSE(verdict.allowed);
  EXPECT_THAT(verdict.reason, HasSubstr("'VAX' is not a host name in lower case"));
}

TEST(HostsAllow, ACertificateWildcardIsNoName) {
  PeerIdentity identity = peer("vax", "10.0.0.3");
  identity.certificate_names = {"*", "*.example.org"};
  EXPECT_FALSE(good("vax 10.0.0.3\n").check(identity).allowed);
}

TEST(HostsAllow, MappedAddressesAreIPv4) {
  const HostsAllow hosts = good("vax 10.0.0.3\nsun ::ffff:10.0.0.4\nmips ::ffff:10.5.0.0/112\n");
  EXPECT_TRUE(hosts.check(peer("vax", "::ffff:10.0.0.3")).allowed);
  EXPECT_TRUE(hosts.check(peer("sun", "10.0.0.4")).allowed);
  EXPECT_TRUE(hosts.check(peer("mips", "10.5.255.1")).allowed);
  EXPECT_FALSE(hosts.check(peer("mips", "10.6.0.1")).allowed);
}

TEST(HostsAllow, TheTwoFamiliesNeverMatchEachOther) {
  EXPECT_FALSE(good("vax ::/0\n").check(peer("vax", "10.0.0.3")).allowed);
  EXPECT_FALSE(good("vax 0.0.0.0/0\n").check(peer("vax", "fd00::1")).allowed);
  EXPECT_TRUE(good("vax ::/0\n").check(peer("vax", "fd00::1")).allowed);
  EXPECT_TRUE(good("vax 0.0.0.0/0\n").check(peer("vax", "255.0.0.3")).allowed);
}

TEST(HostsAllow, PrefixesNeedNotEndAtAByte) {
  const HostsAllow hosts = good("vax fd00:0:0:8000::/49\n");
  EXPECT_TRUE(hosts.check(peer("vax", "fd00:0:0:ffff::1")).allowed);
  EXPECT_FALSE(hosts.check(peer("vax", "fd00:0:0:7fff::1")).allowed);
}

TEST(HostsAllow, AListenerCanTurnStrangersAwayEarly) {
  const HostsAllow hosts = good("vax 10.0.0.3\n");
  EXPECT_TRUE(hosts.may_come_from(*IpAddress::parse("10.0.0.3")));
  EXPECT_FALSE(hosts.may_come_from(*IpAddress::parse("10.0.0.4")));
  EXPECT_TRUE(hosts.lists("vax"));
  EXPECT_FALSE(hosts.lists("sun"));
}

struct Mistake {
  const char* name;
  std::string text;
  const char* what;
  const char* remedy;
};
class HostsAllowMistake : public testing::TestWithParam<Mistake> {};

TEST_P(HostsAllowMistake, IsReportedWithFileLineAndRemedy) {
  const auto parsed = HostsAllow::parse(GetParam().text, "/etc/dipc/hosts.allow");
  ASSERT_FALSE(parsed);
  ASSERT_EQ(parsed.error().size(), 1u);
  EXPECT_THAT(parsed.error()[0].what, StartsWith(std::string("/etc/dipc/hosts.allow:") + GetParam().what));
  EXPECT_THAT(parsed.error()[0].remedy, HasSubstr(GetParam().remedy));
}

INSTANTIATE_TEST_SUITE_P(
    EveryKindOfMistake, HostsAllowMistake,
    testing::Values(
        Mistake{"NoAddress", "vax\n", "1: the address of 'vax' is missing", "name  address-or-network"},
        Mistake{"BadAddress", "\nvax 10.0.0.300\n", "2: '10.0.0.300' is not an IPv4 or IPv6 address", "10.0.0.0/24"},
        Mistake{"NameAsAddress", "vax vax.example.org\n", "1: 'vax.example.org' is not an IPv4", "10.0.0.3"},
        Mistake{"BadPrefix", "vax 10.0.0.0/33\n", "1: '10.0.0.0/33': the prefix length", "10.0.0.0/24"},
        Mistake{"PrefixNotNumber", "vax 10.0.0.0/255.0.0.0\n", "1: '10.0.0.0/255.0.0.0': the prefix", "10.0.0.0/24"},
        Mistake{"PrefixMissing", "vax 10.0.0.0/\n", "1: '10.0.0.0/': the prefix", "10.0.0.0/24"},
        Mistake{"HostBits", "vax 10.0.0.3/24\n", "1: '10.0.0.3/24' has bits set beyond its prefix",
                "write 10.0.0.0/24 for the network, or 10.0.0.3 for the one address"},
        Mistake{"ShortAddress", "vax 10.3\n", "1: '10.3' is not an IPv4", "10.0.0.3"},
        Mistake{"Zone", "vax fe80::1%eth0\n", "1: 'fe80::1%eth0' is not an IPv4", "fd00::3"},
        Mistake{"Wildcard", "* 10.0.0.0/8\n", "1: '*' is not a host name", "every host is named"},
        Mistake{"BadName", "va/x 10.0.0.3\n", "1: 'va/x' is not a host name", "a line is"},
        Mistake{"ShortFingerprint", "vax 10.0.0.3 sha256:abcd\n", "1: 'sha256:abcd' is not a fingerprint",
                "64 hexadecimal digits"},
        Mistake{"OtherHash", "vax 10.0.0.3 md5:" + kDigits + "\n", "1: 'md5:", "sha256:"},
        Mistake{"FingerprintColons", "vax 10.0.0.3 sha256::" + kDigits + "\n", "1: 'sha256::", "sha256:"},
        Mistake{"TooMuch", "vax 10.0.0.3 sha256:" + kDigits + " vms\n", "1: there is more after the fingerprint: 'vms'",
                "comments begin with #"},
        Mistake{"ControlCharacters", std::string("v\0x 10.0.0.3\n", 13), "1: 'v\\x00x' is not a host name",
                "a line is"}),
    [](const testing::TestParamInfo<Mistake>& mistake) { return std::string(mistake.param.name); });

TEST(HostsAllow, AllMistakesOfAFileAreReported) {
  const auto parsed = HostsAllow::parse("vax\nsun 10.0.0.2\n* x y\n", "hosts.allow");
  ASSERT_FALSE(parsed);
  ASSERT_EQ(parsed.error().size(), 4u);
  EXPECT_THAT(parsed.error()[0].what, StartsWith("hosts.allow:1:"));
  for (std::size_t i = 1; i < 4; ++i) EXPECT_THAT(parsed.error()[i].what, StartsWith("hosts.allow:3:"));
}

TEST(HostsAllow, LinesMayEndAsOnOtherSystems) {
  EXPECT_TRUE(good("vax\t10.0.0.3\r\nsun 10.0.0.2").check(peer("sun", "10.0.0.2")).allowed);
}

TEST(HostsAllow, GarbageIsAnErrorAndNothingWorse) {
  const std::string start = "vax 10.0.0.3\nsun fd00::/64 sha256:" + kDigits + "\n# comment\nmips ::ffff:10.0.0.0/120\n";
  std::mt19937 random(7310);
  std::size_t refused = 0;
  for (int round = 0; round < 5000; ++round) {
    const std::string text = damaged(start, random);
    const auto parsed = HostsAllow::parse(text, "hosts.allow");
    if (parsed) {
      // Whatever was understood lets in nobody without a listed name.
      ASSERT_FALSE(parsed->check(peer("eve", "10.0.0.3")).allowed);
      continue;
    }
    ++refused;
    for (const Trouble& trouble : parsed.error()) {
      ASSERT_THAT(trouble.what, StartsWith("hosts.allow:"));
      ASSERT_FALSE(trouble.remedy.empty()) << trouble.what;
    }
  }
  EXPECT_GT(refused, 1000u);
}

TEST(HostsAllow, ItsLinesSayTheSameWhenTheyAreReadAgain) {
  const std::string text = "SUN  ::ffff:10.0.0.2  # a comment\nvax fd00::/64 sha256:" + std::string(64, 'A') + "\n";
  const auto first = HostsAllow::parse(text, "hosts.allow");
  ASSERT_TRUE(first);
  EXPECT_EQ(first->lines().back(), "vax fd00::/64 sha256:" + std::string(64, 'a'));
  std::string again;
  for (const std::string& line : first->lines()) again += line + "\n";
  const auto second = HostsAllow::parse(again, "hosts.allow");
  ASSERT_TRUE(second) << again;
  EXPECT_EQ(second->lines(), first->lines());
}

}  // namespace
}  // namespace dipc
