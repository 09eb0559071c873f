// A host that is killed, its guard, and the host that takes over from it what its programs have.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "daemon/pager/descriptor_table.h"
#include "daemon/pager/memory_guard.h"
#include "daemon/pager/memory_record.h"
#include "tests/unit/pager/paged_host.h"

namespace dipc::test {
namespace {

const std::size_t kPage = kernel_page_bytes();

// Letters from one process to another; nothing comes in time: '?'.
class Letters {
 public:
  Letters() {
    int ends[2];
    EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
    from_ = Descriptor(ends[0]);
    to_ = Descriptor(ends[1]);
  }
  void say(char letter) const {
    if (write(to_.get(), &letter, 1) != 1) _exit(90);
  }
  char hear(std::chrono::milliseconds patience = kPatience) const {
    pollfd said{from_.get(), POLLIN, 0};
    char letter = '?';
    if (poll(&said, 1, static_cast<int>(patience.count())) == 1 && read(from_.get(), &letter, 1) != 1) letter = '?';
    return letter;
  }
  int fd() const { return from_.get(); }

 private:
  Descriptor from_, to_;
};

// Whoever waits for it.
bool has_ended(pid_t pid) {
  std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
  std::string line;
  return !std::getline(stat, line) || line.find(") Z") != std::string::npos;
}

class UserfaultTakeOver : public testing::Test {
 protected:
  void SetUp() override {
    if (const auto choice = choose_pager(std::nullopt); choice.kind != PagerKind::kUserfault)
      GTEST_SKIP() << choice.reason;
    socket_ = std::filesystem::temp_directory_path() / ("dipc-guard-" + std::to_string(getpid()));
    options_.label = "a label";
  }
  void TearDown() override {
    if (program_ > 0) ::kill(program_, SIGKILL);
    kill_daemon();
    std::error_code none;
    std::filesystem::remove(socket_, none);
  }

  // A host of one program, which it grants everything, until it is killed. The program outlives it.
  void start(const std::function<int(Program&)>& body, std::chrono::milliseconds alone_max = kPatience) {
    daemon_ = fork();
    if (daemon_ != 0) return;
    if (first_of_all_) first_of_all_();
    PagedHost host(options_);
    Process program(host, [&](Program& self) {
      prctl(PR_SET_PDEATHSIG, 0);
      return body(self);
    });
    if (!start_memory_guard({socket_, alone_max})) _exit(91);
    if (once_guarded_) once_guarded_();
    from_daemon_.say(host.until([&] { return host.attachments == 1; }) ? 'a' : 'n');
    const pid_t pid = program.pid();
    if (write(pid_pipe_[1], &pid, sizeof pid) != sizeof pid) _exit(92);
    for (;;) host.until([] { return false; });
  }
  // It has written 'x' to the first page, and says what it finds there when it is told to.
  void start_one_that_reads_again() {
    start([&](Program& self) {
      volatile char* at = self.attach();
      at[0] = 'x';
      from_program_.say('r');
      to_program_.hear();
      from_program_.say(at[0]);
      to_program_.hear();
      return 0;
    });
    await_program();
    ASSERT_EQ(from_program_.hear(), 'r');
  }
  void await_program() {
    ASSERT_EQ(from_daemon_.hear(), 'a');
    ASSERT_EQ(read(pid_pipe_[0], &program_, sizeof program_), static_cast<ssize_t>(sizeof program_));
  }
  void kill_daemon() {
    if (daemon_ <= 0) return;
    ::kill(daemon_, SIGKILL);
    EXPECT_EQ(waitpid(daemon_, nullptr, 0), daemon_);
    daemon_ = 0;
  }
  // A host that takes over, until it is killed too.
  void start_next() {
    daemon_ = fork();
    if (daemon_ != 0) return;
    auto kept = fetch();
    if (!kept || !start_memory_guard({socket_, kPatience})) _exit(93);
    const Descriptor directory = std::move(kept->directory);
    options_.directory = directory.get();
    PagedHost next(options_, std::move(*kept));
    next.pager().renew();
    kept_.taken();
    from_daemon_.say('t');
    for (;;) next.until([] { return false; });
  }
  // The test is the next host.
  std::optional<KeptSegment> fetch() {
    kept_ = KeptMemory::fetch(socket_);
    EXPECT_TRUE(kept_.troubles().empty()) << kept_.troubles().front();
    if (kept_.segments().size() != 1) return std::nullopt;
    return std::move(kept_.segments().front());
  }
  char hear(PagedHost& host) {
    std::optional<char> heard;
    host.until([&] {
      const char letter = from_program_.hear(std::chrono::milliseconds(1));
      if (letter != '?') heard = letter;
      return heard.has_value();
    });
    return heard.value_or('?');
  }

  std::string socket_;
  PagedHost::Options options_;
  Letters from_daemon_, to_program_, from_program_;
  int pid_pipe_[2] = {-1, -1};
  const bool has_pipe_ = pipe(pid_pipe_) == 0;
  pid_t daemon_ = 0;
  pid_t program_ = 0;
  KeptMemory kept_;
  std::function<void()> first_of_all_, once_guarded_;  // in the host
};

ino_t inode_of(const Descriptor& fd) {
  struct stat status {};
  EXPECT_EQ(fstat(fd.get(), &status), 0);
  return status.st_ino;
}

TEST_F(UserfaultTakeOver, PagesAndWaitersAndChildrenGoOn) {
  start([&](Program& self) {
    volatile char* at = self.attach();
    at[0] = 'x';
    from_program_.say(at[kPage] == 0 ? 'r' : 'n');
    if (to_program_.hear() != 'g') return 1;
    at[0] = 'y';  // it has this one for writing, and nobody to ask
    const pid_t child = fork();
    if (child == 0) {
      from_program_.say(at[0]);
      from_program_.say(at[2 * kPage] == 'z' ? 'z' : 'n');  // nobody has this one yet
      at[0] = 'c';
      _exit(0);
    }
    if (waitpid(child, nullptr, 0) != child) return 2;
    at[kPage] = 'w';
    from_program_.say(at[0]);
    to_program_.hear();
    return 0;
  });
  await_program();
  ASSERT_EQ(from_program_.hear(), 'r');
  kill_daemon();
  to_program_.say('g');
  EXPECT_EQ(from_program_.hear(), 'y') << "the child was born without a daemon";
  EXPECT_EQ(from_program_.hear(std::chrono::milliseconds(200)), '?');
  auto kept = fetch();
  ASSERT_TRUE(kept);
  EXPECT_EQ(kept->label, "a label");
  EXPECT_FALSE(kept->directory);
  EXPECT_EQ(kept->attachments.size(), 2u) << "the child's too";
  PagedHost next(options_, std::move(*kept));
  kept_.taken();
  EXPECT_EQ(next.attachments, 2u);
  next.put(2, 'z');
  EXPECT_EQ(hear(next), 'z');
  EXPECT_EQ(hear(next), 'c');
  EXPECT_TRUE(next.until([&] { return next.attachments == 1; }));
  const auto contents = next.take(0, true);
  ASSERT_TRUE(contents);
  EXPECT_EQ(contents->at(0), static_cast<std::byte>('c'));
  const auto written = next.take(1, true);
  ASSERT_TRUE(written);
  EXPECT_EQ(written->at(0), static_cast<std::byte>('w'));
}

TEST_F(UserfaultTakeOver, APageForReadingStaysProtected) {
  start([&](Program& self) {
    volatile char* at = self.attach();
    from_program_.say(at[0] == 0 ? 'r' : 'n');
    if (to_program_.hear() != 'g') return 1;
    at[0] = 'w';
    from_program_.say('w');
    to_program_.hear();
    return 0;
  });
  await_program();
  ASSERT_EQ(from_program_.hear(), 'r');
  kill_daemon();
  to_program_.say('g');
  auto kept = fetch();
  ASSERT_TRUE(kept);
  options_.grants = false;
  PagedHost next(options_, std::move(*kept));
  kept_.taken();
  EXPECT_TRUE(next.is_here(0));
  EXPECT_TRUE(next.faulted(0, PageAccess::kWrite));
  EXPECT_EQ(from_program_.hear(std::chrono::milliseconds(100)), '?');
  EXPECT_TRUE(next.upgrade(0));
  EXPECT_EQ(hear(next), 'w');
}

TEST_F(UserfaultTakeOver, WhatAProgramHasMovedMeanwhileIsKnown) {
  start([&](Program& self) {
    volatile char* at = self.attach();
    at[0] = 'x';
    from_program_.say('r');
    if (to_program_.hear() != 'g') return 1;
    auto* old = const_cast<char*>(at);
    if (munmap(old + 3 * kPage, kPage) != 0) return 2;
    void* moved = mremap(old, 2 * kPage, 2 * kPage, MREMAP_MAYMOVE | MREMAP_FIXED,
                         mmap(nullptr, 2 * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (moved == MAP_FAILED) return 3;
    from_program_.say('m');
    from_program_.say(static_cast<volatile char*>(moved)[kPage]);
    static_cast<volatile char*>(moved)[0] = 'v';
    from_program_.say('v');
    to_program_.hear();
    return 0;
  });
  await_program();
  ASSERT_EQ(from_program_.hear(), 'r');
  kill_daemon();
  to_program_.say('g');
  ASSERT_EQ(from_program_.hear(), 'm') << "it does not wait for the next host";
  auto kept = fetch();
  ASSERT_TRUE(kept);
  PagedHost next(options_, std::move(*kept));
  kept_.taken();
  next.put(1, 'n');
  EXPECT_TRUE(next.take(0, true)) << "also where it is now";
  EXPECT_EQ(hear(next), 'n');
  EXPECT_EQ(hear(next), 'v');
  EXPECT_EQ(next.take(0, false)->at(0), static_cast<std::byte>('v'));
}

TEST_F(UserfaultTakeOver, WithoutANextHostInTimeProgramsGetSigbus) {
  start(
      [&](Program& self) {
        volatile char* at = self.attach();
        at[0] = 'x';
        from_program_.say('r');
        if (to_program_.hear() != 'g') return 1;
        from_program_.say(at[0]);
        at[kPage] = 'w';
        return 0;
      },
      std::chrono::milliseconds(500));
  await_program();
  ASSERT_EQ(from_program_.hear(), 'r');
  const auto before = std::chrono::steady_clock::now();
  kill_daemon();
  to_program_.say('g');
  EXPECT_EQ(from_program_.hear(), 'x');
  while (!has_ended(program_) && std::chrono::steady_clock::now() < before + kPatience) usleep(1000);
  EXPECT_TRUE(has_ended(program_)) << "it still waits";
  EXPECT_GT(std::chrono::steady_clock::now(), before + std::chrono::milliseconds(400));
  program_ = 0;
  EXPECT_FALSE(fetch());
}

TEST_F(UserfaultTakeOver, WhoFetchesAndDiesLosesIt) {
  start([&](Program& self) {
    volatile char* at = self.attach();
    at[0] = 'x';
    from_program_.say('r');
    to_program_.hear();
    return at[0] == 'x' ? 0 : 1;
  });
  await_program();
  ASSERT_EQ(from_program_.hear(), 'r');
  kill_daemon();
  {
    auto kept = fetch();
    ASSERT_TRUE(kept);
    const int memory = fcntl(kept->memory.get(), F_DUPFD_CLOEXEC, 0);
    kept_ = KeptMemory();  // as when it is killed
    const SegmentMemory same = SegmentMemory::take_over(Descriptor(memory), 4 * kPage);
    const auto until = std::chrono::steady_clock::now() + kPatience;
    while (!same.is_cut() && std::chrono::steady_clock::now() < until) usleep(1000);
    EXPECT_TRUE(same.is_cut());
  }
  EXPECT_FALSE(fetch());
}

TEST_F(UserfaultTakeOver, WhatTheOwnerKnowsGoesFromHostToHost) {
  const Descriptor directory(memfd_create(kDirectoryName, MFD_CLOEXEC));
  options_.directory = directory.get();
  once_guarded_ = [&] { close(directory.get()); };  // it was borrowed
  ASSERT_NO_FATAL_FAILURE(start_one_that_reads_again());
  kill_daemon();
  start_next();
  ASSERT_EQ(from_daemon_.hear(), 't');
  kill_daemon();
  auto kept = fetch();
  ASSERT_TRUE(kept);
  ASSERT_TRUE(kept->directory);
  EXPECT_EQ(inode_of(kept->directory), inode_of(directory));
  options_.directory = kept->directory.get();
  PagedHost next(options_, std::move(*kept));
  kept_.taken();
  to_program_.say('g');
  EXPECT_EQ(hear(next), 'x');
}

TEST_F(UserfaultTakeOver, ASegmentIsKeptHoweverManyThereAre) {
  constexpr std::size_t kOthers = 1100;
  std::vector<MemoryRecord> others;
  first_of_all_ = [&] {
    rlimit files{};
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    for (std::size_t i = 0; i < kOthers; ++i) {
      auto other = MemoryRecord::make("", kPage, kPage);
      if (!other) _exit(94);
      others.push_back(std::move(*other));
    }
  };
  ASSERT_NO_FATAL_FAILURE(start_one_that_reads_again());
  kill_daemon();
  auto kept = fetch();
  ASSERT_TRUE(kept);
  PagedHost next(options_, std::move(*kept));
  kept_.taken();
  to_program_.say('g');
  EXPECT_EQ(hear(next), 'x');
}

TEST_F(UserfaultTakeOver, AGuardIsNotToldThatAllIsTakenWhereItIsNotUnderstood) {
  sockaddr_un address{AF_UNIX, {}};
  std::strcpy(address.sun_path, socket_.c_str());
  const Descriptor listener(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  ASSERT_EQ(bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(listen(listener.get(), 1), 0);
  std::thread guard([&] {
    const Descriptor connection(accept(listener.get(), nullptr, nullptr));
    char byte = 0;
    EXPECT_EQ(send(connection.get(), &byte, 1, MSG_NOSIGNAL), 1);
    EXPECT_EQ(recv(connection.get(), &byte, 1, 0), 0);
  });
  KeptMemory kept = KeptMemory::fetch(socket_);
  kept.taken();
  EXPECT_TRUE(kept.segments().empty());
  guard.join();
}

TEST_F(UserfaultTakeOver, WithoutWhatItsOwnerKnowsItIsNotKept) {
  const Descriptor directory(memfd_create(kDirectoryName, MFD_CLOEXEC));
  options_.directory = directory.get();
  once_guarded_ = [] {
    const Descriptor other(memfd_create("other", MFD_CLOEXEC));
    for_each_descriptor([&](int fd, const char* target) {
      if (is_memfd_named(target, kDirectoryName)) dup3(other.get(), fd, O_CLOEXEC);
    });
  };
  start([&](Program& self) {
    volatile char* at = self.attach();
    at[0] = 'x';
    from_program_.say('r');
    to_program_.hear();
    return at[0] == 'x' ? 0 : 1;
  });
  await_program();
  ASSERT_EQ(from_program_.hear(), 'r');
  kill_daemon();
  EXPECT_FALSE(fetch());
  to_program_.say('g');
  const auto until = std::chrono::steady_clock::now() + kPatience;
  while (!has_ended(program_) && std::chrono::steady_clock::now() < until) usleep(1000);
  EXPECT_TRUE(has_ended(program_)) << "it goes on";
  program_ = 0;
}

}  // namespace
}  // namespace dipc::test
