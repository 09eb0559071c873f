// The programs of the hosts, and the pagers that let them.

#include "tests/sim/pages_world.h"
#include "wire/check.h"

namespace dipc::sim {
namespace {

using namespace std::chrono_literals;

Bytes bytes_of(const std::vector<std::uint64_t>& words) {
  Bytes bytes;
  for (const std::uint64_t word : words) {
    for (unsigned shift = 0; shift < 64; shift += 8) bytes.push_back(static_cast<std::byte>((word >> shift) & 0xffU));
  }
  return bytes;
}

std::vector<std::uint64_t> words_of(const Bytes& bytes) {
  std::vector<std::uint64_t> words(bytes.size() / 8, 0);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    words[i / 8] |= static_cast<std::uint64_t>(bytes[i]) << (8 * (i % 8));
  }
  return words;
}

}  // namespace

// ---- programs

void PagesWorld::schedule_program(std::size_t index, Duration most) {
  const Duration pause = between(0us, most);
  const std::uint64_t stamp = programs_[index].stamp;
  at(now_ + pause, [this, index, stamp] {
    if (programs_[index].stamp == stamp) program(index);
  });
}

void PagesWorld::program(std::size_t index) {
  Program& self = programs_[index];
  if (!programs_run_) return;
  if (self.step == Step::kOut) {
    if (random_.chance(60)) return attach(index);
    return schedule_program(index, think_most_);
  }
  DIPC_CHECK(self.step == Step::kRuns);
  if (self.scan == 0 && random_.chance(detach_percent_)) {
    detach(index);
    return schedule_program(index, 2 * think_most_);
  }
  if (random_.chance(1) && self.member->cache && !self.member->cache->lost()) {
    for (std::size_t child = 0; child < programs_.size(); ++child) {
      if (programs_[child].host != self.host || programs_[child].step != Step::kOut) continue;
      self.member->cache->on_forked(now_, 1);
      count("forks");
      programs_[child].step = Step::kRuns;
      programs_[child].member = self.member;
      ++programs_[child].stamp;
      schedule_program(child, think_most_);
      break;
    }
  }
  if (self.scan == 0 && random_.chance(scan_percent_)) self.scan = page_count_;
  if (self.scan != 0) {
    self.page = PageIndex{page_count_ - static_cast<std::uint32_t>(self.scan--)};
    self.writes = false;
  } else {
    self.page = PageIndex{static_cast<std::uint32_t>(random_.below(page_count_))};
    // Who has seen a page lost leaves it alone, mostly: else there is little but SIGBUS after a while.
    if (directory_ && directory_->state(self.page) == PageDirectory::PageState::kLost && random_.chance(90)) {
      return schedule_program(index, think_most_);
    }
    self.writes = random_.chance(write_percent_);
  }
  access(index);
}

void PagesWorld::attach(std::size_t index) {
  Program& self = programs_[index];
  Host& host = hosts_[self.host];
  const bool loses =
      host.member && (host.member->cache == nullptr || host.member->cache->lost() || host.member->cache->resuming());
  if (!host.up || loses || (self.host != 0 && !in_session(self.host, 0))) return schedule_program(index, think_most_);
  self.step = Step::kAttaching;
  ++self.stamp;
  if (self.host != 0) {
    put(self.host, 0, AttachCall{index, self.stamp});
  } else {
    attached(index, self.stamp, directory_->on_attach(now_, HostId{0}, true));
  }
}

void PagesWorld::attached(std::size_t index, std::uint64_t stamp, bool yes) {
  Program& self = programs_[index];
  DIPC_CHECK(self.stamp == stamp && self.step == Step::kAttaching);
  self.step = yes ? Step::kRuns : Step::kOut;
  ++self.stamp;
  if (yes) {
    count("attached");
    Host& host = hosts_[self.host];
    if (!host.member) host.member = make_member(self.host);
    host.member->cache->on_attached(now_);
    self.member = host.member;
  }
  schedule_program(index, think_most_);
}

// shmdt or the end of the process, also inside a fault.
void PagesWorld::detach(std::size_t index) {
  Program& self = programs_[index];
  const MemberPointer member = std::move(self.member);
  self.member.reset();
  self.step = Step::kOut;
  self.scan = 0;
  ++self.stamp;
  if (!member->cache || member->cache->lost()) return;
  member->cache->on_detached(now_, 1);
  if (member->cache->attachments() == 0) member->faulted.clear();
}

void PagesWorld::access(std::size_t index) {
  Program& self = programs_[index];
  const auto page = static_cast<std::uint32_t>(self.page);
  if (self.member->all_lost || self.member->pages[self.page].lost) {
    count("SIGBUS");
    trace(self.host, "SIGBUS", page);
    detach(index);
    return schedule_program(index, think_most_);
  }
  Mapping& mapping = self.member->pages[self.page];
  if (self.writes ? !mapping.writable : !mapping.readable) return block(index);
  const std::uint64_t burst = random_.between(1, 3);
  for (std::uint64_t i = 0; i < burst; ++i) {
    const auto word = static_cast<std::size_t>(random_.below(page_words_));
    if (mapping.words[word] != latest_[page][word]) {
      trace(self.host, "stale", page, mapping.words[word]);
      return violation("stale read");
    }
    if (self.writes) mapping.words[word] = latest_[page][word] = ++last_value_;
    trace(self.host, self.writes ? "writes" : "reads", page, latest_[page][word]);
  }
  count(self.writes ? "writes" : "reads");
  schedule_program(index, self.scan != 0 ? 20us : think_most_);
}

void PagesWorld::block(std::size_t index) {
  Program& self = programs_[index];
  self.step = Step::kBlocked;
  self.blocked_since = now_;
  ++self.stamp;
  if (random_.chance(1) && self.member->cache && trouble_) {  // killed inside the fault
    const std::uint64_t stamp = self.stamp;
    const Duration soon = between(0us, 2ms);
    at(now_ + soon, [this, index, stamp] {
      if (programs_[index].stamp != stamp || programs_[index].step != Step::kBlocked) return;
      count("killed in a fault");
      detach(index);
      schedule_program(index, think_most_);
    });
  }
  const MemberPointer member = self.member;
  const PageIndex page = self.page;
  const PageAccess access = self.writes ? PageAccess::kWrite : PageAccess::kRead;
  after(member, [this, member, page, access] {
    if (member->cache->lost() || member->cache->attachments() == 0) return;
    trace(member->host, access == PageAccess::kWrite ? "write fault" : "read fault", static_cast<std::uint32_t>(page));
    member->faulted.insert(page);
    member->cache->on_fault(now_, page, access);
  });
}

// They try again; no page: whoever waits.
void PagesWorld::wake(const MemberPointer& member, const PageIndex* page) {
  if (defect_ == PageDefect::kForgetsWakes && page != nullptr && random_.chance(10)) return;
  for (std::size_t index = 0; index < programs_.size(); ++index) {
    Program& self = programs_[index];
    if (self.member != member || self.step != Step::kBlocked || (page != nullptr && self.page != *page)) continue;
    self.step = Step::kRuns;
    const std::uint64_t stamp = ++self.stamp;
    const Duration soon = between(0us, 40us);
    at(now_ + soon, [this, index, stamp] {
      if (programs_[index].stamp == stamp) access(index);
    });
  }
}

// ---- pagers

// One moment of the pager's, unless its daemon is gone by then.
void PagesWorld::after(const MemberPointer& member, std::function<void()> what) {
  const Duration time = between(1us, pager_most_);
  at(now_ + time, [member, life = member->life, what = std::move(what)] {
    if (member->cache != nullptr && member->life == life) what();
  });
}

void PagesWorld::done(const MemberPointer& member, const std::function<void(PageCache&)>& answer) {
  after(member, [this, member, answer] {
    member->working = false;
    answer(*member->cache);
    work(member);
  });
}

void PagesWorld::work(const MemberPointer& member) {
  if (member->working || member->work.empty()) return;
  member->working = true;
  const auto [action, hold] = std::move(member->work.front());
  member->work.pop_front();
  after(member, [this, member, what = action, waits = hold] { carry_out(member, what, waits); });
}

void PagesWorld::carry_out(const MemberPointer& member, const PageCache::Action& action, bool hold) {
  if (const auto* fill = std::get_if<PageCache::Install>(&action)) return install(member, *fill, hold);
  if (const auto* read = std::get_if<PageCache::ProtectAndRead>(&action)) return protect_and_read(member, *read);
  if (std::holds_alternative<PageCache::LoseAll>(action)) {
    lose_member(member);
    return done(member, [this](PageCache& cache) { cache.on_all_lost(now_); });
  }
  PageIndex page{};
  if (const auto* upgrade = std::get_if<PageCache::Upgrade>(&action)) {
    page = upgrade->page;
    if (fails(member, page)) return;
    Mapping& mapping = member->pages[page];
    if (!mapping.readable) violation("breach: upgrade of a page that is not there");
    mapping.writable = true;
    mapping.gained = now_;
    mapping.hold = hold;
    wake(member, &page);
  } else if (const auto* drop = std::get_if<PageCache::Drop>(&action)) {
    page = drop->page;
    if (fails(member, page)) return;
    check_taken(member, page);
    member->pages[page] = Mapping{};
  } else if (const auto* lost = std::get_if<PageCache::MarkLost>(&action)) {
    page = lost->page;
    member->pages[page] = Mapping{};
    member->pages[page].lost = true;
    wake(member, &page);
  }
  check_page(page);
  done(member, [this, page](PageCache& cache) { cache.on_done(now_, page); });
}

void PagesWorld::install(const MemberPointer& member, const PageCache::Install& install, bool hold) {
  const PageIndex page = install.page;
  if (fails(member, page)) return;
  Mapping& mapping = member->pages[page];
  if (mapping.readable || mapping.lost) violation("breach: a page is filled that is there");
  const bool gains = restored_.erase({member->host, page}) == 0;
  if (const auto giving = giving_.find(page); gains && giving != giving_.end() && giving->second == member->host) {
    giving_.erase(giving);
  }
  mapping.readable = true;
  mapping.writable = install.writable || defect_ == PageDefect::kWritableReads;
  mapping.words = install.contents ? words_of(install.contents.copy()) : Words(page_words_, 0);
  mapping.gained = now_;
  mapping.hold = hold;
  wake(member, &page);
  check_page(page);
  done(member, [this, page](PageCache& cache) { cache.on_done(now_, page); });
}

// A fill that finds something there, a process that is in the way: no program reaches the page any more.
bool PagesWorld::fails(const MemberPointer& member, PageIndex page) {
  if (!pager_fails_ || !trouble_ || random_.below(300) != 0) return false;
  trace(member->host, "pager fails", static_cast<std::uint32_t>(page));
  count("pager failures");
  hosts_lost_ = true;
  member->pages[page] = Mapping{};
  member->pages[page].lost = true;
  wake(member, &page);
  done(member, [this, page](PageCache& cache) { cache.on_failed(now_, page); });
  return true;
}

// Step by step, with time for the programs in between.
void PagesWorld::protect_and_read(const MemberPointer& member, const PageCache::ProtectAndRead& action) {
  const PageIndex page = action.page;
  const bool drop = action.drop;
  if (fails(member, page)) return;
  const auto contents = std::make_shared<PageContents>();
  const auto read = [member, page, contents] {
    *contents = std::make_shared<const Bytes>(bytes_of(member->pages[page].words));
  };
  if (defect_ == PageDefect::kReadsBeforeProtect) read();
  const auto protect = [this, member, page] {
    if (member->pages[page].writable) check_taken(member, page);
    member->pages[page].writable = false;
  };
  const auto end = [this, member, page, contents, drop] {
    if (drop) {
      check_taken(member, page);
      member->pages[page] = Mapping{};
    }
    done(member, [this, page, contents](PageCache& cache) { cache.on_contents(now_, page, *contents); });
  };
  after(member, [this, member, protect, read, end] {
    protect();
    after(member, [this, member, read, end] {
      if (defect_ != PageDefect::kReadsBeforeProtect) read();
      after(member, end);
    });
  });
}

}  // namespace dipc::sim
