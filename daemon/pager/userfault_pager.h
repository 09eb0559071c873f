#pragma once

// The pager that uses userfaultfd: the loop's side of a UserfaultThread.

#include <map>
#include <memory>

#include "daemon/pager/kept_memory.h"
#include "daemon/pager/pager.h"
#include "daemon/pager/segment_memory.h"
#include "daemon/pager/userfault_thread.h"

namespace dipc {

class UserfaultPager : public Pager {
 public:
  // `poisons` false: as on a kernel before 6.6. Trouble: no memory, no descriptors, no userfaultfd.
  static Result<std::unique_ptr<Pager>> make(Options options, Handler& handler, bool poisons = true);
  // With what an earlier daemon has left: see kept_memory.h.
  static Result<std::unique_ptr<Pager>> take_over(Options options, Handler& handler, KeptSegment kept,
                                                  HeldMemory& held);
  // Empty if this kernel and our permissions allow it; else what is missing.
  static std::string missing();

  // Takes the memory from all programs: SIGBUS for who touches it.
  ~UserfaultPager() override;

  void install(PageIndex page, PageContents contents, bool writable) override;
  void upgrade(PageIndex page) override;
  void protect_and_read(PageIndex page, bool drop) override;
  void drop(PageIndex page) override;
  void mark_lost(PageIndex page) override;
  void lose_all() override;
  void wake(PageIndex page) override;
  void renew() override { thread().renew(); }
  Result<AttachOffer> offer(bool writable) override;
  void attached(AttachTicket ticket, pid_t pid, std::uint64_t address, Descriptor userfaultfd) override;
  void withdraw(AttachTicket ticket) override { offered_.erase(ticket); }
  void settle(std::uint64_t token) override;
  int wakeup_fd() const override { return thread().events_fd(); }
  void poll() override;
  Duration hold_floor() const override { return std::chrono::microseconds(200); }

 private:
  // Outlives the pager for as long as a program keeps its thread waiting.
  struct Paging {
    SegmentMemory memory;
    SegmentMemory for_reading;
    std::unique_ptr<UserfaultThread> thread;
  };
  UserfaultPager(Options options, Handler& handler, std::unique_ptr<Paging> paging);
  UserfaultThread& thread() const { return *paging_->thread; }

  const Options options_;
  Handler& handler_;
  std::unique_ptr<Paging> paging_;
  std::map<AttachTicket, bool> offered_;  // whether for writing
};

}  // namespace dipc
