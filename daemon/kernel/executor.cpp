#include "daemon/kernel/executor.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "daemon/kernel/kept_undo_groups.h"
#include "wire/check.h"

namespace dipc {

Result<std::unique_ptr<Executor>> Executor::open(Options options, Users& users) {
  if (!options.log) options.log = [](const std::string&) {};
  set_up_wake_signal();
  Result<std::unique_ptr<SleepSigns>> signs = SleepSigns::measure(options.sleep_signs);
  if (!signs) return tl::unexpected<Trouble>(signs.error());
  if (!(*signs)->exact()) {
    options.log("the kernel does not show in which system call a thread sleeps: whether it sleeps has to do");
  }
  Result<DeadLetters> letters = DeadLetters::open(options.dead_letter_dir, options.dead_letters_max, options.log);
  if (!letters) return tl::unexpected<Trouble>(letters.error());
  std::unique_ptr<Executor> executor(
      new Executor(std::move(options), users, thread_identity(), std::move(*signs), std::move(*letters)));
  Executor& self = *executor;
  const auto found = [&self](const FoundMessage& message) {
    return self.write_dead_letter(message, "the daemon died before the message was with its receiver");
  };
  Result<std::unique_ptr<Slots>> slots = Slots::open(self.options_.slot_dir, found, self.options_.log);
  if (!slots) return tl::unexpected<Trouble>(slots.error());
  self.slots_ = std::move(*slots);
  if (const auto& keeper = self.options_.keeper) {
    auto kept = KeptUndoGroups::open(*keeper, self.options_.log, *self.signs_, self.completions_);
    if (!kept) return tl::unexpected<Trouble>(kept.error());
    self.undo_ = std::move(*kept);
    self.adopt_groups();
  }
  return executor;
}

Executor::Executor(Options options, Users& users, Identity own, std::unique_ptr<SleepSigns> signs,
                   DeadLetters dead_letters)
    : options_(std::move(options)),
      users_(users),
      own_(std::move(own)),
      own_pid_(getpid()),
      signs_(std::move(signs)),
      dead_letters_(std::move(dead_letters)),
      pool_(std::make_unique<WaiterPool>(*signs_, completions_,
                                         WaiterPool::Options{options_.threads_max, options_.idle_thread_time})),
      undo_(std::make_unique<ThreadUndoGroups>(own_, *signs_, completions_, canceller_)) {}

Executor::~Executor() {
  for (auto& [token, call] : live_) {
    if (call.running) call.running->cancel();
  }
  undo_.reset();
  pool_.reset();
  for (const Completions::Item& item : completions_.take()) {
    const auto* const done = std::get_if<Completions::CallDone>(&item);
    if (done == nullptr || done->outcome.error != 0) continue;
    Slot* const slot = live_.at(done->token).slot;
    if (slot == nullptr) continue;
    slot->received(static_cast<std::size_t>(done->outcome.value));
    make_dead_letter(slot, "the daemon was stopped before the message was with its receiver");
  }
  for (const auto& [key, slot] : kept_) {
    make_dead_letter(slot, "the daemon was stopped before it knew whether the message was with its receiver");
  }
}

Executor::ObjectKey Executor::object_of(const CallBody& body) {
  if (const auto* operate = std::get_if<SemaphoreOperate>(&body)) return {Kind::kSemaphoreSet, operate->object.id};
  if (const auto* send = std::get_if<MessageSend>(&body)) return {Kind::kMessageQueue, send->object.id};
  if (const auto* receive = std::get_if<MessageReceive>(&body)) return {Kind::kMessageQueue, receive->object.id};
  const auto* control = std::get_if<Control>(&body);
  DIPC_CHECK(control != nullptr);  // a GetCall is for get_object()
  return {control->object.kind, control->object.id};
}

// ---- in

void Executor::submit(CallKey key, Identity as, Caller caller, CallBody body, std::optional<ReceiveRoom> room) {
  ++counters_.calls;
  const ObjectKey object = object_of(body);
  Request request{std::move(key), std::move(as), std::move(caller), std::move(body), std::chrono::steady_clock::now()};
  if (room) {
    auto& receive = std::get<MessageReceive>(request.body);
    receive.max_bytes = room->least();
    receive.no_error = false;
    request.room = std::move(room);
  }
  if (by_key_.contains(request.key) || kept_.contains(request.key)) return reply_error(request, Error::kInvalid);
  if (!may_act_as(own_, request.as)) return reply_error(request, Error::kAccess);
  const auto found = objects_.find(object);
  if (found != objects_.end()) {
    // Usually whoever was on its way when the last call came is asleep by now.
    advance(object);
    const auto still = objects_.find(object);
    if (still != objects_.end() && (!still->second.queue.empty() || !look(still->second))) {
      if (!admit(request)) return;
      ++counters_.queued_behind;
      return enqueue(std::move(request), object, Place::kBack);
    }
  }
  run(std::move(request));
}

void Executor::cancel(const CallKey& key) {
  const auto found = by_key_.find(key);
  if (found != by_key_.end()) cancel_live(found->second);
}

void Executor::taken(const CallKey& key) {
  const auto found = kept_.find(key);
  if (found == kept_.end()) return;
  slots_->give_back(release_message(found));
}

void Executor::end_process(const std::string& host, const ProcessId& process) {
  const ProcessKey key{host, process};
  const auto calls = by_process_.find(key);
  if (calls != by_process_.end()) {
    for (const CallToken token : std::set<CallToken>(calls->second)) cancel_live(token);
  }
  undone_.erase(key);
  end_group(key);
}

void Executor::end_session(const std::string& host) {
  for (const CallToken token : calls_of(host)) {
    Request& request = live_.at(token).request;
    if (!request.orphan) by_key_.erase(request.key);
    request.orphan = true;
    cancel_live(token);
  }
  std::erase_if(replies_, [&](const Finished& finished) { return finished.key.host == host; });
  const auto of_host = [&](const auto& entry) { return entry.first.host == host; };
  for (auto kept = kept_.lower_bound(CallKey{host, CallId{0}}); kept != kept_.end() && of_host(*kept);) {
    Slot* const slot = release_message(kept++);
    make_dead_letter(slot, "the session with " + host + " ended before it said that the message had arrived");
  }
}

std::vector<int> Executor::wakeup_fds() const {
  std::vector<int> fds{completions_.fd()};
  if (undo_->fd() >= 0) fds.push_back(undo_->fd());
  return fds;
}

tl::expected<ObjectMade, Error> Executor::get_object(const Identity& as, const GetCall& call) const {
  return dipc::get_object(own_, as, call);
}

void Executor::poll() {
  undo_->receive();
  for (const Completions::Item& item : completions_.take()) {
    if (const auto* const done = std::get_if<Completions::CallDone>(&item)) call_done(done->token, done->outcome);
    if (const auto* const ended = std::get_if<Completions::GroupEnded>(&item)) group_ended(ended->group);
  }
  if (undo_->take_lost()) lose_groups();
  if (polled_.empty()) return;
  const std::set<ObjectKey> polled = polled_;
  for (const ObjectKey& object : polled) advance(object);
  // The thread that we wait for is usually there within a few looks; but on one processor it can't get there as long as
  // we look.
  constexpr unsigned kLooksBeforeYield = 8;
  if (polled_.empty()) fruitless_polls_ = 0;
  if (!polled_.empty() && ++fruitless_polls_ % kLooksBeforeYield == 0) sched_yield();
}

void Executor::forget_object(Kind kind, std::int32_t id) {
  pids_.forget(kind, id);
  if (kind == Kind::kMessageQueue) queue_facts_.erase(id);
  if (kind == Kind::kSemaphoreSet) forget_adjustments(id, std::nullopt);
}

Executor::Counters Executor::counters() const {
  Counters counters = counters_;
  for (const auto& [object, state] : objects_) {
    counters.blocked_now += state.elsewhere.size();
    counters.queued_now += state.queue.size();
  }
  counters.kept_messages = kept_.size();
  counters.waiter_threads = pool_->thread_count();
  counters.undo_groups = groups_.size();
  counters.dead_letters_now = dead_letters_.count();
  counters.exact_sleep_signs = signs_->exact();
  return counters;
}

std::size_t Executor::waiting_calls(const std::string& host) const {
  const auto found = load_.find(host);
  return found == load_.end() ? 0 : found->second.waiting;
}

// ---- order

void Executor::run(Request request) {
  if (std::holds_alternative<MessageSend>(request.body)) return run_send(std::move(request));
  if (std::holds_alternative<MessageReceive>(request.body)) return run_receive(std::move(request), 0);
  if (std::holds_alternative<SemaphoreOperate>(request.body)) return run_operate(std::move(request));
  run_control(std::move(request));
}

bool Executor::look(ObjectState& state) {
  std::erase_if(state.unsettled, [&](CallToken token) { return live_.at(token).running->asleep(); });
  if (state.unsettled.empty()) state.woken.clear();  // whoever sleeps has woken nobody
  return !state.held();
}

void Executor::advance(const ObjectKey& object) {
  for (;;) {
    const auto found = objects_.find(object);
    if (found == objects_.end() || found->second.queue.empty() || !look(found->second)) break;
    const CallToken next = found->second.queue.front();
    found->second.queue.pop_front();
    run(std::move(remove_live(next).request));
  }
  note_polled(object);
  drop_if_unused(object);
}

void Executor::note_polled(const ObjectKey& object) {
  const auto found = objects_.find(object);
  if (found != objects_.end() && !found->second.queue.empty() && !found->second.unsettled.empty()) {
    polled_.insert(object);
  } else {
    polled_.erase(object);
  }
}

void Executor::drop_if_unused(const ObjectKey& object) {
  const auto found = objects_.find(object);
  if (found != objects_.end() && found->second.unused()) objects_.erase(found);
}

void Executor::enqueue(Request request, const ObjectKey& object, Place place) {
  const CallToken token = next_token();
  std::deque<CallToken>& queue = objects_[object].queue;
  queue.insert(place == Place::kFront ? queue.begin() : queue.end(), token);
  LiveCall call;
  if (const auto* send = std::get_if<MessageSend>(&request.body)) call.bytes = send->text.size();
  call.request = std::move(request);
  call.object = object;
  call.queued = true;
  add_live(token, std::move(call));
  note_polled(object);
}

void Executor::add_live(CallToken token, LiveCall call) {
  const Request& request = call.request;
  if (!request.orphan) by_key_[request.key] = token;
  by_process_[{request.key.host, request.caller.process}].insert(token);
  Load& load = load_[request.key.host];
  ++load.waiting;
  load.bytes += call.bytes;
  live_.emplace(token, std::move(call));
}

Executor::LiveCall Executor::remove_live(CallToken token) {
  auto node = live_.extract(token);
  DIPC_CHECK(!node.empty());
  LiveCall call = std::move(node.mapped());
  const Request& request = call.request;
  if (!request.orphan) by_key_.erase(request.key);
  const auto process = by_process_.find({request.key.host, request.caller.process});
  process->second.erase(token);
  if (process->second.empty()) by_process_.erase(process);
  Load& load = load_.at(request.key.host);
  --load.waiting;
  load.bytes -= call.bytes;
  relieve(load);
  return call;
}

// ---- how much a host makes us keep

bool Executor::admit(const Request& request) {
  Load& load = load_[request.key.host];
  const auto* send = std::get_if<MessageSend>(&request.body);
  if (load.waiting >= options_.blocked_calls_per_peer) {
    refuse(request, load, std::to_string(load.waiting) + " calls waiting here (limits.blocked_calls_per_peer)");
    return false;
  }
  if (load.bytes + (send == nullptr ? 0 : send->text.size()) > options_.bytes_per_peer) {
    refuse(request, load, std::to_string(load.bytes) + " bytes of messages waiting here (limits.bytes_per_peer)");
    return false;
  }
  return true;
}

bool Executor::may_keep(const Request& request) {
  Load& load = load_[request.key.host];
  if (load.kept >= options_.blocked_calls_per_peer) {
    refuse(request, load,
           std::to_string(load.kept) + " messages here that it does not take (limits.blocked_calls_per_peer)");
    return false;
  }
  if (load.bytes > options_.bytes_per_peer) {
    refuse(request, load, std::to_string(load.bytes) + " bytes of messages waiting here (limits.bytes_per_peer)");
    return false;
  }
  return true;
}

void Executor::refuse(const Request& request, Load& load, const std::string& why) {
  ++counters_.refused_by_limit;
  if (!std::exchange(load.told, true)) options_.log(request.key.host + " has " + why + "; more get ENOMEM");
  reply_error(request, Error::kNoMemory);
}

void Executor::relieve(Load& load) {
  // At half of the limit, not just below it: a call that leaves the queue comes back to wait in a thread.
  if (std::max(load.waiting, load.kept) <= options_.blocked_calls_per_peer / 2 &&
      load.bytes <= options_.bytes_per_peer / 2) {
    load.told = false;
  }
}

void Executor::keep_message(const CallKey& key, Slot* slot) {
  kept_.emplace(key, slot);
  Load& load = load_[key.host];
  ++load.kept;
  load.bytes += slot->text_bytes();
}

Slot* Executor::release_message(std::map<CallKey, Slot*>::iterator kept) {
  Slot* const slot = kept->second;
  Load& load = load_.at(kept->first.host);
  --load.kept;
  load.bytes -= slot->text_bytes();
  relieve(load);
  kept_.erase(kept);
  return slot;
}

TimePoint Executor::deadline_of(const Request& request, std::optional<Duration> timeout) {
  return timeout && *timeout < kNever - request.submitted ? request.submitted + *timeout : kNever;
}

bool Executor::hand_over(Request& request, NativeCall native, Slot* slot) {
  if (!admit(request)) return false;
  const auto* operate = std::get_if<NativeOperate>(&native);
  const TimePoint deadline = operate != nullptr ? deadline_of(request, operate->timeout) : kNever;
  const CallToken token = next_token();
  auto running = std::make_shared<BlockingCall>(token, own_, request.as, std::move(native), deadline, canceller_);
  if (!pool_->start(running)) {
    options_.log("no thread can be had for a call of " + request.key.host + " that has to wait: it gets ENOMEM");
    reply_error(request, Error::kNoMemory);
    return false;
  }
  LiveCall call;
  if (auto* send = std::get_if<MessageSend>(&request.body)) {
    call.bytes = send->text.size();
    Bytes().swap(send->text);  // the native call has its own
  }
  call.running = std::move(running);
  call.slot = slot;
  went_elsewhere(token, std::move(request), std::move(call));
  return true;
}

void Executor::went_elsewhere(CallToken token, Request request, LiveCall call) {
  ++counters_.handed_over;
  const ObjectKey object = object_of(request.body);
  call.request = std::move(request);
  call.object = object;
  add_live(token, std::move(call));
  ObjectState& state = objects_[object];
  state.elsewhere.insert(token);
  state.unsettled.insert(token);
}

void Executor::call_done(CallToken token, const Outcome& outcome) {
  LiveCall call = remove_live(token);
  ObjectState& state = objects_.at(call.object);
  state.elsewhere.erase(token);
  const bool had_slept = state.unsettled.erase(token) == 0;
  if (call.cancelled) --state.cancelled;
  if (std::holds_alternative<MessageSend>(call.request.body)) {
    finish_send(call.request, outcome);
  } else if (std::holds_alternative<MessageReceive>(call.request.body)) {
    finish_receive(std::move(call.request), call.slot, outcome, call.cancelled);
  } else {
    const auto group = call.group ? groups_.find(*call.group) : groups_.end();
    if (outcome.error == 0 && group != groups_.end()) {
      note_undo(group->second, std::get<SemaphoreOperate>(call.request.body));
    }
    finish_operate(call.request, outcome);
    if (outcome.error == 0) order_pids(call, state, had_slept);
  }
  advance(call.object);
}

// A call that another one wakes has its turn in the kernel after that one, but may report first when both are on
// threads. So what it did is recorded again behind those that are still under way and never slept (ipc/sem.c,
// do_smart_update()).
void Executor::order_pids(const LiveCall& call, ObjectState& state, bool had_slept) {
  const std::int32_t set = call.object.id;
  if (had_slept && !state.unsettled.empty()) {
    for (const SemaphoreOp& op : std::get<SemaphoreOperate>(call.request.body).ops) {
      state.woken.emplace_back(op.number, call.request.caller.process.pid);
    }
  } else if (!had_slept) {
    for (const auto& [semaphore, pid] : state.woken) pids_.operated(set, semaphore, pid);
  }
  if (state.unsettled.empty()) state.woken.clear();
}

void Executor::cancel_live(CallToken token) {
  LiveCall& call = live_.at(token);
  const ObjectKey object = call.object;
  ObjectState& state = objects_.at(object);
  if (call.queued) {
    ++counters_.cancelled;
    std::erase(state.queue, token);
    reply_error(remove_live(token).request, Error::kInterrupted);
    note_polled(object);
    drop_if_unused(object);
  } else if (!call.cancelled) {
    ++counters_.cancelled;
    call.cancelled = true;
    ++state.cancelled;
    state.unsettled.erase(token);  // its end is waited for, not its sleep
    if (state.unsettled.empty()) state.woken.clear();
    call.running->cancel();
    note_polled(object);
  }
}

std::vector<CallToken> Executor::calls_of(const std::string& host) const {
  std::vector<CallToken> tokens;
  for (auto process = by_process_.lower_bound({host, ProcessId{INT32_MIN, 0}});
       process != by_process_.end() && process->first.first == host; ++process) {
    tokens.insert(tokens.end(), process->second.begin(), process->second.end());
  }
  return tokens;
}

void Executor::reply(const Request& request, Reply reply) {
  if (request.orphan) return;
  reply.id = request.key.call;
  replies_.push_back(Finished{request.key, std::move(reply)});
}

void Executor::reply_error(const Request& request, Error error) {
  Reply answer;
  answer.error = error;
  answer.value = -1;
  reply(request, std::move(answer));
}

}  // namespace dipc
