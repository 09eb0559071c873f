// One direction of the network between a caller and the owner is lost while the other works: calls resume when it is
// back in time, and else end in time, on whichever side the silence is.

#include <gtest/gtest.h>
#include <sys/sem.h>

#include <thread>

#include "tests/cluster/cluster.h"

namespace dipc::test {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kLimit = std::chrono::seconds(30);
constexpr auto kPeerTimeout = std::chrono::seconds(3);
constexpr auto kInTime = kPeerTimeout + std::chrono::seconds(1);

// Which host's packets to the other are lost; sun calls, vax owns.
class OneWay : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (!am_root()) GTEST_SKIP() << "needs root: a lab has namespaces";
    cluster_ = std::make_unique<Cluster>("oneway", "ref",
                                         "[timing]\npeer_timeout = \"3s\"\nkeepalive = \"500ms\"\n"
                                         "[[host]]\nname = \"ref\"\nlogins = { alice = 1001 }\n"
                                         "[[host]]\nname = \"vax\"\nlogins = { alice = 1001 }\n"
                                         "[[host]]\nname = \"sun\"\nlogins = { alice = 1001 }\n"
                                         "[[keys]]\nrange = \"all\"\nhome = \"vax\"\n");
    const std::string puppet = native_program("tests/kernel/puppet");
    waiting_ = cluster_->start("sun", "alice", {puppet});
    asking_ = cluster_->start("sun", "alice", {puppet});
    owners_ = cluster_->start("vax", "alice", {puppet});
    set_ = first_word(ask(*asking_, "semget 1 1 950"));
    ASSERT_EQ(first_word(ask(*waiting_, "semget 1 1 0")), set_);
    owners_set_ = first_word(ask(*owners_, "semget 1 1 0"));
    waiting_->write_line("semop " + set_ + " 1 0 -5 0");
    await_waiting(1);
  }
  void lab(const std::string& verb) {
    const std::string other = GetParam() == "vax" ? "sun" : "vax";
    const auto ran = cluster_->lab({verb, GetParam(), other, "--one-way"});
    ASSERT_EQ(ran.status, 0) << ran.output;
  }
  // As the owner's kernel sees it.
  void await_waiting(int count) {
    const auto until = Clock::now() + kLimit;
    const std::string expected = std::to_string(count) + " -";
    std::string last;
    do last = ask(*owners_, "semctl " + owners_set_ + " 0 " + std::to_string(GETNCNT) + " 0");
    while (last != expected && Clock::now() < until);
    ASSERT_EQ(last, expected);
  }
  std::string value() const { return "semctl " + set_ + " 0 " + std::to_string(GETVAL) + " 0"; }

  std::unique_ptr<Cluster> cluster_;
  std::unique_ptr<Program> waiting_;  // in a semop that needs 5
  std::unique_ptr<Program> asking_;
  std::unique_ptr<Program> owners_;
  std::string set_;
  std::string owners_set_;
};

TEST_P(OneWay, ForLessThanPeerTimeoutIsNoticedByTheClockOnly) {
  lab("cut");
  asking_->write_line(value());
  // What the waiting call waits for happens meanwhile.
  ASSERT_EQ(ask(*owners_, "semop " + owners_set_ + " 1 0 5 0"), "0 -");
  std::this_thread::sleep_for(kPeerTimeout / 2);
  lab("heal");
  EXPECT_EQ(asking_->read_line(kInTime), "0 -");
  EXPECT_EQ(waiting_->read_line(kInTime), "0 -");
  EXPECT_EQ(ask(*asking_, value()), "0 -") << "once";
}

TEST_P(OneWay, ForMoreThanPeerTimeoutEndsCallsInTime) {
  const auto before = Clock::now();
  lab("cut");
  asking_->write_line(value());
  const std::string asked = asking_->read_line(kLimit).value_or("(silent)");
  EXPECT_TRUE(asked == "-1 EHOSTUNREACH" || asked == "-1 ECONNRESET") << asked;
  EXPECT_EQ(waiting_->read_line(kLimit), "-1 ECONNRESET") << "it may have been made";
  EXPECT_LT(Clock::now() - before, kInTime);
  await_waiting(0);
  EXPECT_LT(Clock::now() - before, kInTime) << "the owner knows it too";
  const auto again = Clock::now();
  EXPECT_EQ(ask(*asking_, value()), "-1 EHOSTUNREACH") << "certainly not made";
  EXPECT_LT(Clock::now() - again, kInTime);
  lab("heal");
  const auto until = Clock::now() + kLimit;
  std::string last;
  do last = ask(*asking_, value());
  while (last != "0 -" && Clock::now() < until);
  EXPECT_EQ(last, "0 -");
}

INSTANTIATE_TEST_SUITE_P(From, OneWay, testing::Values("vax", "sun"),
                         [](const auto& instance) { return instance.param; });

}  // namespace
}  // namespace dipc::test
