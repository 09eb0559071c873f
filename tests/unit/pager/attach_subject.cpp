// A program that uses a distributed segment as any other: shmat, shmdt, loads and stores. Run under the shim.
//
//   attach_subject SOCKET FUNCTION     exit status 0: all was as it should be; else the line that was not

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "tests/unit/pager/segment_daemon.h"

namespace dipc::test {
namespace {

// Ends the program with the number of the line, kept to what an exit status has room for.
#define REQUIRE(condition)                             \
  do {                                                 \
    if (!(condition)) return (__LINE__ - 1) % 250 + 1; \
  } while (false)

void* const kFailed = reinterpret_cast<void*>(-1);
const std::size_t kPage = kernel_page_bytes();

char* attach(const void* address = nullptr, int flags = 0) {
  return static_cast<char*>(shmat(kSegmentId, address, flags));
}
bool fails_with(void* result, int error) { return result == kFailed && errno == error; }
volatile char& byte_at(char* memory, std::size_t page) { return static_cast<volatile char*>(memory)[page * kPage]; }

// What open(2) gives next: the same before and after, if nothing was left open below it.
int lowest_free_descriptor() {
  const int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
  close(fd);
  return fd;
}

int reads_and_writes(Program& test) {
  char* memory = attach();
  REQUIRE(memory != kFailed);
  REQUIRE(byte_at(memory, 0) == 'x');
  byte_at(memory, 1) = 'y';
  test.say('!');
  test.hear();
  REQUIRE(shmdt(memory) == 0);
  test.say('!');
  test.hear();
  return 0;
}

int stores_after_detaching(Program&) {
  char* memory = attach();
  shmdt(memory);
  byte_at(memory, 0) = 'y';
  return 0;
}

int stores_through_a_read_only_attachment(Program& test) {
  char* memory = attach(nullptr, SHM_RDONLY);
  if (byte_at(memory, 0) == 'x') test.say('!');
  byte_at(memory, 0) = 'y';
  return 0;
}

int chooses_addresses(Program&) {
  char* room = static_cast<char*>(mmap(nullptr, 16 * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  REQUIRE(fails_with(attach(room + 1), EINVAL));
  REQUIRE(fails_with(attach(room), EINVAL));  // something is there
  REQUIRE(fails_with(attach(nullptr, SHM_REMAP), EINVAL));
  REQUIRE(fails_with(attach(reinterpret_cast<char*>(1), SHM_REMAP | SHM_RND), EINVAL));
  REQUIRE(attach(room + 1, SHM_RND | SHM_REMAP) == room);
  REQUIRE(byte_at(room, 0) == 'x');
  munmap(room + 8 * kPage, 8 * kPage);
  REQUIRE(attach(room + 8 * kPage) == room + 8 * kPage);
  REQUIRE(byte_at(room, 8) == 'x');
  REQUIRE(shmdt(room + 1) == -1 && errno == EINVAL);
  REQUIRE(shmdt(room + kPage) == -1 && errno == EINVAL);
  REQUIRE(shmdt(room) == 0);
  REQUIRE(shmdt(room) == -1 && errno == EINVAL);
  REQUIRE(byte_at(room, 8) == 'x');
  REQUIRE(shmdt(room + 8 * kPage) == 0);
  return 0;
}

// What is mapped there may be: "rwxs", as in /proc/self/maps.
std::string permissions_at(const void* address) {
  const auto at = reinterpret_cast<std::uintptr_t>(address);
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    char* rest = nullptr;
    const auto begin = std::strtoull(line.c_str(), &rest, 16);
    const auto end = std::strtoull(rest + 1, &rest, 16);
    if (at >= begin && at < end) return {rest + 1, 4};
  }
  return "none";
}

int executes_where_it_has_asked_for_it(Program&) {
  char* code = attach(nullptr, SHM_EXEC);
  char* text = attach(nullptr, SHM_EXEC | SHM_RDONLY);
  char* data = attach();
  for (char* each : {code, text, data}) REQUIRE(each != kFailed && byte_at(each, 0) == 'x');
  REQUIRE(permissions_at(code)[2] == 'x');
  REQUIRE(permissions_at(text).substr(0, 3) == "r-x");
  REQUIRE(permissions_at(data)[2] == '-');
  return 0;
}

int replaces_its_own_attachment(Program& test) {
  char* memory = attach();
  char* other = attach();
  byte_at(memory, 1) = 'y';
  REQUIRE(attach(memory, SHM_REMAP) == memory);
  REQUIRE(byte_at(memory, 0) == 'x' && byte_at(memory, 1) == 'y' && byte_at(other, 1) == 'y');
  test.say('!');
  test.hear();
  REQUIRE(shmdt(memory) == 0);
  REQUIRE(shmdt(memory) == -1 && errno == EINVAL);
  REQUIRE(shmdt(other) == 0);
  return 0;
}

int replaces_a_part_of_its_attachment(Program&) {
  char* room = static_cast<char*>(mmap(nullptr, 8 * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  REQUIRE(attach(room + 2 * kPage, SHM_REMAP) == room + 2 * kPage);
  REQUIRE(fails_with(attach(room + 3 * kPage, SHM_REMAP), EINVAL));
  REQUIRE(fails_with(attach(room + 1 * kPage, SHM_REMAP), EINVAL));
  REQUIRE(byte_at(room, 2) == 'x' && byte_at(room, 3) == 0);
  REQUIRE(shmdt(room + 2 * kPage) == 0);
  return 0;
}

int detaches_what_is_left(Program&) {
  char* memory = attach();
  munmap(memory, kPage);
  char* foreign =
      static_cast<char*>(mmap(memory, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
  munmap(memory + 2 * kPage, kPage);
  foreign[0] = 'f';
  REQUIRE(byte_at(memory, 1) == 0);
  REQUIRE(shmdt(memory) == 0);
  REQUIRE(foreign[0] == 'f');
  REQUIRE(msync(memory + kPage, kPage, MS_ASYNC) == -1 && errno == ENOMEM);
  REQUIRE(shmdt(memory) == -1 && errno == EINVAL);
  return 0;
}

int detaches_where_it_was_moved_to(Program&) {
  char* memory = attach();
  void* place = mmap(nullptr, 4 * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  REQUIRE(mremap(memory, 4 * kPage, 4 * kPage, MREMAP_MAYMOVE | MREMAP_FIXED, place) == place);
  REQUIRE(byte_at(static_cast<char*>(place), 0) == 'x');
  REQUIRE(shmdt(memory) == -1 && errno == EINVAL);
  REQUIRE(shmdt(place) == 0);
  return 0;
}

int calls_by_number(Program&) {
#ifdef SYS_shmat
  char* memory = reinterpret_cast<char*>(syscall(SYS_shmat, kSegmentId, nullptr, 0));
  REQUIRE(memory != kFailed);
  REQUIRE(byte_at(memory, 0) == 'x');
  REQUIRE(syscall(SYS_shmdt, memory) == 0);
  REQUIRE(syscall(SYS_shmdt, memory) == -1 && errno == EINVAL);
#endif
  return 0;
}

int leaves_no_descriptors(Program& test) {
  const int before = lowest_free_descriptor();
  for (int i = 0; i < 100; ++i) {
    char* memory = attach(nullptr, i % 2 == 0 ? 0 : SHM_RDONLY);
    REQUIRE(byte_at(memory, 0) == 'x');
    REQUIRE(lowest_free_descriptor() == before);
  }
  test.say('!');
  return test.hear();
}

int closes_all_descriptors(Program&) {
  char* memory = attach();
  close_range(3, ~0U, 0);
  REQUIRE(byte_at(memory, 0) == 'x');
  REQUIRE(open("/dev/null", O_RDONLY) == 3);
  REQUIRE(shmdt(memory) == 0);
  memory = attach();
  REQUIRE(byte_at(memory, 0) == 'x');
  REQUIRE(fcntl(3, F_GETFD) >= 0);
  return 0;
}

int is_refused(Program& test) {
  errno = 0;
  REQUIRE(fails_with(attach(), EACCES));
  test.say('!');
  return 0;
}

int gives_it_to_system_calls(Program&) {
  char* memory = attach();
  int ends[2];
  char letter = 0;
  REQUIRE(pipe(ends) == 0);
  REQUIRE(write(ends[1], memory, 1) == 1 && read(ends[0], &letter, 1) == 1 && letter == 'x');
  REQUIRE(write(ends[1], "q", 1) == 1 && read(ends[0], memory + kPage, 1) == 1);
  REQUIRE(byte_at(memory, 1) == 'q');
  return 0;
}

int locks_its_memory(Program&) {
  REQUIRE(mlockall(MCL_FUTURE) == 0);
  char* memory = attach();  // would be filled with zeros at once, were it mapped with access
  REQUIRE(memory != kFailed && byte_at(memory, 0) == 'x');
  return 0;
}

int becomes_another_program(Program& test) {
  char* memory = attach();
  REQUIRE(byte_at(memory, 0) == 'x');
  test.say('!');
  test.hear();
  execl("/bin/sleep", "sleep", "100", nullptr);
  return 1;
}

int uses_segments_of_the_kernel_too(Program&) {
  const int id = shmget(IPC_PRIVATE, kPage, 0600);
  REQUIRE(id >= 0);
  auto* own = static_cast<char*>(shmat(id, nullptr, 0));
  shmctl(id, IPC_RMID, nullptr);
  REQUIRE(own != kFailed);
  char* memory = attach();
  own[0] = 'k';
  REQUIRE(byte_at(memory, 0) == 'x' && own[0] == 'k');
  REQUIRE(shmdt(own) == 0);
  REQUIRE(shmdt(own) == -1 && errno == EINVAL);
  REQUIRE(shmdt(memory) == 0);
  REQUIRE(shmdt(memory) == -1 && errno == EINVAL);
  return 0;
}

int childs_detach_is_its_own(Program&) {
  char* memory = attach();
  const pid_t child = fork();
  if (child == 0) _exit(byte_at(memory, 0) == 'x' && shmdt(memory) == 0 && shmdt(memory) == -1 ? 0 : 1);
  int status;
  waitpid(child, &status, 0);
  REQUIRE(status == 0);
  REQUIRE(byte_at(memory, 0) == 'x');
  REQUIRE(shmdt(memory) == 0);
  return 0;
}

// vm.max_map_count is used up but for a few.
int runs_out_of_mappings(Program&) {
  constexpr std::size_t kMany = 200'000;
  constexpr std::size_t kPages = 64;
  char* memory = attach();
  auto* room = static_cast<char*>(mmap(nullptr, kMany * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  REQUIRE(memory != kFailed && room != MAP_FAILED);
  std::size_t last = 1;
  while (last < kMany && mprotect(room + last * kPage, kPage, PROT_READ) == 0) last += 2;
  REQUIRE(last < kMany);
  for (std::size_t i = 0; i < 8; ++i) mprotect(room + (last -= 2) * kPage, kPage, PROT_NONE);
  for (int round = 0; round < 3; ++round) {
    for (std::size_t page = 1; page < kPages; page += 2) byte_at(memory, page) = static_cast<char>(round);
    for (std::size_t page = 1; page < kPages; page += 2) REQUIRE(byte_at(memory, page) == round);
  }
  REQUIRE(shmdt(memory) == 0);
  return 0;
}

int runs_out_of_descriptors(Program&) {
  int last = 0;
  while (dup(0) >= 0) ++last;
  REQUIRE(attach() == kFailed);
  close_range(10, ~0U, 0);
  char* memory = attach();
  REQUIRE(memory != kFailed && byte_at(memory, 0) == 'x');
  return last > 0 ? 0 : 1;
}

int shares_with_its_child(Program&) {
  char* memory = attach();
  byte_at(memory, 1) = 'p';
  const pid_t child = fork();
  if (child == 0) {
    if (byte_at(memory, 0) != 'x' || byte_at(memory, 1) != 'p') _exit(1);
    byte_at(memory, 1) = 'c';
    _exit(0);
  }
  int status;
  waitpid(child, &status, 0);
  REQUIRE(status == 0);
  REQUIRE(byte_at(memory, 1) == 'c');
  return 0;
}

sigjmp_buf g_back;
volatile sig_atomic_t g_caught = 0;
void* volatile g_fault_address = nullptr;
void go_back(int, siginfo_t* info, void*) {
  g_caught = g_caught + 1;
  g_fault_address = info->si_addr;
  siglongjmp(g_back, 1);
}
void go_back_plainly(int) {
  g_caught = g_caught + 1;
  siglongjmp(g_back, 1);
}
volatile char* volatile g_nowhere = reinterpret_cast<char*>(64);

int handles_its_own_faults(Program&) {
  struct sigaction action {};
  action.sa_sigaction = go_back;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGSEGV, &action, nullptr);
  char* memory = attach();
  if (sigsetjmp(g_back, 1) == 0) *g_nowhere = 1;
  REQUIRE(g_caught == 1 && g_fault_address == g_nowhere);
  REQUIRE(byte_at(memory, 0) == 'x');
  struct sigaction before {};
  struct sigaction plain {};
  plain.sa_handler = go_back_plainly;
  sigaction(SIGSEGV, &plain, &before);
  REQUIRE(before.sa_sigaction == go_back && (before.sa_flags & SA_SIGINFO) != 0);
  if (sigsetjmp(g_back, 1) == 0) *g_nowhere = 1;
  REQUIRE(g_caught == 2);
  byte_at(memory, 1) = 'y';
  REQUIRE(signal(SIGSEGV, SIG_DFL) == go_back_plainly);
  byte_at(memory, 2) = 'y';
  REQUIRE(signal(SIGSEGV, SIG_IGN) == SIG_DFL);
  byte_at(memory, 3) = 'y';
  kill(getpid(), SIGSEGV);  // ignored
  REQUIRE(g_caught == 2);
  return 0;
}

int faults_elsewhere(Program&) {
  char* memory = attach();
  REQUIRE(byte_at(memory, 0) == 'x');
  *g_nowhere = 1;
  return 0;
}

int is_sent_a_sigsegv(Program&) {
  char* memory = attach();
  REQUIRE(byte_at(memory, 0) == 'x');
  kill(getpid(), SIGSEGV);
  return 0;
}

char* g_memory = nullptr;
volatile char g_seen = 0;

int touches_it_anywhere(Program&) {
  g_memory = attach();
  struct sigaction action {};
  action.sa_handler = [](int) { g_seen = byte_at(g_memory, 0); };
  sigfillset(&action.sa_mask);
  sigaction(SIGUSR1, &action, nullptr);
  raise(SIGUSR1);
  REQUIRE(g_seen == 'x');

  static char stack[256 * 1024];
  stack_t alternate{};
  alternate.ss_sp = stack;
  alternate.ss_size = sizeof stack;
  sigaltstack(&alternate, nullptr);
  action.sa_handler = [](int) {
    byte_at(g_memory, 1) = 'a';
    g_seen = byte_at(g_memory, 1);
  };
  action.sa_flags = SA_ONSTACK;
  sigaction(SIGUSR2, &action, nullptr);
  raise(SIGUSR2);
  REQUIRE(g_seen == 'a');

  sigset_t all;
  sigfillset(&all);
  REQUIRE(sigprocmask(SIG_SETMASK, &all, nullptr) == 0);
  byte_at(g_memory, 2) = 'b';
  REQUIRE(byte_at(g_memory, 2) == 'b');
  return 0;
}

// With a handler and a mask from before it attached anything.
int touches_it_with_signals_blocked_before(Program&) {
  struct sigaction action {};
  action.sa_handler = [](int) { g_seen = byte_at(g_memory, 0); };
  sigfillset(&action.sa_mask);
  sigaction(SIGUSR1, &action, nullptr);
  sigset_t others;
  sigfillset(&others);
  sigdelset(&others, SIGUSR1);
  sigprocmask(SIG_SETMASK, &others, nullptr);
  g_memory = attach();
  raise(SIGUSR1);
  REQUIRE(g_seen == 'x');
  REQUIRE(byte_at(g_memory, 1) == 0);
  return 0;
}

char* volatile g_stack_place = nullptr;

int handles_its_own_faults_on_its_own_stack(Program&) {
  static char stack[256 * 1024];
  stack_t alternate{};
  alternate.ss_sp = stack;
  alternate.ss_size = sizeof stack;
  REQUIRE(sigaltstack(&alternate, nullptr) == 0);
  struct sigaction action {};
  action.sa_handler = [](int) {
    char here = 0;
    g_stack_place = &here;
    g_seen = byte_at(g_memory, 0);
    siglongjmp(g_back, 1);
  };
  action.sa_flags = SA_ONSTACK;
  sigaction(SIGSEGV, &action, nullptr);
  g_memory = attach();
  if (sigsetjmp(g_back, 1) == 0) *g_nowhere = 1;
  REQUIRE(g_stack_place >= stack && g_stack_place < stack + sizeof stack);
  REQUIRE(g_seen == 'x');
  return 0;
}

int reads_a_lost_page(Program& test) {
  char* memory = attach();
  test.say('!');
  test.hear();
  struct sigaction action {};
  action.sa_sigaction = go_back;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGBUS, &action, nullptr);
  if (sigsetjmp(g_back, 1) == 0) g_seen = byte_at(memory, 1);
  REQUIRE(g_caught == 1);
  REQUIRE(byte_at(memory, 0) == 'x');
  return 0;
}

int loses_all(Program& test) {
  char* memory = attach();
  byte_at(memory, 0) = 'y';
  test.say('!');
  test.hear();
  struct sigaction action {};
  action.sa_sigaction = go_back;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGBUS, &action, nullptr);
  static std::size_t page = 0;
  for (; page < 4; ++page) {
    if (sigsetjmp(g_back, 1) == 0) g_seen = byte_at(memory, page);
  }
  REQUIRE(g_caught == 4);
  REQUIRE(shmdt(memory) == 0);
  return 0;
}

// Counts in both pages until it is told to end, and adds to `declared` of the first page how often it did.
int counts_in_threads(Program& test) {
  char* memory = attach();
  std::atomic<bool> ends{false};
  std::vector<std::thread> threads;
  for (std::size_t thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&, thread] {
      std::uint32_t counted = 0;
      for (; !ends; ++counted) {
        char* page = memory + (counted + thread) % 2 * kPage;
        __atomic_fetch_add(&reinterpret_cast<CountedPage*>(page)->counted, 1, __ATOMIC_SEQ_CST);
      }
      __atomic_fetch_add(&reinterpret_cast<CountedPage*>(memory)->declared, counted, __ATOMIC_SEQ_CST);
    });
  }
  test.say('!');
  test.hear();
  ends = true;
  for (std::thread& thread : threads) thread.join();
  return 0;
}

int reads_while_pages_come_and_go(Program& test) {
  std::atomic<bool> ends{false};
  std::vector<std::thread> threads;
  for (char* memory : {attach(), attach(nullptr, SHM_RDONLY)}) {
    threads.emplace_back([&, memory] {
      for (std::size_t page = 0; !ends; page = (page + 1) % 2) {
        [[maybe_unused]] const char seen = byte_at(memory, page);
      }
    });
  }
  test.say('!');
  test.hear();
  ends = true;
  for (std::thread& thread : threads) thread.join();
  return 0;
}

#define FUNCTION(name) \
  { #name, name }
const std::map<std::string, std::function<int(Program&)>> kFunctions = {
    FUNCTION(reads_and_writes),
    FUNCTION(stores_after_detaching),
    FUNCTION(stores_through_a_read_only_attachment),
    FUNCTION(chooses_addresses),
    FUNCTION(replaces_its_own_attachment),
    FUNCTION(replaces_a_part_of_its_attachment),
    FUNCTION(executes_where_it_has_asked_for_it),
    FUNCTION(detaches_what_is_left),
    FUNCTION(detaches_where_it_was_moved_to),
    FUNCTION(calls_by_number),
    FUNCTION(leaves_no_descriptors),
    FUNCTION(closes_all_descriptors),
    FUNCTION(is_refused),
    FUNCTION(becomes_another_program),
    FUNCTION(locks_its_memory),
    FUNCTION(gives_it_to_system_calls),
    FUNCTION(uses_segments_of_the_kernel_too),
    FUNCTION(childs_detach_is_its_own),
    FUNCTION(runs_out_of_descriptors),
    FUNCTION(runs_out_of_mappings),
    FUNCTION(shares_with_its_child),
    FUNCTION(handles_its_own_faults),
    FUNCTION(faults_elsewhere),
    FUNCTION(is_sent_a_sigsegv),
    FUNCTION(touches_it_anywhere),
    FUNCTION(handles_its_own_faults_on_its_own_stack),
    FUNCTION(touches_it_with_signals_blocked_before),
    FUNCTION(reads_a_lost_page),
    FUNCTION(loses_all),
    FUNCTION(counts_in_threads),
    FUNCTION(reads_while_pages_come_and_go),
};

}  // namespace
}  // namespace dipc::test

int main(int, char** arguments) {
  dipc::test::Program test(std::atoi(arguments[1]));
  return dipc::test::kFunctions.at(arguments[2])(test);
}
