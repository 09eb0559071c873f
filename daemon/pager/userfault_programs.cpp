// The programs that have a segment attached: where, what they did with it, and reaching their memory.

#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <string>

#include "daemon/pager/program_signals.h"
#include "daemon/pager/userfault_thread.h"

namespace dipc {
namespace {

constexpr int kBatchesBetweenCalls = 8;
// So many events of one program, and for so long, while one page of it was to be reached.
constexpr std::size_t kFloodEvents = 1000;
constexpr auto kFloodPatience = std::chrono::milliseconds(250);

// Whether a SIGBUS ends the wait of a faulting thread. Not if it is blocked or ignored, where the kernel's own would
// end the process; nor if the last one that we sent is still pending, because it is a system call that has faulted.
bool can_take_sigbus(pid_t thread) {
  std::ifstream status("/proc/" + std::to_string(thread) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (!line.starts_with("SigBlk:") && !line.starts_with("SigIgn:") && !line.starts_with("SigPnd:")) continue;
    if ((std::stoull(line.substr(7), nullptr, 16) >> (SIGBUS - 1) & 1) != 0) return false;
  }
  return true;
}

}  // namespace

// Calls until the process has no event left that stands in the way. While it is in our hands it may fork: its child is
// then among the attachments, behind it, and as far as it was itself when it forked.
template <typename Call>
int UserfaultThread::insist(AttachmentId id, Attachment& attachment, Call call) {
  const auto began = std::chrono::steady_clock::now();
  const auto give_up = began + 2 * options_.stuck_after;
  std::size_t events = 0;
  bool floods = false;
  watched_uid_ = attachment.uid;
  watch_->enter(attachment.pid);
  int error = call();
  while (error == EAGAIN) {
    // A program with many threads has the next event ready soon, so there is no time to lose when all are read.
    std::size_t read = 1;
    for (int batch = 0; batch < kBatchesBetweenCalls && read != 0; ++batch)
      events += read = read_messages(id, attachment);
    const auto now = std::chrono::steady_clock::now();
    if (!floods && events > kFloodEvents && now - began > kFloodPatience) {
      floods = true;
      end_flooding(attachment);
    }
    if (read == 0) sched_yield();
    error = now < give_up && !attachment.gone ? call() : ESRCH;
  }
  watch_->leave();
  if (error == ESRCH) attachment.gone = true;
  return error;
}

// Each of its forks, moves and removals waits for us, and we for it between two of them: with enough threads that is
// never.
void UserfaultThread::end_flooding(Attachment& attachment) {
  const bool killed = send_signal(attachment.pid, attachment.uid, SIGKILL);
  if (!killed) attachment.gone = true;  // a fork that has touched nothing yet: its memory is its own now
  tell(Log{options_.name + ": process " + (attachment.pid > 0 ? std::to_string(attachment.pid) : "(unknown)") +
           " forks, moves or removes its memory without a pause in which we could reach it; " +
           (killed ? "killed" : "left to itself")});
}

template <typename Call>
int UserfaultThread::on_each_range(AttachmentId id, Attachment& attachment, Span span, Call call) {
  return insist(id, attachment, [&] {
    int result = 0;
    for (const MappedRange& range : attachment.ranges.of(span.offset, span.length)) {
      const int error = call(range.address, range.length);
      if (error == EAGAIN || error == ESRCH) return error;
      if (error != 0) result = error;
    }
    return result;
  });
}

int UserfaultThread::protect(AttachmentId id, Attachment& attachment, Span span) {
  return on_each_range(id, attachment, span, [&](std::uint64_t address, std::uint64_t length) {
    return attachment.userfault.protect(address, length);
  });
}

int UserfaultThread::unprotect(AttachmentId id, Attachment& attachment, Span span) {
  return on_each_range(id, attachment, span, [&](std::uint64_t address, std::uint64_t length) {
    return attachment.userfault.unprotect(address, length);
  });
}

void UserfaultThread::wake(Attachment& attachment, Span span) const {
  for (const MappedRange& range : attachment.ranges.of(span.offset, span.length)) {
    attachment.userfault.wake(range.address, range.length);
  }
}

void UserfaultThread::let_have(AttachmentId id, Attachment& attachment, Span span) {
  on_each_range(id, attachment, span, [&](std::uint64_t address, std::uint64_t length) {
    for (std::uint64_t done = 0; done < length; done += kernel_page_bytes()) {
      const int error = attachment.userfault.let_have(address + done, kernel_page_bytes());
      if (error != 0 && error != EEXIST) return error;
    }
    return 0;
  });
}

// False: this kernel, or this mapping, has no such thing.
bool UserfaultThread::poison(AttachmentId id, Attachment& attachment, Span span) {
  if (!poisons_) return false;
  if (attachment.writable) unprotect(id, attachment, span);  // a marker would be in the way
  const int error = on_each_range(id, attachment, span, [&](std::uint64_t address, std::uint64_t length) {
    // One page at a time: of several the kernel says EAGAIN when it has done a part.
    for (std::uint64_t done = 0; done < length; done += kernel_page_bytes()) {
      const int page_error = attachment.userfault.poison(address + done, kernel_page_bytes());
      if (page_error != 0 && page_error != EEXIST) return page_error;  // EEXIST: it is poisoned already
    }
    return 0;
  });
  return error == 0;
}

void UserfaultThread::protect_everywhere(Span span) {
  for (auto& [id, attachment] : attachments_) {
    if (attachment.writable && !attachment.gone) protect(id, attachment, span);
  }
}

void UserfaultThread::attach(Attach& command) {
  const auto refuse = [&](int error) { tell(Attached{command.ticket, error}); };
  if (all_lost_) return refuse(EIDRM);
  if (!command.userfaultfd || !Userfault::is_one(command.userfaultfd.get())) return refuse(EINVAL);
  Attachment made(Userfault(std::move(command.userfaultfd)), MappedRanges(command.address, command.length));
  made.ticket = command.ticket;
  made.writable = command.writable;
  made.pid = command.pid;
  made.process = Descriptor(static_cast<int>(syscall(SYS_pidfd_open, command.pid, 0)));
  const auto uid = real_uid_of(command.pid);
  if (!uid) return refuse(ESRCH);
  made.uid = *uid;
  {
    const std::lock_guard lock(mutex_);
    uids_.insert(*uid);
  }
  if (const int error = made.userfault.set_up(true); error != 0) {
    tell(Log{options_.name + ": the userfaultfd of process " + std::to_string(command.pid) + ": " +
             std::strerror(error)});
    return refuse(EINVAL);
  }
  const AttachmentId id = add(std::move(made));
  Attachment& attachment = attachments_.at(id);
  const int error = settle_in(id, attachment);
  if (error == 0) return refuse(0);
  forget(id);
  refuse(error == ENOMEM ? ENOMEM : EINVAL);
}

// Registers a mapping that nobody may touch yet, and brings it to what the pages are.
int UserfaultThread::settle_in(AttachmentId id, Attachment& attachment) {
  const MappedRange whole = attachment.ranges.all().front();
  int error = insist(id, attachment, [&] {
    return attachment.userfault.watch(whole.address, whole.length,
                                      attachment.writable ? Userfault::Also::kWrites : Userfault::Also::kPresent);
  });
  if (error != 0) return error;
  if (!listen(attachment.userfault.fd(), id, false)) return ENOMEM;
  if (attachment.process) listen(attachment.process.get(), id, true);
  if (!attachment.writable) has_readers_ = true;
  error = protect_shared(id, attachment);
  if (error != 0) return error;
  if (attachment.writable) {
    for (const PageIndex page : copied_) protect(id, attachment, span_of(page));
  }
  for (const PageIndex page : lost_) poison(id, attachment, span_of(page));
  return attachment.gone ? ESRCH : 0;
}

int UserfaultThread::protect_shared(AttachmentId id, Attachment& attachment) {
  for (std::size_t first = 0; attachment.writable && first < states_.size();) {
    std::size_t end = first;
    while (end < states_.size() && states_[end] == State::kShared) ++end;
    if (end > first) {
      const int error = protect(id, attachment, {first * options_.unit_bytes, (end - first) * options_.unit_bytes});
      if (error != 0) return error;
    }
    first = end + 1;
  }
  return 0;
}

UserfaultThread::AttachmentId UserfaultThread::add(Attachment attachment) {
  const auto id = static_cast<AttachmentId>(next_attachment_++);
  MemoryRecord::Attachment written;
  written.writable = attachment.writable ? 1 : 0;
  written.userfaultfd = attachment.userfault.fd();
  written.pid = attachment.pid;
  written.uid = attachment.uid;
  written.ticket = static_cast<std::uint64_t>(attachment.ticket);
  attachment.slot = record_.add(written, attachment.ranges);
  attachments_.emplace(id, std::move(attachment));
  return id;
}

void UserfaultThread::forget(AttachmentId id) {
  const auto found = attachments_.find(id);
  record_.remove(found->second.slot);
  attachments_.erase(found);
}

// A batch of them: who has more to say, or says the next thing as soon as the last was read, does not keep us from the
// others. A call of the program that has returned was read, so nothing of it is left out. How many there were.
std::size_t UserfaultThread::read_messages(AttachmentId id, Attachment& attachment) {
  record_.reads(true);
  const auto messages = attachment.userfault.read();
  bool moved = false;
  for (const uffd_msg& message : messages) {
    switch (message.event) {
      case UFFD_EVENT_PAGEFAULT:
        faults_.emplace_back(id, message);
        break;
      case UFFD_EVENT_FORK:
        fork(attachment, Descriptor(static_cast<int>(message.arg.fork.ufd)));
        break;
      case UFFD_EVENT_REMAP:
        attachment.ranges.move(message.arg.remap.from, message.arg.remap.to, message.arg.remap.len);
        moved = true;
        break;
      case UFFD_EVENT_UNMAP:
        attachment.ranges.unmap(message.arg.remove.start, message.arg.remove.end);
        moved = true;
        break;
      default:  // UFFD_EVENT_REMOVE: what madvise(2) took is found missing when it is touched
        break;
    }
  }
  if (moved) record_.set_ranges(attachment.slot, attachment.ranges);
  record_.reads(false);
  if (attachment.ranges.empty()) attachment.gone = true;
  return messages.size();
}

void UserfaultThread::fork(const Attachment& parent, Descriptor userfaultfd) {
  Attachment child(Userfault(std::move(userfaultfd)), parent.ranges);
  child.ticket = parent.ticket;
  child.writable = parent.writable;
  child.uid = parent.uid;
  child.userfault.never_wait();
  const AttachmentId id = add(std::move(child));
  if (!listen(attachments_.at(id).userfault.fd(), id, false)) {
    tell(Log{options_.name + ": a forked process can't be listened to: " + std::strerror(errno)});
  }
  tell(Forked{parent.ticket});
}

// Asks for something that changes nothing; the kernel says ESRCH when the memory is gone.
void UserfaultThread::probe(Attachment& attachment) {
  if (attachment.ranges.empty()) return;
  const MappedRange& range = attachment.ranges.all().front();
  const State now = states_[static_cast<std::size_t>(range.offset / options_.unit_bytes)];
  const std::uint64_t length = kernel_page_bytes();
  const bool is_copied = copied_.contains(static_cast<PageIndex>(range.offset / options_.unit_bytes));
  const int error = (now == State::kExclusive && !is_copied) || now == State::kLost
                        ? attachment.userfault.unprotect(range.address, length)
                        : attachment.userfault.protect(range.address, length);
  if (error == ESRCH) attachment.gone = true;
}

void UserfaultThread::probe_all() {
  for (auto& [id, attachment] : attachments_) look_at(id, attachment);
}

// What it says, and whether it is still there.
void UserfaultThread::look_at(AttachmentId id, Attachment& attachment) {
  watched_uid_ = attachment.uid;
  watch_->enter(attachment.pid);
  read_messages(id, attachment);
  probe(attachment);
  watch_->leave();
}

void UserfaultThread::bury() {
  for (auto it = attachments_.begin(); it != attachments_.end();) {
    if (!it->second.gone) {
      ++it;
      continue;
    }
    tell(Detached{it->second.ticket});
    record_.remove(it->second.slot);
    it = attachments_.erase(it);
  }
  const auto reads = [](const auto& each) { return !each.second.writable; };
  if (has_readers_ && std::none_of(attachments_.begin(), attachments_.end(), reads)) take_all_copies();
}

void UserfaultThread::on_fault(AttachmentId id, Attachment& attachment, const uffd_msg& message) {
  const std::uint64_t page_bytes = kernel_page_bytes();
  const std::uint64_t address = message.arg.pagefault.address / page_bytes * page_bytes;
  const auto thread = static_cast<pid_t>(message.arg.pagefault.feat.ptid);
  const auto offset = attachment.ranges.offset_of(address);
  if (!offset) {  // moved or unmapped since
    attachment.userfault.wake(address, page_bytes);
    return;
  }
  const auto page = static_cast<PageIndex>(*offset / options_.unit_bytes);
  const Waiter waiter{id, address, thread};
  const bool is_write = (message.arg.pagefault.flags & (UFFD_PAGEFAULT_FLAG_WRITE | UFFD_PAGEFAULT_FLAG_WP)) != 0;
  const bool is_missing = (message.arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP) == 0;
  if (attachment.pid == 0) attachment.pid = thread;  // of its process; killing a thread ends all of it
  if (all_lost_) {
    attachment.userfault.wake(address, page_bytes);
    return;
  }
  if (!attachment.writable && state(page) != State::kLost) return on_reader_fault(id, attachment, message, page);
  switch (state(page)) {
    case State::kHole:
      waiters_[page].insert(waiter);
      tell(Fault{page, is_write ? PageAccess::kWrite : PageAccess::kRead});
      return;
    case State::kShared:
      if (is_missing && has_hole({*offset, 1})) return refill(page, attachment, waiter, *offset);
      if (!is_write) {
        attachment.userfault.wake(address, page_bytes);
        return;
      }
      waiters_[page].insert(waiter);
      tell(Fault{page, PageAccess::kWrite});
      return;
    case State::kExclusive:
      if (is_missing && has_hole({*offset, 1})) return refill(page, attachment, waiter, *offset);
      if (is_write && copied_.contains(page) && !on_copied_fault(id, message, page)) return;
      if (!copied_.contains(page)) unprotect(id, attachment, span_of(page));
      attachment.userfault.wake(address, page_bytes);
      return;
    case State::kLost:
      if (poison(id, attachment, span_of(page))) {
        attachment.userfault.wake(address, page_bytes);
      } else {
        signal_lost(attachment, waiter);
      }
      return;
  }
}

// A program has taken the page away by madvise(MADV_REMOVE). Zeros are right, as in a segment of the kernel; but only
// who has the page for writing may make them.
void UserfaultThread::refill(PageIndex page, Attachment& attachment, const Waiter& waiter, std::uint64_t offset) {
  if (state(page) == State::kExclusive) {
    take_copy(page);
    zero({offset, zeros_.size()});
    attachment.userfault.wake(waiter.address, zeros_.size());
    return;
  }
  waiters_[page].insert(waiter);
  fail(page, "a program has removed it (MADV_REMOVE) without having written to it");
}

// Without UFFDIO_POISON the faulting thread goes on waiting, and gets its SIGBUS from us. It comes back with the next
// fault if a handler returns.
void UserfaultThread::signal_lost(Attachment& attachment, const Waiter& waiter) {
  if (waiter.thread <= 0) return;
  if (!can_take_sigbus(waiter.thread)) {
    tell(Log{options_.name + ": process " + std::to_string(attachment.pid) +
             " has touched a lost page and can't take a SIGBUS; killed"});
    send_signal(waiter.thread, attachment.uid, SIGKILL);
    return;
  }
  send_signal_to_thread(waiter.thread, attachment.uid, SIGBUS);
}

}  // namespace dipc
