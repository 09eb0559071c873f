// Declared segments between hosts of a lab of every two machines, whether they write numbers alike or the other way
// round: every scalar kind with its extreme values on all pages, what is refused and named, what is not declared; the
// owner on either side, both pagers.

#include <gmock/gmock.h>
#include <sys/shm.h>

#include <map>
#include <memory>
#include <sstream>
#include <tuple>

#include "tests/cluster/shared_clusters.h"

namespace dipc::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

constexpr auto kLimit = std::chrono::seconds(60);
constexpr int kIpcDipc = 010000;

struct Machine {
  std::string arch;
  std::string pager;
};
struct Pair {
  std::string name;
  Machine vax;  // the owner
  Machine sun;
};

void PrintTo(const Pair& pair, std::ostream* out) { *out << pair.name; }

// What typed_memory.c has, as an administrator declares it, and what machines have at unlike places.
constexpr const char* kTypes[] = {
    "enum colour { RED = -7, BLUE = 2000000000 };",
    "struct row { double d; long long ll; unsigned long long ull; int64_t i64; uint64_t u64; float f; int i;",
    "  unsigned u; int32_t i32; uint32_t u32; short s; unsigned short us; uint16_t u16; char c; signed char sc;",
    "  unsigned char uc; bool b; char text[6]; short grid[2][3]; struct { float x; short y; char tag[2]; } inner[2];",
    "  enum colour colour; int last; };",
    "struct table { int count; int spare; struct row rows[]; };",
    "struct longs { long l; unsigned long ul; size_t z; time_t t; };",
    "struct late { int i; double d; };",
    "struct across { char c; int n[2000]; } packed;",
    "struct other { int count; };",
    "bind shm 0x6400-0x64ff to table;",
    "bind shm 0x6500 to longs;",
    "bind shm 0x6501 to late;",
    "bind shm 0x6502 to across;",
    "bind shm 0x6503 to other;",
};

constexpr const char* kLeast =
    "d=-1e-300 ll=-9223372036854775808 ull=1 i64=-9223372036854775808 u64=2 f=-0.25 i=-2147483648 u=3 i32=-2147483647 "
    "u32=4 s=-32768 us=5 u16=6 c=x sc=-128 uc=0 b=0 text=abcdef grid=-1000,-999,-998,-997,-996,-995, 0.125/-300/pq "
    "1.125/-301/rs colour=-7 last=-2";
constexpr const char* kMost =
    "d=1e+300 ll=9223372036854775807 ull=18446744073709551615 i64=9223372036854775807 u64=18446744073709551614 f=1.5 "
    "i=2147483647 u=4294967295 i32=2147483646 u32=4294967294 s=32767 us=65535 u16=65534 c=x sc=127 uc=255 b=1 "
    "text=uvwxyz grid=1000,1001,1002,1003,1004,1005, 0.125/300/pq 1.125/301/rs colour=2000000000 last=16909060";

// Rows have 112 bytes, behind 8: rows 36 and 72 lie on two pages each.
constexpr const char* kRows[] = {"0", "1", "35", "36", "37", "72", "100"};
constexpr const char* kBytes = "12288";
constexpr int kWholeKey = 0x64ff;  // unit = "segment"

class TypedMemory : public SharedClusters<Pair> {
 protected:
  void SetUp() override {
    if (!am_root()) GTEST_SKIP() << "needs root: a lab has namespaces";
    for (const Machine& machine : {GetParam().vax, GetParam().sun}) {
      if (const std::string missing = missing_build(machine.arch); !missing.empty()) GTEST_SKIP() << missing;
    }
    // Declarations are vax's alone; but for moon, which has one of its own.
    const auto host = [](const char* name, const Machine& machine) {
      return "[[host]]\nname = \"" + std::string(name) + "\"\narch = \"" + machine.arch + "\"\nmemory = { pager = \"" +
             machine.pager + "\" }\nlogins = { alice = 1001 }\n";
    };
    std::string types;
    for (const char* line : kTypes) types += std::string("'") + line + "',";
    use("memory-" + GetParam().name, "vax",
        host("vax", GetParam().vax) + "types = [" + types + "]\n" + host("sun", GetParam().sun) + host("moon", kMoon) +
            "types = ['struct other { unsigned count; };', 'bind shm 0x6503 to other;']\n" +
            "[[keys]]\nrange = \"0x64ff\"\nhome = \"vax\"\nunit = \"segment\"\n"
            "[[keys]]\nrange = \"all\"\nhome = \"vax\"\n");
  }

  static const Machine& machine(const std::string& host) {
    return host == "vax" ? GetParam().vax : host == "sun" ? GetParam().sun : kMoon;
  }
  static bool is_big(const std::string& host) { return machine(host).arch == "m68k" || machine(host).arch == "s390x"; }
  // Of those here, all that place structs otherwise have longs of another size.
  static bool has_small_longs(const std::string& host) { return architecture(machine(host).arch).long_bytes == 4; }

  std::unique_ptr<Program> program(const std::string& host) {
    const std::string path = "tests/cluster/typed_memory";
    return cluster_->start(host, "alice", {program_of(machine(host).arch, path)});
  }
  // Its id there.
  static std::string get(Program& one, int key, const std::string& bytes = kBytes) {
    return ask(one, "get " + std::to_string(key) + " " + bytes + " " + std::to_string(kIpcDipc | IPC_CREAT | 0600));
  }
  std::unique_ptr<Program> attached(const std::string& host, int key, int flags = 0) {
    auto one = program(host);
    EXPECT_EQ(ask(*one, "attach " + get(*one, key) + " " + std::to_string(flags)), "0") << host;
    return one;
  }
  // Of declared tables.
  static int key() {
    static int next = 0x6400;
    return ++next;
  }
  std::string objects_row(const std::string& text) {
    const Cluster::Ran ran = cluster_->run("sun", "root", {"dipcctl", "objects"}, kLimit);
    std::istringstream lines(ran.output);
    for (std::string line; std::getline(lines, line);) {
      if (line.find(text) != std::string::npos) return line;
    }
    return "";
  }

  static inline const Machine kMoon = {"native", "userfaultfd"};
};

TEST_P(TypedMemory, EveryScalarKindIsTheSameOnAllHostsWhoeverWritesIt) {
  const int name = key();
  std::map<std::string, std::unique_ptr<Program>> programs;
  for (const char* host : {"vax", "sun", "moon"}) programs[host] = attached(host, name);
  for (const auto& [writer, writing] : programs) {
    for (const auto& [set, values] : {std::pair("least", kLeast), std::pair("most", kMost)}) {
      for (const char* row : kRows) ASSERT_EQ(ask(*writing, std::string("put ") + row + " " + set), "0");
      for (const auto& [reader, reading] : programs) {
        for (const char* row : kRows) {
          EXPECT_EQ(ask(*reading, std::string("show ") + row), values)
              << row << " of " << writer << ", read on " << reader;
        }
      }
    }
  }
}

TEST_P(TypedMemory, APageLiesOnEachHostAsItsProgramsHaveIt) {
  const int name = key();
  const auto vax = attached("vax", name), sun = attached("sun", name), moon = attached("moon", name);
  ASSERT_EQ(ask(*sun, "put 0 most"), "0");
  // `last`, 0x01020304, is the last of row 0.
  for (const auto& [host, program] : {std::pair("vax", vax.get()), {"sun", sun.get()}, {"moon", moon.get()}}) {
    EXPECT_EQ(ask(*program, "peek 116"), is_big(host) ? "1" : "4") << host;
    EXPECT_EQ(ask(*program, "peek 119"), is_big(host) ? "4" : "1") << host;
  }
}

TEST_P(TypedMemory, ASegmentThatTravelsAsAWholeIsReadByWhoMayOnlyRead) {
  const auto vax = attached("vax", kWholeKey), sun = attached("sun", kWholeKey);
  std::vector<std::unique_ptr<Program>> readers;
  for (const char* host : {"vax", "sun", "moon"}) readers.push_back(attached(host, kWholeKey, SHM_RDONLY));
  for (const auto& [writer, set, values] : {std::tuple(sun.get(), "most", kMost), {vax.get(), "least", kLeast}}) {
    for (const char* row : kRows) ASSERT_EQ(ask(*writer, std::string("put ") + row + " " + set), "0");
    for (const auto& reader : readers) {
      for (const char* row : kRows) EXPECT_EQ(ask(*reader, std::string("show ") + row), values) << row;
    }
  }
}

TEST_P(TypedMemory, ANumberThatAllHostsAddToIsRight) {
  const int name = key();
  const std::string flags = std::to_string(kIpcDipc | IPC_CREAT | 0600);
  std::vector<std::unique_ptr<Program>> programs;
  std::vector<std::string> sets;
  for (const char* host : {"vax", "sun", "moon"}) {
    programs.push_back(attached(host, name));
    sets.push_back(ask(*programs.back(), "semget " + std::to_string(name) + " " + flags));
  }
  ASSERT_EQ(ask(*programs[0], "semop " + sets[0] + " 1"), "0");
  for (std::size_t i = 0; i < programs.size(); ++i) programs[i]->write_line("add " + sets[i] + " 100");
  for (const auto& program : programs) EXPECT_EQ(program->read_line(kLimit).value_or("(silent)"), "0");
  for (const auto& program : programs) EXPECT_EQ(ask(*program, "count"), "300");
}

TEST_P(TypedMemory, AStructThatMachinesHaveOtherwiseIsRefusedAndItsFirstFieldNamed) {
  const auto vax = attached("vax", 0x6500);
  const auto other = attached("vax", 0x6501);
  for (const char* host : {"sun", "moon"}) {
    const auto program = this->program(host);
    if (has_small_longs(host) == has_small_longs("vax")) {
      EXPECT_EQ(ask(*program, "attach " + get(*program, 0x6501)), "0");
      EXPECT_EQ(ask(*program, "attach " + get(*program, 0x6500)), "0");
      ASSERT_EQ(ask(*vax, "longs most"), "0");
      EXPECT_EQ(ask(*program, "show-longs"), ask(*vax, "show-longs")) << "machines that place it alike share it";
      continue;
    }
    const std::string there = has_small_longs("vax") ? "4 on vax" : "8 on vax";
    const std::string here = has_small_longs(host) ? "4 on " : "8 on ";
    const std::string long_bytes = has_small_longs(host) ? "4 bytes on " : "8 bytes on ";
    EXPECT_EQ(ask(*program, "attach " + get(*program, 0x6500)), "-1 EINVAL");
    EXPECT_EQ(ask(*program, "attach " + get(*program, 0x6501)), "-1 EINVAL");
    EXPECT_THAT(cluster_->log_of(host),
                AllOf(HasSubstr("shm 0x00006500 of vax: longs.l has " + long_bytes + "this program's machine"),
                      HasSubstr("shm 0x00006501 of vax: late.d is at byte " + here +
                                "this program's machine, at byte " + there + "; EINVAL")));
  }
}

TEST_P(TypedMemory, ANumberAcrossTwoPagesIsRefusedWhereItCantBeTurnedRound) {
  const auto vax = attached("vax", 0x6502);
  const auto sun = program("sun");
  const std::string id = get(*sun, 0x6502);
  if (is_big("sun") == is_big("vax")) {
    EXPECT_EQ(ask(*sun, "attach " + id), "0");
    return;
  }
  EXPECT_EQ(ask(*sun, "attach " + id), "-1 EINVAL");
  EXPECT_THAT(cluster_->log_of("sun"), HasSubstr("across.n[1023] lies across two pages (of 4096 bytes)"));
}

TEST_P(TypedMemory, AHostThatDeclaresSomethingElseIsRefusedAndToldWhere) {
  const auto vax = attached("vax", 0x6503), sun = attached("sun", 0x6503);
  const auto moon = program("moon");
  EXPECT_EQ(ask(*moon, "attach " + get(*moon, 0x6503)), "-1 EINVAL");
  EXPECT_THAT(cluster_->log_of("moon"),
              AllOf(HasSubstr("shm 0x00006503 of vax: it is declared otherwise here"), HasSubstr("'unsigned count'")));
}

TEST_P(TypedMemory, WhatIsNotDeclaredIsSharedAsBytesAndCountedWhereMachinesDiffer) {
  const int name = 0x6600;
  const auto vax = attached("vax", name), sun = attached("sun", name), again = attached("sun", name);
  for (const char* at : {"0", "1", "2", "3"}) ASSERT_EQ(ask(*sun, std::string("poke ") + at + " 7" + at), "0");
  for (const char* at : {"0", "1", "2", "3"}) EXPECT_EQ(ask(*vax, std::string("peek ") + at), std::string("7") + at);
  const std::string row = objects_row("note: shm 0x00006600 of vax");
  if (machine("sun").arch != machine("vax").arch) {
    EXPECT_THAT(row, HasSubstr(": 2 shmat by programs of unlike machines"));
    EXPECT_THAT(cluster_->log_of("vax"), HasSubstr("is shared without a declaration"));
  } else {
    EXPECT_EQ(row, "");
    EXPECT_THAT(cluster_->log_of("vax"), Not(HasSubstr("is shared without a declaration")));
  }
}

constexpr const char* kUserfaultfd = "userfaultfd";
constexpr const char* kSigsegv = "sigsegv";

INSTANTIATE_TEST_SUITE_P(Pairs, TypedMemory,
                         testing::Values(Pair{"native", {"native", kUserfaultfd}, {"native", kSigsegv}},
                                         Pair{"i386_caller", {"native", kUserfaultfd}, {"i386", kUserfaultfd}},
                                         Pair{"i386_owner", {"i386", kSigsegv}, {"native", kUserfaultfd}},
                                         Pair{"s390x_caller", {"native", kUserfaultfd}, {"s390x", kSigsegv}},
                                         Pair{"s390x_owner", {"s390x", kSigsegv}, {"native", kUserfaultfd}},
                                         Pair{"i386_to_m68k", {"m68k", kSigsegv}, {"i386", kSigsegv}},
                                         Pair{"m68k_to_i386", {"i386", kUserfaultfd}, {"m68k", kSigsegv}},
                                         Pair{"i386_to_s390x", {"s390x", kSigsegv}, {"i386", kUserfaultfd}},
                                         Pair{"s390x_to_i386", {"i386", kUserfaultfd}, {"s390x", kSigsegv}},
                                         Pair{"m68k_to_s390x", {"s390x", kSigsegv}, {"m68k", kSigsegv}},
                                         Pair{"s390x_to_m68k", {"m68k", kSigsegv}, {"s390x", kSigsegv}},
                                         Pair{"m68k_caller", {"native", kUserfaultfd}, {"m68k", kSigsegv}},
                                         Pair{"m68k_caller_of_sigsegv", {"native", kSigsegv}, {"m68k", kSigsegv}},
                                         Pair{"m68k_owner", {"m68k", kSigsegv}, {"native", kUserfaultfd}},
                                         Pair{"m68k_owner_sigsegv", {"m68k", kSigsegv}, {"native", kSigsegv}}),
                         [](const auto& one) { return one.param.name; });

}  // namespace
}  // namespace dipc::test
