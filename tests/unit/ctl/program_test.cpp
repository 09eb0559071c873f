// dipcctl as people and scripts run it: what it prints where, and its exit status.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pty.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>

#include "daemon/core/status_report.h"
#include "daemon/version.h"
#include "tests/unit/ctl/fake_daemon.h"

namespace dipc {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

struct Outcome {
  int status = -1;
  std::string out;  // standard output and error
};

// A cross-built dipcctl runs under the emulator that the tests run under.
Outcome run(const std::string& arguments) {
  std::string command = EMULATOR;
  command += " " DIPCCTL " " + arguments + " 2>&1 </dev/null";
  Outcome result;
  FILE* pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) return result;
  std::array<char, 4096> buffer{};
  for (std::size_t bytes = 0; (bytes = std::fread(buffer.data(), 1, buffer.size(), pipe)) > 0;) {
    result.out.append(buffer.data(), bytes);
  }
  const int status = ::pclose(pipe);
  if (WIFEXITED(status)) result.status = WEXITSTATUS(status);
  return result;
}

// In a terminal of that size.
Outcome run_in_terminal(const std::string& arguments, unsigned short rows, unsigned short columns) {
  const std::string command = std::string("exec ") + EMULATOR + " " DIPCCTL " " + arguments;
  const winsize size{rows, columns, 0, 0};
  Outcome result;
  int terminal = -1;
  const pid_t pid = ::forkpty(&terminal, nullptr, nullptr, &size);
  if (pid == 0) {
    ::execl("/bin/sh", "sh", "-c", command.c_str(), nullptr);
    ::_exit(127);
  }
  std::array<char, 4096> buffer{};
  for (ssize_t bytes = 0; (bytes = ::read(terminal, buffer.data(), buffer.size())) > 0;) {
    result.out.append(buffer.data(), static_cast<std::size_t>(bytes));
  }
  int status = 0;
  ::close(terminal);
  if (::waitpid(pid, &status, 0) == pid && WIFEXITED(status)) result.status = WEXITSTATUS(status);
  return result;
}

TEST(Dipcctl, WrongUsageIsStatus2) {
  for (const char* arguments : {"",
                                "frobnicate",
                                "status extra",
                                "forget msg",
                                "forget pipe 0x1",
                                "forget msg 0",
                                "ca",
                                "ca issue",
                                "ca issue some-other-host",
                                "deadletters show",
                                "deadletters show x",
                                "deadletters drop 0",
                                "deadletters shwo 1",
                                "ftok /srv/app",
                                "ftok srv/app A",
                                "ftok /srv/app 256",
                                "ca issue a --request x --into y",
                                "--timeout -1 status",
                                "ca init --days 0",
                                "pages",
                                "pages --id x",
                                "pages --id -1",
                                "pages 0x20 --id 5"}) {
    const Outcome result = run(arguments);
    EXPECT_EQ(result.status, 2) << arguments << "\n" << result.out;
    EXPECT_FALSE(result.out.empty());
  }
}

TEST(Dipcctl, TellsWhichKeyFtokHasForAListedPath) {
  EXPECT_THAT(run("ftok /srv/app A").out, HasSubstr("0x41cea470\n"));
  EXPECT_THAT(run("ftok /srv/app 65").out, HasSubstr("0x41cea470\n"));
  const Outcome there = run("ftok / A");
  EXPECT_EQ(there.status, 0);
  EXPECT_THAT(there.out, testing::MatchesRegex("0x41[0-9a-f]{6}\n"));
  EXPECT_THAT(run("ftok /usr/../usr A").out, HasSubstr("write it as realpath prints it, /usr\n"));
  EXPECT_THAT(run("ftok /not/../there A").out, HasSubstr("write it as realpath prints it\n"));
}

TEST(Dipcctl, AKeyThatFtokWillNotGiveOnThisHostIsWarnedOf) {
  const TemporaryFolder folder;
  const std::string real = std::filesystem::canonical(folder / "").string();
  const Outcome absent = run("ftok " + real + "/file A");
  EXPECT_EQ(absent.status, 0) << "other hosts may have it";
  EXPECT_THAT(absent.out, HasSubstr("ftok fails here until the file is there"));
  std::ofstream(real + "/file").flush();
  EXPECT_THAT(run("ftok " + real + "/file A").out, testing::Not(HasSubstr("dipcctl:")));
  std::filesystem::create_symlink(real + "/file", real + "/link");
  EXPECT_THAT(run("ftok " + real + "/link A").out,
              HasSubstr("list " + real + "/file under [ftok], and ask for its key"));
}

TEST(Dipcctl, WordThatIsNoCommandIsNamedWithThoseThatAre) {
  EXPECT_EQ(run("sttus").out,
            "dipcctl: there is no 'sttus'; there are: status, objects, reload, forget, segments, pages, deadletters, "
            "ftok, ca, types\n");
  EXPECT_THAT(run("ca isue vax").out, StartsWith("dipcctl ca: there is no 'isue'; there are: init, request, "));
}

TEST(Dipcctl, VersionIsStatus0) {
  const Outcome result = run("--version");
  EXPECT_EQ(result.status, 0);
  EXPECT_EQ(result.out, std::string(kVersion) + "\n");
}

TEST(Dipcctl, HelpIsStatus0) {
  for (const char* arguments : {"--help", "status --help", "ca --help", "ca issue --help"}) {
    const Outcome result = run(arguments);
    EXPECT_EQ(result.status, 0) << result.out;
    EXPECT_THAT(result.out, HasSubstr("Usage"));
  }
}

TEST(Dipcctl, NoDaemonIsStatus3) {
  const Outcome result = run("status --socket /nowhere/dipcd.sock");
  EXPECT_EQ(result.status, 3);
  EXPECT_EQ(result.out,
            "dipcctl: no dipcd answers at /nowhere/dipcd.sock: No such file or directory\n"
            "  start dipcd on this host, or name its socket with --socket or DIPC_SOCKET\n");
}

TEST(Dipcctl, StatusIsATableOrTheDaemonsJson) {
  StatusReport report;
  report.host = "sun";
  report.cluster = "lab";
  const std::string json = to_json(report);
  for (const bool as_json : {false, true}) {
    const TemporaryFolder folder;
    FakeDaemon daemon(folder / "sock", FakeDaemon::answering(0, json));
    const Outcome result = run("--socket " + (folder / "sock").string() + " status" + (as_json ? " --json" : ""));
    EXPECT_EQ(result.status, 0) << result.out;
    if (as_json) {
      EXPECT_EQ(result.out, json);
    } else {
      EXPECT_THAT(result.out, StartsWith("host sun of cluster lab"));
    }
  }
}

TEST(Dipcctl, ObjectsOfALargeClusterArrive) {
  ObjectsReport report;
  for (int i = 1; i <= 2000; ++i) {
    report.rows.push_back({{Kind::kMessageQueue, i}, "vax", i, std::nullopt, "alice", 0600, 0, 0, 0});
  }
  const TemporaryFolder folder;
  FakeDaemon daemon(folder / "sock", FakeDaemon::answering(0, to_json(report), true));
  const Outcome result = run("objects --socket " + (folder / "sock").string());
  EXPECT_EQ(result.status, 0);
  EXPECT_THAT(result.out, HasSubstr("msg   0x000007d0  vax    2000"));
}

TEST(Dipcctl, DeadLettersAreATableOrJson) {
  DeadLettersReport report;
  report.rows = {{.id = 4, .trouble = "it is no dead letter"}};
  for (const bool as_json : {false, true}) {
    const TemporaryFolder folder;
    FakeDaemon daemon(folder / "sock", FakeDaemon::answering(0, to_json(report)));
    const Outcome result = run("deadletters --socket " + (folder / "sock").string() + (as_json ? " --json" : ""));
    EXPECT_EQ(result.status, 0) << result.out;
    EXPECT_THAT(result.out, HasSubstr(as_json ? "\"id\": 4" : "NOT READABLE: it is no dead letter"));
    EXPECT_THAT(daemon.join().packets[1], testing::EndsWith("deadletters"));
  }
  const TemporaryFolder folder;
  FakeDaemon daemon(folder / "sock", FakeDaemon::answering(0, to_json(AdminDone{{"letter 7 dropped"}})));
  EXPECT_EQ(run("deadletters drop 7 --socket " + (folder / "sock").string()).out, "letter 7 dropped\n");
  EXPECT_THAT(daemon.join().packets[1], testing::EndsWith("deadletters drop 7"));
}

TEST(Dipcctl, PagesAreDrawnAnewAsLongAsTheyAreWatched) {
  PagesReport report;
  report.segment.key = 0x20;
  report.segment.pages = 100;
  report.map = std::string(100, 'w');
  const TemporaryFolder folder;
  const std::string watch = "--timeout 1 --socket " + (folder / "sock").string() + " pages 0x20 --watch";
  FakeDaemon daemon(folder / "sock", FakeDaemon::answering(0, to_json(report)), 2);
  const Outcome seen = run_in_terminal(watch, 6, 52);
  EXPECT_EQ(seen.status, 3) << "the third time nobody answers";
  const std::string line(40, 'w');
  const std::string picture =
      "\033[H\033[Ksegment 0x00000020, id 0: 0 B, 100 pages of 0 B\r\n\033[K0 attachments\r\n\033[K\r\n\033[K         "
      "0  " +
      line + "\r\n\033[K        40  " + line + "\r\n\033[J";
  EXPECT_THAT(seen.out, StartsWith(picture + picture + "dipcctl: "));
  for (const std::string& packet : {daemon.join().packets[1], daemon.join().packets[3]}) {
    EXPECT_THAT(packet, testing::EndsWith("pages 0x00000020"));
  }
}

TEST(Dipcctl, PagesOfWhatHasNoKeyAreAskedForById) {
  PagesReport report;
  report.segment.id = 12;
  report.segment.removed = true;
  const TemporaryFolder folder;
  FakeDaemon daemon(folder / "sock", FakeDaemon::answering(0, to_json(report)));
  EXPECT_THAT(run("pages --id 12 --socket " + (folder / "sock").string()).out, StartsWith("segment removed, id 12: "));
  EXPECT_THAT(daemon.join().packets[1], testing::EndsWith("pages id 12"));
}

TEST(Dipcctl, AFailureIsStatus1WithWhatAndRemedy) {
  const TemporaryFolder folder;
  const std::string json = to_json(AdminFailure{{{"dipc.toml:3: x", "write y"}, {"hosts.allow:1: z", ""}}});
  FakeDaemon daemon(folder / "sock", FakeDaemon::answering(EINVAL, json));
  const Outcome result = run("reload --socket " + (folder / "sock").string());
  EXPECT_EQ(result.status, 1);
  EXPECT_EQ(result.out, "dipcctl: dipc.toml:3: x\n  write y\ndipcctl: hosts.allow:1: z\n");
}

TEST(Dipcctl, AnErrorWithoutTextIsNamedByItsNumber) {
  const TemporaryFolder folder;
  FakeDaemon daemon(folder / "sock", FakeDaemon::answering(EPERM, ""));
  const Outcome result = run("forget msg 0x1234 --socket " + (folder / "sock").string());
  EXPECT_EQ(result.status, 1);
  EXPECT_EQ(result.out, "dipcctl: forget msg 0x00001234: Operation not permitted\n");
}

TEST(Dipcctl, TypesNeedNoDaemon) {
  const TemporaryFolder folder;
  const std::string good = (folder / "good.types").string();
  const std::string bad = (folder / "bad.types").string();
  std::ofstream(good) << "struct note { long mtype; char text[]; };";
  std::ofstream(bad) << "struct note {\n  char *text;\n};";
  const Outcome checked = run("types check " + good);
  EXPECT_EQ(checked.status, 0);
  EXPECT_EQ(checked.out, "1 struct, 0 bindings\n");
  const Outcome refused = run("types check " + bad);
  EXPECT_EQ(refused.status, 1);
  EXPECT_THAT(refused.out, HasSubstr("bad.types:2:8: 'text' is a pointer"));
  const Outcome shown = run("types show note --abi m68k --abi x86-64 --types " + good);
  EXPECT_EQ(shown.status, 0);
  EXPECT_THAT(shown.out, HasSubstr("m68k OFFSET"));
  EXPECT_THAT(shown.out, HasSubstr("x86-64: 8 bytes, aligned to 8"));
  EXPECT_EQ(run("types show note --types " + good).status, 2);
  EXPECT_EQ(run("types import --program " + good + " --struct note").status, 1);
}

TEST(Dipcctl, AnAnswerThatIsNotUnderstoodIsStatus1) {
  const TemporaryFolder folder;
  FakeDaemon daemon(folder / "sock", FakeDaemon::answering(0, "{\"host\": 5}"));
  const Outcome result = run("status --socket " + (folder / "sock").string());
  EXPECT_EQ(result.status, 1);
  EXPECT_THAT(result.out, HasSubstr("not understood"));
}

TEST(Dipcctl, MakesACertificateForEveryHost) {
  const TemporaryFolder folder;
  const std::string ca = (folder / "ca").string(), sun = (folder / "sun").string();
  EXPECT_EQ(run("ca init --cluster lab --dir " + ca).status, 0);
  EXPECT_EQ(run("ca init --cluster lab --dir " + ca).status, 1);
  EXPECT_EQ(run("ca request sun --tls " + sun).status, 0);
  const std::string issue = "ca issue sun --dir " + ca + " --request " + sun + "/host.csr --out " + sun + "/new.pem";
  const Outcome issued = run(issue);
  EXPECT_EQ(issued.status, 0) << issued.out;
  EXPECT_EQ(run("ca install " + sun + "/new.pem --tls " + sun + " --ca " + ca + "/ca.pem").status, 0);
  EXPECT_THAT(run("ca show " + sun + "/host.pem").out, HasSubstr("hosts        sun\n"));
  EXPECT_EQ(run("ca show " + sun + "/nothing.pem").status, 1);
}

}  // namespace
}  // namespace dipc
