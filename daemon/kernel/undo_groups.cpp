#include "daemon/kernel/undo_groups.h"

#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "wire/check.h"

namespace dipc {

// The leader takes calls in order and tries each without waiting; what has to sleep goes to a member. The leader itself
// never sleeps in a call: only a thread of the group can make another one.
class ThreadUndoGroups::Group {
 public:
  Group(ThreadUndoGroups& owner, UndoGroupNumber number) : owner_(owner), number_(number) {}
  // The threads have been told to end.
  ~Group() {
    if (begun_) pthread_join(leader_, nullptr);
  }

  bool begin() {
    const std::lock_guard lock(mutex_);
    const std::optional<pthread_t> thread = start_thread("dipc-undo", leader_body, this);
    if (!thread) return false;
    leader_ = *thread;
    begun_ = true;
    return true;
  }

  void give(std::shared_ptr<BlockingCall> call) {
    const std::lock_guard lock(mutex_);
    calls_.push_back(std::move(call));
    changed_.notify_all();
  }

  void end() {
    const std::lock_guard lock(mutex_);
    end_ = true;
    changed_.notify_all();
  }

  bool ended() const {
    const std::lock_guard lock(mutex_);
    return ended_;
  }

 private:
  struct Member {
    Group* group = nullptr;
    pthread_t thread{};
    std::shared_ptr<BlockingCall> work;
    std::condition_variable work_came;
  };

  static void* leader_body(void* group) {
    static_cast<Group*>(group)->lead();
    return nullptr;
  }
  static void* member_body(void* member) {
    static_cast<Member*>(member)->group->serve(*static_cast<Member*>(member));
    return nullptr;
  }

  void lead() {
    // Leaves the list that the daemon's threads share; a list of its own begins with the first SEM_UNDO.
    // A sandbox may forbid it; then calls with SEM_UNDO get ENOSYS rather than a list that is not theirs.
    const bool alone = unshare(CLONE_SYSVSEM) == 0;
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [this] { return !calls_.empty() || end_; });
      if (calls_.empty()) break;
      const std::shared_ptr<BlockingCall> call = std::move(calls_.front());
      calls_.pop_front();
      lock.unlock();
      const std::optional<Outcome> outcome = alone ? call->try_now() : call->give_up(ENOSYS);
      if (outcome) owner_.completions_.push(Completions::CallDone{call->token(), *outcome});
      lock.lock();
      if (!outcome) let_sleep(call);
    }
    // Members leave the list before the leader, so that it is the leader's unshare() that makes the kernel undo.
    for (const auto& member : members_) member->work_came.notify_all();
    changed_.wait(lock, [this] { return members_left_ == members_.size(); });
    for (const auto& member : members_) pthread_join(member->thread, nullptr);
    DIPC_CHECK(!alone || unshare(CLONE_SYSVSEM) == 0);
    ended_ = true;
    owner_.completions_.push(Completions::GroupEnded{number_});
  }

  // With the lock held, on the leader.
  void let_sleep(const std::shared_ptr<BlockingCall>& call) {
    if (!idle_.empty()) {
      Member* const member = idle_.back();
      idle_.pop_back();
      member->work = call;
      member->work_came.notify_all();
      return;
    }
    auto member = std::make_unique<Member>();
    member->group = this;
    member->work = call;
    // clone(2) with CLONE_SYSVSEM, as pthread_create() calls it: the member shares the leader's list.
    const std::optional<pthread_t> thread = start_thread("dipc-undo-wait", member_body, member.get());
    if (!thread) {
      owner_.completions_.push(Completions::CallDone{call->token(), call->give_up(ENOMEM)});
      return;
    }
    member->thread = *thread;
    members_.push_back(std::move(member));
  }

  void serve(Member& member) {
    accept_wake_signal();
    {
      SleepWatch watch(owner_.signs_, static_cast<pid_t>(syscall(SYS_gettid)));
      std::unique_lock lock(mutex_);
      for (;;) {
        member.work_came.wait(lock, [&] { return member.work || end_; });
        if (!member.work) break;
        const std::shared_ptr<BlockingCall> call = std::move(member.work);
        member.work = nullptr;
        lock.unlock();
        const Outcome outcome = call->run(watch);
        owner_.completions_.push(Completions::CallDone{call->token(), outcome});
        lock.lock();
        idle_.push_back(&member);
      }
    }
    DIPC_CHECK(unshare(CLONE_SYSVSEM) == 0);
    const std::lock_guard lock(mutex_);
    ++members_left_;
    changed_.notify_all();
  }

  ThreadUndoGroups& owner_;
  const UndoGroupNumber number_;
  pthread_t leader_{};
  bool begun_ = false;

  mutable std::mutex mutex_;
  std::condition_variable changed_;  // for the leader
  std::deque<std::shared_ptr<BlockingCall>> calls_;
  std::vector<std::unique_ptr<Member>> members_;
  std::vector<Member*> idle_;
  std::size_t members_left_ = 0;
  bool end_ = false;
  bool ended_ = false;
};

ThreadUndoGroups::ThreadUndoGroups(const Identity& own, SleepSigns& signs, Completions& completions,
                                   Canceller& canceller)
    : own_(own), signs_(signs), completions_(completions), canceller_(canceller) {}

ThreadUndoGroups::~ThreadUndoGroups() {
  for (const auto& [number, group] : groups_) group->end();
  groups_.clear();
  ending_.clear();
}

pid_t ThreadUndoGroups::process() const { return getpid(); }

std::shared_ptr<RunningCall> ThreadUndoGroups::start(UndoGroupNumber number, const UndoHolder&,
                                                     UndoOperation operation) {
  auto& group = groups_[number];
  if (!group) {
    group = std::make_unique<Group>(*this, number);
    if (!group->begin()) {
      groups_.erase(number);
      return nullptr;
    }
  }
  auto call = std::make_shared<BlockingCall>(operation.token, own_, std::move(operation.as),
                                             std::move(operation.operate), operation.deadline, canceller_);
  group->give(call);
  return call;
}

void ThreadUndoGroups::end(UndoGroupNumber number) {
  join_ended();
  const auto found = groups_.find(number);
  if (found == groups_.end()) {
    completions_.push(Completions::GroupEnded{number});
    return;
  }
  found->second->end();
  ending_.push_back(std::move(found->second));
  groups_.erase(found);
}

void ThreadUndoGroups::join_ended() {
  std::erase_if(ending_, [](const std::unique_ptr<Group>& group) { return group->ended(); });
}

}  // namespace dipc
