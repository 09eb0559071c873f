#include "layouts/tokens.h"

#include <gtest/gtest.h>

namespace dipc {
namespace {

using Kind = Token::Kind;

TEST(Tokens, HaveTheirPlaces) {
  const auto tokens = tokens_of("struct s {\n  int a[0x1F]; // of it\n\f/* a\n comment */ }");
  ASSERT_EQ(tokens.size(), 11U);
  EXPECT_TRUE(tokens[0].is("struct"));
  EXPECT_EQ(tokens[3].text, "int");
  EXPECT_EQ(tokens[3].line, 2U);
  EXPECT_EQ(tokens[3].column, 3U);
  EXPECT_EQ(tokens[6].kind, Kind::kNumber);
  EXPECT_EQ(tokens[6].number, 31U);
  EXPECT_TRUE(tokens[8].is(";"));
  EXPECT_TRUE(tokens[9].is("}")) << "what is behind a comment";
  EXPECT_EQ(tokens[9].line, 4U);
}

TEST(Tokens, EndWithAnEnd) {
  for (const char* text : {"", "  \n", "// all", "/* all */", "a"}) {
    const auto tokens = tokens_of(text);
    ASSERT_FALSE(tokens.empty()) << text;
    EXPECT_EQ(tokens.back().kind, Kind::kEnd) << text;
  }
}

TEST(Tokens, NumbersAreDecimalOrHexadecimalOf64Bits) {
  EXPECT_EQ(tokens_of("18446744073709551615")[0].number, 18446744073709551615U);
  EXPECT_EQ(tokens_of("0")[0].kind, Kind::kNumber);
  for (const char* text : {"18446744073709551616", "010", "0x", "64U", "1a", "0xg"}) {
    const Token token = tokens_of(text)[0];
    EXPECT_EQ(token.kind, Kind::kWrong) << text;
    EXPECT_EQ(token.text, text);
    EXPECT_FALSE(token.remedy.empty());
  }
}

TEST(Tokens, WhatMeansNothingIsOneWrongWord) {
  EXPECT_EQ(tokens_of("a $ b")[1].kind, Kind::kWrong);
  EXPECT_EQ(tokens_of("a $ b")[2].text, "b");
  EXPECT_EQ(tokens_of("#define X 1\nb")[1].text, "b");
  EXPECT_EQ(tokens_of("/* no end")[0].kind, Kind::kWrong);
  EXPECT_EQ(tokens_of(std::string(128, 'n'))[0].kind, Kind::kWrong);
  EXPECT_EQ(tokens_of(std::string(127, 'n'))[0].kind, Kind::kName);
  EXPECT_EQ(tokens_of(std::string_view("\0", 1))[0].kind, Kind::kWrong);
}

TEST(Tokens, AreShownWithoutWhatATerminalWouldObey) {
  EXPECT_EQ(shown(tokens_of("name")[0]), "'name'");
  EXPECT_EQ(shown(tokens_of("\x1b")[0]), "'\\x1b'");
  EXPECT_EQ(shown(tokens_of(std::string(100, 'n'))[0]), "'" + std::string(60, 'n') + "...'");
  EXPECT_EQ(shown(tokens_of("")[0]), "the end of the file");
}

}  // namespace
}  // namespace dipc
