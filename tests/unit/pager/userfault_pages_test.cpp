// What programs see of pages that come, change and go.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

#include "tests/unit/pager/paged_host.h"

namespace dipc::test {
namespace {

const std::size_t kPage = kernel_page_bytes();

bool is_full_of(const std::optional<Bytes>& contents, char fill) {
  return contents && std::all_of(contents->begin(), contents->end(),
                                 [&](std::byte byte) { return byte == static_cast<std::byte>(fill); });
}

// Says the byte at `page` whenever it hears 'r', writes what it hears after 'w', ends at anything else.
int reads_and_writes(Program& program, std::size_t page = 0) {
  volatile char* memory = program.attach();
  if (!memory) return 1;
  program.say('!');
  for (;;) {
    switch (program.hear()) {
      case 'r':
        program.say(memory[page * kPage]);
        break;
      case 'w':
        memory[page * kPage] = program.hear();
        program.say('.');
        break;
      default:
        return 0;
    }
  }
}

TEST(UserfaultPages, ReadOfAHoleIsAFaultAndFindsWhatIsInstalled) {
  PagedHost host({.grants = false});
  Process program(host, [](Program& it) { return reads_and_writes(it, 2); });
  ASSERT_EQ(program.hear(), '!');
  program.say('r');
  ASSERT_TRUE(host.faulted(2, PageAccess::kRead));
  EXPECT_TRUE(host.install(2, 'x'));
  EXPECT_EQ(program.hear(), 'x');
}

TEST(UserfaultPages, WriteToASharedPageIsAFaultAndGoesOnWhenUpgraded) {
  PagedHost host({.grants = false});
  Process program(host, [](Program& it) { return reads_and_writes(it); });
  ASSERT_EQ(program.hear(), '!');
  ASSERT_TRUE(host.install(0, 'x'));
  program.say('r');
  EXPECT_EQ(program.hear(), 'x');
  EXPECT_TRUE(host.faults.empty());
  program.say('w');
  program.say('y');
  ASSERT_TRUE(host.faulted(0, PageAccess::kWrite));
  EXPECT_TRUE(host.upgrade(0));
  EXPECT_EQ(program.hear(), '.');
  const auto contents = host.take(0, false);
  ASSERT_TRUE(contents);
  EXPECT_EQ((*contents)[0], std::byte{'y'});
  EXPECT_EQ((*contents)[1], std::byte{'x'});
}

TEST(UserfaultPages, ContentsThatWereTakenChangeNoMore) {
  PagedHost host({.grants = false});
  Process program(host, [](Program& it) { return reads_and_writes(it); });
  ASSERT_EQ(program.hear(), '!');
  ASSERT_TRUE(host.install(0, 'x', true));
  program.say('w');
  program.say('y');
  EXPECT_EQ(program.hear(), '.');
  EXPECT_TRUE(host.faults.empty());  // it was exclusive
  ASSERT_TRUE(host.take(0, false));
  program.say('w');
  program.say('z');
  ASSERT_TRUE(host.faulted(0, PageAccess::kWrite));
  EXPECT_EQ(host.take(0, false)->front(), std::byte{'y'});
  ASSERT_TRUE(host.upgrade(0));
  EXPECT_EQ(program.hear(), '.');
  EXPECT_EQ(host.take(0, true)->front(), std::byte{'z'});
}

TEST(UserfaultPages, DroppedPageIsGoneFromAllPrograms) {
  PagedHost host({.grants = false});
  Process one(host, [](Program& it) { return reads_and_writes(it); });
  Process two(host, [](Program& it) { return reads_and_writes(it); });
  ASSERT_EQ(one.hear(), '!');
  ASSERT_EQ(two.hear(), '!');
  ASSERT_TRUE(host.install(0, 'x'));
  for (Process* each : {&one, &two}) {
    each->say('r');
    EXPECT_EQ(each->hear(), 'x');
  }
  ASSERT_TRUE(host.drop(0));
  one.say('r');
  two.say('r');
  ASSERT_TRUE(host.until([&] { return host.faults.size() == 2; }));
  ASSERT_TRUE(host.install(0, 'y'));
  EXPECT_EQ(one.hear(), 'y');
  EXPECT_EQ(two.hear(), 'y');
}

TEST(UserfaultPages, WhatSomebodyElseHasFilledIsLost) {
  PagedHost host({.grants = false});
  const auto offer = host.pager().offer(true);
  ASSERT_TRUE(offer);
  ASSERT_EQ(pwrite(offer->memory.get(), "z", 1, 0), 1);
  EXPECT_FALSE(host.install(0, 'x'));
  ASSERT_FALSE(host.log.empty());
  EXPECT_NE(host.log.back().find("somebody has filled it"), std::string::npos) << host.log.back();
  Process program(host, [](Program& it) { return static_cast<int>(it.attach()[0]); });
  EXPECT_EQ(program.status(), -SIGBUS);
}

TEST(UserfaultPages, NoContentsAreZeros) {
  PagedHost host;
  Process program(host, [](Program& it) {
    volatile char* memory = it.attach();
    for (std::size_t i = 0; i < 4 * kPage; ++i) {
      if (memory[i] != 0) return 1;
    }
    return 0;
  });
  EXPECT_EQ(program.status(), 0);
  EXPECT_EQ(host.faults.size(), 4);
}

TEST(UserfaultPages, SystemCallsReachPagesThatAreNotThere) {
  PagedHost host;
  host.put(0, 'a');
  host.put(1, 'b');
  Process program(host, [](Program& it) {
    auto* memory = const_cast<char*>(it.attach());
    int pipe_ends[2];
    char letter = 0;
    if (pipe(pipe_ends) != 0) return 1;
    if (write(pipe_ends[1], memory, 1) != 1 || read(pipe_ends[0], &letter, 1) != 1 || letter != 'a') return 2;
    letter = 'q';
    if (write(pipe_ends[1], &letter, 1) != 1 || read(pipe_ends[0], memory + kPage, 1) != 1) return 3;
    return memory[kPage] == 'q' && memory[kPage + 1] == 'b' ? 0 : 4;
  });
  EXPECT_EQ(program.status(), 0);
}

TEST(UserfaultPages, LateAttachmentOfAPresentPageIsProtectedToo) {
  PagedHost host({.grants = false});
  ASSERT_TRUE(host.install(0, 'x'));
  ASSERT_TRUE(host.install(1, 'y', true));
  Process shared(host, [](Program& it) { return reads_and_writes(it); });
  Process exclusive(host, [](Program& it) { return reads_and_writes(it, 1); });
  ASSERT_EQ(exclusive.hear(), '!');
  exclusive.say('w');
  exclusive.say('n');
  EXPECT_EQ(exclusive.hear(), '.');
  EXPECT_TRUE(host.faults.empty());
  ASSERT_EQ(shared.hear(), '!');
  shared.say('w');
  shared.say('z');
  ASSERT_TRUE(host.faulted(0, PageAccess::kWrite));
  EXPECT_TRUE(is_full_of(host.take(0, false), 'x'));
}

TEST(UserfaultPages, ReaderSeesEveryInstalledVersionAndCannotWrite) {
  PagedHost host({.grants = false});
  Process program(host, [](Program& it) {
    volatile char* memory = it.attach(false);
    if (!memory) return 1;
    it.say('!');
    while (it.hear() == 'r') it.say(memory[0]);
    memory[0] = 'w';
    return 2;
  });
  ASSERT_EQ(program.hear(), '!');
  for (const char version : {'a', 'b', 'c'}) {
    host.faults.clear();
    program.say('r');
    ASSERT_TRUE(host.faulted(0, PageAccess::kRead));
    ASSERT_TRUE(host.install(0, version, version == 'b'));
    EXPECT_EQ(program.hear(), version);
    EXPECT_TRUE(is_full_of(host.take(0, true), version));
  }
  ASSERT_TRUE(host.install(0, 'd'));
  program.say('w');
  EXPECT_EQ(program.status(), -SIGSEGV);
  EXPECT_TRUE(is_full_of(host.take(0, false), 'd'));
}

TEST(UserfaultPages, ReaderSeesStoresOfAWriterOfTheSameHost) {
  PagedHost host;
  Process writer(host, [](Program& it) { return reads_and_writes(it); });
  Process reader(host, [](Program& it) {
    volatile char* memory = it.attach(false);
    it.say('!');
    while (it.hear() == 'r') it.say(memory[0]);
    return 0;
  });
  ASSERT_EQ(writer.hear(), '!');
  ASSERT_EQ(reader.hear(), '!');
  for (const char version : {'a', 'b', 'c'}) {
    writer.say('w');
    writer.say(version);
    ASSERT_EQ(writer.hear(), '.');
    reader.say('r');
    EXPECT_EQ(reader.hear(), version);
  }
}

TEST(UserfaultPages, MemoryGivenForReadingCannotBeOpenedForWriting) {
  auto memory = SegmentMemory::make("test", kPage);
  ASSERT_TRUE(memory);
  const Descriptor reading = memory->share(false);
  ASSERT_TRUE(reading);
  const pid_t child = fork();
  if (child == 0) {
    if (setresuid(1000, 1000, 1000) != 0) _exit(1);
    const std::string path = "/proc/self/fd/" + std::to_string(reading.get());
    if (open(path.c_str(), O_RDWR) >= 0) _exit(2);
    if (write(reading.get(), "x", 1) >= 0) _exit(3);
    _exit(mmap(nullptr, kPage, PROT_WRITE, MAP_SHARED, reading.get(), 0) == MAP_FAILED ? 0 : 4);
  }
  int status;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

TEST(UserfaultPages, MlockallFillsNoHoles) {
  PagedHost host({.grants = false});
  Process program(host, [](Program& it) {
    if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0) return 1;
    // Not one that may be touched when it is mapped: mlockall would have filled it with zeros.
    volatile char* memory = it.attach();
    if (!memory) return 2;
    munlockall();
    it.say('!');
    return memory[0] == 'x' ? 0 : 3;
  });
  // mprotect of locked memory brings the pages in, which are faults like any other.
  ASSERT_TRUE(host.faulted(0, PageAccess::kRead) || host.faulted(0, PageAccess::kWrite));
  for (std::uint32_t page = 0; page < 4; ++page) ASSERT_TRUE(host.install(page, 'x', true));
  EXPECT_EQ(program.hear(), '!');
  EXPECT_EQ(program.status(), 0);
}

TEST(UserfaultPages, UnitOfSeveralPagesComesAndGoesAsOne) {
  PagedHost host({.segment_bytes = 5 * kPage, .unit_bytes = 4 * kPage});
  host.put(0, 'x');
  host.put(1, 'y');
  Process program(host, [](Program& it) {
    volatile char* memory = it.attach();
    if (it.attached_bytes() != 5 * kPage) return 1;
    if (memory[3 * kPage] != 'x' || memory[0] != 'x' || memory[4 * kPage] != 'y') return 2;
    memory[1 * kPage] = 'z';
    memory[2 * kPage] = 'z';
    it.say('!');
    return static_cast<int>(it.hear());
  });
  ASSERT_EQ(program.hear(), '!');
  EXPECT_EQ(host.faults.size(), 3);
  const auto contents = host.take(0, true);
  ASSERT_TRUE(contents);
  ASSERT_EQ(contents->size(), 4 * kPage);
  EXPECT_EQ((*contents)[0], std::byte{'x'});
  EXPECT_EQ((*contents)[kPage], std::byte{'z'});
  EXPECT_EQ((*contents)[2 * kPage], std::byte{'z'});
}

TEST(UserfaultPages, PageThatAProgramRemovedIsZerosIfItMayWriteIt) {
  PagedHost host;
  host.put(0, 'x');
  Process program(host, [](Program& it) {
    auto* memory = const_cast<char*>(it.attach());
    memory[0] = 'y';
    if (madvise(memory, kPage, MADV_REMOVE) != 0) return 1;
    return static_cast<volatile char*>(memory)[1] == 0 ? 0 : 2;
  });
  EXPECT_EQ(program.status(), 0);
}

TEST(UserfaultPages, PageThatAProgramRemovedIsZerosForOtherHostsToo) {
  PagedHost host;
  host.put(0, 'x');
  Process program(host, [](Program& it) {
    auto* memory = const_cast<char*>(it.attach());
    memory[0] = 'y';
    const volatile char* copy = it.attach(false);
    if (copy[0] != 'y') return 1;
    if (madvise(memory, kPage, MADV_REMOVE) != 0) return 2;
    it.say('!');
    it.hear();
    if (static_cast<volatile char*>(memory)[1] != 0) return 3;
    return copy[0] == 0 ? 0 : 4;
  });
  ASSERT_EQ(program.hear(), '!');
  EXPECT_TRUE(is_full_of(host.take(0, false), '\0'));
  program.say('g');
  EXPECT_EQ(program.status(), 0);
}

TEST(UserfaultPages, PageThatAProgramRemovedIsLostIfItWasForReading) {
  PagedHost host;
  host.put(0, 'x');
  Process program(host, [](Program& it) {
    auto* memory = const_cast<char*>(it.attach());
    if (static_cast<volatile char*>(memory)[0] != 'x') return 1;
    if (madvise(memory, kPage, MADV_REMOVE) != 0) return 2;
    it.say('!');
    return static_cast<int>(static_cast<volatile char*>(memory)[0]);
  });
  ASSERT_EQ(program.hear(), '!');
  EXPECT_EQ(program.status(), -SIGBUS);
  EXPECT_FALSE(host.take(0, false));
}

// Both ways to SIGBUS: of the kernel, and of one without UFFDIO_POISON.
class LostPages : public testing::TestWithParam<bool> {};

TEST_P(LostPages, AreSigbusForWhoWaitsForThem) {
  PagedHost host({.poisons = GetParam(), .grants = false});
  Process program(host, [](Program& it) { return reads_and_writes(it, 1); });
  ASSERT_EQ(program.hear(), '!');
  program.say('r');
  ASSERT_TRUE(host.faulted(1, PageAccess::kRead));
  host.lose(1);
  EXPECT_EQ(program.status(), -SIGBUS);
}

TEST_P(LostPages, AreSigbusForWhoHadThemAndWhoComesLater) {
  PagedHost host({.poisons = GetParam()});
  host.put(1, 'x');
  host.put(2, 'y');
  const auto body = [](Program& it) {
    volatile char* memory = it.attach();
    if (!memory) return 1;
    const bool others_live = memory[2 * kPage] == 'y';
    it.say('!');
    if (it.hear() == 'f' && fork() != 0) {  // the child does the rest
      int status;
      wait(&status);
      return WIFSIGNALED(status) ? -WTERMSIG(status) : 2;
    }
    return others_live ? memory[kPage] : 3;
  };
  Process early(host, body);
  ASSERT_EQ(early.hear(), '!');
  ASSERT_TRUE(host.install(1, 'x'));
  host.lose(1);
  Process late(host, body);
  Process forks(host, body);
  Process reader(host, [](Program& it) {
    volatile char* memory = it.attach(false);
    it.say('!');
    it.hear();
    return memory[kPage];
  });
  for (Process* each : {&late, &forks, &reader}) ASSERT_EQ(each->hear(), '!');
  forks.say('f');
  for (Process* each : {&early, &late, &reader}) each->say('t');
  for (Process* each : {&early, &late, &reader}) EXPECT_EQ(each->status(), -SIGBUS);
  EXPECT_EQ(forks.status(), 256 - SIGBUS);
}

// Only the kernel can let a system call fail; from without it can but be killed.
TEST_P(LostPages, AreEfaultForASystemCall) {
  PagedHost host({.poisons = GetParam(), .grants = false});
  Process program(host, [](Program& it) {
    auto* memory = const_cast<char*>(it.attach());
    int pipe_ends[2];
    signal(SIGBUS, [](int) {});
    if (pipe(pipe_ends) != 0) return 1;
    return write(pipe_ends[1], memory, 1) == -1 && errno == EFAULT ? 0 : 2;
  });
  ASSERT_TRUE(host.faulted(0, PageAccess::kRead));
  host.lose(0);
  EXPECT_EQ(program.status(), GetParam() ? 0 : -SIGKILL);
}

TEST_P(LostPages, EndAProgramThatIgnoresSigbus) {
  PagedHost host({.poisons = GetParam(), .grants = false});
  Process program(host, [](Program& it) {
    signal(SIGBUS, SIG_IGN);
    return reads_and_writes(it);
  });
  ASSERT_EQ(program.hear(), '!');
  host.lose(0);
  program.say('r');
  EXPECT_EQ(program.status(), GetParam() ? -SIGBUS : -SIGKILL);
}

INSTANTIATE_TEST_SUITE_P(Both, LostPages, testing::Bool(),
                         [](const auto& with) { return with.param ? "Poisoned" : "WithoutPoison"; });

TEST(UserfaultPages, LostSegmentIsSigbusForEverybody) {
  PagedHost host({.grants = false});
  Process waits(host, [](Program& it) { return reads_and_writes(it); });
  Process has(host, [](Program& it) { return reads_and_writes(it, 1); });
  Process reader(host, [](Program& it) {
    volatile char* memory = it.attach(false);
    it.say('!');
    it.hear();
    return memory[kPage];
  });
  for (Process* each : {&waits, &has, &reader}) ASSERT_EQ(each->hear(), '!');
  ASSERT_TRUE(host.install(1, 'x', true));
  waits.say('r');
  ASSERT_TRUE(host.faulted(0, PageAccess::kRead));
  host.lose_all();
  has.say('r');
  reader.say('r');
  for (Process* each : {&waits, &has, &reader}) EXPECT_EQ(each->status(), -SIGBUS);
  EXPECT_FALSE(host.install(2, 'z'));
  Process late(host, [](Program& it) { return it.attach() ? 1 : 0; });
  EXPECT_EQ(late.status(), 0);
}

}  // namespace
}  // namespace dipc::test
