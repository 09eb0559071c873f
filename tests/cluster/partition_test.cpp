// The network between a caller and the owner is lost in one direction while the other works: calls resume when it is
// back in time, and else end in time, on whichever side the silence is. And an owner that nobody reaches any more.

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

// Objects live where they are made. vax is cut off from all others.
class LostOwner : public testing::Test {
 protected:
  void SetUp() override {
    if (!am_root()) GTEST_SKIP() << "needs root: a lab has namespaces";
    cluster_ = std::make_unique<Cluster>("lost", "ref",
                                         "[timing]\npeer_timeout = \"3s\"\nkeepalive = \"500ms\"\n"
                                         "[[host]]\nname = \"ref\"\nlogins = { alice = 1001 }\n"
                                         "[[host]]\nname = \"vax\"\nlogins = { alice = 1001 }\n"
                                         "[[host]]\nname = \"sun\"\nlogins = { alice = 1001 }\n"
                                         "[[keys]]\nrange = \"all\"\n");
  }
  void lab(const std::string& verb) const {
    for (const char* other : {"ref", "sun"}) ASSERT_EQ(cluster_->lab({verb, "vax", other}).status, 0);
  }
  Cluster::Ran forget(const std::string& login) const {
    return cluster_->run("ref", login, {"sh", "-c", "dipcctl forget sem 1 2>&1"});
  }
  static void await(Program& program, const std::string& command, const std::string& expected) {
    const auto until = Clock::now() + kLimit;
    std::string last;
    do last = ask(program, command);
    while (last != expected && Clock::now() < until);
    EXPECT_EQ(last, expected) << command;
  }
  std::unique_ptr<Cluster> cluster_;
};

TEST_F(LostOwner, KeepsItsNamesUntilTheRefereeIsToldToForgetThemAndIsFencedThen) {
  const std::string puppet = native_program("tests/kernel/puppet");
  const auto on_vax = cluster_->start("vax", "alice", {puppet});
  const auto on_sun = cluster_->start("sun", "alice", {puppet});
  const std::string set = first_word(ask(*on_vax, "semget 1 1 950"));
  ASSERT_EQ(ask(*on_vax, "semop " + set + " 1 0 5 0"), "0 -");
  const std::string on_sun_set = first_word(ask(*on_sun, "semget 1 1 950"));
  const auto value = [](const std::string& id) { return "semctl " + id + " 0 " + std::to_string(GETVAL) + " 0"; };
  ASSERT_EQ(ask(*on_sun, value(on_sun_set)), "5 -");
  lab("cut");
  await(*on_sun, value(on_sun_set), "-1 EHOSTUNREACH");
  EXPECT_EQ(ask(*on_sun, "semget 1 1 950"), "-1 EHOSTUNREACH") << "no second one is made";

  const auto refused = forget("alice");
  EXPECT_EQ(refused.status, 1);
  EXPECT_EQ(ask(*on_sun, "semget 1 1 950"), "-1 EHOSTUNREACH");
  const auto done = forget("root");
  EXPECT_EQ(done.status, 0) << done.output;
  EXPECT_NE(cluster_->log_of("ref").find("forgotten on the word of root (uid 0, pid "), std::string::npos)
      << cluster_->log_of("ref");
  await(*on_sun, value(on_sun_set), "-1 EINVAL");
  const std::string fresh = first_word(ask(*on_sun, "semget 1 1 950"));
  EXPECT_EQ(ask(*on_sun, value(fresh)), "0 -");

  lab("heal");
  await(*on_vax, "semget 1 1 0", "-1 EEXIST");
  EXPECT_NE(cluster_->log_of("vax").find("fenced"), std::string::npos) << cluster_->log_of("vax");
  EXPECT_EQ(ask(*on_vax, value(set)), "5 -") << "its contents are kept";
  EXPECT_EQ(ask(*on_sun, value(fresh)), "0 -");
}

}  // namespace
}  // namespace dipc::test
