#pragma once

// SEM_UNDO lists of remote processes. The kernel keeps one list for all threads that share CLONE_SYSVSEM, applies it
// when the last of them goes, and shows nobody else a way to it (semop(2), ipc/sem.c, exit_sem()). So each remote
// process that uses SEM_UNDO is stood for by threads of its own: a leader that left our own list with
// unshare(CLONE_SYSVSEM), and threads that the leader made, which share its list, for calls that sleep.
//
// A group outlives sockets and sessions; the executor says when its process has ended. Leaving a list by unshare()
// applies it at once if nobody else shares it, which an ending thread only does at some time after it can be joined
// (do_exit() wakes the joiner before it comes to exit_sem()). So every thread of an ending group unshares, the leader
// last, and when the end is reported the kernel has undone.
//
// SIGKILL to the process that has the threads applies all lists, so in a daemon the groups are its keeper's
// (kept_undo_groups.h); the keeper has them as threads of its own.

#include <pthread.h>

#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "daemon/kernel/blocking_call.h"

namespace dipc {

// Whose list it is.
struct UndoHolder {
  std::string host;
  std::string boot;  // boot id of that host: its processes end with it
  ProcessId process;
  auto operator<=>(const UndoHolder&) const = default;
};

struct UndoOperation {
  CallToken token{};
  Identity as;
  NativeOperate operate;
  TimePoint deadline = kNever;
};

class UndoGroups {
 public:
  virtual ~UndoGroups() = default;
  // Makes the call as a member of the group, which begins with its first call. The outcome comes through the
  // completions. Null: no thread can be had. `holder` is the same in all calls of a group.
  virtual std::shared_ptr<RunningCall> start(UndoGroupNumber group, const UndoHolder& holder,
                                             UndoOperation operation) = 0;
  // The process has ended. All calls of the group must have been cancelled (or have ended); it ends after them and says
  // GroupEnded through the completions once the kernel has undone. A group that never began ends at once.
  virtual void end(UndoGroupNumber group) = 0;
  // Where the kernel names a process for what a group did, it names this one.
  virtual pid_t process() const = 0;

  // A group that an earlier daemon left in our care.
  struct Found {
    UndoGroupNumber group{};
    UndoHolder holder;
    std::set<std::int32_t> sets;  // that it may have operated on
  };
  virtual std::vector<Found> take_found() { return {}; }
  // The highest number that a group had under earlier daemons, those included that still end.
  virtual UndoGroupNumber last_group() const { return {}; }
  // Readable when receive() has something to take into the completions; -1: never.
  virtual int fd() const { return -1; }
  virtual void receive() {}
  // Whether since the last time the kernel undid what all groups did, though their processes may live. Calls that were
  // under way end with ECONNRESET.
  virtual bool take_lost() { return false; }
};

// The groups as threads of this process.
class ThreadUndoGroups : public UndoGroups {
 public:
  // All borrowed, and outlive the groups.
  ThreadUndoGroups(const Identity& own, SleepSigns& signs, Completions& completions, Canceller& canceller);
  // Ends all groups; calls must have been cancelled or have ended.
  ~ThreadUndoGroups() override;

  std::shared_ptr<RunningCall> start(UndoGroupNumber group, const UndoHolder& holder, UndoOperation operation) override;
  void end(UndoGroupNumber group) override;
  pid_t process() const override;

 private:
  class Group;
  void join_ended();

  const Identity& own_;
  SleepSigns& signs_;
  Completions& completions_;
  Canceller& canceller_;
  std::map<UndoGroupNumber, std::unique_ptr<Group>> groups_;
  std::vector<std::unique_ptr<Group>> ending_;  // told to end; joined and dropped when they have
};

}  // namespace dipc
