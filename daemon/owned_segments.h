#pragma once

// The segments that live on this host: who may do what with them, their records (IPC_STAT) and the directories of their
// pages. The kernel has a stand-in of each, as on every host, whose id is the segment's; nothing else is in it.
//
// After IPC_RMID a segment has no key and no name in the cluster, and goes on by its id until the last attachment is
// gone, wherever that is.
//
// What is so of a segment is written down as it changes (directory_record.h), where programs' memory outlives this
// daemon when it is killed: the next one goes on with it (take_back()).
//
// In: look(), make(), unmake(), take_back(), call(), on_*()   Out: Outbox, deadline()
// Owns: the segments, the pins of their stand-ins, what is written down. Times of day are seconds since 1970.

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <tl/expected.hpp>

#include "daemon/core/key_policy.h"
#include "daemon/core/page_directory.h"
#include "daemon/core/segment_access.h"
#include "daemon/directory_record.h"
#include "daemon/kernel/identity.h"
#include "daemon/kernel/segment_stand_ins.h"
#include "daemon/segment_hosts.h"
#include "wire/messages.h"

namespace dipc {

class OwnedSegments {
 public:
  struct Outbox {
    virtual ~Outbox() = default;
    // `to` may be this host; then it is carried out before this returns or at least before anything else from outside.
    virtual void send_order(HostId to, const ObjectRef& segment, const OwnerPageMessage& message) = 0;
    // Before a shmat is granted, and at once where it is to outlive the daemon: this host is to store what nobody uses.
    // `directory`: what goes to the next daemon with that, -1: nothing. False: no memory or descriptors for that.
    virtual bool open_here(const ObjectRef& segment, const AttachReply& shape, int directory) = 0;
    virtual void on_misbehaved(HostId host, const std::string& text) = 0;
    // IPC_RMID: the cluster forgets its name.
    virtual void on_removed(const ObjectRef& segment) = 0;
    // And its last attachment is gone: its id means nothing any more.
    virtual void on_destroyed(const ObjectRef& segment) = 0;
  };
  struct Options {
    std::uint64_t segment_bytes_max = 0;    // limits.segment_size: EINVAL beyond
    std::size_t segments_per_login = 1000;  // limits: ENOSPC beyond, as for the kernel's shmmni
    std::size_t segments_per_peer = 1000;   // likewise
    std::uint64_t memory_bytes = 0;         // memory and swap: ENOMEM beyond
    bool outlive = false;                   // programs' memory does; then it is there from shmget on
    Duration fence{};                       // PageDirectoryOptions, with the next
    Duration patience{};
    std::function<KeyPolicy::Sharing(std::int32_t key)> sharing;
    // What segments of a key are that are made now: SegmentLayout::text(). Empty: bytes.
    std::function<std::string(std::int32_t key)> declarations = [](std::int32_t /*key*/) { return std::string(); };
    std::function<std::int64_t()> time_of_day;
  };
  struct Made {
    std::int32_t id = 0;
  };

  // Both borrowed.
  OwnedSegments(Options options, const SegmentHosts& hosts, Outbox& outbox);

  // shmget of one that is there. EINVAL: it is smaller; EACCES.
  tl::expected<Made, Error> look(const ObjectRef& segment, const GetCall& call, const Identity& as) const;
  // shmget of a new one, IPC_CREAT|IPC_EXCL. `page_bytes`: the largest page of the cluster's hosts. EINVAL: no size for
  // a segment; ENOMEM; EEXIST: the kernel has another of that key; ENOSPC: no room in the kernel, or the user has made
  // as many as may be.
  tl::expected<Made, Error> make(const GetCall& call, std::uint64_t generation, const Identity& as, HostId host,
                                 std::int32_t process, std::uint32_t page_bytes);
  // No program has its id yet.
  void unmake(const ObjectRef& segment);
  // One of an earlier daemon, whose memory here was taken back. `has_name`: it was not removed.
  void take_back(TimePoint now, const ObjectRef& segment, const AttachReply& shape, DirectoryRecord record,
                 const DirectoryRecords& records, bool has_name);
  // The stand-in was removed behind our back: as IPC_RMID.
  void on_stand_in_gone(TimePoint now, const ObjectRef& segment);

  // As every host that attaches it is told. Nothing: there is no such segment.
  std::optional<AttachReply> shape(const ObjectRef& segment) const;
  // Control and SegmentAttach of a program of that host, at once. kStale: there is no such segment.
  Reply call(TimePoint now, HostId host, const Identity& as, std::int32_t process, const CallBody& body);
  void on_report(TimePoint now, HostId host, const SegmentReport& report);
  // `cleared`: and nothing of any segment can be left there.
  void on_host_lost(TimePoint now, HostId host, bool cleared);
  void on_host_restarted(TimePoint now, HostId host);

  void on_time(TimePoint now);
  TimePoint deadline() const;

  // For reports. nullptr: none such.
  struct View {
    ObjectRef ref;
    std::int32_t key = 0;  // 0 once it is removed
    std::uint64_t bytes = 0;
    std::uint32_t unit_bytes = 0;
    std::uint32_t page_count = 0;
    std::uint64_t unconverted = 0;  // see wire's ObjectRow
    SegmentPermissions permissions;
    const PageDirectory* directory = nullptr;
  };
  std::vector<View> views() const;
  // The segment with that id, removed or not; nothing: there is none.
  std::optional<ObjectRef> with_id(std::int32_t id) const;

 private:
  struct Segment {
    ObjectRef ref;
    std::int32_t key = 0;
    std::uint64_t bytes = 0;
    std::uint32_t unit_bytes = 0;
    Duration hold_time{};
    std::string declarations;  // as in AttachReply
    std::uint64_t unconverted = 0;
    SegmentPermissions permissions;
    bool locked = false;
    HostId creator_host{};
    std::int32_t creator_pid = 0, last_pid = 0;
    std::int64_t attach_time_s = 0, detach_time_s = 0, change_time_s = 0;
    SegmentPin pin;
    PageDirectory directory;
    DirectoryRecord record;  // none: it ends with this daemon
    std::map<HostId, MemberRecord> written_members;
  };

  const Segment* find(const ObjectRef& segment) const;
  Segment* find(const ObjectRef& segment);
  Reply control(TimePoint now, Segment& segment, const SegmentUser& user, const Control& call);
  Reply attach(TimePoint now, HostId host, Segment& segment, const SegmentUser& user, std::int32_t process,
               const SegmentAttach& call);
  void remove(TimePoint now, Segment& segment);
  bool may_make(uid_t uid, HostId host) const;
  void end_namesake(std::int32_t id);
  void end(std::int32_t id, const std::string& why);
  void note_unconverted(Segment& segment, HostId host, const Abi& abi);
  Stat stat_of(const Segment& segment) const;
  static AttachReply shape_of(const Segment& segment);
  PageDirectoryOptions directory_options(std::uint64_t bytes, std::uint64_t unit_bytes) const;
  void write_facts(Segment& segment) const;
  void write_down(Segment& segment);
  void advance(std::int32_t id);
  template <typename Input>
  void tell_all(Input&& input);

  Options options_;
  const SegmentHosts& hosts_;
  Outbox& outbox_;
  std::map<std::int32_t, Segment> segments_;  // by id
};

}  // namespace dipc
