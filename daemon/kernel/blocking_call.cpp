#include "daemon/kernel/blocking_call.h"

#include <signal.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>

#include "wire/check.h"

namespace dipc {

namespace {

constexpr auto kInsistPeriod = std::chrono::milliseconds(1);

#ifdef DIPC_SANITIZED
constexpr std::size_t kStackBytes = 512 * 1024;  // instrumented frames are large
#else
constexpr std::size_t kStackBytes =
    64 * 1024;  // ten thousand of them: 640 MB of addresses, of which 8 KiB each is used
#endif

void on_wake_signal(int) {}

SleepIn kind_of(const NativeCall& call) {
  if (std::holds_alternative<NativeSend>(call)) return SleepIn::kSend;
  if (std::holds_alternative<NativeReceive>(call)) return SleepIn::kReceive;
  return SleepIn::kOperate;
}

}  // namespace

void set_up_wake_signal() {
  struct sigaction action {};
  action.sa_handler = on_wake_signal;
  sigfillset(&action.sa_mask);
  DIPC_CHECK(sigaction(kWakeSignal, &action, nullptr) == 0);
  sigset_t wake;
  sigemptyset(&wake);
  sigaddset(&wake, kWakeSignal);
  DIPC_CHECK(pthread_sigmask(SIG_BLOCK, &wake, nullptr) == 0);
}

void accept_wake_signal() {
  sigset_t wake;
  sigemptyset(&wake);
  sigaddset(&wake, kWakeSignal);
  DIPC_CHECK(pthread_sigmask(SIG_UNBLOCK, &wake, nullptr) == 0);
}

std::optional<pthread_t> start_thread(const char* name, void* (*body)(void*), void* argument) {
  // A thread inherits the mask of its maker: with everything blocked no signal meant for the daemon ends up in it.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  const long stack_min = sysconf(_SC_THREAD_STACK_MIN);
  pthread_attr_setstacksize(&attributes, std::max(kStackBytes, static_cast<std::size_t>(std::max(stack_min, 0L))));
  pthread_t thread{};
  const int error = pthread_create(&thread, &attributes, body, argument);
  pthread_attr_destroy(&attributes);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (error != 0) {
    errno = error;
    return std::nullopt;
  }
  pthread_setname_np(thread, name);
  return thread;
}

// ---- Completions

Completions::Completions() : fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) { DIPC_CHECK(fd_ >= 0); }
Completions::~Completions() { close(fd_); }

void Completions::push(Item item) {
  const std::lock_guard lock(mutex_);
  items_.push_back(item);
  if (items_.size() > 1) return;  // it is readable already
  const std::uint64_t one = 1;
  DIPC_CHECK(write(fd_, &one, sizeof one) == sizeof one);
}

std::vector<Completions::Item> Completions::take() {
  const std::lock_guard lock(mutex_);
  if (items_.empty()) return {};
  std::uint64_t count = 0;
  DIPC_CHECK(read(fd_, &count, sizeof count) == sizeof count);
  return std::exchange(items_, {});
}

// ---- Canceller

Canceller::~Canceller() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
    changed_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

void Canceller::insist(std::shared_ptr<BlockingCall> call) {
  const std::lock_guard lock(mutex_);
  calls_.push_back(std::move(call));
  if (!thread_.joinable()) {
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    thread_ = std::thread([this] { run(); });
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }
  if (calls_.size() == 1) changed_.notify_all();
}

void Canceller::run() {
  std::unique_lock lock(mutex_);
  while (!stop_) {
    if (calls_.empty()) {
      changed_.wait(lock);
      continue;
    }
    // First the pause: the canceller's own signal has just been sent, and is nearly always enough.
    changed_.wait_for(lock, kInsistPeriod, [this] { return stop_; });
    std::vector<std::shared_ptr<BlockingCall>> calls = std::exchange(calls_, {});
    lock.unlock();
    std::erase_if(calls, [](const std::shared_ptr<BlockingCall>& call) { return !call->signal_again(); });
    lock.lock();
    calls_.insert(calls_.end(), calls.begin(), calls.end());
  }
}

// ---- BlockingCall

BlockingCall::BlockingCall(CallToken token, const Identity& own, Identity as, NativeCall call, TimePoint deadline,
                           Canceller& canceller)
    : token_(token),
      own_(own),
      as_(std::move(as)),
      call_(std::move(call)),
      deadline_(deadline),
      canceller_(canceller) {}

std::optional<Duration> BlockingCall::time_left() const {
  if (deadline_ == kNever) return std::nullopt;
  return std::max(Duration::zero(), deadline_ - TimePoint(std::chrono::steady_clock::now()));
}

// False: cancelled, the call must not be made.
bool BlockingCall::enter(SleepWatch& thread) {
  const std::lock_guard lock(mutex_);
  if (cancelled_) {
    phase_ = Phase::kFinished;
    return false;
  }
  phase_ = Phase::kInCall;
  thread_ = &thread;
  return true;
}

Outcome BlockingCall::run(SleepWatch& thread) {
  const ScopedIdentity identity(own_, as_);
  if (identity.error() != 0) {
    const std::lock_guard lock(mutex_);
    phase_ = Phase::kFinished;
    return {-1, EACCES};
  }
  for (;;) {
    if (!enter(thread)) return {-1, EINTR};
    // Between the unlock in enter() and here the thread does nothing that sleeps, natively; that is what the fallback
    // of SleepWatch relies on.
    Outcome outcome = make_blocking(call_, time_left());
    outcome.thread = thread.tid();
    const std::lock_guard lock(mutex_);
    thread_ = nullptr;
    if (outcome.error != EINTR || cancelled_) {
      phase_ = Phase::kFinished;
      return outcome;
    }
    phase_ = Phase::kOutside;
  }
}

std::optional<Outcome> BlockingCall::try_now() {
  Outcome outcome{-1, EINTR};
  {
    const std::lock_guard lock(mutex_);
    if (cancelled_) {
      phase_ = Phase::kFinished;
      return outcome;
    }
  }
  {
    const ScopedIdentity identity(own_, as_);
    outcome = identity.error() != 0 ? Outcome{-1, EACCES} : attempt(call_);
  }
  if (is_undecided(call_, outcome)) return std::nullopt;
  const std::lock_guard lock(mutex_);
  phase_ = Phase::kFinished;
  return outcome;
}

Outcome BlockingCall::give_up(int error) {
  const std::lock_guard lock(mutex_);
  phase_ = Phase::kFinished;
  return {-1, error};
}

bool BlockingCall::asleep() {
  const std::lock_guard lock(mutex_);
  return phase_ == Phase::kInCall && thread_->asleep(kind_of(call_), object_of(call_));
}

pid_t BlockingCall::thread() {
  const std::lock_guard lock(mutex_);
  return phase_ == Phase::kInCall ? thread_->tid() : 0;
}

void BlockingCall::cancel() {
  {
    const std::lock_guard lock(mutex_);
    if (cancelled_ || phase_ == Phase::kFinished) return;
    cancelled_ = true;
  }
  if (signal_again()) canceller_.insist(shared_from_this());
}

bool BlockingCall::signal_again() {
  const std::lock_guard lock(mutex_);
  if (phase_ == Phase::kInCall) syscall(SYS_tgkill, getpid(), thread_->tid(), kWakeSignal);
  return phase_ != Phase::kFinished;
}

}  // namespace dipc
