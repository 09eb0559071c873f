#include "daemon/core/admin_command.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dipc {
namespace {

using testing::HasSubstr;
using Verb = AdminCommand::Verb;

TEST(AdminCommand, WhatIsWrittenIsRead) {
  for (const AdminCommand& command :
       {AdminCommand{Verb::kStatus, {}}, AdminCommand{Verb::kObjects, {}}, AdminCommand{Verb::kReload, {}},
        AdminCommand{Verb::kForget, {Kind::kSemaphoreSet, -2}}, AdminCommand{Verb::kDeadLetters, {}},
        AdminCommand{Verb::kDeadLetters, {}, 500}, AdminCommand{Verb::kShowLetter, {}, 7},
        AdminCommand{Verb::kShowLetter, {}, 7, 65536}, AdminCommand{Verb::kRequeueLetter, {}, ~0ull},
        AdminCommand{Verb::kDropLetter, {}, 1}, AdminCommand{Verb::kSegments, {}},
        AdminCommand{Verb::kPages, {Kind::kSegment, -2}}, AdminCommand{Verb::kPages, {}, 0, 0, 0},
        AdminCommand{Verb::kPages, {}, 0, 0, 0x7fffffff}}) {
    const auto read = parse_admin_command(to_string(command));
    ASSERT_TRUE(read) << to_string(command);
    EXPECT_EQ(*read, command);
  }
}

TEST(AdminCommand, OnlyWhatChangesSomethingIsForRoot) {
  EXPECT_FALSE(parse_admin_command("status")->changes_something());
  EXPECT_FALSE(parse_admin_command("objects")->changes_something());
  EXPECT_FALSE(parse_admin_command("segments")->changes_something());
  EXPECT_FALSE(parse_admin_command("pages 0x1234")->changes_something());
  EXPECT_FALSE(parse_admin_command("deadletters")->changes_something());
  EXPECT_FALSE(parse_admin_command("deadletters show 1")->changes_something());
  EXPECT_TRUE(parse_admin_command("deadletters requeue 1")->changes_something());
  EXPECT_TRUE(parse_admin_command("deadletters drop 1")->changes_something());
  EXPECT_TRUE(parse_admin_command("reload")->changes_something());
  EXPECT_TRUE(parse_admin_command("forget msg 0x1234")->changes_something());
}

TEST(AdminCommand, MistakesComeWithARemedy) {
  for (const char* text : {"",
                           "\n",
                           "stat",
                           "status now",
                           "segments 1",
                           "pages",
                           "pages 0",
                           "pages x",
                           "pages 1 2",
                           "pages id",
                           "pages id x",
                           "pages id -1",
                           "pages id 2147483648",
                           "pages id 1 2",
                           "forget",
                           "forget msg",
                           "forget pipe 1",
                           "forget msg 0",
                           "forget msg 0x1 2",
                           "forget msg -1",
                           "status\nreload",
                           "deadletters 7",
                           "deadletters show",
                           "deadletters show x",
                           "deadletters show 0",
                           "deadletters show -1",
                           "deadletters drop 7 8",
                           "deadletters drop 7 from 8",
                           "deadletters show 7 from",
                           "deadletters show 7 from x",
                           "deadletters requeue 18446744073709551616",
                           "deadletters requeue ../7"}) {
    const auto read = parse_admin_command(text);
    ASSERT_FALSE(read) << text;
    EXPECT_FALSE(read.error().what.empty());
    EXPECT_FALSE(read.error().remedy.empty());
  }
  EXPECT_THAT(parse_admin_command("stat").error().remedy, HasSubstr("status, objects"));
}

}  // namespace
}  // namespace dipc
