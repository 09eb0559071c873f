#pragma once

// One host's pages of one distributed segment: from the first shmat there, or on the owner's host from shmget, until
// the owner dismisses the host or is lost. Turns faults into requests, and what the owner says into work for the pager.
// Source: Li and Hudak (see page_directory.h); the hold time is Mirage's (Fleisch and Popek, SOSP 1989).
//
// In: on_*()   Out: take_actions(), deadline()   Owns: what access the host's programs have to each page; copies kept
// for the owner. The contents that programs see are the pager's.
// After every input: carry out take_actions() in order, then call on_time() when deadline() has come.
//
// The pager does one thing at a time for each page, in the order given, and answers each of Install, Upgrade,
// ProtectAndRead, Drop and MarkLost once by on_done(), on_contents() or on_failed(); LoseAll by on_all_lost(). Until
// then what is said about the page waits.
//
//             fault             Grant                    Fetch              Fetch(drop)           Invalidate
//   invalid   ask the owner     data: Install            kept: send it      kept: send it         dropped
//   shared    read: Wake        Upgrade (written: Install can't be)         ProtectAndRead(drop)  Drop, dropped
//             write: ask                                 ProtectAndRead     send, keep a copy
//   exclusive Wake              installed                  -> shared, send  ProtectAndRead(drop)  Drop, dropped
//   lost      Wake (SIGBUS)     failed                   failed             failed                dropped
// Release: the kept copy goes. Restore: it is installed, shared. PageLost: MarkLost. A fault that a program waits with
// is answered by Install, Upgrade or MarkLost, which wake, or by Wake; a write that waits for a read to be installed is
// asked for then.
//
// hold_time: what a Grant with `hold` has installed is not given up sooner (reading may be shared by a reader at once).
// Data may come before its Grant: it waits, one from each host. A Grant whose data may never come (HolderGone; no
// session with the holder, or one that began since the page was asked for: what was sent in the one before is lost) is
// answered by NoPageData; data of that transaction is dropped from then on. Session with the owner over: LoseAll
// (SIGBUS for all who touch the segment), then Cleared for the next session with it, and Finished. Never is a page
// given out of what is older.
//
// A daemon that was started again goes on with what programs still have (the second constructor); and if it is the
// owner's that was, everybody's do (on_owner_restarted()). What was under way is forgotten, what the pager does is
// waited for; then the cache says what programs hold, and what it keeps for others. Until the owner has said that it
// counts with that (SegmentResumed), nothing is asked for and nothing given; if there is no session with it in time,
// all is lost as above. The time runs from the end of the daemon that was last counted with, however many came since:
// it is less than the owner's fence.

#include <concepts>
#include <cstdint>
#include <list>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "daemon/core/page_map.h"
#include "daemon/core/time.h"
#include "wire/page_messages.h"

namespace dipc {

struct PageCacheOptions {
  HostId self{};
  HostId owner{};
  std::uint32_t page_count = 1;
  Duration hold_time = std::chrono::milliseconds(2);
  // Least hold, by the kind of pager: with less, a store across two contended pages may never complete.
  Duration hold_floor = std::chrono::microseconds(200);
  std::uint32_t read_ahead_max = 32;  // pages, kPagesAtOnceMax at most; 0: none
};

class PageCache {
 public:
  // ---- for the pager
  // Fill the hole, for reading or for writing too; wake who waits. No contents: zeros.
  struct Install {
    PageIndex page{};
    PageContents contents;
    bool writable = false;
  };
  // Lift the write protection; wake.
  struct Upgrade {
    PageIndex page{};
  };
  // Protect it against writing first, then read it: on_contents(). `drop`: then take it from the programs, too.
  struct ProtectAndRead {
    PageIndex page{};
    bool drop = false;
  };
  struct Drop {
    PageIndex page{};
  };
  // SIGBUS for whoever touches it, also in mappings to come; wake.
  struct MarkLost {
    PageIndex page{};
  };
  // No access to anything any more, SIGBUS for everybody; wake all.
  struct LoseAll {};
  // The programs have what they waited for, or the page is lost: let them try again. No answer.
  struct Wake {
    PageIndex page{};
  };
  // ---- for others
  struct Tell {  // the owner
    HostPageMessage message;
  };
  struct SendData {
    HostId to{};
    PageData data;
  };
  // For the next session with the owner, if there is one: SegmentCleared. Not to be waited for.
  struct Cleared {};
  // The owner said what it can't have to say: the session with it is to be ended. Nothing more of it is heard until
  // then.
  struct Misbehaved {
    std::string text;
  };
  // Nothing will come any more: forget this cache and its memory.
  struct Finished {};
  using Action = std::variant<Install, Upgrade, ProtectAndRead, Drop, MarkLost, LoseAll, Wake, Tell, SendData, Cleared,
                              Misbehaved, Finished>;

  enum class Access : std::uint8_t { kInvalid, kShared, kExclusive, kLost };

  // `peers`: the hosts that there is a session with.
  PageCache(PageCacheOptions options, std::set<HostId> peers);
  // Of an earlier daemon, which had so many attachments. There is no session with anybody yet; the owner has until
  // `resume_by`.
  PageCache(TimePoint resume_by, PageCacheOptions options, const std::map<PageIndex, Access>& held,
            std::uint64_t attachments);

  // ---- programs and pager. A fault is a hint: judged against what the page is now
  void on_fault(TimePoint now, PageIndex page, PageAccess access);
  void on_done(TimePoint now, PageIndex page);
  void on_contents(TimePoint now, PageIndex page, PageContents contents);  // of ProtectAndRead
  void on_failed(TimePoint now, PageIndex page);  // the page is not to be reached by any program now
  void on_all_lost(TimePoint now);

  void on_attached(TimePoint now);                       // the owner has answered a shmat
  void on_forked(TimePoint now, std::uint32_t count);    // so many attachments more
  void on_detached(TimePoint now, std::uint32_t count);  // and less; the last one's faults are forgotten

  // ---- other hosts
  void on_message(TimePoint now, const OwnerPageMessage& message);
  void on_data(TimePoint now, HostId from, const PageData& data);
  void on_peer(TimePoint now, HostId peer);       // a session with it
  void on_peer_lost(TimePoint now, HostId peer);  // its end; of the owner: on_owner_lost()
  void on_owner_lost(TimePoint now);
  // The session with it is over, another daemon runs there since the same boot. It has until `resume_by`.
  void on_owner_restarted(TimePoint now, TimePoint resume_by);

  void on_time(TimePoint now);  // at deadline(); extra calls do nothing

  std::vector<Action> take_actions() { return std::exchange(actions_, {}); }
  TimePoint deadline() const;  // kNever: nothing is timed

  Access access(PageIndex page) const;
  std::uint64_t attachments() const { return attachments_; }
  bool idle() const;  // nothing is asked, under way or kept
  bool lost() const { return ending_; }
  bool resuming() const { return !ending_ && resume_by_ != kNever; }

 private:
  enum class Work : std::uint8_t { kNone, kInstall, kUpgrade, kRead, kDrop, kMarkLost, kRestore };
  enum class Asked : std::uint8_t { kNothing, kAhead, kPage };
  struct Page {
    Access access = Access::kInvalid;  // the pager's, when no work is under way
    Work work = Work::kNone;
    Asked asked = Asked::kNothing;
    bool wants_read = false;  // a program waits
    bool wants_write = false;
    std::optional<PageGrant> grant;       // waits for data, or is being installed
    std::map<HostId, PageData> early;     // data for a Grant that is to come
    std::set<HostId> new_peers;           // sessions that began since the page was asked for
    std::list<OwnerPageMessage> waiting;  // said by the owner: behind the work, or until the hold is over
    TimePoint held_until{};
    FetchPage fetch;                   // kRead: what for
    TransactionNumber dropping_for{};  // kDrop
    PageContents kept;                 // none, or what was given away in
    TransactionNumber kept_for{};      // this transaction and not released yet
  };

  using Pages = PageMap<Page>;

  void advance_all(TimePoint now);
  void advance(TimePoint now, PageIndex index);
  void advance(TimePoint now, Pages::iterator found);
  bool must_wait(TimePoint now, PageIndex index, const Page& page);
  void on(TimePoint now, PageIndex index, Page& page, const OwnerPageMessage& message);
  void on(TimePoint now, PageIndex index, Page& page, const PageGrant& grant);
  void on(PageIndex index, Page& page, const FetchPage& fetch);
  void on(PageIndex index, Page& page, const InvalidatePage& message);
  void try_grant(PageIndex index, Page& page);
  void no_data(PageIndex index, Page& page);
  void installed(TimePoint now, PageIndex index, Page& page, Access access);
  void hold_from(TimePoint now, Page& page) const;
  void send_copy(PageIndex index, const FetchPage& fetch, const PageContents& contents);
  void look_after_programs(PageIndex index, Page& page);
  void forget_request(PageIndex index, Page& page);
  void ask_ahead(std::uint32_t first);
  void forget_what_was_said(Page& page);
  TimePoint resume_deadline() const;
  void tell_if_at_rest();
  void tell_what_is_held();
  void resume(TimePoint now);
  void lose_all(bool destroyed);
  void accuse(std::string text);
  template <typename T>
  void tell(T message) {
    if (resuming() && !tells_what_there_is<T>) return;
    Tell out{std::move(message)};
    actions_.emplace_back(std::move(out));
  }

  template <typename T>
  static constexpr bool tells_what_there_is =
      std::same_as<T, PagesHeld> || std::same_as<T, PageKept> || std::same_as<T, SegmentHeld> ||
      std::same_as<T, SegmentAttached> || std::same_as<T, SegmentDetached>;
  static constexpr std::uint32_t kNowhere = 0xffffffff;

  PageCacheOptions options_;
  std::set<HostId> peers_;
  Pages pages_;                                      // those that are not plainly invalid
  std::set<PageIndex> starved_;                      // have a Grant that waits for data
  std::set<std::pair<TimePoint, PageIndex>> holds_;  // something waits for the end of the hold
  std::uint64_t attachments_ = 0;
  bool ending_ = false;     // LoseAll was given out, or Finished
  bool accused_ = false;    // Misbehaved was given out
  bool destroyed_ = false;  // by its removal: there is nothing to be cleared with the owner
  // A daemon was started again, and the owner has not said yet that it counts with what is held: until when it may.
  TimePoint resume_by_ = kNever;
  bool told_held_ = false;
  // sequential faults: pages up to here were touched or asked for ahead; so many are asked for at once
  std::uint32_t ahead_end_ = kNowhere;
  std::uint32_t ahead_window_ = 0;
  std::vector<Action> actions_;
};

}  // namespace dipc
