// In an IPC namespace of our own where we may make one: limits can be raised for large messages, and nothing is left
// behind however a test ends.

#include <gtest/gtest.h>
#include <sched.h>

#include <fstream>

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (unshare(CLONE_NEWIPC) == 0) {
    std::ofstream("/proc/sys/kernel/msgmax") << (4 << 20);
    std::ofstream("/proc/sys/kernel/msgmnb") << (4 << 20);
  }
  return RUN_ALL_TESTS();
}
