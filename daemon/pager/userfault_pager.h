#pragma once

// The pager that uses userfaultfd: the loop's side of a UserfaultThread.

#include <map>
#include <memory>

#include "daemon/pager/pager.h"
#include "daemon/pager/segment_memory.h"
#include "daemon/pager/userfault_thread.h"

namespace dipc {

class UserfaultPager : public Pager {
 public:
  // `poisons` false: as on a kernel before 6.6. Trouble: no memory, no descriptors, no userfaultfd.
  static Result<std::unique_ptr<Pager>> make(Options options, Handler& handler, bool poisons = true);
  // Empty if this kernel and our permissions allow it; else what is missing.
  static std::string missing();

  void install(PageIndex page, PageContents contents, bool writable) override;
  void upgrade(PageIndex page) override;
  void protect_and_read(PageIndex page, bool drop) override;
  void drop(PageIndex page) override;
  void mark_lost(PageIndex page) override;
  void lose_all() override;
  void wake(PageIndex page) override;
  Result<AttachOffer> offer(bool writable) override;
  void attached(AttachTicket ticket, pid_t pid, std::uint64_t address, Descriptor userfaultfd) override;
  void withdraw(AttachTicket ticket) override { offered_.erase(ticket); }
  void settle(std::uint64_t token) override;
  int wakeup_fd() const override { return thread_->events_fd(); }
  void poll() override;
  Duration hold_floor() const override { return std::chrono::microseconds(200); }

 private:
  UserfaultPager(Options options, Handler& handler, SegmentMemory memory, SegmentMemory for_reading);

  const Options options_;
  Handler& handler_;
  const SegmentMemory memory_;
  const SegmentMemory for_reading_;
  std::unique_ptr<UserfaultThread> thread_;
  std::map<AttachTicket, bool> offered_;  // whether for writing
};

}  // namespace dipc
