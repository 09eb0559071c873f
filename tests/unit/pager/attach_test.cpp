// shmat and shmdt through the shim, of a program that knows nothing of it: attach_subject.cpp.

#include <gtest/gtest.h>

#include "tests/unit/pager/segment_daemon.h"

namespace dipc::test {
namespace {

class Attach : public testing::Test {
 protected:
  Attach() { daemon_.put(0, 'x'); }
  // Of a function that asks for nothing but to be run.
  int run(const std::string& function) { return run_under_shim(daemon_, function)->status(); }
  SegmentDaemon daemon_;
};

TEST_F(Attach, MemoryIsReadAndWrittenAndCountedAsLongAsItIsAttached) {
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

TEST_F(Attach, DetachedMemoryIsGone) { EXPECT_EQ(run("stores_after_detaching"), -SIGSEGV); }

TEST_F(Attach, StoreThroughAReadOnlyAttachmentIsASignal) {
  const auto program = run_under_shim(daemon_, "stores_through_a_read_only_attachment");
  EXPECT_EQ(program->hear(), '!');
  EXPECT_EQ(program->status(), -SIGSEGV);
}

TEST_F(Attach, AddressIsTheProgramsToChooseAsInTheKernel) { EXPECT_EQ(run("chooses_addresses"), 0); }

TEST_F(Attach, DetachTakesWhatTheProgramHasLeftAndNothingElse) {
  EXPECT_EQ(run("detaches_what_is_left"), 0);
  daemon_.settle();
  EXPECT_EQ(daemon_.attachments, 0);
}

TEST_F(Attach, MovedAttachmentIsDetachedWhereItIs) { EXPECT_EQ(run("detaches_where_it_was_moved_to"), 0); }

TEST_F(Attach, CallsByNumberAreTheSame) { EXPECT_EQ(run("calls_by_number"), 0); }

TEST_F(Attach, ProgramsDescriptorsAreAsTheyWere) {
  const auto program = run_under_shim(daemon_, "leaves_no_descriptors");
  ASSERT_EQ(program->hear(), '!');
  EXPECT_EQ(daemon_.attachments, 100);
  program->say('\0');
  EXPECT_EQ(program->status(), 0);
}

TEST_F(Attach, ProgramMayCloseAllItsDescriptors) { EXPECT_EQ(run("closes_all_descriptors"), 0); }

TEST_F(Attach, RefusalIsTheErrnoOfTheDaemonsAnswer) {
  daemon_.attach_error = EACCES;
  EXPECT_EQ(run("is_refused"), 0);
  EXPECT_EQ(daemon_.attachments, 0);
}

TEST_F(Attach, SegmentsOfTheKernelAreAttachedBesideIt) { EXPECT_EQ(run("uses_segments_of_the_kernel_too"), 0); }

TEST_F(Attach, ChildsDetachIsItsOwn) {
  EXPECT_EQ(run("childs_detach_is_its_own"), 0);
  daemon_.settle();
  EXPECT_EQ(daemon_.attachments, 0);
  EXPECT_EQ(daemon_.forks, 1);
}

TEST_F(Attach, ProgramWithoutDescriptorsIsToldSoAndMayTryAgain) { EXPECT_EQ(run("runs_out_of_descriptors"), 0); }

}  // namespace
}  // namespace dipc::test
