#include "daemon/pager/userfault_thread.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <system_error>

#include "daemon/pager/memory_callers.h"
#include "daemon/pager/own_mapping.h"
#include "daemon/pager/program_signals.h"

namespace dipc {
namespace {

// exec and the end of a forked child are told by nobody: how often we look.
constexpr auto kSweepEvery = std::chrono::milliseconds(100);
// Pages that the loop hears of at once: so many are quickly read or filled, and one message has room for them.
constexpr std::size_t kToldAtOnce = 32;

}  // namespace

Result<std::unique_ptr<UserfaultThread>> UserfaultThread::start(const SegmentMemory& memory,
                                                                const SegmentMemory& for_reading, Options options,
                                                                KeptSegment* kept) {
  std::unique_ptr<UserfaultThread> made(new UserfaultThread(memory, for_reading, std::move(options)));
  const auto fail = [&](Trouble trouble) {
    if (kept != nullptr) {  // before the userfaultfds go: then who waits would read zeros
      memory.cut_to_nothing();
      for_reading.cut_to_nothing();
    }
    return tl::unexpected(std::move(trouble));
  };
  try {
    if (auto ready = made->set_up(); !ready) return fail(ready.error());
    if (auto written = made->write_down(); !written) return fail(written.error());
    made->watch_ = std::make_unique<StuckWatch>(made->options_.stuck_after,
                                                [&thread = *made](pid_t pid) { thread.on_stuck(pid); });
    if (auto taken = kept == nullptr ? Result<void>{} : made->take_over(*kept); !taken) {
      return fail(taken.error());
    }
    made->thread_ = std::thread([&thread = *made] {
      thread.run();
      thread.cut_all();  // before the userfaultfds go: then who waits would read zeros
      thread.ended_.set_value();
    });
  } catch (const std::system_error& error) {  // of std::thread
    return fail({made->options_.name + ": no thread for it: " + error.what(), {}});
  }
  return made;
}

UserfaultThread::UserfaultThread(const SegmentMemory& memory, const SegmentMemory& for_reading, Options options)
    : memory_(memory),
      for_reading_(for_reading),
      options_(std::move(options)),
      states_(memory.bytes() / options_.unit_bytes),
      poisons_(options_.poisons),
      zeros_(kernel_page_bytes()) {}

Result<void> UserfaultThread::set_up() {
  epoll_ = Descriptor(epoll_create1(EPOLL_CLOEXEC));
  commands_fd_ = Descriptor(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  events_fd_ = Descriptor(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!epoll_ || !commands_fd_ || !events_fd_ || !listen(commands_fd_.get(), AttachmentId{}, false)) {
    return trouble(options_.name + ": no descriptors: " + std::strerror(errno));
  }
  const Descriptor device = Userfault::open_device();
  Descriptor own = device ? Userfault::make(device.get()) : Descriptor();
  if (!own) return trouble(options_.name + ": /dev/userfaultfd: " + std::strerror(errno));
  own_.emplace(std::move(own));
  void* address = map_for_ourselves(memory_.fd(), memory_.bytes());
  if (address == MAP_FAILED) return trouble(options_.name + ": mmap: " + std::strerror(errno));
  own_address_ = address;
  madvise(address, memory_.bytes(), MADV_NOHUGEPAGE);  // it would be filled as a whole
  int error = own_->set_up(false);
  if (error == 0) {
    error = own_->watch(reinterpret_cast<std::uintptr_t>(address), memory_.bytes(), Userfault::Also::kNothing);
  }
  if (error != 0) return trouble(options_.name + ": userfaultfd: " + std::strerror(error));
  return {};
}

// For who comes after this daemon.
Result<void> UserfaultThread::write_down() {
  auto record = MemoryRecord::make(options_.label, memory_.bytes(), options_.unit_bytes);
  if (!record) return tl::unexpected(record.error());
  record_ = std::move(*record);
  record_.header().memory = memory_.fd();
  record_.header().for_reading = for_reading_.fd();
  if (options_.directory >= 0) {
    directory_ = Descriptor(fcntl(options_.directory, F_DUPFD_CLOEXEC, 0));
    if (!directory_) return trouble(options_.name + ": what its owner knows: " + std::strerror(errno));
    record_.header().directory = directory_.get();
  }
  return {};
}

void UserfaultThread::set_state(PageIndex page, State state) {
  static constexpr MemoryRecord::Page kWritten[] = {MemoryRecord::Page::kHole, MemoryRecord::Page::kShared,
                                                    MemoryRecord::Page::kExclusive, MemoryRecord::Page::kLost};
  note(page, kWritten[static_cast<std::size_t>(state)]);
  states_[static_cast<std::uint32_t>(page)] = state;
}

// On the watch's thread.
void UserfaultThread::on_stuck(pid_t pid) {
  if (pid != kAnybody) {
    const bool killed = send_signal(pid, watched_uid_, SIGKILL);
    tell_now(Log{options_.name + ": process " + (pid > 0 ? std::to_string(pid) : "(unknown)") +
                 " does not let us reach its memory" + (killed ? "; killed" : "")});
    return;
  }
  const std::vector<pid_t> callers = callers_on(memory_.fd());
  if (callers.empty()) tell_now(Log{options_.name + ": somebody who is not known keeps us from its memory"});
  for (const pid_t caller : callers) {
    const std::lock_guard lock(mutex_);
    const bool killed =
        std::any_of(uids_.begin(), uids_.end(), [&](uid_t uid) { return send_signal(caller, uid, SIGKILL); });
    events_.emplace_back(Log{options_.name + ": process " + std::to_string(caller) +
                             " uses a descriptor of its memory in a system call, which keeps us from it" +
                             (killed ? "; killed" : "")});
  }
  eventfd_write(events_fd_.get(), 1);
}

bool UserfaultThread::stop(Duration patience) {
  if (!thread_.joinable()) return true;
  {
    const std::lock_guard lock(mutex_);
    stops_ = true;
  }
  eventfd_write(commands_fd_.get(), 1);
  if (!ending_.valid()) ending_ = ended_.get_future();
  return ending_.wait_for(patience) == std::future_status::ready;
}

UserfaultThread::~UserfaultThread() {
  stop(Duration::zero());
  if (thread_.joinable()) thread_.join();
  if (own_address_) munmap(own_address_, memory_.bytes());
}

void UserfaultThread::ask(Command command) {
  bool is_first = false;
  {
    const std::lock_guard lock(mutex_);
    is_first = commands_.empty();  // else the thread has been told that there are some
    commands_.push_back(std::move(command));
  }
  if (is_first) eventfd_write(commands_fd_.get(), 1);
}

// On the thread: several of them are told as one, as waking the loop costs as much as a page.
void UserfaultThread::tell(Event event) {
  told_.push_back(std::move(event));
  if (told_.size() >= kToldAtOnce) say_told();
}

void UserfaultThread::say_told() {
  if (told_.empty()) return;
  {
    const std::lock_guard lock(mutex_);
    std::move(told_.begin(), told_.end(), std::back_inserter(events_));
  }
  told_.clear();
  eventfd_write(events_fd_.get(), 1);
}

// On any other thread.
void UserfaultThread::tell_now(Event event) {
  {
    const std::lock_guard lock(mutex_);
    events_.push_back(std::move(event));
  }
  eventfd_write(events_fd_.get(), 1);
}

std::vector<UserfaultThread::Event> UserfaultThread::take_events() {
  eventfd_t count;
  eventfd_read(events_fd_.get(), &count);
  const std::lock_guard lock(mutex_);
  return std::exchange(events_, {});
}

bool UserfaultThread::listen(int fd, AttachmentId id, bool is_process) const {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = static_cast<std::uint64_t>(id) << 1 | (is_process ? 1 : 0);
  return epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0;
}

void UserfaultThread::run() {
  // Signals are the main thread's.
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, nullptr);
  if (goes_on_) go_on();
  auto swept = std::chrono::steady_clock::now();
  for (;;) {
    turn(attachments_.empty() ? Duration::max() : std::min<Duration>(kSweepEvery, until_due()));
    look_at_due();
    if (const auto now = std::chrono::steady_clock::now(); now - swept >= kSweepEvery) {
      swept = now;
      probe_all();
    }
    std::vector<Command> commands;
    {
      const std::lock_guard lock(mutex_);
      if (stops_) return;
      commands.swap(commands_);
    }
    for (std::size_t done = 0; done < commands.size();) {
      done += carry_out_next(std::span(commands).subspan(done));
    }
    while (!faults_.empty()) {  // judging one may have others read
      const auto faults = std::exchange(faults_, {});
      for (const auto& [id, message] : faults) {
        const auto found = attachments_.find(id);
        if (found != attachments_.end() && !found->second.gone) on_fault(id, found->second, message);
      }
    }
    bury();
    say_told();
  }
}

// Waits for something, and reads what programs have done.
void UserfaultThread::turn(Duration timeout) {
  std::array<epoll_event, 64> ready;
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(timeout);
  const timespec most{static_cast<time_t>(seconds.count()), static_cast<long>((timeout - seconds).count())};
  const int count = epoll_pwait2(epoll_.get(), ready.data(), static_cast<int>(ready.size()),
                                 timeout == Duration::max() ? nullptr : &most, nullptr);
  for (int i = 0; i < count; ++i) {
    const std::uint64_t data = ready[static_cast<std::size_t>(i)].data.u64;
    const auto id = static_cast<AttachmentId>(data >> 1);
    if (id == AttachmentId{}) {
      eventfd_t asked;
      eventfd_read(commands_fd_.get(), &asked);
      continue;
    }
    const auto found = attachments_.find(id);
    if (found == attachments_.end()) continue;
    Attachment& attachment = found->second;
    if ((data & 1) != 0) {
      look_at(id, attachment);
      epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, attachment.process.get(), nullptr);
      continue;
    }
    if ((ready[static_cast<std::size_t>(i)].events & EPOLLERR) != 0) attachment.userfault.never_wait();
    watched_uid_ = attachment.uid;
    watch_->enter(attachment.pid);
    read_messages(id, attachment);
    watch_->leave();
  }
}

}  // namespace dipc
