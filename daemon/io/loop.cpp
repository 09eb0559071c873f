#include "daemon/io/loop.h"

#include <poll.h>
#include <sched.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <utility>

#include "wire/check.h"

namespace dipc {

namespace {

// Forgets the function now, frees the block when libuv lets go of the handle.
template <typename Block, typename Handle>
void close_block(Block* block, Handle& handle) {
  block->call = nullptr;
  uv_close(reinterpret_cast<uv_handle_t*>(&handle),
           [](uv_handle_t* closed) { delete static_cast<Block*>(closed->data); });
}

}  // namespace

TimePoint loop_now() { return TimePoint(Duration(uv_hrtime())); }

LoopRunner::LoopRunner(uv_loop_t* loop, Duration busy_poll) : loop_(loop), busy_poll_(busy_poll) {
  const int status = uv_loop_configure(loop, UV_METRICS_IDLE_TIME);
  DIPC_CHECK(status == 0);
}

void LoopRunner::run() {
  while (!stopped_) {
    const bool sleeps = busy_poll_ > Duration::zero() && uv_backend_timeout(loop_) != 0;
    if (sleeps && pays_ && look()) {
      uv_run(loop_, UV_RUN_ONCE);
      continue;
    }
    const std::uint64_t slept_ns = uv_metrics_idle_time(loop_);
    uv_run(loop_, UV_RUN_ONCE);
    if (sleeps) pays_ = Duration(uv_metrics_idle_time(loop_) - slept_ns) < busy_poll_;
  }
}

// Whether something came in time.
bool LoopRunner::look() const {
  const TimePoint end = loop_now() + busy_poll_;
  pollfd entry{uv_backend_fd(loop_), POLLIN, 0};
  do {
    if (::poll(&entry, 1, 0) > 0) return true;
    ::sched_yield();
  } while (loop_now() < end);
  return false;
}

void LoopRunner::stop() {
  stopped_ = true;
  uv_stop(loop_);
}

struct Timer::Block {
  // Arms libuv's timer for `wanted`. It counts from the loop's cached time, which may be old after a long turn.
  void arm() {
    const Duration left = std::max(wanted - loop_now(), Duration::zero());
    uv_update_time(handle.loop);
    armed = wanted;
    const auto wait_ms = static_cast<std::uint64_t>((left.count() + 999'999) / 1'000'000);
    uv_timer_start(
        &handle, [](uv_timer_t* timer) { static_cast<Block*>(timer->data)->on_time(); }, wait_ms, 0);
  }
  void on_time() {
    armed = kNever;
    if (wanted == kNever) return;
    if (wanted > loop_now()) return arm();
    wanted = kNever;
    if (call) call();
  }

  uv_timer_t handle;
  std::function<void()> call;
  TimePoint wanted = kNever;
  TimePoint armed = kNever;
};

Timer::Timer(uv_loop_t* loop, std::function<void()> on_time) : block_(new Block{{}, std::move(on_time)}) {
  uv_timer_init(loop, &block_->handle);
  block_->handle.data = block_;
}

Timer::~Timer() { close_block(block_, block_->handle); }

// Most times that are set here are put off before they come. So a later one does not touch libuv's timer: it goes off
// once for nothing, and is armed for the rest then.
void Timer::start_at(TimePoint when) {
  block_->wanted = when;
  if (when < block_->armed) block_->arm();
}

struct ReadPoll::Block {
  uv_poll_t handle;
  std::function<void()> call;
};

ReadPoll::ReadPoll(uv_loop_t* loop, int fd, std::function<void()> on_readable)
    : block_(new Block{{}, std::move(on_readable)}) {
  const int status = uv_poll_init(loop, &block_->handle, fd);
  DIPC_CHECK(status == 0);
  block_->handle.data = block_;
  uv_poll_start(&block_->handle, UV_READABLE | UV_DISCONNECT, [](uv_poll_t* handle, int, int) {
    auto* block = static_cast<Block*>(handle->data);
    if (!block->call) return;
    const auto call = block->call;  // the function may destroy this watch
    call();
  });
}

ReadPoll::~ReadPoll() {
  uv_poll_stop(&block_->handle);  // at once: the descriptor may be closed before the loop turns again
  close_block(block_, block_->handle);
}

FineTimer::FineTimer(uv_loop_t* loop, std::function<void()> on_time)
    : fd_(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)), call_(std::move(on_time)) {
  DIPC_CHECK(fd_ >= 0);
  poll_.emplace(loop, fd_, [this] { on_readable(); });
}

FineTimer::~FineTimer() {
  poll_.reset();
  ::close(fd_);
}

// Later times are waited for as Timer does it.
void FineTimer::start_at(TimePoint when) {
  wanted_ = when;
  if (when < armed_) arm();
}

void FineTimer::arm() {
  armed_ = wanted_;
  const auto since_boot = std::max<Duration::rep>(wanted_.time_since_epoch().count(), 1);  // 0 would disarm it
  itimerspec time{};
  time.it_value.tv_sec = static_cast<time_t>(since_boot / 1'000'000'000);
  time.it_value.tv_nsec = static_cast<long>(since_boot % 1'000'000'000);
  const int status = ::timerfd_settime(fd_, TFD_TIMER_ABSTIME, &time, nullptr);
  DIPC_CHECK(status == 0);
}

void FineTimer::on_readable() {
  std::uint64_t count = 0;
  if (::read(fd_, &count, sizeof(count)) < 0) return;  // it was armed anew meanwhile
  armed_ = kNever;
  if (wanted_ == kNever) return;
  if (wanted_ > loop_now()) return arm();
  wanted_ = kNever;
  const auto call = call_;  // the function may destroy this timer
  call();
}

struct AfterPoll::Block {
  uv_check_t handle;
  std::function<void()> call;
  uv_idle_t* idle;
};

AfterPoll::AfterPoll(uv_loop_t* loop, std::function<void()> on_turn)
    : block_(new Block{{}, std::move(on_turn), new uv_idle_t}) {
  uv_check_init(loop, &block_->handle);
  block_->handle.data = block_;
  uv_check_start(&block_->handle, [](uv_check_t* handle) {
    auto* block = static_cast<Block*>(handle->data);
    if (block->call) block->call();
  });
  uv_idle_init(loop, block_->idle);
}

AfterPoll::~AfterPoll() {
  uv_close(reinterpret_cast<uv_handle_t*>(block_->idle),
           [](uv_handle_t* closed) { delete reinterpret_cast<uv_idle_t*>(closed); });
  close_block(block_, block_->handle);
}

void AfterPoll::keep_turning(bool on) {
  if (on) {
    uv_idle_start(block_->idle, [](uv_idle_t*) {});
  } else {
    uv_idle_stop(block_->idle);
  }
}

struct SignalWatch::Block {
  uv_signal_t handle;
  std::function<void()> call;
};

SignalWatch::SignalWatch(uv_loop_t* loop, int signal, std::function<void()> on_signal)
    : block_(new Block{{}, std::move(on_signal)}) {
  uv_signal_init(loop, &block_->handle);
  block_->handle.data = block_;
  uv_signal_start(
      &block_->handle,
      [](uv_signal_t* handle, int) {
        auto* block = static_cast<Block*>(handle->data);
        if (block->call) block->call();
      },
      signal);
}

SignalWatch::~SignalWatch() { close_block(block_, block_->handle); }

}  // namespace dipc
