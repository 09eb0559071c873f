#pragma once

// Shared memory between hosts: those segments that live here (OwnedSegments) and those that programs here have attached
// (AttachedSegments), and what hosts say about their pages. Knows sessions; programs' calls are SegmentCalls's.
//
// In: Naming::Segments, begin(), call(), on_*()   Out: PeerOutbox, `removed`, `gone`   Owns: both parts.

#include <deque>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "daemon/attached_segments.h"
#include "daemon/io/loop.h"
#include "daemon/io/peer_outbox.h"
#include "daemon/naming.h"
#include "daemon/owned_segments.h"
#include "daemon/segment_hosts.h"

namespace dipc {

class Segments final : public Naming::Segments, private OwnedSegments::Outbox, private AttachedSegments::Outbox {
 public:
  struct Options {
    std::string host;
    std::uint32_t page_bytes = 0;  // of this kernel
    OwnedSegments::Options owned;
    AttachedSegments::Options attached;
    // IPC_RMID was carried out: the cluster forgets the name.
    std::function<void(const ObjectRef&)> removed;
    // The owner has destroyed it, or does not know it: its id means nothing here any more.
    std::function<void(const std::string& owner, const ObjectRef&)> gone;
  };

  // `peers` is borrowed.
  Segments(uv_loop_t* loop, Options options, PeerOutbox& peers);

  // Naming::Segments: shmget
  tl::expected<ObjectMade, Error> look(const ObjectRef& segment, const GetCall& call, const Identity& as) override;
  tl::expected<ObjectMade, Error> make(const GetCall& call, std::uint64_t generation, const Identity& as,
                                       const std::string& host, std::int32_t process) override;
  void unmake(const ObjectRef& segment) override;
  void on_stand_in_gone(const ObjectRef& segment) override;

  // A program's call on a segment of this host: Control, SegmentAttach. `host`: the program's. kStale: no such segment.
  Reply call(const std::string& host, const Identity& as, std::int32_t process, const CallBody& body);
  const OwnedSegments& owned() const { return owned_; }

  // Programs of this host, once the owner has granted a shmat: see AttachedSegments.
  AttachedSegments::Key key(const std::string& owner, const ObjectRef& segment) const;
  bool may_begin(const AttachedSegments::Key& segment) const { return attached_.may_begin(segment); }
  // Else begin() says ENOMEM, whatever else there is to be said.
  bool has_room_for(const AttachReply& shape) const { return shape.segment_bytes <= options_.owned.memory_bytes; }
  tl::expected<AttachOffer, Error> begin(const AttachedSegments::Key& segment, const AttachReply& shape, bool writable,
                                         uid_t uid);
  void refuse_granted(const std::string& owner, const ObjectRef& segment);  // it won't be used
  void attached(const AttachedSegments::Key& segment, AttachTicket ticket, pid_t pid, std::uint64_t address,
                Descriptor userfaultfd, std::function<void(int error)> done);
  void withdraw(const AttachedSegments::Key& segment, AttachTicket ticket);
  void settle(const AttachedSegments::Key& segment, std::int32_t process, std::function<void()> done);
  const AttachedSegments& attached() const { return attached_; }
  const SegmentHosts& hosts() const { return hosts_; }

  // What an earlier daemon of this host has left: once, before all else. `has_name`: of segments of this host, whether
  // they were not removed. Those that go on.
  std::set<ObjectRef> take_back(std::vector<KeptSegment> kept, const std::function<bool(const ObjectRef&)>& has_name);
  // See AttachedSegments.
  void when_known(const AttachedSegments::Key& segment, std::function<void()> then) {
    attached_.when_known(segment, std::move(then));
  }

  // False: not for this part.
  bool on_peer_message(const std::string& host, const PeerMessage& message);
  void on_session_began(const std::string& host, const Hello& hello);
  // `restarted`: another daemon runs there now.
  void on_session_ended(const std::string& host, bool restarted = false);
  // Before the daemon stops: no program is to go on with memory that nobody looks after.
  void stop();

 private:
  struct OwnOrder {
    ObjectRef segment;
    OwnerPageMessage message;
  };
  struct OwnReport {
    ObjectRef segment;
    HostPageMessage message;
    std::int32_t process = 0;
  };

  // OwnedSegments::Outbox, AttachedSegments::Outbox
  void send_order(HostId to, const ObjectRef& segment, const OwnerPageMessage& message) override;
  bool open_here(const ObjectRef& segment, const AttachReply& shape, int directory) override;
  void on_removed(const ObjectRef& segment) override;
  void on_destroyed(const ObjectRef& segment) override;
  void send_report(const AttachedSegments::Key& segment, const HostPageMessage& message, std::int32_t process) override;
  void send_page(HostId to, const AttachedSegments::Key& segment, const PageData& data) override;
  void on_cleared(const AttachedSegments::Key& segment) override;
  void on_pager_spoke() override;
  void on_misbehaved(HostId host, const std::string& text) override;

  void post(HostId to, PeerMessage message);
  void send_unsent();
  void on_order(const std::string& host, const SegmentOrder& order);
  void on_page(const std::string& host, const HeldPage& page);
  bool take_back_own(const ObjectRef& segment, const AttachReply& shape, KeptSegment kept, bool has_name);
  void deliver();
  void on_time();

  Options options_;
  PeerOutbox& peers_;
  SegmentHosts hosts_;
  OwnedSegments owned_;
  AttachedSegments attached_;
  FineTimer timer_;                                    // holds are shorter than a millisecond
  std::deque<std::variant<OwnOrder, OwnReport>> own_;  // from this host to itself
  bool delivering_ = false;
  std::map<HostId, PeerMessage> unsent_;            // the latest to each host: the next may go on with it (page_runs.h)
  std::set<HostId> sessions_;                       // without this host
  std::map<HostId, std::uint32_t> page_bytes_;      // of hosts, as their latest sessions said
  std::map<HostId, std::string> boots_;             // likewise
  std::map<HostId, Abi> abis_;                      // likewise
  std::map<HostId, std::set<ObjectRef>> to_clear_;  // owners that are to be told
};

}  // namespace dipc
