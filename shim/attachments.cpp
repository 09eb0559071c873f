// shmat and shmdt of distributed segments. The memory is the daemon's memfd, and the daemon decides which of its pages
// are there: so it is mapped without access, handed over to be watched, and opened to the program only then.
//
// All signals are blocked until the program has its memory: shmat(2) does not end with EINTR, and a handler that left
// us by siglongjmp would leave the daemon with half an attachment.

#include <fcntl.h>
#include <linux/stat.h>
#include <sys/mman.h>
#include <unistd.h>

#include "shim/attachment_table.h"
#include "shim/calls.h"
#include "shim/exchange.h"

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

// Maps what the daemon has offered and lets it take charge of it: 0, or an errno and nothing is mapped.
int take_up(int id, const Place& place, int flags, const Exchange& offered, const local::AttachOffer& offer, int memory,
            int device, Attachment* attachment) {
  attachment->id = id;
  attachment->bytes = static_cast<size_t>(offered.reply.extra);
  int error = memory < 0 || device < 0 || !identify(memory, attachment) ? ENOMEM : 0;
  if (error == 0 && offer.paging != local::Paging::kUserfault) error = ENOSYS;
  if (error == 0) error = map(place, attachment->bytes, memory, offer.writable != 0, &attachment->address);
  bool is_mapped = error == 0;
  ShortLived userfaultfd(error == 0 ? raw(SYS_ioctl, device, kNewUserfaultfd, O_CLOEXEC | O_NONBLOCK) : -1);
  if (error == 0 && userfaultfd.number() < 0) error = ENOMEM;

  Exchange attached(local::Op::kAttached, Kind::kSegment, id);
  attached.request.value = offered.reply.value;
  attached.request.type = static_cast<int64_t>(attachment->address);
  attached.request.command = error;
  attached.passed = error == 0 ? userfaultfd.number() : -1;
  int answer = error_of(attached, id);
  if (error == 0) error = answer;
  auto* memory_at = reinterpret_cast<void*>(attachment->address);  // NOLINT(performance-no-int-to-ptr): mmap's
  if (error == 0) {
    int protection = PROT_READ;
    if (offer.writable != 0) protection |= PROT_WRITE;
    if ((flags & SHM_EXEC) != 0) protection |= PROT_EXEC;
    if (raw(SYS_mprotect, memory_at, attachment->bytes, protection) != 0) error = EACCES;
  }
  if (error != 0 && is_mapped) raw(SYS_munmap, memory_at, attachment->bytes);
  return error;
}

}  // namespace

void* remote_attach(int id, const void* address, int flags) {
  auto fail = [](int error) {
    fail_with(error);
    return reinterpret_cast<void*>(-1);
  };
  Place place;
  if (int error = find_place(address, flags, &place); error != 0) return fail(error);
  SignalsBlocked signals;
  local::AttachOffer offer;
  int descriptors[2] = {-1, -1};
  Exchange attach(local::Op::kAttach, Kind::kSegment, id);
  attach.request.flags = flags;
  attach.wants_payload = true;
  attach.room = &offer;
  attach.room_bytes = sizeof offer;
  attach.room_is_ours = true;
  attach.descriptors = &descriptors;
  int error = error_of(attach, id);
  ShortLived memory(descriptors[0]);
  ShortLived device(descriptors[1]);
  if (error != 0) return fail(error);
  Attachment none;  // where there is no room for one, which the daemon is told
  Attachment* attachment = take_attachment();
  error = take_up(id, place, flags, attach, offer, attachment ? memory.number() : -1, device.number(),
                  attachment ? attachment : &none);
  if (error != 0) {
    if (attachment) give_back(attachment);
    return fail(error);
  }
  attachment->use.store(Attachment::kAttached, std::memory_order_release);
  return reinterpret_cast<void*>(attachment->address);  // NOLINT(performance-no-int-to-ptr): mmap's
}

bool has_remote_attachments() { return has_attachments(); }

bool remote_detach(const void* address, int* result) {
  constexpr size_t kPartsAtOnce = 32;
  AttachedPart parts[kPartsAtOnce];
  size_t count;
  Attachment* attachment = take_attachment_at(reinterpret_cast<uintptr_t>(address), parts, kPartsAtOnce, &count);
  if (!attachment) return false;
  SignalsBlocked signals;
  *result = 0;
  for (;;) {
    for (size_t i = 0; i < count; ++i) raw(SYS_munmap, parts[i].begin, parts[i].end - parts[i].begin);
    if (count < kPartsAtOnce) break;
    attachment->use.store(Attachment::kAttached, std::memory_order_release);
    if (!take_attachment_at(reinterpret_cast<uintptr_t>(address), parts, kPartsAtOnce, &count)) break;
  }
  Exchange detached(local::Op::kDetached, Kind::kSegment, attachment->id);
  detached.request.type = static_cast<int64_t>(reinterpret_cast<uintptr_t>(address));
  detached.tries_once = true;
  give_back(attachment);
  detached.run();  // should it be lost, the daemon sees that the memory is gone
  return true;
}

}  // namespace dipc::shim
