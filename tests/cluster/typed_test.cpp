// Declared messages between hosts of a lab whose machines write structs differently: every scalar kind with its extreme
// values, nested and counted structs, what does not fit, pids and logins; the owner on either side.

#include <gmock/gmock.h>

#include <fstream>
#include <map>
#include <memory>
#include <sstream>

#include "tests/cluster/cluster.h"

namespace dipc::test {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

constexpr auto kLimit = std::chrono::seconds(60);
// Of each client. The whole number natively; under an emulator each of them takes its time.
constexpr int kPairs = 10'000;

struct Pair {
  std::string name;
  std::string vax;  // architecture of the owner
  std::string sun;  // of the host that calls
};

void PrintTo(const Pair& pair, std::ostream* out) { *out << pair.name; }

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

class Typed : public testing::TestWithParam<Pair> {
 protected:
  void SetUp() override {
    if (!am_root()) GTEST_SKIP() << "needs root: a lab has namespaces";
    if ((GetParam().vax == "m68k" || GetParam().sun == "m68k") && !have_m68k()) {
      GTEST_SKIP() << "the m68k build is not there: make m68k";
    }
    auto& cluster = clusters()[GetParam().name];
    if (!cluster) {
      // Declarations are vax's alone, and reach the others through the protocol; but for rain, which has its own.
      const std::string sun = "arch = \"" + GetParam().sun + "\"\nlogins = { alice = 2001, bob = 1001 }\n";
      cluster = std::make_unique<Cluster>(
          "typed-" + GetParam().name, "vax",
          "[[host]]\nname = \"vax\"\narch = \"" + GetParam().vax + "\"\nlogins = { alice = 1001, bob = 1002 }\n" +
              types_line() + "[[host]]\nname = \"sun\"\n" + sun + "[[host]]\nname = \"moon\"\n" + sun +
              "[[host]]\nname = \"rain\"\nlogins = { alice = 3001 }\n"
              "types = ['struct ids { long mtype; int tag; int pid; };', 'bind msg 0x6000-0x60ff to ids;']\n"
              "[[keys]]\nrange = \"all\"\nhome = \"vax\"\n");
    }
    cluster_ = cluster.get();
  }

  static std::map<std::string, std::unique_ptr<Cluster>>& clusters() {
    static std::map<std::string, std::unique_ptr<Cluster>> all;
    return all;
  }
  static void TearDownTestSuite() { clusters().clear(); }

  static bool is_m68k(const std::string& host) {
    const std::string arch = host == "vax" ? GetParam().vax : host == "rain" ? "native" : GetParam().sun;
    return arch == "m68k";
  }

  // `preload`: with the library; without it the kernel of the host is all that the program knows.
  std::unique_ptr<Program> program(const std::string& host, const std::string& login = "alice", bool preload = true) {
    const std::string path = "tests/cluster/typed";
    return cluster_->start(host, login, {is_m68k(host) ? m68k_program(path) : native_program(path)}, preload);
  }

  // A key that no other test uses: of messages of the first binding, of the second, or of none.
  static int key(int range) {
    static int next = 0;
    return range + ++next % 0x100;
  }
  static std::string get(Program& one, int key) { return ask(one, "get " + std::to_string(key) + " 950"); }

  std::string row_of(const std::string& host, const std::string& host_asked, int key) {
    const Cluster::Ran ran = cluster_->run(host_asked, "root", {"dipcctl", "objects"}, kLimit);
    char text[16];
    std::snprintf(text, sizeof text, "0x%08x of ", static_cast<unsigned>(key));
    std::istringstream lines(ran.output);
    for (std::string line; std::getline(lines, line);) {
      if (line.find(text + host) != std::string::npos) return line;
    }
    return "";
  }

  const Cluster* cluster_ = nullptr;
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
  const auto rain = cluster_->start(
      "moon", "alice", {is_m68k("moon") ? m68k_program("tests/cluster/typed") : native_program("tests/cluster/typed")});
  const std::string id = get(*sun, name);
  const std::string there = get(*rain, name);
  ASSERT_EQ(ask(*sun, "send-every " + id + " 1 most"), "0");
  EXPECT_EQ(ask(*rain, "receive-every " + there + " -5 -1 2048"), std::string("1 ") + kMost);
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
  EXPECT_THAT(cluster_->log_of("sun"), HasSubstr("struct every"));
}

TEST_P(Typed, AValueThatDoesNotFitIsAnOverflowWithItsFieldInTheLog) {
  const int name = key(0x6000);
  const auto sun = program("sun");
  const auto vax = program("vax");
  const std::string id = get(*sun, name);
  const std::string there = get(*vax, name);
  if (is_m68k("vax") && !is_m68k("sun")) {
    EXPECT_EQ(ask(*sun, "send-every " + id + " 1 wide"), "-1 EOVERFLOW");
    EXPECT_EQ(ask(*vax, "receive-every " + there + " 0 -1 2048"), "-1 ENOMSG");
    EXPECT_THAT(cluster_->log_of("vax"), HasSubstr("every.l is 9223372036854775807"));
  } else if (is_m68k("sun") && !is_m68k("vax")) {
    ASSERT_EQ(ask(*vax, "send-every " + there + " 1 wide"), "0");
    EXPECT_EQ(ask(*sun, "receive-every " + id + " 0 -1 2048"), "-1 EOVERFLOW");
    EXPECT_EQ(ask(*sun, "receive-every " + id + " 0 -1 2048"), "-1 ENOMSG") << "once, not for ever";
    EXPECT_THAT(cluster_->log_of("sun"), HasSubstr("every.l is 9223372036854775807"));
    EXPECT_THAT(cluster_->run("vax", "root", {"dipcctl", "deadletters"}).output,
                HasSubstr("every.l is 9223372036854775807"));
  } else {
    GTEST_SKIP() << "a long has the same width on both hosts";
  }
}

TEST_P(Typed, PidsAndLoginsMeanTheSameOnEveryHost) {
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
  const int name = key(0x6100);
  const int pairs = GetParam().name == "native" ? kPairs : kPairs / 10;
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
  EXPECT_THAT(cluster_->log_of("rain"), HasSubstr("struct ids"));
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
  const bool differ = is_m68k("sun") != is_m68k("vax");
  const std::string row = row_of("vax", "sun", name);
  if (differ) {
    EXPECT_THAT(row, HasSubstr(": 2 messages"));
    EXPECT_THAT(cluster_->log_of("vax"), HasSubstr("carries messages without a declaration"));
  } else {
    EXPECT_EQ(row, "");
  }
}

INSTANTIATE_TEST_SUITE_P(Pairs, Typed,
                         testing::Values(Pair{"native", "native", "native"}, Pair{"m68k-owner", "m68k", "native"},
                                         Pair{"m68k-caller", "native", "m68k"}),
                         [](const auto& one) {
                           std::string name = one.param.name;
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

}  // namespace
}  // namespace dipc::test
