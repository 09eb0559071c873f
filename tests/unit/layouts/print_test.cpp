// Declarations as text: layouts/print.cpp.

#include <gtest/gtest.h>

#include "layouts/declarations.h"
#include "tests/unit/layouts/random_layout.h"

namespace dipc::layout_test {
namespace {

TEST(Print, AnEnumHasTheTypeThatItWasGiven) {
  for (const char* text : {"enum e {\n  A = -1,\n};\nstruct s {\n  enum e x;\n};\n",
                           "enum e : int {\n  A = 1,\n};\nstruct s {\n  enum e x;\n};\n",
                           "enum e : uint8_t {\n  A = 200,\n};\nstruct s {\n  enum e x;\n};\n"}) {
    EXPECT_EQ(to_declaration(parsed(text), 0), text);
  }
  EXPECT_EQ(to_declaration(parsed("enum e { A = 300 } packed; struct s { enum e x; };"), 0),
            "enum e : uint16_t {\n  A = 300,\n};\nstruct s {\n  enum e x;\n};\n");
}

TEST(Print, OnlyWhatIsNeededIsWritten) {
  const TypeSet types = parsed("struct a { int x; }; struct b { struct a a; pid p; }; struct c { int y; };");
  EXPECT_EQ(to_declaration(types, 1), "struct a {\n  int x;\n};\nstruct b {\n  struct a a;\n  pid p;\n};\n");
}

TEST(Print, NestedStructsWithoutNamesAreWrittenOnce) {
  std::string text = "struct s {";
  for (int i = 0; i < 14; ++i) text += "struct {";
  text += "int x;";
  for (int i = 0; i < 14; ++i) text += "} a, b[2] packed;";
  const TypeSet types = parsed(text + "};");
  const std::string written = to_declaration(types, *types.find("s"));
  EXPECT_LT(written.size(), 2000U);
  const TypeSet again = parsed(written);
  EXPECT_EQ(to_declaration(again, *again.find("s")), written);
  EXPECT_EQ(again.structs.size(), types.structs.size());
}

TEST(Print, WritesDeclarationsThatAreReadBackAsTheSame) {
  const std::string text = R"(enum color {
  red = 0,
  green = 5,
};
struct point {
  int x;
  int y aligned(8);
};
struct request {
  long mtype;
  enum color color;
  struct {
    short a;
    struct point at[2][3];
  } packed inner;
  unsigned short count;
  struct point more[count];
} packed aligned(4);
)";
  const TypeSet types = parsed(text);
  EXPECT_EQ(to_declaration(types, *types.find("request")), text);
}

}  // namespace
}  // namespace dipc::layout_test
