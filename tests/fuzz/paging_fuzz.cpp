// Hostile programs with a segment, where there is no userfaultfd: whatever they write into the sockets of their helper
// threads, what is asked of the pager is done once, not before a program that behaves has given up what it may not have
// any more, and at the latest when the others are gone.
//
// Input: steps. Of each: what (enum Step), then one byte: page (two bits) and more. A kRecord is followed by the four
// small numbers of a record; a kPacket by as many bytes as it says. Numbers in the corpus are right for every machine.

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <vector>

#include "daemon/pager/pager.h"
#include "daemon/pager/segment_memory.h"
#include "wire/check.h"
#include "wire/local_paging.h"

namespace dipc {
namespace {

constexpr std::uint32_t kPages = 4;
constexpr std::uint32_t kKernelPages = 2;  // of one

enum Step : std::uint8_t {
  kRecord,   // from a hostile program: operation, access, kernel page, number
  kPacket,   // likewise, of any length
  kTouch,    // the one that behaves touches the page: to write, if bit 2 is set
  kAnswer,   // it does what it has been told
  kInstall,  // what the host asks for: bit 2 is `writable`, or `drop`
  kUpgrade,
  kProtect,
  kDrop,
  kLose,
  kWake,
  kSettle,
  kPoll,
  kClose,   // a hostile program ends
  kAttach,  // another one begins: bit 2 is `writable`
  kLoseAll,
  kSteps,
};

using local::PagingAccess;
using local::PagingOp;
using local::PagingRecord;

class Host final : public Pager::Handler {
 public:
  Host() {
    const std::uint64_t unit_bytes = kKernelPages * kernel_page_bytes();
    auto made = make_pager(PagerKind::kSignal,
                           {.name = "fuzz",
                            .segment_bytes = kPages * unit_bytes,
                            .unit_bytes = unit_bytes,
                            .stuck_after = std::chrono::hours(1)},
                           *this);
    DIPC_CHECK(made.has_value());
    pager_ = std::move(*made);
    well_behaved_ = attach(true);
    attach_hostile(true);
    attach_hostile(false);
  }

  // Without what it has read.
  std::span<const std::byte> take_step(std::span<const std::byte> input) {
    const auto what = static_cast<Step>(std::to_integer<unsigned>(input[0]) % kSteps);
    const auto more = std::to_integer<std::uint32_t>(input[1]);
    input = input.subspan(2);
    const PageIndex page{more % kPages};
    const bool flag = (more & 4) != 0;
    const std::uint32_t which = more >> 3;
    switch (what) {
      case kRecord:
        if (input.size() < 4) return {};
        send_record(which, input);
        return input.subspan(4);
      case kPacket: {
        const auto packet = input.first(std::min<std::size_t>(more, input.size()));
        if (!hostile_.empty()) send(hostile_.back(), packet);
        return input.subspan(packet.size());
      }
      case kTouch:
        touch(page, flag);
        break;
      case kAnswer:
        answer();
        break;
      case kSettle:
        pager_->settle(more);
        break;
      case kPoll:
        pager_->poll();
        break;
      case kClose:
        if (!hostile_.empty()) hostile_.erase(hostile_.begin() + which % hostile_.size());
        break;
      case kAttach:
        attach_hostile(flag);
        break;
      case kLoseAll:
        pager_->lose_all();
        break;
      default:
        ask(what, page, flag);
        break;
    }
    return input;
  }

  void end() {
    hostile_.clear();
    for (int i = 0; i < 4; ++i) {
      pager_->poll();
      answer();
    }
    DIPC_CHECK(asked_.empty());
    DIPC_CHECK(attachments_.size() == 1);  // that of the one that behaves
  }

  void on_fault(PageIndex page, PageAccess) override { DIPC_CHECK(static_cast<std::uint32_t>(page) < kPages); }
  void on_done(PageIndex page) override { finish(page); }
  void on_contents(PageIndex page, PageContents contents) override {
    DIPC_CHECK(contents && contents->size() == kKernelPages * kernel_page_bytes());
    finish(page);
  }
  void on_failed(PageIndex page) override {
    DIPC_CHECK(access_[static_cast<std::uint32_t>(page)] == PagingAccess::kNone);
    finish(page);
  }
  void on_all_lost() override {}
  void on_attached(AttachTicket ticket, int error) override {
    DIPC_CHECK(attachments_.contains(ticket));
    if (error != 0) attachments_.erase(ticket);
  }
  void on_forked(AttachTicket) override { DIPC_CHECK(false); }  // here a child attaches anew
  void on_detached(AttachTicket of) override { DIPC_CHECK(attachments_.erase(of) == 1); }
  void on_settled(std::uint64_t) override {}
  void on_log(const std::string&) override {}

 private:
  // The program's end.
  Descriptor attach(bool writable) {
    auto offer = pager_->offer(writable);
    DIPC_CHECK(offer.has_value());
    attachments_.insert(offer->ticket);
    pager_->attached(offer->ticket, ::getpid(), 0, {});
    return std::move(offer->pager);
  }
  void attach_hostile(bool writable) {
    constexpr std::size_t kHostileMax = 8;
    if (hostile_.size() < kHostileMax) hostile_.push_back(attach(writable));
  }

  static void send(const Descriptor& socket, std::span<const std::byte> packet) {
    ::send(socket.get(), packet.data(), packet.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  }
  static void send(const Descriptor& socket, const PagingRecord& record) {
    send(socket, std::as_bytes(std::span(&record, 1)));
  }
  void send_record(std::uint32_t which, std::span<const std::byte> numbers) {
    if (hostile_.empty()) return;
    PagingRecord record;
    record.op = PagingOp{std::to_integer<std::uint32_t>(numbers[0])};
    record.access = PagingAccess{std::to_integer<std::uint32_t>(numbers[1])};
    record.first = std::to_integer<std::uint32_t>(numbers[2]);
    record.count = kKernelPages;
    record.number = std::to_integer<std::uint32_t>(numbers[3]);
    send(hostile_[which % hostile_.size()], record);
  }

  void touch(PageIndex page, bool writes) {
    PagingRecord record;
    record.op = PagingOp::kFault;
    record.access = writes ? PagingAccess::kWrite : PagingAccess::kRead;
    record.first = static_cast<std::uint32_t>(page) * kKernelPages;
    send(well_behaved_, record);
  }
  void answer() {
    PagingRecord record;
    while (::recv(well_behaved_.get(), &record, sizeof record, MSG_DONTWAIT) == sizeof record) {
      if (record.op == PagingOp::kWake) continue;
      DIPC_CHECK(record.first % kKernelPages == 0 && record.count % kKernelPages == 0);
      DIPC_CHECK((record.first + record.count) / kKernelPages <= kPages);
      for (std::uint32_t i = 0; i < record.count / kKernelPages; ++i) {
        access_[record.first / kKernelPages + i] =
            record.op == PagingOp::kSetAccess ? record.access : PagingAccess::kNone;
      }
      record.op = PagingOp::kDone;
      send(well_behaved_, record);
    }
  }

  void ask(Step what, PageIndex page, bool flag) {
    if (what == kWake) return pager_->wake(page);
    const bool takes_all = what == kDrop || what == kLose || (what == kProtect && flag);
    const PagingAccess most = takes_all          ? PagingAccess::kNone
                              : what == kProtect ? PagingAccess::kRead
                                                 : PagingAccess::kWrite;
    if (!asked_.emplace(page, most).second) return;  // one thing at a time for each page
    switch (what) {
      case kInstall:
        return pager_->install(page, nullptr, flag);
      case kUpgrade:
        return pager_->upgrade(page);
      case kProtect:
        return pager_->protect_and_read(page, flag);
      case kDrop:
        return pager_->drop(page);
      default:
        return pager_->mark_lost(page);
    }
  }
  void finish(PageIndex page) {
    const auto asked = asked_.extract(page);
    DIPC_CHECK(!asked.empty());
    DIPC_CHECK(access_[static_cast<std::uint32_t>(page)] <= asked.mapped());
  }

  std::unique_ptr<Pager> pager_;
  Descriptor well_behaved_;
  std::vector<Descriptor> hostile_;
  std::array<PagingAccess, kPages> access_{};  // that the one that behaves has
  std::map<PageIndex, PagingAccess> asked_;    // and the most that it may have when it is done
  std::set<AttachTicket> attachments_;
};

}  // namespace
}  // namespace dipc

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  std::span<const std::byte> input(reinterpret_cast<const std::byte*>(data), bytes);
  constexpr int kStepsMax = 200;
  dipc::Host host;
  for (int i = 0; i < kStepsMax && input.size() >= 2; ++i) input = host.take_step(input);
  host.end();
  return 0;
}
