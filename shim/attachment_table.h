#pragma once

// What of distributed segments this process has attached. Entries come from a static array and then from mmap; a forked
// child has a copy, as it has of the memory. Nothing here takes a lock or allocates from the heap.

#include <stddef.h>
#include <stdint.h>

#include <atomic>

namespace dipc::shim {

struct Attachment {
  enum Use : uint32_t { kFree = 0, kTaken = 1, kAttached = 2 };  // the fields below are to be read of kAttached alone
  std::atomic<uint32_t> use{kFree};
  int id = 0;
  uintptr_t address = 0;  // as shmat returned it
  size_t bytes = 0;
  uint64_t device = 0;  // of the memory, as /proc/self/maps shows it
  uint64_t inode = 0;
};

// kTaken, for a shmat to fill in. Null: no memory.
Attachment* take_attachment();
void give_back(Attachment* attachment);
bool has_attachments();

// One part of the address space that shows what shmat has mapped at `address`, or what the program left of it.
struct AttachedPart {
  uintptr_t begin = 0;
  uintptr_t end = 0;
};

// The attachment that shmdt(address) means, as the kernel finds it (ipc/shm.c): something of a segment is mapped so
// that its first byte would be at `address`, also if that part is unmapped, or all has been moved there by mremap. It
// is then kTaken. Null: nothing there is one. Puts up to `room` parts into `parts`.
Attachment* take_attachment_at(uintptr_t address, AttachedPart* parts, size_t room, size_t* count);

}  // namespace dipc::shim
