#pragma once

// Finds out who keeps a thread of ours in a system call for too long: the thread says before each such call whose
// memory it is about to touch, and a thread of this class looks on.

#include <sys/types.h>

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "daemon/core/time.h"

namespace dipc {

class StuckWatch {
 public:
  // `on_stuck` is called on a thread of ours, once for each time, with what enter() was told.
  StuckWatch(Duration after, std::function<void(pid_t)> on_stuck);
  ~StuckWatch();
  StuckWatch(const StuckWatch&) = delete;
  StuckWatch& operator=(const StuckWatch&) = delete;

  void enter(pid_t pid);
  void leave();

 private:
  void run();

  const Duration after_;
  const std::function<void(pid_t)> on_stuck_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stops_ = false;
  bool inside_ = false;
  bool told_ = false;
  pid_t pid_ = 0;
  std::chrono::steady_clock::time_point since_;
  std::thread thread_;
};

}  // namespace dipc
