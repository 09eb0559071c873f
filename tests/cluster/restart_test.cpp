// Daemons and hosts that end while programs of other hosts hold semaphores under SEM_UNDO: nobody who lives loses what
// it holds, nobody who is gone keeps it.

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/sem.h>

#include <thread>

#include "tests/cluster/cluster.h"

namespace dipc::test {
namespace {

constexpr auto kLimit = std::chrono::seconds(30);

// Architecture of the owner.
class Restart : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (!am_root()) GTEST_SKIP() << "needs root: a lab has namespaces";
    if (GetParam() == "m68k" && !have_m68k()) GTEST_SKIP() << "the m68k build is not there: make m68k";
    cluster_ = std::make_unique<Cluster>("restart-" + GetParam(), "ref",
                                         "[timing]\npeer_timeout = \"" + std::to_string(peer_timeout().count()) +
                                             "s\"\nkeepalive = \"500ms\"\n"
                                             "[[host]]\nname = \"ref\"\nlogins = { alice = 1001 }\n"
                                             "[[host]]\nname = \"vax\"\narch = \"" +
                                             GetParam() +
                                             "\"\nlogins = { alice = 1001 }\n"
                                             "[[host]]\nname = \"sun\"\nlogins = { alice = 1001 }\n"
                                             "[[keys]]\nrange = \"all\"\nhome = \"vax\"\n");
    other_ = cluster_->start("sun", "alice", {native_program("tests/kernel/puppet")});
    set_ = make_set();
    ASSERT_NE(set_, "-1");
    ASSERT_EQ(ask(*other_, "semop " + set_ + " 1 0 10 0"), "0 -");
    holder_ = cluster_->start("sun", "alice", {native_program("tests/kernel/puppet")});
    ASSERT_EQ(first_word(ask(*holder_, "semget 1 1 0")), set_);
    ASSERT_EQ(ask(*holder_, hold()), "0 -");
    ASSERT_EQ(value(), "7 -");
  }

  // Longer than a restart takes, on a busy machine too: under qemu that is seconds.
  std::chrono::seconds peer_timeout() const { return std::chrono::seconds(GetParam() == "m68k" ? 6 : 3); }
  std::string hold() const { return "semop " + set_ + " 1 0 -3 " + std::to_string(SEM_UNDO); }
  std::string value() { return ask(*other_, "semctl " + set_ + " 0 " + std::to_string(GETVAL) + " 0"); }
  void lab(std::vector<std::string> words) {
    const auto ran = cluster_->lab(std::move(words));
    ASSERT_EQ(ran.status, 0) << ran.output;
  }
  // Its id. Connections may not be there yet: under qemu a handshake takes seconds.
  std::string make_set() {
    const auto until = std::chrono::steady_clock::now() + kLimit;
    std::string got;
    do got = ask(*other_, "semget 1 1 950");
    while (got == "-1 EHOSTUNREACH" && std::chrono::steady_clock::now() < until);
    return first_word(got);
  }
  // A first call after a restart may still meet the end of the old session.
  void expect_value_soon(const std::string& expected, std::chrono::milliseconds limit) {
    const auto until = std::chrono::steady_clock::now() + limit;
    std::string last;
    do last = value();
    while (last != expected && std::chrono::steady_clock::now() < until);
    EXPECT_EQ(last, expected);
  }

  // Until so many wait for the semaphore on its owner.
  void await_waiting(int count) {
    const auto until = std::chrono::steady_clock::now() + kLimit;
    const std::string expected = std::to_string(count) + " -";
    std::string last;
    do last = ask(*other_, "semctl " + set_ + " 0 " + std::to_string(GETNCNT) + " 0");
    while (last != expected && std::chrono::steady_clock::now() < until);
    ASSERT_EQ(last, expected);
  }

  std::unique_ptr<Cluster> cluster_;
  std::unique_ptr<Program> holder_;
  std::unique_ptr<Program> other_;
  std::string set_;
};

TEST_P(Restart, AKilledOwnersDaemonReleasesNothingOfALivingHolder) {
  lab({"kill", "vax", "daemon"});
  lab({"start", "vax"});
  expect_value_soon("7 -", kLimit);
  EXPECT_EQ(ask(*holder_, hold()), "0 -") << "it goes on as if nothing had been";
  EXPECT_EQ(value(), "4 -");
  std::this_thread::sleep_for(peer_timeout() + std::chrono::seconds(1));
  EXPECT_EQ(value(), "4 -") << "not later either";
  holder_.reset();
  expect_value_soon("10 -", kLimit);
}

TEST_P(Restart, AKilledCallersDaemonReleasesNothingOfALivingHolder) {
  lab({"kill", "sun", "daemon"});
  lab({"start", "sun"});
  expect_value_soon("7 -", kLimit);
  std::this_thread::sleep_for(peer_timeout() + std::chrono::seconds(1));
  EXPECT_EQ(ask(*holder_, hold()), "0 -");
  EXPECT_EQ(value(), "4 -");
  holder_.reset();
  expect_value_soon("10 -", kLimit);
}

TEST_P(Restart, AHolderThatEndsWhileItsDaemonIsDownIsFoundOut) {
  lab({"kill", "sun", "daemon"});
  holder_.reset();
  lab({"start", "sun"});
  expect_value_soon("10 -", kLimit);
}

TEST_P(Restart, AHolderThatEndsWhileTheOwnersDaemonIsDownIsFoundOut) {
  lab({"kill", "vax", "daemon"});
  holder_.reset();
  lab({"start", "vax"});
  expect_value_soon("10 -", kLimit);
}

TEST_P(Restart, WithoutTheOwnersDaemonForPeerTimeoutTheHolderIsToldOnce) {
  lab({"kill", "vax", "daemon"});
  std::this_thread::sleep_for(peer_timeout() + std::chrono::seconds(1));
  lab({"start", "vax"});
  expect_value_soon("10 -", kLimit);
  EXPECT_EQ(ask(*holder_, hold()), "-1 ECONNRESET");
  EXPECT_EQ(value(), "10 -") << "that call was not made";
  EXPECT_EQ(ask(*holder_, hold()), "0 -");
  EXPECT_EQ(value(), "7 -");
}

TEST_P(Restart, AHolderCutOffForPeerTimeoutIsToldOnce) {
  lab({"cut", "vax", "sun"});
  std::this_thread::sleep_for(2 * peer_timeout());
  const auto owners = cluster_->start(
      "vax", "alice",
      {GetParam() == "m68k" ? m68k_program("tests/kernel/puppet") : native_program("tests/kernel/puppet")});
  const std::string there = first_word(ask(*owners, "semget 1 1 0"));
  EXPECT_EQ(ask(*owners, "semctl " + there + " 0 " + std::to_string(GETVAL) + " 0"), "10 -") << "undone in time";
  lab({"heal", "vax", "sun"});
  expect_value_soon("10 -", kLimit);
  EXPECT_EQ(ask(*holder_, hold()), "-1 ECONNRESET");
  EXPECT_EQ(ask(*holder_, hold()), "0 -");
  EXPECT_EQ(value(), "7 -");
}

TEST_P(Restart, ACutShorterThanPeerTimeoutIsNoticedByTheClockOnly) {
  lab({"cut", "vax", "sun"});
  std::this_thread::sleep_for(peer_timeout() / 3);
  lab({"heal", "vax", "sun"});
  EXPECT_EQ(value(), "7 -");
  EXPECT_EQ(ask(*holder_, hold()), "0 -");
  EXPECT_EQ(value(), "4 -");
}

TEST_P(Restart, WhatAHostHeldThatLostItsPowerIsUndone) {
  lab({"kill", "sun", "host"});
  const auto owners = cluster_->start("ref", "alice", {native_program("tests/kernel/puppet")});
  const std::string there = first_word(ask(*owners, "semget 1 1 0"));
  const auto until = std::chrono::steady_clock::now() + 2 * peer_timeout();
  std::string last;
  do last = ask(*owners, "semctl " + there + " 0 " + std::to_string(GETVAL) + " 0");
  while (last != "10 -" && std::chrono::steady_clock::now() < until);
  EXPECT_EQ(last, "10 -");
  other_.reset();
}

TEST_P(Restart, ARebootedOwnerHasNothingOfWhatItHadAndItsNamesAreFree) {
  other_->write_line("semop " + set_ + " 1 0 -100 0");
  const auto before = std::chrono::steady_clock::now();
  lab({"kill", "vax", "host"});
  const std::string waiting = other_->read_line(kLimit).value_or("(silent)");
  EXPECT_TRUE(waiting == "-1 ECONNRESET" || waiting == "-1 EHOSTUNREACH") << waiting;
  EXPECT_LT(std::chrono::steady_clock::now() - before, peer_timeout() + std::chrono::seconds(1));
  EXPECT_EQ(value(), "-1 EHOSTUNREACH") << "certainly not made";
  lab({"start", "vax"});
  expect_value_soon("-1 EINVAL", kLimit);
  EXPECT_EQ(ask(*other_, "semget 1 1 0"), "-1 ENOENT");
  set_ = make_set();
  EXPECT_EQ(value(), "0 -");
  ASSERT_EQ(ask(*other_, "semop " + set_ + " 1 0 10 0"), "0 -");
  ASSERT_EQ(first_word(ask(*holder_, "semget 1 1 0")), set_);
  EXPECT_EQ(ask(*holder_, hold()), "0 -") << "what it held is gone with the semaphore: there is nothing to be told";
}

// ---- calls under way

TEST_P(Restart, ACallThatWaitsEndsWithItsOwnDaemon) {
  holder_->write_line("semop " + set_ + " 1 0 -100 0");
  await_waiting(1);
  lab({"kill", "sun", "daemon"});
  EXPECT_EQ(holder_->read_line(kLimit), "-1 ECONNRESET");
  lab({"start", "sun"});
  await_waiting(0);
  EXPECT_EQ(value(), "7 -") << "held under SEM_UNDO, ids as before";
}

TEST_P(Restart, ACallThatWaitsEndsWithTheOwnersDaemon) {
  holder_->write_line("semop " + set_ + " 1 0 -100 0");
  await_waiting(1);
  lab({"kill", "vax", "daemon"});
  lab({"start", "vax"});
  EXPECT_EQ(holder_->read_line(kLimit), "-1 ECONNRESET");
  await_waiting(0);
  EXPECT_EQ(ask(*other_, "semop " + set_ + " 1 0 100 0"), "0 -");
  EXPECT_EQ(value(), "107 -") << "nobody waits for it any more";
}

TEST_P(Restart, AFrozenOwnerIsLostAfterPeerTimeoutAndASecond) {
  holder_->write_line("semop " + set_ + " 1 0 -100 0");
  await_waiting(1);
  const auto before = std::chrono::steady_clock::now();
  lab({"kill", "vax", "daemon", "--signal", "STOP"});
  EXPECT_EQ(holder_->read_line(kLimit), "-1 ECONNRESET") << "it may have been made";
  EXPECT_LT(std::chrono::steady_clock::now() - before, peer_timeout() + std::chrono::seconds(1));
  EXPECT_EQ(value(), "-1 EHOSTUNREACH") << "certainly not made";
  lab({"kill", "vax", "daemon", "--signal", "CONT"});
  await_waiting(0);
}

TEST_P(Restart, QueuesKeepTheirMessagesAndIdsStayValid) {
  const std::string queue = first_word(ask(*other_, "msgget 2 950"));
  ASSERT_EQ(ask(*other_, "msgsnd " + queue + " 7 42 100 0"), "0 -");
  for (const char* host : {"vax", "sun", "ref"}) {
    lab({"kill", host, "daemon"});
    lab({"start", host});
    expect_value_soon("7 -", kLimit);
  }
  EXPECT_EQ(first_word(ask(*holder_, "msgget 2 0")), queue);
  EXPECT_EQ(first_word(ask(*holder_, "msgrcv " + queue + " 0 200 2048")), "100");
}

TEST_P(Restart, WithoutTheRefereeOnlyGetsOfNamesFail) {
  lab({"kill", "ref", "daemon"});
  EXPECT_EQ(value(), "7 -");
  EXPECT_EQ(ask(*other_, "msgget 3 950"), "-1 ETIMEDOUT");
  lab({"start", "ref"});
  const auto until = std::chrono::steady_clock::now() + kLimit;
  std::string made;
  do made = ask(*other_, "msgget 3 950");
  while (first_word(made) == "-1" && std::chrono::steady_clock::now() < until);
  EXPECT_NE(first_word(made), "-1") << made;
  EXPECT_EQ(ask(*holder_, "msgget 3 1974"), "-1 EEXIST") << "IPC_EXCL: there is one object, not two";
}

INSTANTIATE_TEST_SUITE_P(Owner, Restart, testing::Values("native", "m68k"),
                         [](const auto& instance) { return instance.param; });

}  // namespace
}  // namespace dipc::test
