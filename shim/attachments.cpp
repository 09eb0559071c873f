// shmat and shmdt of distributed segments. The memory is the daemon's memfd, and the daemon decides which of its pages
// are there: so it is mapped without access, handed over to be watched, and opened to the program only then.
//
// All signals are blocked until the program has its memory: shmat(2) does not end with EINTR, and a handler that left
// us by siglongjmp would leave the daemon with half an attachment.

#include <fcntl.h>
#include <linux/stat.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include "shim/attachment_table.h"
#include "shim/calls.h"
#include "shim/exchange.h"
#include "shim/fault_handler.h"
#include "shim/paged_memory.h"

namespace dipc::shim {
namespace {

using Result = Exchange::Result;

constexpr long kNewUserfaultfd = 0xAA00;  // USERFAULTFD_IOC_NEW, newer than Debian 12's headers
#ifdef MAP_FIXED_NOREPLACE
constexpr int kFixedNoReplace = MAP_FIXED_NOREPLACE;
#else
constexpr int kFixedNoReplace = 0x100000;
#endif

class SignalsBlocked {
 public:
  SignalsBlocked() { block_signals(&before_); }
  ~SignalsBlocked() { restore_signals(&before_); }
  void leave_open(int signal) { sigdelset(&before_, signal); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_;
};

class ShortLived {
 public:
  explicit ShortLived(long number = -1) : number_(static_cast<int>(number)) {}
  ~ShortLived() {
    if (number_ >= 0) close_descriptor(number_);
  }
  ShortLived(const ShortLived&) = delete;
  ShortLived& operator=(const ShortLived&) = delete;
  int number() const { return number_; }

 private:
  int number_;
};

// 0, or the errno of a call about a distributed segment.
int error_of(Exchange& exchange, int id) {
  exchange.waits_for_absent = true;
  switch (exchange.run()) {
    case Result::kReply:
      break;
    case Result::kFailed:
      return exchange.error;
    case Result::kNoDaemon:
    case Result::kCannot:
      return EHOSTUNREACH;
  }
  if (exchange.reply.error == EINVAL || exchange.reply.error == EIDRM) segment_ids.forget(id);
  return exchange.reply.error;
}

// Where it is to be mapped, judged as do_shmat() does (the kernel's ipc/shm.c) before it looks at the id.
struct Place {
  uintptr_t address = 0;
  bool is_given = false;
  bool replaces = false;
};

int find_place(const void* address, int flags, Place* place) {
  place->address = reinterpret_cast<uintptr_t>(address);
  place->is_given = address != nullptr;
  place->replaces = (flags & SHM_REMAP) != 0;
  if (!place->is_given) return place->replaces ? EINVAL : 0;
  uintptr_t boundary = static_cast<uintptr_t>(SHMLBA);
  if (place->address % boundary == 0) return 0;
  if ((flags & SHM_RND) != 0) {
    place->address -= place->address % boundary;
    return place->address == 0 && place->replaces ? EINVAL : 0;
  }
  return place->address % static_cast<uintptr_t>(getpagesize()) != 0 ? EINVAL : 0;
}

// Without access: what mlockall(2) is to keep in memory would be filled at once, with zeros.
int map(const Place& place, size_t bytes, int memory, bool writable, uintptr_t* at) {
  if (place.is_given && place.address + bytes < place.address) return EINVAL;
  int flags = writable ? MAP_SHARED : MAP_PRIVATE;
  if (place.is_given) flags |= place.replaces ? MAP_FIXED : kFixedNoReplace;
  auto* wanted = reinterpret_cast<void*>(place.address);  // NOLINT(performance-no-int-to-ptr): the program's
  int saved = errno;
  void* mapped = mmap(wanted, bytes, PROT_NONE, flags, memory, 0);
  int error = mapped == MAP_FAILED ? errno : 0;
  errno = saved;
  if (error == EEXIST) return EINVAL;  // something is there
  if (error != 0) return error;
  if (place.is_given && mapped != wanted) {  // whoever does not know the flag takes the address for a hint
    munmap(mapped, bytes);
    return EINVAL;
  }
  madvise(mapped, bytes, MADV_NOHUGEPAGE);
  errno = saved;
  *at = reinterpret_cast<uintptr_t>(mapped);
  return 0;
}

bool identify(int memory, Attachment* attachment) {
  struct statx status;
  if (raw(SYS_statx, memory, "", AT_EMPTY_PATH, STATX_INO, &status) != 0) return false;
  attachment->device = uint64_t{status.stx_dev_major} << 32 | status.stx_dev_minor;
  attachment->inode = status.stx_ino;
  return true;
}

// Says that what was offered is mapped at `address`, or why it is not; 0, or what shmat fails with.
int answer_offer(int id, int64_t ticket, uintptr_t address, int error, int userfaultfd) {
  Exchange attached(local::Op::kAttached, Kind::kSegment, id);
  attached.request.value = ticket;
  attached.request.type = static_cast<int64_t>(address);
  attached.request.command = error;
  attached.passed = error == 0 ? userfaultfd : -1;
  int answer = error_of(attached, id);
  return error != 0 ? error : answer;
}

struct Offered {
  int id;
  int flags;  // of shmat
  int64_t ticket;
  size_t bytes;
  local::AttachOffer offer;
  int memory;  // descriptors; -1 where none came
  int pager;
};

void unmap(uintptr_t address, size_t bytes) { raw(SYS_munmap, address, bytes); }

// The daemon fills and protects what is mapped there: 0, or an errno.
int let_daemon_page(const Offered& offered, uintptr_t address) {
  ShortLived userfaultfd(raw(SYS_ioctl, offered.pager, kNewUserfaultfd, O_CLOEXEC | O_NONBLOCK));
  int error =
      answer_offer(offered.id, offered.ticket, address, userfaultfd.number() < 0 ? ENOMEM : 0, userfaultfd.number());
  if (error != 0) return error;
  int protection = PROT_READ;
  if (offered.offer.writable != 0) protection |= PROT_WRITE;
  if ((offered.flags & SHM_EXEC) != 0) protection |= PROT_EXEC;
  return raw(SYS_mprotect, address, offered.bytes, protection) == 0 ? 0 : EACCES;
}

// As long as the memory is kTaken: 0, or an errno and it has no helpers.
int page_ourselves(const Offered& offered, PagedMemory* paged) {
  bool is_served = take_faults() && start_helpers(paged, offered.pager);
  int error = answer_offer(offered.id, offered.ticket, paged->address, is_served ? 0 : ENOMEM, -1);
  if (error != 0 && is_served) end_helpers(paged);
  return error;
}

// A forked child's memory, which is mapped without access.
void attach_in_child(PagedMemory* paged);

int page_in_this_process(const Offered& offered, uintptr_t address) {
  static constinit std::atomic<bool> knows_of_forks{false};
  if (!knows_of_forks.exchange(true)) pthread_atfork(nullptr, nullptr, [] { reattach_in_child(attach_in_child); });
  PagedMemory* paged = take_paged_memory();
  if (!paged) return answer_offer(offered.id, offered.ticket, address, ENOMEM, -1);
  paged->id = offered.id;
  paged->flags = offered.flags;
  paged->address = address;
  paged->bytes = offered.bytes;
  paged->writable = offered.offer.writable != 0;
  int error = page_ourselves(offered, paged);
  if (error != 0) give_back(paged);
  return error;
}

// Asks for the segment: 0, or what shmat fails with. The descriptors are the caller's to close.
int ask(int id, int flags, Offered* offered) {
  int descriptors[2] = {-1, -1};
  Exchange attach(local::Op::kAttach, Kind::kSegment, id);
  attach.request.flags = flags;
  attach.wants_payload = true;
  attach.room = &offered->offer;
  attach.room_bytes = sizeof offered->offer;
  attach.room_is_ours = true;
  attach.descriptors = &descriptors;
  int error = error_of(attach, id);
  offered->id = id;
  offered->flags = flags;
  offered->ticket = attach.reply.value;
  offered->bytes = static_cast<size_t>(attach.reply.extra);
  offered->memory = descriptors[0];
  offered->pager = descriptors[1];
  return error;
}

void attach_in_child(PagedMemory* paged) {
  SignalsBlocked signals;
  Offered offered{};
  int error = ask(paged->id, paged->flags, &offered);
  ShortLived memory(offered.memory);
  ShortLived pager(offered.pager);
  if (error == 0 && offered.pager < 0) {
    error = answer_offer(offered.id, offered.ticket, paged->address, ENOMEM, -1);
  } else if (error == 0) {
    error = page_ourselves(offered, paged);
  }
  if (error == 0) return;
  take_away(paged->address, paged->bytes);
  give_back(paged);
}

void tell_detached(int id, uintptr_t address) {
  Exchange detached(local::Op::kDetached, Kind::kSegment, id);
  detached.request.type = static_cast<int64_t>(address);
  detached.tries_once = true;
  detached.run();  // should it be lost, the daemon sees that the memory is gone
}

// SHM_REMAP where attachments are that this process pages: those that are covered end with it. Of one that is covered
// in part the helpers would go on with all of it.
int end_replaced(const Place& place, size_t bytes) {
  auto sticks_out = [&](uintptr_t at) {
    const PagedMemory* paged = paged_memory_at(at);
    return paged && (paged->address < place.address || paged->bytes > bytes - (paged->address - place.address));
  };
  if (!place.replaces || bytes == 0) return 0;
  if (sticks_out(place.address) || sticks_out(place.address + bytes - 1)) return EINVAL;
  while (PagedMemory* paged = paged_memory_in(place.address, bytes)) {
    if (!end_helpers(paged)) continue;  // another thread does so
    int id = paged->id;
    uintptr_t address = paged->address;
    give_back(paged);
    tell_detached(id, address);
  }
  return 0;
}

// Maps what the daemon has offered and has it paged: 0, or an errno and nothing is mapped.
int take_up(const Place& place, const Offered& offered, uintptr_t* address) {
  bool is_paged_here = offered.offer.paging == local::Paging::kSignal;
  Attachment* attachment = is_paged_here ? nullptr : take_attachment();
  int error = offered.memory < 0 || offered.pager < 0 || (!is_paged_here && !attachment) ? ENOMEM : 0;
  if (error == 0 && attachment && !identify(offered.memory, attachment)) error = ENOMEM;
  if (error == 0) error = end_replaced(place, offered.bytes);
  if (error == 0) error = map(place, offered.bytes, offered.memory, offered.offer.writable != 0, address);
  if (error != 0) {
    answer_offer(offered.id, offered.ticket, 0, error, -1);
  } else {
    error = is_paged_here ? page_in_this_process(offered, *address) : let_daemon_page(offered, *address);
    if (error != 0) unmap(*address, offered.bytes);
  }
  if (!attachment) return error;
  if (error != 0) {
    give_back(attachment);
    return error;
  }
  attachment->id = offered.id;
  attachment->address = *address;
  attachment->bytes = offered.bytes;
  attachment->use.store(Attachment::kAttached, std::memory_order_release);
  return 0;
}

}  // namespace

void* remote_attach(int id, const void* address, int flags) {
  auto fail = [](int error) {
    fail_with(error);
    return MAP_FAILED;
  };
  Place place;
  if (int error = find_place(address, flags, &place); error != 0) return fail(error);
  SignalsBlocked signals;
  Offered offered{};
  int error = ask(id, flags, &offered);
  ShortLived memory(offered.memory);
  ShortLived pager(offered.pager);
  uintptr_t at = 0;
  if (error == 0) error = take_up(place, offered, &at);
  if (error != 0) return fail(error);
  if (offered.offer.paging == local::Paging::kSignal) signals.leave_open(SIGSEGV);
  return reinterpret_cast<void*>(at);  // NOLINT(performance-no-int-to-ptr): mmap's
}

bool has_remote_attachments() { return has_attachments() || has_paged_memory(); }

bool remote_detach(const void* address, int* result) {
  constexpr size_t kPartsAtOnce = 32;
  uintptr_t at = reinterpret_cast<uintptr_t>(address);
  *result = 0;
  SignalsBlocked signals;
  if (PagedMemory* paged = paged_memory_at(at); paged && paged->address == at && end_helpers(paged)) {
    unmap(paged->address, paged->bytes);
    int id = paged->id;
    give_back(paged);
    tell_detached(id, at);
    return true;
  }
  AttachedPart parts[kPartsAtOnce];
  size_t count;
  Attachment* attachment = take_attachment_at(at, parts, kPartsAtOnce, &count);
  if (!attachment) return false;
  for (;;) {
    for (size_t i = 0; i < count; ++i) unmap(parts[i].begin, parts[i].end - parts[i].begin);
    if (count < kPartsAtOnce) break;
    attachment->use.store(Attachment::kAttached, std::memory_order_release);
    if (!take_attachment_at(at, parts, kPartsAtOnce, &count)) break;
  }
  int id = attachment->id;
  give_back(attachment);
  tell_detached(id, at);
  return true;
}

}  // namespace dipc::shim
