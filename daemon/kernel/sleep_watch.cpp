#include "daemon/kernel/sleep_watch.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <thread>

#include "daemon/core/time.h"

namespace dipc {
namespace {

constexpr int kArguments = 6;
constexpr auto kMeasureTimeMax = std::chrono::seconds(20);  // an emulator on a loaded machine
constexpr auto kSteadyTime = std::chrono::milliseconds(1);  // between two looks that must agree

struct Look {
  long number = -1;
  std::array<unsigned long long, kArguments> arguments{};
};

// "running", "-1 SP PC" (blocked outside any system call), or "NUMBER ARG... SP PC".
std::optional<Look> parse(const char* text) {
  char* end = nullptr;
  Look look;
  look.number = std::strtol(text, &end, 10);
  if (end == text || look.number < 0) return std::nullopt;
  for (auto& argument : look.arguments) {
    const char* const begin = end;
    argument = std::strtoull(begin, &end, 16);
    if (end == begin) return std::nullopt;
  }
  return look;
}

int open_task_file(pid_t process, pid_t tid, const char* name) {
  char path[64];
  std::snprintf(path, sizeof path, "/proc/%d/task/%d/%s", static_cast<int>(process), static_cast<int>(tid), name);
  return open(path, O_RDONLY | O_CLOEXEC);
}

std::string read_file(pid_t tid, const char* name) {
  const int fd = open_task_file(getpid(), tid, name);
  if (fd < 0) return {};
  char buffer[512];
  const ssize_t got = ::read(fd, buffer, sizeof buffer);
  close(fd);
  return got > 0 ? std::string(buffer, static_cast<std::size_t>(got)) : std::string();
}

bool is_sleeping_state(const char* stat_text) {
  const char* const end_of_name = std::strrchr(stat_text, ')');
  return end_of_name != nullptr && end_of_name[1] == ' ' && end_of_name[2] == 'S';
}

// An object on which a thread can be blocked for as long as it takes to look at it. Removed at the end.
class BlockedThread {
 public:
  explicit BlockedThread(SleepIn call) : call_(call) {
    if (call_ == SleepIn::kOperate) {
      id_ = semget(IPC_PRIVATE, 1, 0600);
    } else {
      id_ = msgget(IPC_PRIVATE, 0600);
    }
    if (id_ < 0) return;
    if (call_ == SleepIn::kSend) {
      msqid_ds queue{};
      msgctl(id_, IPC_STAT, &queue);
      queue.msg_qbytes = 0;  // every send waits
      msgctl(id_, IPC_SET, &queue);
    }
    thread_ = std::thread([this] { block(); });
    while (tid_ == 0) sched_yield();
  }
  ~BlockedThread() { wake(); }
  bool made() const { return id_ >= 0; }
  int id() const { return id_; }
  pid_t tid() const { return tid_; }

  // Removes the object. True: the thread was in its queue (EIDRM), and not on its way there (EINVAL).
  bool wake() {
    if (thread_.joinable()) {
      call_ == SleepIn::kOperate ? semctl(id_, 0, IPC_RMID) : msgctl(id_, IPC_RMID, nullptr);
      thread_.join();
    }
    return error_ == EIDRM;
  }

 private:
  void block() {
    struct {
      long type = 1;
      char text[8] = {};
    } message;
    sembuf op{0, -1, 0};
    tid_ = static_cast<pid_t>(syscall(SYS_gettid));
    long result = 0;
    switch (call_) {
      case SleepIn::kSend:
        result = msgsnd(id_, &message, 1, 0);
        break;
      case SleepIn::kReceive:
        result = msgrcv(id_, &message, sizeof message.text, 0, 0);
        break;
      case SleepIn::kOperate:
        result = semtimedop(id_, &op, 1, nullptr);
        break;
    }
    if (result < 0) error_ = errno;
  }

  const SleepIn call_;
  int id_ = -1;
  std::atomic<pid_t> tid_ = 0;
  int error_ = 0;
  std::thread thread_;
};

// What a thread that sleeps in `call` shows; nothing if it can't be told. Two looks some time apart agree to the last
// digit (stack pointer and all) and the removal proves that the thread was in the queue.
std::optional<Look> look_at(BlockedThread& blocked, TimePoint give_up) {
  while (std::chrono::steady_clock::now() < give_up) {
    const std::string first = read_file(blocked.tid(), "syscall");
    if (first.empty()) return std::nullopt;
    const std::optional<Look> look = parse(first.c_str());
    if (!look) {
      sched_yield();
      continue;
    }
    std::this_thread::sleep_for(kSteadyTime);
    if (read_file(blocked.tid(), "syscall") != first) continue;
    if (!is_sleeping_state(read_file(blocked.tid(), "stat").c_str())) continue;
    if (!blocked.wake()) return std::nullopt;
    return look;
  }
  return std::nullopt;
}

}  // namespace

Result<std::unique_ptr<SleepSigns>> SleepSigns::measure(Options options) {
  auto signs = std::make_unique<SleepSigns>();
  signs->options_ = options;
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur / 4 < static_cast<rlim_t>(options.open_files_max)) {
    signs->options_.open_files_max = static_cast<int>(files.rlim_cur / 4);
  }
  signs->spare_fd_ = open("/dev/null", O_RDONLY | O_CLOEXEC);
  const auto tid = static_cast<pid_t>(syscall(SYS_gettid));
  if (read_file(tid, "stat").empty()) {
    return trouble("/proc/self/task can't be read", "mount /proc for the daemon's PID namespace");
  }
  if (!options.use_syscall_file || read_file(tid, "syscall").empty()) return signs;
  const TimePoint give_up = std::chrono::steady_clock::now() + kMeasureTimeMax;
  for (const SleepIn call : {SleepIn::kSend, SleepIn::kReceive, SleepIn::kOperate}) {
    Sign& sign = signs->signs_[static_cast<std::size_t>(call)];
    bool measured = false;
    while (!measured && std::chrono::steady_clock::now() < give_up) {
      // Two objects, so that an argument which happens to equal one id is not taken for the id.
      BlockedThread a(call);
      BlockedThread b(call);
      if (!a.made() || !b.made()) {
        return trouble("no System V object can be made to measure with: " + std::string(std::strerror(errno)),
                       "raise kernel.msgmni and kernel.sem");
      }
      const std::optional<Look> look_a = look_at(a, give_up);
      const std::optional<Look> look_b = look_at(b, give_up);
      if (!look_a || !look_b || look_a->number != look_b->number) continue;
      sign.number = look_a->number;
      for (std::size_t i = 0; i < kArguments && sign.id_argument < 0; ++i) {
        if (static_cast<int>(look_a->arguments[i]) == a.id() && static_cast<int>(look_b->arguments[i]) == b.id()) {
          sign.id_argument = static_cast<int>(i);
        }
      }
      measured = true;
    }
    if (!measured) return signs;  // exact_ stays false: the state alone
  }
  signs->exact_ = true;
  return signs;
}

SleepSigns::~SleepSigns() {
  if (spare_fd_ >= 0) close(spare_fd_);
}

SleepWatch::SleepWatch(SleepSigns& signs, pid_t tid)
    : signs_(signs), process_(getpid()), tid_(tid), exact_(signs.exact()) {}

SleepWatch::SleepWatch(SleepSigns& signs, pid_t process, pid_t tid)
    : signs_(signs), process_(process), tid_(tid), exact_(signs.exact()) {
  char buffer[256];
  exact_ = exact_ && read(syscall_, buffer, sizeof buffer) > 0;
}

SleepWatch::~SleepWatch() {
  for (const KeptFile* file : {&syscall_, &stat_}) {
    if (file->fd < 0) continue;
    close(file->fd);
    --signs_.open_files_;
  }
}

// Looks are made by one thread, the loop's, so the spare descriptor needs no lock.
int SleepWatch::open_file(const char* name) {
  const int fd = open_task_file(process_, tid_, name);
  if (fd >= 0 || errno != EMFILE || signs_.spare_fd_ < 0) return fd;
  close(signs_.spare_fd_);
  signs_.spare_fd_ = -1;
  return open_task_file(process_, tid_, name);
}

std::size_t SleepWatch::read(KeptFile& file, char* buffer, std::size_t buffer_bytes) {
  int fd = file.fd;
  if (fd < 0) {
    fd = open_file(file.name);
    if (fd < 0) return 0;
    if (signs_.spare_fd_ >= 0 && signs_.open_files_ < signs_.options_.open_files_max) {
      ++signs_.open_files_;
      file.fd = fd;
    }
  }
  const ssize_t got = pread(fd, buffer, buffer_bytes - 1, 0);
  if (file.fd < 0) {
    close(fd);
    if (signs_.spare_fd_ < 0) signs_.spare_fd_ = open("/dev/null", O_RDONLY | O_CLOEXEC);
  }
  const std::size_t bytes = got > 0 ? static_cast<std::size_t>(got) : 0;
  buffer[bytes] = 0;
  return bytes;
}

bool SleepWatch::state_is_sleeping() {
  char buffer[512];
  return read(stat_, buffer, sizeof buffer) > 0 && is_sleeping_state(buffer);
}

bool SleepWatch::asleep(SleepIn call, int object) {
  if (exact_) {
    if (!state_is_sleeping()) return false;
    char buffer[256];
    if (read(syscall_, buffer, sizeof buffer) == 0) return false;
    const std::optional<Look> look = parse(buffer);
    const SleepSigns::Sign& sign = signs_.signs_[static_cast<std::size_t>(call)];
    if (!look || look->number != sign.number) return false;
    if (sign.id_argument >= 0) {
      const auto shown = static_cast<int>(look->arguments[static_cast<std::size_t>(sign.id_argument)]);
      if (shown != object) return false;
    }
  }
  return state_is_sleeping();
}

}  // namespace dipc
