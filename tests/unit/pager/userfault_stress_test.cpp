// Programs hammer a few pages while these are granted and taken in random order; nothing that was written is lost, and
// nothing old is read.
//
// Each thread of each process has a slot in each page that nobody else writes, and remembers what it wrote there last;
// all count together with atomic adds; and the host plays another host that counts while it has the page.

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <random>
#include <thread>

#include "tests/unit/pager/paged_host.h"

namespace dipc::test {
namespace {

constexpr std::uint32_t kPages = 4;
constexpr int kProcesses = 2;
constexpr int kThreads = 2;  // of each process
constexpr int kMappings = 2;
constexpr auto kHammering = std::chrono::seconds(5);

struct PageLayout {
  std::uint64_t counter;  // by all threads, and by the other host
  std::uint64_t remote;   // by the other host, growing
  std::uint64_t slots[kProcesses * kThreads];
  std::uint64_t system_call_slots[kProcesses * kThreads];  // likewise, by read(2)
};

// Between the processes and the test, in memory that nobody pages.
struct Ledger {
  std::atomic<bool> stops;
  std::atomic<std::uint64_t> counted[kPages];
  std::atomic<std::uint64_t> operations;
  std::atomic<std::uint64_t> lost;         // a slot had not what was written last
  std::atomic<std::uint64_t> went_back;    // an older version of a page was read
  std::atomic<std::uint64_t> calls_wrong;  // a system call read or wrote something else
  std::uint64_t last[kProcesses * kThreads][kPages];
};

void hammer(Ledger& ledger, volatile char* const (&mappings)[kMappings], volatile char* for_reading, int thread) {
  std::minstd_rand random(static_cast<unsigned>(thread + 1));
  std::uint64_t slots[kPages] = {};
  std::uint64_t call_slots[kPages] = {};
  std::uint64_t remotes[kPages] = {};
  int pipe_ends[2];
  if (pipe(pipe_ends) != 0) _exit(9);
  while (!ledger.stops) {
    const std::uint32_t page = random() % kPages;
    auto* mapping = const_cast<char*>(mappings[random() % kMappings]);
    auto* memory = reinterpret_cast<PageLayout*>(mapping + page * kernel_page_bytes());
    switch (random() % 8) {
      case 0:
      case 1:
        __atomic_fetch_add(&memory->counter, 1, __ATOMIC_SEQ_CST);
        ++ledger.counted[page];
        break;
      case 2:
      case 3: {
        auto* slot = static_cast<volatile std::uint64_t*>(&memory->slots[thread]);
        if (*slot != slots[page]) ++ledger.lost;
        *slot = ++slots[page];
        break;
      }
      case 4:
      case 5: {
        const std::uint64_t remote = *static_cast<volatile std::uint64_t*>(&memory->remote);
        if (remote < remotes[page]) ++ledger.went_back;
        remotes[page] = remote;
        const auto* copy = reinterpret_cast<PageLayout*>(const_cast<char*>(for_reading) + page * kernel_page_bytes());
        if (*static_cast<const volatile std::uint64_t*>(&copy->slots[thread]) != slots[page]) ++ledger.went_back;
        break;
      }
      case 6: {
        std::uint64_t value = 0;
        std::uint64_t* slot = &memory->system_call_slots[thread];
        if (write(pipe_ends[1], slot, sizeof *slot) != sizeof *slot ||
            read(pipe_ends[0], &value, sizeof value) != sizeof value || value != call_slots[page]) {
          ++ledger.calls_wrong;
        }
        value = ++call_slots[page];
        if (write(pipe_ends[1], &value, sizeof value) != sizeof value ||
            read(pipe_ends[0], slot, sizeof *slot) != sizeof *slot) {
          ++ledger.calls_wrong;
        }
        break;
      }
      default:
        break;
    }
    ++ledger.operations;
  }
  std::memcpy(ledger.last[thread], slots, sizeof slots);
}

TEST(UserfaultStress, NothingIsLostAndNothingOldIsRead) {
  if (!kThreadsAfterFork) GTEST_SKIP() << "needs threads after fork, which sanitizers have not";
  auto* ledger =
      static_cast<Ledger*>(mmap(nullptr, sizeof(Ledger), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  ASSERT_NE(ledger, MAP_FAILED);
  PagedHost host({.segment_bytes = kPages * kernel_page_bytes()});
  std::vector<std::unique_ptr<Process>> programs;
  for (int process = 0; process < kProcesses; ++process) {
    programs.push_back(std::make_unique<Process>(host, [ledger, process](Program& it) {
      volatile char* mappings[kMappings];
      for (auto& mapping : mappings) mapping = it.attach();
      volatile char* for_reading = it.attach(false);
      std::vector<std::thread> threads;
      for (int thread = 0; thread < kThreads; ++thread) {
        threads.emplace_back([&, thread] { hammer(*ledger, mappings, for_reading, process * kThreads + thread); });
      }
      for (std::thread& thread : threads) thread.join();
      return 0;
    }));
  }
  std::mt19937 random(1);
  std::uint64_t counted[kPages] = {};
  std::uint64_t taken = 0;
  host.while_away = [&](std::uint32_t page, Bytes& contents) {
    PageLayout layout;
    std::memcpy(&layout, contents.data(), sizeof layout);
    ++layout.remote;
    ++layout.counter;
    ++counted[page];
    std::memcpy(contents.data(), &layout, sizeof layout);
  };
  const auto end = std::chrono::steady_clock::now() + kHammering;
  ASSERT_TRUE(host.until([&] { return host.attachments == kProcesses * (kMappings + 1); }));
  while (std::chrono::steady_clock::now() < end) {
    const std::uint32_t page = random() % kPages;
    if (!host.is_here(page)) {
      host.until([&] { return host.is_here(page); });
      continue;
    }
    ASSERT_TRUE(host.take(page, random() % 3 != 0));
    ++taken;
  }
  ledger->stops = true;
  for (const auto& program : programs) EXPECT_EQ(program->status(), 0);
  for (std::uint32_t page = 0; page < kPages; ++page) {
    host.while_away = nullptr;
    const auto contents = host.is_here(page) ? host.take(page, true) : host.contents(page);
    ASSERT_TRUE(contents);
    PageLayout layout;
    std::memcpy(&layout, contents->data(), sizeof layout);
    EXPECT_EQ(layout.counter, ledger->counted[page] + counted[page]) << "page " << page;
    EXPECT_EQ(layout.remote, counted[page]);
    for (int thread = 0; thread < kProcesses * kThreads; ++thread) {
      EXPECT_EQ(layout.slots[thread], ledger->last[thread][page]) << "page " << page << " thread " << thread;
    }
  }
  EXPECT_EQ(ledger->lost, 0);
  EXPECT_EQ(ledger->went_back, 0);
  EXPECT_EQ(ledger->calls_wrong, 0);
  EXPECT_TRUE(host.log.empty()) << host.log.front();
  EXPECT_GT(taken, 1000);
  RecordProperty("operations", std::to_string(ledger->operations));
  RecordProperty("taken", std::to_string(taken));
  std::printf("%s operations, %s pages taken\n", std::to_string(ledger->operations).c_str(),
              std::to_string(taken).c_str());
  munmap(ledger, sizeof(Ledger));
}

}  // namespace
}  // namespace dipc::test
