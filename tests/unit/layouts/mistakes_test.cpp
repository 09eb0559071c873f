// What people write who know C and not the declarations: told where they look for it, with what to write.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "layouts/tokens.h"
#include "tests/unit/layouts/random_layout.h"
#include "tests/unit/layouts/refusals.h"

namespace dipc::layout_test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

std::vector<std::string> whats(std::string_view text) {
  std::vector<std::string> all;
  for (const Trouble& one : troubles(text)) all.push_back(one.what);
  return all;
}

TEST(TypesMistakes, APointerIsOneWhateverItPointsTo) {
  constexpr const char* kRest = "' is a pointer, which can't be converted: it means nothing in another process";
  const auto of = [&](const std::string& place, const std::string& name) {
    return "a.types:" + place + ": '" + name + kRest;
  };
  EXPECT_EQ(trouble_of("struct s { void *p; };").what, of("1:17", "p"));
  EXPECT_EQ(trouble_of("struct b { int n; struct b *next; };").what, of("1:28", "next"));
  EXPECT_EQ(trouble_of("struct s { FILE *f; };").what, of("1:17", "f"));
  EXPECT_EQ(trouble_of("struct s { const struct unknown * const volatile f; };").what, of("1:33", "f"));
  EXPECT_EQ(trouble_of("struct s { unsigned long **f[3]; };").what, of("1:26", "f"));
  EXPECT_EQ(trouble_of("struct s { void (*done)(int); };").what, of("1:17", "done"));
  EXPECT_EQ(trouble_of("struct s { struct { int x; } *in; };").what, of("1:30", "in"));
  EXPECT_EQ(trouble_of("struct s { int x, *p; };").what, of("1:19", "p"));
  EXPECT_EQ(trouble_of("typedef void *handle_t;").what, of("1:14", "handle_t"));
  EXPECT_EQ(trouble_of("typedef struct node *list_t;").what, of("1:21", "list_t"));
  EXPECT_EQ(trouble_of("typedef int (*call_t)(int);").what, of("1:13", "call_t"));
  EXPECT_THAT(trouble_of("struct s { void nothing; };").what, HasSubstr("void is no type"));
}

TEST(TypesMistakes, WhatIsMissingIsMissedBehindTheWordBefore) {
  EXPECT_THAT(whats("struct s {\n  int a\n  strange b;\n}\nstruct t {\n  int a;\n\n\n"),
              ElementsAre("a.types:2:8: expected ';' after the field, found 'strange'",
                          StartsWith("a.types:3:3: 'strange'"), "a.types:4:2: expected ';' after '}', found 'struct'",
                          "a.types:6:9: expected '}' after the last field, found the end of the file"));
  // Behind it all is read on.
  EXPECT_THAT(whats("struct s {\n  long a;\nbind msg 1 to s\nbind msg 2 to nosuch;\nenum { A, B\n;\n"),
              ElementsAre("a.types:2:10: expected '}' after the last field, found 'bind'",
                          "a.types:3:16: expected ';' after the binding, found 'bind'",
                          "a.types:4:15: struct nosuch is not declared before this",
                          "a.types:5:12: expected '}' after the last constant, found ';'"));
  EXPECT_THAT(whats("struct s { long a; } /* no */ // end\n\ntypedef int t\nenum { A }\nstruct u { t x; };"),
              ElementsAre(StartsWith("a.types:1:21: expected ';' after the struct"),
                          StartsWith("a.types:3:14: expected ';' after the typedef"),
                          StartsWith("a.types:4:11: expected ';' after the enum")));
  EXPECT_THAT(whats("struct s { long a; };\nbind msg 1 to { 1: s; 2: s\n 3: s; bind msg 2 to s;"),
              ElementsAre("a.types:2:27: expected ';' after the struct, found '3'",
                          "a.types:3:7: expected '}' after the last case, found 'bind'"));
}

TEST(TypesMistakes, AStructWithoutItsEndIsNotTheOneAroundTheNext) {
  const Troubles all = troubles("struct s {\n  int a;\n\nstruct t { int b; };\n");
  ASSERT_FALSE(all.empty());
  EXPECT_THAT(all[0].what, StartsWith("a.types:4:20: a struct inside a struct needs a name here"));
  EXPECT_THAT(all[0].remedy, HasSubstr("end that before it with };"));
}

TEST(TypesMistakes, WhatStandsWhereCDoesNotTakeItIsSaidSo) {
  EXPECT_THAT(whats("struct s aligned(8) { int x; }; struct t { int y; } packed;"),
              ElementsAre("a.types:1:10: attributes don't stand behind the name"));
  EXPECT_THAT(trouble_of("#include <sys/types.h>\n").remedy, StartsWith("leave it out; declare above"));
  EXPECT_THAT(whats("struct m { lnog mtype; };\nbind msg 5 to { 1: m, 2: no };\nbind msg 6 to { 1: no, 2: m; };"),
              ElementsAre(HasSubstr("'lnog'"), "a.types:2:21: expected ';' after the struct, found ','",
                          "a.types:3:20: struct no is not declared before this",
                          "a.types:3:22: expected ';' after the struct, found ','"));
}

struct Misspelt {
  const char* text;
  const char* meant;
};

TEST(TypesMistakes, AMisspeltWordIsTakenForTheOneThatWasMeant) {
  const Misspelt all[] = {
      {"sturct s { int a; };", "struct"},
      {"structs { int a; };", "struct"},
      {"typdef int t;", "typedef"},
      {"binds msg 1 to s;", "bind"},
      {"struct s { lnog a; };", "long"},
      {"struct s { unsinged int a; };", "unsigned"},
      {"struct s { uint32 a; };", "uint32_t"},
      {"struct s { Bool a; };", "bool"},
      {"struct s { stuct t a; };", "struct"},
      {"typedef int flags_t; struct s { flag_t a; };", "flags_t"},
      {"struct point { int x; }; struct s { struct pont p; };", "point"},
      {"enum color { red }; struct s { enum colour c; };", "color"},
      {"enum { LENGTH = 5 }; struct s { char a[LENGHT]; };", "LENGTH"},
      {"enum { LENGTH = 5, OTHER = LENGHT };", "LENGTH"},
      {"struct s { int count; char a[cuont]; };", "count"},
      {"struct s { int a pakced; };", "packed"},
      {"struct s { int a __attribute__((algined(4))); };", "aligned"},
      {"struct s { long a; }; bind mgs 1 to s;", "msg"},
      {"struct s { long a; }; bind msg prvate to s;", "private"},
      {"struct s { long a; }; bind msg 1 too s;", "to"},
      {"struct note { long a; }; bind msg 1 to noet;", "note"},
      {"struct s { long a; }; bind msg 1 to { defualt: s; };", "default"},
  };
  for (const Misspelt& one : all) {
    EXPECT_EQ(trouble_of(one.text).remedy, std::string("did you mean ") + one.meant + "?") << one.text;
  }
}

TEST(TypesMistakes, NamesOfSomeCLibrariesAreNotTakenForOthers) {
  EXPECT_EQ(trouble_of("struct s { uint a; };").remedy, "write unsigned int");
  EXPECT_EQ(trouble_of("struct s { u_int32_t a; };").remedy, "write uint32_t");
  EXPECT_TRUE(troubles("typedef unsigned uint; struct s { uint a; };").empty());
}

TEST(TypesMistakes, ConstantsAreNotCalculated) {
  for (const char* text :
       {"struct s { char a[4 + 1]; };", "enum { N = 4 }; struct s { char a[N+1]; };", "struct s { char a[(4)]; };",
        "struct s { char a[sizeof(int)]; };", "enum { A = 1 << 3 };", "enum { A = ~0 };", "enum { A = 4, B = A | 1 };",
        "struct s { int a aligned(2*4); };", "struct s { char a[64-1]; };"}) {
    const Trouble found = trouble_of(text);
    EXPECT_THAT(found.what, HasSubstr("constants are not calculated here")) << text;
    EXPECT_THAT(found.remedy, HasSubstr("write the number that it is")) << text;
  }
  EXPECT_EQ(trouble_of("struct s { char a[4 + 1]; };").what.substr(0, 13), "a.types:1:21:");
}

// What is said first, and what to write.
std::string first_of(std::string_view text) {
  const Troubles all = troubles(text);
  return all.empty() ? "" : all.front().what + " | " + all.front().remedy;
}

TEST(TypesMistakes, EachLineOfAPreprocessorIsSaid) {
  EXPECT_THAT(whats("#include <a.h>\n#define N 5\n#pragma pack(1)\nstruct s {\n#ifdef X\n  int a;\n};\n"),
              ElementsAre(StartsWith("a.types:1:1:"), StartsWith("a.types:2:1:"), StartsWith("a.types:3:1:"),
                          StartsWith("a.types:5:1:")));
  EXPECT_THAT(trouble_of("#pragma pack(1)\n").remedy, StartsWith("write packed behind the '}'"));
  EXPECT_THAT(trouble_of("#pragma pack(push, 2) // two\n").remedy, StartsWith("write packed aligned(2) behind"));
  EXPECT_THAT(trouble_of("#pragma pack(4)\n").remedy, HasSubstr("pack(1), which is packed here"));
  EXPECT_EQ(trouble_of("#pragma pack(pop)\n").remedy, "leave it out");
}

TEST(TypesMistakes, WordsThatAreNoTypeTogetherAreSaidTogether) {
  EXPECT_THAT(first_of("struct s { long long long q; };"), StartsWith("a.types:1:12: 'long long long' is no type | "));
  EXPECT_THAT(first_of("struct s { short char c; };"), HasSubstr("'short char' is no type | write char, short,"));
  EXPECT_THAT(first_of("struct s { int int i; };"), HasSubstr("'int int' is no type | "));
  EXPECT_THAT(first_of("struct s { unsigned float f; };"), HasSubstr("'unsigned float' is no type | write float"));
  EXPECT_THAT(first_of("struct s { double long y; };"), HasSubstr("a long double has another format"));
  EXPECT_THAT(first_of("struct s { long double y; };"), HasSubstr("a long double has another format"));
}

TEST(TypesMistakes, AWordOfCNamesNothing) {
  EXPECT_THAT(first_of("struct s { double long; };"), StartsWith("a.types:1:19: 'long' is a word of C and no name"));
  EXPECT_THAT(first_of("struct s { char struct; };"), StartsWith("a.types:1:17: 'struct' is a word of C"));
  EXPECT_THAT(first_of("struct s { unsigned float; };"), StartsWith("a.types:1:21: 'float' is a word of C"));
  EXPECT_THAT(first_of("enum { A, int };"), HasSubstr("'int' is a word of C"));
  EXPECT_THAT(first_of("typedef long while;"), HasSubstr("'while' is a word of C"));
  EXPECT_TRUE(troubles("struct s { int pid, uid; };").empty());
}

TEST(TypesMistakes, WhatIsInQuotesOrBeyondAsciiIsOneWord) {
  EXPECT_THAT(first_of("struct s { char a['x']; };"),
              HasSubstr("a.types:1:19: ''x'': characters in quotes are not read | write its number: 65 for 'A'"));
  EXPECT_THAT(first_of("struct s { char a[\"x]\"]; };"), HasSubstr("text in quotes means nothing here"));
  const Trouble found = trouble_of(
      "struct s {\n  int gr\xc3\xb6\xc3\x9f"
      "e;\n};");
  EXPECT_THAT(found.what, StartsWith("a.types:2:7: 'gr\\xc3"));
  EXPECT_THAT(found.what, HasSubstr("letters beyond ASCII mean nothing here"));
}

TEST(TypesMistakes, WhatIsMissingOrTooMuchIsSaidWhereItIs) {
  EXPECT_THAT(first_of("struct f (int x);"), StartsWith("a.types:1:10: expected '{' after the name of a struct"));
  EXPECT_THAT(whats("enum g { A B, C };"), ElementsAre("a.types:1:12: expected ',' after the constant, found 'B'"));
  EXPECT_THAT(first_of("struct s { int x = 3; };"), StartsWith("a.types:1:18: fields have no initial values here"));
  EXPECT_EQ(first_of("struct s { int x, long y; };"),
            "a.types:1:17: expected ';' after the field, found ',' | write ';' here");
  EXPECT_THAT(first_of("struct s { int x;\n"), HasSubstr("| write '};' here"));
}

TEST(TypesMistakes, AfterTwentyItIsSaidThatThereMayBeMore) {
  std::string text = "struct s {";
  for (int i = 0; i < 30; ++i) text += " int f" + std::to_string(i) + " : 1;";
  const Troubles all = troubles(text + "};");
  ASSERT_EQ(all.size(), 21U);
  EXPECT_THAT(all.back().what, HasSubstr("there may be more: 20 mistakes are said at once"));
}

TEST(TypesMistakes, AByteOrderMarkIsNoWord) {
  const std::string text = "\xef\xbb\xbfstruct s { int a; };";
  EXPECT_TRUE(troubles(text).empty());
  EXPECT_EQ(tokens_of(text).front().column, 1U);
  EXPECT_FALSE(troubles("struct s { \xef\xbb\xbfint a; };").empty()) << "only at the beginning";
}

TEST(TypesMistakes, NamesWithoutEndAreNotCompared) {
  std::string text;
  for (int i = 0; i < 30'000; ++i) text += "typedef int name_of_a_type_" + std::to_string(i) + ";";
  EXPECT_THAT(trouble_of(text + "struct s { name_of_a_type_x a; };").remedy, HasSubstr("use C's own"));
}

}  // namespace
}  // namespace dipc::layout_test
