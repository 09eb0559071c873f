#include "daemon/kernel/waiter_pool.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

#include "wire/check.h"

namespace dipc {

WaiterPool::WaiterPool(SleepSigns& signs, Completions& completions, Options options)
    : signs_(signs), completions_(completions), options_(options) {}

WaiterPool::~WaiterPool() {
  std::vector<pthread_t> threads;
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
    for (const auto& waiter : waiters_) {
      threads.push_back(waiter->thread);
      waiter->work_came.notify_all();
    }
  }
  for (const pthread_t thread : threads) pthread_join(thread, nullptr);
  join_ended();
}

std::size_t WaiterPool::thread_count() const {
  const std::lock_guard lock(mutex_);
  return waiters_.size();
}

void WaiterPool::join_ended() {
  std::vector<std::unique_ptr<Waiter>> ended;
  {
    const std::lock_guard lock(mutex_);
    ended.swap(ended_);
  }
  for (const auto& waiter : ended) pthread_join(waiter->thread, nullptr);
}

bool WaiterPool::start(std::shared_ptr<BlockingCall> call) {
  join_ended();
  const std::lock_guard lock(mutex_);
  if (!idle_.empty()) {
    Waiter* const waiter = idle_.back();
    idle_.pop_back();
    waiter->idle = false;
    waiter->work = std::move(call);
    waiter->work_came.notify_one();
    return true;
  }
  if (waiters_.size() >= options_.threads_max) return false;
  waiters_.push_back(std::make_unique<Waiter>());
  Waiter& waiter = *waiters_.back();
  waiter.pool = this;
  waiter.work = std::move(call);
  waiter.place = std::prev(waiters_.end());
  // The new thread comes to the lock first, so it sees `thread` set.
  const std::optional<pthread_t> thread = start_thread("dipc-waiter", thread_body, &waiter);
  if (!thread) {
    waiters_.pop_back();
    return false;
  }
  waiter.thread = *thread;
  return true;
}

void* WaiterPool::thread_body(void* waiter) {
  static_cast<Waiter*>(waiter)->pool->serve(*static_cast<Waiter*>(waiter));
  return nullptr;
}

void WaiterPool::serve(Waiter& waiter) {
  accept_wake_signal();
  SleepWatch watch(signs_, static_cast<pid_t>(syscall(SYS_gettid)));
  std::unique_lock lock(mutex_);
  for (;;) {
    if (waiter.work) {
      const std::shared_ptr<BlockingCall> call = std::move(waiter.work);
      waiter.work = nullptr;
      lock.unlock();
      const Outcome outcome = call->run(watch);
      completions_.push(Completions::CallDone{call->token(), outcome});
      lock.lock();
      waiter.idle = true;
      idle_.push_back(&waiter);
      continue;
    }
    if (stop_) return;
    const bool woken = waiter.work_came.wait_for(lock, options_.idle_time, [&] { return waiter.work || stop_; });
    if (woken) continue;
    idle_.erase(std::find(idle_.begin(), idle_.end(), &waiter));
    ended_.push_back(std::move(*waiter.place));
    waiters_.erase(waiter.place);
    return;
  }
}

}  // namespace dipc
