#include "daemon/core/configuration.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <random>
#include <string>
#include <tuple>

#include "tests/unit/core/damaged_text.h"

namespace dipc {
namespace {

using namespace std::chrono_literals;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

const ConfigurationDefaults kDefaults{"sun", {"/run/dipc", "/var/lib/dipc"}};

Parsed<Configuration> parse(std::string_view text) { return parse_configuration(text, "dipc.toml", kDefaults); }

// The lines that a good file must have, so that a test can add the one that it is about (as line 4 and on).
std::string with(const std::string& rest) {
  return "cluster = 'lab'\nreferee = 'vax'\nlisten = ['10.0.0.2:7310']\n" + rest;
}

std::string all_of(const Troubles& troubles) {
  std::string text;
  for (const Trouble& trouble : troubles) text += trouble.what + "\n  " + trouble.remedy + "\n";
  return text;
}

Configuration good(const std::string& text) {
  auto parsed = parse(text);
  EXPECT_TRUE(parsed) << all_of(parsed.error());
  return parsed ? *parsed : Configuration{};
}

// One mistake: the whole of what is said about it.
struct Mistake {
  const char* name;
  std::string text;
  const char* what;    // the message is "dipc.toml:" and this
  const char* remedy;  // a part of it
};
class ConfigurationMistake : public testing::TestWithParam<Mistake> {};

TEST_P(ConfigurationMistake, IsReportedWithFileLineAndRemedy) {
  const auto parsed = parse(GetParam().text);
  ASSERT_FALSE(parsed);
  ASSERT_EQ(parsed.error().size(), 1u) << all_of(parsed.error());
  EXPECT_THAT(parsed.error()[0].what, StartsWith(std::string("dipc.toml:") + GetParam().what));
  EXPECT_THAT(parsed.error()[0].remedy, HasSubstr(GetParam().remedy));
}

INSTANTIATE_TEST_SUITE_P(
    EveryKindOfMistake, ConfigurationMistake,
    testing::Values(
        Mistake{"Syntax", "cluster = 'lab'\nreferee =\n", "2: ", "key = value"},
        Mistake{"TwoSettingsOnOneLine", "cluster = 'lab' referee = 'vax'\n", "1: ", "each line is a setting"},
        Mistake{"SameKeyTwice", "cluster = 'lab'\nreferee = 'vax'\nreferee = 'sun'\n", "3: ", "each line"},
        Mistake{"NotUtf8", "cluster = 'l\xff'\n", "1: ", "each line"},
        // These run into assertions of toml++ 3.3 itself.
        Mistake{"TableHead", "cluster = 'lab'\n\n  [&eers]\nvax = '1'\n", "3: ", "[table]"},
        Mistake{"ThreeBrackets", "cluster = \"\"\"\nx\"\"\"\n[[[keys]]]\n", "3: ", "[table]"},
        Mistake{"LastLineTableHead", "[&", "1: ", "[table]"},
        // These are undefined behaviour in toml++ 3.3 itself; a sanitizer would tell.
        Mistake{"LetterBeyondAscii", "cl\u00fcster = 'lab'\n", "1: ", "[table]"},
        Mistake{"ValueBeyondAscii", "cluster = \u00e9\n", "1: ", "[table]"},
        Mistake{"SignBeyondAscii", "cluster = 'lab'\n\u0416\n", "2: ", "[table]"},
        Mistake{"NoCluster", "referee = 'sun'\n", "1: cluster is not set", "cluster = \"lab\""},
        Mistake{"NoReferee", "cluster = 'lab'\n", "1: referee is not set", "referee = \"vax\""},
        Mistake{"BadCluster", "cluster = 'a b'\nreferee = 'sun'\n", "1: cluster 'a b' is not a name", "letters"},
        Mistake{"HostIsNumber", with("host = 5\n"), "4: host is a number", "in quotes"},
        Mistake{"HostIsNoName", with("host = 'su n'\n"), "4: host 'su n' is not a host name", "letters"},
        Mistake{"HostEmpty", with("host = ''\n"), "4: host '' is not a host name", "letters"},
        Mistake{"HostTooLong", with("host = '" + std::string(65, 'x') + "'\n"), "4: host 'xxx", "at most 64"},
        Mistake{"Misspelt", with("refere = 'vax'\n"), "4: 'refere' is no setting above", "did you mean referee?"},
        Mistake{"MisspeltInTiming", with("[timing]\nkeep_alive = '1s'\n"), "5: 'keep_alive' is no setting in [timing]",
                "did you mean keepalive?"},
        Mistake{"WrongTable", with("peer_timeout = '9s'\n"), "4: 'peer_timeout' is no setting above",
                "belongs into [timing]"},
        Mistake{"WrongTableForKeys", with("[limits]\nhome = 'vax'\n"), "5: 'home' is no setting in [limits]",
                "belongs into [[keys]]"},
        Mistake{"UnknownKey", with("[limits]\nfrobnication = 7\n"), "5: 'frobnication' is no setting in [limits]",
                "known are: blocked_calls_per_peer"},
        Mistake{"ListenIsString", "cluster='lab'\nreferee='sun'\nlisten = '10.0.0.2:7310'\n", "3: listen is a string",
                "listen = [\"10.0.0.2:7310\"]"},
        Mistake{"ListenWithoutPort", "cluster='lab'\nreferee='sun'\nlisten = ['10.0.0.2']\n",
                "3: listen: '10.0.0.2' has no port", "10.0.0.2:7310"},
        Mistake{"ListenIsName", "cluster='lab'\nreferee='sun'\nlisten = ['sun:7310']\n",
                "3: listen: 'sun' is not an IPv4 or IPv6 address", "names are not looked up"},
        Mistake{"ListenStar", "cluster='lab'\nreferee='sun'\nlisten = ['*:7310']\n",
                "3: listen: '*:7310' names no address", "0.0.0.0:7310"},
        Mistake{"ListenOctet", "cluster='lab'\nreferee='sun'\nlisten = ['10.0.0.300:7310']\n",
                "3: listen: '10.0.0.300' is not an IPv4", "10.0.0.2:7310"},
        Mistake{"ListenPort0", "cluster='lab'\nreferee='sun'\nlisten = ['10.0.0.2:0']\n",
                "3: listen: '10.0.0.2:0': the port is not a number", "7310"},
        Mistake{"ListenPortTooBig", "cluster='lab'\nreferee='sun'\nlisten = ['10.0.0.2:65536']\n",
                "3: listen: '10.0.0.2:65536': the port", "7310"},
        Mistake{"ListenBareV6", "cluster='lab'\nreferee='sun'\nlisten = ['fd00::2:7310:1:1:1:1:7310']\n",
                "3: listen: ", "[fd00::2]:7310"},
        Mistake{"ListenTwice", "cluster='lab'\nreferee='sun'\nlisten = ['10.0.0.2:1',\n'10.0.0.2:1']\n",
                "4: listen names 10.0.0.2:1 twice", "take one"},
        Mistake{"RefereeOutOfReach", "cluster = 'lab'\nreferee = 'vax'\n", "2: the referee vax is not in [peers]",
                "vax = \"ADDRESS:PORT\""},
        Mistake{"PeersIsString", with("peers = 'vax'\n"), "4: peers is a string", "[peers]"},
        Mistake{"PeerIsNumber", with("[peers]\nvax = 7310\n"), "5: peers: vax is a number", "10.0.0.2:7310"},
        Mistake{"PeerName", with("[peers]\n'v*x' = '10.0.0.3:7310'\n"), "5: peers: 'v*x' is not a host name", "vax ="},
        Mistake{"PeerNameWithDots", with("[peers]\nvax.example = '10.0.0.3:7310'\n"), "5: peers: 'vax' is a table",
                "in quotes"},
        Mistake{"PeerWildcard", with("[peers]\nvax = '0.0.0.0:7310'\n"),
                "5: peers: vax: 0.0.0.0:7310 is no address to dial", "10.0.0.2:7310"},
        Mistake{"PeerTwice", with("[peers]\nvax = '10.0.0.3:7310'\nVAX = '10.0.0.4:7310'\n"), "",
                "take one of them out"},
        Mistake{"DurationWithoutUnit", with("[timing]\nkeepalive = 1\n"), "5: keepalive is a number", "\"500ms\""},
        Mistake{"DurationUnknownUnit", with("[timing]\nkeepalive = '1 week'\n"),
                "5: keepalive '1 week' is not a duration", "us, ms, s, m, h"},
        Mistake{"DurationOutOfBounds", with("[timing]\nop_timeout = '0s'\n"), "5: op_timeout '0s' is out of bounds",
                "between 10ms and 24h"},
        Mistake{"KeepaliveTooSlow", with("[timing]\nkeepalive = '8s'\n"),
                "5: peer_timeout is less than twice keepalive", "10s and 1s"},
        Mistake{"CountAsString", with("[limits]\ndead_letters = '10'\n"), "5: dead_letters is a string",
                "without quotes"},
        Mistake{"CountNegative", with("[limits]\ndead_letters = -1\n"), "5: dead_letters -1 is out of bounds",
                "0 to 1000000"},
        Mistake{"SizeAsNumber", with("[limits]\nsession_buffer = 65536\n"), "5: session_buffer is a number",
                "\"64MiB\""},
        Mistake{"SizeUnknownUnit", with("[limits]\nsession_buffer = '64MB'\n"),
                "5: session_buffer '64MB' is not a size", "MiB"},
        Mistake{"SizeTooSmall", with("[limits]\nsession_buffer = '1KiB'\n"),
                "5: session_buffer '1KiB' is out of bounds", "between 1MiB and 2GiB"},
        Mistake{"NoConnections", with("[limits]\nconnections_per_login = 0\n"),
                "5: connections_per_login 0 is out of bounds", "1 to 1000000"},
        Mistake{"OneConnectionOfAPeer", with("[limits]\nconnections_per_peer = 1\n"),
                "5: connections_per_peer 1 is out of bounds", "2 to 10000"},
        Mistake{"NoAttachments", with("[limits]\nattachments_per_login = 0\n"),
                "5: attachments_per_login 0 is out of bounds", "1 to 1000000"},
        Mistake{"NoRoomForAMessage", with("[limits]\nbytes_per_login = '1MiB'\n"),
                "5: bytes_per_login '1MiB' is out of bounds", "between 32MiB and 1TiB"},
        Mistake{"LimitMisspelt", with("[limits]\ncall_per_login = 5\n"), "5: 'call_per_login' is no setting",
                "did you mean calls_per_login?"},
        Mistake{"KeysNotArray", with("[keys]\nrange = 'all'\n"), "4: keys is a table", "[[keys]]"},
        Mistake{"NoRange", with("[[keys]]\nhome = 'vax'\n"), "4: [[keys]] has no range", "\"all\""},
        Mistake{"RangeNotKey", with("[[keys]]\nrange = '0x10-zz'\n"), "5: range '0x10-zz' is not a key",
                "0x1000-0x1fff"},
        Mistake{"RangeBackwards", with("[[keys]]\nrange = '0x20-0x10'\n"), "5: range '0x20-0x10' ends before it begins",
                "smaller key first"},
        Mistake{"RangeWithPrivate", with("[[keys]]\nrange = '0-0x10'\n"), "5: range '0-0x10' holds key 0",
                "\"private\""},
        Mistake{"RangeNegative", with("[[keys]]\nrange = -5\n"), "5: range '-5' is not a key", "0xffffffff"},
        Mistake{"RangeTooLarge", with("[[keys]]\nrange = '0x100000000'\n"), "5: range '0x100000000' is not a key",
                "0x"},
        Mistake{"RangeEmptyString", with("[[keys]]\nrange = ''\n"), "5: range '' is not a key", "\"all\""},
        Mistake{"RangeEmptyList", with("[[keys]]\nrange = []\n"), "5: range is an empty list", "\"all\""},
        Mistake{"RangeBoolean", with("[[keys]]\nrange = true\n"), "5: range is true or false", "\"all\""},
        Mistake{"KindUnknown", with("[[keys]]\nrange = 'all'\nkind = ['queue']\n"), "6: kind 'queue' does not exist",
                "\"msg\", \"sem\", \"shm\""},
        Mistake{"KindEmpty", with("[[keys]]\nrange = 'all'\nkind = []\n"), "6: kind is an empty list", "\"msg\""},
        Mistake{"HomeNoName", with("[[keys]]\nrange = 'all'\nhome = '*'\n"), "6: home '*' is not a host name",
                "letters"},
        Mistake{"RefuseString", with("[[keys]]\nrange = 'all'\nrefuse = 'yes'\n"), "6: refuse is a string",
                "true or false"},
        Mistake{"RefuseWithHome", with("[[keys]]\nrange = 'all'\nrefuse = true\nhome = 'vax'\n"), "7: home is for keys",
                "take out home or refuse"},
        Mistake{"RefuseWithUnit", with("[[keys]]\nrange = 'all'\nrefuse = true\nunit = 'page'\n"),
                "7: unit is for segments that are shared", "take out unit or refuse"},
        Mistake{"RefuseWithPageSize", with("[[keys]]\nrange = 'all'\npage_size = '8KiB'\nrefuse = true\n"),
                "6: page_size is for segments that are shared", "take out page_size or refuse"},
        Mistake{"RefuseWithHoldTime", with("[[keys]]\nrange = 'all'\nrefuse = true\nhold_time = '0s'\n"),
                "7: hold_time is for segments that are shared", "take out hold_time or refuse"},
        Mistake{"UnitUnknown", with("[[keys]]\nrange = 'all'\nunit = 'line'\n"), "6: unit 'line' does not exist",
                "\"page\""},
        Mistake{"UnitForQueues", with("[[keys]]\nrange = 'all'\nkind = 'msg'\nunit = 'page'\n"),
                "7: unit is for segments", "\"shm\""},
        Mistake{"PageSizeOdd", with("[[keys]]\nrange = 'all'\npage_size = '12KiB'\n"),
                "6: page_size is no power of two", "\"16KiB\""},
        Mistake{"PageSizeTooLarge", with("[[keys]]\nrange = 'all'\npage_size = '32MiB'\n"),
                "6: page_size '32MiB' is out of bounds", "16MiB"},
        Mistake{"PageSizeOfWholeSegments", with("[[keys]]\nrange = 'all'\nunit = 'segment'\npage_size = '8KiB'\n"),
                "7: page_size is for segments that are shared by pages", "take out page_size or unit"},
        Mistake{"PageSizeForQueues", with("[[keys]]\nrange = 'all'\nkind = 'msg'\npage_size = '8KiB'\n"),
                "7: page_size is for segments", "\"shm\""},
        Mistake{"HoldTimeTooLong", with("[[keys]]\nrange = 'all'\nhold_time = '11s'\n"),
                "6: hold_time '11s' is out of bounds", "10s"},
        Mistake{"PagerUnknown", with("[memory]\npager = 'uffd'\n"), "5: pager 'uffd' does not exist",
                "\"userfaultfd\" or \"sigsegv\""},
        Mistake{"MemoryNoTable", with("memory = 'sigsegv'\n"), "4: memory is a string", "[memory]"},
        Mistake{"FtokRelative", with("[ftok]\npaths = ['srv/app']\n"), "5: paths: 'srv/app' is not an absolute path",
                "realpath"},
        Mistake{"FtokLeadsBack", with("[ftok]\npaths = [\n'/srv',\n'/srv/../app']\n"),
                "7: paths: '/srv/../app' has a part", "realpath"},
        Mistake{"FtokTwice", with("[ftok]\npaths = ['/srv', '/srv']\n"), "5: paths names '/srv' twice", "take one"},
        Mistake{"FtokTwins", with("[ftok]\npaths = ['/srv/app9479', '/srv/app10118']\n"),
                "5: paths: '/srv/app10118' gets the keys of '/srv/app9479'", "rename one of the two"},
        Mistake{"FtokNoList", with("[ftok]\npaths = '/srv'\n"), "5: paths is a string", "write a list"},
        Mistake{"RelativePath", with("[paths]\nrun = 'dipc'\n"), "5: run 'dipc' is not an absolute path",
                "begins with /"},
        Mistake{"PathIsNumber", with("[paths]\nstate = 1\n"), "5: state is a number", "in quotes"}),
    [](const testing::TestParamInfo<Mistake>& mistake) { return std::string(mistake.param.name); });

TEST(Configuration, FewestLinesGiveTheDefaults) {
  const Configuration configuration = good("cluster = 'lab'\nreferee = 'sun'\n");
  EXPECT_EQ(configuration.host, "sun");
  EXPECT_EQ(configuration.timing.keepalive, 1s);
  EXPECT_EQ(configuration.timing.peer_timeout, 10s);
  EXPECT_EQ(configuration.limits.session_buffer_bytes, 64u << 20);
  EXPECT_EQ(configuration.memory.pager, PagerChosen::kBest);
  EXPECT_EQ(configuration.paths.run, "/run/dipc");
  EXPECT_TRUE(configuration.listen.empty());
  EXPECT_TRUE(configuration.keys.empty());
}

TEST(Configuration, EverySettingArrives) {
  const Configuration configuration = good(R"(
cluster = "lab"
host    = "Sun"
listen  = ["10.0.0.2:7310", "[fd00::2]:7310", "0.0.0.0:7311"]
referee = "vax"
[peers]
vax = "10.0.0.3:7310"
"star.example.org" = "[fd00::9]:7310"
[timing]
keepalive = "500ms"
peer_timeout = "1.5s"
op_timeout = "2m"
claim_timeout = "1h"
busy_poll = "0s"
[limits]
blocked_calls_per_peer = 5
connections_per_peer = 6
bytes_per_peer = "64MiB"
calls_per_login = 7
connections_per_login = 8
bytes_per_login = "32MiB"
session_buffer = "1MiB"
dead_letters = 0
segment_size = "8GiB"
segments_per_login = 9
segments_per_peer = 11
attachments_per_login = 10
[memory]
pager = "sigsegv"
[ftok]
paths = ["/srv/app", "/"]
[paths]
run = "/tmp/run"
state = "/tmp/state"
[[keys]]
range = ["0x1000-0x1fff", 0x5000, "private"]
kind = ["sem", "msg"]
home = "VAX"
[[keys]]
range = "all"
unit = "segment"
hold_time = "2ms"
[[keys]]
range = "0xffff0000-0xffffffff"
refuse = true
[[keys]]
range = "private"
page_size = "16KiB"
)");
  EXPECT_EQ(configuration.host, "sun");
  ASSERT_EQ(configuration.listen.size(), 3u);
  EXPECT_EQ(configuration.listen[1].to_string(), "[fd00::2]:7310");
  EXPECT_TRUE(configuration.listen[2].address.is_wildcard());
  EXPECT_EQ(configuration.peers.at("star.example.org").to_string(), "[fd00::9]:7310");
  EXPECT_EQ(configuration.timing.keepalive, 500ms);
  EXPECT_EQ(configuration.timing.peer_timeout, 1500ms);
  EXPECT_EQ(configuration.timing.op_timeout, 2min);
  EXPECT_EQ(configuration.timing.claim_timeout, 1h);
  EXPECT_EQ(configuration.timing.busy_poll, 0s);
  EXPECT_EQ(configuration.limits.blocked_calls_per_peer, 5u);
  EXPECT_EQ(configuration.limits.connections_per_peer, 6u);
  EXPECT_EQ(configuration.limits.bytes_per_peer, 64u << 20);
  EXPECT_EQ(configuration.limits.calls_per_login, 7u);
  EXPECT_EQ(configuration.limits.connections_per_login, 8u);
  EXPECT_EQ(configuration.limits.bytes_per_login, 32u << 20);
  EXPECT_EQ(configuration.limits.session_buffer_bytes, 1u << 20);
  EXPECT_EQ(configuration.limits.dead_letters, 0u);
  EXPECT_EQ(configuration.limits.segment_bytes, 8ull << 30);
  EXPECT_EQ(configuration.limits.segments_per_login, 9u);
  EXPECT_EQ(configuration.limits.segments_per_peer, 11u);
  EXPECT_EQ(configuration.limits.attachments_per_login, 10u);
  EXPECT_EQ(configuration.memory.pager, PagerChosen::kSigsegv);
  EXPECT_EQ(configuration.ftok_paths, (std::vector<std::string>{"/srv/app", "/"}));
  EXPECT_EQ(configuration.paths.run, "/tmp/run");
  EXPECT_EQ(configuration.paths.state, "/tmp/state");
  ASSERT_EQ(configuration.keys.size(), 4u);
  const KeyRule& first = configuration.keys[0];
  EXPECT_EQ(first.line, 35u);
  EXPECT_THAT(first.kinds, ElementsAre(Kind::kMessageQueue, Kind::kSemaphoreSet));
  EXPECT_EQ(first.home, "vax");
  EXPECT_THAT(first.ranges,
              ElementsAre(KeyRange{KeyRange::What::kKeys, 0x1000, 0x1fff},
                          KeyRange{KeyRange::What::kKeys, 0x5000, 0x5000}, KeyRange{KeyRange::What::kPrivate, 0, 0}));
  EXPECT_EQ(configuration.keys[1].unit, CoherenceUnit::kSegment);
  EXPECT_EQ(configuration.keys[1].hold_time, Duration(2ms));
  EXPECT_EQ(configuration.keys[1].kinds.size(), 3u);
  EXPECT_TRUE(configuration.keys[2].refuse);
  EXPECT_TRUE(configuration.keys[2].speaks_of(Kind::kMessageQueue, -1));
  EXPECT_EQ(configuration.keys[3].page_bytes, 16384u);
  EXPECT_EQ(configuration.keys[3].to_string(), "private of msg, sem, shm in pages of 16 KiB");
}

TEST(Configuration, AllMistakesOfAFileAreReportedInTheOrderOfItsLines) {
  const auto parsed = parse(
      "cluster = 5\n"
      "referee = 'vax'\n"
      "listen = ['10.0.0.2', 'x:1']\n"
      "[timing]\n"
      "op_timeout = 'soon'\n"
      "[limits]\n"
      "dead_letter = 7\n"
      "[[keys]]\n"
      "range = 'some'\n");
  ASSERT_FALSE(parsed);
  std::vector<std::string> places;
  for (const Trouble& trouble : parsed.error()) {
    places.push_back(trouble.what.substr(0, trouble.what.find(' ')));
    EXPECT_FALSE(trouble.remedy.empty()) << trouble.what;
  }
  EXPECT_THAT(
      places,
      ElementsAre("dipc.toml:1:", "dipc.toml:3:", "dipc.toml:3:", "dipc.toml:5:", "dipc.toml:7:", "dipc.toml:9:"));
}

TEST(Configuration, OnePeersTableServesAllHosts) {
  const Configuration configuration = good(with("[peers]\nsun = '10.0.0.2:7310'\nvax = '10.0.0.3:7310'\n"));
  EXPECT_EQ(configuration.peers.size(), 1u);
  EXPECT_TRUE(configuration.peers.contains("vax"));
}

TEST(Configuration, AMachineNameThatCanNotServeMustBeReplaced) {
  const auto parsed =
      parse_configuration("cluster = 'lab'\nreferee = 'sun'\n", "dipc.toml", {"(none)", kDefaults.paths});
  ASSERT_FALSE(parsed);
  EXPECT_THAT(all_of(parsed.error()), HasSubstr("host is not set, and this machine's name '(none)' can't serve"));
}

TEST(Configuration, PathsDependOnWhoRunsTheDaemon) {
  EXPECT_EQ(default_paths(0, "/run/user/0", "/root").run, "/run/dipc");
  EXPECT_EQ(default_paths(0, "/run/user/0", "/root").state, "/var/lib/dipc");
  EXPECT_EQ(default_paths(1000, "/run/user/1000", "/home/al").run, "/run/user/1000/dipc");
  EXPECT_EQ(default_paths(1000, "/run/user/1000", "/home/al").state, "/home/al/.local/state/dipc");
  EXPECT_EQ(default_paths(1000, nullptr, "").run, "/tmp/dipc-1000");
  EXPECT_EQ(default_paths(1000, nullptr, "").state, "/tmp/dipc-1000/state");
}

TEST(Configuration, HostNamesAreWhatACertificateMayCarry) {
  for (const char* name : {"a", "sun", "sun-1.example.org", "_x", "0"}) EXPECT_TRUE(is_host_name(name)) << name;
  for (const char* name : {"", "Sun", "a b", "-a", "a-", ".a", "a.", "a@b", "a/b", "*", "a\n", "s\xc3\xbcn"}) {
    EXPECT_FALSE(is_host_name(name)) << name;
  }
}

// Files that nobody would write: whatever comes, an answer with file, line and remedy.
TEST(Configuration, GarbageIsAnErrorAndNothingWorse) {
  const std::string start = with(
      "[peers]\nvax = '10.0.0.3:7310'\n[timing]\nkeepalive = '1s'\n[limits]\nsession_buffer = '64MiB'\n[[keys]]\nrange "
      "= ['0x1-0x5', 'all']\nkind = ['msg']\nhold_time = '2ms'\n");
  std::mt19937 random(20261122);
  std::size_t refused = 0;
  for (int round = 0; round < 3000; ++round) {
    const std::string text = damaged(start, random);
    const auto parsed = parse(text);
    if (parsed) continue;
    ++refused;
    ASSERT_FALSE(parsed.error().empty());
    for (const Trouble& trouble : parsed.error()) {
      ASSERT_THAT(trouble.what, StartsWith("dipc.toml:")) << text;
      ASSERT_FALSE(trouble.remedy.empty()) << trouble.what;
    }
  }
  EXPECT_GT(refused, 1000u);
}

TEST(Configuration, DeepNestingIsRefused) { EXPECT_FALSE(parse(with("peers = " + std::string(100000, '[') + "\n"))); }

TEST(Configuration, HomeThatIsNeitherThisHostNorAPeerIsWarnedOf) {
  const auto parsed = parse_configuration(
      "cluster = \"lab\"\nhost = \"sun\"\nreferee = \"sun\"\n[peers]\nvax = \"10.0.0.3:7310\"\n"
      "[[keys]]\nrange = \"0x1\"\nhome = \"vax\"\n[[keys]]\nrange = \"0x2\"\nhome = \"Sun\"\n"
      "[[keys]]\nrange = \"0x3\"\n[[keys]]\nrange = \"0x4\"\nhome = \"vex\"\n",
      "dipc.toml", {});
  ASSERT_TRUE(parsed) << parsed.error().front().what;
  const std::vector<std::string> warnings = warnings_of(*parsed);
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_EQ(warnings[0].find("dipc.toml:14: the home vex is neither this host nor in [peers]"), 0u) << warnings[0];
}

}  // namespace
}  // namespace dipc
