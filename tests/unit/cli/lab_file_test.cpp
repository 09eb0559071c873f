#include "cli/lab_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "cli/lab_host_files.h"
#include "daemon/core/configuration.h"
#include "daemon/core/hosts_allow.h"

namespace dipc {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

constexpr const char* kDemo = R"(
cluster = "demo"
referee = "amiga"
map = ["alice@amiga alicia", "*@* *"]
types = ["struct note { long mtype; };", "bind msg 1 to note;"]
[[host]]
name = "vax"
logins = { zoe = 1001, alice = 1002 }
groups = { staff = { gid = 2000, members = ["zoe"] } }
msgmax = 1048576
[[host]]
name = "amiga"
arch = "m68k"
address = "10.77.0.1"
logins = { alice = 2001 }
map = ["root@* nobody"]
types = []
timing = { keepalive = "50ms" }
[[host]]
name = "bare"
daemon = false
[[keys]]
range = "0x1000-0x1fff"
home = "amiga"
[timing]
keepalive = "2s"
peer_timeout = "7s"
)";

LabFile demo() {
  const auto lab = parse_lab_file(kDemo, "demo.toml");
  EXPECT_TRUE(lab) << lab.error().what;
  return lab ? *lab : LabFile{};
}

std::string mistake(const std::string& text) {
  const auto lab = parse_lab_file(text, "lab.toml");
  return lab ? "no mistake" : lab.error().what;
}

TEST(LabFile, HostKnowsTheLineThatNamesItsMachine) {
  const LabFile lab = demo();
  EXPECT_EQ(lab.host("amiga")->where, "demo.toml:13");
  EXPECT_EQ(lab.host("vax")->where, "demo.toml:7") << "that of its name, where no machine is named";
}

TEST(LabFile, UnknownMachineIsToldWithThoseThatAreKnown) {
  const auto lab = parse_lab_file("cluster = \"x\"\n[[host]]\nname = \"a\"\narch = \"arm64\"\n", "lab.toml");
  ASSERT_FALSE(lab);
  EXPECT_THAT(lab.error().what, StartsWith("lab.toml:4: \"arm64\""));
  EXPECT_THAT(lab.error().remedy, HasSubstr("native or a name of qemu's: x86_64, i386, m68k, s390x, aarch64"));
}

TEST(LabFile, FirstLoginIsTheFirstInTheFileAndNotInTheAlphabet) {
  const LabFile lab = demo();
  ASSERT_EQ(lab.hosts.size(), 3u);
  ASSERT_EQ(lab.hosts[0].logins.size(), 2u);
  EXPECT_EQ(lab.hosts[0].logins[0].name, "zoe");
  EXPECT_EQ(lab.hosts[0].logins[0].id, 1001u);
}

TEST(LabFile, AddressesAreGivenInOrderAroundThoseThatAreWritten) {
  const LabFile lab = demo();
  EXPECT_EQ(lab.host("amiga")->address, "10.77.0.1");
  EXPECT_EQ(lab.host("vax")->address, "10.77.0.2");
  EXPECT_EQ(lab.host("bare")->address, "10.77.0.3");
}

TEST(LabFile, RefereeIsTheFirstHostUnlessNamed) {
  EXPECT_EQ(demo().referee, "amiga");
  EXPECT_EQ(parse_lab_file("cluster='x'\n[[host]]\nname='b'\n[[host]]\nname='a'\n", "f")->referee, "b");
}

TEST(LabFile, HostLinesReplaceTheClusters) {
  const LabFile lab = demo();
  EXPECT_THAT(lab.host("vax")->login_map, ElementsAre("alice@amiga alicia", "*@* *"));
  EXPECT_THAT(lab.host("amiga")->login_map, ElementsAre("root@* nobody"));
  EXPECT_THAT(lab.host("vax")->types, ElementsAre("struct note { long mtype; };", "bind msg 1 to note;"));
  EXPECT_THAT(lab.host("amiga")->types, ElementsAre());
  EXPECT_THAT(lab.host("bare")->allow, ElementsAre("vax 10.77.0.2", "amiga 10.77.0.1", "bare 10.77.0.3"));
}

// The lab writes what the daemon reads.
TEST(LabFile, ConfigurationOfAHostIsOneThatTheDaemonAccepts) {
  const LabFile lab = demo();
  for (const LabHost& host : lab.hosts) {
    const std::string text = configuration_text(lab, host);
    const auto parsed = parse_configuration(text, "dipc.toml", {});
    ASSERT_TRUE(parsed) << parsed.error().front().what << "\n" << text;
    EXPECT_EQ(parsed->cluster, "demo");
    EXPECT_EQ(parsed->host, host.name);
    EXPECT_EQ(parsed->referee, "amiga");
    EXPECT_EQ(parsed->keys.size(), 1u);
    EXPECT_EQ(parsed->timing.keepalive,
              host.name == "amiga" ? Duration(std::chrono::milliseconds(50)) : Duration(std::chrono::seconds(2)));
    EXPECT_EQ(parsed->timing.peer_timeout, Duration(std::chrono::seconds(7)));
    EXPECT_FALSE(parsed->peers.contains(host.name));
    EXPECT_FALSE(parsed->peers.contains("bare")) << "nobody listens there";
    std::string allow;
    for (const std::string& line : host.allow) allow += line + "\n";
    EXPECT_TRUE(HostsAllow::parse(allow, "hosts.allow"));
  }
}

TEST(LabFile, UserDatabaseHoldsRootNobodyAndTheLogins) {
  const LabFile lab = demo();
  EXPECT_THAT(passwd_text(lab.hosts[0]), StartsWith("root:x:0:0:"));
  EXPECT_THAT(passwd_text(lab.hosts[0]), HasSubstr("\nnobody:x:65534:65534:"));
  EXPECT_THAT(passwd_text(lab.hosts[0]), HasSubstr("\nalice:x:1002:1002:"));
  EXPECT_THAT(group_text(lab.hosts[0]), HasSubstr("\nstaff:x:2000:zoe\n"));
}

TEST(LabFile, MistakesNameFileAndLine) {
  EXPECT_THAT(mistake("cluster = \"x\"\n[[host]\n"), StartsWith("lab.toml:2: "));
  EXPECT_THAT(mistake("cluster = \"x\"\n\n[[host]]\nname = \"a\"\ncolour = 3\n"), StartsWith("lab.toml:5: \"colour\""));
  EXPECT_THAT(mistake("cluster = \"x\"\nclock = 1\n[[host]]\nname = \"a\"\n"), StartsWith("lab.toml:2: \"clock\""));
  EXPECT_THAT(mistake("cluster = \"x\"\n[[host]]\narch = \"m68k\"\n"), StartsWith("lab.toml:2: name is missing"));
  EXPECT_THAT(mistake("cluster = \"x\"\n[[host]]\nname = \"a\"\narch = \"vax11\"\n"),
              StartsWith("lab.toml:4: \"vax11\""));
  EXPECT_THAT(mistake("cluster = \"x\"\n[[host]]\nname = \"Not Good\"\n"), StartsWith("lab.toml:3: \"Not Good\""));
  EXPECT_THAT(mistake("cluster = \"../x\"\n[[host]]\nname = \"a\"\n"), StartsWith("lab.toml:1: \"../x\""));
  EXPECT_THAT(mistake("cluster = \"x\"\n[[host]]\nname = \"a\"\n[[host]]\nname = \"a\"\n"),
              StartsWith("lab.toml:5: two hosts"));
  EXPECT_THAT(mistake("cluster = \"x\"\nreferee = \"z\"\n[[host]]\nname = \"a\"\n"),
              StartsWith("lab.toml:2: the referee"));
  EXPECT_THAT(mistake("cluster = \"x\"\n[[host]]\nname = \"a\"\nlogins = { bob = 0 }\n"),
              StartsWith("lab.toml:4: bob"));
  EXPECT_THAT(mistake("cluster = \"x\"\n[[host]]\nname = \"a\"\nlogins = { b = 7, c = 7 }\n"),
              StartsWith("lab.toml:4: c and b"));
  EXPECT_THAT(mistake("cluster = \"x\"\n[[host]]\nname = \"a\"\nlogins = { root = 7 }\n"),
              StartsWith("lab.toml:4: root"));
  EXPECT_THAT(mistake("cluster = \"x\"\n[[host]]\nname = \"a\"\naddress = \"10.0.0.1\"\n"),
              StartsWith("lab.toml:4: \"10.0.0.1\""));
  EXPECT_THAT(mistake("cluster = \"x\"\n[[host]]\nname = \"a\"\nmsgmax = \"big\"\n"), StartsWith("lab.toml:4: msgmax"));
  EXPECT_THAT(mistake("cluster = \"x\"\n[[host]]\nname = \"a\"\ndaemon = 1\n"), StartsWith("lab.toml:4: daemon"));
  EXPECT_THAT(mistake("cluster = \"x\"\nkeys = 3\n[[host]]\nname = \"a\"\n"), StartsWith("lab.toml:2: keys"));
  EXPECT_THAT(mistake("cluster = \"x\"\n[[host]]\nname = \"a\"\ngroups = { s = { gid = 5, members = [\"eve\"] } }\n"),
              StartsWith("lab.toml:4: eve"));
  EXPECT_THAT(mistake("cluster = \"x\"\n"), StartsWith("lab.toml:1: there is no host"));
  EXPECT_THAT(mistake(""), StartsWith("lab.toml:1: cluster is missing"));
}

// What dipcd would refuse is refused here, before any host starts.
TEST(LabFile, MistakesInWhatIsHandedOnNameTheLabFilesLine) {
  const std::string head = "cluster = \"x\"\n[[host]]\nname = \"a\"\n";
  EXPECT_THAT(mistake(head + "[[keys]]\nrange = \"all\"\ncolour = \"red\"\n"), StartsWith("lab.toml:6: "));
  EXPECT_THAT(mistake(head + "[[keys]]\nkind = [\"msg\"]\n"), StartsWith("lab.toml:4: "));
  EXPECT_THAT(mistake(head + "[[keys]]\nrange = \"0x1\"\n[[keys]]\nrange = \"some\"\n"), StartsWith("lab.toml:7: "));
  EXPECT_THAT(mistake(head + "[timing]\nkeepalive = \"soon\"\n"), StartsWith("lab.toml:5: "));
  EXPECT_THAT(mistake(head + "limits = { dead_letters = \"x\" }\n"), StartsWith("lab.toml:4: "));
}

TEST(LabFile, HomeIsAHostOfTheFile) {
  const std::string text =
      "cluster = \"x\"\n[[host]]\nname = \"a\"\n[[host]]\nname = \"b\"\n[[keys]]\nrange = \"all\"\n";
  EXPECT_EQ(mistake(text + "home = \"B\"\n"), "no mistake");
  const auto lab = parse_lab_file(text + "home = \"c\"\n", "lab.toml");
  ASSERT_FALSE(lab);
  EXPECT_EQ(lab.error().what, "lab.toml:8: the home c is not a host of this file");
  EXPECT_EQ(lab.error().remedy, "its hosts are a, b");
}

TEST(LabFile, NumberInQuotesIsToldToLoseThem) {
  const auto lab = parse_lab_file("cluster = \"x\"\n[[host]]\nname = \"a\"\nlogins = { b = \"7\" }\n", "lab.toml");
  ASSERT_FALSE(lab);
  EXPECT_EQ(lab.error().remedy, "write it without quotes");
}

TEST(LabFile, ExampleOfTheAdministratorsGuideIsGood) {
  std::ifstream guide(DIPC_DOCS "/ADMIN.md");
  std::string text;
  bool inside = false;
  for (std::string line; std::getline(guide, line);) {
    if (inside && line == "```") break;
    if (inside) text += line + "\n";
    inside = inside || line == "```toml mine.toml";
  }
  EXPECT_THAT(text, HasSubstr("[[host]]"));
  EXPECT_EQ(mistake(text), "no mistake");
}

TEST(LabFile, FolderInPlaceOfTheFileIsCalledOne) {
  const auto lab = read_lab_file("/");
  ASSERT_FALSE(lab);
  EXPECT_EQ(lab.error().what, "/ is a folder");
}

TEST(LabFile, MissingFileIsNamed) {
  const auto lab = read_lab_file("/nowhere/lab.toml");
  ASSERT_FALSE(lab);
  EXPECT_THAT(lab.error().what, HasSubstr("/nowhere/lab.toml"));
  EXPECT_THAT(lab.error().what, HasSubstr("No such file"));
}

}  // namespace
}  // namespace dipc
