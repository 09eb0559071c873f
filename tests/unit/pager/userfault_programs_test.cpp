// What programs do with an attachment: fork, exec, exit, move and unmap it, many of them, many times.

#include <gtest/gtest.h>
#include <poll.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <thread>

#include "tests/unit/pager/paged_host.h"

namespace dipc::test {
namespace {

const std::size_t kPage = kernel_page_bytes();

pid_t fork_by_libc() { return fork(); }
pid_t fork_by_number() { return static_cast<pid_t>(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0)); }

class Forks : public testing::TestWithParam<pid_t (*)()> {};

TEST_P(Forks, ChildIsPagedFromBirth) {
  PagedHost host;
  host.put(0, 'a');
  host.put(1, 'b');
  Process program(host, [](Program& it) {
    volatile char* memory = it.attach();
    if (memory[0] != 'a') return 1;
    const pid_t child = GetParam()();
    if (child == 0) {
      if (memory[kPage] != 'b') _exit(2);
      memory[0] = 'c';  // protected in the child as in its parent
      _exit(memory[0] == 'c' ? 0 : 3);
    }
    int status;
    waitpid(child, &status, 0);
    if (status != 0) return 10 + WEXITSTATUS(status);
    it.say('!');
    it.hear();
    return memory[0] == 'c' && memory[kPage] == 'b' ? 0 : 4;
  });
  ASSERT_EQ(program.hear(), '!');
  EXPECT_TRUE(host.faulted(0, PageAccess::kWrite));
  EXPECT_EQ(host.take(0, true)->front(), std::byte{'c'});
  program.say('g');
  EXPECT_EQ(program.status(), 0);
  EXPECT_EQ(host.forks, 1);
}

TEST_P(Forks, ChildIsAnAttachmentMoreUntilItEnds) {
  PagedHost host;
  Process program(host, [](Program& it) {
    it.attach();
    const pid_t child = GetParam()();
    if (child == 0) {
      it.say('c');
      it.hear();
      _exit(0);
    }
    waitpid(child, nullptr, 0);
    it.say('p');
    it.hear();
    return 0;
  });
  ASSERT_EQ(program.hear(), 'c');
  host.settle();
  EXPECT_EQ(host.attachments, 2);
  program.say('g');
  ASSERT_EQ(program.hear(), 'p');
  host.settle();  // whoever has waited for a child finds it gone
  EXPECT_EQ(host.attachments, 1);
  program.say('g');
  EXPECT_EQ(program.status(), 0);
  host.settle();
  EXPECT_EQ(host.attachments, 0);
}

INSTANTIATE_TEST_SUITE_P(Both, Forks, testing::Values(fork_by_libc, fork_by_number),
                         [](const auto& by) { return by.param == fork_by_libc ? "ByLibc" : "ByNumber"; });

TEST(UserfaultPrograms, ForkOfManyThreadsLosesNoAttachment) {
  if (!kThreadsAfterFork) GTEST_SKIP() << "needs threads after fork, which sanitizers have not";
  PagedHost host;
  Process program(host, [](Program& it) {
    volatile char* memory = it.attach();
    std::vector<std::thread> threads;
    std::atomic<int> wrong{0};
    for (std::size_t thread = 0; thread < 4; ++thread) {
      threads.emplace_back([&, thread] {
        for (int i = 0; i < 20; ++i) {
          const pid_t child = fork();
          if (child == 0) {
            memory[thread * kPage] = static_cast<char>(i);
            _exit(0);
          }
          int status;
          waitpid(child, &status, 0);
          if (status != 0 || memory[thread * kPage] != static_cast<char>(i)) ++wrong;
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    return wrong.load();
  });
  EXPECT_EQ(program.status(), 0);
  host.settle();
  EXPECT_EQ(host.forks, 80);
  EXPECT_EQ(host.attachments, 0);
}

// As long as a fork was not read of, the kernel does nothing for us: EAGAIN.
TEST(UserfaultPrograms, WhoForksWhileItsPageIsTakenLosesNoStore) {
  if (!kThreadsAfterFork) GTEST_SKIP() << "needs threads after fork, which sanitizers have not";
  PagedHost host;
  Process program(host, [](Program& it) {
    volatile char* memory = it.attach();
    auto* number = reinterpret_cast<std::uint32_t*>(const_cast<char*>(memory));
    std::atomic<bool> ends{false};
    std::thread forks([&] {
      while (!ends) {
        const pid_t child = fork();
        if (child == 0) _exit(0);
        waitpid(child, nullptr, 0);
      }
    });
    std::uint32_t counted = 0;
    for (pollfd told{it.socket(), POLLIN, 0}; counted % 64 != 0 || poll(&told, 1, 0) == 0; ++counted) {
      __atomic_fetch_add(number, 1, __ATOMIC_SEQ_CST);
    }
    ends = true;
    forks.join();
    __atomic_fetch_sub(number, counted, __ATOMIC_SEQ_CST);
    return 0;
  });
  std::uint32_t others = 0;
  host.while_away = [&](std::uint32_t, Bytes& contents) {
    std::uint32_t number = 0;
    std::memcpy(&number, contents.data(), sizeof number);
    ++number;
    ++others;
    std::memcpy(contents.data(), &number, sizeof number);
  };
  for (int turn = 0; turn < 1000; ++turn) {
    ASSERT_TRUE(host.until([&] { return host.is_here(0); }));
    ASSERT_TRUE(host.take(0, turn % 2 == 0));
  }
  program.say('e');
  EXPECT_EQ(program.status(), 0);
  host.while_away = nullptr;
  const auto contents = host.is_here(0) ? host.take(0, true) : host.contents(0);
  ASSERT_TRUE(contents);
  std::uint32_t number = 0;
  std::memcpy(&number, contents->data(), sizeof number);
  EXPECT_EQ(number, others);
  EXPECT_GT(host.forks, 10);
}

TEST(UserfaultPrograms, ExecDetaches) {
  PagedHost host;
  Process program(host, [](Program& it) {
    it.attach();
    it.say('!');
    it.hear();
    execl("/bin/sleep", "sleep", "100", nullptr);
    return 1;
  });
  ASSERT_EQ(program.hear(), '!');
  EXPECT_EQ(host.attachments, 1);
  program.say('g');
  EXPECT_TRUE(host.until([&] { return host.attachments == 0; }));
}

TEST(UserfaultPrograms, KilledInsideAFaultDetachesAndHarmsNobody) {
  PagedHost host({.grants = false});
  const auto reads = [](Program& it) { return static_cast<int>(it.attach()[0]); };
  Process dies(host, reads);
  Process lives(host, reads);
  ASSERT_TRUE(host.until([&] { return host.faults.size() == 2; }));
  dies.kill();
  EXPECT_EQ(dies.status(), -SIGKILL);
  host.settle();
  EXPECT_EQ(host.attachments, 1);
  EXPECT_TRUE(host.install(0, 'x'));
  EXPECT_EQ(lives.status(), 'x');
}

TEST(UserfaultPrograms, AttachmentEndsWithItsLastPart) {
  PagedHost host;
  host.put(2, 'x');
  Process program(host, [](Program& it) {
    auto* memory = const_cast<char*>(it.attach());
    munmap(memory + kPage, kPage);
    it.say('!');
    it.hear();
    if (static_cast<volatile char*>(memory)[2 * kPage] != 'x') return 1;
    munmap(memory, 4 * kPage);
    it.say('!');
    it.hear();
    return 0;
  });
  ASSERT_EQ(program.hear(), '!');
  host.settle();
  EXPECT_EQ(host.attachments, 1);
  EXPECT_TRUE(host.install(1, 'y'));  // of which nothing is mapped
  program.say('g');
  ASSERT_EQ(program.hear(), '!');
  host.settle();
  EXPECT_EQ(host.attachments, 0);
}

TEST(UserfaultPrograms, MovedAttachmentIsPagedWhereItIs) {
  PagedHost host;
  host.put(0, 'x');
  host.put(1, 'y');
  Process program(host, [](Program& it) {
    auto* memory = const_cast<char*>(it.attach());
    if (static_cast<volatile char*>(memory)[0] != 'x') return 1;
    void* free_place = mmap(nullptr, 4 * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memory = static_cast<char*>(mremap(memory, 4 * kPage, 4 * kPage, MREMAP_MAYMOVE | MREMAP_FIXED, free_place));
    if (memory != free_place) return 2;
    if (static_cast<volatile char*>(memory)[kPage] != 'y') return 3;
    memory[0] = 'z';  // still protected
    it.say('!');
    it.hear();
    return 0;
  });
  ASSERT_EQ(program.hear(), '!');
  EXPECT_TRUE(host.faulted(0, PageAccess::kWrite));
  EXPECT_EQ(host.take(0, true)->front(), std::byte{'z'});
  host.settle();
  EXPECT_EQ(host.attachments, 1);
}

TEST(UserfaultPrograms, SeveralAttachmentsOfOneProcessAreOneMemory) {
  PagedHost host;
  Process program(host, [](Program& it) {
    volatile char* first = it.attach();
    volatile char* second = it.attach();
    volatile char* third = it.attach(false);
    for (char version = 'a'; version < 'z'; ++version) {
      (version % 2 == 0 ? first : second)[0] = version;
      if (first[0] != version || second[0] != version || third[0] != version) return 1;
      it.say('t');
      it.hear();
    }
    return 0;
  });
  for (char version = 'a'; version < 'z'; ++version) {
    ASSERT_EQ(program.hear(), 't');
    EXPECT_EQ(host.take(0, version % 3 == 0)->front(), static_cast<std::byte>(version));
    program.say('g');
  }
  EXPECT_EQ(program.status(), 0);
}

TEST(UserfaultPrograms, ProgramThatClosesAllItsDescriptorsIsPagedAllTheSame) {
  PagedHost host;
  host.put(0, 'x');
  Process program(host, [](Program& it) {
    volatile char* memory = it.attach();
    if (close_range(3, ~0U, 0) != 0) return 1;
    const pid_t child = fork();
    if (child == 0) _exit(memory[0] == 'x' ? 0 : 2);
    int status;
    waitpid(child, &status, 0);
    memory[0] = 'y';
    return status;
  });
  EXPECT_EQ(program.status(), 0);
  EXPECT_EQ(host.take(0, false)->front(), std::byte{'y'});
}

TEST(UserfaultPrograms, HundredProcessesWriteTheirOwnByteOfOnePage) {
  constexpr int kCount = 100;
  PagedHost host;
  std::vector<std::unique_ptr<Process>> programs;
  for (int i = 0; i < kCount; ++i) {
    programs.push_back(std::make_unique<Process>(host, [i](Program& it) {
      volatile char* memory = it.attach();
      for (pollfd told{it.socket(), POLLIN, 0}; poll(&told, 1, 0) == 0;) {  // until the test has taken it often enough
        memory[i] = static_cast<char>(i + 1);
        if (memory[i] != static_cast<char>(i + 1)) return 1;
      }
      return 0;
    }));
  }
  for (int turn = 0; turn < 20; ++turn) {
    ASSERT_TRUE(host.until([&] { return host.is_here(0); }));
    ASSERT_TRUE(host.take(0, turn % 2 == 0));
  }
  for (const auto& program : programs) program->say('e');
  for (const auto& program : programs) EXPECT_EQ(program->status(), 0);
  const auto contents = host.is_here(0) ? host.take(0, true) : host.contents(0);
  ASSERT_TRUE(contents);
  for (int i = 0; i < kCount; ++i) {
    EXPECT_EQ((*contents)[static_cast<std::size_t>(i)], static_cast<std::byte>(i + 1));
  }
  host.settle();
  EXPECT_EQ(host.attachments, 0);
}

TEST(UserfaultPrograms, WhatIsNotAUserfaultfdIsRefused) {
  PagedHost host;
  Process program(host, [](Program&) { return 0; });
  const auto offer = host.pager().offer(true);
  ASSERT_TRUE(offer);
  // A ticket counts once, whatever came with it.
  host.pager().attached(offer->ticket, program.pid(), 0x100000, Descriptor(dup(0)));
  host.settle();
  EXPECT_EQ(host.refused, std::vector<int>{EINVAL});
  host.pager().attached(offer->ticket, program.pid(), 0x100000, Descriptor());
  host.settle();
  EXPECT_EQ(host.refused, (std::vector<int>{EINVAL, EINVAL}));
  EXPECT_EQ(host.attachments, 0);
}

}  // namespace
}  // namespace dipc::test
