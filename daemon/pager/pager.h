#pragma once

// Takes the words of one host's PageCache (daemon/core/page_cache.h) to the memory of the host's programs, and tells
// what the programs do with it. One for each distributed segment that has attachments here; it has the segment's
// memory, a memfd in which every page is a hole until it is installed.
//
// Two kinds. kUserfault: the programs' memory is registered with a userfaultfd each, which a thread of ours reads; also
// system calls that touch a missing page work. kSignal: the programs' own SIGSEGV handler and a helper thread in each
// of them, for where there is no userfaultfd (qemu, a daemon without the permission).
//
// A program attaches in three steps:
//   offer()      what the reply to its shmat hands over: the memory, and how to be paged
//   attached()   what it made of that: mapped without access at an address, with a userfaultfd of its own
//   on_attached  it may lift the protection and use the memory
//
// All functions are called on one thread, the loop's. Call poll() when wakeup_fd() is readable: the handler is called
// from there and from nowhere else, in the order in which things happened.

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "daemon/core/time.h"
#include "wire/descriptor.h"
#include "wire/page_messages.h"
#include "wire/result.h"

namespace dipc {

enum class PagerKind : std::uint8_t { kUserfault, kSignal };

// One offer and the attachment that it becomes; never used again by one pager.
enum class AttachTicket : std::uint64_t {};

// For one shmat of one process. The process maps `map_bytes` of `memory` with PROT_NONE: shared if it may write, else
// private; then answers by attached().
struct AttachOffer {
  AttachTicket ticket{};
  PagerKind kind{};
  std::uint64_t map_bytes = 0;  // the segment's size, up to a whole page of this kernel
  Descriptor memory;            // memfd; open for reading alone where the program may not write
  Descriptor pager;             // kUserfault: /dev/userfaultfd, to make one from; kSignal: the helper thread's socket
};

class Pager {
 public:
  struct Handler {
    virtual ~Handler() = default;
    // A program has touched a page; a hint, the page may have come since.
    virtual void on_fault(PageIndex page, PageAccess access) = 0;
    // Of install(), upgrade(), drop() and mark_lost(): done. Of protect_and_read(): the contents, one unit.
    virtual void on_done(PageIndex page) = 0;
    virtual void on_contents(PageIndex page, PageContents contents) = 0;
    // Of any of these five: it could not be done, no program can reach the page now.
    virtual void on_failed(PageIndex page) = 0;
    virtual void on_all_lost() = 0;
    // Of attached(): 0, or the errno with which shmat fails; the ticket is then withdrawn.
    virtual void on_attached(AttachTicket ticket, int error) = 0;
    // One attachment more than attached() made (fork), or one less: shmdt, exec, exit, SIGKILL. `of`: the shmat that it
    // comes from.
    virtual void on_forked(AttachTicket of) = 0;
    virtual void on_detached(AttachTicket of) = 0;
    virtual void on_settled(std::uint64_t token) = 0;
    virtual void on_log(const std::string& line) = 0;
  };
  struct Options {
    std::string name;                 // for the log and the memfd: "shm 0x1234"
    std::uint64_t segment_bytes = 0;  // as in shmget
    // Of one page of the segment: a multiple of this kernel's page; with `unit = segment` all of it, rounded up.
    std::uint64_t unit_bytes = 4096;
    Duration stuck_after = std::chrono::seconds(10);  // peer_timeout: a process that does not let us go on is killed
    // What the daemon calls it in what it leaves to the next one (kept_memory.h), if it is killed. Empty, and with
    // kSignal always: it leaves nothing, the memory is taken from the programs then.
    std::string label;
    // Of a segment of this host's: what its owner knows (daemon/directory_record.h), which goes to the next daemon with
    // the memory. Borrowed until the pager is made.
    int directory = -1;
  };

  virtual ~Pager() = default;

  // ---- what a PageCache asks for (PageCache::Install and so on). One thing at a time for each page, each answered
  // once. `contents` is one unit; null: zeros.
  virtual void install(PageIndex page, PageContents contents, bool writable) = 0;
  virtual void upgrade(PageIndex page) = 0;
  virtual void protect_and_read(PageIndex page, bool drop) = 0;
  virtual void drop(PageIndex page) = 0;
  virtual void mark_lost(PageIndex page) = 0;
  virtual void lose_all() = 0;
  virtual void wake(PageIndex page) = 0;  // no answer
  // What was taken over is counted with again: if this daemon is killed too, its successor has as much time as it had.
  virtual void renew() {}

  // ---- attaching
  // Trouble: no descriptors.
  virtual Result<AttachOffer> offer(bool writable) = 0;
  // The offer is mapped at `address` in the process `pid`. `userfaultfd`: made from AttachOffer::pager and not used
  // yet; none for kSignal. Answered by on_attached().
  virtual void attached(AttachTicket ticket, pid_t pid, std::uint64_t address, Descriptor userfaultfd) = 0;
  // Nothing will come of the offer: the process is gone, or has failed to map it.
  virtual void withdraw(AttachTicket ticket) = 0;
  // Answered by on_settled(token), after on_forked() and on_detached() for all forks, detaches and ends of processes
  // before it: for shmdt, which answers its program then, and before the segment is looked at (IPC_STAT).
  virtual void settle(std::uint64_t token) = 0;

  // ---- the loop
  virtual int wakeup_fd() const = 0;
  virtual void poll() = 0;

  // PageCacheOptions::hold_floor
  virtual Duration hold_floor() const = 0;
};

// Which kind this daemon uses: the one that configuration forces, else kUserfault if this kernel and our permissions
// allow it. `reason`, where that is kSignal and not forced: why, for the log; to be asked once.
struct PagerChoice {
  PagerKind kind{};
  std::string reason;
};
PagerChoice choose_pager(std::optional<PagerKind> forced);

// Another one each time, whichever pager asks: an offer of a pager that is gone is nobody else's. On the loop thread.
AttachTicket next_ticket();

// `handler` is borrowed. Trouble: no memory or descriptors; kUserfault where choose_pager() would not choose it.
Result<std::unique_ptr<Pager>> make_pager(PagerKind kind, Pager::Options options, Pager::Handler& handler);

}  // namespace dipc
