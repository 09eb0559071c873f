#include "daemon/pager/stuck_watch.h"

#include <gtest/gtest.h>

#include <future>

namespace dipc {
namespace {

using std::chrono::milliseconds;

TEST(StuckWatch, TellsOfWhoIsInsideForTooLongOnce) {
  std::promise<pid_t> stuck;
  StuckWatch watch(milliseconds(40), [&](pid_t pid) { stuck.set_value(pid); });  // a second set_value would throw
  const auto began = std::chrono::steady_clock::now();
  watch.enter(42);
  EXPECT_EQ(stuck.get_future().get(), 42);
  EXPECT_GE(std::chrono::steady_clock::now() - began, milliseconds(40));
  std::this_thread::sleep_for(milliseconds(120));  // time for a second report, which must not come
}

TEST(StuckWatch, SaysNothingOfShortStaysHoweverMany) {
  std::atomic<int> told{0};
  StuckWatch watch(milliseconds(200), [&](pid_t) { ++told; });
  const auto end = std::chrono::steady_clock::now() + milliseconds(600);
  while (std::chrono::steady_clock::now() < end) {
    watch.enter(42);
    watch.leave();
  }
  EXPECT_EQ(told, 0);
}

}  // namespace
}  // namespace dipc
