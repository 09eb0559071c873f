#pragma once

// Things that tests of daemon/kernel need and that clean up after themselves: directories, objects of this kernel, and
// an executor with a loop around it. Every wait ends with a failure after kPatience.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/kernel/executor.h"

namespace dipc::test {

inline constexpr auto kPatience = std::chrono::seconds(60);

// An IPC namespace of its own for the whole test program: other programs' objects and limits are out of the way, and
// what a crashed test leaves goes with it. Done before main(), while there is one thread.
inline const bool kOwnNamespace = unshare(CLONE_NEWIPC) == 0;

// Whether an emulator makes the system calls: a thread that reads what call it is in finds another number than its own.
inline bool under_emulator() {
  const int fd = open("/proc/thread-self/syscall", O_RDONLY | O_CLOEXEC);
  char text[64] = {};
  const long got = fd < 0 ? -1 : syscall(SYS_read, fd, text, sizeof text - 1);
  if (fd >= 0) close(fd);
  return got > 0 && std::strtol(text, nullptr, 10) != SYS_read;
}

class Deadline {
 public:
  explicit Deadline(std::chrono::milliseconds patience = kPatience)
      : end_(std::chrono::steady_clock::now() + patience) {}
  bool over() const { return std::chrono::steady_clock::now() > end_; }

 private:
  std::chrono::steady_clock::time_point end_;
};

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    // In memory, as /run is: reserving slots on a disk takes milliseconds.
    const std::filesystem::path memory = "/dev/shm";
    const auto parent = access(memory.c_str(), W_OK) == 0 ? memory : std::filesystem::temp_directory_path();
    std::string pattern = (parent / "dipc-kernel-test-XXXXXX").string();
    path_ = mkdtemp(pattern.data());
  }
  ~TemporaryDirectory() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// A queue of its own; removed at the end if it still is there.
class Queue {
 public:
  explicit Queue(int mode = 0600) : id_(msgget(IPC_PRIVATE, IPC_CREAT | mode)) { EXPECT_GE(id_, 0); }
  ~Queue() { msgctl(id_, IPC_RMID, nullptr); }
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;
  int id() const { return id_; }
  ObjectRef ref() const { return {Kind::kMessageQueue, id_, 1}; }

  bool send(long type, const std::string& text) const {
    std::vector<char> message(sizeof type + text.size());
    std::memcpy(message.data(), &type, sizeof type);
    std::memcpy(message.data() + sizeof type, text.data(), text.size());
    return msgsnd(id_, message.data(), text.size(), IPC_NOWAIT) == 0;
  }
  // "TYPE:TEXT", or "errno N".
  std::string receive(long type = 0) const {
    std::vector<char> message(sizeof(long) + 65536);
    const ssize_t got = msgrcv(id_, message.data(), message.size() - sizeof(long), type, IPC_NOWAIT);
    if (got < 0) return "errno " + std::to_string(errno);
    long received = 0;
    std::memcpy(&received, message.data(), sizeof received);
    return std::to_string(received) + ":" + std::string(message.data() + sizeof(long), static_cast<std::size_t>(got));
  }
  msqid_ds stat() const {
    msqid_ds status{};
    EXPECT_EQ(msgctl(id_, IPC_STAT, &status), 0);
    return status;
  }
  void limit_bytes(std::size_t bytes) const {
    msqid_ds status = stat();
    status.msg_qbytes = bytes;
    EXPECT_EQ(msgctl(id_, IPC_SET, &status), 0);
  }
  void give_to(uid_t uid, gid_t gid, unsigned mode) const {
    msqid_ds status = stat();
    status.msg_perm.uid = uid;
    status.msg_perm.gid = gid;
    status.msg_perm.mode = static_cast<decltype(status.msg_perm.mode)>(mode);
    EXPECT_EQ(msgctl(id_, IPC_SET, &status), 0);
  }

 private:
  int id_;
};

class SemaphoreSet {
 public:
  explicit SemaphoreSet(int count = 1, int mode = 0600) : id_(semget(IPC_PRIVATE, count, IPC_CREAT | mode)) {
    EXPECT_GE(id_, 0);
  }
  ~SemaphoreSet() { semctl(id_, 0, IPC_RMID); }
  SemaphoreSet(const SemaphoreSet&) = delete;
  SemaphoreSet& operator=(const SemaphoreSet&) = delete;
  int id() const { return id_; }
  ObjectRef ref() const { return {Kind::kSemaphoreSet, id_, 1}; }
  int value(int number = 0) const { return semctl(id_, number, GETVAL); }
  int waiting(int number = 0) const { return semctl(id_, number, GETNCNT); }
  void set(int value, int number = 0) const { EXPECT_EQ(semctl(id_, number, SETVAL, value), 0); }
  bool add(int delta, int number = 0) const {
    sembuf op{static_cast<unsigned short>(number), static_cast<short>(delta), IPC_NOWAIT};
    return semop(id_, &op, 1) == 0;
  }

 private:
  int id_;
};

inline Bytes bytes_of(const std::string& text) {
  Bytes bytes(text.size());
  if (!text.empty()) std::memcpy(bytes.data(), text.data(), text.size());
  return bytes;
}
inline std::string text_of(const Bytes& bytes) {
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

inline MessageSend sending(const Queue& queue, std::int64_t type, const std::string& text, bool no_wait = false) {
  MessageSend call;
  call.object = queue.ref();
  call.type = type;
  call.text = bytes_of(text);
  call.declared_bytes = text.size();
  call.no_wait = no_wait;
  return call;
}
inline MessageReceive receiving(const Queue& queue, std::int64_t type = 0, bool no_wait = false) {
  MessageReceive call;
  call.object = queue.ref();
  call.type = type;
  call.max_bytes = 8192;
  call.no_wait = no_wait;
  return call;
}
inline SemaphoreOperate operating(const SemaphoreSet& set, std::vector<SemaphoreOp> ops,
                                  std::optional<std::int64_t> timeout_ns = std::nullopt) {
  SemaphoreOperate call;
  call.object = set.ref();
  call.declared_ops = ops.size();
  call.ops = std::move(ops);
  call.timeout_ns = timeout_ns;
  return call;
}
inline SemaphoreOp op(int number, int delta, bool undo = false, bool no_wait = false) {
  SemaphoreOp operation;
  operation.number = static_cast<std::uint16_t>(number);
  operation.delta = static_cast<std::int16_t>(delta);
  operation.undo = undo;
  operation.no_wait = no_wait;
  return operation;
}
inline Control controlling(ObjectRef object, ControlCommand command, int semaphore = 0, std::int64_t value = 0) {
  Control call;
  call.object = object;
  call.command = command;
  call.semaphore = semaphore;
  call.value = value;
  return call;
}

inline const Identity kRoot{0, 0, {}};
inline const Identity kAlice{12001, 12001, {}};
inline const Identity kBob{12002, 12002, {}};

// An executor and what the daemon's loop does with it.
class ExecutorTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root: calls are made as other logins";
    open(options());
  }
  Executor::Options options() {
    Executor::Options options;
    options.slot_dir = directory_.path() / "slots";
    options.dead_letter_dir = directory_.path() / "letters";
    options.log = [this](const std::string& line) { log_.push_back(line); };
    return options;
  }
  void open(Executor::Options options) {
    executor_.reset();
    auto opened = Executor::open(std::move(options), users_);
    ASSERT_TRUE(opened) << opened.error().what;
    executor_ = std::move(*opened);
  }

  CallKey start(CallBody body, const std::string& host = "vax", std::int32_t pid = 100, const Identity& as = kRoot) {
    const CallKey key{host, CallId{++last_call_}};
    Caller caller;
    caller.login = "tester";
    caller.process = {pid, 7};
    executor_->submit(key, as, caller, std::move(body));
    collect();
    return key;
  }
  Reply call(CallBody body, const std::string& host = "vax", std::int32_t pid = 100, const Identity& as = kRoot) {
    return reply_of(start(std::move(body), host, pid, as));
  }
  Reply reply_of(const CallKey& key) {
    const Deadline deadline;
    while (!replies_.contains(key)) {
      turn();
      if (deadline.over()) {
        ADD_FAILURE() << "no reply to call " << static_cast<std::uint64_t>(key.call) << " of " << key.host;
        return Reply{};
      }
    }
    Reply reply = replies_.at(key);
    replies_.erase(key);
    return reply;
  }
  bool answered(const CallKey& key) {
    turn_without_waiting();
    return replies_.contains(key);
  }
  void turn() {
    std::vector<pollfd> wakeups;
    for (const int fd : executor_->wakeup_fds()) wakeups.push_back({fd, POLLIN, 0});
    ::poll(wakeups.data(), wakeups.size(), executor_->wants_polling() ? 0 : 100);
    turn_without_waiting();
  }
  void turn_without_waiting() {
    executor_->poll();
    collect();
  }
  // Its session is over and it is not expected back.
  void end_host(const std::string& host) {
    executor_->end_session(host);
    executor_->end_groups(host);
  }
  // Every call that was submitted is asleep in the kernel or has been answered: a call on the object is let through.
  void settle(ObjectRef object) { call(controlling(object, ControlCommand::kStat), "settler"); }

  template <typename Condition>
  void wait_until(Condition&& condition) {
    const Deadline deadline;
    while (!condition()) {
      turn();
      if (deadline.over()) {
        ADD_FAILURE() << "it did not happen in time";
        return;
      }
    }
  }

  TemporaryDirectory directory_;
  Users users_;
  std::vector<std::string> log_;
  std::unique_ptr<Executor> executor_;
  std::map<CallKey, Reply> replies_;
  std::uint64_t last_call_ = 0;

 private:
  void collect() {
    for (Finished& finished : executor_->take_replies()) {
      EXPECT_EQ(finished.key.call, finished.reply.id);
      EXPECT_FALSE(replies_.contains(finished.key)) << "answered twice";
      replies_.insert_or_assign(finished.key, std::move(finished.reply));
    }
  }
};

}  // namespace dipc::test
