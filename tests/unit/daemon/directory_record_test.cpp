#include "daemon/directory_record.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <functional>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <utility>

namespace dipc::test {
namespace {

constexpr std::uint32_t kPages = 262'144;  // 1 GiB

SegmentFacts some_facts() {
  return {.key = 0x1234,
          .uid = 1001,
          .gid = 1002,
          .cuid = 1003,
          .cgid = 1004,
          .mode = 0640,
          .locked = true,
          .creator_host = "alpha.example.org",
          .creator_pid = 42,
          .last_pid = 43,
          .attach_time_s = std::int64_t{5} << 32,
          .detach_time_s = 6,
          .change_time_s = 7,
          .unconverted = ~std::uint64_t{0}};
}

Descriptor same(int fd) { return Descriptor(fcntl(fd, F_DUPFD_CLOEXEC, 0)); }

DirectoryRecord made(std::uint32_t pages = kPages) {
  auto record = DirectoryRecord::make(pages);
  EXPECT_TRUE(record) << record.error().what;
  record->write(some_facts());
  return std::move(*record);
}

// As the next daemon.
DirectoryRecord opened(int fd) {
  auto record = DirectoryRecord::open(same(fd));
  EXPECT_TRUE(record) << record.error().what;
  return std::move(*record);
}

class Hosts {
 public:
  HostId operator[](const std::string& name) { return all.admit(name); }
  SegmentHosts all{"alpha"};
};

TEST(DirectoryRecord, NextDaemonReadsWhatWasWritten) {
  Hosts hosts;
  const HostId alpha = hosts["alpha"], beta = hosts["beta"], gamma = hosts["gamma"];
  DirectoryRecord record = made();
  EXPECT_EQ(record.epoch(), 1u);
  record.write_members(
      {{alpha, {}}, {beta, {.attachments = std::uint64_t{3} << 40, .may_write = true, .out_of_reach = false}}},
      hosts.all);
  const PageRecord first{.holders = {alpha, beta}, .requester = {}, .written = true};
  const PageRecord last{
      .holders = {beta}, .requester = alpha, .requester_writes = true, .lost = true, .exclusive = true};
  record.write_page(PageIndex{0}, {.holders = {alpha}, .requester = beta});
  record.write_page(PageIndex{0}, first);
  record.write_page(PageIndex{kPages - 1}, last);
  record.write_members({{alpha, {.attachments = 1, .may_write = false, .out_of_reach = false}},
                        {beta, {.attachments = 0, .may_write = true, .out_of_reach = true}},
                        {gamma, {.attachments = 2, .may_write = true, .out_of_reach = false}}},
                       hosts.all);

  Hosts next;
  next["delta"];  // its numbers are others
  DirectoryRecord again = opened(record.fd());
  EXPECT_EQ(again.facts(), some_facts());
  EXPECT_EQ(again.page_count(), kPages);
  const DirectoryRecords read = again.read(next.all);
  EXPECT_EQ(read.epoch, 2u);
  const HostId a = next["alpha"], b = next["beta"], c = next["gamma"];
  EXPECT_EQ(read.members,
            (std::map<HostId, MemberRecord>{{a, {1, false, false}}, {b, {0, true, true}}, {c, {2, true, false}}}));
  PageRecord first_there = first, last_there = last;
  first_there.holders = {a, b};
  last_there.holders = {b};
  last_there.requester = a;
  EXPECT_EQ(read.pages,
            (std::map<PageIndex, PageRecord>{{PageIndex{0}, first_there}, {PageIndex{kPages - 1}, last_there}}));
  EXPECT_EQ(opened(again.fd()).epoch(), 3u);
}

TEST(DirectoryRecord, NextDaemonWritesOnWithItsOwnNumbers) {
  Hosts hosts;
  DirectoryRecord record = made();
  record.write_members({{hosts["alpha"], {}}, {hosts["beta"], {.attachments = 1}}}, hosts.all);
  record.write_page(PageIndex{7}, {.holders = {hosts["beta"]}});
  Hosts next;
  next["gamma"];
  {
    DirectoryRecord second = opened(record.fd());
    DirectoryRecords read = second.read(next.all);
    second.write_page(PageIndex{8}, {.holders = {next["beta"]}});
    read.members[next["gamma"]].attachments = 5;
    second.write_members(read.members, next.all);
    second.write_page(PageIndex{9}, {.holders = {next["gamma"], next["alpha"]}});
    SegmentFacts facts = some_facts();
    facts.locked = false;
    second.write(facts);
  }
  DirectoryRecord third = opened(record.fd());
  EXPECT_FALSE(third.facts().locked);
  const DirectoryRecords read = third.read(hosts.all);
  EXPECT_EQ(read.members.size(), 3u);
  EXPECT_EQ(read.members.at(hosts["gamma"]).attachments, 5u);
  EXPECT_EQ(read.pages.at(PageIndex{7}).holders, std::set{hosts["beta"]});
  EXPECT_EQ(read.pages.at(PageIndex{8}).holders, std::set{hosts["beta"]});
  EXPECT_EQ(read.pages.at(PageIndex{9}).holders, (std::set{hosts["alpha"], hosts["gamma"]}));
}

TEST(DirectoryRecord, SlotOfAHostThatLeftIsAnothersLater) {
  Hosts hosts;
  DirectoryRecord record = made();
  std::map<HostId, MemberRecord> members{{hosts["alpha"], {}}};
  record.write_members(members, hosts.all);
  for (int i = 0; i < 200; ++i) {
    const HostId other = hosts["host" + std::to_string(i)];
    members[other] = {.attachments = static_cast<std::uint64_t>(i)};
    record.write_members(members, hosts.all);
    record.write_page(PageIndex{1}, {.holders = {other}});
    const DirectoryRecords read = opened(record.fd()).read(hosts.all);
    ASSERT_EQ(read.members, members);
    ASSERT_EQ(read.pages.at(PageIndex{1}).holders, std::set{other});
    record.write_page(PageIndex{1}, {.holders = {hosts["alpha"]}});
    members.erase(other);
  }
  ASSERT_FALSE(record.doubtful());
}

TEST(DirectoryRecord, SixtyFourHostsFitAndNoMore) {
  Hosts hosts;
  DirectoryRecord record = made();
  std::map<HostId, MemberRecord> members;
  std::set<HostId> all;
  while (members.size() < DirectoryRecord::kMembersMax) {
    std::string name = std::to_string(members.size());
    name.resize(DirectoryRecord::kHostNameMax, 'x');
    all.insert(members.emplace(hosts[name], MemberRecord{}).first->first);
  }
  record.write_members(members, hosts.all);
  record.write_page(PageIndex{3}, {.holders = all, .requester = *all.rbegin()});
  Hosts next;
  const DirectoryRecords read = opened(record.fd()).read(next.all);
  ASSERT_EQ(read.pages.at(PageIndex{3}).holders.size(), all.size());
  for (const HostId host : all) {
    EXPECT_TRUE(read.pages.at(PageIndex{3}).holders.contains(next.all.find(hosts.all.name(host))));
  }
  EXPECT_EQ(read.pages.at(PageIndex{3}).requester, next.all.find(hosts.all.name(*all.rbegin())));

  members[hosts["one more"]];
  EXPECT_FALSE(record.doubtful());
  record.write_members(members, hosts.all);
  EXPECT_TRUE(record.doubtful());
  record.write_page(PageIndex{4}, {.holders = {hosts["one more"]}});  // and nothing is checked any more
  EXPECT_FALSE(DirectoryRecord::open(same(record.fd())));
}

TEST(DirectoryRecord, NameThatIsTooLongIsNotWrittenDown) {
  Hosts hosts;
  DirectoryRecord record = made();
  record.write_members({{hosts[std::string(DirectoryRecord::kHostNameMax + 1, 'x')], {}}}, hosts.all);
  EXPECT_FALSE(DirectoryRecord::open(same(record.fd())));
  DirectoryRecord other = made();
  SegmentFacts facts = some_facts();
  facts.creator_host = std::string(DirectoryRecord::kHostNameMax + 1, 'x');
  other.write(facts);
  EXPECT_TRUE(other.doubtful());
  EXPECT_FALSE(DirectoryRecord::open(same(other.fd())));
}

TEST(DirectoryRecord, WhatIsNoneIsNotOpened) {
  EXPECT_FALSE(DirectoryRecord::open(Descriptor()));
  DirectoryRecord without_facts = std::move(*DirectoryRecord::make(1));
  EXPECT_FALSE(DirectoryRecord::open(same(without_facts.fd())));
  DirectoryRecord record = made(1000);
  struct stat status {};
  ASSERT_EQ(fstat(record.fd(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  const Descriptor fd = same(record.fd());
  for (const off_t bytes : {status.st_size + 4096, status.st_size - 32, off_t{0}}) {
    ASSERT_EQ(ftruncate(fd.get(), bytes), 0);
    EXPECT_FALSE(DirectoryRecord::open(same(fd.get()))) << bytes;
  }
  DirectoryRecord other = made(1000);
  const std::uint32_t version = 2;
  ASSERT_EQ(pwrite(other.fd(), &version, sizeof version, 0), static_cast<ssize_t>(sizeof version));
  EXPECT_FALSE(DirectoryRecord::open(same(other.fd())));
}

TEST(DirectoryRecord, OnlyPagesThatWereTouchedTakeMemory) {
  Hosts hosts;
  DirectoryRecord record = made();
  record.write_members({{hosts["alpha"], {}}}, hosts.all);
  for (std::uint32_t page = 0; page < kPages; page += kPages / 4) {
    record.write_page(PageIndex{page}, {.holders = {hosts["alpha"]}});
  }
  DirectoryRecord again = opened(record.fd());
  EXPECT_EQ(again.read(hosts.all).pages.size(), 4u);
  struct stat status {};
  ASSERT_EQ(fstat(record.fd(), &status), 0);
  EXPECT_GT(status.st_size, 8'000'000);
  EXPECT_LT(status.st_blocks * 512, 8 * 65536) << "also after it was read";
}

// ---- the writer is killed anywhere

// Of the file behind `fd`, which the daemon's children do not get else.
void give_to_children(int fd) {
  struct stat status {};
  ASSERT_EQ(fstat(fd, &status), 0);
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    std::istringstream words(line);
    std::uintptr_t begin = 0, end = 0;
    std::string access, offset, device;
    std::uint64_t file = 0;
    words >> std::hex >> begin >> std::ws;
    words.ignore(1);
    words >> end >> access >> offset >> device >> std::dec >> file;
    if (file != status.st_ino) continue;
    auto* const at = reinterpret_cast<void*>(begin);  // NOLINT(performance-no-int-to-ptr): as written there
    ASSERT_EQ(madvise(at, end - begin, MADV_DOFORK), 0);
  }
}

// What `look` sees after each instruction of a process that does `write`, as if it had been killed there.
class DirectoryRecordKill : public testing::Test {
 protected:
  void at_each_instruction(const std::function<void()>& write, const std::function<void()>& look) {
    give_to_children(record_.fd());
    const pid_t writer = fork();
    ASSERT_GE(writer, 0);
    if (writer == 0) {
      if (ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) _exit(kNoTracing);
      raise(SIGSTOP);
      write();
      _exit(0);
    }
    int status = 0;
    while (waitpid(writer, &status, 0) == writer && WIFSTOPPED(status)) {
      if (!HasFailure()) look();
      ptrace(HasFailure() ? PTRACE_KILL : PTRACE_SINGLESTEP, writer, nullptr, nullptr);
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == kNoTracing) GTEST_SKIP() << "nobody can be traced here";
    EXPECT_TRUE(HasFailure() || (WIFEXITED(status) && WEXITSTATUS(status) == 0));
  }
  DirectoryRecords read() { return opened(record_.fd()).read(hosts_.all); }

  static constexpr int kNoTracing = 99;
  Hosts hosts_;
  const HostId alpha_ = hosts_["alpha"], beta_ = hosts_["the second host"], gamma_ = hosts_["another"];
  DirectoryRecord record_ = made();
};

TEST_F(DirectoryRecordKill, PageIsWhole) {
  record_.write_members({{alpha_, {}}, {beta_, {}}, {gamma_, {}}}, hosts_.all);
  const PageRecord oldest{.holders = {gamma_}, .requester = {}, .lost = true};
  const PageRecord old{.holders = {alpha_, beta_}, .requester = gamma_, .requester_writes = true, .written = true};
  const PageRecord next{.holders = {beta_}, .requester = alpha_, .exclusive = true};
  for (const bool is_first : {true, false}) {
    const PageIndex page{is_first ? 1U : 2U};
    if (!is_first) record_.write_page(page, oldest);
    if (!is_first) record_.write_page(page, old);
    std::size_t before = 0, after = 0;
    at_each_instruction([&] { record_.write_page(page, next); },
                        [&] {
                          const auto pages = read().pages;
                          const auto found = pages.find(page);
                          const bool is_next = found != pages.end() && found->second == next;
                          const bool is_old = is_first ? found == pages.end() : found->second == old;
                          EXPECT_NE(is_next, is_old);
                          ++(is_next ? after : before);
                        });
    if (IsSkipped()) return;
    EXPECT_NE(before, 0u);
    EXPECT_NE(after, 0u);
  }
}

TEST_F(DirectoryRecordKill, FactsAreWhole) {
  SegmentFacts old = some_facts();
  old.key = 1;
  old.creator_host = "an older name";
  const SegmentFacts next{.locked = false, .creator_host = "b", .detach_time_s = 9};
  record_.write(old);
  at_each_instruction([&] { record_.write(next); },
                      [&] {
                        const SegmentFacts facts = opened(record_.fd()).facts();
                        EXPECT_TRUE(facts == old || facts == next) << facts.creator_host;
                      });
}

TEST_F(DirectoryRecordKill, EachMemberIsWhole) {
  const MemberRecord oldest{.attachments = 7};
  const MemberRecord old{.attachments = 1, .may_write = false, .out_of_reach = true};
  const MemberRecord next{.attachments = ~std::uint64_t{0}, .may_write = true, .out_of_reach = false};
  record_.write_members({{alpha_, oldest}, {gamma_, old}}, hosts_.all);
  record_.write_members({{alpha_, old}, {gamma_, old}}, hosts_.all);
  std::set<std::size_t> sizes;
  at_each_instruction(
      [&] {
        record_.write_members({{alpha_, next}, {beta_, next}}, hosts_.all);
      },
      [&] {
        SegmentHosts names(hosts_.all.name(alpha_));
        const auto members = opened(record_.fd()).read(names).members;
        sizes.insert(members.size());
        for (const auto& [host, member] : members) {
          const std::string& name = names.name(host);
          if (name == hosts_.all.name(alpha_)) {
            EXPECT_TRUE(member == old || member == next);
          } else if (name == hosts_.all.name(beta_)) {
            EXPECT_EQ(member, next);
          } else {
            EXPECT_EQ(name, hosts_.all.name(gamma_));
            EXPECT_EQ(member, old);
          }
        }
      });
  if (IsSkipped()) return;
  EXPECT_EQ(sizes, (std::set<std::size_t>{1, 2}));
}

}  // namespace
}  // namespace dipc::test
