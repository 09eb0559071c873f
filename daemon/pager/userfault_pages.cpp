// The pages of a segment: what the pager is asked to do with each.

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "daemon/pager/userfault_thread.h"
#include "wire/check.h"

namespace dipc {

UserfaultThread::Span UserfaultThread::span_of(PageIndex page) const {
  return {std::uint64_t{static_cast<std::uint32_t>(page)} * options_.unit_bytes, options_.unit_bytes};
}

void UserfaultThread::carry_out(Install& command) {
  const PageIndex page = command.page;
  DIPC_CHECK(is_page(page) && (!command.contents || command.contents->size() == options_.unit_bytes));
  if (all_lost_) return tell(Failed{page});
  if (state(page) != State::kHole) {
    fail(page, "it is there already");
    return tell(Failed{page});
  }
  const Span span = span_of(page);
  // Also where protection was never lifted: a fault that raced with the last punch has taken it away.
  if (!command.writable) protect_everywhere(span);
  note(page, command.writable ? MemoryRecord::Page::kFillsForWriting : MemoryRecord::Page::kFillsForReading);
  const int error =
      command.contents ? own_->fill(own_address_of(span), command.contents->data(), span.length).error : zero(span);
  if (error != 0) return fail_to_fill(page, error);
  set_state(page, command.writable ? State::kExclusive : State::kShared);
  if (command.writable) turn_over(page);
  release(page);
  tell(Done{page});
}

void UserfaultThread::carry_out(const Upgrade& command) {
  const PageIndex page = command.page;
  DIPC_CHECK(is_page(page));
  if (all_lost_ || state(page) != State::kShared) return tell(Failed{page});
  if (!take_copy(page)) return tell(Failed{page});
  set_state(page, State::kExclusive);
  turn_over(page);
  release(page);
  tell(Done{page});
}

void UserfaultThread::carry_out(const ProtectAndRead& command) {
  const PageIndex page = command.page;
  DIPC_CHECK(is_page(page));
  if (all_lost_ || (state(page) != State::kShared && state(page) != State::kExclusive)) return tell(Failed{page});
  const Span span = span_of(page);
  if (state(page) == State::kExclusive) {
    if (!fill_holes(page)) return tell(Failed{page});
    if (!copied_.contains(page)) protect_everywhere(span);
    set_state(page, State::kShared);
  } else if (has_hole(span)) {
    fail(page, "a program has removed it (MADV_REMOVE) without having written to it");
    return tell(Failed{page});
  }
  const PageContents::Block block = PageContents::make_block(span.length);
  if (command.drop && !take_copy(page)) return tell(Failed{page});
  if (!memory_.read(span.offset, {block.get(), span.length}) || (command.drop && !clear(span))) {
    fail(page, "it can't be read, or taken from the programs");
    return tell(Failed{page});
  }
  if (command.drop) set_state(page, State::kHole);
  tell(Contents{page, {block, 0, span.length}});
}

void UserfaultThread::carry_out(const Drop& command) {
  const PageIndex page = command.page;
  DIPC_CHECK(is_page(page));
  const Span span = span_of(page);
  if (all_lost_ || state(page) == State::kLost) return tell(Failed{page});
  if (!take_copy(page)) return tell(Failed{page});
  if (!clear(span)) {
    fail(page, "it can't be taken from the programs");
    return tell(Failed{page});
  }
  set_state(page, State::kHole);
  tell(Done{page});
}

void UserfaultThread::carry_out(const MarkLost& command) {
  DIPC_CHECK(is_page(command.page));
  if (!all_lost_) fail(command.page, {});
  tell(Done{command.page});
}

void UserfaultThread::carry_out(const LoseAll&) {
  cut_all();
  tell(AllLost{});
}

void UserfaultThread::cut_all() {
  if (std::exchange(all_lost_, true)) return;
  watch_->enter(kAnybody);
  memory_.cut_to_nothing();
  watch_->leave();
  for_reading_.cut_to_nothing();
  for (auto& [id, attachment] : attachments_) wake(attachment, {0, memory_.bytes()});
  waiters_.clear();
}

bool UserfaultThread::clear(Span span) {
  watch_->enter(kAnybody);
  const bool cleared = memory_.clear(span.offset, span.length);
  watch_->leave();
  return cleared;
}

// What a program that may write has taken from an exclusive page by madvise(MADV_REMOVE), as in a segment of the
// kernel; before the page is protected and shared, for then a hole means
// that it is lost. False: it is.
bool UserfaultThread::fill_holes(PageIndex page) {
  const Span span = span_of(page);
  if (!has_hole(span)) return true;
  if (!take_copy(page)) return false;
  for (std::size_t done = 0; done < span.length; done += kernel_page_bytes()) {
    own_->fill(own_address_of(span) + done, zeros_.data(), zeros_.size());  // EEXIST where there is none
  }
  return true;
}

int UserfaultThread::zero(Span span) {
  int error = 0;
  for (std::size_t done = 0; done < span.length && error == 0; done += kernel_page_bytes()) {
    error = own_->fill(own_address_of(span) + done, zeros_.data(), zeros_.size()).error;
  }
  return error;
}

// First by mincore(2), which needs no lock that a program may hold, and is one call however long that is. What it does
// not find may have been swapped out.
bool UserfaultThread::has_hole(Span span) {
  std::vector<unsigned char> resident((span.length + kernel_page_bytes() - 1) / kernel_page_bytes());
  if (mincore(static_cast<char*>(own_address_) + span.offset, span.length, resident.data()) == 0 &&
      std::all_of(resident.begin(), resident.end(), [](unsigned char page) { return (page & 1U) != 0; })) {
    return false;
  }
  watch_->enter(kAnybody);
  std::size_t done = 0;
  while (done < span.length && !memory_.is_hole(span.offset + done)) done += kernel_page_bytes();
  watch_->leave();
  return done < span.length;
}

void UserfaultThread::carry_out(const Wake& command) {
  DIPC_CHECK(is_page(command.page));
  release(command.page);
}

void UserfaultThread::carry_out(const Settle& command) {
  probe_all();
  bury();
  tell(Settled{command.token});
}

// The page is lost on this host: nobody reads anything of it, from now on.
void UserfaultThread::fail(PageIndex page, const std::string& why) {
  const Span span = span_of(page);
  if (memory_.is_cut()) {
    if (!std::exchange(cut_told_, true)) {
      tell(Log{options_.name + ": a program has truncated its memory (ftruncate): who touches it here gets SIGBUS"});
    }
  } else if (!why.empty()) {
    tell(Log{options_.name + ": page " + std::to_string(static_cast<std::uint32_t>(page)) + " is lost here: " + why});
  }
  copied_.erase(page);
  note(page, MemoryRecord::Page::kLost);
  if (!clear(span) || !for_reading_.punch(span.offset, span.length)) {
    tell(Log{options_.name + ": page " + std::to_string(static_cast<std::uint32_t>(page)) +
             " can't be taken from the programs"});
  }
  set_state(page, State::kLost);
  lost_.insert(page);
  for (auto& [id, attachment] : attachments_) {
    if (!attachment.gone) poison(id, attachment, span);
  }
  release(page);
}

void UserfaultThread::fail_to_fill(PageIndex page, int error) {
  fail(page, error == EEXIST ? "somebody has filled it whom we don't know" : std::strerror(error));
  tell(Failed{page});
}

// Lets go on who waits for the page. Only those need a wake whose fault we have read: who faults later finds the page,
// and whose message is not read yet is judged when it is.
void UserfaultThread::release(PageIndex page) {
  const auto found = waiters_.find(page);
  if (found == waiters_.end()) return;
  const std::set<Waiter> waiters = std::move(found->second);
  waiters_.erase(found);
  for (const Waiter& waiter : waiters) {
    const auto at = attachments_.find(waiter.attachment);
    if (at == attachments_.end() || at->second.gone) continue;
    Attachment& attachment = at->second;
    if (state(page) == State::kLost && !poisons_) {
      signal_lost(attachment, waiter);
      continue;
    }
    if (state(page) == State::kShared && !attachment.writable) {
      show(at->first, attachment, page, waiter.address);
      continue;
    }
    if (state(page) == State::kExclusive && attachment.writable) unprotect(at->first, attachment, span_of(page));
    attachment.userfault.wake(waiter.address, kernel_page_bytes());
  }
}

}  // namespace dipc
