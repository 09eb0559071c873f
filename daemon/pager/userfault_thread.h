#pragma once

// The thread that pages one segment through userfaultfd: reads the faults and events of its programs, and does what the
// pager is asked for, one thing after another.
//
//   hole       no page in the memfd. A fault is told
//   shared     a page, write-protected in every mapping. A write is told, a read goes on
//   exclusive  a page; protection is left over in some mappings from before, and lifted when it is met
//   lost       no page, and SIGBUS for who touches it
//
// The order of things matters (each was found by a program that lost writes without it):
//   fill        protect in every mapping, then UFFDIO_COPY through our own: a fault that raced with the last punch has
//               taken the protection of its mapping with it. COPY wakes only through its own userfaultfd: wake the rest
//   give up     protect in every mapping, then read, then punch; a store between reading and protecting would be lost
//   attach      registered while it is mapped PROT_NONE: mlockall(2) fills with zeros what may be touched
//   fork        the kernel keeps the child until we have read of it, and says EAGAIN to all else until then
// A fault's message says what was so when it was written: what it asks for is judged by what is so now.
//
// Programs that attach for reading have a memory of their own, of copies. A descriptor for reading is enough to map the
// memory where nobody watches and to fill holes with zeros by touching them; so nothing may follow from what is in
// theirs: copies are written over it, and their mappings tell also the touch of a page that is there. A copy is there
// only while no program can write to the page: of an exclusive one it is made when it is asked for, with the page
// protected again, and taken away before the protection is lifted. Each lasts for a while, or neither would get on.
//
// No thread here writes to a descriptor that a program may share. A program that writes from a missing page into a pipe
// holds that pipe until the page comes: a log line into it would wait for ourselves.

#include <atomic>
#include <cstdint>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <thread>
#include <variant>
#include <vector>

#include "daemon/core/page_cache.h"
#include "daemon/pager/kept_memory.h"
#include "daemon/pager/mapped_ranges.h"
#include "daemon/pager/memory_record.h"
#include "daemon/pager/pager.h"
#include "daemon/pager/segment_memory.h"
#include "daemon/pager/stuck_watch.h"
#include "daemon/pager/userfault.h"

namespace dipc {

class UserfaultThread {
 public:
  // ---- what it is asked for
  using Install = PageCache::Install;
  using Upgrade = PageCache::Upgrade;
  using ProtectAndRead = PageCache::ProtectAndRead;
  using Drop = PageCache::Drop;
  using MarkLost = PageCache::MarkLost;
  using LoseAll = PageCache::LoseAll;
  using Wake = PageCache::Wake;
  struct Attach {
    AttachTicket ticket{};
    pid_t pid = 0;
    std::uint64_t address = 0;
    std::uint64_t length = 0;
    bool writable = false;
    Descriptor userfaultfd;
  };
  struct Settle {
    std::uint64_t token = 0;
  };
  using Command = std::variant<Install, Upgrade, ProtectAndRead, Drop, MarkLost, LoseAll, Wake, Attach, Settle>;

  // ---- what it tells
  struct Fault {
    PageIndex page{};
    PageAccess access{};
  };
  struct Done {
    PageIndex page{};
  };
  struct Contents {
    PageIndex page{};
    PageContents contents;
  };
  struct Failed {
    PageIndex page{};
  };
  struct AllLost {};
  struct Attached {
    AttachTicket ticket{};
    int error = 0;
  };
  struct Forked {
    AttachTicket ticket{};
  };
  struct Detached {
    AttachTicket ticket{};
  };
  struct Settled {
    std::uint64_t token = 0;
  };
  struct Log {
    std::string line;
  };
  using Event = std::variant<Fault, Done, Contents, Failed, AllLost, Attached, Forked, Detached, Settled, Log>;

  struct Options {
    std::string name;
    std::size_t unit_bytes = 0;
    Duration stuck_after{};
    bool poisons = true;  // false: as on a kernel that has no UFFDIO_POISON
    std::string label;    // Pager::Options, with the next
    int directory = -1;
  };

  // `memory`, for programs that may write, and `for_reading`, as large, are borrowed. `kept`: by an earlier daemon,
  // whose memory this is; its pages and attachments are taken over, and what of it can't be trusted is lost. Trouble:
  // no descriptors, no threads, no userfaultfd.
  static Result<std::unique_ptr<UserfaultThread>> start(const SegmentMemory& memory, const SegmentMemory& for_reading,
                                                        Options options, KeptSegment* kept = nullptr);
  // What was taken over: once, before anything is asked for.
  std::map<PageIndex, PageCache::Access> held() { return std::exchange(held_, {}); }
  // Waits until stop() has been carried out.
  ~UserfaultThread();
  UserfaultThread(const UserfaultThread&) = delete;
  UserfaultThread& operator=(const UserfaultThread&) = delete;

  void ask(Command command);
  void renew();
  // Takes all memory from the programs, as LoseAll, and ends. Whether it has, within `patience`: a program can keep the
  // thread waiting for as long as `stuck_after`.
  bool stop(Duration patience);
  int events_fd() const { return events_fd_.get(); }  // readable when there are any
  std::vector<Event> take_events();

 private:
  static constexpr pid_t kAnybody = -1;  // for watch_: who has a descriptor of the memory
  enum class State : std::uint8_t { kHole, kShared, kExclusive, kLost };
  enum class AttachmentId : std::uint64_t {};  // 0 is none; a fork's comes after its parent's
  struct Attachment {
    Attachment(Userfault of, MappedRanges mapped) : userfault(std::move(of)), ranges(std::move(mapped)) {}
    Userfault userfault;
    MappedRanges ranges;
    AttachTicket ticket{};  // of a forked child: its parent's
    bool writable = false;
    bool gone = false;
    // Of a forked child: not known before its first fault, and then what the child's PID namespace calls it.
    pid_t pid = 0;
    uid_t uid = 0;  // real, at shmat: whose programs may be ended because of it (0: anybody's)
    Descriptor process;
    std::uint32_t slot = MemoryRecord::kNoSlot;
  };
  struct Waiter {
    AttachmentId attachment{};
    std::uint64_t address = 0;
    pid_t thread = 0;
    auto operator<=>(const Waiter&) const = default;
  };
  struct Span {
    std::uint64_t offset = 0;
    std::size_t length = 0;
  };

  UserfaultThread(const SegmentMemory& memory, const SegmentMemory& for_reading, Options options);
  Result<void> set_up();
  Result<void> write_down();
  Result<void> take_over(KeptSegment& kept);
  void judge_pages(const KeptSegment& kept);
  void go_on();
  void run();
  void turn(Duration timeout);
  void tell(Event event);
  void tell_now(Event event);
  void say_told();
  void on_stuck(pid_t pid);

  // programs: userfault_programs.cpp
  void attach(Attach& command);
  AttachmentId add(Attachment attachment);
  void forget(AttachmentId id);
  int settle_in(AttachmentId id, Attachment& attachment);
  int protect_shared(AttachmentId id, Attachment& attachment);
  bool listen(int fd, AttachmentId id, bool is_process) const;
  std::size_t read_messages(AttachmentId id, Attachment& attachment);
  void end_flooding(Attachment& attachment);
  void look_at(AttachmentId id, Attachment& attachment);
  void fork(const Attachment& parent, Descriptor userfaultfd);
  void probe(Attachment& attachment);
  void probe_all();
  void bury();
  void on_fault(AttachmentId id, Attachment& attachment, const uffd_msg& message);
  void refill(PageIndex page, Attachment& attachment, const Waiter& waiter, std::uint64_t offset);
  void signal_lost(Attachment& attachment, const Waiter& waiter);
  template <typename Call>
  int insist(AttachmentId id, Attachment& attachment, Call call);
  template <typename Call>
  int on_each_range(AttachmentId id, Attachment& attachment, Span span, Call call);
  int protect(AttachmentId id, Attachment& attachment, Span span);
  int unprotect(AttachmentId id, Attachment& attachment, Span span);
  void wake(Attachment& attachment, Span span) const;
  void let_have(AttachmentId id, Attachment& attachment, Span span);
  bool poison(AttachmentId id, Attachment& attachment, Span span);
  void protect_everywhere(Span span);

  // copies for readers: userfault_readers.cpp
  void on_reader_fault(AttachmentId id, Attachment& attachment, const uffd_msg& message, PageIndex page);
  bool on_copied_fault(AttachmentId id, const uffd_msg& message, PageIndex page);
  void show(AttachmentId id, Attachment& attachment, PageIndex page, std::uint64_t address);
  bool copy(PageIndex page);
  bool take_copy(PageIndex page);
  void take_all_copies();
  bool is_settled(PageIndex page) const { return !turned_.contains(page); }
  void turn_over(PageIndex page);
  Duration until_due() const;
  void look_at_due();

  // pages in a row: userfault_runs.cpp
  std::size_t carry_out_next(std::span<Command> commands);
  std::size_t install_run(std::span<const Command> commands);
  std::size_t read_run(std::span<const Command> commands);

  // pages: userfault_pages.cpp
  void carry_out(Install& command);
  void carry_out(const Upgrade& command);
  void carry_out(const ProtectAndRead& command);
  void carry_out(const Drop& command);
  void carry_out(const MarkLost& command);
  void carry_out(const LoseAll& command);
  void carry_out(const Wake& command);
  void carry_out(Attach& command) { attach(command); }
  void carry_out(const Settle& command);
  void fail(PageIndex page, const std::string& why);
  void fail_to_fill(PageIndex page, int error);
  void release(PageIndex page);
  Span span_of(PageIndex page) const;
  std::uint64_t own_address_of(Span span) const { return reinterpret_cast<std::uintptr_t>(own_address_) + span.offset; }
  void cut_all();
  // Of memory_, watched: a program may hold its lock.
  bool clear(Span span);
  bool has_hole(Span span);
  bool fill_holes(PageIndex page);
  int zero(Span span);
  bool is_page(PageIndex page) const { return static_cast<std::uint32_t>(page) < states_.size(); }
  State state(PageIndex page) const { return states_[static_cast<std::uint32_t>(page)]; }
  void set_state(PageIndex page, State state);
  void note(PageIndex page, MemoryRecord::Page what) { record_.set_page(static_cast<std::uint32_t>(page), what); }

  const SegmentMemory& memory_;
  const SegmentMemory& for_reading_;
  const Options options_;

  // of the thread alone
  std::vector<State> states_;
  std::set<PageIndex> lost_;
  bool all_lost_ = false;
  bool cut_told_ = false;
  bool poisons_;
  bool goes_on_ = false;  // with what an earlier daemon has left
  std::uint64_t next_attachment_ = 1;
  std::map<AttachmentId, Attachment> attachments_;
  std::map<PageIndex, std::set<Waiter>> waiters_;
  std::vector<std::pair<AttachmentId, uffd_msg>> faults_;  // read, not yet judged
  bool has_readers_ = false;                               // or has had until now
  std::set<PageIndex> copied_;                             // those in for_reading_; no program can write to them
  // Exclusive pages that have just come to the writers, or to the readers: until when they stay, and who waits for
  // that.
  std::map<PageIndex, TimePoint> turned_;
  std::vector<std::pair<AttachmentId, uffd_msg>> early_;
  Descriptor directory_;  // a duplicate, that is there for as long as the record says so
  MemoryRecord record_;
  std::vector<PageIndex> remains_;  // what is in these pages is nothing
  std::map<PageIndex, PageCache::Access> held_;
  std::optional<Userfault> own_;  // of `own_address_`, through which pages are filled
  void* own_address_ = nullptr;
  Bytes zeros_;
  std::vector<Event> told_;  // not yet among events_

  Descriptor epoll_;
  Descriptor commands_fd_;
  Descriptor events_fd_;
  std::mutex mutex_;  // of the next four
  std::vector<Command> commands_;
  std::vector<Event> events_;
  bool stops_ = false;
  std::set<uid_t> uids_;  // real, of all that have ever attached
  std::promise<void> ended_;
  std::future<void> ending_;
  std::atomic<uid_t> watched_uid_ = 0;  // of whom watch_ watches
  std::unique_ptr<StuckWatch> watch_;
  std::thread thread_;
};

}  // namespace dipc
