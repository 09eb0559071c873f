#pragma once

// Who may read or write each page of one segment: one writer, or any number of readers, never both. The owner's side.
// Source: Li and Hudak, ACM TOCS 7(4), 1989, the central manager, improved; what happens when hosts die is DIPC's own.
//
// In: on_*()   Out: take_actions(), deadline()   Owns: holders, waiting requests and counts of each page. No contents.
// After every input carry out take_actions() in order. What goes to the owner's own host is given to its PageCache at
// once, before anything else from outside is looked at. The owner's host always takes part: it stores what nobody uses.
//
// A page: free (never granted for writing: zeros, whoever reads it) | readers | one writer | lost, for ever.
// A transaction, one at a time for each page:
//   request       starts when the page is free of others, in order of arrival; read-ahead only if it need not wait,
//                 and from no writer but a host without attachments
//   read          FetchPage to a holder (a writer stays as reader), PageGrant to the requester
//   write         InvalidatePage to the other readers, FetchPage(drop) to one if the requester has no copy now (decided
//                 here, not when it asked); PageGrant once every reader has answered PageDropped
//   PageInstalled ends it: requester is writer or reader, ReleasePage to who kept a copy
//   NoPageData    begins it again under a new number: through the owner, or from another holder if that one is gone
//   eviction      of a host without attachments, in the same queue: PageDropped ends it; if the host has the only copy,
//                 there is a read by the owner's host first
//   PageFailed    of a reader: it does not get the page; of a writer: the page is lost; of a holder: as if it were gone
// A host whose session ended (on_host_lost) is out of reach, but its programs may go on with what they have until it
// has noticed too. `fence` later, or when it says so by SegmentCleared or attaches again, it certainly has nothing.
//   it waits in a queue                     forgotten
//   it was to be invalidated                the transaction waits for the fence
//   it had the only copy                    lost at once (whatever its programs still do reaches nobody)
//   it is one of the readers                others read on; the next write waits for the fence
//   it is the holder, in a transaction      HolderGone: the requester has the data (it counts) or NoPageData: another
//                                           reader's copy, else lost
//   it is the requester, read               ends as if installed
//   it is the requester, write, granted     lost: it may have written. ReleasePage, Invalidate
//   it is the requester, write, not granted when the readers have answered: RestorePage, the holder is reader; lost if
//                                           the requester's own copy was the one to be kept
//   it is the owner                         there is no directory any more: each PageCache loses its segment, unless
//                                           its daemon is started again, as below
// A host whose daemon was started again (on_host_restarted) may still have what it had; what it was told last it has
// done or not. Nothing is said to it, and what only it has waits, until it says what it holds (PagesHeld, SegmentHeld),
// or `patience` is over: then it is out of reach as above.
//   what it asked for                       forgotten
//   it was granted a page                   it holds it: as PageInstalled; else the grant was for nothing, RestorePage
//   it was to be invalidated                it holds it: Invalidate again; else as PageDropped
//   it is the holder, in a transaction      it holds it: as NoPageData, unless the data came; else as if it were gone
//   it has the page                         so it is; unless it says nothing of it, then it has it no more
// If it was the owner's daemon, the next one makes the directory again from what this one has written down
// (page_records.h; take_changes()). All hosts are then such as above, the owner's own too; and when that one and all
// who were written down for a page have spoken, or are out of reach, it is known what it is:
//   one holds it for writing                it is its writer
//   some hold it for reading                they are its readers, with those that are out of reach
//   only such that may only read            and one that may write keeps a copy: RestorePage to that one as well
//   nobody, but one keeps a copy            RestorePage: it was given to nobody; lost if it was, to a host out of reach
//   nobody                                  lost if it was ever written

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
#include "daemon/core/page_records.h"
#include "daemon/core/time.h"
#include "wire/page_messages.h"

namespace dipc {

struct PageDirectoryOptions {
  HostId owner{};
  std::uint32_t page_count = 1;
  std::uint64_t page_bytes = 4096;  // what one transfer counts
  Duration fence = std::chrono::seconds(20);
  Duration patience = std::chrono::seconds(10);
};

// What one host did with one page.
struct PageCounts {
  std::uint64_t faults = 0;         // requests
  std::uint64_t read_aheads = 0;    // granted
  std::uint64_t transfers = 0;      // data that it was sent
  std::uint64_t bytes_moved = 0;    // by these
  std::uint64_t invalidations = 0;  // copies that were taken from it
  std::uint64_t bounces = 0;        // it took the page from its writer
  bool operator==(const PageCounts&) const = default;
};

class PageDirectory {
 public:
  struct Send {
    HostId to{};
    OwnerPageMessage message;
  };
  // For the log: contents are lost with the hosts that had them. None: no host had them any more.
  struct Lost {
    PageIndex page{};
    std::set<HostId> hosts;
  };
  // The host said what it can't have to say: its session is to be ended. What it said had no effect.
  struct Misbehaved {
    HostId host{};
    std::string text;
  };
  // Removed, and the last attachment is gone. Nothing comes after it, later inputs do nothing.
  struct Destroyed {};
  using Action = std::variant<Send, Lost, Misbehaved, Destroyed>;

  explicit PageDirectory(PageDirectoryOptions options);
  // From what the directory before has written down. The owner's own host says what it holds before time goes on.
  PageDirectory(TimePoint now, PageDirectoryOptions options, const DirectoryRecords& records);

  // shmat by a process of that host, allowed. False: destroyed (EIDRM). A host comes by its first one, and may ask for
  // writing from its first one on that is for writing.
  bool on_attach(TimePoint now, HostId host, bool writable);
  void on_message(TimePoint now, HostId host, const HostPageMessage& message);
  // Its session is over. on_host_cleared(): and nothing of the segment can be left there (another boot id).
  void on_host_lost(TimePoint now, HostId host);
  // Its session is over because another daemon runs there, since the same boot.
  void on_host_restarted(TimePoint now, HostId host);
  void on_host_cleared(TimePoint now, HostId host);
  void on_remove(TimePoint now);  // IPC_RMID
  void on_time(TimePoint now);    // at deadline(); extra calls do nothing

  // What is to be written down anew, after every input and before its actions are carried out.
  struct Changes {
    bool members = false;
    std::vector<PageIndex> pages;
  };
  Changes take_changes() { return std::exchange(changes_, {}); }
  PageRecord record(PageIndex page) const;  // DIPC_CHECK: it was ever asked for
  std::map<HostId, MemberRecord> member_records() const;

  std::vector<Action> take_actions();
  TimePoint deadline() const;  // kNever: nothing is timed

  // Those that were ever asked for; all others are free.
  std::vector<PageIndex> asked_for() const;
  enum class PageState : std::uint8_t { kFree, kRead, kWritten, kLost };
  PageState state(PageIndex page) const;
  std::set<HostId> holders(PageIndex page) const;  // the writer, or the readers; out of reach or not
  bool busy(PageIndex page) const;                 // in a transaction
  const std::map<HostId, PageCounts>& counts(PageIndex page) const;
  std::uint64_t attachments() const;  // nattch, over all hosts
  bool removed() const { return removed_; }
  bool destroyed() const { return destroyed_; }

 private:
  enum class Purpose : std::uint8_t { kRead, kWrite, kAhead, kEvict };
  struct Request {
    HostId host{};
    Purpose purpose{};
    bool through_owner = false;  // the holder's data can't come directly
  };
  struct Transaction {
    TransactionNumber number{};
    Request request;
    bool gives = true;   // somebody gets the page; false: an eviction that only drops
    HostId requester{};  // who gets it: request.host, or the owner if it is evicted
    PageAccess access{};
    PageOrigin origin{};
    HostId holder{};  // origin kHolder: who sends it
    bool through_owner = false;
    bool holder_lost = false;
    bool requester_lost = false;
    bool data_in_doubt = false;  // the holder's daemon was started again
    bool granted = false;
    std::set<HostId> awaited;  // have not answered PageDropped
  };
  struct Page {
    bool written = false;  // was granted for writing, ever
    bool lost = false;
    bool exclusive = false;    // the one holder may write
    bool failed_here = false;  // the owner's own host can't have it (PageFailed)
    bool unsettled = false;    // it is in unsettled_
    std::set<HostId> holders;
    std::list<Request> queue;
    std::optional<Transaction> running;
    std::map<HostId, PageCounts> counts;
  };
  struct Member {
    std::uint64_t attachments = 0;
    bool may_write = false;
    TimePoint fence_end = kNever;          // other than kNever: out of reach
    bool silent = false;                   // it is to say what it holds,
    TimePoint silent_until = kNever;       // until then
    bool resumed = false;                  // it has said so; its own time for that may be over when it hears our answer
    std::map<PageIndex, PageAccess> told;  // what it has said so far
    std::map<PageIndex, TransactionNumber> told_kept;  // likewise
    std::set<PageIndex> held;
    std::set<PageIndex> requests;   // waiting or running, at most one for each page
    std::set<PageIndex> evictions;  // likewise
  };

  // What is so of a page that was written down, as far as it is known.
  struct Unsettled {
    PageRecord before;
    std::set<HostId> silent;
    std::map<HostId, PageAccess> held;
    std::map<HostId, TransactionNumber> kept;
  };

  void on(HostId host, const PageRequest& message);
  void on(HostId host, const AskAhead& message);
  void on(HostId host, const PageInstalled& message);
  void on(HostId host, const NoPageData& message);
  void on(HostId host, const PageDropped& message);
  void on(HostId host, const RelayedPage& message);
  void on(HostId host, const PageFailed& message);
  void on(HostId host, const SegmentAttached& message);
  void on(HostId host, const SegmentDetached& message);
  void on(HostId host, const SegmentCleared& message);
  void on(HostId host, const PagesHeld& message);
  void on(HostId host, const SegmentHeld& message);
  void on(HostId host, const PageKept& message);

  Page* page_in(PageIndex index, TransactionNumber number);
  Transaction* granted_to(HostId host, PageIndex index, TransactionNumber number);
  bool in_reach(HostId host) const;
  bool silent(HostId host) const;
  bool on_message_of_silent(TimePoint now, HostId host, const HostPageMessage& message);
  bool on_message_too_late(TimePoint now, HostId host, const HostPageMessage& message);
  void note_held(HostId host, const PagesHeld& pages);
  void note_kept(HostId host, const PageKept& kept);
  void resume(HostId host, const SegmentHeld& all);
  void go_on_with(HostId host, PageIndex index, Page& page, std::optional<PageAccess> held);
  bool may_hold(HostId host, PageIndex index, const Page& page, PageAccess access) const;
  void on_said(HostId host, PageIndex index, Page& page, std::optional<PageAccess> held);
  void on_silent_again(HostId host, PageIndex index);
  void on_never_said(HostId host, PageIndex index, Page& page);
  void take_back_what_it_said(HostId host, PageIndex index);
  void settle(PageIndex index, Page& page);
  void settle_writer(PageIndex index, Page& page, const Unsettled& known, HostId writer);
  void settle_readers(PageIndex index, Page& page, Unsettled& known);
  void settle_lost(PageIndex index, Page& page, const Unsettled& known);
  bool must_wait(const Page& page) const;
  bool may_change(HostId host) const;
  std::optional<HostId> pick_holder(const Page& page, HostId except) const;
  bool has_active_writer(const Page& page) const;
  void add_holder(PageIndex index, Page& page, HostId host);
  void remove_holder(PageIndex index, Page& page, HostId host);
  void advance(PageIndex index, Page& page);
  void start(PageIndex index, Page& page, Request request);
  bool start_eviction(const Page& page, Transaction& transaction);
  void ask_readers(PageIndex index, Page& page);
  void grant(PageIndex index, Page& page);
  void on_all_dropped(PageIndex index, Page& page);
  void abort_write(PageIndex index, Page& page);
  void lose_requester(PageIndex index, Page& page);
  void lose_with_writer(PageIndex index, Page& page, const Transaction& failed);
  void lose_holder(PageIndex index, Page& page);
  void end(PageIndex index, Page& page);
  void close(PageIndex index, const Request& request);
  void lose(PageIndex index, Page& page, std::set<HostId> with);
  void lose_if_gone(PageIndex index, Page& page);
  void clear(HostId host);
  void continue_evictions();
  void destroy_if_unused();
  void send(HostId to, OwnerPageMessage message);
  void accuse(HostId host, std::string text);
  void changed(PageIndex index);

  PageDirectoryOptions options_;
  PageMap<Page> pages_;  // those that were ever asked for
  std::map<HostId, Member> members_;
  std::map<PageIndex, Unsettled> unsettled_;
  std::set<HostId> leaving_;  // without attachments, not dismissed yet
  std::set<HostId> refused_;  // SegmentRefused; what they say before they have heard of it is nothing
  std::uint64_t last_transaction_ = 0;
  bool removed_ = false;
  bool destroyed_ = false;
  Changes changes_;
  std::vector<Action> actions_;
};

}  // namespace dipc
