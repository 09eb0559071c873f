#pragma once

// What this process knows of the ids it uses: for each kind a direct-mapped table of 32-bit words, read without a lock
// on the way of every call. A collision only costs a question to the daemon.

#include <stdint.h>

#include <atomic>

#include "wire/local.h"

namespace dipc::shim {

// dipc::Kind of wire/messages.h, which is not for this side; tests/unit/shim holds the two together.
enum class Kind : uint32_t { kMessageQueue = 0, kSemaphoreSet = 1, kSegment = 2 };

class IdTable {
 public:
  enum State : uint32_t { kUnknown = 0, kLocal = 1, kOwned = 2, kRemote = 3 };

  // True if calls on `id` are this kernel's business. No system call, no thread state: this is all that DIPC costs
  // a program on the owner.
  bool goes_to_kernel(int id) const {
    uint32_t word = words_[index(id)].load(std::memory_order_acquire);
    return (word ^ tag(id)) - kLocal <= kOwned - kLocal;
  }
  State find(int id) const {
    uint32_t word = words_[index(id)].load(std::memory_order_acquire) ^ tag(id);
    return word <= kRemote ? static_cast<State>(word) : kUnknown;
  }
  void set(int id, State state) { words_[index(id)].store(tag(id) | state, std::memory_order_release); }
  void forget(int id) {
    uint32_t word = words_[index(id)].load(std::memory_order_relaxed);
    if ((word ^ tag(id)) <= kRemote) words_[index(id)].compare_exchange_strong(word, 0, std::memory_order_release);
  }

  static constexpr State state_of(local::Where where) {
    switch (where) {
      case local::Where::kOwned:
        return kOwned;
      case local::Where::kRemote:
        return kRemote;
      case local::Where::kLocal:
        break;
    }
    return kLocal;
  }

 private:
  static constexpr uint32_t kIndexBits = 10;
  static constexpr uint32_t kStateBits = 2;
  static constexpr uint32_t index(int id) { return static_cast<uint32_t>(id) & ((1u << kIndexBits) - 1); }
  static constexpr uint32_t tag(int id) { return static_cast<uint32_t>(id) >> kIndexBits << kStateBits; }

  std::atomic<uint32_t> words_[1u << kIndexBits] = {};
};
static_assert(std::atomic<uint32_t>::is_always_lock_free);

// NOLINTBEGIN(bugprone-dynamic-static-initializers): constinit says that they are not
extern constinit IdTable queue_ids;
extern constinit IdTable set_ids;
extern constinit IdTable segment_ids;
// NOLINTEND(bugprone-dynamic-static-initializers)

}  // namespace dipc::shim
