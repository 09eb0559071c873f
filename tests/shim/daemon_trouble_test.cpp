// What a program sees of a daemon that is absent, silent, killed, of another namespace, or out of reach; and what only
// programs that run with DIPC can see.

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "tests/shim/machine.h"

namespace dipc::test {
namespace {

class WithShim : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (std::string why = machine().missing(); !why.empty()) GTEST_SKIP() << why;
  }
  const Machine& machine() const { return test::machine(GetParam()); }
  std::string socket() const { return folder_.file("socket"); }
  Environment environment(Environment more = {}) const {
    more["DIPC_SOCKET"] = socket();
    return more;
  }
  // What `scenario` prints. Fails the test unless it exits with 0.
  std::string output_of(const std::string& scenario, const Environment& more = {}, int descriptors_max = 1024) const {
    Program program(machine(), "shim_subject", {scenario}, environment(more), machine().shim, descriptors_max);
    Program::Ending ending = program.finish();
    EXPECT_EQ(ending.status, 0) << ending.output;
    return ending.output;
  }
  bool is_root() const { return geteuid() == 0; }

  Folder folder_;
};

TEST_P(WithShim, LibraryTellsWhereObjectsLive) {
  TestDaemon daemon(machine(), socket());
  EXPECT_EQ(output_of("tell"),
            "version " DIPC_VERSION
            "\n"
            "is_queue(queue): 2\nis_set(set): 2\nis_queue(local): 0\nis_queue(0x7ffffff0): 0\nis_queue(-1): 0\n");
}

TEST_P(WithShim, LibraryTellsThatThisHostIsTheOwner) {
  TestDaemon daemon(machine(), socket(), {"--owned"});
  EXPECT_NE(output_of("tell").find("is_queue(queue): 1\nis_set(set): 1\nis_queue(local): 0\n"), std::string::npos);
}

TEST_P(WithShim, FtokIsTheDaemonsForListedPathsAndLibcsForOthers) {
  const Environment folder = {{"DIPC_TEST_FOLDER", folder_.file(".")}};
  const std::string bare = output_of("file_keys", folder);
  EXPECT_EQ(bare.find("listed 41111111"), std::string::npos) << bare;
  TestDaemon daemon(machine(), socket());
  EXPECT_EQ(output_of("file_keys", folder),
            "listed 41111111\nthrough a link 42111111\nother is libc's 1\n"
            "ftok(\"absent\", 'A'): -1 ENOENT\nftok(\"listed/none\", 'A'): -1 ENOTDIR\n");
}

TEST_P(WithShim, ProgramCanLinkWithTheLibrary) {
  TestDaemon daemon(machine(), socket());
  Program linked(machine(), "shim_linked", {}, environment());
  EXPECT_EQ(linked.finish().output, DIPC_VERSION ": queue is remote\n");
}

TEST_P(WithShim, MoreIdsThanTheTableHoldsAreToldApart) {
  TestDaemon daemon(machine(), socket());
  EXPECT_EQ(output_of("many_ids"), "0 wrong\n");
}

TEST_P(WithShim, OwnerSeesThePidsOfRemoteCallers) {
  if (machine().is_status_wrong) GTEST_SKIP() << "qemu gets IPC_STAT wrong on this machine (docs/PORTING.md)";
  TestDaemon daemon(machine(), socket(), {"--owned", "--touch"});
  std::string output = output_of("pids_on_the_owner");
  EXPECT_EQ(output.find("queue: 1000001 1000002\nsemctl(set, 1, GETPID): 1000101\nmine 1\n"), 0u) << output;
}

// ---- trouble

TEST_P(WithShim, CallIsResetWhenTheDaemonDiesAndTheNextTimesOut) {
  TestDaemon daemon(machine(), socket(), {"--trace", "--op-timeout-ms", "300"});
  Program program(machine(), "shim_subject", {"wait_in_receive"}, environment(), machine().shim);
  ASSERT_EQ(program.read_line(), "waiting");
  ASSERT_TRUE(daemon.wait_for_request("receive"));
  daemon.kill();
  EXPECT_EQ(program.read_line(), "msgrcv(queue, &message, 100, 0, 0): -1 ECONNRESET");
  program.write("\n");  // the socket file is still there
  EXPECT_EQ(program.read_line(), "msgsnd(queue, &message, 1, IPC_NOWAIT): -1 ETIMEDOUT");
  EXPECT_EQ(program.finish().status, 0);
}

TEST_P(WithShim, DistributedObjectNeverGoesToTheKernelForWantOfADaemon) {
  TestDaemon daemon(machine(), socket(), {"--trace", "--op-timeout-ms", "300"});
  Program program(machine(), "shim_subject", {"wait_in_receive"}, environment(), machine().shim);
  ASSERT_EQ(program.read_line(), "waiting");
  ASSERT_TRUE(daemon.wait_for_request("receive"));
  daemon.kill();
  unlink(socket().c_str());
  EXPECT_EQ(program.read_line(), "msgrcv(queue, &message, 100, 0, 0): -1 ECONNRESET");
  program.write("\n");
  EXPECT_EQ(program.read_line(), "msgsnd(queue, &message, 1, IPC_NOWAIT): -1 EHOSTUNREACH");
}

TEST_P(WithShim, NextCallFindsTheNewDaemon) {
  auto daemon = std::make_unique<TestDaemon>(machine(), socket(), std::vector<std::string>{"--trace"});
  Program program(machine(), "shim_subject", {"wait_in_receive"}, environment(), machine().shim);
  ASSERT_EQ(program.read_line(), "waiting");
  ASSERT_TRUE(daemon->wait_for_request("receive"));
  daemon->kill();
  EXPECT_EQ(program.read_line(), "msgrcv(queue, &message, 100, 0, 0): -1 ECONNRESET");
  TestDaemon successor(machine(), socket());
  program.write("\n");
  EXPECT_EQ(program.read_line(), "msgsnd(queue, &message, 1, IPC_NOWAIT): 0");
}

TEST_P(WithShim, RestartsAreFeltByTheCallUnderWayAlone) {
  auto daemon = std::make_unique<TestDaemon>(machine(), socket(), std::vector<std::string>{"--op-timeout-ms", "20000"});
  Program program(machine(), "shim_subject", {"call_all_the_time"}, environment(), machine().shim);
  ASSERT_EQ(program.read_line(), "works");
  for (int i = 0; i < 5; ++i) {
    daemon->kill();
    daemon = std::make_unique<TestDaemon>(machine(), socket(), std::vector<std::string>{"--op-timeout-ms", "20000"});
  }
  Program::Ending ending = program.finish();
  EXPECT_EQ(ending.status, 0);
  // Outcomes are printed when they change. A call of which the reply was outstanding is reset; all others wait.
  while (ending.output.starts_with("ECONNRESET\nworks\n")) ending.output.erase(0, strlen("ECONNRESET\nworks\n"));
  EXPECT_TRUE(ending.output.empty() || ending.output == "ECONNRESET\n") << ending.output;
}

TEST_P(WithShim, StrictGetFailsWithoutADaemon) {
  EXPECT_EQ(output_of("get_without_answer", {{"DIPC_STRICT", "1"}}),
            "msgget(IPC_PRIVATE, IPC_CREAT | IPC_DIPC | 0600): -1 ENOSYS\nwaited 1\n");
}

TEST_P(WithShim, GetWaitsForADaemonThatLeftItsSocketFile) {
  int stale = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  strncpy(address.sun_path, socket().c_str(), sizeof address.sun_path - 1);
  ASSERT_EQ(bind(stale, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  close(stale);
  EXPECT_EQ(output_of("get_without_answer", {{"SUBJECT_MS", "4900"}}),
            "msgget(IPC_PRIVATE, IPC_CREAT | IPC_DIPC | 0600): -1 ETIMEDOUT\nwaited 1\n");
}

TEST_P(WithShim, GetWaitsForADaemonThatDoesNotAnswer) {
  TestDaemon daemon(machine(), socket(), {"--silent"});
  EXPECT_EQ(output_of("get_without_answer", {{"SUBJECT_MS", "4900"}}),
            "msgget(IPC_PRIVATE, IPC_CREAT | IPC_DIPC | 0600): -1 ETIMEDOUT\nwaited 1\n");
}

TEST_P(WithShim, DaemonOfAnotherNamespaceIsNoDaemon) {
  if (machine().is_status_wrong) GTEST_SKIP() << "qemu gets IPC_STAT wrong on this machine (docs/PORTING.md)";
  TestDaemon daemon(machine(), socket(), {"--foreign"});
  Program bare(machine(), "shim_subject", {"queue_calls"});
  EXPECT_EQ(output_of("queue_calls"), bare.finish().output);
  EXPECT_EQ(output_of("get_without_answer", {{"DIPC_STRICT", "1"}}),
            "msgget(IPC_PRIVATE, IPC_CREAT | IPC_DIPC | 0600): -1 ENOSYS\nwaited 1\n");
}

TEST_P(WithShim, StandInIsRefusedToRootWithoutADaemon) {
  if (!is_root()) GTEST_SKIP() << "needs root";
  EXPECT_EQ(output_of("stand_in"),
            "msgsnd(queue, &message, 1, IPC_NOWAIT): -1 EACCES\nmsgctl(queue, IPC_RMID, nullptr): -1 EACCES\n"
            "semop(set, &up, 1): -1 EACCES\n");
}

TEST_P(WithShim, LackOfDescriptorsIsACleanErrorAndLosesNoMessage) {
  TestDaemon daemon(machine(), socket());
  EXPECT_EQ(output_of("no_descriptors_left", {}, 64),
            "msgsnd(queue, &message, 1, 0): 0\n"
            "msgsnd(queue, &message, 1, 0): -1 EHOSTUNREACH\n"
            "msgget(IPC_PRIVATE, IPC_CREAT | IPC_DIPC | 0600): -1 EHOSTUNREACH\n"
            "msgget(IPC_PRIVATE, IPC_CREAT | 0600): -1 EHOSTUNREACH\n"
            "msgsnd(queue, large.data(), 100000, 0): -1 ENOMEM\n"
            "msgsnd(queue, large.data(), 100000, 0): 0\n"
            "msgrcv(queue, large.data(), 100000, 2, IPC_NOWAIT): -1 ENOMEM\n"
            "msgrcv(queue, large.data(), 100000, 2, IPC_NOWAIT): 100000\n");
}

TEST_P(WithShim, ForbiddenSocketsAreACleanError) {
  if (machine().is_emulated()) GTEST_SKIP() << "qemu refuses seccomp filters";
  TestDaemon daemon(machine(), socket());
  const std::string get = "msgget(IPC_PRIVATE, IPC_CREAT | IPC_DIPC | 0600) >= 0 ? 0 : -1: ";
  const std::string local_get = "msgget(IPC_PRIVATE, IPC_CREAT | 0600) >= 0 ? 0 : -1: ";
  // A process that has spoken with a daemon does not guess.
  EXPECT_EQ(output_of("sockets_forbidden"), get + "0\n" + local_get + "0\n" + get + "-1 EHOSTUNREACH\n" + local_get +
                                                "-1 EHOSTUNREACH\nchild: ended with 0\n");
  // One that never could carries on without, as far as it does not ask for DIPC itself.
  EXPECT_EQ(output_of("sockets_forbidden", {{"SUBJECT_EARLY", "1"}}), get + "-1 EHOSTUNREACH\n" + local_get + "0\n" +
                                                                          get + "-1 EHOSTUNREACH\n" + local_get +
                                                                          "0\nchild: ended with 0\n");
}

TEST_P(WithShim, ChangedRootIsACleanError) {
  if (!is_root()) GTEST_SKIP() << "needs root";
  TestDaemon daemon(machine(), socket(), {"--op-timeout-ms", "300"});
  EXPECT_EQ(output_of("rooted_elsewhere"),
            "msgsnd(queue, &message, 1, 0): 0\n"
            "msgsnd(queue, &message, 1, 0): -1 EHOSTUNREACH\n"
            "msgget(IPC_PRIVATE, IPC_CREAT | 0600) >= 0 ? 0 : -1: 0\n"
            "chroot: ended with 0\n"
            "msgsnd(queue, &message, 1, 0): 0\n");
}

TEST_P(WithShim, ProcessThatNobodyMayTraceIsServed) {
  TestDaemon daemon(machine(), socket());
  EXPECT_EQ(output_of("not_dumpable"),
            "msgctl(queue, IPC_STAT, &status): 0\nmsgctl(queue, IPC_SET, &status): 0\n"
            "msgctl(queue, IPC_STAT, (msqid_ds*)1): -1 EFAULT\n");
}

TEST_P(WithShim, DeeplyBoundLibraryIsServedAndFoundByItsCallersRunpath) {
  TestDaemon daemon(machine(), socket());
  Program program(machine(), "shim_subject", {"deep_binding", machine().programs + "/libshim_test_plugin.so"},
                  environment(), machine().shim);
  const std::string once = "function<>(\"dipc_is_distributed_msg\")(queue): 2\nby RUNPATH: 1\n";
  EXPECT_EQ(program.finish().output, once + once + "not ours: 0\n");
}

// Other libraries may have taken the early keys; then no key tells of a thread's end.
TEST_P(WithShim, ThreadsLeaveNoDescriptorsBehindWithoutAKeyEither) {
  TestDaemon daemon(machine(), socket());
  std::string preload = machine().shim + ":" + machine().programs + "/libshim_test_keys.so";
  Program program(machine(), "shim_subject", {"threads_come_and_go"}, environment(), preload);
  Program::Ending ending = program.finish();
  EXPECT_EQ(ending.output, "keys taken\nsemctl(set, 0, GETVAL): 200\n");
}

TEST_P(WithShim, WrappersOfOtherLibrariesAreNotCalled) {
  TestDaemon daemon(machine(), socket());
  std::string wrapper = machine().programs + "/libshim_test_wrapper.so";
  Program bare(machine(), "shim_subject", {"queue_calls"}, {}, wrapper);
  Program::Ending expected = bare.finish();  // the program itself calls getpid
  EXPECT_TRUE(expected.output.starts_with("wrappers reached 2 times\n")) << expected.output;
  Program program(machine(), "shim_subject", {"queue_calls"}, environment(), wrapper + ":" + machine().shim);
  EXPECT_EQ(program.finish().output, expected.output);
}

TEST_P(WithShim, CallsOfEarlierConstructorsAreServed) {
  TestDaemon daemon(machine(), socket(), {"--trace"});
  std::string preload = machine().shim + ":" + machine().programs + "/libshim_test_early.so";
  Program program(machine(), "shim_subject", {"many_ids"}, environment(), preload);
  EXPECT_EQ(program.read_line(), "0 0");
  EXPECT_TRUE(daemon.wait_for_request("send"));
  EXPECT_EQ(program.finish().status, 0);
}

INSTANTIATE_TEST_SUITE_P(native, WithShim, testing::Values("native"), [](const auto&) { return "native"; });
INSTANTIATE_TEST_SUITE_P(m68k, WithShim, testing::Values("m68k"), [](const auto&) { return "m68k"; });
INSTANTIATE_TEST_SUITE_P(s390x, WithShim, testing::Values("s390x"), [](const auto&) { return "s390x"; });
INSTANTIATE_TEST_SUITE_P(i386, WithShim, testing::Values("i386"), [](const auto&) { return "i386"; });

}  // namespace
}  // namespace dipc::test
