#include "daemon/kernel/users.h"

#include <grp.h>
#include <gtest/gtest.h>
#include <pwd.h>

#include <algorithm>

namespace dipc::test {
namespace {

TEST(UsersTest, RootIsKnownBothWays) {
  Users users;
  const auto root = users.identity_of_login("root");
  ASSERT_TRUE(root);
  EXPECT_EQ(root->uid, 0u);
  EXPECT_EQ(root->gid, 0u);
  EXPECT_EQ(users.login_of(0), "root");
  EXPECT_EQ(users.uid_of("root"), 0u);
  EXPECT_EQ(users.group_name_of(0), "root");
  EXPECT_EQ(users.gid_of("root"), 0u);
}

TEST(UsersTest, UnknownNamesAndNumbersAreNothing) {
  Users users;
  EXPECT_FALSE(users.identity_of_login("no-such-login-here"));
  EXPECT_FALSE(users.uid_of("no-such-login-here"));
  EXPECT_FALSE(users.gid_of("no-such-group-here"));
  EXPECT_EQ(users.login_of(3999999999u), "");
  EXPECT_EQ(users.group_name_of(3999999999u), "");
}

TEST(UsersTest, EveryLoginOfThisHostHasItsOwnGroups) {
  Users users;
  int compared = 0;
  setpwent();
  std::vector<std::pair<std::string, gid_t>> logins;
  while (const passwd* const entry = getpwent()) logins.emplace_back(entry->pw_name, entry->pw_gid);
  endpwent();
  for (const auto& [login, gid] : logins) {
    const auto identity = users.identity_of_login(login);
    ASSERT_TRUE(identity) << login;
    EXPECT_EQ(identity->gid, gid);
    EXPECT_NE(std::find(identity->groups.begin(), identity->groups.end(), gid), identity->groups.end()) << login;
    ++compared;
  }
  EXPECT_GE(compared, 1);
}

TEST(UsersTest, AnswersAreTheSameAfterAReload) {
  Users users;
  const auto before = users.identity_of_login("root");
  users.reload();
  EXPECT_EQ(users.identity_of_login("root"), before);
}

}  // namespace
}  // namespace dipc::test
