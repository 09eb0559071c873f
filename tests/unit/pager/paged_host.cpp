#include "tests/unit/pager/paged_host.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "daemon/pager/userfault.h"
#include "daemon/pager/userfault_pager.h"

namespace dipc::test {
namespace {

// What goes over the socket of a process: a letter for the test, or a part of attaching.
struct Packet {
  char what = 0;  // 'a', 'A': attach for reading, for writing, and its offer; 'm': mapped; 'r': the result
  char letter = 0;
  int error = 0;
  AttachTicket ticket{};
  std::uint64_t address = 0;
  std::uint32_t bytes = 0;
};

bool send_packet(int socket, const Packet& packet, std::vector<int> fds = {}) {
  iovec part{const_cast<Packet*>(&packet), sizeof packet};
  alignas(cmsghdr) char control[CMSG_SPACE(2 * sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (!fds.empty()) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
    std::memcpy(CMSG_DATA(header), fds.data(), fds.size() * sizeof(int));
  }
  return sendmsg(socket, &message, MSG_NOSIGNAL) == sizeof packet;
}

std::optional<Packet> receive_packet(int socket, std::vector<Descriptor>& fds, int flags = 0) {
  Packet packet;
  iovec part{&packet, sizeof packet};
  alignas(cmsghdr) char control[CMSG_SPACE(2 * sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t got;
  while ((got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC | flags)) < 0 && errno == EINTR) {
  }
  if (got != sizeof packet) return std::nullopt;
  if (cmsghdr* header = CMSG_FIRSTHDR(&message)) {
    const std::size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(header) + i * sizeof fd, sizeof fd);
      fds.emplace_back(fd);
    }
  }
  return packet;
}

}  // namespace

volatile char* Program::attach(bool writable) {
  send_packet(socket_, {.what = writable ? 'A' : 'a'});
  std::vector<Descriptor> fds;
  const auto offer = receive_packet(socket_, fds);
  if (!offer || offer->error != 0 || fds.size() != 2) return nullptr;
  attached_bytes_ = offer->bytes;
  void* address = mmap(nullptr, offer->bytes, PROT_NONE, writable ? MAP_SHARED : MAP_PRIVATE, fds[0].get(), 0);
  if (address == MAP_FAILED) return nullptr;
  const Descriptor userfault = Userfault::make(fds[1].get());
  Packet mapped{.what = 'm', .ticket = offer->ticket, .address = reinterpret_cast<std::uintptr_t>(address)};
  send_packet(socket_, mapped, {userfault.get()});
  std::vector<Descriptor> none;
  const auto result = receive_packet(socket_, none);
  if (!result || result->error != 0) return nullptr;
  memory_ = std::move(fds[0]);
  mprotect(address, offer->bytes, writable ? PROT_READ | PROT_WRITE : PROT_READ);
  return static_cast<volatile char*>(address);
}

void Program::say(char letter) { send_packet(socket_, {.letter = letter}); }

char Program::hear() {
  std::vector<Descriptor> none;
  const auto packet = receive_packet(socket_, none);
  return packet ? packet->letter : '\0';
}

Process::Process(PagedHost& host, std::function<int(Program&)> body) : host_(host) {
  int sockets[2];
  EXPECT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets), 0);
  const pid_t parent = getpid();
  pid_ = fork();
  if (pid_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(99);
    close(sockets[0]);
    Program program(sockets[1]);
    _exit(body(program));
  }
  close(sockets[1]);
  socket_ = sockets[0];
  host_.processes_.push_back(this);
}

Process::~Process() {
  if (!status_) {
    kill();
    waitpid(pid_, nullptr, 0);
  }
  std::erase(host_.processes_, this);
  close(socket_);
}

void Process::say(char letter) const { send_packet(socket_, {.letter = letter}); }

char Process::hear() {
  host_.until([&] { return !said_.empty() || closed_; });
  if (said_.empty()) return '\0';
  const char letter = said_.front();
  said_.erase(0, 1);
  return letter;
}

int Process::status() {
  host_.until([&] {
    int status;
    if (!status_ && waitpid(pid_, &status, WNOHANG) == pid_) {
      status_ = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    }
    return status_.has_value();
  });
  return status_.value_or(-1000);
}

void Process::kill(int signal) const { ::kill(pid_, signal); }

namespace {

Pager::Options pager_options(const PagedHost::Options& options) {
  Pager::Options pager;
  pager.name = "dipc segment of a test";
  pager.segment_bytes = options.segment_bytes;
  pager.unit_bytes = options.unit_bytes;
  pager.stuck_after = options.stuck_after;
  pager.label = options.label;
  pager.directory = options.directory;
  return pager;
}

}  // namespace

PagedHost::PagedHost(Options options) : options_(std::move(options)) {
  Pager::Options pager = pager_options(options_);
  auto made = options_.kind == PagerKind::kUserfault ? UserfaultPager::make(std::move(pager), *this, options_.poisons)
                                                     : make_pager(options_.kind, std::move(pager), *this);
  if (!made) throw std::runtime_error(made.error().what);
  pager_ = std::move(*made);
}

PagedHost::PagedHost(Options options, KeptSegment kept) : options_(std::move(options)) {
  HeldMemory held;
  auto made = take_over(pager_options(options_), *this, std::move(kept), held);
  if (!made) throw std::runtime_error(made.error().what);
  pager_ = std::move(*made);
  attachments = static_cast<std::uint32_t>(held.attachments.size());
  for (const auto& [page, access] : held.pages) {
    Page& it = pages_[static_cast<std::uint32_t>(page)];
    if (access == PageCache::Access::kShared) it.access = Access::kRead;
    if (access == PageCache::Access::kExclusive) it.access = Access::kWrite;
    it.failed = access == PageCache::Access::kLost;
  }
}

PagedHost::~PagedHost() = default;

bool PagedHost::until(const std::function<bool()>& holds) {
  const auto end = std::chrono::steady_clock::now() + kPatience;
  while (!holds()) {
    if (std::chrono::steady_clock::now() > end) return false;
    turn(5);
  }
  return true;
}

void PagedHost::turn(int timeout_ms) {
  std::vector<pollfd> fds{{pager_ ? pager_->wakeup_fd() : -1, POLLIN, 0}};
  const std::vector<Process*> processes = processes_;
  for (Process* process : processes) fds.push_back({process->closed_ ? -1 : process->socket_, POLLIN, 0});
  const std::size_t processes_end = fds.size();
  for (const auto& [fd, on_readable] : served_) fds.push_back({fd, POLLIN, 0});
  if (::poll(fds.data(), fds.size(), timeout_ms) <= 0) return;
  if (fds[0].revents != 0) pager_->poll();
  for (std::size_t i = 0; i < processes.size(); ++i) {
    if (fds[i + 1].revents != 0) on_packet(*processes[i]);
  }
  for (std::size_t i = processes_end; i < fds.size(); ++i) {
    if (fds[i].revents != 0) served_[i - processes_end].second();
  }
}

void PagedHost::on_packet(Process& process) {
  std::vector<Descriptor> fds;
  const auto packet = receive_packet(process.socket_, fds, MSG_DONTWAIT);
  if (!packet) {
    process.closed_ = true;
  } else if (packet->what == 'a' || packet->what == 'A') {
    auto offer = pager_->offer(packet->what == 'A');
    if (!offer) {
      send_packet(process.socket_, {.what = packet->what, .error = ENOMEM});
      return;
    }
    send_packet(process.socket_,
                {.what = packet->what, .ticket = offer->ticket, .bytes = static_cast<std::uint32_t>(offer->map_bytes)},
                {offer->memory.get(), offer->pager.get()});
  } else if (packet->what == 'm') {
    attaching_[packet->ticket] = &process;
    pager_->attached(packet->ticket, process.pid_, packet->address, fds.empty() ? Descriptor() : std::move(fds[0]));
  } else {
    process.said_ += packet->letter;
  }
}

bool PagedHost::faulted(std::uint32_t page, PageAccess access) {
  return until([&] { return std::find(faults.begin(), faults.end(), std::pair(page, access)) != faults.end(); });
}

void PagedHost::put(std::uint32_t page, char fill) {
  pages_[page].contents = std::make_shared<const Bytes>(options_.unit_bytes, static_cast<std::byte>(fill));
}

std::optional<Bytes> PagedHost::contents(std::uint32_t page) {
  const PageContents& contents = pages_[page].contents;
  return contents ? contents.copy() : Bytes(options_.unit_bytes);
}

bool PagedHost::finish(std::uint32_t page) {
  until([&] { return !pages_[page].busy; });
  return !pages_[page].busy && !std::exchange(pages_[page].failed, false);
}

bool PagedHost::install(std::uint32_t page, char fill, bool writable) {
  put(page, fill);
  Page& it = pages_[page];
  it.busy = true;
  it.coming = writable ? Access::kWrite : Access::kRead;
  pager_->install(PageIndex{page}, it.contents, writable);
  return finish(page);
}

std::string PagedHost::install_all(const std::string& fills, const std::set<std::uint32_t>& writable) {
  const PageContents::Block block = PageContents::make_block(fills.size() * options_.unit_bytes);
  for (std::uint32_t page = 0; page < fills.size(); ++page) {
    const std::size_t offset = page * options_.unit_bytes;
    std::fill_n(block.get() + offset, options_.unit_bytes, static_cast<std::byte>(fills[page]));
    pages_[page].contents = {block, offset, options_.unit_bytes};
  }
  return install_each(static_cast<std::uint32_t>(fills.size()), writable);
}

std::string PagedHost::install_put(std::uint32_t count) { return install_each(count, {}); }

std::string PagedHost::install_each(std::uint32_t count, const std::set<std::uint32_t>& writable) {
  for (std::uint32_t page = 0; page < count; ++page) {
    pages_[page].busy = true;
    pages_[page].coming = writable.contains(page) ? Access::kWrite : Access::kRead;
  }
  for (std::uint32_t page = 0; page < count; ++page) {
    pager_->install(PageIndex{page}, pages_[page].contents, writable.contains(page));
  }
  return finish_all(count);
}

std::string PagedHost::take_all(std::uint32_t count, const std::set<std::uint32_t>& dropped) {
  for (std::uint32_t page = 0; page < count; ++page) {
    pages_[page].busy = true;
    pages_[page].coming = dropped.contains(page) ? Access::kNone : Access::kRead;
  }
  for (std::uint32_t page = 0; page < count; ++page) {
    pager_->protect_and_read(PageIndex{page}, dropped.contains(page));
  }
  return finish_all(count);
}

std::string PagedHost::finish_all(std::uint32_t count) {
  std::string letters;
  for (std::uint32_t page = 0; page < count; ++page) {
    letters += finish(page) ? static_cast<char>(pages_[page].contents->front()) : '!';
  }
  return letters;
}

bool PagedHost::upgrade(std::uint32_t page) {
  if (!finish(page)) return false;
  pages_[page].busy = true;
  pages_[page].coming = Access::kWrite;
  pager_->upgrade(PageIndex{page});
  return finish(page);
}

std::optional<Bytes> PagedHost::take(std::uint32_t page, bool drop) {
  if (!finish(page)) return std::nullopt;
  pages_[page].busy = true;
  pages_[page].coming = drop ? Access::kNone : Access::kRead;
  pager_->protect_and_read(PageIndex{page}, drop);
  if (!finish(page)) return std::nullopt;
  return pages_[page].contents.copy();
}

bool PagedHost::drop(std::uint32_t page) {
  if (!finish(page)) return false;
  pages_[page].busy = true;
  pages_[page].coming = Access::kNone;
  pager_->drop(PageIndex{page});
  return finish(page);
}

void PagedHost::lose(std::uint32_t page) {
  finish(page);
  pages_[page].busy = true;
  pages_[page].coming = Access::kNone;
  pager_->mark_lost(PageIndex{page});
  EXPECT_TRUE(finish(page));
}

void PagedHost::lose_all() {
  pager_->lose_all();
  EXPECT_TRUE(until([&] { return all_lost_; }));
}

void PagedHost::settle() {
  const std::uint64_t token = next_token_++;
  pager_->settle(token);
  EXPECT_TRUE(until([&] { return settled_ == token; }));
}

void PagedHost::on_fault(PageIndex index, PageAccess access) {
  const auto page = static_cast<std::uint32_t>(index);
  faults.emplace_back(page, access);
  if (options_.grants) grant(page, access);
}

void PagedHost::grant(std::uint32_t page, PageAccess access) {
  Page& it = pages_[page];
  const Access wants = access == PageAccess::kWrite ? Access::kWrite : Access::kRead;
  if (it.busy) {
    it.wanted = it.wanted == PageAccess::kWrite ? PageAccess::kWrite : access;
  } else if (it.access >= wants) {
    pager_->wake(PageIndex{page});
  } else {
    it.busy = true;
    it.coming = wants;
    if (it.access == Access::kNone) {
      pager_->install(PageIndex{page}, it.contents, wants == Access::kWrite);
    } else {
      pager_->upgrade(PageIndex{page});
    }
  }
}

void PagedHost::on_done(PageIndex index) {
  Page& it = pages_[static_cast<std::uint32_t>(index)];
  it.busy = false;
  it.access = it.coming;
  if (const auto wanted = std::exchange(it.wanted, std::nullopt)) grant(static_cast<std::uint32_t>(index), *wanted);
}

void PagedHost::on_contents(PageIndex index, PageContents contents) {
  const auto page = static_cast<std::uint32_t>(index);
  Page& it = pages_[page];
  it.contents = std::move(contents);
  if (while_away && it.coming == Access::kNone) {
    Bytes changed = it.contents.copy();
    while_away(page, changed);
    it.contents = std::make_shared<const Bytes>(std::move(changed));
  }
  on_done(index);
}

void PagedHost::on_failed(PageIndex index) {
  Page& it = pages_[static_cast<std::uint32_t>(index)];
  it.busy = false;
  it.failed = true;
}

void PagedHost::on_attached(AttachTicket ticket, int error) {
  const auto found = attaching_.find(ticket);
  if (error == 0) {
    ++attachments;
  } else {
    refused.push_back(error);
  }
  if (found != attaching_.end()) send_packet(found->second->socket_, {.what = 'r', .error = error});
  attaching_.erase(ticket);
}

void PagedHost::on_forked(AttachTicket) {
  ++attachments;
  ++forks;
}

}  // namespace dipc::test
