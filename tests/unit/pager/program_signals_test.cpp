#include "daemon/pager/program_signals.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

namespace dipc::test {
namespace {

constexpr uid_t kAlice = 4001;
constexpr uid_t kBob = 4002;

// Waits for its end.
class Sleeper {
 public:
  explicit Sleeper(uid_t uid) : pid_(::fork()) {
    if (pid_ != 0) return;
    if (::setuid(uid) == 0) ::pause();
    ::_exit(1);
  }
  ~Sleeper() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  Sleeper(const Sleeper&) = delete;
  Sleeper& operator=(const Sleeper&) = delete;
  pid_t pid() const { return pid_; }
  void await_uid(uid_t uid) const {
    while (real_uid_of(pid_) != uid) ::usleep(1000);
  }
  bool was_killed() const {
    siginfo_t info{};
    while (::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOWAIT) != 0) {
    }
    return info.si_code == CLD_KILLED && info.si_status == SIGKILL;
  }

 private:
  pid_t pid_;
};

TEST(ProgramSignals, ReachProgramsOfTheUserWhoAttachedAndNoOthers) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root: programs of several users";
  const Sleeper alices(kAlice);
  alices.await_uid(kAlice);
  EXPECT_FALSE(send_signal(alices.pid(), kBob, SIGKILL));
  EXPECT_FALSE(send_signal_to_thread(alices.pid(), kBob, SIGKILL));
  EXPECT_EQ(::kill(alices.pid(), 0), 0);
  EXPECT_TRUE(send_signal(alices.pid(), kAlice, SIGKILL));
  EXPECT_TRUE(alices.was_killed());
}

TEST(ProgramSignals, RootsProgramsMayHaveBecomeAnybodys) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root: programs of several users";
  const Sleeper alices(kAlice);
  alices.await_uid(kAlice);
  EXPECT_TRUE(send_signal_to_thread(alices.pid(), 0, SIGKILL));
  EXPECT_TRUE(alices.was_killed());
}

TEST(ProgramSignals, NobodyIsReachedByANumberThatNamesNoProcess) {
  EXPECT_FALSE(real_uid_of(0));
  EXPECT_FALSE(send_signal(0, 0, SIGTERM));
  EXPECT_FALSE(send_signal(-1, 0, SIGTERM));
  EXPECT_FALSE(send_signal_to_thread(0, 0, SIGTERM));
}

}  // namespace
}  // namespace dipc::test
