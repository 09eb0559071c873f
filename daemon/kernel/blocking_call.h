#pragma once

// Calls that another thread than the loop's makes, because they may sleep.

#include <pthread.h>
#include <signal.h>

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <thread>
#include <variant>
#include <vector>

#include "daemon/core/time.h"
#include "daemon/kernel/identity.h"
#include "daemon/kernel/native_calls.h"
#include "daemon/kernel/sleep_watch.h"

namespace dipc {

// The executor's own number of a call that is on another thread; never used again.
enum class CallToken : std::uint64_t {};
// Of an undo group; never used again.
enum class UndoGroupNumber : std::uint64_t {};

// A call on its way, as the loop thread sees it; the thread may be another process's (see UndoGroups).
class RunningCall {
 public:
  virtual ~RunningCall() = default;
  // Whether it is certainly in the object's queue in the kernel. False may mean that it is not there yet, or has left.
  virtual bool asleep() = 0;
  // The one that it sleeps on; 0: none now.
  virtual pid_t thread() = 0;
  // It ends soon, with EINTR or with its result if that came first. Never blocks; may be repeated.
  virtual void cancel() = 0;
};

// What other threads have to tell the loop thread. Thread-safe.
class Completions {
 public:
  struct CallDone {
    CallToken token{};
    Outcome outcome;
  };
  struct GroupEnded {
    UndoGroupNumber group{};
  };
  using Item = std::variant<CallDone, GroupEnded>;

  Completions();
  ~Completions();
  Completions(const Completions&) = delete;
  Completions& operator=(const Completions&) = delete;

  void push(Item item);
  std::vector<Item> take();
  // An eventfd, readable exactly while there is something to take.
  int fd() const { return fd_; }

 private:
  std::mutex mutex_;
  std::vector<Item> items_;
  int fd_;
};

class BlockingCall;

// Repeats signals to threads whose call was cancelled until they answer. One signal gets lost when it comes between the
// thread's look at the flag and its system call (measured: 7 of 3,000). Its thread starts with the first cancellation.
class Canceller {
 public:
  Canceller() = default;
  ~Canceller();
  Canceller(const Canceller&) = delete;
  Canceller& operator=(const Canceller&) = delete;
  void insist(std::shared_ptr<BlockingCall> call);

 private:
  void run();
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::shared_ptr<BlockingCall>> calls_;
  bool stop_ = false;
  std::thread thread_;
};

// One call, made by one thread at a time. Its lock orders three things: the thread going into the system call and
// leaving it, the look of the loop thread, and the signal of a canceller. As long as somebody holds the lock of a call
// that is under way, its thread can't go on to another call, so no look and no signal ever meets another call.
class BlockingCall : public RunningCall, public std::enable_shared_from_this<BlockingCall> {
 public:
  // `deadline`: kNever = no time-out. `own` and `canceller` are borrowed and outlive the call.
  BlockingCall(CallToken token, const Identity& own, Identity as, NativeCall call, TimePoint deadline,
               Canceller& canceller);

  CallToken token() const { return token_; }

  // On the thread that makes it. run() sleeps; EINTR that nobody asked for is not an answer, it repeats with the time
  // left. try_now() doesn't sleep, nothing = it has to (see is_undecided()).
  Outcome run(SleepWatch& thread);
  std::optional<Outcome> try_now();
  // Nobody will make it: `error` is its outcome.
  Outcome give_up(int error);

  bool asleep() override;
  pid_t thread() override;
  void cancel() override;

  // A signal if the thread is in the call. False: it has answered, there is nothing more to do.
  bool signal_again();

 private:
  enum class Phase : std::uint8_t { kOutside, kInCall, kFinished };
  bool enter(SleepWatch& thread);
  std::optional<Duration> time_left() const;

  const CallToken token_;
  const Identity& own_;
  const Identity as_;
  const NativeCall call_;
  const TimePoint deadline_;
  Canceller& canceller_;

  std::mutex mutex_;
  Phase phase_ = Phase::kOutside;
  bool cancelled_ = false;
  SleepWatch* thread_ = nullptr;
};

// The signal that ends a system call. Its handler does nothing and has no SA_RESTART. It is blocked in every thread but
// the waiters; a stray one does no harm.
//
// SIGURG: ignored by default, so that one which comes before the handler is there is harmless; not a real-time signal,
// so that repeats don't queue up; nobody else uses it.
constexpr int kWakeSignal = SIGURG;
// Installs the handler and blocks the signal in the calling thread.
void set_up_wake_signal();

// A thread with a small stack and every signal blocked. Joinable. nullopt: the system has none to give (errno).
std::optional<pthread_t> start_thread(const char* name, void* (*body)(void*), void* argument);
// In a waiter: from now on the wake signal ends its system calls.
void accept_wake_signal();

}  // namespace dipc
