#pragma once

// Attachments that this process pages itself, on the daemon's word (wire/local_paging.h): where there is no
// userfaultfd.
//
// Each has two helper threads. One carries out what the daemon says: protects and unprotects. The other sends it what
// threads have faulted on. They have a table of descriptors of their own (unshare(2), CLONE_FILES) with nothing in it
// but their socket, so that the program may close whatever it likes. When the socket ends, nobody knows any more what
// the memory should be: it is SIGBUS from then on.
//
// What is mapped over a part of an attachment while it is attached is taken for that part, but for attachments with
// SHM_REMAP. A child made by a raw clone(2) has its parent's memory and no helper: it is not served.

#include <signal.h>
#include <stddef.h>
#include <stdint.h>

#include <atomic>

#include "arch/fault_context.h"
#include "wire/local_paging.h"

namespace dipc::shim {

struct PagedMemory {
  enum Use : uint32_t { kFree = 0, kTaken = 1, kActive = 2, kEnding = 3 };
  struct Slot {  // a fault on its way to the daemon
    enum Use : uint32_t { kEmpty = 0, kFilling = 1, kPosted = 2 };
    std::atomic<uint32_t> use{kEmpty};
    uint32_t page = 0;
    local::PagingAccess access{};
  };
  std::atomic<uint32_t> use{kFree};
  int id = 0;
  int flags = 0;  // of shmat
  uintptr_t address = 0;
  size_t bytes = 0;
  bool writable = false;
  int32_t process = 0;
  int socket = -1;                   // in the helpers' table, and until they have it in the program's
  std::atomic<uint32_t> changes{0};  // futex: grows with each change of access
  std::atomic<uint32_t> posted{0};   // futex: grows with each fault put into a slot
  std::atomic<uint32_t> helpers{0};  // futex: so many are at work
  Slot slots[8];
  // By page: 0, or a number that it has as long as it may be read and nobody changes that. What a handler may still be
  // looking at is never unmapped, nor made smaller.
  std::atomic<uint32_t*> readable{nullptr};
  std::atomic<size_t> readable_room{0};  // in pages

  bool has(uintptr_t at) const { return at - address < bytes; }
};

// kTaken. Null: no room.
PagedMemory* take_paged_memory();
void give_back(PagedMemory* memory);
bool has_paged_memory();
// The one that is active and has the address; null: none.
PagedMemory* paged_memory_at(uintptr_t address);
// One that is active and has some of these bytes; null: none.
PagedMemory* paged_memory_in(uintptr_t address, size_t bytes);

// Makes the helpers of a memory that is filled in and mapped without access; it is then active. `socket` may be closed
// by the caller afterwards. False: there is no room for threads, or no memory.
bool start_helpers(PagedMemory* memory, int socket);
// Ends them: from then on nobody changes what is mapped there. Then unmap and give_back(). False: another thread does
// so.
bool end_helpers(PagedMemory* memory);

// Waits until the daemon has said something since the access at `address` failed; the thread may try again then. False:
// nobody would ever answer.
bool await_access(PagedMemory* memory, uintptr_t address, FaultedAccess access);

// 0: the page at `address` may not be read now. Else a number: as long as it is the same, the page may.
uint32_t readable_as(const PagedMemory& memory, uintptr_t address);

// Touches what of a program's buffer lies in paged memory, so that the kernel finds it there.
void touch_paged(const void* buffer, size_t bytes, bool writes);

// SIGBUS for whoever touches it, for ever.
void take_away(uintptr_t address, size_t bytes);

// In a forked child, whose memory has what its parent had: nobody of it may use any before `attach_again` has attached
// it anew, which puts its memory back to work or gives it up.
void reattach_in_child(void (*attach_again)(PagedMemory*));

}  // namespace dipc::shim
