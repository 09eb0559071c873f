#pragma once

// The pager for where there is no userfaultfd: every program changes the protection of its own memory, on our word. A
// fault is a SIGSEGV, which the shim's handler makes a record to us; a helper thread in the program carries out what we
// answer (wire/local_paging.h). System calls that are given a page that is not there fail with EFAULT.
//
// An attachment has at first access to nothing. What it may do with a page is never more than this host may:
//   hole       nobody has access
//   shared     those that have touched it may read
//   exclusive  those that have touched it may read and write
// So before this host gives up access, all that were given it must have said that they have it no more. A program that
// does not say so within `stuck_after` is killed. A forked child is not known to us: the shim attaches it anew.
//
// No thread: sockets, a timer, and the memory, which no fault of a program can hold up. Nor can what programs send:
// each has a few records read in one turn, each waits for so many pages and no more, and a fault of one that leaves
// too many of our records unanswered is not answered itself.

#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "daemon/pager/pager.h"
#include "daemon/pager/segment_memory.h"
#include "wire/local_paging.h"

namespace dipc {

class SignalPager : public Pager {
 public:
  static Result<std::unique_ptr<Pager>> make(Options options, Handler& handler);
  ~SignalPager() override;

  void install(PageIndex page, PageContents contents, bool writable) override;
  void upgrade(PageIndex page) override;
  void protect_and_read(PageIndex page, bool drop) override;
  void drop(PageIndex page) override;
  void mark_lost(PageIndex page) override;
  void lose_all() override;
  void wake(PageIndex page) override;
  Result<AttachOffer> offer(bool writable) override;
  void attached(AttachTicket ticket, pid_t pid, std::uint64_t address, Descriptor userfaultfd) override;
  void withdraw(AttachTicket ticket) override;
  void settle(std::uint64_t token) override;
  int wakeup_fd() const override { return epoll_.get(); }
  void poll() override;
  Duration hold_floor() const override { return std::chrono::milliseconds(1); }

 private:
  enum class State : std::uint8_t { kHole, kShared, kExclusive, kLost };
  struct Attachment {
    Descriptor socket;
    bool writable = false;
    bool attached = false;
    pid_t pid = 0;                                   // for the log
    Descriptor process;                              // pidfd_open(2), while it was waiting for its shmat
    std::map<PageIndex, local::PagingAccess> given;  // more than none, as of the last record sent
    std::deque<local::PagingRecord> unsent;          // to be sent when the socket has room
    std::map<std::uint64_t, std::pair<PageIndex, TimePoint>> unanswered;  // by number, sent at
    std::set<PageIndex> waits_for;                                        // where it is among the waiters
    std::uint32_t watched = 0;                                            // events of its socket
    bool killed = false;
  };
  using Faults = std::map<AttachTicket, local::PagingAccess>;  // the last one of each attachment
  // What is under way on a page: over when nothing of it is unanswered.
  struct Work {
    std::set<std::uint64_t> unanswered;
    std::function<void()> finish;
    Faults meanwhile;  // judged when it is over
  };

  SignalPager(Options options, Handler& handler, SegmentMemory memory);
  Result<void> set_up();
  void later(std::function<void()> event);
  void begin(PageIndex page, std::function<void()> finish);
  void finish_if_answered(PageIndex page);
  void revoke(PageIndex page, local::PagingAccess most);
  void grant_waiters(PageIndex page);
  Faults take_waiters(PageIndex page);
  void fail(PageIndex page, const std::string& why);
  void give(AttachTicket ticket, Attachment& attachment, PageIndex page, local::PagingOp op,
            local::PagingAccess access);
  void send(AttachTicket ticket, Attachment& attachment, const local::PagingRecord& record);
  void flush(AttachTicket ticket, Attachment& attachment);
  void receive(AttachTicket ticket);
  void on_fault(AttachTicket ticket, local::PagingAccess access, PageIndex page);
  void end(AttachTicket ticket);
  void look_for_stuck();
  std::uint64_t offset_of(PageIndex page) const {
    return std::uint64_t{static_cast<std::uint32_t>(page)} * unit_bytes_;
  }
  std::uint32_t kernel_pages() const { return static_cast<std::uint32_t>(unit_bytes_ / kernel_page_bytes()); }
  State& state(PageIndex page) { return states_[static_cast<std::uint32_t>(page)]; }

  const Options options_;
  const std::size_t unit_bytes_;
  Handler& handler_;
  const SegmentMemory memory_;
  std::vector<State> states_;
  bool all_lost_ = false;
  std::map<AttachTicket, Attachment> attachments_;
  std::map<PageIndex, Faults> waiters_;
  std::map<PageIndex, Work> works_;
  std::uint64_t next_number_ = 1;
  std::deque<std::function<void()>> events_;
  Descriptor epoll_;
  Descriptor events_fd_;
  Descriptor timer_;
};

}  // namespace dipc
