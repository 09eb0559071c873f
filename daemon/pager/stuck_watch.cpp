#include "daemon/pager/stuck_watch.h"

#include <utility>

namespace dipc {

StuckWatch::StuckWatch(Duration after, std::function<void(pid_t)> on_stuck)
    : after_(after), on_stuck_(std::move(on_stuck)), thread_([this] { run(); }) {}

StuckWatch::~StuckWatch() {
  {
    const std::lock_guard lock(mutex_);
    stops_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

void StuckWatch::enter(pid_t pid) {
  const std::lock_guard lock(mutex_);
  inside_ = true;
  told_ = false;
  pid_ = pid;
  since_ = std::chrono::steady_clock::now();
}

void StuckWatch::leave() {
  const std::lock_guard lock(mutex_);
  inside_ = false;
}

void StuckWatch::run() {
  std::unique_lock lock(mutex_);
  while (!stops_) {
    changed_.wait_for(lock, after_ / 4);  // nobody wakes us for every call: they are many and short
    if (stops_ || !inside_ || told_ || std::chrono::steady_clock::now() - since_ < after_) continue;
    told_ = true;
    const pid_t pid = pid_;
    lock.unlock();
    on_stuck_(pid);
    lock.lock();
  }
}

}  // namespace dipc
