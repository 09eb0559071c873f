// The copies that programs have which attached for reading: see userfault_thread.h.

#include <algorithm>

#include "daemon/pager/userfault_thread.h"

namespace dipc {
namespace {

// How long a page stays with the writers of this host before its readers get a copy, and the other way round: as
// UserfaultPager::hold_floor(), and for the same reason. With nothing, a store across two pages may never complete.
constexpr auto kTurn = std::chrono::microseconds(200);
// Of the segment, with one fault: the pages behind it that are there anyway.
constexpr std::size_t kShownAtOnceBytes = 64 * 1024;

}  // namespace

void UserfaultThread::on_reader_fault(AttachmentId id, Attachment& attachment, const uffd_msg& message,
                                      PageIndex page) {
  const std::uint64_t address = message.arg.pagefault.address / kernel_page_bytes() * kernel_page_bytes();
  if (state(page) == State::kHole) {
    // The mapping is private: what the program stores there is its own, and takes no more than reading.
    waiters_[page].insert({id, address, static_cast<pid_t>(message.arg.pagefault.feat.ptid)});
    return tell(Fault{page, PageAccess::kRead});
  }
  if (state(page) == State::kExclusive && !copied_.contains(page)) {
    if (!is_settled(page)) return early_.emplace_back(id, message), void();
    protect_everywhere(span_of(page));
    turn_over(page);
  }
  show(id, attachment, page, address);
}

// A writer meets a page that readers have copies of. False: it waits.
bool UserfaultThread::on_copied_fault(AttachmentId id, const uffd_msg& message, PageIndex page) {
  if (!is_settled(page)) return early_.emplace_back(id, message), false;
  turn_over(page);
  take_copy(page);
  return true;
}

// Lets a reader have the page, which no program can write to now.
void UserfaultThread::show(AttachmentId id, Attachment& attachment, PageIndex page, std::uint64_t address) {
  if (!copy(page)) {
    fail(page, "a program has removed it (MADV_REMOVE) without having written to it");
    attachment.userfault.wake(address, kernel_page_bytes());
    return;
  }
  const auto first = static_cast<std::uint32_t>(page);
  const std::size_t count = std::max<std::size_t>(1, kShownAtOnceBytes / options_.unit_bytes);
  std::uint32_t end = first + 1;
  while (end - first < count && end < states_.size() && states_[end] == State::kShared && copy(PageIndex{end})) ++end;
  const Span span{span_of(page).offset, (end - first) * options_.unit_bytes};
  let_have(id, attachment, span);
  attachment.userfault.wake(address, kernel_page_bytes());
}

// Into the memory for reading. False: it can't be read, or has been removed by who may not.
bool UserfaultThread::copy(PageIndex page) {
  if (copied_.contains(page)) return true;
  const Span span = span_of(page);
  if (state(page) == State::kShared && has_hole(span)) return false;
  Bytes contents(span.length);
  if (!memory_.read(span.offset, contents)) return false;
  if (!for_reading_.write(span.offset, contents.data(), contents.size())) return false;
  copied_.insert(page);
  return true;
}

// From all readers, whatever one of them may have filled in by itself. False: the page is lost.
bool UserfaultThread::take_copy(PageIndex page) {
  if (copied_.erase(page) == 0) return true;
  if (for_reading_.punch(span_of(page).offset, span_of(page).length)) return true;
  fail(page, "its copies can't be taken from the programs");
  return false;
}

void UserfaultThread::take_all_copies() {
  for_reading_.punch(0, for_reading_.bytes());
  copied_.clear();
  has_readers_ = false;
}

void UserfaultThread::turn_over(PageIndex page) {
  if (has_readers_) turned_[page] = std::chrono::steady_clock::now() + kTurn;
}

Duration UserfaultThread::until_due() const {
  if (early_.empty()) return Duration::max();
  TimePoint first = TimePoint::max();
  for (const auto& [page, until] : turned_) first = std::min(first, until);
  return std::max<Duration>(first - std::chrono::steady_clock::now(), Duration::zero());
}

// Faults that had to wait are judged again with whatever has come since.
void UserfaultThread::look_at_due() {
  if (turned_.empty()) return;
  const TimePoint now = std::chrono::steady_clock::now();
  const std::size_t before = turned_.size();
  std::erase_if(turned_, [&](const auto& each) { return each.second <= now; });
  if (turned_.size() == before) return;
  faults_.insert(faults_.end(), early_.begin(), early_.end());
  early_.clear();
}

}  // namespace dipc
