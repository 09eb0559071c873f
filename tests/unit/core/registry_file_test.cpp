#include "daemon/core/registry_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dipc {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

Registry three_entries() {
  return Registry{
      {{Kind::kMessageQueue, 0x1234}, {"sun", "5e1c-1/4026531839", 0x00f3a96c11d0b7e2}},
      {{Kind::kSemaphoreSet, -1}, {"vax", "boot 2", 1}},
      {{Kind::kSegment, 7}, {"100% odd\n\xc3\xa9", "", 0xffffffffffffffff}},
  };
}

std::string what_is_wrong(const std::string& text) {
  const Result<RegistryFile> parsed = parse_registry("names", text);
  return parsed ? std::string() : parsed.error().what;
}

TEST(RegistryFile, WhatIsWrittenIsRead) {
  for (const bool complete : {true, false}) {
    for (const Registry& registry : {Registry{}, three_entries()}) {
      const Result<RegistryFile> parsed = parse_registry("names", render_registry(registry, complete));
      ASSERT_TRUE(parsed) << parsed.error().what;
      EXPECT_EQ(*parsed, (RegistryFile{registry, complete}));
    }
  }
}

TEST(RegistryFile, LooksAsDocumented) {
  const Registry one{{{Kind::kMessageQueue, 0x1234}, {"sun", "5e1c4b7a", 0x00f3a96c11d0b7e2}}};
  EXPECT_THAT(render_registry(one, true),
              StartsWith("dipc-registry 1\nmsg 0x00001234 00f3a96c11d0b7e2 sun 5e1c4b7a\nend 1 "));
}

TEST(RegistryFile, NumbersOfHostsStandBesideTheNames) {
  const HostNumbers::Table numbers = {{"sun", 5}, {"vax", 511}};
  const std::string text = render_registry(three_entries(), true, numbers);
  const Result<RegistryFile> parsed = parse_registry("names", text);
  ASSERT_TRUE(parsed) << parsed.error().what;
  EXPECT_EQ(*parsed, (RegistryFile{three_entries(), true, numbers}));
  EXPECT_THAT(render_registry({}, true, {{"sun", 5}}), StartsWith("dipc-registry 1\nhost sun 5\nend 1 "));
  for (const char* line : {"host sun 0", "host sun 512", "host sun", "host sun 5 6"}) {
    EXPECT_NE(what_is_wrong("dipc-registry 1\n" + std::string(line) + "\nend 1 0\n"), "") << line;
  }
}

TEST(RegistryFile, EveryCutIsSeen) {
  const std::string text = render_registry(three_entries(), false);
  for (std::size_t bytes = 0; bytes < text.size(); ++bytes) {
    EXPECT_NE(what_is_wrong(text.substr(0, bytes)), "") << "cut after " << bytes << " bytes";
  }
}

TEST(RegistryFile, EveryFlippedBitIsSeen) {
  const std::string text = render_registry(three_entries(), false);
  for (std::size_t byte = 0; byte < text.size(); ++byte) {
    std::string damaged = text;
    damaged[byte] = static_cast<char>(damaged[byte] ^ 1);
    const Result<RegistryFile> parsed = parse_registry("names", damaged);
    EXPECT_FALSE(parsed) << "byte " << byte;
  }
}

TEST(RegistryFile, LinesAfterTheEndAreRefused) {
  EXPECT_NE(what_is_wrong(render_registry(three_entries(), false) + "msg 0x00000001 0000000000000001 sun b\n"), "");
}

TEST(RegistryFile, NewerVersionIsNamed) {
  EXPECT_THAT(what_is_wrong("dipc-registry 2\nend 0 0\n"), HasSubstr("names:1: written in format 2"));
}

TEST(RegistryFile, UnknownWordAfterTheVersionIsRefused) {
  EXPECT_THAT(what_is_wrong("dipc-registry 1 sleeping\n"), HasSubstr("names:1: damaged"));
  EXPECT_THAT(what_is_wrong("dipc-registry 1 learning much\n"), HasSubstr("names:1: damaged"));
}

TEST(RegistryFile, ForeignFileIsNamed) {
  EXPECT_THAT(what_is_wrong("root:x:0:0:root:/root:/bin/bash\n"), HasSubstr("names:1: not a table of names"));
  EXPECT_THAT(what_is_wrong("dipc-registry\n"), HasSubstr("not a table of names"));
  EXPECT_THAT(what_is_wrong(std::string(100, '\0')), HasSubstr("not a table of names"));
}

TEST(RegistryFile, CutFileIsCalledCut) {
  EXPECT_THAT(what_is_wrong(""), HasSubstr("cut short"));
  EXPECT_THAT(what_is_wrong("dipc-registry 1\nmsg 0x00000001 0000000000000001 sun b\n"), HasSubstr("after line 2"));
}

TEST(RegistryFile, WrongLineIsNumbered) {
  EXPECT_THAT(what_is_wrong("dipc-registry 1\nmsg 0x00000001 0000000000000001 sun b\nmsg one 1 sun b\n"),
              HasSubstr("names:3: damaged: not 'kind key"));
  EXPECT_THAT(what_is_wrong("dipc-registry 1\nmsg 1 1 sun b\nmsg 1 1 vax b\n"),
              HasSubstr("names:3: damaged: a name that came before"));
  EXPECT_THAT(what_is_wrong("dipc-registry 1\nmsg 0 1 sun b\n"), HasSubstr("names:2: damaged"));
}

TEST(RegistryFile, EveryTroubleHasARemedy) {
  for (const char* text : {"", "x\n", "dipc-registry 9\n", "dipc-registry 1\nx\n", "dipc-registry 1\nend 1 0\n"}) {
    const Result<RegistryFile> parsed = parse_registry("names", text);
    ASSERT_FALSE(parsed);
    EXPECT_NE(parsed.error().remedy, "");
  }
}

}  // namespace
}  // namespace dipc
