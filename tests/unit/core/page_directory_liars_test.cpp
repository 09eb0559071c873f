// Hosts that say whatever they like, to an owner whose daemon is killed now and then: whatever becomes of the pages,
// the owner's own host is never accused, nor does it accuse the owner, and what is written down can be.

#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <vector>

#include "daemon/core/page_cache.h"
#include "daemon/core/page_directory.h"

namespace dipc::test {
namespace {

using namespace std::chrono_literals;

constexpr HostId kOwner{1};
constexpr std::uint32_t kLiars = 4;  // from 2 on
constexpr std::uint32_t kPages = 4;
constexpr int kSteps = 2000;

class World {
 public:
  explicit World(unsigned seed) : random_(seed) {
    cache_.emplace(cache_options_, std::set<HostId>{kOwner});
    directory_.emplace(directory_options_);
    EXPECT_TRUE(directory_->on_attach(now_, kOwner, true));
    cache_->on_attached(now_);
    for (std::uint32_t i = 0; i < kLiars; ++i) attach(HostId{2 + i});
    drain();
  }
  // False: something is wrong.
  bool step() {
    now_ += std::chrono::microseconds(below(3000));
    directory_->on_time(now_);
    cache_->on_time(now_);
    drain();
    const unsigned what = below(100);
    if (what < 45) {
      lie(any_liar());
    } else if (what < 60) {
      const PageIndex page = any_page();
      cache_->on_fault(now_, page, below(2) == 0 ? PageAccess::kRead : PageAccess::kWrite);
    } else if (what < 70) {
      work();
    } else if (what < 72) {
      directory_->on_host_restarted(now_, any_liar());
    } else if (what < 73) {
      end_session(any_liar());
    } else if (what < 74) {
      const HostId host = any_liar();
      directory_->on_host_cleared(now_, host);
      cache_->on_peer_lost(now_, host);
    } else if (what < 96) {
      attach(any_liar());
    } else {
      restart();
    }
    drain();
    return !testing::Test::HasFailure();
  }
  std::map<std::string, int> counts;

 private:
  unsigned below(unsigned limit) { return static_cast<unsigned>(random_() % limit); }
  HostId any_liar() { return HostId{2 + below(kLiars)}; }
  PageIndex any_page() { return PageIndex{below(kPages)}; }
  void attach(HostId host) {
    EXPECT_TRUE(directory_->on_attach(now_, host, below(2) == 0));
    cache_->on_peer(now_, host);
  }
  void end_session(HostId host) {
    directory_->on_host_lost(now_, host);
    cache_->on_peer_lost(now_, host);
  }

  // Often of what it was just told.
  void lie(HostId host) {
    PageIndex page = below(20) == 0 ? PageIndex{below(2 * kPages)} : any_page();
    TransactionNumber number{below(50)};
    if (const auto told = told_.find({host, page}); told != told_.end() && below(10) != 0) number = told->second;
    const PageAccess access = below(2) == 0 ? PageAccess::kRead : PageAccess::kWrite;
    const auto contents = std::make_shared<const Bytes>(8);
    HostPageMessage message;
    switch (below(25)) {
      case 0:
        message = AskAhead{page, below(kPages + 1)};
        break;
      case 1:
      case 2:
      case 14:
      case 15:
      case 16:
        message = PageInstalled{page, number};
        break;
      case 3:
        message = NoPageData{page, number};
        break;
      case 4:
        message = PageDropped{page, number};
        break;
      case 5:
        message = RelayedPage{page, number, contents};
        break;
      case 6:
        message = PageFailed{page, number};
        break;
      case 7:
        message = SegmentAttached{below(3) == 0 ? 0xffffffffU : below(3)};
        break;
      case 8:
        message = SegmentDetached{below(3)};
        break;
      case 9:
        message = PagesHeld{page, below(3), access};
        break;
      case 10:
        message = SegmentHeld{below(3) == 0 ? 0xffffffffU : below(2)};
        break;
      case 11:
        message = PageKept{page, number};
        break;
      case 12:
        if (below(4) == 0) message = SegmentCleared{};
        break;
      case 13:
        return cache_->on_data(now_, host, PageData{page, number, contents});
      default:
        message = PageRequest{page, access};
    }
    directory_->on_message(now_, host, message);
  }

  // The owner's pager does one thing, or nothing.
  void work() {
    if (work_.empty()) return;
    const PageCache::Action action = work_.front();
    work_.pop_front();
    const std::optional<PageIndex> page = carry_out(action);
    if (const auto* read = std::get_if<PageCache::ProtectAndRead>(&action)) {
      cache_->on_contents(now_, read->page, std::make_shared<const Bytes>(8));
    } else if (page) {
      cache_->on_done(now_, *page);
    }
  }
  std::optional<PageIndex> carry_out(const PageCache::Action& action) {
    if (const auto* install = std::get_if<PageCache::Install>(&action)) {
      EXPECT_EQ(memory_.count(install->page), 0u);
      memory_[install->page] = install->writable ? PageCache::Access::kExclusive : PageCache::Access::kShared;
      return install->page;
    }
    if (const auto* upgrade = std::get_if<PageCache::Upgrade>(&action)) {
      memory_.at(upgrade->page) = PageCache::Access::kExclusive;
      return upgrade->page;
    }
    if (const auto* read = std::get_if<PageCache::ProtectAndRead>(&action)) {
      memory_.at(read->page) = PageCache::Access::kShared;
      if (read->drop) memory_.erase(read->page);
      return read->page;
    }
    if (const auto* drop = std::get_if<PageCache::Drop>(&action)) {
      memory_.erase(drop->page);
      return drop->page;
    }
    if (const auto* lost = std::get_if<PageCache::MarkLost>(&action)) return lost->page;
    return std::nullopt;
  }

  // The daemon is killed, and there is another one. What its pager was told it has done or not.
  void restart() {
    ++counts["restarts"];
    while (!work_.empty() && below(2) == 0) {
      carry_out(work_.front());
      work_.pop_front();
    }
    work_.clear();
    told_.clear();
    directory_.reset();
    ++records_.epoch;
    cache_.emplace(now_ + 10s, cache_options_, memory_, 1);
    directory_.emplace(now_, directory_options_, records_);
    cache_->on_peer(now_, kOwner);
    drain();
    for (std::uint32_t i = 0; i < kLiars; ++i) cache_->on_peer(now_, HostId{2 + i});
  }

  void write_down() {
    const PageDirectory::Changes changes = directory_->take_changes();
    std::map<HostId, MemberRecord> now = directory_->member_records();
    std::map<HostId, MemberRecord> all = now;
    all.merge(records_.members);  // as OwnedSegments does it
    for (const PageIndex page : changes.pages) {
      const PageRecord record = directory_->record(page);
      std::set<HostId> spoken_of = record.holders;
      if (record.requester) spoken_of.insert(*record.requester);
      for (const HostId host : spoken_of) EXPECT_TRUE(all.contains(host)) << "a host that is no member";
      records_.pages[page] = record;
    }
    records_.members = std::move(now);
  }
  void drain() {
    for (bool more = true; more;) {
      more = false;
      write_down();
      for (const PageDirectory::Action& action : directory_->take_actions()) {
        more = true;
        act(action);
      }
      for (const PageCache::Action& action : cache_->take_actions()) {
        more = true;
        act(action);
      }
    }
  }
  void act(const PageDirectory::Action& action) {
    if (const auto* bad = std::get_if<PageDirectory::Misbehaved>(&action)) {
      EXPECT_NE(bad->host, kOwner) << bad->text;
      ++counts["accused"];
      if (bad->host != kOwner && below(2) == 0) end_session(bad->host);
    }
    const auto* send = std::get_if<PageDirectory::Send>(&action);
    if (send == nullptr) return;
    if (send->to == kOwner) return cache_->on_message(now_, send->message);
    ++counts["said to them"];
    std::visit(
        [&](const auto& what) {
          if constexpr (requires { what.transaction; }) told_[{send->to, what.page}] = what.transaction;
        },
        send->message);
  }
  void act(const PageCache::Action& action) {
    if (const auto* tell = std::get_if<PageCache::Tell>(&action)) {
      directory_->on_message(now_, kOwner, tell->message);
    } else if (const auto* bad = std::get_if<PageCache::Misbehaved>(&action)) {
      ADD_FAILURE() << "the owner is accused by its own host: " << bad->text;
    } else if (std::holds_alternative<PageCache::LoseAll>(action) ||
               std::holds_alternative<PageCache::Finished>(action)) {
      ADD_FAILURE() << "the segment is lost where it lives";
    } else if (!std::holds_alternative<PageCache::SendData>(action) &&
               !std::holds_alternative<PageCache::Wake>(action)) {
      ++counts["done here"];
      work_.push_back(action);
    }
  }

  const PageCacheOptions cache_options_{.self = kOwner, .owner = kOwner, .page_count = kPages, .hold_time = 5ms};
  const PageDirectoryOptions directory_options_{
      .owner = kOwner, .page_count = kPages, .page_bytes = 8, .fence = 50ms, .patience = 30ms};
  std::mt19937 random_;
  TimePoint now_{1000s};
  std::optional<PageDirectory> directory_;
  std::optional<PageCache> cache_;
  DirectoryRecords records_{.epoch = 1, .members = {}, .pages = {}, .removed = false};
  std::map<PageIndex, PageCache::Access> memory_;  // of the owner's programs
  std::deque<PageCache::Action> work_;
  std::map<std::pair<HostId, PageIndex>, TransactionNumber> told_;
};

TEST(PageDirectoryLiars, HarmNeitherTheOwnersDaemonNorItsOwnHost) {
  std::map<std::string, int> counts;
  for (unsigned seed = 1; seed <= 100; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    World world(seed);
    for (int step = 0; step < kSteps; ++step) {
      if (!world.step()) return;
    }
    for (const auto& [what, count] : world.counts) counts[what] += count;
  }
  for (const auto& [what, count] : counts) RecordProperty(what, count);
  EXPECT_GT(counts["restarts"], 1000);
  EXPECT_GT(counts["accused"], 1000);
  EXPECT_GT(counts["said to them"], 1000);
  EXPECT_GT(counts["done here"], 1000);
}

}  // namespace
}  // namespace dipc::test
