#pragma once

// Runs the calls of other hosts on this host's kernel objects, as the mapped login. The kernel judges: permissions,
// sizes, limits and the precedence of errors are its own; nothing of msgop(2) and semop(2) is written again.
//
// One thread, the loop's, calls everything here. What needn't wait is done at once in submit() on that thread, with
// IPC_NOWAIT. What has to wait goes to a thread of its own (WaiterPool), calls with SEM_UNDO to their process's group
// (UndoGroups), and the answer comes later.
//
// Order: no call overtakes one that was submitted earlier on the same object. While a call is on its way to another
// thread and neither seen asleep in the kernel nor finished, or a cancelled call has not ended yet, or an undo group
// that used the object is ending, every later call on it (control and removal included) waits in the object's queue.
// Without this a removal one frame behind a msgrcv won 1,968 of 2,000 times (EINVAL instead of EIDRM).
//
// In: submit, cancel, taken, returned, unfit, end_process, begin_session, end_session, end_groups, poll.   Out:
// take_replies, after each of them. Call poll() when one of wakeup_fds() is readable, and again and again while
// wants_polling().
//
// A received message stays in its slot until the caller's daemon says taken() or returned(); see slots.h.

#include <chrono>
#include <compare>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <tl/expected.hpp>

#include "daemon/core/receive_room.h"
#include "daemon/kernel/blocking_call.h"
#include "daemon/kernel/dead_letters.h"
#include "daemon/kernel/identity.h"
#include "daemon/kernel/keeper.h"
#include "daemon/kernel/objects.h"
#include "daemon/kernel/recorded_pids.h"
#include "daemon/kernel/slots.h"
#include "daemon/kernel/undo_groups.h"
#include "daemon/kernel/users.h"
#include "daemon/kernel/waiter_pool.h"
#include "wire/messages.h"
#include "wire/result.h"

namespace dipc {

// A call of a host; unique among those of that host's session.
struct CallKey {
  std::string host;
  CallId call{};
  auto operator<=>(const CallKey&) const = default;
};

struct Finished {
  CallKey key;
  Reply reply;
};

class Executor {
 public:
  struct Options {
    std::filesystem::path slot_dir;         // made, mode 0700; should be in memory (/run)
    std::filesystem::path dead_letter_dir;  // made, mode 0700
    std::size_t dead_letters_max = 10000;
    // Waiting ones, in threads or queues; and as many received messages that are neither taken nor returned. More calls
    // get ENOMEM.
    std::size_t blocked_calls_per_peer = 10000;
    std::uint64_t bytes_per_peer = std::uint64_t{256} << 20;  // of the texts of both; likewise
    std::size_t threads_max = 12000;
    std::chrono::milliseconds idle_thread_time{10000};
    SleepSigns::Options sleep_signs;
    std::optional<keeper::Reached> keeper;        // taken over; without it undo groups are threads of this process
    std::function<void(const std::string&)> log;  // one line; called on the loop thread
  };
  struct Counters {
    std::uint64_t calls = 0;          // submitted
    std::uint64_t handed_over = 0;    // that went to another thread
    std::uint64_t queued_behind = 0;  // that had to wait for an earlier one
    std::uint64_t cancelled = 0;
    std::uint64_t put_back = 0;      // messages that never reached their receiver
    std::uint64_t dead_letters = 0;  // written by this run
    std::uint64_t refused_by_limit = 0;
    std::size_t blocked_now = 0;  // on other threads
    std::size_t queued_now = 0;
    std::size_t kept_messages = 0;  // received, neither taken nor returned
    std::size_t waiter_threads = 0;
    std::size_t undo_groups = 0;
    std::size_t dead_letters_now = 0;
    bool exact_sleep_signs = false;  // false: see SleepSigns, the fallback is in use
  };

  // What earlier runs left in slots becomes dead letters. `users` is borrowed and outlives the executor.
  static Result<std::unique_ptr<Executor>> open(Options options, Users& users);
  // Cancels everything and waits for the threads. Undo lists are applied, kept messages become dead letters.
  ~Executor();

  // MessageSend, MessageReceive, SemaphoreOperate or Control (a GetCall is get_object()'s). `as` is the mapped login;
  // kAccess if this daemon can't act as it, kInvalid if a call with this key is under way or its message still kept.
  // `room`: of a receive whose message is converted for its receiver; it counts instead of max_bytes and no_error.
  void submit(CallKey key, Identity as, Caller caller, CallBody body, std::optional<ReceiveRoom> room = std::nullopt);
  // The caller doesn't wait any longer: the reply comes soon, kInterrupted or the result if that came first. A key that
  // is not under way is ignored.
  void cancel(const CallKey& key);
  // The message of this call is with its receiver.
  void taken(const CallKey& key);
  // The message of this call never got to its receiver: back into the queue, at its tail, or a dead letter.
  void returned(const CallKey& key);
  // The message of this call is nothing that its receiver could be given: a dead letter, since back in the queue it
  // would come again and again.
  void unfit(const CallKey& key, const std::string& why);
  // Its calls are cancelled and its undo group ends.
  void end_process(const std::string& host, const ProcessId& process);
  // A session with the host begins. Undo groups of an earlier `boot` of it end.
  void begin_session(const std::string& host, const std::string& boot);
  // The host's session is over: its calls are cancelled and not answered, kept messages become dead letters. Its undo
  // groups go on: end_groups() when the host is given up.
  void end_session(const std::string& host);

  // Undo groups end without a word of their processes, which may live on: each is told once, see was_undone().
  void end_groups(const std::string& host);
  // Processes of the host that have an undo group here.
  std::vector<ProcessId> undo_holders(const std::string& host) const;
  // Hosts of undo groups; at start those that an earlier daemon left to the keeper.
  std::set<std::string> undo_hosts() const;
  // Whether what this process did under SEM_UNDO was undone behind its back; it is not said twice, and what this call
  // asks for must then not be done. `holds_undo`: its host believes that it has a group here.
  bool was_undone(const std::string& host, const ProcessId& process, bool holds_undo);

  tl::expected<ObjectMade, Error> get_object(const Identity& as, const GetCall& call) const;

  // Readable when poll() has something to do.
  std::vector<int> wakeup_fds() const;
  // Something waits for a thread to be seen asleep: nothing but looking tells when.
  bool wants_polling() const { return !polled_.empty(); }
  void poll();
  std::vector<Finished> take_replies() { return std::exchange(replies_, {}); }

  // For local programs: who is meant where this kernel names the daemon in the status of an object now; 0 where it
  // names somebody else, or the daemon acted for nobody. Mind that the kernel may name one of the daemon's threads: a
  // queue's last receiver that had slept is known to it by the thread's id. `semaphore` is for sets.
  RecordedPids recorded_pids(Kind kind, std::int32_t id, std::int32_t semaphore) const;
  // The object is gone, as the daemon found out by itself: what was remembered of it is dropped.
  void forget_object(Kind kind, std::int32_t id);

  Counters counters() const;
  // Of the keeper; 0: undo groups are threads of this process.
  pid_t keeper_process() const { return options_.keeper ? undo_->process() : 0; }
  // Calls of `host` that could not be answered at once and still wait.
  std::size_t waiting_calls(const std::string& host) const;
  DeadLetters& dead_letters() { return dead_letters_; }
  // Appends a message to a queue as the daemon itself, without waiting: what msgsnd(2) says, an errno or 0.
  int put(std::int32_t queue, const Message& message);
  const Identity& own_identity() const { return own_; }

 private:
  struct Request {
    CallKey key;
    Identity as;
    Caller caller;
    CallBody body;
    TimePoint submitted;
    std::optional<ReceiveRoom> room;  // max_bytes is one of those in it
    bool orphan = false;              // its host is gone: no reply
  };
  struct ObjectKey {
    Kind kind{};
    std::int32_t id = 0;
    auto operator<=>(const ObjectKey&) const = default;
  };
  using ProcessKey = std::pair<std::string, ProcessId>;
  // A call that has not been answered at once.
  struct LiveCall {
    Request request;
    ObjectKey object;
    bool queued = false;  // in the object's queue; otherwise on another thread
    bool cancelled = false;
    std::uint64_t bytes = 0;  // of text that it keeps in memory
    std::shared_ptr<RunningCall> running;
    Slot* slot = nullptr;  // a receive
    std::optional<UndoGroupNumber> group;
  };
  // Kept while something waits on the object or holds it up.
  struct ObjectState {
    std::deque<CallToken> queue;
    std::set<CallToken> elsewhere;                              // on other threads
    std::set<CallToken> unsettled;                              // of those, neither seen asleep nor finished
    std::size_t cancelled = 0;                                  // of those, told to end
    std::vector<std::pair<std::uint16_t, std::int32_t>> woken;  // semaphore, pid: see order_pids()
    std::size_t groups_ending = 0;
    bool held() const { return !unsettled.empty() || cancelled > 0 || groups_ending > 0; }
    bool unused() const { return queue.empty() && elsewhere.empty() && !held(); }
  };
  // What a host makes this one keep.
  struct Load {
    std::size_t waiting = 0;  // calls
    std::size_t kept = 0;     // messages
    std::uint64_t bytes = 0;  // of both
    bool told = false;        // that it reached a limit has been logged since it had half of it
  };
  // The undo list of one process, as far as we can tell: the kernel shows it to nobody.
  struct UndoGroup {
    UndoHolder holder;
    std::map<std::int32_t, std::map<std::uint16_t, int>> adjustments;  // set -> semaphore -> what undoing adds
    std::set<std::int32_t> held;                                       // sets that wait for its end
  };

  Executor(Options options, Users& users, Identity own, std::unique_ptr<SleepSigns> signs, DeadLetters dead_letters);

  static ObjectKey object_of(const CallBody& body);

  // executor.cpp: order and bookkeeping
  void run(Request request);
  void advance(const ObjectKey& object);
  // Looks at what is unsettled. True: nothing holds the object up any more.
  bool look(ObjectState& state);
  void note_polled(const ObjectKey& object);
  void drop_if_unused(const ObjectKey& object);
  enum class Place : std::uint8_t { kFront, kBack };
  void enqueue(Request request, const ObjectKey& object, Place place);
  void add_live(CallToken token, LiveCall call);
  LiveCall remove_live(CallToken token);
  // Whether the call may wait here, and a message of it be kept. False: the host has too much of that, and the call has
  // been answered.
  bool admit(const Request& request);
  bool may_keep(const Request& request);
  void refuse(const Request& request, Load& load, const std::string& why);
  // Less is waiting or kept.
  void relieve(Load& load);
  void keep_message(const CallKey& key, Slot* slot);
  // The slot is the caller's again.
  Slot* release_message(std::map<CallKey, Slot*>::iterator kept);
  void cancel_live(CallToken token);
  std::vector<CallToken> calls_of(const std::string& host) const;
  void call_done(CallToken token, const Outcome& outcome);
  void order_pids(const LiveCall& call, ObjectState& state, bool had_slept);
  void reply(const Request& request, Reply reply);
  void reply_error(const Request& request, Error error);
  // Moves the call to another thread. False: it has been answered, as no thread can be had.
  bool hand_over(Request& request, NativeCall native, Slot* slot);
  // When a call with this time-out gives up.
  static TimePoint deadline_of(const Request& request, std::optional<Duration> timeout);
  void went_elsewhere(CallToken token, Request request, LiveCall call);
  CallToken next_token() { return CallToken{++last_token_}; }

  // executor_undo.cpp: undo groups
  bool hand_over_undo(Request& request, NativeOperate native);
  void note_undo(UndoGroup& group, const SemaphoreOperate& call);
  void forget_adjustments(std::int32_t set, std::optional<std::uint16_t> semaphore);
  void end_group(const ProcessKey& process);
  void adopt_groups();
  void lose_groups();
  void group_ended(UndoGroupNumber number);
  void let_go(const UndoGroup& group);

  // executor_calls.cpp: what each kind of call does
  void run_send(Request request);
  void run_receive(Request request, std::size_t room_bytes);
  void run_copy(const Request& request);
  // After E2BIG: the room with which to try again, since a message that needs it may be the next. Nothing: it is E2BIG.
  std::optional<std::uint64_t> wider_room(const Request& request) const;
  void run_operate(Request request);
  void run_control(Request request);
  Outcome attempt_as(const Identity& as, const NativeCall& call) const;
  void finish_send(const Request& request, const Outcome& outcome);
  // Takes the slot over. The message for a host that is gone becomes a dead letter.
  void finish_receive(Request request, Slot* slot, const Outcome& outcome, bool cancelled);
  void finish_operate(const Request& request, const Outcome& outcome);
  // Whether every call that sleeps on the object still does: one that doesn't may be the one that the kernel's answer
  // is about, while its pid is not yet recorded.
  bool pids_are_settled(const ObjectKey& object);
  bool names_us(std::int32_t pid) const;
  RecordedPids recorded_where_we_are_named(Kind kind, std::int32_t id, std::int32_t semaphore,
                                           RecordedPids shown) const;
  void put_callers_pids(const Control& call, Reply& reply) const;
  // Takes the slot over.
  void put_back(Slot* slot, const std::string& host);
  SlotLabel label_for(const Request& request, std::int32_t queue);
  // The slot is given back unless the letter can't be written.
  void make_dead_letter(Slot* slot, const std::string& reason);
  bool write_dead_letter(const FoundMessage& found, const std::string& reason);

  // In the order in which they need each other; threads end before what they use goes.
  const Options options_;
  Users& users_;
  const Identity own_;
  const std::int32_t own_pid_;
  const std::unique_ptr<SleepSigns> signs_;
  DeadLetters dead_letters_;
  std::unique_ptr<Slots> slots_;
  Completions completions_;
  Canceller canceller_;
  std::unique_ptr<WaiterPool> pool_;
  std::unique_ptr<UndoGroups> undo_;

  std::map<CallToken, LiveCall> live_;
  std::map<CallKey, CallToken> by_key_;  // those that will be answered
  std::map<ProcessKey, std::set<CallToken>> by_process_;
  std::map<std::string, Load> load_;  // by host; those that were let in once
  std::map<ObjectKey, ObjectState> objects_;
  std::set<ObjectKey> polled_;  // a queue behind an unsettled call
  std::map<ProcessKey, UndoGroupNumber> group_of_;
  std::map<UndoGroupNumber, UndoGroup> groups_;  // those that are ending too
  std::map<CallKey, Slot*> kept_;
  std::map<std::int32_t, SlotLabel> queue_facts_;  // key and owner of a queue; host and call are empty
  std::map<std::string, std::string> boot_of_;     // by host
  std::set<ProcessKey> undone_;                    // lost their groups and have not been told
  PidRecords pids_;
  std::vector<Finished> replies_;
  Counters counters_;
  unsigned fruitless_polls_ = 0;
  std::uint64_t last_token_ = 0;
  std::uint64_t last_group_ = 0;
};

}  // namespace dipc
