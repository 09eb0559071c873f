// Declared messages between hosts of a lab whose machines write structs differently: every scalar kind with its extreme
// values, nested and counted structs, what does not fit, pids and logins; the owner on either side.

#include <gmock/gmock.h>

#include <algorithm>
#include <memory>
#include <sstream>
#include <vector>

#include "tests/cluster/shared_clusters.h"

namespace dipc::test {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

constexpr auto kLimit = std::chrono::seconds(60);
// Of each client. The whole number natively; with other machines a part of it.
constexpr int kPairs = 10'000;

// Whose queue, and who uses it from another host. A host's programs need not be of its daemon's ABI.
struct Pair {
  std::string owner;         // architectures
  std::string caller;        // of the host that calls
  std::string program = {};  // that runs there; empty: the host's own
  const std::string& program_arch() const { return program.empty() ? caller : program; }
};

void PrintTo(const Pair& pair, std::ostream* out) {
  *out << (pair.program.empty() ? "" : pair.program + " on ") << pair.caller << " to " << pair.owner;
}

// What typed.c sends, as an administrator declares it.
constexpr const char* kTypes[] = {
    "struct item { char tag; long weight; };",
    "struct every { long mtype; char c; signed char sc; unsigned char uc; short s; unsigned short us; bool b;",
    "  int i; unsigned u; long l; unsigned long ul; long long ll; unsigned long long ull; float f; double d;",
    "  size_t z; ssize_t sz; time_t t; int8_t i8; uint16_t u16; int32_t i32; int64_t i64; uint64_t u64;",
    "  char text[5]; short grid[2][3]; struct { char pad; double value; } inner[2];",
    "  unsigned short count; struct item items[count]; };",
    "struct ids { long mtype; int tag; pid pid; uid uid; gid gid; };",
    "struct ask { long mtype; pid client; int number; };",
    "struct answer { pid long mtype; int number; double half; };",
    "bind msg 0x6000-0x60ff to { 1: every; 2: every; 3: ids; };",
    "bind msg 0x6100-0x61ff to { 1: ask; default: answer; };",
};

std::string types_line() {
  std::string text = "types = [";
  for (const char* line : kTypes) text += std::string("'") + line + "',";
  return text + "]\n";
}

// Values that all machines can hold.
constexpr const char* kLeast =
    "c=x sc=-128 uc=0 s=-32768 us=1 b=0 i=-2147483648 u=2 l=-2147483648 ul=3 ll=-9223372036854775808 ull=4 f=-0.25 "
    "d=-1e-300 z=5 sz=-2147483648 t=-2147483648 i8=-128 u16=6 i32=-2147483648 i64=-9223372036854775808 u64=7 "
    "text=abcde grid=0,10,20,100,110,120, p:0.125 q:1.125 count=1 A:-2147483648";
constexpr const char* kMost =
    "c=x sc=127 uc=255 s=32767 us=65535 b=1 i=2147483647 u=4294967295 l=2147483647 ul=4294967295 "
    "ll=9223372036854775807 ull=18446744073709551615 f=1.5 d=1e+300 z=4294967295 sz=2147483647 t=2147483647 i8=127 "
    "u16=65535 i32=2147483647 i64=9223372036854775807 u64=18446744073709551615 text=vwxyz grid=1,11,21,101,111,121, "
    "p:0.125 q:1.125 count=3 A:2147483647 B:2147483646 C:2147483645";

// One cluster for each owner: vax of its machine, a host of every machine that there is a build for, and rain. In the
// tests sun is the host that calls, moon one of another machine.
class Typed : public SharedClusters<Pair> {
 protected:
  void SetUp() override {
    if (!am_root()) GTEST_SKIP() << "needs root: a lab has namespaces";
    for (const std::string& arch : {GetParam().owner, GetParam().caller, GetParam().program_arch()}) {
      if (const std::string missing = missing_build(arch); !missing.empty()) GTEST_SKIP() << missing;
    }
    std::string callers;
    for (const std::string& arch : callers_there_are()) {
      callers +=
          "[[host]]\nname = \"on-" + arch + "\"\narch = \"" + arch + "\"\nlogins = { alice = 2001, bob = 1001 }\n";
    }
    // Declarations are vax's alone, and reach the others through the protocol; but for rain, which has its own.
    use("typed-" + GetParam().owner, "vax",
        "[[host]]\nname = \"vax\"\narch = \"" + GetParam().owner + "\"\nlogins = { alice = 1001, bob = 1002 }\n" +
            types_line() + callers +
            "[[host]]\nname = \"rain\"\nlogins = { alice = 3001 }\n"
            "types = ['struct ids { long mtype; int tag; int pid; };', 'bind msg 0x6000-0x60ff to ids;']\n"
            "[[keys]]\nrange = \"all\"\nhome = \"vax\"\n");
  }

  static std::vector<std::string> callers_there_are() {
    std::vector<std::string> found;
    for (const Architecture& one : kArchitectures) {
      if (missing_build(one.arch).empty()) found.push_back(one.arch);
    }
    return found;
  }
  static std::string arch_of(const std::string& host) {
    if (host == "vax") return GetParam().owner;
    if (host == "rain") return "native";
    if (host == "sun") return GetParam().caller;
    const auto all = callers_there_are();
    const auto sun = static_cast<std::size_t>(std::find(all.begin(), all.end(), GetParam().caller) - all.begin());
    return all[(sun + 1) % all.size()];
  }
  static std::string name_of(const std::string& host) {
    return host == "sun" || host == "moon" ? "on-" + arch_of(host) : host;
  }
  static const Architecture& abi_of(const std::string& host) {
    return architecture(host == "sun" ? GetParam().program_arch() : arch_of(host));
  }
  std::string log_of(const std::string& host) const { return cluster_->log_of(name_of(host)); }

  // `preload`: with the library; without it the kernel of the host is all that the program knows.
  std::unique_ptr<Program> program(const std::string& host, const std::string& login = "alice", bool preload = true) {
    return cluster_->start(name_of(host), login, {program_of(abi_of(host).arch, "tests/cluster/typed")}, preload);
  }

  // A key that no other test uses: of messages of the first binding, of the second, or of none.
  static int key(int range) {
    static int next = 0;
    return range + ++next % 0x100;
  }
  static std::string get(Program& one, int key) { return ask(one, "get " + std::to_string(key) + " 950"); }

  std::string row_of(const std::string& host, const std::string& host_asked, int key) {
    const Cluster::Ran ran = cluster_->run(name_of(host_asked), "root", {"dipcctl", "objects"}, kLimit);
    char text[16];
    std::snprintf(text, sizeof text, "0x%08x of ", static_cast<unsigned>(key));
    std::istringstream lines(ran.output);
    for (std::string line; std::getline(lines, line);) {
      if (line.find(text + host) != std::string::npos) return line;
    }
    return "";
  }
};

TEST_P(Typed, EveryScalarKindArrivesWithItsExtremesBothWays) {
  const int name = key(0x6000);
  const auto sun = program("sun");
  const auto vax = program("vax");
  const auto bare = program("vax", "alice", false);
  const std::string id = get(*sun, name);
  const std::string there = get(*vax, name);
  for (const auto& [set, values] : {std::pair("least", kLeast), std::pair("most", kMost)}) {
    SCOPED_TRACE(set);
    // To a program of the owner that knows nothing of DIPC, from one, and back to where it came from.
    ASSERT_EQ(ask(*sun, "send-every " + id + " 1 " + set), "0");
    EXPECT_EQ(ask(*bare, "receive-every " + there + " 1 -1 2048"), std::string("1 ") + values);
    ASSERT_EQ(ask(*vax, "send-every " + there + " 2 " + set), "0");
    EXPECT_EQ(ask(*sun, "receive-every " + id + " 2 -1 2048"), std::string("2 ") + values);
    ASSERT_EQ(ask(*sun, "send-every " + id + " 1 " + set), "0");
    EXPECT_EQ(ask(*sun, "receive-every " + id + " 0 -1 2048"), std::string("1 ") + values);
  }
}

TEST_P(Typed, ThirdHostsReadWhatRestsAtTheOwner) {
  const int name = key(0x6000);
  const auto sun = program("sun");
  const auto moon = program("moon");
  const std::string id = get(*sun, name);
  const std::string there = get(*moon, name);
  ASSERT_EQ(ask(*sun, "send-every " + id + " 1 most"), "0");
  EXPECT_EQ(ask(*moon, "receive-every " + there + " -5 -1 2048"), std::string("1 ") + kMost);
}

TEST_P(Typed, RoomIsJudgedInTheReceiversForm) {
  const int name = key(0x6000);
  const auto sun = program("sun");
  const std::string id = get(*sun, name);
  ASSERT_EQ(ask(*sun, "send-every " + id + " 1 most"), "0");
  EXPECT_EQ(ask(*sun, "receive-every " + id + " 1 10 2048"), "-1 E2BIG");
  EXPECT_EQ(ask(*sun, "receive-every " + id + " 0 10 2048"), "-1 E2BIG");
  EXPECT_EQ(ask(*sun, "receive-every " + id + " 1 10 6144"), "10 bytes")
      << "MSG_NOERROR: cut to what there is room for";
  EXPECT_EQ(ask(*sun, "receive-every " + id + " 0 -1 2048"), "-1 ENOMSG");
}

TEST_P(Typed, WhatIsNotAsItIsDeclaredIsInvalid) {
  const int name = key(0x6000);
  const auto sun = program("sun");
  const auto bare = program("vax", "alice", false);
  const std::string id = get(*sun, name);
  const auto vax = program("vax");
  const std::string there = get(*vax, name);
  EXPECT_EQ(ask(*sun, "send-raw " + id + " 1 11"), "-1 EINVAL");
  // From a program of the owner nobody checks it. It is a dead letter once somebody else wants it.
  ASSERT_EQ(ask(*bare, "send-raw " + there + " 1 11"), "0");
  EXPECT_EQ(ask(*sun, "receive-every " + id + " 0 -1 2048"), "-1 EINVAL");
  EXPECT_EQ(ask(*sun, "receive-every " + id + " 0 -1 2048"), "-1 ENOMSG");
  EXPECT_THAT(cluster_->run("vax", "root", {"dipcctl", "deadletters"}).output, HasSubstr("struct every"));
  EXPECT_THAT(log_of("sun"), HasSubstr("struct every"));
}

TEST_P(Typed, AValueThatDoesNotFitIsAnOverflowWithItsFieldInTheLog) {
  const int name = key(0x6000);
  const auto sun = program("sun");
  const auto vax = program("vax");
  const std::string id = get(*sun, name);
  const std::string there = get(*vax, name);
  const int here = abi_of("sun").long_bytes, owners = abi_of("vax").long_bytes;
  constexpr const char* kTold = "every.l is 9223372036854775807";
  const std::size_t told_at_vax = log_of("vax").size();
  const std::size_t told_at_sun = log_of("sun").size();
  if (here > owners) {
    EXPECT_EQ(ask(*sun, "send-every " + id + " 1 wide"), "-1 EOVERFLOW");
    EXPECT_EQ(ask(*vax, "receive-every " + there + " 0 -1 2048"), "-1 ENOMSG");
    EXPECT_THAT(log_of("vax").substr(told_at_vax), HasSubstr(kTold));
  } else if (here < owners) {
    ASSERT_EQ(ask(*vax, "send-every " + there + " 1 wide"), "0");
    EXPECT_EQ(ask(*sun, "receive-every " + id + " 0 -1 2048"), "-1 EOVERFLOW");
    EXPECT_EQ(ask(*sun, "receive-every " + id + " 0 -1 2048"), "-1 ENOMSG") << "once, not for ever";
    EXPECT_THAT(log_of("sun").substr(told_at_sun), HasSubstr(kTold));
    EXPECT_THAT(cluster_->run("vax", "root", {"dipcctl", "deadletters"}).output, HasSubstr(kTold));
  } else if (here == 4) {
    GTEST_SKIP() << "no long has 64 bits on either host";
  } else {
    ASSERT_EQ(ask(*sun, "send-every " + id + " 1 wide"), "0");
    EXPECT_THAT(ask(*vax, "receive-every " + there + " 0 -1 2048"),
                HasSubstr(" l=9223372036854775807 ul=18446744073709551615 "));
  }
}

TEST_P(Typed, PidsAndLoginsMeanTheSameOnEveryHost) {
  if (name_of("moon") == name_of("sun")) GTEST_SKIP() << "no build of another machine is there: make m68k";
  const int name = key(0x6000);
  const auto sun = program("sun");
  const auto moon = program("moon");
  const auto vax = program("vax", "alice", false);
  const std::string id = get(*sun, name);
  const std::string at_moon = get(*moon, name);
  const auto owner = program("vax");
  const std::string there = get(*owner, name);
  const long own = std::stol(ask(*sun, "pid"));
  // alice, and the group of that name, is 2001 on sun and moon, 1001 on vax.
  ASSERT_EQ(ask(*sun, "send-ids " + id + " 3"), "0");
  std::istringstream words(ask(*vax, "receive-ids " + there + " 3"));
  long type = 0, pid = 0, uid = 0, gid = 0;
  words >> type >> pid >> uid >> gid;
  EXPECT_EQ(uid, 1001);
  EXPECT_EQ(gid, 1001);
  EXPECT_EQ(pid % 4194304, own);
  EXPECT_GT(pid / 4194304, 0) << "a pid of another host";
  ASSERT_EQ(ask(*sun, "send-ids " + id + " 3"), "0");
  EXPECT_EQ(ask(*moon, "receive-ids " + at_moon + " 3"), "3 " + std::to_string(pid) + " 2001 2001")
      << "the same pid as vax has for it";
  ASSERT_EQ(ask(*sun, "send-ids " + id + " 3"), "0");
  EXPECT_EQ(ask(*sun, "receive-ids " + id + " 3"), "3 " + std::to_string(own) + " 2001 2001") << "at home its own";
}

TEST_P(Typed, RepliesToTwoClientsOfOnePidOnTwoHostsReachTheRightOne) {
  if (name_of("moon") == name_of("sun")) GTEST_SKIP() << "no build of another machine is there: make m68k";
  const int name = key(0x6100);
  const bool is_native = abi_of("vax").arch == "native" && abi_of("sun").arch == "native";
  const int pairs = is_native ? kPairs : kPairs / 20;
  const auto server = program("vax", "root", false);
  const auto maker = program("vax", "root");
  const std::string there = get(*maker, name);
  std::vector<std::unique_ptr<Program>> clients;
  std::vector<std::string> ids;
  for (const char* host : {"sun", "moon"}) {
    clients.push_back(program(host, "root"));
    ASSERT_EQ(ask(*clients.back(), "number 20000"), "20000") << host;
    ids.push_back(get(*clients.back(), name));
  }
  server->write_line("serve " + there + " " + std::to_string(2 * pairs));
  for (std::size_t i = 0; i < clients.size(); ++i) {
    clients[i]->write_line("ask " + ids[i] + " " + std::to_string(pairs) + " " + std::to_string(i * 1000000));
  }
  for (const auto& client : clients) {
    EXPECT_EQ(client->read_line(std::chrono::seconds(240)).value_or("(silent)"), std::to_string(pairs));
  }
  EXPECT_EQ(server->read_line(kLimit).value_or("(silent)"), std::to_string(2 * pairs));
}

TEST_P(Typed, AHostThatDeclaresSomethingElseIsRefusedAndToldWhere) {
  const int name = key(0x6000);
  const auto vax = program("vax");
  get(*vax, name);
  const auto rain = program("rain");
  const std::string id = get(*rain, name);
  EXPECT_EQ(ask(*rain, "send-ids " + id + " 3"), "-1 EINVAL");
  EXPECT_EQ(ask(*rain, "receive-every " + id + " 0 -1 2048"), "-1 EINVAL");
  EXPECT_THAT(log_of("rain"), HasSubstr("struct ids"));
}

TEST_P(Typed, WhatIsNotDeclaredPassesAsBytesAndIsCountedWhereMachinesDiffer) {
  const int name = key(0x6200);
  const auto sun = program("sun");
  const auto vax = program("vax");
  const std::string id = get(*sun, name);
  const std::string there = get(*vax, name);
  ASSERT_EQ(ask(*sun, "send-raw " + id + " 1 9"), "0");
  ASSERT_EQ(ask(*sun, "send-raw " + id + " 1 9"), "0");
  EXPECT_EQ(ask(*vax, "receive-every " + there + " 1 -1 2048"), "9 bytes");
  const bool differ = abi_of("sun").arch != abi_of("vax").arch;
  const std::string row = row_of("vax", "sun", name);
  if (differ) {
    EXPECT_THAT(row, HasSubstr(": 2 messages"));
    EXPECT_THAT(log_of("vax"), HasSubstr("carries messages without a declaration"));
  } else {
    EXPECT_EQ(row, "");
  }
}

std::string name_of_pair(const testing::TestParamInfo<Pair>& one) {
  return one.param.caller + (one.param.program.empty() ? "" : "_running_" + one.param.program);
}

// One suite for each owner, so that one cluster is up at a time.
std::vector<Pair> pairs_of(const std::string& owner) {
  std::vector<Pair> pairs;
  for (const Architecture& caller : kArchitectures) {
    if (caller.arch != owner || owner == "native") pairs.push_back({owner, caller.arch});
  }
  pairs.push_back({owner, "native", "i386"});
  return pairs;
}
INSTANTIATE_TEST_SUITE_P(OwnerNative, Typed, testing::ValuesIn(pairs_of("native")), name_of_pair);
INSTANTIATE_TEST_SUITE_P(OwnerM68k, Typed, testing::ValuesIn(pairs_of("m68k")), name_of_pair);
INSTANTIATE_TEST_SUITE_P(OwnerS390x, Typed, testing::ValuesIn(pairs_of("s390x")), name_of_pair);
INSTANTIATE_TEST_SUITE_P(OwnerI386, Typed, testing::ValuesIn(pairs_of("i386")), name_of_pair);

}  // namespace
}  // namespace dipc::test
