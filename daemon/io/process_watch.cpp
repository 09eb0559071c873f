#include "daemon/io/process_watch.h"

#include <sys/syscall.h>
#include <unistd.h>

namespace dipc {

struct ProcessWatch::Entry {
  int fd;
  std::unique_ptr<ReadPoll> poll;
  explicit Entry(int descriptor) : fd(descriptor) {}
  ~Entry() {
    poll.reset();
    ::close(fd);
  }
};

ProcessWatch::ProcessWatch(uv_loop_t* loop, std::function<void(pid_t)> on_ended)
    : loop_(loop), on_ended_(std::move(on_ended)) {}

ProcessWatch::~ProcessWatch() = default;

bool ProcessWatch::watch(pid_t pid) {
  if (entries_.contains(pid)) return true;
  const int fd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  if (fd < 0) return false;
  auto entry = std::make_unique<Entry>(fd);
  entry->poll = std::make_unique<ReadPoll>(loop_, fd, [this, pid] {
    entries_.erase(pid);
    on_ended_(pid);
  });
  entries_.emplace(pid, std::move(entry));
  return true;
}

}  // namespace dipc
