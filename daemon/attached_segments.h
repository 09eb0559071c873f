#pragma once

// The segments that programs of this host have attached, whoever owns them: a PageCache and a Pager of each, from the
// first shmat that an owner has granted until the cache is finished. Of a segment of this host that is to outlive the
// daemon they are there from shmget on: open().
//
//   owner grants a shmat       begin()      -> the offer, which the program maps
//   the program has mapped it  attached()   -> 0 or an errno: it may use it
//   it has failed, or is gone  withdraw()
//   the program has unmapped   settle()     -> once all detaches before it are counted
//
// In: the above, on_*()   Out: Outbox, deadline()   Owns: caches, pagers, what waits for a pager.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <tl/expected.hpp>

#include "daemon/core/page_cache.h"
#include "daemon/io/loop.h"
#include "daemon/pager/kept_memory.h"
#include "daemon/pager/pager.h"
#include "daemon/segment_hosts.h"
#include "wire/messages.h"

namespace dipc {

class AttachedSegments {
 public:
  using Key = std::pair<HostId, ObjectRef>;  // owner, and its segment
  struct Outbox {
    virtual ~Outbox() = default;
    // To the owner; if that is this host, before anything else from outside. `process`: whose doing it is, 0: nobody's.
    virtual void send_report(const Key& segment, const HostPageMessage& message, std::int32_t process) = 0;
    virtual void send_page(HostId to, const Key& segment, const PageData& data) = 0;
    // SegmentCleared is to be said in the next session with the owner.
    virtual void on_cleared(const Key& segment) = 0;
    virtual void on_misbehaved(HostId host, const std::string& text) = 0;
    // After one or more of these, or after nothing, when a pager has had its turn.
    virtual void on_pager_spoke() = 0;
  };
  using MakePager = std::function<Result<std::unique_ptr<Pager>>(Pager::Options, Pager::Handler&)>;
  using TakeOver =
      std::function<Result<std::unique_ptr<Pager>>(Pager::Options, Pager::Handler&, KeptSegment, HeldMemory&)>;
  struct Options {
    MakePager make_pager;
    TakeOver take_over;
    Duration stuck_after{};                     // Pager::Options
    Duration resume_within{};                   // so long an owner that was started again has for a session
    std::size_t attachments_per_login = 10000;  // limits: ENOMEM beyond
    // False: what is free is for others than segments. ENOMEM.
    std::function<bool()> has_descriptors_to_spare = [] { return true; };
    Abi abi = measured_abi();  // of the memory of this host's programs
  };

  // All borrowed.
  AttachedSegments(uv_loop_t* loop, Options options, const SegmentHosts& hosts, Outbox& outbox);
  ~AttachedSegments();

  // What an earlier daemon has left: programs go on with it, if its owner counts with that in time. Once, before all
  // else. `directory`: as for open(). False: it could not be, and is taken from its programs.
  bool take_back(const Key& segment, const AttachReply& shape, KeptSegment kept, int directory);
  // Once it is known whether the owner does; at once if there is nothing to be known. For shmat. So it is, too, when
  // the owner's daemon was started again.
  void when_known(const Key& segment, std::function<void()> then);

  // False: it was lost here and is being taken from its programs; asked for now, the owner would take that for done.
  bool may_begin(const Key& segment) const;
  // The cache, without an attachment. `peers`: the hosts that there is a session with. `directory`: of a segment of
  // this host, what goes to the next daemon with its memory (Pager::Options). False: no memory or descriptors.
  bool open(const Key& segment, const std::set<HostId>& peers, const AttachReply& shape, int directory = -1);
  // `uid`: of whose program. Errors have been told to the owner: ENOMEM, no memory or descriptors, or the user has as
  // many attachments as may be; EIDRM, lost since; EINVAL, not the shape that it had.
  tl::expected<AttachOffer, Error> begin(TimePoint now, const Key& segment, const std::set<HostId>& peers,
                                         const AttachReply& shape, bool writable, uid_t uid);
  // Whether the offer still stands, so that one of the next two may follow.
  bool offered(const Key& segment, AttachTicket ticket) const;
  void attached(const Key& segment, AttachTicket ticket, pid_t pid, std::uint64_t address, Descriptor userfaultfd,
                std::function<void(int error)> done);
  void withdraw(TimePoint now, const Key& segment, AttachTicket ticket);
  // `process`: whose detaches they are taken for. Without such a segment at once.
  void settle(const Key& segment, std::int32_t process, std::function<void()> done);

  void on_order(TimePoint now, const Key& segment, const OwnerPageMessage& message);
  void on_page(TimePoint now, HostId from, const Key& segment, const PageData& data);
  void on_peer(TimePoint now, HostId host);
  void on_host_lost(TimePoint now, HostId host);
  // Another daemon runs there, since the same boot: its segments go on, if it counts with what programs here have.
  void on_host_restarted(TimePoint now, HostId host);
  void on_time(TimePoint now);
  TimePoint deadline() const;
  // Takes all segments from their programs (SIGBUS), before the daemon stops. Waits for that, no longer than
  // `patience`.
  void lose_all(TimePoint now, Duration patience);

  bool has(const Key& segment) const { return segments_.find(segment) != segments_.end(); }
  std::size_t count() const { return segments_.size(); }

 private:
  struct Segment;
  Pager::Options pager_options(const Key& segment, const AttachReply& shape, int directory) const;
  PageCacheOptions cache_options(const Key& segment, const AttachReply& shape, const Pager& pager) const;
  void add(std::unique_ptr<Segment> fresh);
  Segment* find(const Key& segment) const;
  void advance(Segment& segment);
  void carry_out(Segment& segment, const PageCache::Action& action);
  void finish(Segment& segment);
  bool may_attach(uid_t uid) const;
  bool has_room() const;
  void count(Segment& segment, AttachTicket ticket, uid_t uid);
  void discount(Segment& segment, AttachTicket ticket);
  template <typename Input>
  void tell_all(Input&& input);

  uv_loop_t* loop_;
  Options options_;
  const SegmentHosts& hosts_;
  Outbox& outbox_;
  std::map<Key, std::unique_ptr<Segment>> segments_;
  std::map<uid_t, std::size_t> attachments_of_login_;  // and what is offered
  std::vector<std::unique_ptr<Segment>> finished_;     // may still be in a call of their own
  Timer reaper_;                                       // of finished_
};

}  // namespace dipc
