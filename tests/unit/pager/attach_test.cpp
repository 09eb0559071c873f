// shmat and shmdt through the shim, of a program that knows nothing of it: attach_subject.cpp.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstring>
#include <fstream>

#include "tests/unit/pager/segment_daemon.h"

namespace dipc::test {
namespace {

using testing::_;
using testing::Contains;
using testing::Not;
using testing::Pair;

class Attach : public testing::TestWithParam<PagerKind> {
 protected:
  Attach() { daemon_.put(0, 'x'); }
  // Of a function that asks for nothing but to be run.
  int run(const std::string& function) { return run_under_shim(daemon_, function)->status(); }
  SegmentDaemon daemon_{{.kind = GetParam()}};
};

TEST_P(Attach, MemoryIsReadAndWrittenAndCountedAsLongAsItIsAttached) {
  const auto program = run_under_shim(daemon_, "reads_and_writes");
  ASSERT_EQ(program->hear(), '!');
  EXPECT_EQ(daemon_.attachments, 1);
  EXPECT_EQ(daemon_.take(1, false)->front(), std::byte{'y'});
  program->say('g');
  ASSERT_EQ(program->hear(), '!');
  EXPECT_EQ(daemon_.attachments, 0);  // shmdt does not return before
  program->say('g');
  EXPECT_EQ(program->status(), 0);
}

TEST_P(Attach, DetachedMemoryIsGone) { EXPECT_EQ(run("stores_after_detaching"), -SIGSEGV); }

TEST_P(Attach, StoreThroughAReadOnlyAttachmentIsASignal) {
  const auto program = run_under_shim(daemon_, "stores_through_a_read_only_attachment");
  EXPECT_EQ(program->hear(), '!');
  EXPECT_EQ(program->status(), -SIGSEGV);
}

TEST_P(Attach, AddressIsTheProgramsToChooseAsInTheKernel) { EXPECT_EQ(run("chooses_addresses"), 0); }

TEST_P(Attach, CodeIsExecutedWhereTheProgramHasAskedForIt) { EXPECT_EQ(run("executes_where_it_has_asked_for_it"), 0); }

TEST_P(Attach, AnAttachmentInThePlaceOfAnotherEndsIt) {
  const auto program = run_under_shim(daemon_, "replaces_its_own_attachment");
  ASSERT_EQ(program->hear(), '!');
  EXPECT_TRUE(daemon_.until([&] { return daemon_.attachments == 2; }));
  program->say('g');
  EXPECT_EQ(program->status(), 0);
  daemon_.settle();
  EXPECT_EQ(daemon_.attachments, 0);
}

TEST_P(Attach, APartOfAnAttachmentIsNotReplacedInAProgramThatPagesItself) {
  if (GetParam() == PagerKind::kUserfault) GTEST_SKIP() << "it may be";
  EXPECT_EQ(run("replaces_a_part_of_its_attachment"), 0);
}

TEST_P(Attach, SystemCallsReachPagesThatAreNotThere) {
  if (GetParam() == PagerKind::kSignal) GTEST_SKIP() << "they fail with EFAULT";
  EXPECT_EQ(run("gives_it_to_system_calls"), 0);
}

TEST_P(Attach, MlockallFillsNoHoles) {
  if (is_emulated()) GTEST_SKIP() << "what is locked there is the emulator's memory";
  EXPECT_EQ(run("locks_its_memory"), 0);
}

TEST_P(Attach, ExecDetaches) {
  const auto program = run_under_shim(daemon_, "becomes_another_program");
  ASSERT_EQ(program->hear(), '!');
  EXPECT_EQ(daemon_.attachments, 1);
  program->say('g');
  EXPECT_TRUE(daemon_.until([&] { return daemon_.attachments == 0; }));
}

TEST_P(Attach, DetachTakesWhatTheProgramHasLeftAndNothingElse) {
  if (GetParam() == PagerKind::kSignal) GTEST_SKIP() << "what is mapped over a part of it is taken for that part";
  EXPECT_EQ(run("detaches_what_is_left"), 0);
  daemon_.settle();
  EXPECT_EQ(daemon_.attachments, 0);
}

TEST_P(Attach, MovedAttachmentIsDetachedWhereItIs) {
  if (GetParam() == PagerKind::kSignal) GTEST_SKIP() << "a program that pages itself must leave it where it is";
  EXPECT_EQ(run("detaches_where_it_was_moved_to"), 0);
}

TEST_P(Attach, CallsByNumberAreTheSame) { EXPECT_EQ(run("calls_by_number"), 0); }

TEST_P(Attach, ProgramsDescriptorsAreAsTheyWere) {
  const auto program = run_under_shim(daemon_, "leaves_no_descriptors");
  ASSERT_EQ(program->hear(), '!');
  EXPECT_EQ(daemon_.attachments, 100);
  program->say('\0');
  EXPECT_EQ(program->status(), 0);
}

TEST_P(Attach, ProgramMayCloseAllItsDescriptors) { EXPECT_EQ(run("closes_all_descriptors"), 0); }

TEST_P(Attach, RefusalIsTheErrnoOfTheDaemonsAnswer) {
  daemon_.attach_error = EACCES;
  EXPECT_EQ(run("is_refused"), 0);
  EXPECT_EQ(daemon_.attachments, 0);
}

TEST_P(Attach, SegmentsOfTheKernelAreAttachedBesideIt) { EXPECT_EQ(run("uses_segments_of_the_kernel_too"), 0); }

TEST_P(Attach, ChildsDetachIsItsOwn) {
  EXPECT_EQ(run("childs_detach_is_its_own"), 0);
  daemon_.settle();
  EXPECT_EQ(daemon_.attachments, 0);
  EXPECT_EQ(daemon_.forks, GetParam() == PagerKind::kUserfault ? 1 : 0);  // else the child has attached it anew
}

TEST_P(Attach, ProgramWithoutDescriptorsIsToldSoAndMayTryAgain) { EXPECT_EQ(run("runs_out_of_descriptors"), 0); }

TEST_P(Attach, ForkedChildSharesWhatItsParentHas) {
  EXPECT_EQ(run("shares_with_its_child"), 0);
  EXPECT_EQ(daemon_.take(1, true)->front(), std::byte{'c'});
}

TEST_P(Attach, SignalsAndHandlersOfTheProgramAreItsOwn) { EXPECT_EQ(run("handles_its_own_faults"), 0); }

TEST_P(Attach, FaultsOfTheProgramEndItAsEver) {
  EXPECT_EQ(run("faults_elsewhere"), -SIGSEGV);
  EXPECT_EQ(run("is_sent_a_sigsegv"), -SIGSEGV);
}

TEST_P(Attach, MemoryIsThereInHandlersAndOnAlternateStacksAndWithSignalsBlocked) {
  EXPECT_EQ(run("touches_it_anywhere"), 0);
}

TEST_P(Attach, MemoryIsThereForWhoHasBlockedSignalsBefore) {
  EXPECT_EQ(run("touches_it_with_signals_blocked_before"), 0);
}

TEST_P(Attach, HandlersOfItsOwnFaultsRunOnItsOwnStackAndTouchIt) {
  EXPECT_EQ(run("handles_its_own_faults_on_its_own_stack"), 0);
}

TEST_P(Attach, LostPageIsSigbus) {
  daemon_.put(1, 'y');
  const auto program = run_under_shim(daemon_, "reads_and_writes");
  ASSERT_EQ(program->hear(), '!');
  const auto late = run_under_shim(daemon_, "reads_a_lost_page");
  ASSERT_EQ(late->hear(), '!');
  daemon_.lose(1);
  late->say('g');
  EXPECT_EQ(late->status(), 0);
}

TEST_P(Attach, LostSegmentIsSigbusAndCanBeDetached) {
  const auto program = run_under_shim(daemon_, "loses_all");
  ASSERT_EQ(program->hear(), '!');
  daemon_.lose_all();
  program->say('g');
  EXPECT_EQ(program->status(), 0);
  daemon_.settle();
  EXPECT_EQ(daemon_.attachments, 0);
}

TEST_P(Attach, KilledProgramIsDetached) {
  const auto program = run_under_shim(daemon_, "reads_and_writes");
  ASSERT_EQ(program->hear(), '!');
  program->kill();
  EXPECT_EQ(program->status(), -SIGKILL);
  daemon_.settle();
  EXPECT_EQ(daemon_.attachments, 0);
  EXPECT_TRUE(daemon_.take(1, true));
}

TEST_P(Attach, ThreadsOfTwoProgramsLoseNoStoreWhilePagesComeAndGo) {
  std::uint32_t others = 0;
  const auto counts_of = [](const Bytes& contents) {
    CountedPage page;
    std::memcpy(&page, contents.data(), sizeof page);
    return page;
  };
  daemon_.put(0, '\0');
  daemon_.while_away = [&](std::uint32_t, Bytes& contents) {
    CountedPage page = counts_of(contents);
    ++page.others;
    ++others;
    std::memcpy(contents.data(), &page, sizeof page);
  };
  const auto one = run_under_shim(daemon_, "counts_in_threads");
  const auto two = run_under_shim(daemon_, "counts_in_threads");
  ASSERT_EQ(one->hear(), '!');
  ASSERT_EQ(two->hear(), '!');
  for (std::uint32_t taken = 0; taken < 2000; ++taken) {
    const std::uint32_t page = taken / 3 % 2;
    ASSERT_TRUE(daemon_.until([&] { return daemon_.is_here(page); }));
    ASSERT_TRUE(daemon_.take(page, taken % 3 != 0));
  }
  one->say('e');
  two->say('e');
  EXPECT_EQ(one->status(), 0);
  EXPECT_EQ(two->status(), 0);
  daemon_.while_away = nullptr;
  CountedPage sum{};
  for (std::uint32_t page = 0; page < 2; ++page) {
    const auto contents = daemon_.is_here(page) ? daemon_.take(page, true) : daemon_.contents(page);
    ASSERT_TRUE(contents);
    const CountedPage counts = counts_of(*contents);
    sum.counted += counts.counted;
    sum.declared += counts.declared;
    sum.others += counts.others;
  }
  EXPECT_EQ(sum.counted, sum.declared);
  EXPECT_EQ(sum.others, others);
  EXPECT_GT(sum.counted, 0);
}

// Where the machine itself tells a store from a load (arch/fault_context.h) nothing is put to the test.
TEST_P(Attach, AReaderIsNotTakenForAWriterWhilePagesComeAndGo) {
  daemon_.put(1, 'y');
  const auto program = run_under_shim(daemon_, "reads_while_pages_come_and_go");
  ASSERT_EQ(program->hear(), '!');
  for (std::uint32_t taken = 0; taken < 2000; ++taken) {
    ASSERT_TRUE(daemon_.until([&] { return daemon_.is_here(taken % 2); }));
    ASSERT_TRUE(daemon_.take(taken % 2, true));
  }
  program->say('e');
  EXPECT_EQ(program->status(), 0);
  EXPECT_THAT(daemon_.faults, Not(Contains(Pair(_, PageAccess::kWrite))));
}

// Both where both can be.
std::vector<PagerKind> kinds() {
  if (choose_pager(std::nullopt).kind == PagerKind::kSignal) return {PagerKind::kSignal};
  return {PagerKind::kUserfault, PagerKind::kSignal};
}
INSTANTIATE_TEST_SUITE_P(Both, Attach, testing::ValuesIn(kinds()),
                         [](const auto& by) { return by.param == PagerKind::kUserfault ? "Userfault" : "Signal"; });

TEST(ProgramThatPagesItself, NeedsNoMoreMappingsThanThereAre) {
  if (is_emulated()) GTEST_SKIP() << "the mappings are the emulator's, which needs some itself";
  std::ifstream limit("/proc/sys/vm/max_map_count");
  if (int most = 0; limit >> most && most > 100'000) GTEST_SKIP() << "vm.max_map_count is " << most;
  SegmentDaemon daemon({.segment_bytes = 64 * kernel_page_bytes(), .kind = PagerKind::kSignal});
  EXPECT_EQ(run_under_shim(daemon, "runs_out_of_mappings")->status(), 0);
}

// Only one that pages itself can hold its daemon up: stopped, it gives nothing back.
TEST(StoppedProgram, IsKilledWhenItGivesNothingBack) {
  SegmentDaemon daemon({.kind = PagerKind::kSignal, .stuck_after = std::chrono::milliseconds(300)});
  daemon.put(0, 'x');
  const auto program = run_under_shim(daemon, "reads_and_writes");
  ASSERT_EQ(program->hear(), '!');
  program->kill(SIGSTOP);
  int stopped = 0;
  ASSERT_EQ(waitpid(program->pid(), &stopped, WUNTRACED), program->pid());
  ASSERT_TRUE(WIFSTOPPED(stopped));
  EXPECT_TRUE(daemon.take(1, true));
  EXPECT_EQ(program->status(), -SIGKILL);
  ASSERT_FALSE(daemon.log.empty());
  EXPECT_NE(daemon.log.front().find(std::to_string(program->pid())), std::string::npos);
}

}  // namespace
}  // namespace dipc::test
