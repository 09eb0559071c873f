// Queues and semaphore sets between hosts of a lab, over real TLS: what programs see. Each test that makes sense for it
// runs with x86-64 on both sides and with m68k as owner or as caller.

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/ipc.h>
#include <sys/syscall.h>

#include <filesystem>
#include <memory>

#include "tests/cluster/shared_clusters.h"

namespace dipc::test {
namespace {

constexpr auto kLimit = std::chrono::seconds(30);

struct Pair {
  std::string name;
  std::string vax;  // architecture of the owner
  std::string sun;  // of the host that calls
};

void PrintTo(const Pair& pair, std::ostream* out) { *out << pair.name; }

// A cluster a pair.
class TwoHosts : public SharedClusters<Pair> {
 protected:
  void SetUp() override {
    if (!am_root()) GTEST_SKIP() << "needs root: a lab has namespaces";
    if ((GetParam().vax == "m68k" || GetParam().sun == "m68k") && !have_m68k()) {
      GTEST_SKIP() << "the m68k build is not there: make m68k";
    }
    // One login has different uids on the two hosts, and the pids of both begin at 1.
    use("two-" + GetParam().name, "vax",
        "[[host]]\nname = \"vax\"\narch = \"" + GetParam().vax +
            "\"\nlogins = { alice = 1001, bob = 1002 }\nmsgmax = 1048576\n"
            "msgmnb = 4194304\n"
            "[[host]]\nname = \"sun\"\narch = \"" +
            GetParam().sun +
            "\"\nlogins = { alice = 2001, bob = 1001 }\n"
            "[[keys]]\nrange = \"all\"\nhome = \"vax\"\n"
            "[[keys]]\nrange = \"private\"\nhome = \"vax\"\n"
            "[ftok]\npaths = [\"/etc\"]\n");
  }

  std::string puppet_of(const std::string& host) const {
    const std::string arch = host == "vax" ? GetParam().vax : GetParam().sun;
    return arch == "m68k" ? m68k_program("tests/kernel/puppet") : native_program("tests/kernel/puppet");
  }

  // A puppet that can be told calls.
  std::unique_ptr<Program> puppet(const std::string& host, const std::string& login = "alice") {
    static int number = 0;
    last_token_ = "two" + std::to_string(::getpid()) + "." + std::to_string(++number);
    return cluster_->start(host, login, {puppet_of(host), last_token_});
  }

  // A new object under a key that no other test uses; its id on that puppet's host.
  std::string key() {
    static int next = 0x5000;
    return std::to_string(++next);
  }

  std::string last_token_;
};

// The pid that a puppet has for us, to look at it in /proc.
pid_t outer_pid_of(Program& program, const std::string& token) {
  program.write_line("pid");
  const std::string line = program.read_line(kLimit).value_or("0");
  return outer_pid(token, static_cast<pid_t>(std::stol(line)));
}

bool wait_until_in_call(pid_t pid) {
  const auto until = std::chrono::steady_clock::now() + kLimit;
  while (std::chrono::steady_clock::now() < until) {
    if (sleeping_in(pid) == SYS_ppoll) return true;
  }
  return false;
}

TEST_P(TwoHosts, AMessageSentOnOneHostIsReceivedOnTheOther) {
  const auto here = puppet("sun");
  const auto there = puppet("vax");
  const std::string name = key();
  const std::string ours = first_word(ask(*here, "msgget " + name + " 950"));
  const std::string theirs = first_word(ask(*there, "msgget " + name + " 0"));
  const std::string sent = ask(*here, "msgsnd " + ours + " 7 42 100 0");
  EXPECT_EQ(sent, "0 -");
  const std::string there_got = ask(*there, "msgrcv " + theirs + " 7 200 2048");
  EXPECT_EQ(first_word(there_got), "100");
  EXPECT_EQ(ask(*there, "msgsnd " + theirs + " 7 42 100 0"), "0 -");
  // The same type and text, whoever sent it: the digest is the puppet's.
  EXPECT_EQ(ask(*here, "msgrcv " + ours + " 7 200 2048"), there_got);
  EXPECT_EQ(ask(*here, "msgrm " + ours), "0 -");
  EXPECT_EQ(ask(*there, "msgrcv " + theirs + " 0 200 2048"), "-1 EINVAL");
}

TEST_P(TwoHosts, MessagesOfUpToOneMebibyteArriveWhole) {
  const auto here = puppet("sun");
  const auto there = puppet("vax");
  const std::string name = key();
  const std::string id = first_word(ask(*here, "msgget " + name + " 950"));
  const std::string theirs = first_word(ask(*there, "msgget " + name + " 0"));
  for (const char* bytes : {"0", "1", "8192", "65527", "65528", "65536", "65537", "200000", "1048576"}) {
    const std::string size(bytes);
    ASSERT_EQ(ask(*here, "msgsnd " + id + " 1 5 " + size + " 2048"), "0 -") << size;
    const std::string got = ask(*here, "msgrcv " + id + " 0 1048576 2048");
    EXPECT_EQ(first_word(got), size);
    // Once more through the owner's own kernel: the same digest.
    ASSERT_EQ(ask(*there, "msgsnd " + theirs + " 1 5 " + size + " 2048"), "0 -");
    EXPECT_EQ(ask(*there, "msgrcv " + theirs + " 0 1048576 2048"), got);
  }
  EXPECT_EQ(ask(*here, "msgsnd " + id + " 1 5 1048577 2048"), "-1 EINVAL") << "larger than the owner's msgmax";
  EXPECT_EQ(ask(*here, "msgrm " + id), "0 -");
}

TEST_P(TwoHosts, FtokOfAListedPathIsTheSameOnBothAndNotOfTheFile) {
  const std::string expected = std::to_string(0x41b4cad8);  // as `dipcctl ftok /etc A` prints it
  for (const std::string host : {"vax", "sun"}) {
    const auto program = puppet(host);
    EXPECT_EQ(first_word(ask(*program, "ftok /etc/../etc 65")), expected) << host;
    EXPECT_EQ(first_word(ask(*program, "ftok /tmp 65")), std::to_string(::ftok("/tmp", 65))) << "not listed";
    EXPECT_EQ(ask(*program, "ftok /etc/none 65"), "-1 ENOENT");
  }
  EXPECT_NE(std::to_string(::ftok("/etc", 'A')), expected);
}

TEST_P(TwoHosts, TheOwnersKernelJudgesByTheMappedLogin) {
  const auto alice = puppet("sun");
  const auto bob = puppet("sun", "bob");
  const std::string name = key();
  const std::string id = first_word(ask(*alice, "msgget " + name + " 896"));  // 0600
  EXPECT_EQ(ask(*bob, "msgget " + name + " 384"), "-1 EACCES");
  EXPECT_EQ(ask(*bob, "msgsnd " + id + " 1 1 10 0"), "-1 EACCES");
  // bob here has alice's uid of the owner: numbers must not count.
  const auto there = puppet("vax");
  const std::string theirs = first_word(ask(*there, "msgget " + name + " 384"));
  EXPECT_NE(theirs, "-1");
  const std::string seen_there = ask(*there, "msgstat " + theirs);
  EXPECT_NE(seen_there.find("uid 1001 "), std::string::npos) << seen_there;
  const std::string seen_here = ask(*alice, "msgstat " + id);
  EXPECT_NE(seen_here.find("uid 2001 "), std::string::npos) << seen_here;
  EXPECT_EQ(ask(*alice, "msgrm " + id), "0 -");
}

TEST_P(TwoHosts, RootOfAnotherHostIsNobody) {
  const auto root = puppet("sun", "root");
  const auto alice = puppet("sun");
  const std::string name = key();
  const std::string id = first_word(ask(*alice, "msgget " + name + " 896"));
  EXPECT_EQ(ask(*root, "msgsnd " + id + " 1 1 10 0"), "-1 EACCES");
  EXPECT_EQ(ask(*root, "msgrm " + id), "-1 EPERM");
  EXPECT_NE(cluster_->log_of("vax").find("root@sun maps to nobody"), std::string::npos);
  EXPECT_EQ(ask(*alice, "msgrm " + id), "0 -");
}

TEST_P(TwoHosts, PidsAreThoseOfTheCallers) {
  const auto here = puppet("sun");
  const auto there = puppet("vax");
  const std::string pid = first_word(ask(*here, "pid"));
  const std::string their_pid = first_word(ask(*there, "pid"));
  const std::string name = key();
  const std::string id = first_word(ask(*here, "msgget " + name + " 950"));
  const std::string theirs = first_word(ask(*there, "msgget " + name + " 0"));
  EXPECT_EQ(ask(*here, "msgsnd " + id + " 1 1 10 0"), "0 -");
  EXPECT_EQ(first_word(ask(*there, "msgrcv " + theirs + " 0 10 2048")), "10");
  // Both hosts see both pids, each as a number of its own host.
  for (const std::string& stat : {ask(*here, "msgstat " + id), ask(*there, "msgstat " + theirs)}) {
    EXPECT_NE(stat.find("spid " + pid + " rpid " + their_pid), std::string::npos) << stat;
  }
  EXPECT_EQ(ask(*here, "msgrm " + id), "0 -");
  const std::string sem_name = key();
  const std::string set = first_word(ask(*here, "semget " + sem_name + " 2 950"));
  const std::string their_set = first_word(ask(*there, "semget " + sem_name + " 2 0"));
  EXPECT_EQ(ask(*here, "semop " + set + " 1 1 5 0"), "0 -");
  EXPECT_EQ(ask(*there, "semctl " + their_set + " 1 11 0"), pid + " -");  // GETPID
  EXPECT_EQ(ask(*there, "semop " + their_set + " 1 1 1 0"), "0 -");
  EXPECT_EQ(ask(*there, "semctl " + their_set + " 1 11 0"), their_pid + " -");
  EXPECT_EQ(ask(*here, "semop " + set + " 1 1 -1 4096"), "0 -");  // SEM_UNDO: the keeper acts for it
  EXPECT_EQ(ask(*there, "semctl " + their_set + " 1 11 0"), pid + " -");
  EXPECT_EQ(ask(*here, "semrm " + set), "0 -");
}

TEST_P(TwoHosts, PrivateObjectsLiveAtTheirHomeAndAreReachedById) {
  const auto here = puppet("sun");
  const std::string id = first_word(ask(*here, "msgget 0 950"));
  const std::string other = first_word(ask(*here, "msgget 0 950"));
  EXPECT_NE(id, other);
  EXPECT_EQ(ask(*here, "msgsnd " + id + " 3 9 50 0"), "0 -");
  // A process that was given the id: inherited, or on its command line.
  const auto heir = puppet("sun");
  EXPECT_EQ(first_word(ask(*heir, "msgrcv " + id + " 0 100 2048")), "50");
  EXPECT_EQ(ask(*heir, "msgrcv " + other + " 0 100 2048"), "-1 ENOMSG");
  EXPECT_EQ(ask(*here, "msgrm " + id), "0 -");
  EXPECT_EQ(ask(*here, "msgrm " + other), "0 -");
}

TEST_P(TwoHosts, AWaitingReceiverGetsEidrmWhenTheQueueGoes) {
  const auto waits = puppet("sun");
  const pid_t pid = outer_pid_of(*waits, last_token_);
  const auto other = puppet("sun");
  const auto there = puppet("vax");
  const std::string name = key();
  const std::string id = first_word(ask(*waits, "msgget " + name + " 950"));
  const std::string theirs = first_word(ask(*there, "msgget " + name + " 0"));
  waits->write_line("msgrcv " + id + " 0 100 0");
  ASSERT_TRUE(wait_until_in_call(pid));
  // Issued later on the same host, so answered once the receive is asleep in the owner's kernel.
  ASSERT_EQ(first_word(ask(*other, "msgstat " + id)), "0");
  EXPECT_EQ(ask(*there, "msgrm " + theirs), "0 -");  // on the owner, through its kernel
  EXPECT_EQ(waits->read_line(kLimit).value_or("(silent)"), "-1 EIDRM");
  // The key can be made again, by anybody.
  const std::string fresh = first_word(ask(*other, "msgget " + name + " 950"));
  EXPECT_NE(fresh, "-1");
  EXPECT_EQ(ask(*other, "msgrm " + fresh), "0 -");
}

TEST_P(TwoHosts, ARemovedStandInIsEidrmAndTheObjectIsReachedByTheNextGet) {
  const auto here = puppet("sun");
  const auto root = cluster_->start("sun", "root", {puppet_of("sun")}, false);  // on this host's kernel alone
  const std::string name = key();
  const std::string id = first_word(ask(*here, "msgget " + name + " 950"));
  EXPECT_EQ(ask(*here, "msgsnd " + id + " 1 1 10 0"), "0 -");
  EXPECT_EQ(ask(*root, "msgrm " + id), "0 -");
  EXPECT_EQ(ask(*here, "msgsnd " + id + " 1 1 10 0"), "-1 EIDRM");
  const std::string again = first_word(ask(*here, "msgget " + name + " 0"));
  EXPECT_NE(again, id);
  EXPECT_EQ(first_word(ask(*here, "msgrcv " + again + " 0 100 2048")), "10");
  EXPECT_EQ(ask(*here, "msgrm " + again), "0 -");
}

TEST_P(TwoHosts, AProgramWithoutTheShimCantUseAStandIn) {
  const auto here = puppet("sun");
  const std::string name = key();
  const std::string id = first_word(ask(*here, "msgget " + name + " 950"));
  const auto alice = cluster_->start("sun", "alice", {puppet_of("sun")}, false);
  EXPECT_EQ(ask(*alice, "msgget " + name + " 384"), "-1 EACCES");
  EXPECT_EQ(ask(*alice, "msgsnd " + id + " 1 1 10 2048"), "-1 EACCES");
  const auto root = cluster_->start("sun", "root", {puppet_of("sun")}, false);
  EXPECT_EQ(ask(*root, "msgsnd " + id + " 1 1 10 2048"), "-1 EAGAIN");
  EXPECT_EQ(ask(*here, "msgrm " + id), "0 -");
}

TEST_P(TwoHosts, OnceACallerIsSeenAsleepItIsCountedAndServedInThatOrder) {
  constexpr int kRounds = 340;  // of three receivers each
  std::vector<std::unique_ptr<Program>> waiters;
  std::vector<pid_t> pids;
  for (int i = 0; i < 3; ++i) {
    waiters.push_back(puppet("sun"));
    pids.push_back(outer_pid_of(*waiters.back(), last_token_));
    ASSERT_NE(pids.back(), 0);
  }
  const auto other = puppet("sun");
  const std::string id = first_word(ask(*other, "msgget " + key() + " 950"));
  const std::string set = first_word(ask(*other, "semget " + key() + " 1 950"));
  for (int round = 0; round < kRounds; ++round) {
    waiters[0]->write_line("semop " + set + " 1 0 -1 0");
    ASSERT_TRUE(wait_until_in_call(pids[0]));
    ASSERT_EQ(ask(*other, "semctl " + set + " 0 14 0"), "1 -") << "GETNCNT in round " << round;
    ASSERT_EQ(ask(*other, "semop " + set + " 1 0 1 0"), "0 -");
    ASSERT_EQ(waiters[0]->read_line(kLimit).value_or("(silent)"), "0 -");
    for (int i = 0; i < 3; ++i) {
      waiters[static_cast<std::size_t>(i)]->write_line("msgrcv " + id + " 0 100 0");
      ASSERT_TRUE(wait_until_in_call(pids[static_cast<std::size_t>(i)]));
    }
    for (int i = 0; i < 3; ++i) {
      ASSERT_EQ(ask(*other, "msgsnd " + id + " 1 1 " + std::to_string(i + 1) + " 0"), "0 -");
    }
    for (int i = 0; i < 3; ++i) {
      const std::string got = waiters[static_cast<std::size_t>(i)]->read_line(kLimit).value_or("(silent)");
      ASSERT_EQ(first_word(got), std::to_string(i + 1)) << "round " << round;
    }
  }
  EXPECT_EQ(ask(*other, "msgrm " + id), "0 -");
  EXPECT_EQ(ask(*other, "semrm " + set), "0 -");
}

TEST_P(TwoHosts, AKilledWaiterIsNoLongerCountedAndItsUndoIsDone) {
  auto holder = puppet("sun");
  const pid_t pid = outer_pid_of(*holder, last_token_);
  const auto other = puppet("sun");
  const std::string name = key();
  const std::string set = first_word(ask(*other, "semget " + name + " 2 950"));
  ASSERT_EQ(first_word(ask(*holder, "semget " + name + " 2 0")), set);
  ASSERT_EQ(ask(*holder, "semop " + set + " 1 1 3 4096"), "0 -");
  ASSERT_EQ(ask(*other, "semctl " + set + " 1 12 0"), "3 -");  // GETVAL
  holder->write_line("semop " + set + " 1 0 -1 4096");
  ASSERT_TRUE(wait_until_in_call(pid));
  ASSERT_EQ(ask(*other, "semctl " + set + " 0 14 0"), "1 -");  // GETNCNT
  ::kill(pid, SIGKILL);
  // Seen by this host's daemon, told to the owner, undone there: soon, and not at once.
  const auto until = std::chrono::steady_clock::now() + kLimit;
  while (ask(*other, "semctl " + set + " 1 12 0") != "0 -" && std::chrono::steady_clock::now() < until) {
  }
  EXPECT_EQ(ask(*other, "semctl " + set + " 1 12 0"), "0 -") << "SEM_UNDO";
  EXPECT_EQ(ask(*other, "semctl " + set + " 0 14 0"), "0 -") << "GETNCNT";
  EXPECT_EQ(ask(*other, "semrm " + set), "0 -");
}

TEST_P(TwoHosts, ANegativeTypeOnM68kAndALargeTypeKeepTheirMeaning) {
  const auto here = puppet("sun");
  const std::string id = first_word(ask(*here, "msgget " + key() + " 950"));
  EXPECT_EQ(ask(*here, "msgsnd " + id + " 2147483647 1 10 0"), "0 -");
  EXPECT_EQ(ask(*here, "msgsnd " + id + " 5 1 10 0"), "0 -");
  EXPECT_NE(ask(*here, "msgrcv " + id + " -2147483647 100 2048").find("type 5 "), std::string::npos);
  EXPECT_NE(ask(*here, "msgrcv " + id + " 0 100 2048").find("type 2147483647 "), std::string::npos);
  EXPECT_EQ(ask(*here, "msgrm " + id), "0 -");
}

TEST_P(TwoHosts, ATypeThatDoesNotFitTheOwnersLongIsEinvalAndNothingIsSent) {
  if (GetParam().sun == "m68k") GTEST_SKIP() << "a 32-bit program has no such type";
  const auto here = puppet("sun");
  const std::string id = first_word(ask(*here, "msgget " + key() + " 950"));
  const std::string sent = ask(*here, "msgsnd " + id + " 4294967301 1 10 0");  // 2^32 + 5
  const std::string got = ask(*here, "msgrcv " + id + " 0 100 2048");
  if (GetParam().vax == "m68k") {
    EXPECT_EQ(sent, "-1 EINVAL");
    EXPECT_EQ(got, "-1 ENOMSG") << "not as type 5 either";
  } else {
    EXPECT_EQ(sent, "0 -");
    EXPECT_NE(got.find("type 4294967301 "), std::string::npos) << got;
  }
  EXPECT_EQ(ask(*here, "msgrm " + id), "0 -");
}

TEST_P(TwoHosts, AMessageWhoseTypeTheReceiverCantHoldIsEoverflowOnceAndADeadLetter) {
  if (GetParam().vax == "m68k" || GetParam().sun != "m68k") GTEST_SKIP() << "needs a 64-bit owner, a 32-bit receiver";
  const auto here = puppet("sun");
  const auto there = puppet("vax");
  const std::string name = key();
  const std::string id = first_word(ask(*here, "msgget " + name + " 950"));
  const std::string theirs = first_word(ask(*there, "msgget " + name + " 0"));
  const auto dead_letters = [&] {
    std::error_code none;
    const auto files = std::filesystem::directory_iterator(cluster_->folder() + "/hosts/vax/state/dead-letters", none);
    return std::distance(begin(files), end(files));
  };
  const auto before = dead_letters();
  EXPECT_EQ(ask(*there, "msgsnd " + theirs + " 4294967301 1 10 0"), "0 -");  // 2^32 + 5
  EXPECT_EQ(ask(*there, "msgsnd " + theirs + " 5 1 20 0"), "0 -");
  EXPECT_EQ(ask(*here, "msgrcv " + id + " 0 100 2048"), "-1 EOVERFLOW");
  EXPECT_NE(ask(*here, "msgrcv " + id + " 0 100 2048").find("20 - type 5 "), std::string::npos) << "the next one";
  EXPECT_EQ(ask(*here, "msgrcv " + id + " 0 100 2048"), "-1 ENOMSG");
  EXPECT_EQ(dead_letters(), before + 1);
  EXPECT_EQ(ask(*here, "msgrm " + id), "0 -");
}

INSTANTIATE_TEST_SUITE_P(Architectures, TwoHosts,
                         testing::Values(Pair{"native", "native", "native"}, Pair{"owner68k", "m68k", "native"},
                                         Pair{"caller68k", "native", "m68k"}),
                         [](const auto& instance) { return instance.param.name; });

}  // namespace
}  // namespace dipc::test
