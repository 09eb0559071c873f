#pragma once

// libuv handles that close themselves. A handle must outlive its destructor by one turn of the loop (uv_close), so each
// class here owns a heap block that libuv's close callback frees; the function it calls is dropped at once, so nothing
// is called back after the destructor. Source: libuv 1.44 guide, "Handles and requests".

#include <uv.h>

#include <functional>
#include <optional>

#include "daemon/core/time.h"

namespace dipc {

// Time since some fixed point, as uv_hrtime(); the only clock the daemon hands to its state machines.
TimePoint loop_now();

// Turns a loop until stop(). Waking a processor that sleeps takes as long as the rest of a short call, so it looks for
// up to `busy_poll` whether something has come before it sleeps, as long as that pays: as long as the last look found
// something, or the last sleep was shorter than that. Who else wants the processor has it between two looks. (As KVM's
// halt polling does: the kernel's Documentation/virt/kvm/halt-polling.rst.) Zero: it sleeps at once.
class LoopRunner {
 public:
  LoopRunner(uv_loop_t* loop, Duration busy_poll);
  void run();
  void stop();

 private:
  bool look() const;
  uv_loop_t* loop_;
  Duration busy_poll_;
  bool pays_ = false;
  bool stopped_ = false;
};

// Calls once, at a point in time. start() again moves it; kNever stops it. Resolution: one millisecond, rounded up.
class Timer {
 public:
  Timer(uv_loop_t* loop, std::function<void()> on_time);
  ~Timer();
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  void start_at(TimePoint when);
  void stop() { start_at(kNever); }

 private:
  struct Block;
  Block* block_;
};

// Calls whenever `fd` is readable (or has an error). Does not own the descriptor: close it after this is gone.
class ReadPoll {
 public:
  ReadPoll(uv_loop_t* loop, int fd, std::function<void()> on_readable);
  ~ReadPoll();
  ReadPoll(const ReadPoll&) = delete;
  ReadPoll& operator=(const ReadPoll&) = delete;

 private:
  struct Block;
  Block* block_;
};

// A Timer for times below a millisecond: resolution of the kernel's clock. Source: timerfd_create(2).
class FineTimer {
 public:
  FineTimer(uv_loop_t* loop, std::function<void()> on_time);
  ~FineTimer();
  FineTimer(const FineTimer&) = delete;
  FineTimer& operator=(const FineTimer&) = delete;
  void start_at(TimePoint when);

 private:
  void arm();
  void on_readable();

  int fd_;
  std::function<void()> call_;
  TimePoint wanted_ = kNever;
  TimePoint armed_ = kNever;
  std::optional<ReadPoll> poll_;
};

// Calls at the end of each turn of the loop, after all descriptors that were ready have been served.
class AfterPoll {
 public:
  AfterPoll(uv_loop_t* loop, std::function<void()> on_turn);
  ~AfterPoll();
  AfterPoll(const AfterPoll&) = delete;
  AfterPoll& operator=(const AfterPoll&) = delete;
  // While true the loop does not sleep: turns follow one another.
  void keep_turning(bool on);

 private:
  struct Block;
  Block* block_;
};

// Calls on each arrival of one Unix signal.
class SignalWatch {
 public:
  SignalWatch(uv_loop_t* loop, int signal, std::function<void()> on_signal);
  ~SignalWatch();
  SignalWatch(const SignalWatch&) = delete;
  SignalWatch& operator=(const SignalWatch&) = delete;

 private:
  struct Block;
  Block* block_;
};

}  // namespace dipc
