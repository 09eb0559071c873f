#include "daemon/attached_segments.h"

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <optional>

#include "daemon/core/segment_form.h"
#include "daemon/core/segment_pages.h"
#include "daemon/io/log.h"
#include "daemon/pager/memory_guard.h"
#include "daemon/segment_label.h"
#include "wire/check.h"

namespace dipc {
namespace {

constexpr int kLoseAllLookMs = 100;

// As far as a file system reads ahead of a program that reads a file.
constexpr std::uint64_t kReadAheadBytes = 1u << 20;

std::uint32_t read_ahead_max(std::uint64_t unit_bytes) {
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(kReadAheadBytes / unit_bytes, kPagesAtOnceMax));
}

std::uint32_t page_count_of(const AttachReply& shape) {
  return static_cast<std::uint32_t>(page_count(shape.segment_bytes, shape.unit_bytes));
}

}  // namespace

struct AttachedSegments::Segment final : Pager::Handler {
  Segment(AttachedSegments& of, const Key& named, const AttachReply& shaped) : all(of), key(named), shape(shaped) {}

  void on_fault(PageIndex page, PageAccess access) override {
    cache->on_fault(loop_now(), page, access);
    all.advance(*this);
  }
  void on_done(PageIndex page) override {
    cache->on_done(loop_now(), page);
    all.advance(*this);
  }
  void on_contents(PageIndex page, PageContents contents) override {
    cache->on_contents(loop_now(), page, turned(swaps.get(), page, std::move(contents)));
    all.advance(*this);
  }
  void on_failed(PageIndex page) override {
    cache->on_failed(loop_now(), page);
    all.advance(*this);
  }
  void on_all_lost() override {
    cache->on_all_lost(loop_now());
    all.advance(*this);
  }
  void on_attached(AttachTicket ticket, int error) override {
    const auto found = attaching.find(ticket);
    if (found == attaching.end()) return;
    const std::function<void(int)> done = std::move(found->second);
    attaching.erase(found);
    if (error != 0) {
      all.discount(*this, ticket);
      cache->on_detached(loop_now(), 1);
      all.advance(*this);
    }
    done(error);
  }
  void on_forked(AttachTicket of) override {
    if (const auto found = counted.find(of); found != counted.end()) all.count(*this, of, found->second.uid);
    cache->on_forked(loop_now(), 1);
    all.advance(*this);
  }
  void on_detached(AttachTicket of) override {
    all.discount(*this, of);
    cache->on_detached(loop_now(), 1);
    all.advance(*this);
  }
  void on_settled(std::uint64_t token) override {
    const auto found = settling.find(token);
    if (found == settling.end()) return;
    const std::function<void()> done = std::move(found->second);
    settling.erase(found);
    if (settling.empty()) process = 0;
    done();
  }
  void on_log(const std::string& line) override { log_warning("pager", line); }

  AttachedSegments& all;
  Key key;
  AttachReply shape;
  std::shared_ptr<const PageSwaps> swaps;  // between the memory of programs and what the cache has
  std::optional<PageCache> cache;
  std::unique_ptr<Pager> pager;
  std::unique_ptr<ReadPoll> poll;                              // of the pager
  std::set<AttachTicket> offers;                               // not answered yet
  std::map<AttachTicket, std::function<void(int)>> attaching;  // the pager is to answer
  std::map<std::uint64_t, std::function<void()>> settling;     // by token
  struct Counted {
    uid_t uid = 0;
    std::size_t count = 0;  // with those of forked children
  };
  std::map<AttachTicket, Counted> counted;
  bool resuming = false;  // a daemon was started again; the owner has not said yet that it counts with what is here
  std::vector<std::function<void()>> waiting;  // for that
  std::uint64_t next_token = 1;
  std::int32_t process = 0;
  bool finished = false;
};

AttachedSegments::AttachedSegments(uv_loop_t* loop, Options options, const SegmentHosts& hosts, Outbox& outbox)
    : loop_(loop), options_(std::move(options)), hosts_(hosts), outbox_(outbox), reaper_(loop, [this] {
        finished_.clear();
      }) {}

AttachedSegments::~AttachedSegments() = default;

AttachedSegments::Segment* AttachedSegments::find(const Key& segment) const {
  const auto found = segments_.find(segment);
  return found == segments_.end() ? nullptr : found->second.get();
}

// ---- attaching

bool AttachedSegments::may_begin(const Key& segment) const {
  const Segment* found = find(segment);
  return found == nullptr || !found->cache->lost();
}

bool AttachedSegments::open(const Key& key, const std::set<HostId>& peers, const AttachReply& shape, int directory) {
  if (find(key) != nullptr) return true;
  if (!has_room()) return false;
  auto fresh = std::make_unique<Segment>(*this, key, shape);
  auto pager = options_.make_pager(pager_options(key, shape, directory), *fresh);
  if (!pager) {
    log_trouble(LogLevel::kError, "pager", pager.error());
    return false;
  }
  fresh->pager = std::move(*pager);
  fresh->swaps = swaps_for(shape, options_.abi);
  fresh->cache.emplace(cache_options(key, shape, *fresh->pager), peers);
  add(std::move(fresh));
  return true;
}

Pager::Options AttachedSegments::pager_options(const Key& key, const AttachReply& shape, int directory) const {
  const std::string& owner = hosts_.name(key.first);
  Pager::Options options{.name = std::string(kSegmentMemoryName) + " " + std::to_string(key.second.id) + " of " + owner,
                         .segment_bytes = shape.segment_bytes,
                         .unit_bytes = shape.unit_bytes,
                         .stuck_after = options_.stuck_after,
                         .label = {},
                         .directory = directory};
  // A segment of this host's ends with this daemon, if its directory does.
  if (key.first != hosts_.self() || directory >= 0) options.label = format_label({owner, key.second, shape});
  // And so does one with declarations longer than a host may send.
  if (options.label.size() >= MemoryRecord::kLabelMax) options.label.clear();
  return options;
}

PageCacheOptions AttachedSegments::cache_options(const Key& key, const AttachReply& shape, const Pager& pager) const {
  PageCacheOptions options;
  options.self = hosts_.self();
  options.owner = key.first;
  options.page_count = page_count_of(shape);
  options.hold_time = std::chrono::nanoseconds(shape.hold_ns);
  options.hold_floor = pager.hold_floor();
  options.read_ahead_max = read_ahead_max(shape.unit_bytes);
  return options;
}

void AttachedSegments::add(std::unique_ptr<Segment> fresh) {
  Pager& paging = *fresh->pager;
  fresh->poll = std::make_unique<ReadPoll>(loop_, paging.wakeup_fd(), [this, &paging] {
    paging.poll();
    outbox_.on_pager_spoke();
  });
  const Key key = fresh->key;
  segments_.emplace(key, std::move(fresh));
}

// ---- what an earlier daemon has left

bool AttachedSegments::take_back(const Key& key, const AttachReply& shape, KeptSegment kept, int directory) {
  const TimePoint resume_by = kept.record.lapses();
  auto fresh = std::make_unique<Segment>(*this, key, shape);
  HeldMemory held;
  auto pager = options_.take_over(pager_options(key, shape, directory), *fresh, std::move(kept), held);
  if (!pager) {
    log_trouble(LogLevel::kError, "pager", pager.error());
    return false;
  }
  fresh->pager = std::move(*pager);
  fresh->swaps = swaps_for(shape, options_.abi);
  fresh->resuming = true;
  fresh->cache.emplace(resume_by, cache_options(key, shape, *fresh->pager), held.pages, held.attachments.size());
  for (const auto& [ticket, uid] : held.attachments) count(*fresh, ticket, uid);
  log_info("segments", "segment " + std::to_string(key.second.id) + " of " + hosts_.name(key.first) + " goes on with " +
                           std::to_string(held.pages.size()) + " pages in " + std::to_string(held.attachments.size()) +
                           " attachments" +
                           (key.first == hosts_.self() ? "" : ", if there is a session with its owner in time"));
  add(std::move(fresh));
  return true;
}

void AttachedSegments::when_known(const Key& key, std::function<void()> then) {
  Segment* segment = find(key);
  if (segment == nullptr || !segment->resuming) return then();
  segment->waiting.push_back(std::move(then));
}

tl::expected<AttachOffer, Error> AttachedSegments::begin(TimePoint now, const Key& key, const std::set<HostId>& peers,
                                                         const AttachReply& shape, bool writable, uid_t uid) {
  const auto refused = [&](Error error) {
    outbox_.send_report(key, SegmentDetached{1}, 0);
    return tl::unexpected(error);
  };
  if (!may_begin(key)) return refused(Error::kRemoved);
  if (!may_attach(uid) || !has_room()) return refused(Error::kNoMemory);
  if (!open(key, peers, shape)) return refused(Error::kNoMemory);
  Segment* segment = find(key);
  if (!(segment->shape == shape)) {
    outbox_.on_misbehaved(key.first, "it says that a segment has another size than before");
    return tl::unexpected(Error::kInvalid);
  }
  segment->cache->on_attached(now);
  auto offer = segment->pager->offer(writable);
  if (!offer) {
    log_trouble(LogLevel::kError, "pager", offer.error());
    segment->cache->on_detached(now, 1);
    advance(*segment);
    return tl::unexpected(Error::kNoMemory);
  }
  segment->offers.insert(offer->ticket);
  count(*segment, offer->ticket, uid);
  return std::move(*offer);
}

// Forks can't be refused: they count, and shmat is refused sooner.
bool AttachedSegments::may_attach(uid_t uid) const {
  const auto found = attachments_of_login_.find(uid);
  if (found == attachments_of_login_.end() || found->second < options_.attachments_per_login) return true;
  log_warning("limit of uid " + std::to_string(uid),
              "uid " + std::to_string(uid) + " has " + std::to_string(found->second) +
                  " segments attached (limits.attachments_per_login); more get ENOMEM");
  return false;
}

// Each segment takes about nine, and each attachment two.
bool AttachedSegments::has_room() const {
  if (options_.has_descriptors_to_spare()) return true;
  log_warning("segments", "seven eighths of dipcd's RLIMIT_NOFILE are taken; more segments and shmats get ENOMEM");
  return false;
}

void AttachedSegments::count(Segment& segment, AttachTicket ticket, uid_t uid) {
  Segment::Counted& counted = segment.counted[ticket];
  counted.uid = uid;
  ++counted.count;
  ++attachments_of_login_[uid];
}

void AttachedSegments::discount(Segment& segment, AttachTicket ticket) {
  const auto found = segment.counted.find(ticket);
  if (found == segment.counted.end()) return;
  const auto login = attachments_of_login_.find(found->second.uid);
  if (--login->second == 0) attachments_of_login_.erase(login);
  if (--found->second.count == 0) segment.counted.erase(found);
}

bool AttachedSegments::offered(const Key& key, AttachTicket ticket) const {
  const Segment* segment = find(key);
  return segment != nullptr && segment->offers.find(ticket) != segment->offers.end();
}

void AttachedSegments::attached(const Key& key, AttachTicket ticket, pid_t pid, std::uint64_t address,
                                Descriptor userfaultfd, std::function<void(int error)> done) {
  Segment* segment = find(key);
  if (segment == nullptr || segment->offers.erase(ticket) == 0) return done(EIDRM);
  segment->attaching.emplace(ticket, std::move(done));
  segment->pager->attached(ticket, pid, address, std::move(userfaultfd));
}

void AttachedSegments::withdraw(TimePoint now, const Key& key, AttachTicket ticket) {
  Segment* segment = find(key);
  if (segment == nullptr || segment->offers.erase(ticket) == 0) return;
  segment->pager->withdraw(ticket);
  discount(*segment, ticket);
  segment->cache->on_detached(now, 1);
  advance(*segment);
}

void AttachedSegments::settle(const Key& key, std::int32_t process, std::function<void()> done) {
  Segment* segment = find(key);
  if (segment == nullptr) return done();
  if (process != 0) segment->process = process;
  const std::uint64_t token = segment->next_token++;
  segment->settling.emplace(token, std::move(done));
  segment->pager->settle(token);
}

// ---- other hosts

void AttachedSegments::on_order(TimePoint now, const Key& key, const OwnerPageMessage& message) {
  Segment* segment = find(key);
  if (segment == nullptr) return;
  const std::optional<PageIndex> page = page_of(message);
  if (page && static_cast<std::uint32_t>(*page) >= page_count_of(segment->shape)) {
    return outbox_.on_misbehaved(key.first, "it speaks of a page that a segment does not have");
  }
  const auto* data = std::get_if<PageData>(&message);
  if (data != nullptr && (data->contents == nullptr || data->contents->size() != segment->shape.unit_bytes)) {
    return outbox_.on_misbehaved(key.first, "it sends a page that is not of a page's size");
  }
  segment->cache->on_message(now, message);
  advance(*segment);
}

void AttachedSegments::on_page(TimePoint now, HostId from, const Key& key, const PageData& data) {
  Segment* segment = find(key);
  if (segment == nullptr) return;
  if (data.contents == nullptr || data.contents->size() != segment->shape.unit_bytes) {
    return outbox_.on_misbehaved(from, "it sends a page that is not of a page's size");
  }
  segment->cache->on_data(now, from, data);
  advance(*segment);
}

template <typename Input>
void AttachedSegments::tell_all(Input&& input) {
  std::vector<Key> keys;
  for (const auto& [key, segment] : segments_) keys.push_back(key);
  for (const Key& key : keys) {
    Segment* segment = find(key);
    if (segment == nullptr) continue;
    input(*segment);
    advance(*segment);
  }
}

void AttachedSegments::on_peer(TimePoint now, HostId host) {
  tell_all([&](Segment& segment) { segment.cache->on_peer(now, host); });
}

void AttachedSegments::on_host_lost(TimePoint now, HostId host) {
  tell_all([&](Segment& segment) {
    if (segment.key.first == host) {
      if (segment.cache->attachments() != 0) {
        log_error("segments", "segment " + std::to_string(segment.key.second.id) + " of " + hosts_.name(host) +
                                  " is lost here with the session; programs that touch it get SIGBUS");
      }
      segment.cache->on_owner_lost(now);
    } else {
      segment.cache->on_peer_lost(now, host);
    }
  });
}

void AttachedSegments::on_host_restarted(TimePoint now, HostId host) {
  tell_all([&](Segment& segment) {
    if (segment.key.first != host) return segment.cache->on_peer_lost(now, host);
    log_warning("segments", "segment " + std::to_string(segment.key.second.id) + " of " + hosts_.name(host) +
                                " goes on if the dipcd that was started there does so with it");
    segment.resuming = true;
    segment.cache->on_owner_restarted(now, now + options_.resume_within);
  });
}

void AttachedSegments::lose_all(TimePoint now, Duration patience) {
  tell_all([&](Segment& segment) { segment.cache->on_owner_lost(now); });
  while (!segments_.empty() && loop_now() < now + patience) {
    std::vector<Key> keys;
    std::vector<pollfd> spoken;
    for (const auto& [key, segment] : segments_) {
      keys.push_back(key);
      spoken.push_back({segment->pager->wakeup_fd(), POLLIN, 0});
    }
    if (::poll(spoken.data(), spoken.size(), kLoseAllLookMs) <= 0) continue;
    for (std::size_t i = 0; i < keys.size(); ++i) {
      Segment* segment = spoken[i].revents == 0 ? nullptr : find(keys[i]);
      if (segment != nullptr) segment->pager->poll();
    }
  }
}

void AttachedSegments::on_time(TimePoint now) {
  tell_all([&](Segment& segment) { segment.cache->on_time(now); });
}

TimePoint AttachedSegments::deadline() const {
  TimePoint next = kNever;
  for (const auto& [key, segment] : segments_) next = std::min(next, segment->cache->deadline());
  return next;
}

// ---- actions

void AttachedSegments::advance(Segment& segment) {
  for (const PageCache::Action& action : segment.cache->take_actions()) carry_out(segment, action);
  if (!segment.resuming || segment.finished || segment.cache->resuming() || segment.cache->lost()) return;
  segment.resuming = false;
  segment.pager->renew();
  for (const auto& then : std::exchange(segment.waiting, {})) then();
}

void AttachedSegments::carry_out(Segment& segment, const PageCache::Action& action) {
  Pager& pager = *segment.pager;
  if (const auto* install = std::get_if<PageCache::Install>(&action)) {
    pager.install(install->page, turned(segment.swaps.get(), install->page, install->contents), install->writable);
  } else if (const auto* upgrade = std::get_if<PageCache::Upgrade>(&action)) {
    pager.upgrade(upgrade->page);
  } else if (const auto* read = std::get_if<PageCache::ProtectAndRead>(&action)) {
    pager.protect_and_read(read->page, read->drop);
  } else if (const auto* drop = std::get_if<PageCache::Drop>(&action)) {
    pager.drop(drop->page);
  } else if (const auto* lost = std::get_if<PageCache::MarkLost>(&action)) {
    pager.mark_lost(lost->page);
  } else if (std::holds_alternative<PageCache::LoseAll>(action)) {
    pager.lose_all();
  } else if (const auto* wake = std::get_if<PageCache::Wake>(&action)) {
    pager.wake(wake->page);
  } else if (const auto* tell = std::get_if<PageCache::Tell>(&action)) {
    const bool detaches = std::holds_alternative<SegmentDetached>(tell->message);
    outbox_.send_report(segment.key, tell->message, detaches ? segment.process : 0);
  } else if (const auto* data = std::get_if<PageCache::SendData>(&action)) {
    outbox_.send_page(data->to, segment.key, data->data);
  } else if (std::holds_alternative<PageCache::Cleared>(action)) {
    outbox_.on_cleared(segment.key);
  } else if (const auto* misbehaved = std::get_if<PageCache::Misbehaved>(&action)) {
    outbox_.on_misbehaved(segment.key.first, misbehaved->text);
  } else {
    finish(segment);
  }
}

// The pager may be the one that calls, so it goes later.
void AttachedSegments::finish(Segment& segment) {
  if (std::exchange(segment.finished, true)) return;
  auto attaching = std::exchange(segment.attaching, {});
  auto settling = std::exchange(segment.settling, {});
  const auto waiting = std::exchange(segment.waiting, {});
  while (!segment.counted.empty()) discount(segment, segment.counted.begin()->first);
  const auto found = segments_.find(segment.key);
  finished_.push_back(std::move(found->second));
  segments_.erase(found);
  reaper_.start_at(loop_now());
  for (const auto& [ticket, done] : attaching) done(EIDRM);
  for (const auto& [token, done] : settling) done();
  for (const auto& then : waiting) then();
}

}  // namespace dipc
