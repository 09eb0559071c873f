// What a binding may say of the structs that are declared, and what is told of the one that may not.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/layouts/refusals.h"

namespace dipc::layout_test {
namespace {

using testing::HasSubstr;

TEST(TypesBindings, NoSegmentHasAnIdThatNothingWouldRewrite) {
  const Trouble plain = trouble_of("struct table { int n; uid owner; };\nbind shm 1 to table;");
  EXPECT_EQ(plain.what,
            "a.types:2:15: struct table can't be a segment: 'owner' is a uid, and nothing is rewritten in memory that "
            "hosts share");
  EXPECT_THAT(plain.remedy, HasSubstr("write unsigned int owner"));
  const Trouble nested = trouble_of(
      "struct slot { int n; pid short by; }; struct table { long n; struct { struct slot slots[4]; } in; };"
      "bind shm 1 to table;");
  EXPECT_THAT(nested.what, HasSubstr("'in.slots.by' is a pid,"));
  EXPECT_THAT(nested.remedy, HasSubstr("write short by"));
  EXPECT_THAT(trouble_of("typedef struct { gid g[2]; } t; bind shm all to t;").remedy, HasSubstr("unsigned int g"));
  // The same struct is a message, and a field of that name a number.
  EXPECT_TRUE(
      troubles("struct m { long mtype; pid p; }; struct s { int pid; }; bind msg 1 to m; bind shm 1 to s;").empty());
}

}  // namespace
}  // namespace dipc::layout_test
