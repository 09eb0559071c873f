#pragma once

// A host whose programs have a segment attached: a pager, somebody who grants what it asks for, and forked processes
// that run a function of the test. The function is in a process of its own: it says and hears single letters, and ends
// by returning an exit status.

#include <signal.h>
#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "daemon/pager/kept_memory.h"
#include "daemon/pager/pager.h"
#include "daemon/pager/segment_memory.h"

namespace dipc::test {

inline constexpr std::chrono::seconds kPatience{20};
// Whether a program, which is a fork of the test with its pager's threads, may have threads of its own. The allocators
// of clang 14's sanitizers stay locked in a fork if a thread was inside just then.
#ifdef DIPC_SANITIZED
inline constexpr bool kThreadsAfterFork = false;
#else
inline constexpr bool kThreadsAfterFork = true;
#endif

// A program's side: in the child.
class Program {
 public:
  explicit Program(int socket) : socket_(socket) {}
  // What the shim does for a shmat. Null if the host has refused it.
  volatile char* attach(bool writable = true);
  void say(char letter);
  char hear();  // 0: the test is over
  int socket() const { return socket_; }
  std::size_t attached_bytes() const { return attached_bytes_; }
  int memory() const { return memory_.get(); }  // the descriptor that was attached last; the shim closes it

 private:
  int socket_;
  std::size_t attached_bytes_ = 0;
  Descriptor memory_;
};

class PagedHost;

// A program as the test sees it; killed with this at the latest.
class Process {
 public:
  Process(PagedHost& host, std::function<int(Program&)> body);
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  pid_t pid() const { return pid_; }
  void say(char letter) const;
  bool has_said() const { return !said_.empty() || closed_; }
  char hear();   // 0: it has ended, or did not speak in time
  int status();  // waits for its end: exit status, or minus the signal
  void kill(int signal = SIGKILL) const;

 private:
  friend class PagedHost;
  PagedHost& host_;
  pid_t pid_ = 0;
  int socket_ = -1;
  std::string said_;
  bool closed_ = false;
  std::optional<int> status_;
};

class PagedHost : public Pager::Handler {
 public:
  struct Options {
    std::size_t segment_bytes = 4 * kernel_page_bytes();
    std::size_t unit_bytes = kernel_page_bytes();
    PagerKind kind = PagerKind::kUserfault;
    bool poisons = true;  // kUserfault
    Duration stuck_after = std::chrono::seconds(10);
    std::string label;  // kUserfault: Pager::Options, with the next
    int directory = -1;
    bool grants = true;  // faults are answered by themselves, with what was written by `put` or taken before
  };
  PagedHost() : PagedHost(Options{}) {}
  explicit PagedHost(Options options);
  PagedHost(Options options, KeptSegment kept);  // of an earlier host
  ~PagedHost() override;

  Pager& pager() { return *pager_; }
  void end_pager() { pager_.reset(); }  // nothing but programs is looked after then
  // Serves another descriptor as well, when it is readable; it stays the caller's.
  void serve(int fd, std::function<void()> on_readable) { served_.emplace_back(fd, std::move(on_readable)); }
  // Turns until it holds; false: it did not in time.
  bool until(const std::function<bool()>& holds);
  bool faulted(std::uint32_t page, PageAccess access);  // waits for that
  // Each waits until it is done; false, or nothing: it failed.
  bool install(std::uint32_t page, char fill, bool writable = false);
  bool upgrade(std::uint32_t page);
  std::optional<Bytes> take(std::uint32_t page, bool drop);
  bool drop(std::uint32_t page);
  void lose(std::uint32_t page);
  void lose_all();
  void settle();
  // Pages from 0 on, asked for at once: their letters when all are done, '!' for those that failed.
  std::string install_all(const std::string& fills, const std::set<std::uint32_t>& writable = {});  // of one block
  std::string install_put(std::uint32_t count);  // for reading, of as many blocks: what was `put`
  std::string take_all(std::uint32_t count, const std::set<std::uint32_t>& dropped = {});
  // What a fault on the page will be answered with.
  void put(std::uint32_t page, char fill);

  // Whether it can be taken; what it was when it was taken last.
  bool is_here(std::uint32_t page) { return !pages_[page].busy && pages_[page].access != Access::kNone; }
  std::optional<Bytes> contents(std::uint32_t page);

  // What another host does with a page that was taken from the programs of this one, before it comes back.
  std::function<void(std::uint32_t, Bytes&)> while_away;

  std::vector<std::pair<std::uint32_t, PageAccess>> faults;
  std::uint32_t attachments = 0;  // attached, and forked, and not detached
  std::uint32_t forks = 0;
  std::vector<int> refused;  // errors of attaching
  std::vector<std::string> log;

  void on_fault(PageIndex page, PageAccess access) override;
  void on_done(PageIndex page) override;
  void on_contents(PageIndex page, PageContents contents) override;
  void on_failed(PageIndex page) override;
  void on_all_lost() override { all_lost_ = true; }
  void on_attached(AttachTicket ticket, int error) override;
  void on_forked(AttachTicket of) override;
  void on_detached(AttachTicket) override { --attachments; }
  void on_settled(std::uint64_t token) override { settled_ = token; }
  void on_log(const std::string& line) override { log.push_back(line); }

 private:
  friend class Process;
  enum class Access { kNone, kRead, kWrite };
  struct Page {
    Access access = Access::kNone;
    Access coming = Access::kNone;
    bool busy = false;
    bool failed = false;
    std::optional<PageAccess> wanted;
    PageContents contents;
  };
  void turn(int timeout_ms);
  void grant(std::uint32_t page, PageAccess access);
  bool finish(std::uint32_t page);
  std::string install_each(std::uint32_t count, const std::set<std::uint32_t>& writable);
  std::string finish_all(std::uint32_t count);
  void on_packet(Process& process);

  Options options_;
  std::unique_ptr<Pager> pager_;
  std::map<std::uint32_t, Page> pages_;
  std::map<AttachTicket, Process*> attaching_;
  std::vector<Process*> processes_;
  std::vector<std::pair<int, std::function<void()>>> served_;
  std::uint64_t next_token_ = 1;
  std::uint64_t settled_ = 0;
  bool all_lost_ = false;
};

}  // namespace dipc::test
