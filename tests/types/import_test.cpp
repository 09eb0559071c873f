// `dipcctl types import`: programs compiled for every machine give one declaration, and what can't be converted is
// refused by its name.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/ctl/types_import.h"
#include "layouts/parser.h"
#include "layouts/shape.h"
#include "tests/types/compilers.h"
#include "tests/unit/layouts/random_layout.h"

namespace dipc::types_test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr const char* kPrelude = R"(
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
typedef long time_t;
typedef int pid_t;
typedef unsigned uid_t;
typedef unsigned gid_t;
typedef __PTRDIFF_TYPE__ ssize_t;
)";

constexpr const char* kEverything = R"(
typedef unsigned int flags_t;
enum color { RED, GREEN = 5, BLUE };
enum sign { MINUS = -1, PLUS = 1 };
enum small { LITTLE } __attribute__((packed));
typedef struct { short a; long b; } pair_t;
struct tight { char c; short s; int i; long long w; } __attribute__((packed));
struct wide { char c; int i __attribute__((aligned(16))); double d; } __attribute__((aligned(32)));
struct loose { char c; int i __attribute__((packed)); char d; short s; char e; short t; };
struct request {
  long mtype; pid_t client; uid_t user; gid_t group; time_t sent; size_t n; ssize_t m;
  enum color color; enum sign sign; enum small small; enum { ONE, TWO } nameless;
  const flags_t flags; volatile char name[16];
  signed char sc; unsigned char uc; short s; unsigned short us; unsigned u; unsigned long ul; long long ll;
  unsigned long long ull; int8_t i8; uint8_t u8; int16_t i16; uint16_t u16; int32_t i32; uint32_t u32; int64_t i64;
  uint64_t u64; bool b; float f; double d; int grid[3][4]; pair_t pairs[2]; struct tight tight; struct wide wide;
  struct loose loose; struct { int x; char y; } inner; char text[];
};
struct request *use(struct request *r) { return r; }
)";

constexpr const char* kDeclared = R"(enum color {
  RED = 0,
  GREEN = 5,
  BLUE = 6,
};
enum sign {
  MINUS = -1,
  PLUS = 1,
};
enum small : uint8_t {
  LITTLE = 0,
};
struct pair_t {
  short a;
  long b;
};
struct tight {
  char c;
  short s;
  int i;
  long long w;
} packed;
struct wide {
  char c;
  int i aligned(16);
  double d;
} aligned(32);
struct loose {
  char c;
  int i packed;
  char d;
  short s;
  char e;
  short t;
};
struct request {
  long mtype;
  pid client;
  uid user;
  gid group;
  time_t sent;
  size_t n;
  ssize_t m;
  enum color color;
  enum sign sign;
  enum small small;
  int nameless;
  unsigned int flags;
  char name[16];
  signed char sc;
  unsigned char uc;
  short s;
  unsigned short us;
  unsigned int u;
  unsigned long ul;
  long long ll;
  unsigned long long ull;
  int8_t i8;
  uint8_t u8;
  int16_t i16;
  uint16_t u16;
  int32_t i32;
  uint32_t u32;
  int64_t i64;
  uint64_t u64;
  bool b;
  float f;
  double d;
  int grid[3][4];
  struct pair_t pairs[2];
  struct tight tight;
  struct wide wide aligned(32);
  struct loose loose;
  struct {
    int x;
    char y;
  } inner;
  char text[];
} aligned(32);
)";

std::filesystem::path compiled(const Folder& folder, const Compiler& compiler, const std::string& c,
                               const std::string& options = "-g -c") {
  const auto source = folder.write("program.c", kPrelude + c);
  const auto object = folder / "program.o";
  const Ran ran = run("timeout 60 " + compiler.command + " -w -ffreestanding " + options + " -o " + object.string() +
                      " " + source.string());
  EXPECT_EQ(ran.status, 0) << ran.output;
  return object;
}

std::vector<std::string> troubles_of(const std::string& c) {
  const Folder folder;
  const auto imported = import_type(compiled(folder, compilers().front(), c), "s");
  std::vector<std::string> found;
  if (!imported) {
    for (const Trouble& one : imported.error()) found.push_back(one.what);
  }
  return found;
}

TEST(TypesImport, ProgramsOfEveryMachineGiveTheSameDeclaration) {
  for (const Compiler& compiler : compilers()) {
    SCOPED_TRACE(compiler.machine);
    const Folder folder;
    const auto imported = import_type(compiled(folder, compiler, kEverything), "request");
    ASSERT_TRUE(imported.has_value()) << imported.error().front().what;
    EXPECT_EQ(imported->declaration, kDeclared);
    EXPECT_THAT(imported->notes, testing::Contains(HasSubstr("request.client is a pid_t")));
  }
}

TEST(TypesImport, OlderDebugInformationSaysTheSame) {
  for (const char* options : {"-gdwarf-4 -O2 -c", "-gdwarf-3 -c", "-g -fdebug-types-section -shared -nostdlib -fPIC"}) {
    const Folder folder;
    const auto imported = import_type(compiled(folder, compilers().front(), kEverything, options), "struct request");
    ASSERT_TRUE(imported.has_value()) << options << ": " << imported.error().front().what;
    EXPECT_THAT(imported->declaration, HasSubstr("struct pair_t pairs[2];")) << options;
  }
}

// Random structs: what is declared lies where the program has it, even where attributes had to be guessed.
TEST(TypesImport, DeclaresPlacesThatAreTheProgramsOwn) {
  sim::Random random(7);
  for (int i = 0; i < 8; ++i) {
    const auto layout = layout_test::random_layout(random, "s", true);
    const std::string c = "typedef int pid; typedef unsigned uid; typedef unsigned gid;\n" + layout.c +
                          "struct s *use(struct s *p) { return p; }\n";
    const TypeSet written = layout_test::parsed(layout.declaration);
    for (const Compiler& compiler : compilers()) {
      SCOPED_TRACE(compiler.machine + "\n" + layout.c);
      const Folder folder;
      const auto imported = import_type(compiled(folder, compiler, c), "s");
      ASSERT_TRUE(imported.has_value()) << imported.error().front().what;
      const TypeSet read = layout_test::parsed(imported->declaration);
      const Form form = *Form::native(*known_abi(compiler.machine));
      const Shapes expected(written, form);
      const Shapes found(read, form);
      const StructShape& a = expected[*written.find("s")];
      const StructShape& b = found[*read.find("s")];
      ASSERT_EQ(a.fields.size(), b.fields.size());
      for (std::size_t f = 0; f < a.fields.size(); ++f) EXPECT_EQ(a.fields[f].offset, b.fields[f].offset);
      EXPECT_EQ(a.size, b.size);
    }
  }
}

TEST(TypesImport, ATypedefNamesAStructWithoutATag) {
  const Folder folder;
  const auto object =
      compiled(folder, compilers().front(), "typedef struct { long mtype; int x; } message_t; message_t global;");
  const auto imported = import_type(object, "message_t");
  ASSERT_TRUE(imported.has_value()) << imported.error().front().what;
  EXPECT_EQ(imported->declaration, "struct message_t {\n  long mtype;\n  int x;\n};\n");
}

TEST(TypesImport, ATimeOf64BitsOnA32BitMachineIsSeenAndSaid) {
  const Folder folder;
  const auto source =
      folder.write("time.c", "typedef long long time_t; struct s { char c; time_t t; char d; }; struct s x;");
  const auto object = folder / "time.o";
  ASSERT_EQ(run("gcc -m32 -g -c -o " + object.string() + " " + source.string()).status, 0);
  const auto imported = import_type(object, "s");
  ASSERT_TRUE(imported.has_value()) << imported.error().front().what;
  EXPECT_EQ(imported->declaration, "struct s {\n  char c;\n  time_t t;\n  char d;\n};\n");
  EXPECT_THAT(imported->notes, ElementsAre(HasSubstr("s.t is a time_t of 64 bits")));
}

TEST(TypesImport, RefusesByNameWhatCantBeConverted) {
  const auto found = troubles_of(
      "struct inner { char *deep; }; struct s { int good; void *any; union { int a; } u; unsigned bits : 3; long "
      "double ld; "
      "struct inner in; int (*call)(int); __int128 big; uintptr_t address; _Complex double c; }; struct s x;");
  EXPECT_THAT(found, ElementsAre(HasSubstr("s.any is a pointer"), HasSubstr("s.u is a union"),
                                 HasSubstr("s.bits is a bit-field"), HasSubstr("s.ld is a long double"),
                                 HasSubstr("inner.deep is a pointer"), HasSubstr("s.call is a pointer"),
                                 HasSubstr("s.big is a __int128"), HasSubstr("s.address is a pointer"),
                                 HasSubstr("s.c is a complex double")));
}

TEST(TypesImport, SaysWhyThereIsNothingToRead) {
  const Folder folder;
  const auto without = compiled(folder, compilers().front(), "struct s { int x; } y;", "-c");
  EXPECT_THAT(import_type(without, "s").error().front().what, HasSubstr("has no debug information"));
  const auto with = compiled(folder, compilers().front(), "struct s { int x; } y;");
  EXPECT_THAT(import_type(with, "t").error().front().what, HasSubstr("no struct 't'"));
  EXPECT_THAT(import_type(folder.write("text", "not a program"), "s").error().front().what, HasSubstr("can't read"));
  EXPECT_THAT(import_type(folder / "absent", "s").error().front().what, HasSubstr("can't read"));
}

}  // namespace
}  // namespace dipc::types_test
