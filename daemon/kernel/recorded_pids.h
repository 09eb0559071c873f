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
  void sent(std::int32_t queue, std::int32_t pid) { queues_[queue].pids.sender_or_semaphore = pid; }
  // `thread`: what the kernel calls a receiver that it woke (pipelined_send() in ipc/msg.c puts the thread's id, not
  // the process's, into msg_lrpid); 0 for one that did not sleep.
  void received(std::int32_t queue, std::int32_t pid, std::int32_t thread) {
    queues_[queue].pids.receiver = pid;
    queues_[queue].receiver_thread = thread;
  }
  // 0: the last remote receiver did not sleep.
  std::int32_t receiver_thread(std::int32_t queue) const {
    const auto found = queues_.find(queue);
    return found == queues_.end() ? 0 : found->second.receiver_thread;
  }
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
      return queue == queues_.end() ? RecordedPids{} : queue->second.pids;
    }
    const auto set = sets_.find(id);
    if (set == sets_.end() || semaphore < 0 || static_cast<std::size_t>(semaphore) >= set->second.size()) return {};
    return {set->second[static_cast<std::size_t>(semaphore)], 0};
  }

 private:
  struct QueueRecord {
    RecordedPids pids;
    std::int32_t receiver_thread = 0;
  };
  std::map<std::int32_t, QueueRecord> queues_;
  std::map<std::int32_t, std::vector<std::int32_t>> sets_;
};

}  // namespace dipc
