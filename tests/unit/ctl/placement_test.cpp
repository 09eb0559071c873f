#include "daemon/ctl/placement.h"

#include <gtest/gtest.h>

#include "layouts/parser.h"

namespace dipc {
namespace {

Form form(const char* machine) { return *Form::native(*known_abi(machine)); }

SeenPlaces places_of(const StructShape& shape) {
  SeenPlaces seen;
  seen.size = shape.size;
  for (const FieldShape& field : shape.fields) seen.offsets.push_back(field.offset);
  return seen;
}

// The last struct of a text as its compiler places it, then without its attributes, explained again.
std::string explained(const std::string& text, const char* machine) {
  const TypeFile file{"a.types", text};
  TypeSet types = *parse_types({&file, 1});
  const std::size_t last = types.structs.size() - 1;
  const Shapes all(types, form(machine));
  Placement placement(form(machine));
  for (std::size_t i = 0; i < last; ++i) placement.explain(types.structs[i], places_of(all[i]));
  StructDeclaration& structure = types.structs[last];
  structure.packed = false;
  structure.aligned = 1;
  for (Field& field : structure.fields) {
    field.packed = false;
    field.aligned = 1;
  }
  if (!placement.explain(structure, places_of(all[last])).good) return "none";
  return to_declaration(types, last);
}

TEST(Placement, FindsNoAttributesWhereNoneAreNeeded) {
  EXPECT_EQ(explained("struct s { char c; long l; };", "x86-64"), "struct s {\n  char c;\n  long l;\n};\n");
  EXPECT_EQ(explained("struct s { short a; int i; } packed;", "m68k"), "struct s {\n  short a;\n  int i;\n};\n");
}

TEST(Placement, FindsThoseThatWereThere) {
  for (const char* text :
       {"struct s {\n  char c;\n  long l;\n  char d;\n} packed;\n", "struct s {\n  char c;\n  int i aligned(16);\n};\n",
        "struct s {\n  char c;\n  int i packed;\n  short s;\n  char e;\n  short t;\n};\n",
        "struct s {\n  char c;\n  int i packed aligned(2);\n};\n", "struct s {\n  char c;\n} aligned(32);\n"}) {
    EXPECT_EQ(explained(text, "x86-64"), text);
  }
}

TEST(Placement, SaysThatNoAttributesDo) {
  const TypeFile file{"a.types", "struct s { char c; int i; };"};
  TypeSet types = *parse_types({&file, 1});
  EXPECT_FALSE(Placement(form("x86-64")).explain(types.structs[0], {{0, 5}, 7}).good);
  types = *parse_types({&file, 1});
  EXPECT_FALSE(Placement(form("x86-64")).explain(types.structs[0], {{8, 0}, 16}).good) << "fields go forward";
}

TEST(Placement, ManyFieldsTakeNoTimeToSpeakOf) {
  std::string text = "struct s {";
  for (int i = 0; i < 3000; ++i) text += " char c" + std::to_string(i) + "; int i" + std::to_string(i) + " packed;";
  EXPECT_NE(explained(text + " short last; };", "x86-64"), "none");
}

}  // namespace
}  // namespace dipc
