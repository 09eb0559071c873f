// PageCache and daemons that were started again, its own or the owner's: what programs still have, and what is told of
// that.

#include <optional>

#include "daemon/core/page_cache.h"
#include "wire/check.h"

namespace dipc {

PageCache::PageCache(TimePoint resume_by, PageCacheOptions options, const std::map<PageIndex, Access>& held,
                     std::uint64_t attachments)
    : PageCache(options, {}) {
  for (const auto& [index, access] : held) {
    DIPC_CHECK(static_cast<std::uint32_t>(index) < options_.page_count);
    if (access != Access::kInvalid) pages_[index].access = access;
  }
  attachments_ = attachments;
  resume_by_ = resume_by;
}

void PageCache::on_owner_restarted(TimePoint now, TimePoint resume_by) {
  if (ending_) return;
  peers_.erase(options_.owner);
  resume_by_ = resume_by;
  told_held_ = accused_ = false;
  starved_.clear();
  holds_.clear();
  for (auto& [index, page] : pages_) forget_what_was_said(page);
  advance_all(now);
}

void PageCache::forget_what_was_said(Page& page) {
  page.asked = Asked::kNothing;
  page.waiting.clear();
  page.early.clear();
  page.new_peers.clear();
  if (page.work != Work::kInstall && page.work != Work::kUpgrade) page.grant.reset();
}

// What the pager does is done soon; then it is known what there is.
void PageCache::tell_if_at_rest() {
  if (!resuming() || told_held_ || peers_.count(options_.owner) == 0) return;
  for (const auto& [index, page] : pages_) {
    if (page.work != Work::kNone) return;
  }
  tell_what_is_held();
}

// Pages in a row that are held in the same way go together.
void PageCache::tell_what_is_held() {
  told_held_ = true;
  for (const auto& [index, page] : pages_) {
    if (page.kept != nullptr) tell(PageKept{index, page.kept_for});
  }
  std::optional<PagesHeld> row;
  for (const auto& [index, page] : pages_) {
    if (page.access != Access::kShared && page.access != Access::kExclusive) continue;
    const PageAccess access = page.access == Access::kExclusive ? PageAccess::kWrite : PageAccess::kRead;
    const bool goes_on = row && row->access == access &&
                         static_cast<std::uint32_t>(index) == static_cast<std::uint32_t>(row->page) + row->count;
    if (goes_on) {
      ++row->count;
      continue;
    }
    if (row) tell(*row);
    row = PagesHeld{index, 1, access};
  }
  if (row) tell(*row);
  tell(SegmentHeld{static_cast<std::uint32_t>(attachments_)});
}

void PageCache::resume(TimePoint now) {
  if (!resuming() || !told_held_) return accuse("it takes back what it was not told of");
  resume_by_ = kNever;
  advance_all(now);
}

// In a session with the owner it is the session's end that counts.
TimePoint PageCache::resume_deadline() const {
  return resuming() && peers_.count(options_.owner) == 0 ? resume_by_ : kNever;
}

}  // namespace dipc
