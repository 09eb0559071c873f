#include <gtest/gtest.h>

#include "daemon/pager/pager.h"

namespace dipc::test {
namespace {

TEST(ChoosePager, LooksWhatThisKernelHasAndComesBack) {
  const PagerChoice choice = choose_pager(std::nullopt);
  EXPECT_EQ(choice.kind == PagerKind::kUserfault, choice.reason.empty()) << choice.reason;
}

TEST(ChoosePager, TakesWhatIsForced) {
  for (const PagerKind kind : {PagerKind::kUserfault, PagerKind::kSignal}) {
    EXPECT_EQ(choose_pager(kind).kind, kind);
    EXPECT_TRUE(choose_pager(kind).reason.empty());
  }
}

}  // namespace
}  // namespace dipc::test
