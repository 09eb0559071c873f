#include "shim/attachment_table.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <new>

#include "shim/kernel_calls.h"

namespace dipc::shim {
namespace {

constexpr size_t kAttachmentsPerSlab = 32;

struct Slab {
  Attachment attachments[kAttachmentsPerSlab];
  std::atomic<Slab*> next{nullptr};
};

constinit Slab g_first_slab;
constinit std::atomic<uint32_t> g_attached{0};

// The first that `wanted` says yes to; null: none.
template <typename Wanted>
Attachment* find(Wanted wanted) {
  for (Slab* slab = &g_first_slab; slab; slab = slab->next.load(std::memory_order_acquire)) {
    for (Attachment& attachment : slab->attachments) {
      if (wanted(attachment)) return &attachment;
    }
  }
  return nullptr;
}

bool change(Attachment& attachment, uint32_t from, uint32_t to) {
  return attachment.use.load(std::memory_order_relaxed) == from &&
         attachment.use.compare_exchange_strong(from, to, std::memory_order_acq_rel);
}

Attachment* add_slab() {
  void* memory = mmap(nullptr, sizeof(Slab), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  Slab* fresh = new (memory) Slab;
  fresh->attachments[0].use.store(Attachment::kTaken, std::memory_order_relaxed);
  for (Slab* last = &g_first_slab;;) {
    Slab* next = nullptr;
    if (last->next.compare_exchange_strong(next, fresh, std::memory_order_acq_rel)) return &fresh->attachments[0];
    last = next;
  }
}

struct Mapping {
  uintptr_t begin;
  uintptr_t end;
  uint64_t offset;
  uint64_t device;
  uint64_t inode;
};

// Reads /proc/self/maps (proc(5)) a piece at a time.
class Maps {
 public:
  Maps() : file_(static_cast<int>(raw(SYS_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC))) {}
  ~Maps() {
    if (file_ >= 0) close_descriptor(file_);
  }
  Maps(const Maps&) = delete;
  Maps& operator=(const Maps&) = delete;
  bool is_open() const { return file_ >= 0; }

  bool next(Mapping* mapping) {
    // begin-end rwxp offset major:minor inode  path
    *mapping = {};
    mapping->begin = static_cast<uintptr_t>(number(16));
    mapping->end = static_cast<uintptr_t>(number(16));
    while (get() != ' ' && !at_end_) {
    }
    mapping->offset = number(16);
    uint64_t major = number(16);
    mapping->device = major << 32 | number(16);
    mapping->inode = number(10);
    while (last_ != '\n' && !at_end_) get();
    return !at_end_;
  }

 private:
  // A number and the character behind it.
  uint64_t number(unsigned base) {
    uint64_t value = 0;
    for (;;) {
      char c = get();
      unsigned digit = c >= '0' && c <= '9' ? static_cast<unsigned>(c - '0') : 99;
      if (c >= 'a' && c <= 'f') digit = static_cast<unsigned>(c - 'a') + 10;
      if (digit >= base) return value;
      value = value * base + digit;
    }
  }
  char get() {
    if (at_ == bytes_) {
      at_ = 0;
      bytes_ = raw(SYS_read, file_, buffer_, sizeof buffer_);
      if (bytes_ <= 0) {
        bytes_ = 0;
        at_end_ = true;
        return last_ = '\n';
      }
    }
    return last_ = buffer_[at_++];
  }

  int file_;
  long at_ = 0;
  long bytes_ = 0;
  bool at_end_ = false;
  char last_ = 0;
  char buffer_[1024];
};

// Where there is no /proc to look: as it was attached.
Attachment* take_by_address(uintptr_t address, AttachedPart* parts, size_t* count) {
  Attachment* found = find([&](Attachment& it) {
    return it.use.load(std::memory_order_acquire) == Attachment::kAttached && it.address == address &&
           change(it, Attachment::kAttached, Attachment::kTaken);
  });
  if (!found) return nullptr;
  parts[0] = {found->address, found->address + found->bytes};
  *count = 1;
  return found;
}

}  // namespace

Attachment* take_attachment() {
  Attachment* taken = find([](Attachment& it) { return change(it, Attachment::kFree, Attachment::kTaken); });
  if (!taken) taken = add_slab();
  if (taken) g_attached.fetch_add(1, std::memory_order_relaxed);
  return taken;
}

void give_back(Attachment* attachment) {
  attachment->use.store(Attachment::kFree, std::memory_order_release);
  g_attached.fetch_sub(1, std::memory_order_relaxed);
}

bool has_attachments() { return g_attached.load(std::memory_order_relaxed) != 0; }

Attachment* take_attachment_at(uintptr_t address, AttachedPart* parts, size_t room, size_t* count) {
  *count = 0;
  Maps maps;
  if (!maps.is_open()) return take_by_address(address, parts, count);
  Attachment* taken = nullptr;
  for (Mapping mapping; *count < room && maps.next(&mapping);) {
    if (mapping.begin < address || mapping.begin - address != mapping.offset) continue;
    if (!taken) {
      auto is_it = [&](Attachment& it) {
        return it.use.load(std::memory_order_acquire) == Attachment::kAttached && it.device == mapping.device &&
               it.inode == mapping.inode && mapping.offset < it.bytes;
      };
      auto take = [&](Attachment& it) { return is_it(it) && change(it, Attachment::kAttached, Attachment::kTaken); };
      taken = find([&](Attachment& it) { return it.address == address && take(it); });
      if (!taken) taken = find(take);  // moved here: any of the same segment, they are alike
      if (!taken) continue;
    } else if (taken->device != mapping.device || taken->inode != mapping.inode || mapping.offset >= taken->bytes) {
      continue;
    }
    parts[(*count)++] = {mapping.begin, mapping.end};
  }
  return taken;
}

}  // namespace dipc::shim
