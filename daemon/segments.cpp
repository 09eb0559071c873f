#include "daemon/segments.h"

#include <algorithm>
#include <utility>

#include "daemon/core/page_runs.h"
#include "daemon/core/segment_pages.h"
#include "daemon/io/log.h"
#include "daemon/segment_label.h"
#include "wire/check.h"

namespace dipc {

Segments::Segments(uv_loop_t* loop, Options options, PeerOutbox& peers)
    : options_(std::move(options)),
      peers_(peers),
      hosts_(options_.host),
      owned_(options_.owned, hosts_, *this),
      attached_(loop, options_.attached, hosts_, *this),
      timer_(loop, [this] { on_time(); }) {}

// ---- shmget, and calls on segments of this host

tl::expected<ObjectMade, Error> Segments::look(const ObjectRef& segment, const GetCall& call, const Identity& as) {
  const auto found = owned_.look(segment, call, as);
  if (!found) return tl::unexpected(found.error());
  return ObjectMade{found->id, call.size};
}

tl::expected<ObjectMade, Error> Segments::make(const GetCall& call, std::uint64_t generation, const Identity& as,
                                               const std::string& host, std::int32_t process) {
  std::uint32_t page_bytes = options_.page_bytes;
  for (const auto& [peer, bytes] : page_bytes_) page_bytes = std::max(page_bytes, bytes);
  const auto made = owned_.make(call, generation, as, hosts_.admit(host), process, page_bytes);
  deliver();
  if (!made) return tl::unexpected(made.error());
  return ObjectMade{made->id, call.size};
}

void Segments::unmake(const ObjectRef& segment) {
  owned_.unmake(segment);
  deliver();
}

void Segments::on_stand_in_gone(const ObjectRef& segment) {
  owned_.on_stand_in_gone(loop_now(), segment);
  deliver();
}

Reply Segments::call(const std::string& host, const Identity& as, std::int32_t process, const CallBody& body) {
  const HostId caller = hosts_.find(host);
  DIPC_CHECK(caller != SegmentHosts::kStranger);
  CallBody called = body;
  if (auto* of_its_host = std::get_if<SegmentAttach>(&called); of_its_host != nullptr && !of_its_host->abi) {
    const auto abi = abis_.find(caller);
    if (abi != abis_.end()) of_its_host->abi = abi->second;
  }
  Reply reply = owned_.call(loop_now(), caller, as, process, called);
  deliver();
  return reply;
}

// ---- attaching

AttachedSegments::Key Segments::key(const std::string& owner, const ObjectRef& segment) const {
  return {hosts_.find(owner), segment};
}

tl::expected<AttachOffer, Error> Segments::begin(const AttachedSegments::Key& segment, const AttachReply& shape,
                                                 bool writable, uid_t uid) {
  if (!has_room_for(shape)) {
    send_report(segment, SegmentDetached{1}, 0);
    deliver();
    return tl::unexpected(Error::kNoMemory);
  }
  auto offer = attached_.begin(loop_now(), segment, sessions_, shape, writable, uid);
  deliver();
  return offer;
}

void Segments::refuse_granted(const std::string& owner, const ObjectRef& segment) {
  send_report(key(owner, segment), SegmentDetached{1}, 0);
  deliver();
}

void Segments::attached(const AttachedSegments::Key& segment, AttachTicket ticket, pid_t pid, std::uint64_t address,
                        Descriptor userfaultfd, std::function<void(int error)> done) {
  attached_.attached(segment, ticket, pid, address, std::move(userfaultfd), std::move(done));
  deliver();
}

void Segments::withdraw(const AttachedSegments::Key& segment, AttachTicket ticket) {
  attached_.withdraw(loop_now(), segment, ticket);
  deliver();
}

void Segments::settle(const AttachedSegments::Key& segment, std::int32_t process, std::function<void()> done) {
  attached_.settle(segment, process, std::move(done));
  deliver();
}

std::set<ObjectRef> Segments::take_back(std::vector<KeptSegment> kept,
                                        const std::function<bool(const ObjectRef&)>& has_name) {
  std::set<ObjectRef> own;
  for (KeptSegment& segment : kept) {
    const auto label = parse_label(segment.label);
    if (!label) {
      log_error("segments", "an earlier dipcd has left \"" + segment.label.substr(0, segment.label.find('\n')) +
                                "\", which is no segment");
      discard(std::move(segment));
    } else if (label->owner != options_.host) {
      attached_.take_back({hosts_.admit(label->owner), label->segment}, label->shape, std::move(segment), -1);
    } else if (take_back_own(label->segment, label->shape, std::move(segment), has_name(label->segment))) {
      own.insert(label->segment);
    }
  }
  if (!own.empty()) attached_.on_peer(loop_now(), hosts_.self());  // they say at once what they hold
  deliver();
  std::erase_if(own, [this](const ObjectRef& segment) { return !owned_.shape(segment); });
  return own;
}

// Directory and memory go on together, or not at all.
bool Segments::take_back_own(const ObjectRef& segment, const AttachReply& shape, KeptSegment kept, bool has_name) {
  auto record = DirectoryRecord::open(std::move(kept.directory));
  if (!record || record->page_count() != page_count(shape.segment_bytes, shape.unit_bytes)) {
    const std::string why = record ? "what is known of its pages is of another segment" : record.error().what;
    log_error("segments", "segment " + std::to_string(segment.id) + " of this host ends: " + why);
    discard(std::move(kept));
    return false;
  }
  const AttachedSegments::Key key{hosts_.self(), segment};
  if (!attached_.take_back(key, shape, std::move(kept), record->fd())) return false;
  if (const std::string creator = record->facts().creator_host; !creator.empty()) hosts_.admit(creator);
  const DirectoryRecords records = record->read(hosts_);
  owned_.take_back(loop_now(), segment, shape, std::move(*record), records, has_name);
  return true;
}

// ---- other hosts

bool Segments::on_peer_message(const std::string& host, const PeerMessage& message) {
  if (const auto* report = std::get_if<SegmentReport>(&message)) {
    const HostId from = hosts_.admit(host);
    take_apart(*report, [&](const HostPageMessage& message_of_page) {
      owned_.on_report(loop_now(), from, SegmentReport{report->segment, message_of_page, report->process});
    });
  } else if (const auto* order = std::get_if<SegmentOrder>(&message)) {
    on_order(host, *order);
  } else if (const auto* page = std::get_if<HeldPage>(&message)) {
    on_page(host, *page);
  } else {
    return false;
  }
  deliver();
  return true;
}

void Segments::on_order(const std::string& host, const SegmentOrder& order) {
  take_apart(order, [&](OwnerPageMessage message) {
    if (auto* grant = std::get_if<PageGrant>(&message)) grant->holder = hosts_.find(order.host);
    if (auto* fetch = std::get_if<FetchPage>(&message)) fetch->requester = hosts_.find(order.host);
    attached_.on_order(loop_now(), key(host, order.segment), message);
  });
  if (std::holds_alternative<SegmentDestroyed>(order.message)) options_.gone(host, order.segment);
}

void Segments::on_page(const std::string& host, const HeldPage& page) {
  const HostId from = hosts_.admit(host);
  take_apart(page,
             [&](const PageData& data) { attached_.on_page(loop_now(), from, key(page.owner, page.segment), data); });
}

void Segments::on_session_began(const std::string& host, const Hello& hello) {
  const HostId id = hosts_.admit(host);
  if (id == hosts_.self()) return;
  sessions_.insert(id);
  abis_.insert_or_assign(id, hello.abi);
  if (is_page_size(hello.page_bytes)) {
    page_bytes_[id] = hello.page_bytes;
  } else {
    log_error("peer " + host, "it says that its pages have " + std::to_string(hello.page_bytes) + " bytes: ignored");
  }
  const auto [boot, is_first] = boots_.emplace(id, hello.boot);
  if (!is_first && boot->second != hello.boot) {
    boot->second = hello.boot;
    owned_.on_host_lost(loop_now(), id, true);
  }
  attached_.on_peer(loop_now(), id);
  for (const ObjectRef& segment : std::exchange(to_clear_[id], {})) {
    post(id, SegmentReport{segment, SegmentCleared{}, 0});
  }
  deliver();
}

void Segments::on_session_ended(const std::string& host, bool restarted) {
  const HostId id = hosts_.find(host);
  if (sessions_.erase(id) == 0) return;
  unsent_.erase(id);
  if (restarted) {
    owned_.on_host_restarted(loop_now(), id);
    attached_.on_host_restarted(loop_now(), id);
  } else {
    owned_.on_host_lost(loop_now(), id, false);
    attached_.on_host_lost(loop_now(), id);
  }
  deliver();
}

// ---- what the two parts say

void Segments::send_order(HostId to, const ObjectRef& segment, const OwnerPageMessage& message) {
  if (to == hosts_.self()) {
    own_.emplace_back(OwnOrder{segment, message});
    return;
  }
  SegmentOrder order{segment, message, {}};
  const auto* grant = std::get_if<PageGrant>(&message);
  if (grant != nullptr && grant->origin == PageOrigin::kHolder) order.host = hosts_.name(grant->holder);
  if (const auto* fetch = std::get_if<FetchPage>(&message)) order.host = hosts_.name(fetch->requester);
  post(to, std::move(order));
}

bool Segments::open_here(const ObjectRef& segment, const AttachReply& shape, int directory) {
  return attached_.open(key(options_.host, segment), sessions_, shape, directory);
}

void Segments::send_report(const AttachedSegments::Key& segment, const HostPageMessage& message, std::int32_t process) {
  if (segment.first == hosts_.self()) {
    own_.emplace_back(OwnReport{segment.second, message, process});
  } else {
    post(segment.first, SegmentReport{segment.second, message, process});
  }
}

void Segments::send_page(HostId to, const AttachedSegments::Key& segment, const PageData& data) {
  DIPC_CHECK(to != hosts_.self());  // a directory never has a holder send to itself
  post(to, HeldPage{hosts_.name(segment.first), segment.second, data, {}});
}

void Segments::on_removed(const ObjectRef& segment) { options_.removed(segment); }

// Every host may know its id, whether it has it attached or not.
void Segments::on_destroyed(const ObjectRef& segment) {
  for (const HostId host : sessions_) post(host, SegmentOrder{segment, SegmentDestroyed{}, {}});
}

void Segments::on_pager_spoke() { deliver(); }

void Segments::on_cleared(const AttachedSegments::Key& segment) {
  if (sessions_.find(segment.first) != sessions_.end()) {
    post(segment.first, SegmentReport{segment.second, SegmentCleared{}, 0});
  } else if (segment.first != hosts_.self()) {
    to_clear_[segment.first].insert(segment.second);
  }
}

void Segments::on_misbehaved(HostId host, const std::string& text) {
  DIPC_CHECK(host != hosts_.self());
  if (host == SegmentHosts::kStranger) return;
  log_error("peer " + hosts_.name(host), text);
  peers_.end_session(hosts_.name(host), hosts_.name(host) + ": " + text);
}

// To another host, when this turn is over: what is said of the next page may be said with it.
void Segments::post(HostId to, PeerMessage message) {
  const auto [last, is_first] = unsent_.try_emplace(to, std::move(message));
  if (is_first || join(last->second, message)) return;
  peers_.send(hosts_.name(to), std::exchange(last->second, std::move(message)));
}

void Segments::send_unsent() {
  for (auto& [host, message] : std::exchange(unsent_, {})) peers_.send(hosts_.name(host), std::move(message));
}

void Segments::stop() {
  attached_.lose_all(loop_now(), options_.attached.stuck_after);
  send_unsent();
}

// What this host says to itself, until nothing more comes of it.
void Segments::deliver() {
  if (delivering_) return;
  delivering_ = true;
  while (!own_.empty()) {
    const auto next = std::move(own_.front());
    own_.pop_front();
    if (const auto* order = std::get_if<OwnOrder>(&next)) {
      attached_.on_order(loop_now(), {hosts_.self(), order->segment}, order->message);
    } else {
      const auto& report = std::get<OwnReport>(next);
      owned_.on_report(loop_now(), hosts_.self(), SegmentReport{report.segment, report.message, report.process});
    }
  }
  delivering_ = false;
  send_unsent();
  timer_.start_at(std::min(owned_.deadline(), attached_.deadline()));
}

void Segments::on_time() {
  owned_.on_time(loop_now());
  attached_.on_time(loop_now());
  deliver();
}

}  // namespace dipc
