#include "daemon/pager/memory_guard.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include "daemon/pager/pager.h"
#include "daemon/pager/userfault.h"

namespace dipc::test {
namespace {

std::int64_t bytes_of(int fd) {
  struct stat status {};
  EXPECT_EQ(fstat(fd, &status), 0);
  return status.st_size;
}

// Within 20 s.
void expect_empty(int fd) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (bytes_of(fd) != 0 && std::chrono::steady_clock::now() < until) usleep(1000);
  EXPECT_EQ(bytes_of(fd), 0);
}

Descriptor memory(const char* name) {
  Descriptor made(memfd_create(name, MFD_CLOEXEC));
  EXPECT_EQ(ftruncate(made.get(), 8192), 0);
  return made;
}

class MemoryGuard : public testing::Test {
 protected:
  MemoryGuard() {
    int ends[2];
    EXPECT_EQ(pipe(ends), 0);
    ready_ = Descriptor(ends[0]);
    told_ = Descriptor(ends[1]);
  }
  ~MemoryGuard() override {
    end(daemon_);
    end(writer_);
  }
  static void end(pid_t& pid) {
    if (pid == 0) return;
    EXPECT_EQ(kill(pid, SIGKILL), 0);
    EXPECT_EQ(waitpid(pid, nullptr, 0), pid);
    pid = 0;
  }
  char hear() const {
    char byte = 0;
    return read(ready_.get(), &byte, 1) == 1 ? byte : '\0';
  }
  void say(char byte) const {
    if (write(told_.get(), &byte, 1) != 1) _exit(1);
  }
  // A guard that shares descriptors has the end that is written to, too, until it has done its work.
  enum class Table { kHasRoom, kIsFull };
  void start_daemon(int memory, Table table = Table::kHasRoom, int guards_killed = 0) {
    daemon_ = fork();
    if (daemon_ == 0) {
      const rlimit few{64, 64};
      if (setrlimit(RLIMIT_NOFILE, &few) != 0) _exit(1);
      while (guards_killed-- > 0) {
        const auto guard = start_memory_guard();
        if (!guard || !kills(*guard)) say('n');
      }
      const bool guarded = start_memory_guard() && tell_memory_guard(memory);
      while (table == Table::kIsFull && dup(0) >= 0) {
      }
      say(guarded ? 'y' : 'n');
      for (;;) pause();
    }
    told_ = Descriptor();
    ASSERT_EQ(hear(), 'y');
  }
  // One that is told has no descriptor. False: it does not end.
  static bool kills(const Descriptor& guard) {
    if (!guard) return true;
    pollfd ended{guard.get(), POLLIN, 0};
    if (poll(&ended, 1, 0) != 0) return false;
    return syscall(SYS_pidfd_send_signal, guard.get(), SIGKILL, nullptr, 0) == 0 && poll(&ended, 1, 20'000) == 1;
  }
  // A program that writes a page which never comes into the memory.
  void start_writer(int memory) {
    writer_ = fork();
    if (writer_ == 0) {
      const Descriptor device = Userfault::open_device();
      const Userfault userfault(Userfault::make(device.get()));
      void* page = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      const auto address = reinterpret_cast<std::uintptr_t>(page);
      if (userfault.set_up(false) != 0 || userfault.watch(address, 4096, Userfault::Also::kNothing) != 0) _exit(1);
      std::thread watches([&] {
        pollfd faulted{userfault.fd(), POLLIN, 0};
        if (poll(&faulted, 1, -1) != 1) _exit(1);
        say('w');
        told_ = Descriptor();
      });
      if (pwrite(memory, page, 4096, 0) < 0) _exit(2);
      _exit(3);
    }
    ASSERT_EQ(hear(), 'w');
  }

  pid_t daemon_ = 0;
  pid_t writer_ = 0;
  Descriptor ready_, told_;
};

TEST_F(MemoryGuard, TruncatesTheSegmentsOfAKilledDaemonAndNothingElse) {
  const Descriptor segment = memory("dipc segment 5 of sun");
  const Descriptor other = memory("somebody's");
  start_daemon(segment.get());
  EXPECT_EQ(bytes_of(segment.get()), 8192);
  end(daemon_);
  expect_empty(segment.get());
  EXPECT_EQ(bytes_of(other.get()), 8192);
}

TEST_F(MemoryGuard, DoesSoWhereTheTableOfDescriptorsIsFull) {
  const Descriptor segment = memory("dipc segment 5 of sun");
  start_daemon(segment.get(), Table::kIsFull);
  end(daemon_);
  expect_empty(segment.get());
}

TEST_F(MemoryGuard, OneThatWasKilledHasASuccessorHoweverOften) {
  const Descriptor segment = memory("dipc segment 5 of sun");
  start_daemon(segment.get(), Table::kHasRoom, 100);  // what each leaves open would be too much
  end(daemon_);
  expect_empty(segment.get());
}

TEST_F(MemoryGuard, WhoHoldsUpTheEndOfOneSegmentHoldsUpNoOther) {
  if (const auto choice = choose_pager(std::nullopt); choice.kind != PagerKind::kUserfault)
    GTEST_SKIP() << choice.reason;
  const Descriptor first = memory("dipc segment 1 of sun");
  const Descriptor held = memory("dipc segment 2 of sun");
  const Descriptor last = memory("dipc segment 3 of sun");
  start_writer(held.get());
  start_daemon(-1);
  end(daemon_);
  pollfd ended{ready_.get(), POLLIN, 0};
  EXPECT_EQ(poll(&ended, 1, 20'000), 1) << "the guard has not ended";
  EXPECT_EQ(bytes_of(first.get()), 0);
  EXPECT_EQ(bytes_of(held.get()), 8192);
  EXPECT_EQ(bytes_of(last.get()), 0);
  end(writer_);
  expect_empty(held.get());
}

}  // namespace
}  // namespace dipc::test
