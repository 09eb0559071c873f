#include "daemon/pager/signal_pager.h"

#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "daemon/core/segment_pages.h"
#include "wire/check.h"

namespace dipc {
namespace {

constexpr std::uint64_t kEvents = 0;  // beside tickets in epoll
constexpr std::uint64_t kTimer = ~std::uint64_t{0};

constexpr int kRecordsAtOnce = 64;             // of one program, in one turn of the loop
constexpr std::size_t kWaitsMax = 1024;        // pages that one attachment waits for: as many threads, natively
constexpr std::size_t kOutstandingMax = 4096;  // records to one attachment, beyond which its faults are not answered

bool watch(int epoll, int operation, int fd, std::uint64_t what, std::uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = what;
  return epoll_ctl(epoll, operation, fd, &event) == 0;
}
bool listen(int epoll, int fd, std::uint64_t what) { return watch(epoll, EPOLL_CTL_ADD, fd, what, EPOLLIN); }

}  // namespace

Result<std::unique_ptr<Pager>> SignalPager::make(Options options, Handler& handler) {
  auto memory = SegmentMemory::make(options.name, round_up(options.segment_bytes, options.unit_bytes));
  if (!memory) return tl::unexpected(memory.error());
  std::unique_ptr<SignalPager> made(new SignalPager(std::move(options), handler, std::move(*memory)));
  if (auto ready = made->set_up(); !ready) return tl::unexpected(ready.error());
  return made;
}

SignalPager::SignalPager(Options options, Handler& handler, SegmentMemory memory)
    : options_(std::move(options)),
      unit_bytes_(static_cast<std::size_t>(options_.unit_bytes)),
      handler_(handler),
      memory_(std::move(memory)),
      states_(memory_.bytes() / unit_bytes_) {}

Result<void> SignalPager::set_up() {
  epoll_ = Descriptor(epoll_create1(EPOLL_CLOEXEC));
  events_fd_ = Descriptor(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  timer_ = Descriptor(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  const std::int64_t every_ns = options_.stuck_after.count() / 4 + 1;
  itimerspec every{};
  every.it_interval.tv_sec = static_cast<time_t>(every_ns / 1'000'000'000);
  every.it_interval.tv_nsec = static_cast<long>(every_ns % 1'000'000'000);
  every.it_value = every.it_interval;
  if (!epoll_ || !events_fd_ || !timer_ || !listen(epoll_.get(), events_fd_.get(), kEvents) ||
      !listen(epoll_.get(), timer_.get(), kTimer) || timerfd_settime(timer_.get(), 0, &every, nullptr) != 0) {
    return trouble(options_.name + ": no descriptors: " + std::strerror(errno));
  }
  return {};
}

// Nobody answers faults any more: what programs still have must not be taken for the segment.
SignalPager::~SignalPager() { memory_.cut_to_nothing(); }

void SignalPager::later(std::function<void()> event) {
  events_.push_back(std::move(event));
  eventfd_write(events_fd_.get(), 1);
}

void SignalPager::begin(PageIndex page, std::function<void()> finish) {
  DIPC_CHECK(static_cast<std::uint32_t>(page) < states_.size() && !works_.contains(page));
  works_[page].finish = std::move(finish);
}

void SignalPager::finish_if_answered(PageIndex page) {
  const auto found = works_.find(page);
  if (found == works_.end() || !found->second.unanswered.empty()) return;
  Work work = std::move(found->second);
  works_.erase(found);
  work.finish();
  for (const auto& [ticket, access] : work.meanwhile) on_fault(ticket, access, page);
}

void SignalPager::install(PageIndex page, PageContents contents, bool writable) {
  begin(page, [this, page] { later([this, page] { handler_.on_done(page); }); });
  DIPC_CHECK(!contents || contents->size() == unit_bytes_);
  const Bytes zeros(contents ? 0 : unit_bytes_);
  const std::byte* from = contents ? contents->data() : zeros.data();
  if (all_lost_ || state(page) != State::kHole || !memory_.write(offset_of(page), from, unit_bytes_)) {
    return fail(page, "it can't be filled");
  }
  state(page) = writable ? State::kExclusive : State::kShared;
  grant_waiters(page);
  finish_if_answered(page);
}

void SignalPager::upgrade(PageIndex page) {
  begin(page, [this, page] { later([this, page] { handler_.on_done(page); }); });
  if (all_lost_ || state(page) != State::kShared) return fail(page, "it is not there to be written");
  state(page) = State::kExclusive;
  grant_waiters(page);
  finish_if_answered(page);
}

void SignalPager::protect_and_read(PageIndex page, bool drop) {
  begin(page, [this, page, drop] {
    auto contents = std::make_shared<Bytes>(unit_bytes_);
    if (!memory_.read(offset_of(page), *contents) || (drop && !memory_.punch(offset_of(page), unit_bytes_))) {
      works_.try_emplace(page);
      return fail(page, "it can't be read, or taken from the programs");
    }
    state(page) = drop ? State::kHole : State::kShared;
    later([this, page, contents = PageContents(std::move(contents))] { handler_.on_contents(page, contents); });
  });
  if (all_lost_ || (state(page) != State::kShared && state(page) != State::kExclusive)) {
    return fail(page, "it is not there to be read");
  }
  revoke(page, drop ? local::PagingAccess::kNone : local::PagingAccess::kRead);
  finish_if_answered(page);
}

void SignalPager::drop(PageIndex page) {
  begin(page, [this, page] {
    if (!memory_.punch(offset_of(page), unit_bytes_)) {
      works_.try_emplace(page);
      return fail(page, "it can't be taken from the programs");
    }
    state(page) = State::kHole;
    later([this, page] { handler_.on_done(page); });
  });
  if (all_lost_ || state(page) == State::kLost) return fail(page, "it is lost already");
  revoke(page, local::PagingAccess::kNone);
  finish_if_answered(page);
}

void SignalPager::mark_lost(PageIndex page) {
  begin(page, [this, page] {
    memory_.punch(offset_of(page), unit_bytes_);
    later([this, page] { handler_.on_done(page); });
  });
  state(page) = State::kLost;
  take_waiters(page);
  for (auto& [ticket, attachment] : attachments_) {
    give(ticket, attachment, page, local::PagingOp::kTakeAway, local::PagingAccess::kNone);
  }
  finish_if_answered(page);
}

void SignalPager::lose_all() {
  all_lost_ = true;
  memory_.cut_to_nothing();  // SIGBUS for all that have access; the others are told
  local::PagingRecord record;
  record.op = local::PagingOp::kTakeAway;
  record.count = static_cast<std::uint32_t>(memory_.bytes() / kernel_page_bytes());
  for (auto& [ticket, attachment] : attachments_) {
    attachment.waits_for.clear();
    send(ticket, attachment, record);
  }
  waiters_.clear();
  later([this] { handler_.on_all_lost(); });
}

void SignalPager::wake(PageIndex page) {
  local::PagingRecord record;
  record.op = local::PagingOp::kWake;
  for (const auto& [ticket, access] : take_waiters(page)) send(ticket, attachments_.at(ticket), record);
}

SignalPager::Faults SignalPager::take_waiters(PageIndex page) {
  auto waiters = waiters_.extract(page);
  if (waiters.empty()) return {};
  for (const auto& [ticket, access] : waiters.mapped()) attachments_.at(ticket).waits_for.erase(page);
  return std::move(waiters.mapped());
}

void SignalPager::revoke(PageIndex page, local::PagingAccess most) {
  for (auto& [ticket, attachment] : attachments_) {
    const auto given = attachment.given.find(page);
    if (given != attachment.given.end() && given->second > most) {
      give(ticket, attachment, page, local::PagingOp::kSetAccess, most);
    }
  }
}

void SignalPager::grant_waiters(PageIndex page) {
  const auto most = state(page) == State::kExclusive ? local::PagingAccess::kWrite : local::PagingAccess::kRead;
  for (const auto& [ticket, access] : take_waiters(page)) {
    give(ticket, attachments_.at(ticket), page, local::PagingOp::kSetAccess, most);
  }
}

// Ends the work on the page by on_failed(): nobody can reach it any more.
void SignalPager::fail(PageIndex page, const std::string& why) {
  works_.at(page).finish = [this, page, why] {
    memory_.punch(offset_of(page), unit_bytes_);
    later([this, page, why] {
      handler_.on_log(options_.name + ": page " + std::to_string(static_cast<std::uint32_t>(page)) +
                      " is lost here: " + why);
      handler_.on_failed(page);
    });
  };
  state(page) = State::kLost;
  take_waiters(page);
  for (auto& [ticket, attachment] : attachments_) {
    give(ticket, attachment, page, local::PagingOp::kTakeAway, local::PagingAccess::kNone);
  }
  finish_if_answered(page);
}

void SignalPager::give(AttachTicket ticket, Attachment& attachment, PageIndex page, local::PagingOp op,
                       local::PagingAccess access) {
  if (!attachment.attached) return;  // has access to nothing, and asks when it is
  if (access == local::PagingAccess::kNone) {
    attachment.given.erase(page);
  } else {
    attachment.given[page] = access;
  }
  local::PagingRecord record;
  record.op = op;
  record.access = access;
  record.first = static_cast<std::uint32_t>(page) * kernel_pages();
  record.count = kernel_pages();
  record.number = next_number_++;
  attachment.unanswered[record.number] = {page, std::chrono::steady_clock::now()};
  if (const auto work = works_.find(page); work != works_.end()) work->second.unanswered.insert(record.number);
  send(ticket, attachment, record);
}

void SignalPager::send(AttachTicket ticket, Attachment& attachment, const local::PagingRecord& record) {
  attachment.unsent.push_back(record);
  if (attachment.unsent.size() == 1) flush(ticket, attachment);
}

void SignalPager::flush(AttachTicket ticket, Attachment& attachment) {
  while (!attachment.unsent.empty()) {
    const auto& record = attachment.unsent.front();
    const ssize_t sent = ::send(attachment.socket.get(), &record, sizeof record, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && (errno == EAGAIN || errno == ENOBUFS || errno == EINTR)) break;
    attachment.unsent.pop_front();  // an error is the end of the socket, which receive() finds
  }
  const std::uint32_t events = attachment.unsent.empty() ? EPOLLIN : EPOLLIN | EPOLLOUT;
  if (std::exchange(attachment.watched, events) != events) {
    watch(epoll_.get(), EPOLL_CTL_MOD, attachment.socket.get(), static_cast<std::uint64_t>(ticket), events);
  }
}

Result<AttachOffer> SignalPager::offer(bool writable) {
  AttachOffer made;
  made.kind = PagerKind::kSignal;
  made.map_bytes = round_up(options_.segment_bytes, kernel_page_bytes());
  made.memory = memory_.share(writable);
  int ends[2];
  if (!made.memory || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    return trouble(options_.name + ": no descriptors for a program: " + std::strerror(errno));
  }
  made.pager = Descriptor(ends[1]);
  made.ticket = next_ticket();
  Attachment& attachment = attachments_[made.ticket];
  attachment.socket = Descriptor(ends[0]);
  attachment.writable = writable;
  return made;
}

void SignalPager::attached(AttachTicket ticket, pid_t pid, std::uint64_t, Descriptor) {
  const auto found = attachments_.find(ticket);
  Descriptor process(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  int error = 0;
  if (found == attachments_.end() || found->second.attached) {
    error = EINVAL;
  } else if (!process) {
    error = errno == EMFILE || errno == ENFILE || errno == ENOMEM ? ENOMEM : ESRCH;
  } else if (all_lost_) {
    error = EIDRM;
  } else if (!listen(epoll_.get(), found->second.socket.get(), static_cast<std::uint64_t>(ticket))) {
    error = ENOMEM;
  } else {
    found->second.attached = true;
    found->second.watched = EPOLLIN;
    found->second.pid = pid;
    found->second.process = std::move(process);
  }
  if (error == EIDRM || error == ENOMEM || error == ESRCH) attachments_.erase(found);
  later([this, ticket, error] { handler_.on_attached(ticket, error); });
}

void SignalPager::withdraw(AttachTicket ticket) {
  const auto found = attachments_.find(ticket);
  if (found != attachments_.end() && !found->second.attached) attachments_.erase(found);
}

void SignalPager::settle(std::uint64_t token) {
  std::vector<pollfd> sockets;
  std::vector<AttachTicket> tickets;
  for (const auto& [ticket, attachment] : attachments_) {
    if (!attachment.attached) continue;
    sockets.push_back({attachment.socket.get(), 0, 0});
    tickets.push_back(ticket);
  }
  ::poll(sockets.data(), sockets.size(), 0);
  // Who has hung up has unmapped the memory before; what it has said until then does not count any more.
  for (std::size_t i = 0; i < sockets.size(); ++i) {
    if ((sockets[i].revents & (POLLHUP | POLLERR)) != 0) end(tickets[i]);
  }
  later([this, token] { handler_.on_settled(token); });
}

void SignalPager::poll() {
  std::array<epoll_event, 64> ready;
  const int count = epoll_wait(epoll_.get(), ready.data(), static_cast<int>(ready.size()), 0);
  for (int i = 0; i < count; ++i) {
    const std::uint64_t what = ready[static_cast<std::size_t>(i)].data.u64;
    if (what == kTimer) {
      std::uint64_t times;
      if (read(timer_.get(), &times, sizeof times) == sizeof times) look_for_stuck();
    } else if (what == kEvents) {
      eventfd_t asked;
      eventfd_read(events_fd_.get(), &asked);
    } else {
      const auto found = attachments_.find(static_cast<AttachTicket>(what));
      if (found == attachments_.end()) continue;
      flush(found->first, found->second);
      receive(found->first);
    }
  }
  for (auto events = std::exchange(events_, {}); !events.empty(); events.pop_front()) events.front()();
}

void SignalPager::receive(AttachTicket ticket) {
  for (int i = 0; i < kRecordsAtOnce; ++i) {
    const auto found = attachments_.find(ticket);
    if (found == attachments_.end()) return;
    local::PagingRecord record;
    const ssize_t got = recv(found->second.socket.get(), &record, sizeof record, MSG_DONTWAIT);
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) return;
    if (got != sizeof record) return end(ticket);
    if (record.op == local::PagingOp::kDone) {
      const auto answered = found->second.unanswered.extract(record.number);
      if (answered.empty()) continue;
      const PageIndex page = answered.mapped().first;
      if (const auto work = works_.find(page); work != works_.end()) work->second.unanswered.erase(record.number);
      finish_if_answered(page);
    } else if (record.op == local::PagingOp::kFault) {
      const auto page = static_cast<PageIndex>(record.first / kernel_pages());
      if (static_cast<std::uint32_t>(page) < states_.size()) on_fault(ticket, record.access, page);
    }
  }
}

void SignalPager::on_fault(AttachTicket ticket, local::PagingAccess access, PageIndex page) {
  const auto found = attachments_.find(ticket);
  if (found == attachments_.end()) return;
  Attachment& attachment = found->second;
  // Each of these will make all who wait in the program try again, and so fault again.
  if (attachment.unsent.size() + attachment.unanswered.size() >= kOutstandingMax) return;
  const auto give_it = [&](local::PagingOp op, local::PagingAccess most) { give(ticket, attachment, page, op, most); };
  if (const auto work = works_.find(page); work != works_.end()) {
    local::PagingAccess& wanted = work->second.meanwhile[ticket];
    wanted = std::max(wanted, access);
    return;
  }
  if (all_lost_ || state(page) == State::kLost) {
    return give_it(local::PagingOp::kTakeAway, local::PagingAccess::kNone);
  }
  const bool writes = attachment.writable && access == local::PagingAccess::kWrite;
  if (state(page) == State::kExclusive) return give_it(local::PagingOp::kSetAccess, local::PagingAccess::kWrite);
  if (state(page) == State::kShared && !writes) {
    return give_it(local::PagingOp::kSetAccess, local::PagingAccess::kRead);
  }
  if (attachment.waits_for.size() < kWaitsMax || attachment.waits_for.contains(page)) {
    attachment.waits_for.insert(page);
    waiters_[page][ticket] = access;
  } else {
    local::PagingRecord record;
    record.op = local::PagingOp::kWake;
    send(ticket, attachment, record);
  }
  later([this, page, writes] { handler_.on_fault(page, writes ? PageAccess::kWrite : PageAccess::kRead); });
}

// The program has detached, or is no more: nobody has access through it.
void SignalPager::end(AttachTicket ticket) {
  const auto ended = attachments_.extract(ticket);
  for (const PageIndex page : ended.mapped().waits_for) {
    const auto waiters = waiters_.find(page);
    waiters->second.erase(ticket);
    if (waiters->second.empty()) waiters_.erase(waiters);
  }
  for (const auto& [number, about] : ended.mapped().unanswered) {
    if (const auto work = works_.find(about.first); work != works_.end()) work->second.unanswered.erase(number);
    finish_if_answered(about.first);
  }
  later([this, ticket] { handler_.on_detached(ticket); });
}

void SignalPager::look_for_stuck() {
  const TimePoint now = std::chrono::steady_clock::now();
  for (auto& [ticket, attachment] : attachments_) {
    if (attachment.unanswered.empty() || attachment.killed) continue;
    const TimePoint since = attachment.unanswered.begin()->second.second;
    if (now - since < options_.stuck_after) continue;
    attachment.killed = true;
    const bool killed = syscall(SYS_pidfd_send_signal, attachment.process.get(), SIGKILL, nullptr, 0) == 0;
    later([this, pid = attachment.pid, killed] {
      handler_.on_log(options_.name + ": process " + std::to_string(pid) + " does not give pages back" +
                      (killed ? "; killed" : ""));
    });
  }
}

}  // namespace dipc
