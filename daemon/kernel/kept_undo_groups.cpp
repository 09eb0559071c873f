#include "daemon/kernel/kept_undo_groups.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <thread>

#include "daemon/kernel/keeper_records.h"
#include "daemon/kernel/processes.h"
#include "wire/check.h"

namespace dipc {

namespace {
// It measures how its threads look when they sleep: 10 ms; seconds under an emulator on a loaded machine.
constexpr auto kWelcomeTimeMax = std::chrono::seconds(30);
constexpr int kTries = 3;
constexpr auto kRetryAfter = std::chrono::milliseconds(50);
constexpr int kEndMsMax = 1000;  // from the end of a keeper's connection to that of its process: a millisecond
}  // namespace

class KeptUndoGroups::Call : public RunningCall {
 public:
  Call(KeptUndoGroups& groups, CallToken token, int set) : groups_(groups), token_(token), set_(set) {}

  bool asleep() override {
    if (!watch_) groups_.receive();
    if (done_ || !watch_ || !watch_->asleep(SleepIn::kOperate, set_)) return false;
    groups_.receive();
    return !done_;
  }
  pid_t thread() override { return watch_ ? watch_->tid() : 0; }
  void cancel() override {
    if (done_ || cancelled_ || !groups_.socket_) return;
    cancelled_ = true;
    groups_.socket_->send(encode(keeper::Cancel{token_}));
  }

  void seen_asleep(pid_t thread) { watch_ = std::make_unique<SleepWatch>(groups_.signs_, groups_.process_, thread); }
  void done() { done_ = true; }

 private:
  KeptUndoGroups& groups_;
  const CallToken token_;
  const int set_;
  std::unique_ptr<SleepWatch> watch_;  // once it has been reported
  bool cancelled_ = false;
  bool done_ = false;
};

Result<std::unique_ptr<KeptUndoGroups>> KeptUndoGroups::open(keeper::Reached keeper, const Log& log, SleepSigns& signs,
                                                             Completions& completions) {
  for (int left = kTries;; --left) {
    std::unique_ptr<KeptUndoGroups> groups(new KeptUndoGroups(keeper, log, signs, completions));
    const auto greeted = groups->greet();
    if (greeted) return groups;
    if (groups->socket_ || left == 1) return tl::unexpected(greeted.error());
    // Perhaps one that had just nothing more to keep, and ended.
    std::this_thread::sleep_for(kRetryAfter);
    auto again = keeper::reach(keeper.options);
    if (!again) return tl::unexpected(again.error());
    keeper = std::move(*again);
  }
}

KeptUndoGroups::KeptUndoGroups(const keeper::Reached& keeper, Log log, SleepSigns& signs, Completions& completions)
    : options_(keeper.options),
      log_(std::move(log)),
      signs_(signs),
      completions_(completions),
      poll_fd_(::epoll_create1(EPOLL_CLOEXEC)) {
  DIPC_CHECK(poll_fd_ >= 0);
  adopt(keeper.connection);
}

KeptUndoGroups::~KeptUndoGroups() { ::close(poll_fd_); }

void KeptUndoGroups::adopt(int connection) {
  socket_ = std::make_unique<PacketSocket>(connection);
  epoll_event event{};
  event.events = EPOLLIN;
  DIPC_CHECK(::epoll_ctl(poll_fd_, EPOLL_CTL_ADD, connection, &event) == 0);
  welcomed_ = false;
  socket_->send(encode(keeper::Hello{}));
}

Result<void> KeptUndoGroups::greet() {
  const TimePoint give_up = std::chrono::steady_clock::now() + kWelcomeTimeMax;
  for (;;) {
    receive();
    if (!socket_) {
      return trouble("the keeper of undo lists at " + options_.socket.string() +
                         " closed the connection: it serves another dipcd, is of another version or can't run here",
                     "stop the other dipcd, or give this one its own [paths] run; a process named dipc-keeper that an "
                     "older version left can be ended, which undoes what it keeps");
    }
    if (welcomed_ && found_to_come_ == 0) return {};
    const auto left = (give_up - std::chrono::steady_clock::now()) / std::chrono::milliseconds(1);
    if (left <= 0) {
      return trouble("the keeper of undo lists at " + options_.socket.string() + " does not answer",
                     "let the process named dipc-keeper go on, or end it: that undoes what it keeps");
    }
    pollfd answer{poll_fd_, POLLIN, 0};
    ::poll(&answer, 1, static_cast<int>(left));
  }
}

std::shared_ptr<RunningCall> KeptUndoGroups::start(UndoGroupNumber group, const UndoHolder& holder,
                                                   UndoOperation operation) {
  receive();
  if (lost_) return nullptr;
  if (!socket_) {
    if (dead_ > 0) await_end();
    const auto keeper = keeper::reach(options_);
    if (!keeper) {
      log_(keeper.error().what);
      return nullptr;
    }
    adopt(keeper->connection);
  }
  const CallToken token = operation.token;
  auto call = std::make_shared<Call>(*this, token, operation.operate.set);
  if (!socket_->send(encode(keeper::Start{group, holder, std::move(operation)}))) return nullptr;
  calls_.emplace(token, call);
  return call;
}

void KeptUndoGroups::end(UndoGroupNumber group) {
  if (socket_) socket_->send(encode(keeper::End{group}));  // else it ends with all the others: take_lost()
}

void KeptUndoGroups::receive() {
  if (!socket_) return;
  socket_->flush();
  while (const auto packet = socket_->receive()) {
    if (!take_packet(*packet)) return on_keeper_lost();
  }
  if (socket_->closed()) on_keeper_lost();
}

// False: nothing that our keeper would say.
bool KeptUndoGroups::take_packet(const Bytes& packet) {
  const auto record = keeper::decode(packet);
  if (!record) return false;
  if (const auto* welcome = std::get_if<keeper::Welcome>(&*record)) {
    welcomed_ = true;
    process_ = welcome->process;
    pidfd_ = Descriptor(open_process(process_));
    last_group_ = welcome->last_group;
    found_to_come_ = welcome->groups;
    return welcome->version == keeper::kVersion;
  }
  if (const auto* found = std::get_if<keeper::Found>(&*record)) {
    if (found_to_come_ > 0) --found_to_come_;
    found_.push_back({found->group, found->holder, found->sets});
  } else if (const auto* asleep = std::get_if<keeper::Asleep>(&*record)) {
    const auto call = calls_.find(asleep->token);
    if (call != calls_.end()) call->second->seen_asleep(asleep->thread);
  } else if (const auto* done = std::get_if<keeper::Done>(&*record)) {
    const auto call = calls_.extract(done->token);
    if (call.empty()) return true;
    call.mapped()->done();
    completions_.push(Completions::CallDone{done->token, done->outcome});
  } else if (const auto* ended = std::get_if<keeper::Ended>(&*record)) {
    completions_.push(Completions::GroupEnded{ended->group});
  }
  return true;
}

// The listener of a process that ends is closed after its connections: who connects in between has got nowhere.
void KeptUndoGroups::await_end() {
  pollfd ended{pidfd_.get(), POLLIN, 0};
  if (pidfd_) ::poll(&ended, 1, kEndMsMax);
  ::waitpid(std::exchange(dead_, 0), nullptr, WNOHANG);  // ours, unless an earlier daemon started it
}

void KeptUndoGroups::on_keeper_lost() {
  socket_.reset();
  dead_ = std::exchange(process_, 0);
  if (welcomed_) {
    log_("the keeper of undo lists has died: what semaphores held under SEM_UNDO for other hosts is undone");
  }
  for (const auto& [token, call] : calls_) {
    call->done();
    completions_.push(Completions::CallDone{token, {-1, ECONNRESET}});
  }
  calls_.clear();
  lost_ = true;
}

}  // namespace dipc
