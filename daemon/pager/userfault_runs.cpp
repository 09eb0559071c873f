// What is asked of pages in a row, done with all of them at once: a system call costs about as much as a page.

#include <algorithm>

#include "daemon/core/page_runs.h"
#include "daemon/pager/userfault_thread.h"
#include "wire/check.h"

namespace dipc {
namespace {

PageIndex page_behind(PageIndex first, std::size_t by) {
  return PageIndex{static_cast<std::uint32_t>(first) + static_cast<std::uint32_t>(by)};
}

}  // namespace

// The first of these, and those behind it that go with it. How many.
std::size_t UserfaultThread::carry_out_next(std::span<Command> commands) {
  std::size_t count = 0;
  if (std::holds_alternative<Install>(commands.front())) {
    count = install_run(commands);
  } else if (std::holds_alternative<ProtectAndRead>(commands.front())) {
    count = read_run(commands);
  }
  if (count != 0) return count;
  std::visit([&](auto& asked) { carry_out(asked); }, commands.front());
  return 1;
}

// Pages for reading, in one block. 0: the first is to be done alone. That the last is filled later than it was
// protected changes nothing: protection goes only with a punch, and punching is this thread's.
std::size_t UserfaultThread::install_run(std::span<const Command> commands) {
  const auto& first = std::get<Install>(commands.front());
  std::size_t count = 0;
  for (PageContents last; count < commands.size(); ++count) {
    const auto* next = std::get_if<Install>(&commands[count]);
    if (next == nullptr || next->writable || next->page != page_behind(first.page, count)) break;
    if (all_lost_ || !is_page(next->page) || state(next->page) != State::kHole) break;
    if (!next->contents || next->contents->size() != options_.unit_bytes) break;
    if (count != 0 && !next->contents.continues(last)) break;
    last = next->contents;
  }
  if (count < 2) return 0;
  const Span span{span_of(first.page).offset, count * options_.unit_bytes};
  protect_everywhere(span);
  for (std::size_t i = 0; i < count; ++i) note(page_behind(first.page, i), MemoryRecord::Page::kFillsForReading);
  const Userfault::Filled filled = own_->fill(own_address_of(span), first.contents->data(), span.length);
  const auto whole = static_cast<std::size_t>(filled.bytes / options_.unit_bytes);
  for (std::size_t i = 0; i < whole; ++i) {
    const PageIndex page = page_behind(first.page, i);
    set_state(page, State::kShared);
    release(page);
    tell(Done{page});
  }
  if (whole == count) return count;
  fail_to_fill(page_behind(first.page, whole), filled.error);
  return whole + 1;
}

// Pages that stay. 0: the first is to be done alone.
std::size_t UserfaultThread::read_run(std::span<const Command> commands) {
  const PageIndex first = std::get<ProtectAndRead>(commands.front()).page;
  if (all_lost_ || !is_page(first)) return 0;
  const State now = state(first);
  if (now != State::kShared && now != State::kExclusive) return 0;
  const bool has_copies = copied_.contains(first);
  const std::size_t count_max = std::min(commands.size(), kRunBytesMax / options_.unit_bytes);
  std::size_t count = 0;
  for (; count < count_max; ++count) {
    const auto* next = std::get_if<ProtectAndRead>(&commands[count]);
    if (next == nullptr || next->drop || next->page != page_behind(first, count) || !is_page(next->page)) break;
    if (state(next->page) != now || copied_.contains(next->page) != has_copies) break;
  }
  const Span span{span_of(first).offset, count * options_.unit_bytes};
  if (count < 2 || has_hole(span)) return 0;
  if (now == State::kExclusive) {
    if (!has_copies) protect_everywhere(span);
    for (std::size_t i = 0; i < count; ++i) set_state(page_behind(first, i), State::kShared);
  }
  const PageContents::Block block = PageContents::make_block(span.length);
  if (!memory_.read(span.offset, {block.get(), span.length})) return 0;
  for (std::size_t i = 0; i < count; ++i) {
    tell(Contents{page_behind(first, i), {block, i * options_.unit_bytes, options_.unit_bytes}});
  }
  return count;
}

}  // namespace dipc
