// Pages in a row, which the pager fills and reads together if it is asked for all of them at once.

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <string>

#include "tests/unit/pager/paged_host.h"

namespace dipc::test {
namespace {

const std::size_t kPage = kernel_page_bytes();
constexpr std::uint32_t kPages = 64;

PagedHost::Options of_many_pages(std::size_t unit_pages = 1) {
  return {.segment_bytes = kPages * unit_pages * kPage, .unit_bytes = unit_pages * kPage, .grants = false};
}

// Says the byte at the begin of each page when it hears 'r', that of page 40 at '4', writes one of that at 'w', removes
// page 20 at 'x' and fills it where nobody watches at 'f'.
int works_with_all(Program& program) {
  volatile char* memory = program.attach();
  if (!memory) return 1;
  program.say('!');
  for (;;) {
    switch (program.hear()) {
      case 'r':
        for (std::size_t page = 0; page < kPages; ++page) program.say(memory[page * kPage]);
        break;
      case '4':
        program.say(memory[40 * kPage]);
        break;
      case 'w':
        memory[40 * kPage] = 'w';
        program.say('.');
        break;
      case 'x':
        madvise(const_cast<char*>(memory) + 20 * kPage, kPage, MADV_REMOVE);
        program.say('.');
        break;
      case 'f':
        program.say(pwrite(program.memory(), "f", 1, static_cast<off_t>(20 * kPage)) == 1 ? '.' : '?');
        break;
      default:
        return 0;
    }
  }
}

std::string letters() {
  std::string all;
  for (std::uint32_t page = 0; page < kPages; ++page) all += static_cast<char>('0' + page);
  return all;
}

std::string hear_all(Process& program) {
  std::string heard;
  for (std::uint32_t page = 0; page < kPages; ++page) heard += program.hear();
  return heard;
}

// Number 40 is exclusive: it is stored to without a fault until all pages are read.
void expect_to_be_protected_when_read(PagedHost& host, Process& writer) {
  writer.say('w');
  ASSERT_EQ(writer.hear(), '.');
  EXPECT_TRUE(host.faults.empty());
  std::string now = letters();
  now[40] = 'w';
  EXPECT_EQ(host.take_all(kPages), now);
  ASSERT_TRUE(host.faults.empty());
  writer.say('w');
  EXPECT_TRUE(host.faulted(40, PageAccess::kWrite));
}

TEST(UserfaultRuns, EachPageIsFilledWithItsOwnAndProtected) {
  PagedHost host(of_many_pages());
  Process program(host, works_with_all);
  Process other(host, works_with_all);
  for (Process* each : {&program, &other}) ASSERT_EQ(each->hear(), '!');
  program.say('r');  // waits for the first
  ASSERT_TRUE(host.faulted(0, PageAccess::kRead));
  EXPECT_EQ(host.install_all(letters()), letters());
  EXPECT_EQ(hear_all(program), letters());  // may be ahead of who fills them
  const std::size_t faults = host.faults.size();
  other.say('w');
  ASSERT_TRUE(host.faulted(40, PageAccess::kWrite));
  EXPECT_EQ(host.faults.size(), faults + 1);
  EXPECT_TRUE(host.upgrade(40));
  EXPECT_EQ(other.hear(), '.');
  std::string now = letters();
  now[40] = 'w';
  EXPECT_EQ(host.take_all(kPages), now);
}

TEST(UserfaultRuns, WhoWaitsForALaterPageGoesOnToo) {
  PagedHost host(of_many_pages());
  Process program(host, works_with_all);
  Process other(host, works_with_all);
  for (Process* each : {&program, &other}) ASSERT_EQ(each->hear(), '!');
  program.say('r');  // waits for the first
  other.say('4');
  ASSERT_TRUE(host.faulted(0, PageAccess::kRead) && host.faulted(40, PageAccess::kRead));
  EXPECT_EQ(host.install_all(letters()), letters());
  EXPECT_EQ(other.hear(), letters()[40]);
  EXPECT_EQ(hear_all(program), letters());
}

TEST(UserfaultRuns, OneThatIsToBeWrittenIsFilledForThat) {
  PagedHost host(of_many_pages());
  Process program(host, works_with_all);
  ASSERT_EQ(program.hear(), '!');
  EXPECT_EQ(host.install_all(letters(), {40}), letters());
  program.say('w');
  EXPECT_EQ(program.hear(), '.');
  EXPECT_TRUE(host.faults.empty());
}

TEST(UserfaultRuns, ContentsThatHaveComeApartAreEachTheirPages) {
  PagedHost host(of_many_pages());
  Process program(host, works_with_all);
  ASSERT_EQ(program.hear(), '!');
  for (std::uint32_t page = 0; page < kPages; ++page) host.put(page, letters()[page]);
  EXPECT_EQ(host.install_put(kPages), letters());
  program.say('r');
  EXPECT_EQ(hear_all(program), letters());
}

TEST(UserfaultRuns, PagesThatAreReadAreProtectedBefore) {
  PagedHost host(of_many_pages());
  Process program(host, works_with_all);
  ASSERT_EQ(program.hear(), '!');
  for (std::uint32_t page = 0; page < kPages; ++page) ASSERT_TRUE(host.install(page, letters()[page], true));
  expect_to_be_protected_when_read(host, program);
}

// Those before it are protected already.
TEST(UserfaultRuns, AnExclusivePageBehindSharedOnesIsProtectedBefore) {
  PagedHost host(of_many_pages());
  Process program(host, works_with_all);
  ASSERT_EQ(program.hear(), '!');
  ASSERT_EQ(host.install_all(letters(), {40}), letters());
  expect_to_be_protected_when_read(host, program);
}

// As long as readers have copies of a page nobody can write to it.
TEST(UserfaultRuns, APageBehindThoseOfWhichReadersHaveCopiesIsProtectedBefore) {
  PagedHost host(of_many_pages());
  Process reader(host, [](Program& it) {
    volatile char* memory = it.attach(false);
    if (!memory) return 1;
    it.say('!');
    if (it.hear() == 0) return 0;
    for (std::size_t page = 0; page < 40; ++page) it.say(memory[page * kPage]);
    it.hear();
    return 0;
  });
  Process writer(host, works_with_all);
  for (Process* each : {&reader, &writer}) ASSERT_EQ(each->hear(), '!');
  for (std::uint32_t page = 0; page < kPages; ++page) ASSERT_TRUE(host.install(page, letters()[page], true));
  reader.say('r');
  for (std::uint32_t page = 0; page < 40; ++page) ASSERT_EQ(reader.hear(), letters()[page]);
  expect_to_be_protected_when_read(host, writer);
}

TEST(UserfaultRuns, OneThatIsToBeDroppedIsNotThereAfterwards) {
  PagedHost host(of_many_pages());
  Process program(host, works_with_all);
  ASSERT_EQ(program.hear(), '!');
  ASSERT_EQ(host.install_all(letters()), letters());
  EXPECT_EQ(host.take_all(kPages, {40}), letters());
  program.say('4');
  EXPECT_TRUE(host.faulted(40, PageAccess::kRead));
  EXPECT_TRUE(host.install(40, 'n'));
  EXPECT_EQ(program.hear(), 'n');
}

TEST(UserfaultRuns, APageThatAProgramHasRemovedIsZeros) {
  PagedHost host(of_many_pages());
  Process program(host, works_with_all);
  ASSERT_EQ(program.hear(), '!');
  for (std::uint32_t page = 0; page < kPages; ++page) ASSERT_TRUE(host.install(page, letters()[page], true));
  program.say('x');
  ASSERT_EQ(program.hear(), '.');
  std::string now = letters();
  now[20] = '\0';
  EXPECT_EQ(host.take_all(kPages), now);
  program.say('r');
  EXPECT_EQ(hear_all(program), now);
}

TEST(UserfaultRuns, OnlyThePageThatSomebodyElseHasFilledIsLost) {
  PagedHost host(of_many_pages());
  Process program(host, works_with_all);
  ASSERT_EQ(program.hear(), '!');
  program.say('f');
  ASSERT_EQ(program.hear(), '.');
  std::string installed = letters();
  installed[20] = '!';
  EXPECT_EQ(host.install_all(letters()), installed);
  ASSERT_EQ(host.log.size(), 1u);
  EXPECT_NE(host.log[0].find("page 20 is lost here"), std::string::npos) << host.log[0];
  host.lose(20);
  program.say('r');
  EXPECT_EQ(program.status(), -SIGBUS);
}

TEST(UserfaultRuns, UnitsOfSeveralPagesGoTogetherToo) {
  PagedHost host(of_many_pages(4));
  Process program(host, [](Program& it) {
    volatile char* memory = it.attach();
    if (!memory) return 1;
    it.say('!');
    if (it.hear() == 0) return 0;
    for (std::size_t unit = 0; unit < kPages; ++unit) {
      for (std::size_t page = 0; page < 4; ++page) {
        if (memory[(4 * unit + page + 1) * kPage - 1] != static_cast<char>('0' + unit)) return 2;
      }
    }
    return 0;
  });
  ASSERT_EQ(program.hear(), '!');
  EXPECT_EQ(host.install_all(letters()), letters());
  EXPECT_EQ(host.take_all(kPages), letters());
  program.say('r');
  EXPECT_EQ(program.status(), 0);
}

}  // namespace
}  // namespace dipc::test
