// What an earlier daemon has left: judged before this one says of a page that it is there, and made true by the thread.

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "daemon/pager/userfault_thread.h"

namespace dipc {
namespace {

enum class Filled : std::uint8_t { kNot, kPartly, kWhole };

Filled filled(const std::vector<unsigned char>& resident, std::size_t first, std::size_t count) {
  std::size_t there = 0;
  for (std::size_t i = first; i < first + count; ++i) there += resident[i] & 1U;
  if (there == 0) return Filled::kNot;
  return there == count ? Filled::kWhole : Filled::kPartly;
}

}  // namespace

Result<void> UserfaultThread::take_over(KeptSegment& kept) {
  goes_on_ = true;
  record_.set_lapses(kept.record.lapses());
  for (KeptAttachment& left : kept.attachments) {
    Attachment attachment(Userfault(std::move(left.userfaultfd)), MappedRanges(std::move(left.ranges)));
    attachment.ticket = left.ticket;
    attachment.writable = left.writable;
    attachment.uid = left.uid;
    // Not so if the process is gone and its number another's, or if that one has called exec; then there is no memory
    // behind the userfaultfd, which is what counts.
    attachment.pid = left.pid;
    if (left.pid > 0) attachment.process = Descriptor(static_cast<int>(syscall(SYS_pidfd_open, left.pid, 0)));
    attachment.gone = attachment.ranges.empty();
    attachment.userfault.never_wait();
    uids_.insert(left.uid);
    if (!left.writable) has_readers_ = true;
    const AttachmentId id = add(std::move(attachment));
    const Attachment& taken = attachments_.at(id);
    if (!listen(taken.userfault.fd(), id, false)) {
      return trouble(options_.name + ": a process can't be listened to: " + std::strerror(errno));
    }
    if (taken.process) listen(taken.process.get(), id, true);
  }
  judge_pages(kept);
  return {};
}

// On the loop's thread, as nobody else writes it.
void UserfaultThread::renew() { record_.set_lapses({}); }

// By what is in the memory, which may be less or more than was written down: see memory_record.h. mincore() does not
// wait for programs, as looking for holes may.
void UserfaultThread::judge_pages(const KeptSegment& kept) {
  const std::size_t kernel_page = kernel_page_bytes();
  const std::size_t per_unit = options_.unit_bytes / kernel_page;
  std::vector<unsigned char> resident(memory_.bytes() / kernel_page);
  const bool known = mincore(own_address_, memory_.bytes(), resident.data()) == 0;
  using Written = MemoryRecord::Page;
  for (std::uint32_t number = 0; number < states_.size(); ++number) {
    const PageIndex page{number};
    const Written written = kept.record.page(number);
    Filled is = known ? filled(resident, number * per_unit, per_unit) : Filled::kPartly;
    // Not there, or swapped out.
    if (is != Filled::kWhole && written != Written::kHole && written != Written::kLost && !has_hole(span_of(page))) {
      is = Filled::kWhole;
    }
    State now = State::kHole;
    if (written == Written::kLost) now = State::kLost;
    if (is == Filled::kWhole && (written == Written::kShared || written == Written::kFillsForReading)) {
      now = State::kShared;
    }
    // It may have been written to as soon as it was filled; and what is not there may be what a program has removed.
    if (written == Written::kExclusive) now = is == Filled::kWhole ? State::kExclusive : State::kLost;
    if (written == Written::kFillsForWriting && is != Filled::kNot) {
      now = is == Filled::kWhole ? State::kExclusive : State::kLost;
    }
    if (now != State::kHole) set_state(page, now);
    if (now == State::kLost) lost_.insert(page);
    if ((now == State::kHole || now == State::kLost) && is != Filled::kNot) remains_.push_back(page);
    if (now == State::kShared) held_.emplace(page, PageCache::Access::kShared);
    if (now == State::kExclusive) held_.emplace(page, PageCache::Access::kExclusive);
    if (now == State::kLost) held_.emplace(page, PageCache::Access::kLost);
  }
}

// Who waits is not told of again by the kernel, once somebody has read of it: they try again and are.
void UserfaultThread::go_on() {
  for_reading_.punch(0, for_reading_.bytes());
  for (const PageIndex page : std::exchange(remains_, {})) {
    if (!clear(span_of(page))) fail(page, "what was left of it can't be taken from the programs");
  }
  std::vector<AttachmentId> all;
  for (const auto& [id, attachment] : attachments_) all.push_back(id);
  for (const AttachmentId id : all) protect_shared(id, attachments_.at(id));
  for (const AttachmentId id : all) {
    Attachment& attachment = attachments_.at(id);
    for (const PageIndex page : lost_) poison(id, attachment, span_of(page));
    for (const MappedRange& range : attachment.ranges.all()) attachment.userfault.wake(range.address, range.length);
  }
}

}  // namespace dipc
