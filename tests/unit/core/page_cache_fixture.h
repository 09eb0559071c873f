#pragma once

// A PageCache whose owner is another host, with a session with it and one with Bob, and what it does as lines of text.

#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "daemon/core/page_cache.h"

namespace dipc::test {

using namespace std::chrono_literals;

inline constexpr HostId kOwner{0}, kSelf{1}, kBob{2}, kCid{3};
inline constexpr PageIndex p0{0}, p1{1}, p2{2};
inline constexpr std::uint32_t kPages = 100;
inline constexpr Duration kHold = 2ms;

inline std::string number(PageIndex page) { return " p" + std::to_string(static_cast<std::uint32_t>(page)); }
inline std::string number(TransactionNumber of) { return " #" + std::to_string(static_cast<std::uint64_t>(of)); }
inline std::string number(HostId host) { return " host " + std::to_string(static_cast<std::uint32_t>(host)); }

inline PageContents contents(int byte) { return std::make_shared<const Bytes>(Bytes{static_cast<std::byte>(byte)}); }
inline std::string words(const PageContents& of) {
  return of == nullptr ? " zeros" : " " + std::to_string(std::to_integer<int>(of->front()));
}

// What the cache does, as lines: "install p0 7 writable", "tell: installed p0 #1".
struct Words {
  std::string operator()(const PageRequest& of) const {
    return (of.access == PageAccess::kWrite ? "write" : "read") + number(of.page);
  }
  std::string operator()(const AskAhead& of) const {
    return "ahead" + number(of.first) + " " + std::to_string(of.count);
  }
  std::string operator()(const PageInstalled& of) const {
    return "installed" + number(of.page) + number(of.transaction);
  }
  std::string operator()(const NoPageData& of) const { return "no data" + number(of.page) + number(of.transaction); }
  std::string operator()(const PageDropped& of) const { return "dropped" + number(of.page) + number(of.transaction); }
  std::string operator()(const RelayedPage& of) const {
    return "relay" + number(of.page) + number(of.transaction) + words(of.contents);
  }
  std::string operator()(const PageFailed& of) const { return "failed" + number(of.page) + number(of.transaction); }
  std::string operator()(const SegmentAttached& of) const { return "attached " + std::to_string(of.count); }
  std::string operator()(const SegmentDetached& of) const { return "detached " + std::to_string(of.count); }
  std::string operator()(const SegmentCleared&) const { return "cleared"; }
  std::string operator()(const PagesHeld& of) const {
    return "holds" + number(of.page) + " " + std::to_string(of.count) +
           (of.access == PageAccess::kWrite ? " for writing" : " for reading");
  }
  std::string operator()(const PageKept& of) const { return "keeps" + number(of.page) + number(of.transaction); }
  std::string operator()(const SegmentHeld& of) const {
    return "holds all, attachments " + std::to_string(of.attachments);
  }

  std::string operator()(const PageCache::Install& of) const {
    return "install" + number(of.page) + words(of.contents) + (of.writable ? " writable" : "");
  }
  std::string operator()(const PageCache::Upgrade& of) const { return "upgrade" + number(of.page); }
  std::string operator()(const PageCache::ProtectAndRead& of) const {
    return "protect and read" + number(of.page) + (of.drop ? ", drop" : "");
  }
  std::string operator()(const PageCache::Drop& of) const { return "drop" + number(of.page); }
  std::string operator()(const PageCache::MarkLost& of) const { return "mark lost" + number(of.page); }
  std::string operator()(const PageCache::LoseAll&) const { return "lose all"; }
  std::string operator()(const PageCache::Wake& of) const { return "wake" + number(of.page); }
  std::string operator()(const PageCache::Tell& of) const { return "tell: " + std::visit(*this, of.message); }
  std::string operator()(const PageCache::SendData& of) const {
    return "send" + number(of.to) + number(of.data.page) + number(of.data.transaction) + words(of.data.contents);
  }
  std::string operator()(const PageCache::Cleared&) const { return "cleared"; }
  std::string operator()(const PageCache::Misbehaved& of) const { return "misbehaved: " + of.text; }
  std::string operator()(const PageCache::Finished&) const { return "finished"; }
};

class PageCacheTest : public testing::Test {
 protected:
  PageCacheTest() { begin(kSelf); }

  void begin(HostId self, std::uint32_t read_ahead = 0, Duration hold = kHold, Duration floor = 200us) {
    PageCacheOptions options;
    options.self = self;
    options.owner = kOwner;
    options.page_count = kPages;
    options.hold_time = hold;
    options.hold_floor = floor;
    options.read_ahead_max = read_ahead;
    cache_ = std::make_unique<PageCache>(options, std::set<HostId>{kOwner, kBob});
    cache_->on_attached(now_);
  }
  std::vector<std::string> out() {
    std::vector<std::string> lines;
    for (const PageCache::Action& action : cache_->take_actions()) lines.push_back(std::visit(Words{}, action));
    return lines;
  }
  static TransactionNumber t(std::uint64_t number) { return TransactionNumber{number}; }
  void hear(const OwnerPageMessage& message) { cache_->on_message(now_, message); }
  void read(PageIndex page = p0) { cache_->on_fault(now_, page, PageAccess::kRead); }
  void write(PageIndex page = p0) { cache_->on_fault(now_, page, PageAccess::kWrite); }
  void grant(std::uint64_t number, PageAccess access, PageOrigin origin, HostId holder = {}) {
    hear(PageGrant{p0, t(number), access, origin, holder});
  }
  void data(std::uint64_t number, int byte, HostId from = kBob) {
    cache_->on_data(now_, from, PageData{p0, t(number), contents(byte)});
  }
  void done(PageIndex page = p0) { cache_->on_done(now_, page); }
  void pass(Duration time) {
    now_ += time;
    cache_->on_time(now_);
  }
  // #1: has p0 for reading, or for writing too; no hold is left.
  void has(PageAccess access) {
    cache_->on_fault(now_, p0, access);
    grant(1, access, PageOrigin::kZero);
    done();
    pass(kHold);
    out();
  }

  TimePoint now_{1000s};
  std::unique_ptr<PageCache> cache_;
};

}  // namespace dipc::test
