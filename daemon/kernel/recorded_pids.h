#pragma once

// The pids of remote callers, on their own hosts, where this kernel names the daemon: it made the calls for them.
// Semaphores are counted from 0; an object's entry lives until forget().

#include <cstdint>
#include <map>
#include <vector>

#include "wire/messages.h"

namespace dipc {

// 0: no remote caller is recorded, what the kernel says is right.
struct RecordedPids {
  std::int32_t sender_or_semaphore = 0;  // msg_lspid, or GETPID of the semaphore
  std::int32_t receiver = 0;             // msg_lrpid
  bool operator==(const RecordedPids&) const = default;
};

class PidRecords {
 public:
  void sent(std::int32_t queue, std::int32_t pid) { queues_[queue].sender_or_semaphore = pid; }
  void received(std::int32_t queue, std::int32_t pid) { queues_[queue].receiver = pid; }
  void operated(std::int32_t set, std::size_t semaphore, std::int32_t pid) {
    std::vector<std::int32_t>& pids = sets_[set];
    if (pids.size() <= semaphore) pids.resize(semaphore + 1);
    pids[semaphore] = pid;
  }
  void forget(Kind kind, std::int32_t id) {
    if (kind == Kind::kMessageQueue) queues_.erase(id);
    if (kind == Kind::kSemaphoreSet) sets_.erase(id);
  }
  // `semaphore` is for sets only.
  RecordedPids find(Kind kind, std::int32_t id, std::int32_t semaphore) const {
    if (kind == Kind::kMessageQueue) {
      const auto queue = queues_.find(id);
      return queue == queues_.end() ? RecordedPids{} : queue->second;
    }
    const auto set = sets_.find(id);
    if (set == sets_.end() || semaphore < 0 || static_cast<std::size_t>(semaphore) >= set->second.size()) return {};
    return {set->second[static_cast<std::size_t>(semaphore)], 0};
  }

 private:
  std::map<std::int32_t, RecordedPids> queues_;
  std::map<std::int32_t, std::vector<std::int32_t>> sets_;
};

}  // namespace dipc
