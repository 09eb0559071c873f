#include "daemon/core/ftok_paths.h"

#include <gtest/gtest.h>

namespace dipc {
namespace {

TEST(FtokPaths, KeysAreFixedByPathAndId) {
  // Hosts of all versions agree on these, and administrators have written them down.
  EXPECT_EQ(ftok_key("/srv/app", 'A'), 0x41cea470);
  EXPECT_EQ(ftok_key("/", 1), 0x010c9774);
}

TEST(FtokPaths, LowestEightBitsOfTheIdCountAsInLibc) {
  EXPECT_EQ(ftok_key("/srv/app", 0x1241), ftok_key("/srv/app", 'A'));
  EXPECT_EQ(static_cast<std::uint32_t>(ftok_key("/srv/app", -1)), 0xffcea470u);
  EXPECT_NE(ftok_key("/srv/app", 'A'), ftok_key("/srv/app", 'B'));
}

TEST(FtokPaths, OnlyWhatIsListedHasAKey) {
  const std::vector<std::string> listed = {"/srv/app", "/srv/data"};
  EXPECT_EQ(listed_ftok_key(listed, "/srv/data", 7), ftok_key("/srv/data", 7));
  EXPECT_EQ(listed_ftok_key(listed, "/srv", 7), std::nullopt);
  EXPECT_EQ(listed_ftok_key(listed, "/srv/app/", 7), std::nullopt);
  EXPECT_EQ(listed_ftok_key({}, "/srv/app", 7), std::nullopt);
}

TEST(FtokPaths, PathsAreThoseThatTheKernelShows) {
  for (const char* good : {"/", "/srv", "/srv/a.b/..c", "/srv/with blank"}) EXPECT_EQ(path_objection(good), "") << good;
  for (const char* bad : {"", "srv", "./srv", "/srv/", "//", "//srv", "/srv//a", "/srv/./a", "/srv/..", "/..", "/."}) {
    EXPECT_NE(path_objection(bad), "") << bad;
  }
  EXPECT_NE(path_objection(std::string_view("/s\0v", 4)), "");
}

TEST(FtokPaths, TwoThatWouldGetTheSameKeysAreTold) {
  EXPECT_FALSE(ftok_twin({"/srv/app", "/srv/data", "/"}));
  const auto twin = ftok_twin({"/srv/app", "/srv/app9479", "/srv/app10118"});
  ASSERT_TRUE(twin);
  EXPECT_EQ(twin->index, 2u);
  EXPECT_EQ(twin->of, 1u);
}

}  // namespace
}  // namespace dipc
