// `dipcctl types import`: programs compiled for every machine give one declaration, and what can't be converted is
// refused by its name.

#include <dwarf.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "arch/abi.h"
#include "daemon/ctl/debug_info.h"
#include "daemon/ctl/placement.h"
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

std::vector<std::string> troubles_of(const std::string& c) {
  const Folder folder;
  const auto imported = import_types(compiled(folder, compilers().front(), kPrelude + c), {"s"});
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
    const auto imported = import_types(compiled(folder, compiler, kPrelude + std::string(kEverything)), {"request"});
    ASSERT_TRUE(imported.has_value()) << imported.error().front().what;
    EXPECT_EQ(imported->declarations, kDeclared);
    EXPECT_THAT(imported->notes, testing::Contains(HasSubstr("request.client is a pid_t")));
  }
}

TEST(TypesImport, OlderDebugInformationSaysTheSame) {
  for (const char* options : {"-gdwarf-4 -O2 -c", "-gdwarf-3 -c", "-gdwarf-2 -gstrict-dwarf -c",
                              "-g -fdebug-types-section -shared -nostdlib -fPIC"}) {
    const Folder folder;
    const auto imported = import_types(
        compiled(folder, compilers().front(), kPrelude + std::string(kEverything), options), {"struct request"});
    ASSERT_TRUE(imported.has_value()) << options << ": " << imported.error().front().what;
    EXPECT_THAT(imported->declarations, HasSubstr("struct pair_t pairs[2];")) << options;
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
      const auto imported = import_types(compiled(folder, compiler, kPrelude + c), {"s"});
      ASSERT_TRUE(imported.has_value()) << imported.error().front().what;
      const TypeSet read = layout_test::parsed(imported->declarations);
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
  const auto imported = import_types(object, {"message_t"});
  ASSERT_TRUE(imported.has_value()) << imported.error().front().what;
  EXPECT_EQ(imported->declarations, "struct message_t {\n  long mtype;\n  int x;\n};\n");
}

TEST(TypesImport, TheNameThatWasAskedForCanBeBound) {
  const Folder folder;
  const auto object = compiled(folder, compilers().front(),
                               "struct order { long mtype; int x; }; typedef struct order order_t; order_t global;");
  const auto imported = import_types(object, {"order_t"});
  ASSERT_TRUE(imported.has_value()) << imported.error().front().what;
  EXPECT_EQ(imported->declarations, "struct order {\n  long mtype;\n  int x;\n};\ntypedef struct order order_t;\n");
  const TypeSet types = layout_test::parsed(imported->declarations + "bind msg 1 to order_t;");
  EXPECT_EQ(types.find("order_t"), types.find("order"));
  EXPECT_EQ(import_types(object, {"struct order"})->declarations, "struct order {\n  long mtype;\n  int x;\n};\n");
}

TEST(TypesImport, TwoImportsOfOneProgramCanStandInOneFile) {
  const Folder folder;
  const auto object =
      compiled(folder, compilers().front(),
               "enum color { RED }; struct point { short x; struct { int y; } in; enum color c; };"
               "struct a { long mtype; struct point at; } a; struct b { long mtype; struct point to[2]; } b;");
  const auto types = layout_test::parsed(import_types(object, {"a"})->declarations +
                                         import_types(object, {"b"})->declarations + "bind msg 5 to { 1: a; 2: b; };");
  EXPECT_EQ(types.structs[*types.find("a")].fields[1].type.structure,
            types.structs[*types.find("b")].fields[1].type.structure);
}

TEST(TypesImport, SeveralAtOnceDeclareWhatTheyShareOnce) {
  const Folder folder;
  const auto object = compiled(folder, compilers().front(),
                               "struct point { short x; }; struct a { long mtype; struct point at; } a;"
                               "typedef struct b { struct point to[2]; char text[1]; } b_t; b_t b;");
  const auto imported = import_types(object, {"a", "b_t"});
  ASSERT_TRUE(imported) << imported.error().front().what;
  EXPECT_EQ(imported->declarations,
            "struct point {\n  short x;\n};\nstruct a {\n  long mtype;\n  struct point at;\n};\n"
            "struct b {\n  struct point to[2];\n  char text[1];\n};\ntypedef struct b b_t;\n");
  EXPECT_THAT(imported->notes, testing::ElementsAre(HasSubstr("b.text has one element")));
  const auto unknown = import_types(object, {"a", "c", "d"});
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().size(), 2u);
}

// What dipcctl writes, comments and all, is a file of declarations.
TEST(TypesImport, WhatIsToBeKnownIsWrittenBesideTheDeclaration) {
  const Folder folder;
  const auto object = compiled(folder, compilers().front(),
                               std::string(kPrelude) + "struct s { long mtype; pid_t p; char mtext[1]; } x;");
  const Ran ran = run(DIPCCTL " types import --program " + object.string() + " --struct s 2>/dev/null");
  EXPECT_EQ(ran.status, 0);
  EXPECT_EQ(run(DIPCCTL " types import --program " + object.string() + " --struct '' 2>/dev/null").status, 2);
  EXPECT_EQ(
      ran.output,
      "// s.p is a pid_t: declared as pid, it is rewritten between hosts; write int to have it left as it is\n"
      "// s.mtext has one element: if the program sends more behind the struct, write [] or the field that counts "
      "them\n"
      "struct s {\n  long mtype;\n  pid p;\n  char mtext[1];\n};\n");
  EXPECT_EQ(layout_test::parsed(ran.output).structs.size(), 1U);
}

TEST(TypesImport, ATimeOf64BitsOnA32BitMachineIsSeenAndSaid) {
  const Folder folder;
  const auto source =
      folder.write("time.c", "typedef long long time_t; struct s { char c; time_t t; char d; }; struct s x;");
  const auto object = folder / "time.o";
  ASSERT_EQ(run("gcc -m32 -g -c -o " + object.string() + " " + source.string()).status, 0);
  const auto imported = import_types(object, {"s"});
  ASSERT_TRUE(imported.has_value()) << imported.error().front().what;
  EXPECT_EQ(imported->declarations, "struct s {\n  char c;\n  time_t t;\n  char d;\n};\n");
  EXPECT_THAT(imported->notes, testing::Contains(HasSubstr("s.t is a time_t of 64 bits")));
}

// What the struct `s` of a program is declared as, and what is said of it.
struct Import {
  std::string declaration, notes;
};
Import import_of(const std::string& c, const Compiler& compiler = compilers().front(),
                 const std::string& options = "-g -c") {
  const Folder folder;
  const auto imported = import_types(compiled(folder, compiler, c, options), {"s"});
  if (!imported) return {imported.error().front().what, {}};
  Import made{imported->declarations, {}};
  for (const std::string& note : imported->notes) made.notes += note + "\n";
  return made;
}

TEST(TypesImport, AProgramsOwnTypesOfKnownNamesAreWhatTheyAre) {
  EXPECT_EQ(import_of("typedef int bool; typedef unsigned short size_t; typedef enum { no, yes } int8_t;"
                      "typedef int time_t; typedef float uint32_t; typedef struct { int x; } pid_t;"
                      "struct s { long mtype; bool ready; size_t n; int8_t e; time_t t; uint32_t f; pid_t p; int z; };"
                      "struct s x;")
                .declaration,
            "struct pid_t {\n  int x;\n};\n"
            "struct s {\n  long mtype;\n  int ready;\n  unsigned short n;\n  int e;\n  int t;\n  float f;\n"
            "  struct pid_t p;\n  int z;\n};\n");
  const Import ids = import_of(
      "typedef unsigned short uid_t; typedef long pid_t; typedef char gid_t;"
      "struct s { uid_t u; pid_t p; gid_t g; }; struct s x;");
  EXPECT_EQ(ids.declaration, "struct s {\n  uid unsigned short u;\n  pid long p;\n  char g;\n};\n");
  EXPECT_THAT(ids.notes, HasSubstr("s.p is a pid_t: declared as pid long"));
  EXPECT_THAT(ids.notes, HasSubstr("write unsigned short to have it left as it is"));
}

TEST(TypesImport, ConstantsOfEnumsKeepTheirSign) {
  const std::string c =
      "enum e { A = 200, B = 40000, C = 3000000000u }; enum small { D = 200 } __attribute__((packed));"
      "enum half { E = 40000 } __attribute__((packed)); enum neg { F = -200, G = 200 } __attribute__((packed));"
      "enum wide { H = 0x123456789LL }; enum low { I = -0x123456789LL }; enum top { J = 0xffffffffffffffffULL };"
      "struct s { enum e e; enum small d; enum half h; enum neg n; enum wide w; enum low l; enum top t; }; struct s x;";
  for (const Compiler& compiler : compilers()) {
    SCOPED_TRACE(compiler.machine);
    const std::string text = import_of(c, compiler).declaration;
    EXPECT_THAT(text, HasSubstr("enum e {\n  A = 200,\n  B = 40000,\n  C = 3000000000,\n};"));
    EXPECT_THAT(text, HasSubstr("enum small : uint8_t {\n  D = 200,\n};"));
    EXPECT_THAT(text, HasSubstr("enum half : uint16_t {\n  E = 40000,\n};"));
    EXPECT_THAT(text, HasSubstr("enum neg : int16_t {\n  F = -200,\n  G = 200,\n};"));
    EXPECT_THAT(text, HasSubstr("enum wide : uint64_t {\n  H = 4886718345,\n};"));
    EXPECT_THAT(text, HasSubstr("enum low : int64_t {\n  I = -4886718345,\n};"));
    EXPECT_THAT(text, HasSubstr("  uint64_t t;\n")) << "its constant has no declaration";
  }
}

TEST(TypesImport, TypedefsOfTypedefsOfAStructAreThatStruct) {
  EXPECT_EQ(
      import_of("typedef struct { int x; } a_t; typedef a_t b_t; struct s { b_t b; a_t a; }; struct s x;").declaration,
      "struct a_t {\n  int x;\n};\nstruct s {\n  struct a_t b;\n  struct a_t a;\n};\n");
}

TEST(TypesImport, WhatThePackedPidOfAProgramIsDeclaredAsIsReadBack) {
  EXPECT_EQ(import_of("typedef int pid_t; struct s { char c; pid_t pid __attribute__((packed)); short after; };"
                      "struct s x;")
                .declaration,
            "struct s {\n  char c;\n  pid pid packed;\n  short after;\n};\n");
}

// Where the debug information has the fields of a struct.
SeenPlaces seen_places_of(const std::filesystem::path& program, const std::string& name) {
  const auto info = DebugInfo::open(program);
  SeenPlaces places;
  if (!info) return places;
  auto found = info->find_struct(name);
  if (!found) return places;
  places.size = number_of(found->die, DW_AT_byte_size).value_or(0);
  for_each_child(found->die, [&](Dwarf_Die& child) {
    if (dwarf_tag(&child) == DW_TAG_member) places.offsets.push_back(member_offset(child).value_or(0));
  });
  return places;
}

// What is declared from one machine's program is where those of all others have it, or nothing is declared.
TEST(TypesImport, APragmaPackIsDeclaredOnlyWhereItIsRightOnEveryMachine) {
  const std::string body[] = {
      "struct s { long mtype; char c; int x; } x;",
      "struct s { long mtype; char c; double d; int k[2]; char e[4]; } x;",
      "struct in { char c[4]; double d; char e; }; struct s { long mtype; char c; struct in in[2]; short t; } x;",
      "struct s { long mtype; int n; double d; char e; } x;",
      "struct in { long l; int i; }; struct s { char c; struct in in; char d; } x;",
  };
  int imported_somewhere = 0;
  for (const std::string& c : body) {
    for (const int n : {1, 2, 4, 8}) {
      const std::string text = "#pragma pack(" + std::to_string(n) + ")\n" + c;
      const Folder folder;
      const auto imported = import_types(compiled(folder, compilers().front(), text), {"s"});
      if (!imported) continue;
      ++imported_somewhere;
      const TypeSet types = layout_test::parsed(imported->declarations);
      for (const Compiler& compiler : compilers()) {
        SCOPED_TRACE(compiler.machine + "\n" + text + "\n" + imported->declarations);
        const auto there = seen_places_of(compiled(folder, compiler, text), "s");
        const Shapes shapes(types, *Form::native(*known_abi(compiler.machine)));
        const StructShape& found = shapes[*types.find("s")];
        ASSERT_EQ(there.offsets.size(), found.fields.size());
        for (std::size_t i = 0; i < there.offsets.size(); ++i) EXPECT_EQ(found.fields[i].offset, there.offsets[i]);
        EXPECT_EQ(found.size, there.size);
      }
    }
  }
  EXPECT_GE(imported_somewhere, 12);
}

TEST(TypesImport, APragmaPackOfTwoIsPackedAlignedTwo) {
  EXPECT_EQ(import_of("#pragma pack(2)\nstruct s { long mtype; char c; int x; } x;").declaration,
            "struct s {\n  long mtype packed aligned(2);\n  char c;\n  int x packed aligned(2);\n};\n");
}

TEST(TypesImport, APragmaPackOfFourIsRefusedByTheMembersName) {
  EXPECT_THAT(
      import_of("#pragma pack(4)\nstruct s { long mtype; char c; double d; int k[2]; char e[4]; } x;").declaration,
      HasSubstr("s.d is aligned to 4 and something in it is packed, by #pragma pack(4) or by attributes"));
  EXPECT_EQ(import_of("struct s { char c; double d __attribute__((packed, aligned(4))); } x;").declaration,
            "struct s {\n  char c;\n  double d aligned(4);\n} packed aligned(4);\n")
      << "the debug information says this one";
}

TEST(TypesImport, AMachineThatHidesPackingIsSaid) {
  for (const Compiler& compiler : compilers()) {
    SCOPED_TRACE(compiler.machine);
    const std::string notes = import_of("struct s { long mtype; int n; double d; char e; } x;", compiler).notes;
    const bool is_hidden = compiler.machine == "m68k" || compiler.machine == "i386";
    EXPECT_EQ(notes.find("s.d lies here as it would if packed") != std::string::npos, is_hidden) << notes;
  }
}

TEST(TypesImport, SplitDebugInformationIsReadOrItsFileNamed) {
  const Folder folder;
  const auto object =
      compiled(folder, compilers().front(), "struct s { long mtype; int n; } x;", "-g -gsplit-dwarf -c");
  const auto imported = import_types(object, {"s"});
  ASSERT_TRUE(imported.has_value()) << imported.error().front().what;
  EXPECT_EQ(imported->declarations, "struct s {\n  long mtype;\n  int n;\n};\n");
  ASSERT_TRUE(std::filesystem::remove(folder / "program.dwo"));
  const auto without = import_types(object, {"s"});
  ASSERT_FALSE(without.has_value());
  EXPECT_THAT(without.error().front().what, HasSubstr("program.dwo"));
}

TEST(TypesImport, AnArrayOfOneAtTheEndIsSaid) {
  EXPECT_THAT(import_of("struct s { long mtype; char mtext[1]; }; struct s x;").notes, HasSubstr("write []"));
  EXPECT_EQ(import_of("struct s { long mtype; char mtext[2]; }; struct s x;").notes, "");
}

// With the headers of each machine's C library; those of x86-64 do for i386 too.
TEST(TypesImport, NamesOfTheCLibraryAreTheSameOnEveryMachine) {
  const std::string c =
      "#include <stdbool.h>\n#include <stddef.h>\n#include <stdint.h>\n#include <sys/msg.h>\n#include <sys/types.h>\n"
      "#include <time.h>\n#include <wchar.h>\n"
      "struct s { long mtype; bool b; int8_t i8; uint16_t u16; int32_t i32; uint64_t u64; intmax_t im; uintmax_t um;"
      "int_fast8_t f8; int_fast16_t f16; uint_fast32_t f32; uint_fast64_t f64; int_least16_t l16; int_least64_t l64;"
      "size_t n; ssize_t sn; ptrdiff_t d; time_t t; off64_t o64; dev_t dev; ino64_t i; quad_t q; u_quad_t uq;"
      "u_int32_t ui; pid_t p; uid_t u; gid_t g; key_t k; mode_t m; clock_t cl; useconds_t us; id_t id; wchar_t w;"
      "register_t r; blkcnt64_t bc; }; struct s x;";
  constexpr std::string_view kSame =
      "struct s {\n  long mtype;\n  bool b;\n  int8_t i8;\n  uint16_t u16;\n  int32_t i32;\n  uint64_t u64;\n"
      "  int64_t im;\n  uint64_t um;\n  int8_t f8;\n  ssize_t f16;\n  size_t f32;\n  uint64_t f64;\n"
      "  int16_t l16;\n  int64_t l64;\n  size_t n;\n  ssize_t sn;\n  ptrdiff_t d;\n  time_t t;\n  int64_t o64;\n"
      "  uint64_t dev;\n  uint64_t i;\n  int64_t q;\n  uint64_t uq;\n  uint32_t ui;\n  pid p;\n  uid u;\n  gid g;\n"
      "  int k;\n  unsigned int m;\n  long cl;\n  unsigned int us;\n  unsigned int id;\n  int32_t w;\n"
      "  ssize_t r;\n  int64_t bc;\n};\n";
  const std::string here = "-fhosted -D_GNU_SOURCE -g -c -idirafter /usr/include";
  for (const Compiler& compiler : compilers()) {
    SCOPED_TRACE(compiler.machine);
    const Folder folder;
    std::string options = here;
    if (compiler.machine == "i386") {
      std::filesystem::create_directories(folder / "gnu");
      folder.write("gnu/stubs-32.h", "");  // a list of functions that do nothing, of a package that is not needed
      options += " -I" + (folder / "").string() + " -idirafter /usr/include/$(gcc -print-multiarch)";
    }
    const auto imported = import_types(compiled(folder, compiler, c, options), {"s"});
    ASSERT_TRUE(imported.has_value()) << imported.error().front().what;
    EXPECT_EQ(imported->declarations, kSame);
  }
}

TEST(TypesImport, NamesThatSayLessThanTheySeemAreNoted) {
  const Import made = import_of(
      "typedef unsigned long nlink_t; typedef long off_t; struct s { nlink_t n; off_t o; };"
      "struct s x;");
  EXPECT_EQ(made.declaration, "struct s {\n  unsigned long n;\n  long o;\n};\n");
  EXPECT_THAT(made.notes, HasSubstr("s.n is a nlink_t"));
  EXPECT_THAT(made.notes, HasSubstr("_FILE_OFFSET_BITS"));
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

TEST(TypesImport, WhatIsRefusedInAStructWithoutANameIsSaidWithItsPath) {
  EXPECT_THAT(
      troubles_of("struct s { struct { struct { char *deep; union { int a; } u; } in[2]; } out; struct { int *x; };"
                  "union { int *y; }; }; struct s x;"),
      ElementsAre(HasSubstr("program.o: s.out.in.deep is a pointer"), HasSubstr("program.o: s.out.in.u is a union"),
                  HasSubstr("program.o: s.(without a name).x is a pointer"),
                  HasSubstr("program.o: s has a member without a name"),
                  HasSubstr("program.o: s.(without a name) is a union")));
}

TEST(TypesImport, SaysWhyThereIsNothingToRead) {
  const Folder folder;
  const auto without = compiled(folder, compilers().front(), "struct s { int x; } y;", "-c");
  EXPECT_THAT(import_types(without, {"s"}).error().front().what, HasSubstr("has no debug information"));
  const auto with = compiled(folder, compilers().front(), "struct s { int x; } y;");
  EXPECT_THAT(import_types(with, {"t"}).error().front().what, HasSubstr("no struct 't'"));
  EXPECT_THAT(import_types(folder.write("text", "not a program"), {"s"}).error().front().what, HasSubstr("can't read"));
  EXPECT_THAT(import_types(folder / "", {"s"}).error().front().what, HasSubstr("it is a folder"));
  const auto others = compiled(folder, compilers().front(),
                               "enum e { A } e; typedef int *p; p q; struct s { struct { } in; int x; } y;"
                               "int f(void) { struct local { int x; } l = {1}; return l.x; }");
  const auto why = [&](const char* name) { return import_types(others, {name}).error().front().what; };
  EXPECT_THAT(why("e"), HasSubstr("is an enum"));
  EXPECT_THAT(why("p"), HasSubstr("is a typedef, and of no struct"));
  EXPECT_THAT(why("local"), HasSubstr("is inside a function"));
  EXPECT_THAT(why("s"), HasSubstr("s.in is a struct without members"));
  EXPECT_THAT(import_types(folder / "absent", {"s"}).error().front().what, HasSubstr("can't read"));
}

}  // namespace
}  // namespace dipc::types_test
