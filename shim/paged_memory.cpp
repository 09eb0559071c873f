#include "shim/paged_memory.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shim/kernel_calls.h"

namespace dipc::shim {
namespace {

constexpr size_t kMemories = 128;  // attachments of one process; the next one is ENOMEM
constexpr size_t kStackBytes = 64 * 1024;
constexpr int64_t kLookNs = 1'000'000'000;  // how often a waiting thread asks itself whether anybody will answer

constinit PagedMemory g_memories[kMemories];
constinit std::atomic<uint32_t> g_count{0};

// False: the time is up.
bool wait_while(std::atomic<uint32_t>& word, uint32_t value, int64_t timeout_ns) {
#ifdef SYS_futex_time64
  constexpr long kNumber = SYS_futex_time64;
#else
  constexpr long kNumber = SYS_futex;
#endif
  int64_t limit[2] = {timeout_ns / 1'000'000'000, timeout_ns % 1'000'000'000};  // struct __kernel_timespec
  return raw(kNumber, &word, FUTEX_WAIT_PRIVATE, value, timeout_ns < 0 ? nullptr : limit, 0L, 0L) != -ETIMEDOUT;
}

void wake_all(std::atomic<uint32_t>& word) {
#ifdef SYS_futex_time64
  constexpr long kNumber = SYS_futex_time64;
#else
  constexpr long kNumber = SYS_futex;
#endif
  raw(kNumber, &word, FUTEX_WAKE_PRIVATE, INT_MAX, 0L, 0L, 0L);
}

void bump(std::atomic<uint32_t>& word) {
  word.fetch_add(1, std::memory_order_acq_rel);
  wake_all(word);
}

uint32_t page_bytes() { return static_cast<uint32_t>(getpagesize()); }

size_t pages_in(size_t bytes) { return (bytes + page_bytes() - 1) / page_bytes(); }

// Room to note of each page whether it may be read; of none it may yet.
bool make_readable(PagedMemory& memory) {
  size_t pages = pages_in(memory.bytes);
  if (memory.readable_room.load() >= pages) {  // of an attachment before, or of the parent
    for (size_t page = 0; page < pages; ++page) std::atomic_ref(memory.readable.load()[page]).store(0);
    return true;
  }
  size_t room = page_bytes() / sizeof(uint32_t);
  while (room < pages) room *= 2;  // so that what stays behind is never more than what is used
  void* made = mmap(nullptr, room * sizeof(uint32_t), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (made == MAP_FAILED) return false;
  memory.readable.store(static_cast<uint32_t*>(made));
  memory.readable_room.store(room);  // after it: who sees this room sees what has it
  return true;
}

// The pages of a record, as far as they are attached.
struct Bytes {
  uintptr_t begin;
  size_t length;
};
Bytes bytes_of(const PagedMemory& memory, const local::PagingRecord& record) {
  uint64_t begin = uint64_t{record.first} * page_bytes();
  uint64_t end = begin + uint64_t{record.count} * page_bytes();
  if (begin > memory.bytes) begin = memory.bytes;
  if (end > memory.bytes) end = memory.bytes;
  return {memory.address + static_cast<uintptr_t>(begin), static_cast<size_t>(end - begin)};
}

int protection(const PagedMemory& memory, local::PagingAccess access) {
  if (access == local::PagingAccess::kNone) return PROT_NONE;
  int bits = PROT_READ;
  if (access == local::PagingAccess::kWrite && memory.writable) bits |= PROT_WRITE;
  if ((memory.flags & SHM_EXEC) != 0) bits |= PROT_EXEC;
  return bits;
}

void send_to_daemon(const PagedMemory& memory, const local::PagingRecord& record) {
  while (raw(SYS_sendto, memory.socket, &record, sizeof record, MSG_NOSIGNAL, nullptr, 0) == -EINTR) {
  }
}

void note_readable(const PagedMemory& memory, const Bytes& bytes, uint32_t as) {
  size_t first = (bytes.begin - memory.address) / page_bytes();
  for (size_t page = first; page < first + pages_in(bytes.length); ++page) {
    std::atomic_ref(memory.readable.load()[page]).store(as);
  }
}

// A page's number goes before access to it is taken, and a new one comes after it was given: who has found a number
// before an access that failed, and finds it again, could read all the time.
bool protect(const PagedMemory& memory, const Bytes& bytes, int bits) {
  static constinit std::atomic<uint32_t> given{0};
  note_readable(memory, bytes, 0);
  if (raw(SYS_mprotect, bytes.begin, bytes.length, bits) != 0) return false;
  if (bits != PROT_NONE) note_readable(memory, bytes, given.fetch_add(2) + 1);
  return true;
}

// Each change in the row of pages costs a mapping, of which a process has not so many (vm.max_map_count). Where there
// is no more, all of the memory is taken from the program, which then asks again for what it needs.
void set_access(const PagedMemory& memory, const Bytes& bytes, local::PagingAccess access) {
  int bits = protection(memory, access);
  if (protect(memory, bytes, bits)) return;
  if (!protect(memory, {memory.address, memory.bytes}, PROT_NONE)) return take_away(memory.address, memory.bytes);
  if (bits != PROT_NONE) protect(memory, bytes, bits);
}

void carry_out(PagedMemory& memory, const local::PagingRecord& record) {
  Bytes bytes = bytes_of(memory, record);
  if (record.op == local::PagingOp::kSetAccess && bytes.length > 0) {
    set_access(memory, bytes, record.access);
  } else if (record.op == local::PagingOp::kTakeAway && bytes.length > 0) {
    note_readable(memory, bytes, 0);
    take_away(bytes.begin, bytes.length);
  }
  if (record.number != 0) {
    local::PagingRecord done;
    done.op = local::PagingOp::kDone;
    done.number = record.number;
    send_to_daemon(memory, done);
  }
  bump(memory.changes);
}

void send_faults(PagedMemory& memory) {
  for (PagedMemory::Slot& slot : memory.slots) {
    if (slot.use.load(std::memory_order_acquire) != PagedMemory::Slot::kPosted) continue;
    local::PagingRecord fault;
    fault.op = local::PagingOp::kFault;
    fault.access = slot.access;
    fault.first = slot.page;
    fault.count = 1;
    slot.use.store(PagedMemory::Slot::kEmpty, std::memory_order_release);
    send_to_daemon(memory, fault);
  }
}

void leave(PagedMemory& memory) {
  memory.helpers.fetch_sub(1, std::memory_order_acq_rel);
  wake_all(memory.helpers);
}

bool is_ending(const PagedMemory& memory) { return memory.use.load(std::memory_order_acquire) == PagedMemory::kEnding; }

void* run_sender(void* of) {
  PagedMemory& memory = *static_cast<PagedMemory*>(of);
  for (;;) {
    uint32_t seen = memory.posted.load(std::memory_order_acquire);
    if (is_ending(memory)) break;
    send_faults(memory);
    wait_while(memory.posted, seen, -1);
  }
  raw(SYS_shutdown, memory.socket, SHUT_RD);  // ends the receiver
  leave(memory);
  return nullptr;
}

bool make_thread(void* (*run)(void*), PagedMemory* memory) {
  pthread_attr_t attributes;
  if (pthread_attr_init(&attributes) != 0) return false;
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  size_t stack = kStackBytes;
  if (stack < static_cast<size_t>(PTHREAD_STACK_MIN)) stack = static_cast<size_t>(PTHREAD_STACK_MIN);
  pthread_attr_setstacksize(&attributes, stack);
  pthread_t thread;
  bool made = pthread_create(&thread, &attributes, run, memory) == 0;
  pthread_attr_destroy(&attributes);
  return made;
}

// Leaves nothing in this thread's table but the socket, so that no pipe or file of the program stays open with it.
bool keep_only(int socket) {
  if (raw(SYS_unshare, CLONE_FILES) != 0) return false;
#ifdef SYS_close_range
  if ((socket == 0 || raw(SYS_close_range, 0L, static_cast<long>(socket) - 1, 0L) == 0) &&
      raw(SYS_close_range, static_cast<long>(socket) + 1, static_cast<long>(INT_MAX), 0L) == 0) {
    return true;
  }
#endif
  long most = sysconf(_SC_OPEN_MAX);
  for (long fd = 0; fd < most; ++fd) {
    if (fd != socket) close_descriptor(static_cast<int>(fd));
  }
  return true;
}

void* run_receiver(void* of) {
  PagedMemory& memory = *static_cast<PagedMemory*>(of);
  bool are_both_here = keep_only(memory.socket) && make_thread(run_sender, &memory);
  memory.helpers.store(are_both_here ? 2 : 0, std::memory_order_release);
  wake_all(memory.helpers);
  if (!are_both_here) return nullptr;
  for (;;) {
    local::PagingRecord record;
    long got = raw(SYS_recvfrom, memory.socket, &record, sizeof record, 0L, nullptr, nullptr);
    if (got == -EINTR) continue;
    if (got != sizeof record) break;
    carry_out(memory, record);
  }
  if (!is_ending(memory)) {
    take_away(memory.address, memory.bytes);
    bump(memory.changes);
  } else {
    // The daemon takes our hanging up for the end of all access.
    raw(SYS_mprotect, memory.address, memory.bytes, PROT_NONE);
    raw(SYS_shutdown, memory.socket, SHUT_RDWR);
  }
  leave(memory);
  return nullptr;
}

}  // namespace

PagedMemory* take_paged_memory() {
  for (PagedMemory& memory : g_memories) {
    uint32_t use = PagedMemory::kFree;
    if (memory.use.compare_exchange_strong(use, PagedMemory::kTaken, std::memory_order_acq_rel)) {
      g_count.fetch_add(1, std::memory_order_acq_rel);
      for (PagedMemory::Slot& slot : memory.slots) slot.use.store(PagedMemory::Slot::kEmpty, std::memory_order_relaxed);
      return &memory;
    }
  }
  return nullptr;
}

void give_back(PagedMemory* memory) {
  memory->use.store(PagedMemory::kFree, std::memory_order_release);
  g_count.fetch_sub(1, std::memory_order_acq_rel);
}

bool has_paged_memory() { return g_count.load(std::memory_order_relaxed) != 0; }

PagedMemory* paged_memory_at(uintptr_t address) {
  for (PagedMemory& memory : g_memories) {
    if (memory.use.load(std::memory_order_acquire) == PagedMemory::kActive && memory.has(address)) return &memory;
  }
  return nullptr;
}

PagedMemory* paged_memory_in(uintptr_t address, size_t bytes) {
  for (PagedMemory& memory : g_memories) {
    if (memory.use.load(std::memory_order_acquire) != PagedMemory::kActive) continue;
    if (memory.has(address) || memory.address - address < bytes) return &memory;
  }
  return nullptr;
}

bool start_helpers(PagedMemory* memory, int socket) {
  constexpr uint32_t kStarting = 1;
  if (!make_readable(*memory)) return false;
  memory->socket = socket;
  memory->process = current_pid();
  memory->helpers.store(kStarting, std::memory_order_release);
  sigset_t before;
  block_signals(&before);  // the helpers take none
  bool made = make_thread(run_receiver, memory);
  restore_signals(&before);
  if (!made) return false;
  uint32_t helpers;
  while ((helpers = memory->helpers.load(std::memory_order_acquire)) == kStarting) {
    wait_while(memory->helpers, helpers, -1);
  }
  if (helpers == 0) return false;
  memory->use.store(PagedMemory::kActive, std::memory_order_release);
  return true;
}

bool end_helpers(PagedMemory* memory) {
  uint32_t use = PagedMemory::kActive;
  if (!memory->use.compare_exchange_strong(use, PagedMemory::kEnding, std::memory_order_acq_rel)) return false;
  bump(memory->posted);
  for (uint32_t helpers; (helpers = memory->helpers.load(std::memory_order_acquire)) != 0;) {
    wait_while(memory->helpers, helpers, -1);
  }
  bump(memory->changes);  // whoever waits for what is unmapped now
  return true;
}

bool await_access(PagedMemory* memory, uintptr_t address, FaultedAccess access) {
  uint32_t seen = memory->changes.load(std::memory_order_acquire);
  PagedMemory::Slot* slot = nullptr;
  while (!slot) {
    for (PagedMemory::Slot& it : memory->slots) {
      uint32_t use = PagedMemory::Slot::kEmpty;
      if (it.use.compare_exchange_strong(use, PagedMemory::Slot::kFilling, std::memory_order_acq_rel)) {
        slot = &it;
        break;
      }
    }
    if (!slot) raw(SYS_sched_yield);
    if (!slot && memory->use.load(std::memory_order_acquire) != PagedMemory::kActive) return true;
  }
  slot->page = static_cast<uint32_t>((address - memory->address) / page_bytes());
  slot->access = access == FaultedAccess::kStore ? local::PagingAccess::kWrite : local::PagingAccess::kRead;
  slot->use.store(PagedMemory::Slot::kPosted, std::memory_order_release);
  bump(memory->posted);
  while (memory->changes.load(std::memory_order_acquire) == seen) {
    bool is_time_up = !wait_while(memory->changes, seen, kLookNs);
    if (memory->use.load(std::memory_order_acquire) != PagedMemory::kActive) return true;
    // The child of a vfork is served by its parent's helpers, in the same memory; that of a raw clone by nobody.
    if (is_time_up && memory->process != current_pid()) return false;
  }
  return true;
}

uint32_t readable_as(const PagedMemory& memory, uintptr_t address) {
  size_t room = memory.readable_room.load();
  size_t page = (address - memory.address) / page_bytes();
  return page < room ? std::atomic_ref(memory.readable.load()[page]).load() : 0;
}

void touch_paged(const void* buffer, size_t bytes, bool writes) {
  uintptr_t begin = reinterpret_cast<uintptr_t>(buffer);
  if (bytes > UINTPTR_MAX - begin) bytes = UINTPTR_MAX - begin;
  for (PagedMemory& memory : g_memories) {
    if (memory.use.load(std::memory_order_acquire) != PagedMemory::kActive) continue;
    if (begin >= memory.address + memory.bytes || begin + bytes <= memory.address) continue;
    uintptr_t first = begin > memory.address ? begin : memory.address;
    uintptr_t last = begin + bytes < memory.address + memory.bytes ? begin + bytes : memory.address + memory.bytes;
    for (uintptr_t at = first; at < last; at = (at / page_bytes() + 1) * page_bytes()) {
      auto* byte = reinterpret_cast<uint8_t*>(at);  // NOLINT(performance-no-int-to-ptr): the program's
      if (writes && memory.writable) {
        __atomic_fetch_or(byte, uint8_t{0}, __ATOMIC_RELAXED);
      } else {
        static_cast<void>(*static_cast<volatile uint8_t*>(byte));
      }
    }
  }
}

void take_away(uintptr_t address, size_t bytes) {
  int saved = errno;
  auto* at = reinterpret_cast<void*>(address);  // NOLINT(performance-no-int-to-ptr): shmat's
  long empty = raw(SYS_memfd_create, "dipc lost", 1L);
  void* mapped = empty < 0
                     ? MAP_FAILED
                     : mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, static_cast<int>(empty), 0);
  if (mapped == MAP_FAILED) raw(SYS_munmap, address, bytes);  // a SIGSEGV is better than what was there
  if (empty >= 0) close_descriptor(static_cast<int>(empty));
  errno = saved;
}

void reattach_in_child(void (*attach_again)(PagedMemory*)) {
  if (!has_paged_memory()) return;
  for (PagedMemory& memory : g_memories) {
    uint32_t use = memory.use.load(std::memory_order_relaxed);
    if (use == PagedMemory::kActive) raw(SYS_mprotect, memory.address, memory.bytes, PROT_NONE);
  }
  for (PagedMemory& memory : g_memories) {
    uint32_t use = memory.use.load(std::memory_order_relaxed);
    if (use == PagedMemory::kActive) {
      memory.use.store(PagedMemory::kTaken, std::memory_order_relaxed);
      for (PagedMemory::Slot& slot : memory.slots) slot.use.store(PagedMemory::Slot::kEmpty, std::memory_order_relaxed);
      attach_again(&memory);
    } else if (use != PagedMemory::kFree) {  // of a thread that the child does not have
      give_back(&memory);
    }
  }
}

}  // namespace dipc::shim
