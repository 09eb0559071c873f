// A dead letter as an administrator meets one: a message that was on its way to a host that died, found, looked at, put
// back into its queue, dropped.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/core/status_report.h"
#include "tests/cluster/cluster.h"

namespace dipc::test {
namespace {

using testing::HasSubstr;
using namespace std::chrono_literals;

constexpr auto kLimit = 30s;

class DeadLetters : public testing::Test {
 protected:
  void SetUp() override {
    if (!am_root()) GTEST_SKIP() << "needs root: a lab has namespaces";
    cluster_ = std::make_unique<Cluster>("letters", "vax",
                                         "[[host]]\nname = \"vax\"\nlogins = { alice = 1001, carol = 1003 }\n"
                                         "groups = { dipc = { gid = 2000, members = [\"carol\"] } }\n"
                                         "[[host]]\nname = \"sun\"\nlogins = { alice = 2001 }\n"
                                         "[[keys]]\nrange = \"all\"\nhome = \"vax\"\n"
                                         "[timing]\nkeepalive = \"200ms\"\npeer_timeout = \"1s\"\n");
  }

  Cluster::Ran dipcctl(const std::string& words, const std::string& login = "root") const {
    return cluster_->run("vax", login, {"sh", "-c", "dipcctl deadletters " + words + " 2>&1"});
  }
  std::vector<DeadLettersReport::Row> rows() const {
    const auto report = dead_letters_from_json(dipcctl("--json").output);
    return report ? report->rows : std::vector<DeadLettersReport::Row>{};
  }
  // Has a receive of sun take a message, of which sun, whose daemon is stopped from then on, never says that it
  // arrived.
  void send_to_frozen_sun(Program& on_vax, const std::string& queue, long type) {
    receiver_ = cluster_->start("sun", "alice", {native_program("tests/kernel/puppet")});
    const std::string id = first_word(ask(*receiver_, "msgget 4660 0"));
    receiver_->write_line("msgrcv " + id + " 0 100 0");
    await_waiting(1);
    EXPECT_EQ(cluster_->lab({"kill", "sun", "daemon", "--signal", "STOP"}).status, 0);
    EXPECT_EQ(ask(on_vax, "msgsnd " + queue + " " + std::to_string(type) + " 3 20 2048"), "0 -");
  }
  void await_waiting(std::uint64_t count) const {
    const auto until = std::chrono::steady_clock::now() + kLimit;
    const auto waits = [&] {
      auto status = status_from_json(cluster_->run("vax", "root", {"dipcctl", "status", "--json"}).output);
      return status && status->counters["calls_waiting"] == count;
    };
    while (!waits() && std::chrono::steady_clock::now() < until) {
    }
  }
  void restart(const std::string& host) const {
    EXPECT_EQ(cluster_->lab({"kill", host, "daemon"}).status, 0);
    EXPECT_EQ(cluster_->lab({"start", host}).status, 0);
  }
  // Of a session that ended. Its letter's number.
  std::uint64_t make_letter(Program& on_vax, const std::string& queue, long type) {
    const std::size_t before = rows().size();
    send_to_frozen_sun(on_vax, queue, type);
    const auto until = std::chrono::steady_clock::now() + kLimit;
    while (rows().size() == before && std::chrono::steady_clock::now() < until) {
    }
    restart("sun");
    receiver_.reset();
    const auto found = rows();
    return found.size() == before + 1 ? found.back().id : 0;
  }

  std::unique_ptr<Cluster> cluster_;
  std::unique_ptr<Program> receiver_;
};

TEST_F(DeadLetters, AreListedShownPutBackAndDroppedByRootAndReadByGroupDipc) {
  const auto there = cluster_->start("vax", "alice", {native_program("tests/kernel/puppet")});
  const std::string queue = first_word(ask(*there, "msgget 4660 950"));
  // What the message looks like when nothing goes wrong.
  ASSERT_EQ(ask(*there, "msgsnd " + queue + " 77 3 20 2048"), "0 -");
  const std::string message = ask(*there, "msgrcv " + queue + " 0 100 2048");

  const std::uint64_t number = make_letter(*there, queue, 77);
  ASSERT_NE(number, 0u) << cluster_->log_of("vax");
  const std::string id = std::to_string(number);
  EXPECT_EQ(ask(*there, "msgrcv " + queue + " 0 100 2048"), "-1 ENOMSG");
  const auto row = rows()[0];
  EXPECT_EQ(row.host, "sun");
  EXPECT_EQ(row.login, "alice");
  EXPECT_EQ(row.key, 4660);
  EXPECT_EQ(std::to_string(row.queue), queue);
  EXPECT_NE(row.generation, 0u);
  EXPECT_EQ(row.type, 77);
  EXPECT_EQ(row.bytes, 20u);
  EXPECT_THAT(row.reason, HasSubstr("sun"));

  EXPECT_THAT(dipcctl("").output, HasSubstr("alice@sun"));
  EXPECT_THAT(dipcctl("show " + id, "carol").output, HasSubstr("\n00000010 "));
  EXPECT_THAT(dipcctl("", "alice").output, HasSubstr("you may not ask this daemon"));
  for (const char* verb : {"requeue ", "drop "}) {
    const auto refused = dipcctl(verb + id, "carol");
    EXPECT_EQ(refused.status, 1);
    EXPECT_THAT(refused.output, HasSubstr("you may not change this daemon"));
  }
  ASSERT_EQ(rows().size(), 1u);

  const auto requeued = dipcctl("requeue " + id);
  EXPECT_EQ(requeued.status, 0) << requeued.output;
  EXPECT_EQ(rows().size(), 0u);
  EXPECT_EQ(ask(*there, "msgrcv " + queue + " 0 100 2048"), message);
  const auto again = dipcctl("requeue " + id);
  EXPECT_EQ(again.status, 1);
  EXPECT_THAT(again.output, HasSubstr("there is no dead letter " + id));
  EXPECT_THAT(cluster_->log_of("vax"), HasSubstr("by root (uid 0, pid "));
  EXPECT_THAT(cluster_->log_of("vax"), HasSubstr("letter " + id + " is back in its queue"));

  // The next one outlives its daemon, and then its queue.
  const std::uint64_t second = make_letter(*there, queue, 78);
  ASSERT_GT(second, number);
  ASSERT_EQ(cluster_->lab({"kill", "vax", "daemon"}).status, 0);
  ASSERT_EQ(cluster_->lab({"start", "vax"}).status, 0);
  ASSERT_EQ(rows().size(), 1u);
  EXPECT_EQ(ask(*there, "msgrm " + queue), "0 -");
  const auto too_late = dipcctl("requeue " + std::to_string(second));
  EXPECT_EQ(too_late.status, 1);
  EXPECT_THAT(too_late.output, HasSubstr("is gone"));
  EXPECT_EQ(dipcctl("drop " + std::to_string(second)).status, 0);
  EXPECT_EQ(dipcctl("").output, "no dead letters\n");
  EXPECT_THAT(cluster_->log_of("vax"), HasSubstr("dropped"));
}

TEST_F(DeadLetters, AMessageOnItsWayWhenItsOwnersDaemonIsKilledIsOne) {
  const auto there = cluster_->start("vax", "alice", {native_program("tests/kernel/puppet")});
  const std::string queue = first_word(ask(*there, "msgget 4660 950"));
  send_to_frozen_sun(*there, queue, 79);
  await_waiting(0);
  restart("vax");
  const auto found = rows();
  ASSERT_EQ(found.size(), 1u) << cluster_->log_of("vax");
  EXPECT_EQ(found[0].type, 79);
  EXPECT_EQ(found[0].bytes, 20u);
  EXPECT_EQ(ask(*there, "msgrcv " + queue + " 0 100 2048"), "-1 ENOMSG");
}

}  // namespace
}  // namespace dipc::test
