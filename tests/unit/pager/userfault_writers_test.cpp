// Programs that may write a segment may write anything, but neither hold up who pages it nor leave anybody with memory
// that is no segment's.

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <thread>
#include <vector>

#include "tests/unit/pager/paged_host.h"

namespace dipc::test {
namespace {

const std::size_t kPage = kernel_page_bytes();

// Reads the page when it is told to.
int reads(Program& it, std::size_t page) {
  volatile char* memory = it.attach();
  if (!memory) return 1;
  it.say('!');
  while (it.hear() == 'r') it.say(memory[page * kPage]);
  return 0;
}

TEST(UserfaultWriters, TruncatedMemoryIsSigbusAndToldOnce) {
  PagedHost host({.grants = false});
  ASSERT_TRUE(host.install(0, 'x', true));
  ASSERT_TRUE(host.install(1, 'y'));
  Process had(host, [](Program& it) { return reads(it, 0); });
  ASSERT_EQ(had.hear(), '!');
  Process cuts(host, [](Program& it) {
    if (!it.attach() || ftruncate(it.memory(), 0) != 0) return 1;
    it.say('!');
    return static_cast<int>(it.hear());
  });
  ASSERT_EQ(cuts.hear(), '!');
  had.say('r');
  EXPECT_EQ(had.status(), -SIGBUS);
  EXPECT_FALSE(host.take(0, true));
  EXPECT_FALSE(host.take(1, false));
  EXPECT_FALSE(host.install(2, 'z'));
  EXPECT_FALSE(host.install(3, 'z', true));
  Process late(host, [](Program& it) { return reads(it, 3); });
  if (late.hear() == '!') late.say('r');
  EXPECT_EQ(late.status(), -SIGBUS);
  ASSERT_EQ(host.log.size(), 1);
  EXPECT_NE(host.log[0].find("ftruncate"), std::string::npos) << host.log[0];
}

TEST(UserfaultWriters, WhoWritesAMissingPageIntoTheMemoryIsKilledWhenItHoldsUsUp) {
  PagedHost host({.stuck_after = std::chrono::milliseconds(300), .grants = false});
  ASSERT_TRUE(host.install(1, 'x', true));
  Process holds(host, [](Program& it) {
    auto* memory = const_cast<char*>(it.attach());
    if (!memory) return 1;
    return pwrite(it.memory(), memory, kPage, static_cast<off_t>(2 * kPage)) < 0 ? 2 : 3;
  });
  ASSERT_TRUE(host.faulted(0, PageAccess::kRead));
  EXPECT_TRUE(host.take(1, true));
  EXPECT_EQ(holds.status(), -SIGKILL);
  ASSERT_EQ(host.log.size(), 1);
  EXPECT_NE(host.log[0].find("process " + std::to_string(holds.pid())), std::string::npos) << host.log[0];
}

TEST(UserfaultWriters, HoldUpNobodyWhoEndsThePager) {
  PagedHost host({.stuck_after = std::chrono::seconds(2), .grants = false});
  Process holds(host, [](Program& it) {
    auto* memory = const_cast<char*>(it.attach());
    return pwrite(it.memory(), memory, kPage, static_cast<off_t>(2 * kPage)) < 0 ? 2 : 3;
  });
  ASSERT_TRUE(host.faulted(0, PageAccess::kRead));
  const auto began = std::chrono::steady_clock::now();
  host.end_pager();
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(1));
  EXPECT_EQ(holds.status(), -SIGKILL);
}

// Each madvise is an event, and the next one follows as soon as we have read it.
class UserfaultFlood : public testing::TestWithParam<bool> {};

TEST_P(UserfaultFlood, OfEventsKeepsNobodyWaiting) {
  if (!kThreadsAfterFork) GTEST_SKIP() << "needs threads after fork, which sanitizers have not";
  PagedHost host({.segment_bytes = 64 * kPage, .grants = false});
  Process floods(host, [](Program& it) {
    auto* memory = const_cast<char*>(it.attach(GetParam()));
    if (!memory) return 1;
    std::vector<std::thread> threads;
    for (std::size_t thread = 0; thread < 40; ++thread) {
      threads.emplace_back([=] {
        for (;;) madvise(memory + thread * kPage, kPage, MADV_DONTNEED);
      });
    }
    it.say('!');
    for (std::thread& thread : threads) thread.join();
    return 0;
  });
  ASSERT_EQ(floods.hear(), '!');
  Process other(host, [](Program& it) { return reads(it, 63); });
  ASSERT_EQ(other.hear(), '!');
  const auto began = std::chrono::steady_clock::now();
  other.say('r');
  ASSERT_TRUE(host.faulted(63, PageAccess::kRead));
  ASSERT_TRUE(host.install(63, 'x'));
  EXPECT_EQ(other.hear(), 'x');
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(5));  // long before stuck_after
}

INSTANTIATE_TEST_SUITE_P(Both, UserfaultFlood, testing::Bool(),
                         [](const auto& writes) { return writes.param ? "OfAWriter" : "OfAReader"; });

TEST(UserfaultPagers, EndIsSigbusForWhoeverHasTheMemory) {
  PagedHost host({.grants = false});
  ASSERT_TRUE(host.install(0, 'x'));
  Process has(host, [](Program& it) { return reads(it, 0); });
  Process waits(host, [](Program& it) { return reads(it, 1); });
  Process copied(host, [](Program& it) {
    volatile char* memory = it.attach(false);
    it.say(memory[0]);
    it.hear();
    return static_cast<int>(memory[0]);
  });
  for (Process* each : {&has, &waits}) {
    ASSERT_EQ(each->hear(), '!');
    each->say('r');
  }
  ASSERT_EQ(has.hear(), 'x');
  ASSERT_EQ(copied.hear(), 'x');
  ASSERT_TRUE(host.faulted(1, PageAccess::kRead));
  host.end_pager();
  has.say('r');
  copied.say('r');
  for (Process* each : {&has, &waits, &copied}) EXPECT_EQ(each->status(), -SIGBUS);
}

}  // namespace
}  // namespace dipc::test
