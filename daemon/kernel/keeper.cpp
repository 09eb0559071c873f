#include "daemon/kernel/keeper.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <memory>

#include "daemon/kernel/keeper_records.h"
#include "daemon/kernel/packet_socket.h"
#include "daemon/kernel/undo_groups.h"

namespace dipc::keeper {

namespace {

class Keeper {
 public:
  Keeper(int listener, Duration alone_max, std::unique_ptr<SleepSigns> signs)
      : listener_(listener), alone_max_(alone_max), signs_(std::move(signs)) {}

  // Until nobody needs it any more.
  void run() {
    while (!ends_) {
      pollfd watched[] = {{listener_, POLLIN, 0},
                          {completions_.fd(), POLLIN, 0},
                          {daemon_ ? daemon_->fd() : -1,
                           static_cast<short>(POLLIN | (daemon_ && daemon_->has_unsent() ? POLLOUT : 0)), 0}};
      ::poll(watched, 3, wait_ms());
      if (watched[2].revents != 0) talk();  // before another daemon: this one may have gone
      if (watched[0].revents != 0) accept_daemon();
      if (watched[1].revents != 0) finish();
      look();
      if (!daemon_ && alone_until_ <= std::chrono::steady_clock::now()) end_all();
    }
  }

 private:
  struct Group {
    UndoHolder holder;
    std::set<std::int32_t> sets;
    bool ending = false;
  };
  struct Call {
    CallToken daemons{};  // its number of the call
    std::shared_ptr<RunningCall> running;
  };

  int wait_ms() const {
    if (!awake_.empty()) return 0;
    if (daemon_ || alone_until_ == kNever) return -1;
    const Duration left = alone_until_ - std::chrono::steady_clock::now();
    return static_cast<int>(std::max<std::int64_t>(0, left / std::chrono::milliseconds(1) + 1));
  }

  // One daemon at a time: a second one started by mistake must not cut the first one off.
  void accept_daemon() {
    const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) return;
    ucred who{};
    socklen_t bytes = sizeof who;
    if (daemon_ || ::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &bytes) != 0 || who.uid != ::geteuid()) {
      ::close(fd);
      return;
    }
    ends_ = false;
    daemon_ = std::make_unique<PacketSocket>(fd);
  }

  void lose_daemon() {
    daemon_.reset();
    awake_.clear();
    for (auto& [token, call] : calls_) call.running->cancel();
    // What they say now is for nobody: the next daemon numbers its calls anew.
    calls_.clear();
    by_daemons_.clear();
    if (groups_.empty()) {
      ends_ = true;
    } else {
      alone_until_ = std::chrono::steady_clock::now() + alone_max_;
    }
  }

  void talk() {
    daemon_->flush();
    for (;;) {
      const auto packet = daemon_->receive();
      if (!packet) break;
      const auto record = decode(*packet);
      if (!record) return lose_daemon();
      std::visit([this](const auto& one) { take(one); }, *record);
    }
    if (daemon_->closed()) lose_daemon();
  }

  template <typename T>
  void take(const T&) {}  // what only a keeper says

  void take(const Hello&) {
    alone_until_ = kNever;
    Welcome welcome;
    welcome.process = ::getpid();
    welcome.last_group = last_group_;
    for (const auto& [number, group] : groups_) welcome.groups += group.ending ? 0 : 1;
    daemon_->send(encode(welcome));
    for (const auto& [number, group] : groups_) {
      if (!group.ending) daemon_->send(encode(Found{number, group.holder, group.sets}));
    }
  }

  void take(const Start& start) {
    const CallToken token{++last_token_};
    UndoOperation operation = start.operation;
    operation.token = token;
    std::shared_ptr<RunningCall> running = undo_.start(start.group, start.holder, std::move(operation));
    if (!running) {
      daemon_->send(encode(Done{start.operation.token, {-1, ENOMEM}}));
      return;
    }
    last_group_ = std::max(last_group_, start.group);
    Group& group = groups_[start.group];
    group.holder = start.holder;
    group.sets.insert(start.operation.operate.set);
    calls_.emplace(token, Call{start.operation.token, std::move(running)});
    by_daemons_[start.operation.token] = token;
    awake_.insert(token);
  }

  void take(const Cancel& cancel) {
    const auto found = by_daemons_.find(cancel.token);
    if (found == by_daemons_.end()) return;
    calls_.at(found->second).running->cancel();
    awake_.erase(found->second);
  }

  void take(const End& end) {
    const auto found = groups_.find(end.group);
    if (found == groups_.end()) {
      daemon_->send(encode(Ended{end.group}));
      return;
    }
    found->second.ending = true;
    undo_.end(end.group);
  }

  void finish() {
    for (const Completions::Item& item : completions_.take()) {
      if (const auto* const done = std::get_if<Completions::CallDone>(&item)) {
        awake_.erase(done->token);
        auto call = calls_.extract(done->token);
        if (call.empty()) continue;
        by_daemons_.erase(call.mapped().daemons);
        daemon_->send(encode(Done{call.mapped().daemons, done->outcome}));
      } else if (const auto* const ended = std::get_if<Completions::GroupEnded>(&item)) {
        groups_.erase(ended->group);
        if (daemon_) daemon_->send(encode(Ended{ended->group}));
      }
    }
    if (groups_.empty() && !daemon_) ends_ = true;
  }

  void look() {
    const std::size_t before = awake_.size();
    std::erase_if(awake_, [this](CallToken token) {
      const Call& call = calls_.at(token);
      if (!call.running->asleep()) return false;
      daemon_->send(encode(Asleep{call.daemons, call.running->thread()}));
      return true;
    });
    // On one processor the thread can't get into its call as long as we look.
    if (!awake_.empty() && awake_.size() == before) ::sched_yield();
  }

  void end_all() {
    alone_until_ = kNever;
    ends_ = groups_.empty();
    for (auto& [number, group] : groups_) {
      if (!group.ending) undo_.end(number);
      group.ending = true;
    }
  }

  const int listener_;
  const Duration alone_max_;
  const std::unique_ptr<SleepSigns> signs_;
  const Identity own_ = thread_identity();
  Completions completions_;
  Canceller canceller_;
  ThreadUndoGroups undo_{own_, *signs_, completions_, canceller_};
  std::unique_ptr<PacketSocket> daemon_;
  TimePoint alone_until_ = std::chrono::steady_clock::now() + alone_max_;  // without a daemon; kNever: there is one
  bool ends_ = false;
  std::map<UndoGroupNumber, Group> groups_;
  std::map<CallToken, Call> calls_;  // by a number of ours, for the daemon that is there
  std::map<CallToken, CallToken> by_daemons_;
  std::set<CallToken> awake_;  // of those, not yet seen asleep
  std::uint64_t last_token_ = 0;
  UndoGroupNumber last_group_{};
};

// In the child: nothing of the daemon stays but the memory.
[[noreturn]] void become_keeper(int listener, Duration alone_max) {
  for (int number = 1; number < NSIG; ++number) ::signal(number, SIG_DFL);
  ::signal(SIGPIPE, SIG_IGN);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::setsid();
  // Above the standard streams, which the daemon may have been started without.
  constexpr int kListener = STDERR_FILENO + 1;
  listener = ::fcntl(listener, F_DUPFD, kListener + 1);
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  for (const int standard : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) ::dup2(null, standard);
  ::dup2(listener, kListener);
  ::fcntl(kListener, F_SETFD, FD_CLOEXEC);
  if (::syscall(SYS_close_range, kListener + 1, ~0U, 0) != 0) {  // Linux 5.9
    for (long fd = ::sysconf(_SC_OPEN_MAX); fd > kListener; --fd) ::close(static_cast<int>(fd));
  }
  ::prctl(PR_SET_NAME, "dipc-keeper");
  [[maybe_unused]] const int moved = ::chdir("/");
  set_up_wake_signal();
  auto signs = SleepSigns::measure();
  if (!signs) ::_exit(1);
  Keeper(kListener, alone_max, std::move(*signs)).run();
  ::_exit(0);
}

sockaddr_un address_of(const std::filesystem::path& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.string().copy(address.sun_path, sizeof(address.sun_path) - 1);
  return address;
}

Trouble socket_trouble(const std::filesystem::path& path, int error) {
  return Trouble{"the keeper's socket " + path.string() + ": " + std::strerror(error),
                 "see that the folder exists and can be written, and that a dipc-keeper left there is not stopped"};
}

// A descriptor, or minus errno.
int connect_to(const std::filesystem::path& path) {
  const int fd = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const sockaddr_un address = address_of(path);
  if (fd < 0 || ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    const int error = errno;
    if (fd >= 0) ::close(fd);
    return -error;
  }
  return fd;
}

Result<void> start(const Options& options) {
  if (options.socket.string().size() >= sizeof(sockaddr_un::sun_path)) {
    return trouble(options.socket.string() + ": too long for a unix socket", "choose a shorter [paths] run");
  }
  ::unlink(options.socket.c_str());
  const sockaddr_un address = address_of(options.socket);
  const int listener = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const mode_t mask = ::umask(0177);
  const bool bound =
      listener >= 0 && ::bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  ::umask(mask);
  if (!bound || ::listen(listener, 4) != 0) {
    const int error = errno;
    if (listener >= 0) ::close(listener);
    return tl::unexpected(socket_trouble(options.socket, error));
  }
  const pid_t child = ::fork();
  if (child == 0) become_keeper(listener, options.alone_max);
  const int error = errno;
  ::close(listener);
  if (child < 0) return trouble(std::string("the keeper can't be started: ") + std::strerror(error), "");
  return {};
}

}  // namespace

Result<Reached> reach(const Options& options) {
  int connection = connect_to(options.socket);
  if (connection == -ENOENT || connection == -ECONNREFUSED) {
    if (auto started = start(options); !started) return tl::unexpected(started.error());
    connection = connect_to(options.socket);
  }
  if (connection < 0) return tl::unexpected(socket_trouble(options.socket, -connection));
  return Reached{options, connection};
}

}  // namespace dipc::keeper
