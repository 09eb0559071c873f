// Which undo group a call belongs to, and what becomes of the groups. The kernel has the lists; what is here is what
// must be known to keep calls in order while a list is applied, and to say whose pid a semaphore shows.

#include <algorithm>
#include <limits>
#include <utility>

#include "daemon/kernel/executor.h"
#include "wire/check.h"

namespace dipc {

namespace {
// A semaphore's value is a 16-bit number; its adjustment fits an int whatever the ops were.
constexpr int kAdjustmentMax = 1 << 20;
// What fits the keeper's socket also without root; kernel.sem allows 500 as Linux sets it.
constexpr std::size_t kUndoOpsMax = 60'000;
}  // namespace

bool Executor::hand_over_undo(Request& request, NativeOperate native) {
  if (!admit(request)) return false;
  const ProcessKey process{request.key.host, request.caller.process};
  const UndoHolder holder{process.first, boot_of_[process.first], process.second};
  const auto known = group_of_.find(process);
  const bool is_new = known == group_of_.end();
  if (native.ops.size() > kUndoOpsMax) {
    reply_error(request, Error::kTooBig);
    return false;
  }
  if (is_new && undo_holders(process.first).size() >= options_.blocked_calls_per_peer) {
    ++counters_.refused_by_limit;
    reply_error(request, Error::kNoMemory);
    return false;
  }
  const UndoGroupNumber group = is_new ? UndoGroupNumber{++last_group_} : known->second;
  const CallToken token = next_token();
  const TimePoint deadline = deadline_of(request, native.timeout);
  std::shared_ptr<RunningCall> running =
      undo_->start(group, holder, UndoOperation{token, request.as, std::move(native), deadline});
  if (!running && undo_->take_lost()) {
    lose_groups();
    undone_.erase(process);
    reply_error(request, Error::kConnectionReset);
    return false;
  }
  if (!running) {
    options_.log("no thread can be had for the SEM_UNDO list of a process of " + request.key.host +
                 ": its call gets ENOMEM");
    reply_error(request, Error::kNoMemory);
    return false;
  }
  if (is_new) {
    group_of_.emplace(process, group);
    groups_[group].holder = holder;
  }
  LiveCall call;
  call.running = std::move(running);
  call.group = group;
  went_elsewhere(token, std::move(request), std::move(call));
  return true;
}

void Executor::note_undo(UndoGroup& group, const SemaphoreOperate& call) {
  for (const SemaphoreOp& op : call.ops) {
    if (!op.undo) continue;
    int& adjustment = group.adjustments[call.object.id][op.number];
    adjustment = std::clamp(adjustment - op.delta, -kAdjustmentMax, kAdjustmentMax);
  }
}

void Executor::forget_adjustments(std::int32_t set, std::optional<std::uint16_t> semaphore) {
  for (auto& [number, group] : groups_) {
    const auto found = group.adjustments.find(set);
    if (found == group.adjustments.end()) continue;
    if (semaphore) {
      found->second.erase(*semaphore);
    } else {
      found->second.clear();
    }
  }
}

// ---- beginning and end of groups

void Executor::begin_session(const std::string& host, const std::string& boot) {
  if (std::exchange(boot_of_[host], boot) != boot) {
    std::erase_if(undone_, [&](const ProcessKey& process) { return process.first == host; });
  }
  std::vector<ProcessKey> ended;
  for (const auto& [process, number] : group_of_) {
    if (process.first == host && groups_.at(number).holder.boot != boot) ended.push_back(process);
  }
  for (const ProcessKey& process : ended) end_group(process);
}

void Executor::end_groups(const std::string& host) {
  for (const ProcessId& process : undo_holders(host)) {
    const ProcessKey key{host, process};
    if (!groups_.at(group_of_.at(key)).adjustments.empty()) undone_.insert(key);
    end_group(key);
  }
}

std::vector<ProcessId> Executor::undo_holders(const std::string& host) const {
  constexpr ProcessId kFirst{std::numeric_limits<std::int32_t>::min(), 0};
  std::vector<ProcessId> holders;
  for (auto it = group_of_.lower_bound({host, kFirst}); it != group_of_.end() && it->first.first == host; ++it) {
    holders.push_back(it->first.second);
  }
  return holders;
}

std::set<std::string> Executor::undo_hosts() const {
  std::set<std::string> hosts;
  for (const auto& [process, group] : group_of_) hosts.insert(process.first);
  return hosts;
}

bool Executor::was_undone(const std::string& host, const ProcessId& process, bool holds_undo) {
  if (!holds_undo && undone_.empty()) return false;  // a call like nearly all: no look at the keeper
  undo_->receive();
  if (undo_->take_lost()) lose_groups();
  const ProcessKey key{host, process};
  return undone_.erase(key) != 0 || (holds_undo && !group_of_.contains(key));
}

void Executor::end_group(const ProcessKey& process) {
  const auto found = group_of_.find(process);
  if (found == group_of_.end()) return;
  const UndoGroupNumber number = found->second;
  group_of_.erase(found);
  UndoGroup& group = groups_.at(number);
  for (const auto& [set, adjustments] : group.adjustments) group.held.insert(set);
  // A call that is still on its way may yet win over its cancellation.
  const auto calls = by_process_.find(process);
  if (calls != by_process_.end()) {
    for (const CallToken token : calls->second) {
      const LiveCall& call = live_.at(token);
      if (call.group == number) group.held.insert(call.object.id);
    }
  }
  for (const std::int32_t set : group.held) {
    const ObjectKey object{Kind::kSemaphoreSet, set};
    ++objects_[object].groups_ending;
    note_polled(object);
  }
  undo_->end(number);
}

// They were used by a daemon before us: which of their sets they changed, and how, only the kernel knows.
void Executor::adopt_groups() {
  for (UndoGroups::Found& found : undo_->take_found()) {
    group_of_.emplace(ProcessKey{found.holder.host, found.holder.process}, found.group);
    UndoGroup& group = groups_[found.group];
    group.holder = std::move(found.holder);
    for (const std::int32_t set : found.sets) group.adjustments[set];
  }
  last_group_ = static_cast<std::uint64_t>(undo_->last_group());
}

void Executor::lose_groups() {
  for (const auto& [process, number] : group_of_) {
    if (!groups_.at(number).adjustments.empty()) undone_.insert(process);
  }
  group_of_.clear();
  // What waited for them may begin new ones.
  for (const auto& [number, group] : std::exchange(groups_, {})) let_go(group);
}

void Executor::group_ended(UndoGroupNumber number) {
  const auto node = groups_.extract(number);
  if (!node.empty()) let_go(node.mapped());  // else it was lost meanwhile
}

void Executor::let_go(const UndoGroup& group) {
  for (const auto& [set, adjustments] : group.adjustments) {
    for (const auto& [semaphore, adjustment] : adjustments) {
      if (adjustment != 0) pids_.operated(set, semaphore, group.holder.process.pid);
    }
  }
  for (const std::int32_t set : group.held) {
    const ObjectKey object{Kind::kSemaphoreSet, set};
    --objects_.at(object).groups_ending;
    advance(object);
  }
}

}  // namespace dipc
