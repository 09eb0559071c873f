#pragma once

// One distributed segment on several hosts, its owner among them, by a seed: programs that read and write, pagers that
// take their time, sessions between each two hosts that are late, end and begin anew, hosts that crash, daemons that
// are killed while their programs go on, the owner's among them. One seed is one history, on every architecture.
//
// The checks, each named as the violation that it reports:
//   writer and others      a page writable in one host's pager and reachable in another's, at any moment
//   stale read             a read that does not return the latest write, by the simulator's clock
//   not held               a page that a program waited for was taken before hold_time was over
//   lost without a cause   a page given up while a host that the owner can reach has it, or without any host lost, or
//                          with the owner's daemon alone, unless the owner's host was just giving it away
//   not written down       what the directory would be made again from is not what it is
//   crosses twice          the data of one transaction sent twice, or through the owner for no reason
//   breach                 a host accused by the owner, though all hosts run the same machines
//   waits for ever         a fault not resolved in bounded time, once there are no more faults of the world
//   not at rest            in the end: work under way, or the directory thinks otherwise than the pagers are
//   not forgotten          in the end, everybody detached or the owner gone: pages or memory left behind
// What the pagers let the programs do is compared, never what the directory believes.

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "daemon/core/page_cache.h"
#include "daemon/core/page_directory.h"
#include "tests/sim/random.h"

namespace dipc::sim {

// A defect put between the machines and the world, to see that the checks find it.
enum class PageDefect : std::uint8_t {
  kNone,
  kInstalledEarly,      // the requester says so when it gets the grant
  kDroppedEarly,        // a reader answers before its pager has done it
  kReadsBeforeProtect,  // the pager
  kNoFence,             // hosts out of reach are taken for gone at once
  kNoHold,
  kNoDataForgotten,    // the owner never hears of it
  kReleasesEarly,      // the holder keeps nothing
  kSparesAReader,      // one invalidation in four is answered and not carried out
  kZerosForLost,       // a lost page is given out again
  kWritableReads,      // what is granted for reading is installed for writing
  kOldData,            // data is not asked which transaction it belongs to
  kLosesRequests,      // one in twenty
  kRelaysAlways,       // data goes through the owner
  kSharesForWriters,   // a fetch for a writer leaves the holder its access
  kForgetsRestore,     // a holder is not told that the page is its own again
  kSkipsHolderGone,    // a requester is not told that its holder is
  kForgetsWakes,       // one in ten
  kKeepsEvicted,       // what a detached host has stays with it
  kHoldsMore,          // a daemon that is started again says that it may write to what it may read
  kHoldsNothing,       // it says nothing of what it has, and goes on
  kGivesSilent,        // the owner takes who says nothing yet for gone
  kForgetsHolders,     // what is written down lacks one of them, one time in four
  kForgetsRequesters,  // it lacks who was granted a page and has not answered
  kForgetsWritten,     // it says of no page that it was written to
  kCountsAnew,         // the next directory numbers its transactions as the one before
  kKeepsSilently,      // a host does not say what it keeps
};

struct PageOutcome {
  std::string violation;  // empty: none
  std::uint64_t trace_hash = 0;
  std::map<std::string, std::uint64_t> counts;  // what happened: proof that the faults reach the code for them
};

class PagesWorld {
 public:
  // `log`: everything is printed, for the replay of a seed.
  PagesWorld(std::uint64_t seed, PageDefect defect, bool log);
  ~PagesWorld();
  PagesWorld(const PagesWorld&) = delete;
  PagesWorld& operator=(const PagesWorld&) = delete;

  PageOutcome run();

 private:
  using HostIndex = std::uint32_t;  // 0 is the owner's host
  using Words = std::vector<std::uint64_t>;

  struct Mapping {
    bool readable = false;
    bool writable = false;
    bool lost = false;
    bool hold = false;  // a program waited for it when it was gained
    TimePoint gained{};
    Words words;
  };
  // One host's life with the segment: a cache, its pager, and what the programs see. Outlives the daemon.
  struct Member {
    HostIndex host = 0;
    std::unique_ptr<PageCache> cache;  // none: the daemon is dead, or done with it
    std::map<PageIndex, Mapping> pages;
    std::set<PageIndex> faulted;                          // a fault was told, nothing was installed since
    std::deque<std::pair<PageCache::Action, bool>> work;  // and whether a program waits for it
    bool working = false;
    bool all_lost = false;
    std::uint64_t life = 1;  // of its daemon: what an earlier one had begun comes to nothing
    bool restarting = false;
    TimePoint lapses{};     // when nobody counts any more with what a killed daemon had
    bool given_up = false;  // by the owner
  };
  using MemberPointer = std::shared_ptr<Member>;
  enum class Step : std::uint8_t { kOut, kAttaching, kRuns, kBlocked };
  struct Program {
    HostIndex host = 0;
    Step step = Step::kOut;
    std::uint64_t stamp = 0;  // changes with every step: late events are known by it
    MemberPointer member;
    std::uint64_t scan = 0;  // reads page after page when not 0
    PageIndex page{};
    bool writes = false;
    TimePoint blocked_since{};
  };
  struct Host {
    bool up = true;
    std::uint64_t life = 1;
    MemberPointer member;
    std::set<HostId> peers;
    bool cleared = false;  // Cleared is to be said to the owner
  };
  struct AttachCall {
    std::size_t program = 0;
    std::uint64_t stamp = 0;
  };
  struct AttachReply {
    std::size_t program = 0;
    std::uint64_t stamp = 0;
    bool attached = false;
  };
  using Message = std::variant<HostPageMessage, OwnerPageMessage, PageData, AttachCall, AttachReply>;
  // The session of two hosts. `number` at each end: the session that it is in, 0 none.
  struct Link {
    std::uint64_t number = 0;              // of the latest session
    bool ending = false;                   // it is over, an end may not know yet
    std::uint64_t at_end[2] = {0, 0};      // 0: the host with the smaller index
    TimePoint last_arrival[2] = {{}, {}};  // at that end
    TimePoint lost_after[2] = {{}, {}};    // of what is on its way to that end, when ending
  };

  // time
  void at(TimePoint when, std::function<void()> what);
  void step_until(TimePoint until);
  Duration between(Duration least, Duration most);
  // sessions
  Link& link(HostIndex a, HostIndex b);
  static int end_of(HostIndex host, HostIndex peer) { return host < peer ? 0 : 1; }
  bool in_session(HostIndex host, HostIndex peer);
  void begin_soon(HostIndex a, HostIndex b);
  void begin(HostIndex a, HostIndex b);
  void began(HostIndex host, HostIndex peer, std::uint64_t number);
  void cut(HostIndex a, HostIndex b);
  void tell_end(HostIndex host, HostIndex peer, std::uint64_t number, bool restarted = false);
  bool put(HostIndex from, HostIndex to, Message message);
  void arrive(HostIndex from, HostIndex to, const Message& message);
  // faults of the world
  void schedule_trouble();
  void trouble();
  void stop_daemon(HostIndex host, bool machine);
  void start_daemon(HostIndex host);
  void restart_daemon(HostIndex host);
  void restart_owner();
  void take_back_directory();
  void take_back(HostIndex host);
  void leave_sessions(HostIndex host);
  MemberPointer make_member(HostIndex host);
  void lose_member(const MemberPointer& member);
  // programs
  void schedule_program(std::size_t index, Duration most);
  void program(std::size_t index);
  void attach(std::size_t index);
  void attached(std::size_t index, std::uint64_t stamp, bool yes);
  void detach(std::size_t index);
  void access(std::size_t index);
  void block(std::size_t index);
  void wake(const MemberPointer& member, const PageIndex* page);
  // machines
  void drain();
  void write_down();
  void act(const PageDirectory::Action& action);
  void act(const MemberPointer& member, const PageCache::Action& action);
  void tell(const MemberPointer& member, HostPageMessage message);
  void send(HostIndex to, OwnerPageMessage message);
  void send_data(HostIndex from, HostIndex to, const PageData& data);
  bool spoil_tell(const MemberPointer& member, HostPageMessage& message);
  bool spoil_send(HostIndex to, OwnerPageMessage& message);
  // pagers
  void work(const MemberPointer& member);
  void install(const MemberPointer& member, const PageCache::Install& install, bool hold);
  void protect_and_read(const MemberPointer& member, const PageCache::ProtectAndRead& action);
  void carry_out(const MemberPointer& member, const PageCache::Action& action, bool hold);
  void after(const MemberPointer& member, std::function<void()> what);
  bool fails(const MemberPointer& member, PageIndex page);
  void done(const MemberPointer& member, const std::function<void(PageCache&)>& answer);
  // checks
  void violation(const std::string& what);
  void check_page(PageIndex page);
  void check_taken(const MemberPointer& member, PageIndex page);
  void check_lost(PageIndex page);
  void check_waiting();
  void check_rest();
  void finish();
  void count(const char* what) { ++outcome_.counts[what]; }
  void trace(HostIndex host, const char* what, std::uint64_t a = 0, std::uint64_t b = 0);

  Random random_;
  PageDefect defect_;
  bool log_;
  TimePoint now_{};
  std::uint64_t next_event_ = 0;
  std::map<std::pair<TimePoint, std::uint64_t>, std::function<void()>> events_;
  std::vector<Host> hosts_;
  std::vector<Program> programs_;
  std::map<std::pair<HostIndex, HostIndex>, Link> links_;
  std::unique_ptr<PageDirectory> directory_;  // none: its daemon is dead
  DirectoryRecords records_;                  // what it has written down
  std::vector<MemberPointer> members_;        // all that still have pages
  std::vector<Words> latest_;                 // of each page
  std::uint64_t last_value_ = 0;
  std::map<std::pair<PageIndex, TransactionNumber>, unsigned> sent_;
  std::map<PageIndex, HostIndex> giving_;  // who was told to give the page to a writer and has gained nothing since
  std::set<std::pair<HostIndex, PageIndex>> restored_;  // was told that it is its own again, and has not made it so
  std::map<std::pair<HostIndex, PageIndex>, PageData> old_data_;        // defects
  std::map<std::pair<PageIndex, TransactionNumber>, bool> told_early_;  // defects
  bool trouble_ = true;
  bool programs_run_ = true;
  bool hosts_lost_ = false;
  bool sessions_lost_ = false;
  // drawn once
  std::uint32_t page_count_ = 1;
  std::uint32_t page_words_ = 2;
  Duration latency_most_{};
  Duration pager_most_{};
  Duration think_most_{};
  Duration hold_{};
  Duration floor_{};
  Duration trouble_pause_{};
  unsigned write_percent_ = 50;
  unsigned detach_percent_ = 1;
  unsigned scan_percent_ = 0;
  unsigned peer_cut_percent_ = 0;
  unsigned owner_cut_percent_ = 0;
  unsigned restart_percent_ = 0;
  unsigned owner_restart_percent_ = 0;
  bool only_owner_restarts_ = false;  // nothing else goes wrong, and there is time for sessions in between
  TimePoint owner_started_{};
  bool pager_fails_ = false;  // one thing in 300
  PageDirectoryOptions directory_options_;
  PageCacheOptions cache_options_;

  PageOutcome outcome_;
};

}  // namespace dipc::sim
