#include "daemon/pager/memory_guard.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

namespace dipc::test {
namespace {

std::int64_t bytes_of(int fd) {
  struct stat status {};
  EXPECT_EQ(fstat(fd, &status), 0);
  return status.st_size;
}

TEST(MemoryGuard, TruncatesTheSegmentsOfAKilledDaemonAndNothingElse) {
  const int segment = memfd_create("dipc segment 5 of sun", MFD_CLOEXEC);
  const int other = memfd_create("somebody's", MFD_CLOEXEC);
  ASSERT_EQ(ftruncate(segment, 8192), 0);
  ASSERT_EQ(ftruncate(other, 8192), 0);
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const pid_t daemon = fork();
  if (daemon == 0) {
    const char byte = start_memory_guard() ? 'y' : 'n';
    if (write(ready[1], &byte, 1) != 1) _exit(1);
    for (;;) pause();
  }
  close(ready[1]);
  char byte = 0;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  EXPECT_EQ(byte, 'y');
  EXPECT_EQ(bytes_of(segment), 8192);
  ASSERT_EQ(kill(daemon, SIGKILL), 0);
  ASSERT_EQ(waitpid(daemon, nullptr, 0), daemon);
  // The guard has the other end of the pipe until it has done its work.
  EXPECT_EQ(read(ready[0], &byte, 1), 0);
  EXPECT_EQ(bytes_of(segment), 0);
  EXPECT_EQ(bytes_of(other), 8192);
  close(ready[0]);
  close(segment);
  close(other);
}

}  // namespace
}  // namespace dipc::test
