#pragma once

// Threads for calls that have to sleep. One call keeps one thread for as long as it sleeps, so there may be thousands;
// they grow on demand, their stacks are small, and those that are idle for a while end.

#include <pthread.h>

#include <chrono>
#include <condition_variable>
#include <list>
#include <memory>
#include <mutex>
#include <vector>

#include "daemon/kernel/blocking_call.h"

namespace dipc {

class WaiterPool {
 public:
  struct Options {
    std::size_t threads_max = 12000;
    std::chrono::milliseconds idle_time{10000};  // after which a thread ends
  };
  // All borrowed, and outlive the pool.
  WaiterPool(SleepSigns& signs, Completions& completions, Options options);
  // Every call that was started must have been cancelled or have ended: waits for the threads.
  ~WaiterPool();
  WaiterPool(const WaiterPool&) = delete;
  WaiterPool& operator=(const WaiterPool&) = delete;

  // Hands the call to a thread; its outcome comes through the completions. False: no thread can be had.
  bool start(std::shared_ptr<BlockingCall> call);

  std::size_t thread_count() const;

 private:
  struct Waiter {
    WaiterPool* pool = nullptr;
    pthread_t thread{};
    std::condition_variable work_came;
    std::shared_ptr<BlockingCall> work;
    bool idle = false;
    std::list<std::unique_ptr<Waiter>>::iterator place;
  };
  static void* thread_body(void* waiter);
  void serve(Waiter& waiter);
  void join_ended();

  SleepSigns& signs_;
  Completions& completions_;
  const Options options_;

  mutable std::mutex mutex_;
  std::list<std::unique_ptr<Waiter>> waiters_;
  std::vector<Waiter*> idle_;                   // the one that was busy last is at the back: its stack is warm
  std::vector<std::unique_ptr<Waiter>> ended_;  // to be joined
  bool stop_ = false;
};

}  // namespace dipc
