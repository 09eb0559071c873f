// What a program may do to the daemon that pages it by SIGSEGV: the test is the program's helper threads, and does with
// their socket what the shim never would.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <algorithm>
#include <vector>

#include "tests/unit/pager/paged_host.h"
#include "wire/local_paging.h"

namespace dipc::test {
namespace {

using local::PagingAccess;
using local::PagingOp;
using local::PagingRecord;

constexpr std::uint32_t kPages = 3000;

PagedHost::Options options(bool grants) {
  return {.segment_bytes = kPages * kernel_page_bytes(), .kind = PagerKind::kSignal, .grants = grants};
}

// One attachment, of a process that does nothing.
class Helper {
 public:
  explicit Helper(PagedHost& host)
      : host_(host), process_(host, [](Program& it) { return static_cast<int>(it.hear()); }) {
    auto offer = host.pager().offer(true);
    if (!offer) throw std::runtime_error(offer.error().what);
    socket_ = std::move(offer->pager);
    fcntl(socket_.get(), F_SETFL, O_NONBLOCK);
    const std::uint32_t before = host.attachments;
    host.pager().attached(offer->ticket, process_.pid(), 0, Descriptor());
    EXPECT_TRUE(host.until([&] { return host.attachments == before + 1; }));
  }
  Process& process() { return process_; }
  bool send(const PagingRecord& record) {
    return ::send(socket_.get(), &record, sizeof record, MSG_NOSIGNAL) == static_cast<ssize_t>(sizeof record);
  }
  bool fault(std::uint32_t page, PagingAccess access = PagingAccess::kRead) {
    PagingRecord record;
    record.op = PagingOp::kFault;
    record.access = access;
    record.first = page;
    record.count = 1;
    return send(record);
  }
  // As many faults as it takes; the daemon gets its turns.
  void fault_often(std::uint32_t page, int times) {
    while (times > 0) {
      if (fault(page)) {
        --times;
      } else {
        host_.pager().poll();
      }
    }
    host_.pager().poll();
  }
  void answer(const PagingRecord& asked) {
    PagingRecord done;
    done.op = PagingOp::kDone;
    done.number = asked.number;
    while (!send(done)) host_.pager().poll();
  }
  // All that the daemon has for it.
  std::vector<PagingRecord> read_all() {
    std::vector<PagingRecord> all;
    int empty = 0;
    while (empty < 50) {
      PagingRecord record;
      if (recv(socket_.get(), &record, sizeof record, 0) == static_cast<ssize_t>(sizeof record)) {
        all.push_back(record);
        empty = 0;
      } else {
        ++empty;
        host_.pager().poll();
      }
    }
    return all;
  }

 private:
  PagedHost& host_;
  Process process_;
  Descriptor socket_;
};

std::size_t count(const std::vector<PagingRecord>& records, PagingOp op) {
  return static_cast<std::size_t>(
      std::count_if(records.begin(), records.end(), [&](const PagingRecord& record) { return record.op == op; }));
}

TEST(SignalPager, OneThatFloodsItKeepsNoOtherWaiting) {
  PagedHost host(options(false));
  Helper flooding(host);
  Helper patient(host);
  while (flooding.fault(1)) {
  }
  ASSERT_TRUE(patient.fault(2));
  host.pager().poll();
  const auto of_page = [&](std::uint32_t page) {
    return std::count(host.faults.begin(), host.faults.end(), std::pair(page, PageAccess::kRead));
  };
  EXPECT_EQ(of_page(2), 1);
  EXPECT_GE(of_page(1), 1);
  EXPECT_LE(of_page(1), 64);
}

TEST(SignalPager, OneThatWaitsForTooManyPagesIsToldToTryAgain) {
  PagedHost host(options(false));
  Helper helper(host);
  for (std::uint32_t page = 0; page < 1024; ++page) {
    helper.fault_often(page, 1);
  }
  helper.fault_often(5, 10);  // waits for it already
  EXPECT_TRUE(helper.read_all().empty());
  helper.fault_often(2000, 1);
  EXPECT_EQ(count(helper.read_all(), PagingOp::kWake), 1);
  EXPECT_TRUE(host.faulted(2000, PageAccess::kRead));
  host.pager().install(PageIndex{7}, nullptr, false);
  EXPECT_EQ(count(helper.read_all(), PagingOp::kSetAccess), 1);
  helper.fault_often(2001, 1);  // in the place of page 7
  EXPECT_EQ(count(helper.read_all(), PagingOp::kWake), 0);
}

TEST(SignalPager, WhatDoesNotGoAtOnceGoesWhenThereIsRoom) {
  PagedHost host(options(false));
  ASSERT_TRUE(host.install(0, 'x'));
  Helper helper(host);
  helper.fault_often(0, 2000);  // more than the socket has room for
  EXPECT_EQ(count(helper.read_all(), PagingOp::kSetAccess), 2000);
}

TEST(SignalPager, OneThatNeverReadsIsNotAnsweredForEver) {
  PagedHost host(options(false));
  ASSERT_TRUE(host.install(0, 'x'));
  Helper helper(host);
  helper.fault_often(0, 10000);
  auto records = helper.read_all();
  EXPECT_GE(records.size(), 1000u);
  EXPECT_LE(records.size(), 4096u);
  helper.fault_often(0, 10000);  // now it reads, but does not answer
  const auto more = helper.read_all();
  records.insert(records.end(), more.begin(), more.end());
  EXPECT_LE(records.size(), 4096u);
  for (const PagingRecord& record : records) helper.answer(record);
  helper.fault_often(0, 1);
  EXPECT_EQ(count(helper.read_all(), PagingOp::kSetAccess), 1);
}

TEST(SignalPager, OneThatReadsAndNeverAnswersIsKilled) {
  PagedHost::Options with = options(false);
  with.stuck_after = std::chrono::milliseconds(300);
  PagedHost host(with);
  ASSERT_TRUE(host.install(0, 'x'));
  Helper helper(host);
  helper.fault_often(0, 1);
  for (const PagingRecord& record : helper.read_all()) helper.answer(record);
  host.pager().protect_and_read(PageIndex{0}, true);
  const auto records = helper.read_all();
  ASSERT_EQ(records.size(), 1u);
  EXPECT_EQ(records[0].access, PagingAccess::kNone);
  EXPECT_EQ(helper.process().status(), -SIGKILL);
}

TEST(SignalPager, PagesAreTakenOnceTheLastThatHadThemHasHungUp) {
  PagedHost host(options(false));
  ASSERT_TRUE(host.install(0, 'x'));
  std::optional<Helper> helper(std::in_place, host);
  helper->fault_often(0, 1);
  for (const PagingRecord& record : helper->read_all()) helper->answer(record);
  while (helper->fault(1)) {
  }
  helper.reset();
  host.settle();
  EXPECT_EQ(host.attachments, 0) << "with records unread";
  EXPECT_TRUE(host.take(0, true));
}

// Numbers and pages that there are not.
TEST(SignalPager, NonsenseIsLetBe) {
  PagedHost host(options(false));
  ASSERT_TRUE(host.install(0, 'x'));
  Helper helper(host);
  for (const std::uint32_t page : {kPages, kPages + 1, ~0U}) {
    for (const std::uint32_t access : {0U, 1U, 2U, 77U, ~0U}) helper.fault(page, static_cast<PagingAccess>(access));
  }
  for (const std::uint64_t number : {std::uint64_t{0}, std::uint64_t{1}, ~std::uint64_t{0}}) {
    PagingRecord done;
    done.op = PagingOp::kDone;
    done.number = number;
    helper.send(done);
  }
  PagingRecord nothing;
  nothing.op = static_cast<PagingOp>(99);
  helper.send(nothing);
  helper.fault(0, static_cast<PagingAccess>(77));
  EXPECT_EQ(count(helper.read_all(), PagingOp::kSetAccess), 1);
  EXPECT_TRUE(host.faults.empty());
}

}  // namespace
}  // namespace dipc::test
