#include "daemon/core/line_changes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dipc {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(LineChanges, NothingIsSaidOfWhatStayed) {
  EXPECT_THAT(line_changes("f", {}, {}), IsEmpty());
  EXPECT_THAT(line_changes("f", {"a", "b"}, {"a", "b"}), IsEmpty());
}

TEST(LineChanges, LinesAreNamedByTheirContent) {
  EXPECT_THAT(line_changes("f", {"a", "b", "c"}, {"a", "x", "c", "y"}),
              ElementsAre("f: removed b", "f: added x", "f: added y"));
  EXPECT_THAT(line_changes("f", {}, {"a"}), ElementsAre("f: added a"));
  EXPECT_THAT(line_changes("f", {"a"}, {}), ElementsAre("f: removed a"));
}

TEST(LineChanges, ALineThatStandsThereTwiceCountsTwice) {
  EXPECT_THAT(line_changes("f", {"a", "a"}, {"a"}), ElementsAre("f: removed a"));
  EXPECT_THAT(line_changes("f", {"a"}, {"a", "b", "a"}), ElementsAre("f: added b", "f: added a"));
}

TEST(LineChanges, TheFirstLineThatFitsDecidesSoTheOrderCounts) {
  EXPECT_THAT(line_changes("f", {"a", "b"}, {"b", "a"}), ElementsAre("f: its lines stand in another order"));
  EXPECT_THAT(line_changes("f", {"a", "b", "c"}, {"b", "x", "a"}),
              ElementsAre("f: removed c", "f: added x", "f: its lines stand in another order"));
}

}  // namespace
}  // namespace dipc
