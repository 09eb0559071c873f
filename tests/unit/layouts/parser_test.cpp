#include "layouts/parser.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/layouts/random_layout.h"
#include "tests/unit/layouts/refusals.h"

namespace dipc::layout_test {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

const Field& field(const TypeSet& types, std::string_view structure, std::size_t index) {
  return types.structs[*types.find(structure)].fields[index];
}

TEST(TypesParser, ReadsAStructAsCWritesIt) {
  const TypeSet types = parsed(R"(
    /* what a client asks */
    enum { NAME_LENGTH = 16 };
    enum color { red, green = 5, blue };
    typedef unsigned int flags_t;
    struct point { int x, y; };
    struct request {
      long mtype;
      const flags_t flags;          // of the client
      enum color color;
      struct point corners[4];
      char name[NAME_LENGTH];
      struct { short a; short b; } inner;
      double matrix[3][2];
      uint16_t count;
      struct point more[count];
    } __attribute__((packed));
  )");
  const std::size_t request = *types.find("struct request");
  const StructDeclaration& declared = types.structs[request];
  EXPECT_EQ(declared.place, "test.types:7:12");
  EXPECT_TRUE(declared.packed);
  EXPECT_TRUE(types.mtype_of(request).has_value());
  ASSERT_EQ(declared.fields.size(), 9U);
  EXPECT_EQ(field(types, "request", 1).type.text, "unsigned int");
  EXPECT_EQ(field(types, "request", 2).type.scalar, (Scalar{ScalarKind::kInt, false}));
  EXPECT_EQ(field(types, "request", 4).dimensions, std::vector<std::uint32_t>{16});
  EXPECT_EQ(types.structs[field(types, "request", 5).type.structure].name, "request.inner");
  EXPECT_EQ(field(types, "request", 6).elements(), 6U);
  EXPECT_EQ(field(types, "request", 8).extent, Field::Extent::kCounted);
  EXPECT_EQ(field(types, "request", 8).counter, std::vector<std::size_t>{7});
}

TEST(TypesParser, TakesTheWordsOfCIntegersInAnyOrder) {
  for (const char* text : {"unsigned long int", "long unsigned", "int long unsigned", "unsigned long"}) {
    const TypeSet types = parsed(std::string("struct s { ") + text + " x; };");
    EXPECT_EQ(field(types, "s", 0).type.scalar, (Scalar{ScalarKind::kLong, false})) << text;
  }
  const TypeSet types = parsed("struct s { long long int x; signed char c; short unsigned u; };");
  EXPECT_EQ(field(types, "s", 0).type.scalar, (Scalar{ScalarKind::kLongLong, true}));
  EXPECT_EQ(field(types, "s", 1).type.scalar.kind, ScalarKind::kByte);
  EXPECT_EQ(field(types, "s", 2).type.scalar, (Scalar{ScalarKind::kShort, false}));
}

TEST(TypesParser, PidsAndLoginsMayHaveAnotherInteger) {
  const TypeSet types =
      parsed("typedef unsigned short small; struct s { pid long mtype; pid a; uid small b; gid c; pid d[2]; };");
  EXPECT_EQ(field(types, "s", 0).type.scalar, (Scalar{ScalarKind::kLong, true, Meaning::kPid}));
  EXPECT_EQ(field(types, "s", 1).type.scalar, (Scalar{ScalarKind::kInt, true, Meaning::kPid}));
  EXPECT_EQ(field(types, "s", 2).type.scalar, (Scalar{ScalarKind::kShort, false, Meaning::kUid}));
  EXPECT_EQ(field(types, "s", 3).type.scalar, (Scalar{ScalarKind::kInt, false, Meaning::kGid}));
  EXPECT_EQ(types.mtype_of(0)->meaning, Meaning::kPid);
}

TEST(TypesParser, ATypedefGivesANameToAStructWithoutOne) {
  const TypeSet types = parsed("typedef struct { int x; } point; struct line { point from, to; };");
  EXPECT_EQ(field(types, "line", 1).type.text, "struct point");
}

TEST(TypesParser, EnumsTakeTheirTypeOrTheSmallestIfPacked) {
  const TypeSet types = parsed(
      "enum a : uint8_t { A = 255 }; enum b { B = 300 } packed; enum c { C = -1 }; struct s { enum a a; enum b b; enum "
      "c c; };");
  EXPECT_EQ(field(types, "s", 0).type.scalar.kind, ScalarKind::kByte);
  EXPECT_EQ(field(types, "s", 1).type.scalar.kind, ScalarKind::kShort);
  EXPECT_EQ(field(types, "s", 2).type.scalar, (Scalar{ScalarKind::kInt, true}));
}

TEST(TypesParser, ACounterMayLieInAnEarlierStruct) {
  const TypeSet types =
      parsed("struct h { int a; size_t count; }; struct s { struct h head; int values[head.count]; };");
  EXPECT_EQ(field(types, "s", 1).counter, (std::vector<std::size_t>{0, 1}));
  EXPECT_EQ(field(types, "s", 1).counter_text, "head.count");
}

TEST(TypesParser, BindingsChooseByKeyAndMessageType) {
  const TypeSet types = parsed(R"(
    struct request { long mtype; int x; };
    struct reply { long mtype; double y; };
    struct note { long mtype; char text[]; };
    struct table { int cells[64]; };
    bind msg 0x1000-0x1fff, 0x4711 to { 1: struct request; 2-9: reply; default: note; };
    bind msg all to { 1: request; };
    bind msg private to note;
    bind shm 0xfffffffe to table;
  )");
  const auto chosen = [&types](std::int32_t key, std::int64_t mtype) -> std::string {
    const Binding* binding = types.binding_for(Kind::kMessageQueue, key);
    if (binding == nullptr) return "no binding";
    const auto structure = binding->structure_for(mtype);
    return structure ? types.structs[*structure].name : "nothing";
  };
  EXPECT_EQ(chosen(0x1000, 1), "request");
  EXPECT_EQ(chosen(0x1fff, 2), "reply");
  EXPECT_EQ(chosen(0x4711, 9), "reply");
  EXPECT_EQ(chosen(0x1234, 10), "note");
  EXPECT_EQ(chosen(0x2000, 1), "request");
  EXPECT_EQ(chosen(0x2000, 2), "nothing");
  EXPECT_EQ(chosen(0, 2), "note");
  ASSERT_NE(types.binding_for(Kind::kSegment, -2), nullptr);
  EXPECT_EQ(types.structs[*types.binding_for(Kind::kSegment, -2)->structure_for(0)].name, "table");
  EXPECT_EQ(types.binding_for(Kind::kSegment, 0x1000), nullptr);
}

TEST(TypesParser, LaterFilesKnowTheNamesOfEarlierOnes) {
  const TypeFile files[] = {{"a.types", "struct point { int x; };"},
                            {"b.types", "struct line { struct point a, b; };"}};
  const auto types = parse_types(files);
  ASSERT_TRUE(types.has_value());
  EXPECT_EQ(types->structs.size(), 2U);
}

struct Wrong {
  const char* text;
  const char* what;    // begins with place
  const char* remedy;  // part of it
};

TEST(TypesParser, SaysWhereWhatIsWrongAndWhatToDo) {
  const Wrong wrongs[] = {
      {"struct s {\n  char *name;\n};", "a.types:2:8: 'name' is a pointer", "an open one at the end"},
      {"struct s { int (*call)(int); };", "a.types:1:16: 'call' is a pointer", "send what it points to"},
      {"struct s { union { int a; } u; };", "a.types:1:12: 'union': a union can't be converted", "choose by mtype"},
      {"union u { int a; };", "a.types:1:1: a union", "choose by mtype"},
      {"struct s { int bits : 3; };", "a.types:1:21: bits is a bit-field", "masks"},
      {"struct s { long double x; };", "a.types:1:12: a long double", "use double"},
      {"struct s { pid_t p; };", "a.types:1:12: 'pid_t': a process id", "write pid"},
      {"struct s { strange x; };", "a.types:1:12: 'strange' is no type", "declare it above"},
      {"struct s { struct t x; };", "a.types:1:19: struct t is not declared", "declare it above"},
      {"struct t { int a; }; struct s { t x; };", "a.types:1:33: 't' is a struct", "write struct t"},
      {"struct s { };", "a.types:1:10: a struct without fields", "write a field"},
      {"struct s { char text[]; };", "a.types:1:10: C wants a field before", "before it"},
      {"struct s { int n; char text[]; int after; };", "a.types:1:36: 'after' comes after an open array", "last field"},
      {"struct t { int n; int a[]; }; struct s { struct t x; };", "a.types:1:42: struct t ends in an open array",
       "here"},
      {"struct s { int a; int a; };", "a.types:1:23: the struct has two fields called 'a'", "rename"},
      {"struct s { int a[0]; };", "a.types:1:17: an array can't have 0 elements", "write a length"},
      {"struct s { int a[n]; };", "a.types:1:18: 'n' is neither a constant nor an earlier field", "declare it above"},
      {"struct s { float n; int a[n]; };", "a.types:1:27: 'n' can't count", "one integer"},
      {"struct s { int n; int a[n.x]; };", "a.types:1:25: 'n' is not one struct", "header.count"},
      {"struct s { int a[2][]; };", "a.types:1:21: only the first length", "write a length"},
      {"struct s { int a aligned(3); };", "a.types:1:25: an alignment of 3", "power of two"},
      {"struct s { int a __attribute__((weird)); };", "a.types:1:33: 'weird' is no attribute", "packed or aligned"},
      {"struct s { int a }", "a.types:1:17: expected ';' after the field, found '}'", "write ';'"},
      {"struct s { int a; ", "a.types:1:18: expected '}' after the last field, found the end", "write '};'"},
      {"struct s { int a; }\nstruct t { int a; };", "a.types:1:20: expected ';' after the struct, found 'struct'",
       "';'"},
      {"#define N 4\n", "a.types:1:1: '#define N 4': there is no preprocessor", "enum"},
      {"/* never", "a.types:1:1: '/* never': this comment", "*/"},
      {"struct s { int a[010]; };", "a.types:1:18: '010': a number that begins with 0", "decimal"},
      {"struct s { int a\x01; };", "a.types:1:17: '\\x01': this character", "declare as C"},
      {"struct s { int a[2000000000]; };", "a.types:1:17: an array can't have 2000000000", "a length from 1"},
      {"struct s { int a[500000000]; };", "a.types:1:16: 'a' has more than 1 GiB", "shorter"},
      {"enum e { A = 5000000000 };", "a.types:1:10: 'A' is 5000000000, which no int holds", ": int64_t"},
      {"enum e : int { B = 3000000000 };", "a.types:1:16: 'B' is 3000000000, which no int holds", ": int64_t"},
      {"enum e { A }; enum e { B };", "a.types:1:20: enum e is declared twice, first at a.types:1:6", "another name"},
      {"enum a { A }; typedef enum a b; enum c : b { C };", "a.types:1:42: enum a can't hold", "uint8_t"},
      {"typedef enum { A } b; enum a { B }; typedef enum a c; struct s { pid c x; };",
       "a.types:1:70: 'pid' can't be held by enum a", "16 bits"},
      {"struct s { pid pid x; };", "a.types:1:19: expected ';'", "';'"},
      {"enum e { A }; enum f { A };", "a.types:1:24: 'A' is declared twice, first at a.types:1:10", "rename"},
      {"struct s { int a; }; struct s { int b; };", "a.types:1:29: struct s is declared twice, first at a.types:1:8",
       "name"},
      {"typedef int v[3];", "a.types:1:14: a typedef of an array", "where the array"},
      {"struct m { long n; char t[n]; }; bind msg 1 to m;", "a.types:1:48: struct m is no message: n is its mtype",
       "another field"},
      {"struct h { long n; }; struct m { struct h h; char t[h.n]; }; bind msg 1 to m;",
       "a.types:1:76: struct m is no message: h.n is its mtype", "another field"},
      {"struct s { long a; }; bind msg 1 to { };", "a.types:1:37: these keys are bound to nothing", "bind msg"},
      {"struct s { long a; }; bind msg 9 to { 5: s; 1-5: s; };", "a.types:1:45: message type 5 is bound twice",
       "ranges"},
      {"struct s { int a; }; bind msg 1 to s;", "a.types:1:36: struct s is no message", "long mtype"},
      {"struct s { long a; }; bind msg 0 to s;", "a.types:1:32: key 0 is IPC_PRIVATE", "write private"},
      {"struct s { long a; }; bind msg 9-5 to s;", "a.types:1:32: this range ends before", "smaller"},
      {"struct s { long a; }; bind sem 9 to s;", "a.types:1:28: semaphores need no layout", "leave"},
      {"struct s { long a; }; bind msg 9 to { 0: s; };", "a.types:1:39: a message's type is at least 1", "1:"},
      {"struct s { long a; }; bind msg 9 to { 1-5: s; 5: s; };", "a.types:1:47: message type 5 is bound twice",
       "ranges"},
      {"struct s { pid long a; }; bind msg 9 to { 1: s; };", "a.types:1:46: a message type that is a pid", "default"},
      {"struct s { long a; }; bind msg 1-9 to s; bind msg 5 to s;",
       "a.types:1:51: these keys are bound already, at a.types:1:32", "ranges"},
      {"hello", "a.types:1:1: expected a declaration, found 'hello'", "struct, enum"},
  };
  for (const Wrong& wrong : wrongs) {
    const Trouble found = trouble_of(wrong.text);
    EXPECT_THAT(found.what, StartsWith(wrong.what)) << wrong.text;
    EXPECT_THAT(found.remedy, HasSubstr(wrong.remedy)) << wrong.text;
  }
}

TEST(TypesParser, FindsAllMistakesInOneGo) {
  const Troubles all =
      troubles("struct s {\n  char *a;\n  strange b;\n  int c;\n};\nstruct t { union u; };\nstruct v { struct s x; };");
  ASSERT_EQ(all.size(), 3U);
  EXPECT_THAT(all[0].what, StartsWith("a.types:2:"));
  EXPECT_THAT(all[1].what, StartsWith("a.types:3:"));
  EXPECT_THAT(all[2].what, StartsWith("a.types:6:"));
}

TEST(TypesParser, BoundsWhatHostileTextCanCost) {
  std::string doubling = "struct s0 { int a, b; };";
  for (int i = 1; i < 40; ++i) {
    const std::string inner = "struct s" + std::to_string(i - 1);
    doubling += "struct s" + std::to_string(i) + " { " + inner + " a, b; };";
  }
  EXPECT_THAT(troubles(doubling).front().what, HasSubstr("more than 65536 numbers"));
  std::string deep;
  for (int i = 0; i < 100'000; ++i) deep += "struct {";
  EXPECT_THAT(troubles("struct s {" + deep).front().what, HasSubstr("nested more than 32 deep"));
  std::string chain = "struct s0 { int a; };";
  for (int i = 1; i < 40; ++i) {
    const std::string inner = "struct s" + std::to_string(i - 1);
    chain += "struct s" + std::to_string(i) + " { " + inner + " a; };";
  }
  EXPECT_THAT(troubles(chain).front().what, HasSubstr("nested more than 32 deep"));
  EXPECT_LE(troubles(std::string(5000, '#')).size(), 20U);
  EXPECT_THAT(troubles(std::string((1U << 20U) + 1, ' ')).front().what,
              HasSubstr(":1:1: this file has more than 1 MiB"));
}

// A second is more than any of these may take, and a stack or a memory without bound would end the test.
TEST(TypesParser, TextThatNestsOrListsMuchCostsLittle) {
  const auto repeated = [](std::size_t times, const auto& one) {
    std::string text;
    for (std::size_t i = 1; i <= times; ++i) text += one(std::to_string(i));
    return text;
  };
  const auto same = [&repeated](std::size_t times, const std::string& text) {
    return repeated(times, [&text](const std::string&) { return text; });
  };
  constexpr std::size_t kDeep = 30'000;
  EXPECT_THAT(troubles(same(kDeep, "}") + ";" + same(kDeep, "struct{"))[1].what, HasSubstr("nested more than 32"));
  EXPECT_THAT(troubles(same(kDeep, "enum:")).front().what, HasSubstr("'enum' is no type"));
  EXPECT_EQ(troubles("typedef void *x;\n" + same(5 * kDeep, "typedef x\n")).size(), 1U);
  constexpr std::size_t kMany = 3'000;
  EXPECT_THAT(troubles(same(kMany, "struct a { int x __attribute__((}")).size(), testing::Le(20U));
  const std::string keys = repeated(kMany, [](const std::string& i) { return i + "0,"; });
  const std::string cases = repeated(kMany, [](const std::string& i) { return i + ":s;"; });
  const TypeSet bound = parsed("struct s { long mtype; }; bind msg " + keys + "5 to {" + cases + "};");
  ASSERT_EQ(bound.bindings.size(), 1U);
  EXPECT_EQ(bound.bindings[0].keys.size(), kMany + 1);
  EXPECT_EQ(bound.bindings[0].structure_for(kMany), 0U);
  EXPECT_EQ(bound.bindings[0].structure_for(kMany + 1), std::nullopt);
  const TypeSet wide =
      parsed("struct s {" + repeated(kMany, [](const std::string& i) { return "int a" + i + ";"; }) + "};");
  EXPECT_EQ(wide.structs[0].fields.size(), kMany);
}

TEST(TypesParser, AFieldsNameOrTheTypeOfAPid) {
  const TypeSet types = parsed(
      "typedef int kind; struct s { pid pid packed; uid uid aligned(8), gid __attribute__((packed)); pid kind; };"
      "struct t { pid kind packed; }; struct u { pid kind kind; pid size_t packed; pid int aligned; };");
  const Field& pid = field(types, "s", 0);
  EXPECT_EQ(pid.name, "pid");
  EXPECT_EQ(pid.type.text, "pid");
  EXPECT_TRUE(pid.packed);
  EXPECT_EQ(field(types, "s", 1).name, "uid");
  EXPECT_EQ(field(types, "s", 1).aligned, 8U);
  EXPECT_EQ(field(types, "s", 2).name, "gid");
  EXPECT_EQ(field(types, "s", 3).name, "kind");
  EXPECT_EQ(field(types, "t", 0).name, "kind");
  EXPECT_TRUE(field(types, "t", 0).packed);
  EXPECT_EQ(field(types, "u", 0).type.text, "pid int");
  EXPECT_EQ(field(types, "u", 1).name, "packed");
  EXPECT_EQ(field(types, "u", 2).name, "aligned");
}

TEST(TypesParser, AMessagesTypeMayLieInANestedStruct) {
  const TypeSet types = parsed(
      "struct head { long mtype; int x; }; struct m { struct head head; char text[]; }; struct p { pid long mtype; };"
      "bind msg 1 to { 5: m; }; bind msg 2 to p;");
  EXPECT_TRUE(types.mtype_of(*types.find("m")).has_value());
  EXPECT_EQ(types.mtype_of(*types.find("p"))->meaning, Meaning::kPid);
  const TypeSet others = parsed(
      "struct longs { long mtype[2]; }; struct many { struct longs l[1]; }; struct u { unsigned long mtype; };"
      "struct id { uid long mtype; }; struct other { int n; };");
  for (std::size_t i = 0; i < others.structs.size(); ++i) EXPECT_FALSE(others.mtype_of(i).has_value()) << i;
}

TEST(TypesParser, NoStructIsLargerThan1GibOnAnyMachine) {
  EXPECT_THAT(trouble_of("struct s { pid x[268435456]; };").what, HasSubstr("'x' has more than 1 GiB"));
  EXPECT_THAT(trouble_of("struct s { int n; pid short t[][536870912]; };").what, HasSubstr("'t' has more than 1 GiB"));
  EXPECT_TRUE(troubles("struct s { pid x[100000000]; };").empty());
}

}  // namespace
}  // namespace dipc::layout_test
