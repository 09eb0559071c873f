// Machines that are broken on purpose: between the right ones and the world, so that the checks can be seen to find it.

#include "tests/sim/pages_world.h"

namespace dipc::sim {

// What a host is about to tell the owner; false: it does not.
bool PagesWorld::spoil_tell(const MemberPointer& member, HostPageMessage& message) {
  if (std::holds_alternative<NoPageData>(message)) return defect_ != PageDefect::kNoDataForgotten;
  if (std::holds_alternative<PageRequest>(message)) {
    return defect_ != PageDefect::kLosesRequests || !random_.chance(5);
  }
  if (const auto* installed = std::get_if<PageInstalled>(&message)) {
    return told_early_.erase({installed->page, installed->transaction}) == 0;
  }
  if (const auto* dropped = std::get_if<PageDropped>(&message)) {
    return defect_ != PageDefect::kDroppedEarly || told_early_.erase({dropped->page, dropped->transaction}) == 0;
  }
  if (std::holds_alternative<PageKept>(message)) return defect_ != PageDefect::kKeepsSilently;
  if (std::holds_alternative<SegmentDetached>(message) && defect_ == PageDefect::kKeepsEvicted) {
    return member->cache->attachments() != 0;
  }
  return true;
}

// What the owner is about to tell a host; false: it does not.
bool PagesWorld::spoil_send(HostIndex to, OwnerPageMessage& message) {
  const auto answer = [this, to](HostPageMessage what) {
    if (to != 0) {
      put(to, 0, std::move(what));
    } else {
      at(now_, [this, what = std::move(what)] { directory_->on_message(now_, HostId{0}, what); });
    }
  };
  if (auto* grant = std::get_if<PageGrant>(&message)) {
    if (defect_ == PageDefect::kInstalledEarly && grant->origin == PageOrigin::kHolder) {
      told_early_[{grant->page, grant->transaction}] = true;
      answer(PageInstalled{grant->page, grant->transaction});
    }
    if (defect_ == PageDefect::kOldData && grant->origin == PageOrigin::kHolder) {
      const auto old = old_data_.find({to, grant->page});
      if (old == old_data_.end()) return true;
      PageData data = old->second;
      data.transaction = grant->transaction;
      send(to, data);
      grant->holder = HostId{0};
    }
  } else if (auto* fetch = std::get_if<FetchPage>(&message)) {
    if (defect_ == PageDefect::kRelaysAlways) fetch->through_owner = true;
    if (defect_ == PageDefect::kSharesForWriters) fetch->drop = false;
    if (defect_ == PageDefect::kReleasesEarly && fetch->drop) {
      send(to, message);
      message = ReleasePage{fetch->page, fetch->transaction};
    }
  } else if (const auto* invalidate = std::get_if<InvalidatePage>(&message)) {
    if (defect_ == PageDefect::kSparesAReader && random_.chance(25)) {
      answer(PageDropped{invalidate->page, invalidate->transaction});
      return false;
    }
    if (defect_ == PageDefect::kDroppedEarly &&
        told_early_.try_emplace({invalidate->page, invalidate->transaction}, true).second) {
      answer(PageDropped{invalidate->page, invalidate->transaction});
    }
  } else if (const auto* lost = std::get_if<PageLost>(&message)) {
    if (defect_ == PageDefect::kZerosForLost) {
      message = PageGrant{lost->page, TransactionNumber{}, PageAccess::kRead, PageOrigin::kZero};
    }
  } else if (std::holds_alternative<RestorePage>(message)) {
    return defect_ != PageDefect::kForgetsRestore;
  } else if (std::holds_alternative<HolderGone>(message)) {
    return defect_ != PageDefect::kSkipsHolderGone;
  }
  return true;
}

}  // namespace dipc::sim
