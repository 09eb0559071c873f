#include "daemon/pager/userfault_pager.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>
#include <system_error>
#include <thread>

#include "daemon/core/segment_pages.h"
#include "wire/overloaded.h"

namespace dipc {
namespace {

constexpr auto kEndsWithin = std::chrono::milliseconds(100);

}  // namespace

Result<std::unique_ptr<Pager>> UserfaultPager::make(Options options, Handler& handler, bool poisons) {
  const std::uint64_t bytes = round_up(options.segment_bytes, options.unit_bytes);
  auto memory = SegmentMemory::make(options.name, bytes);
  if (!memory) return tl::unexpected(memory.error());
  auto for_reading = SegmentMemory::make(options.name + ", read", bytes);
  if (!for_reading) return tl::unexpected(for_reading.error());
  auto paging = std::make_unique<Paging>(Paging{std::move(*memory), std::move(*for_reading), nullptr});
  auto thread = UserfaultThread::start(paging->memory, paging->for_reading,
                                       {options.name, static_cast<std::size_t>(options.unit_bytes), options.stuck_after,
                                        poisons, options.label, options.directory});
  if (!thread) return tl::unexpected(thread.error());
  paging->thread = std::move(*thread);
  return std::unique_ptr<Pager>(new UserfaultPager(std::move(options), handler, std::move(paging)));
}

Result<std::unique_ptr<Pager>> UserfaultPager::take_over(Options options, Handler& handler, KeptSegment kept,
                                                         HeldMemory& held) {
  const std::uint64_t bytes = round_up(options.segment_bytes, options.unit_bytes);
  if (kept.record.header().memory_bytes != bytes || kept.record.header().unit_bytes != options.unit_bytes) {
    discard(std::move(kept));
    return trouble(options.name + ": what an earlier daemon has left of it has another size");
  }
  std::map<AttachTicket, AttachTicket> fresh;  // those of the daemon before are not ours
  for (KeptAttachment& attachment : kept.attachments) {
    const auto ticket = fresh.try_emplace(attachment.ticket, AttachTicket{}).first;
    if (ticket->second == AttachTicket{}) ticket->second = next_ticket();
    attachment.ticket = ticket->second;
    held.attachments.emplace_back(attachment.ticket, attachment.uid);
  }
  auto paging = std::make_unique<Paging>(
      Paging{SegmentMemory::take_over(std::move(kept.memory), static_cast<std::size_t>(bytes)),
             SegmentMemory::take_over(std::move(kept.for_reading), static_cast<std::size_t>(bytes)), nullptr});
  auto thread = UserfaultThread::start(paging->memory, paging->for_reading,
                                       {options.name, static_cast<std::size_t>(options.unit_bytes), options.stuck_after,
                                        true, options.label, options.directory},
                                       &kept);
  if (!thread) return tl::unexpected(thread.error());
  paging->thread = std::move(*thread);
  held.pages = paging->thread->held();
  return std::unique_ptr<Pager>(new UserfaultPager(std::move(options), handler, std::move(paging)));
}

// Everything that a pager needs of it, tried on one page.
std::string UserfaultPager::missing() {
  const Descriptor device = Userfault::open_device();
  if (!device) return std::string("/dev/userfaultfd: ") + std::strerror(errno);
  Descriptor made = Userfault::make(device.get());
  if (!made) return std::string("userfaultfd: ") + std::strerror(errno);  // qemu-user opens the device, and that is all
  std::optional<Userfault> userfault(std::in_place, std::move(made));
  if (const int error = userfault->set_up(true); error != 0) {
    return error == EPERM ? "no CAP_SYS_PTRACE, which fork events take"
                          : std::string(
                                "this kernel's userfaultfd has no write protection of shared memory or no fork "
                                "events: ") +
                                std::strerror(error);
  }
  const auto memory = SegmentMemory::make("userfaultfd", kernel_page_bytes());
  if (!memory) return memory.error().what;
  void* address = mmap(nullptr, memory->bytes(), PROT_NONE, MAP_SHARED, memory->fd(), 0);
  if (address == MAP_FAILED) return std::string("mmap: ") + std::strerror(errno);
  const int error =
      userfault->watch(reinterpret_cast<std::uintptr_t>(address), memory->bytes(), Userfault::Also::kWrites);
  userfault.reset();  // before the memory: munmap() would wait until somebody has read that it is gone
  munmap(address, memory->bytes());
  return error == 0 ? "" : std::string("userfaultfd of shared memory: ") + std::strerror(error);
}

UserfaultPager::UserfaultPager(Options options, Handler& handler, std::unique_ptr<Paging> paging)
    : options_(std::move(options)), handler_(handler), paging_(std::move(paging)) {}

UserfaultPager::~UserfaultPager() {
  if (paging_->thread->stop(kEndsWithin)) return;
  // The loop has more to do than to wait for a program; without a thread to be had it waits.
  try {
    std::thread([paging = paging_.get()] { const std::unique_ptr<Paging> ends(paging); }).detach();
    static_cast<void>(paging_.release());
  } catch (const std::system_error&) {  // of std::thread
    paging_.reset();
  }
}

void UserfaultPager::install(PageIndex page, PageContents contents, bool writable) {
  thread().ask(UserfaultThread::Install{page, std::move(contents), writable});
}
void UserfaultPager::upgrade(PageIndex page) { thread().ask(UserfaultThread::Upgrade{page}); }
void UserfaultPager::protect_and_read(PageIndex page, bool drop) {
  thread().ask(UserfaultThread::ProtectAndRead{page, drop});
}
void UserfaultPager::drop(PageIndex page) { thread().ask(UserfaultThread::Drop{page}); }
void UserfaultPager::mark_lost(PageIndex page) { thread().ask(UserfaultThread::MarkLost{page}); }
void UserfaultPager::lose_all() { thread().ask(UserfaultThread::LoseAll{}); }
void UserfaultPager::wake(PageIndex page) { thread().ask(UserfaultThread::Wake{page}); }
void UserfaultPager::settle(std::uint64_t token) { thread().ask(UserfaultThread::Settle{token}); }

Result<AttachOffer> UserfaultPager::offer(bool writable) {
  AttachOffer made;
  made.kind = PagerKind::kUserfault;
  made.map_bytes = round_up(options_.segment_bytes, kernel_page_bytes());
  made.memory = writable ? paging_->memory.share(true) : paging_->for_reading.share(false);
  made.pager = Userfault::open_device();
  if (!made.memory || !made.pager) {
    return trouble(options_.name + ": no descriptors for a program: " + std::strerror(errno));
  }
  made.ticket = next_ticket();
  offered_.emplace(made.ticket, writable);
  return made;
}

void UserfaultPager::attached(AttachTicket ticket, pid_t pid, std::uint64_t address, Descriptor userfaultfd) {
  const auto offered = offered_.find(ticket);
  const bool is_known = offered != offered_.end();
  UserfaultThread::Attach attach{
      ticket, pid, address, round_up(options_.segment_bytes, kernel_page_bytes()), is_known && offered->second, {}};
  if (is_known) {  // else without one, so that it is refused
    attach.userfaultfd = std::move(userfaultfd);
    offered_.erase(offered);
  }
  thread().ask(std::move(attach));
}

void UserfaultPager::poll() {
  for (UserfaultThread::Event& event : thread().take_events()) {
    std::visit(Overloaded{
                   [&](UserfaultThread::Fault& it) { handler_.on_fault(it.page, it.access); },
                   [&](UserfaultThread::Done& it) { handler_.on_done(it.page); },
                   [&](UserfaultThread::Contents& it) { handler_.on_contents(it.page, std::move(it.contents)); },
                   [&](UserfaultThread::Failed& it) { handler_.on_failed(it.page); },
                   [&](UserfaultThread::AllLost&) { handler_.on_all_lost(); },
                   [&](UserfaultThread::Attached& it) { handler_.on_attached(it.ticket, it.error); },
                   [&](UserfaultThread::Forked& it) { handler_.on_forked(it.ticket); },
                   [&](UserfaultThread::Detached& it) { handler_.on_detached(it.ticket); },
                   [&](UserfaultThread::Settled& it) { handler_.on_settled(it.token); },
                   [&](UserfaultThread::Log& it) { handler_.on_log(it.line); },
               },
               event);
  }
}

}  // namespace dipc
