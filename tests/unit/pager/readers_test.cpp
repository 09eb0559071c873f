// Programs that may only read a segment: what they do with the memory they were given harms nobody else.

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "tests/unit/pager/paged_host.h"

namespace dipc::test {
namespace {

const std::size_t kPage = kernel_page_bytes();

// Touches all of what is offered for reading, where nobody watches, again and again.
class Toucher {
 public:
  explicit Toucher(PagedHost& host) {
    const auto offer = host.pager().offer(false);
    if (!offer) return;
    bytes_ = static_cast<std::size_t>(offer->map_bytes);
    memory_ = mmap(nullptr, bytes_, PROT_READ, MAP_SHARED, offer->memory.get(), 0);
    if (memory_ != MAP_FAILED) thread_ = std::thread([this] { touch(); });
  }
  ~Toucher() {
    stops_ = true;
    if (thread_.joinable()) thread_.join();
    if (memory_ != MAP_FAILED) munmap(memory_, bytes_);
  }
  bool is_at_it() const { return thread_.joinable(); }
  std::uint64_t touched() const { return touched_; }

 private:
  void touch() {
    const auto* memory = static_cast<volatile char*>(memory_);
    while (!stops_) {
      for (std::size_t at = 0; at < bytes_; at += kPage) (void)memory[at];
      ++touched_;
    }
  }
  void* memory_ = MAP_FAILED;
  std::size_t bytes_ = 0;
  std::atomic<bool> stops_ = false;
  std::atomic<std::uint64_t> touched_ = 0;
  std::thread thread_;
};

class Readers : public testing::TestWithParam<PagerKind> {};

TEST_P(Readers, LoseNoPageByTouchingWhatIsNotThere) {
  PagedHost host({.kind = GetParam(), .grants = false});
  const Toucher toucher(host);
  ASSERT_TRUE(toucher.is_at_it());
  ASSERT_TRUE(host.until([&] { return toucher.touched() > 0; }));
  for (int turn = 0; turn < 500; ++turn) {
    for (std::uint32_t page = 0; page < 4; ++page) {
      ASSERT_TRUE(host.install(page, static_cast<char>(turn + 1), turn % 2 == 0)) << "turn " << turn;
    }
    for (std::uint32_t page = 0; page < 4; ++page) {
      if (turn % 3 == 0) {
        ASSERT_TRUE(host.drop(page)) << "turn " << turn;
      } else {
        const auto contents = host.take(page, true);
        ASSERT_TRUE(contents) << "turn " << turn;
        ASSERT_EQ(contents->front(), static_cast<std::byte>(turn + 1));
      }
    }
  }
  EXPECT_TRUE(host.log.empty()) << host.log.front();
}

std::vector<PagerKind> kinds() {
  if (choose_pager(std::nullopt).kind == PagerKind::kSignal) return {PagerKind::kSignal};
  return {PagerKind::kUserfault, PagerKind::kSignal};
}
INSTANTIATE_TEST_SUITE_P(Both, Readers, testing::ValuesIn(kinds()),
                         [](const auto& by) { return by.param == PagerKind::kUserfault ? "Userfault" : "Signal"; });

bool has_userfault() { return choose_pager(std::nullopt).kind == PagerKind::kUserfault; }

// Reads or writes the first byte of a page when it is told to: 'r' page, 'w' page letter.
int obeys(Program& it, bool writable) {
  volatile char* memory = it.attach(writable);
  if (!memory) return 1;
  it.say('!');
  for (;;) {
    const char what = it.hear();
    if (what != 'r' && what != 'w') return 0;
    const auto page = static_cast<std::size_t>(it.hear() - '0');
    if (what == 'w') memory[page * kPage] = it.hear();
    it.say(memory[page * kPage]);
  }
}

TEST(UserfaultReaders, NobodyReadsTheZerosThatAReaderHasMade) {
  if (!has_userfault()) GTEST_SKIP() << "no userfaultfd here";
  PagedHost host;
  for (std::uint32_t page = 0; page < 4; ++page) host.put(page, static_cast<char>('a' + page));
  Process makes_zeros(host, [](Program& it) {
    if (!it.attach(false)) return 1;
    const auto* own = static_cast<volatile char*>(mmap(nullptr, 4 * kPage, PROT_READ, MAP_SHARED, it.memory(), 0));
    for (std::size_t page = 0; page < 4; ++page) {
      if (own[page * kPage] != 0) return 2;
    }
    it.say('!');
    it.hear();
    return 0;
  });
  ASSERT_EQ(makes_zeros.hear(), '!');
  Process reads(host, [](Program& it) { return obeys(it, false); });
  Process writes(host, [](Program& it) { return obeys(it, true); });
  ASSERT_EQ(reads.hear(), '!');
  ASSERT_EQ(writes.hear(), '!');
  for (const char page : {'0', '1', '2', '3'}) {
    Process& who = page % 2 == 0 ? reads : writes;
    who.say('r');
    who.say(page);
    EXPECT_EQ(who.hear(), 'a' + (page - '0'));
  }
  EXPECT_TRUE(host.log.empty()) << host.log.front();
}

TEST(UserfaultReaders, ReadEveryStoreOfAWriterBesideThem) {
  if (!has_userfault()) GTEST_SKIP() << "no userfaultfd here";
  PagedHost host;
  Process reads(host, [](Program& it) { return obeys(it, false); });
  Process writes(host, [](Program& it) { return obeys(it, true); });
  const Toucher toucher(host);
  ASSERT_TRUE(toucher.is_at_it());
  ASSERT_EQ(reads.hear(), '!');
  ASSERT_EQ(writes.hear(), '!');
  for (int turn = 0; turn < 200; ++turn) {
    const char page = static_cast<char>('0' + turn % 3);
    const char letter = static_cast<char>('a' + turn % 26);
    for (const char told : {'w', page, letter}) writes.say(told);
    ASSERT_EQ(writes.hear(), letter);
    for (const char told : {'r', page}) reads.say(told);
    ASSERT_EQ(reads.hear(), letter) << "turn " << turn;
    if (turn % 7 == 0) {
      ASSERT_TRUE(host.take(static_cast<std::uint32_t>(page - '0'), turn % 2 == 0));
    }
  }
}

// Stores and loads of 8 bytes that lie on two pages: one side must not take a page from the other again and again
// before it has had both.
TEST(UserfaultReaders, AccessAcrossTwoPagesThatOthersWriteGetsOn) {
  if (!has_userfault()) GTEST_SKIP() << "no userfaultfd here";
  PagedHost host;
  struct Ledger {
    std::atomic<std::uint64_t> stored, loaded, went_back;
    std::atomic<bool> stops;
  };
  auto* ledger =
      static_cast<Ledger*>(mmap(nullptr, sizeof(Ledger), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  ASSERT_NE(ledger, MAP_FAILED);
  const auto across = [](volatile char* memory) {
    return reinterpret_cast<volatile std::uint64_t*>(const_cast<char*>(memory) + kPage - 4);
  };
  Process writes(host, [&](Program& it) {
    volatile std::uint64_t* number = across(it.attach());
    while (!ledger->stops) *number = (ledger->stored += 1) * 0x100000001;
    return 0;
  });
  Process reads(host, [&](Program& it) {
    volatile std::uint64_t* number = across(it.attach(false));
    for (std::uint64_t last = 0; !ledger->stops; ledger->loaded += 1) {
      const std::uint64_t half = *number >> 32;
      if (half < last) ledger->went_back += 1;
      last = half;
    }
    return 0;
  });
  EXPECT_TRUE(host.until([&] { return ledger->stored > 1000 && ledger->loaded > 1000; }))
      << ledger->stored << " stored, " << ledger->loaded << " loaded";
  ledger->stops = true;
  EXPECT_EQ(writes.status(), 0);
  EXPECT_EQ(reads.status(), 0);
  EXPECT_EQ(ledger->went_back, 0);
  munmap(ledger, sizeof(Ledger));
}

TEST(UserfaultReaders, CopiesEndWithTheLastReader) {
  if (!has_userfault()) GTEST_SKIP() << "no userfaultfd here";
  PagedHost host;
  Process writes(host, [](Program& it) { return obeys(it, true); });
  ASSERT_EQ(writes.hear(), '!');
  for (const char told : {'w', '0', 'x'}) writes.say(told);
  ASSERT_EQ(writes.hear(), 'x');
  const auto offer = host.pager().offer(false);
  ASSERT_TRUE(offer);
  {
    Process reads(host, [](Program& it) { return obeys(it, false); });
    ASSERT_EQ(reads.hear(), '!');
    for (const char told : {'r', '0'}) reads.say(told);
    ASSERT_EQ(reads.hear(), 'x');
    EXPECT_EQ(lseek(offer->memory.get(), 0, SEEK_DATA), 0);
  }
  host.settle();
  EXPECT_EQ(lseek(offer->memory.get(), 0, SEEK_DATA), -1);
  for (const char told : {'w', '0', 'y'}) writes.say(told);
  EXPECT_EQ(writes.hear(), 'y');
}

}  // namespace
}  // namespace dipc::test
