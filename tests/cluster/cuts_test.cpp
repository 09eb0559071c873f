// TCP connections that are cut under calls of every kind: the session resumes, and every call is carried out once.

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "tests/cluster/cluster.h"

namespace dipc::test {
namespace {

constexpr auto kLimit = std::chrono::seconds(30);

// Cuts every connection of vax's daemon again and again (ss -K, SOCK_DESTROY of sock_diag(7)).
class Cutter {
 public:
  explicit Cutter(const Cluster& cluster)
      : thread_([this, &cluster] {
          while (!stop_) {
            const auto ran = cluster.run(
                "vax", "root", {"ss", "-K", "-Htn", "(", "sport", "=", ":7310", "or", "dport", "=", ":7310", ")"});
            if (!ran.output.empty()) ++cuts_;
          }
        }) {}
  ~Cutter() {
    stop_ = true;
    thread_.join();
  }
  int cuts() const { return cuts_; }

 private:
  std::atomic<bool> stop_{false};
  std::atomic<int> cuts_{0};
  std::thread thread_;
};

TEST(Cuts, EveryCallIsCarriedOutOnceThoughItsConnectionIsCut) {
  if (!am_root()) GTEST_SKIP() << "needs root: a lab has namespaces";
  const Cluster cluster("cuts", "vax",
                        "[[host]]\nname = \"vax\"\nlogins = { alice = 1001 }\n"
                        "[[host]]\nname = \"sun\"\nlogins = { alice = 1001 }\n"
                        "[[keys]]\nrange = \"all\"\nhome = \"vax\"\n");
  const auto sender = cluster.start("sun", "alice", {native_program("tests/kernel/puppet")});
  const auto receiver = cluster.start("sun", "alice", {native_program("tests/kernel/puppet")});
  const std::string queue = first_word(ask(*sender, "msgget 1 950"));
  const std::string set = first_word(ask(*sender, "semget 2 1 950"));
  ASSERT_EQ(first_word(ask(*receiver, "msgget 1 0")), queue);
  constexpr int kRounds = 400;
  {
    const Cutter cutter(cluster);
    for (int i = 1; i <= kRounds || cutter.cuts() < 20; ++i) {
      // A receive that waits, a send that ends it, a semaphore that counts, an answer from a status call.
      receiver->write_line("msgrcv " + queue + " 0 8192 0");
      ASSERT_EQ(ask(*sender, "msgsnd " + queue + " " + std::to_string(i) + " 1 64 0"), "0 -") << "round " << i;
      const std::string got = receiver->read_line(kLimit).value_or("(silent)");
      ASSERT_EQ(got.substr(0, got.find(" text")), "64 - type " + std::to_string(i));
      ASSERT_EQ(ask(*sender, "semop " + set + " 1 0 1 4096"), "0 -") << "round " << i;
      ASSERT_EQ(ask(*receiver, "semctl " + set + " 0 12 0"), std::to_string(i) + " -");
      ASSERT_LT(i, 20000) << "no cuts";
    }
  }
  EXPECT_EQ(ask(*receiver, "msgrcv " + queue + " 0 8192 2048"), "-1 ENOMSG") << "none twice";
  EXPECT_EQ(ask(*sender, "msgrm " + queue), "0 -");
  EXPECT_EQ(ask(*sender, "semrm " + set), "0 -");
}

}  // namespace
}  // namespace dipc::test
