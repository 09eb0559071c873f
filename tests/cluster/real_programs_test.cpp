// Programs that nobody here wrote, as Debian ships them, with their objects on another host: Perl's IPC::SysV
// and IPC::SharedMem, stress-ng, fakeroot, ipcs, ipcrm and ipcmk. They run on x86-64 hosts, but for fakeroot's server,
// which Debian has for s390x too; the owner of their objects is an x86-64 or an m68k host.

#include <gmock/gmock.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/cluster/shared_clusters.h"

namespace dipc::test {
namespace {

using testing::_;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr auto kLimit = std::chrono::seconds(60);

std::string first_line_with(const std::string& text, const std::string& part) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.find(part) != std::string::npos) return line;
  }
  return "";
}

// A folder that every login may write to.
class SharedFolder {
 public:
  SharedFolder() {
    char folder[] = "/tmp/dipc-fakeroot-XXXXXX";
    if (::mkdtemp(folder) == nullptr) throw std::runtime_error("mkdtemp");
    path_ = folder;
    ::chmod(folder, 0777);
  }
  ~SharedFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  SharedFolder(const SharedFolder&) = delete;
  SharedFolder& operator=(const SharedFolder&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

constexpr int kDeclaredKey = 0x46414b45;  // in fakeroot.types

// The declarations of fakeroot's messages, as a setting of a lab file.
std::string fakeroot_types() {
  std::ifstream file(DIPC_EXAMPLES "/fakeroot.types");
  std::string setting = "types = [";
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("//")) setting += "'" + line + "',";
  }
  return setting + "]\n";
}

// vax owns all objects; sun and moon are x86-64 hosts, where alice has other numbers than on vax. star, of the other
// byte order than these, is there if its build is.
class RealPrograms : public SharedClusters<std::string> {
 protected:
  void SetUp() override {
    if (!am_root()) GTEST_SKIP() << "needs root: a lab has namespaces";
    if (GetParam() == "m68k" && !have_m68k()) GTEST_SKIP() << "the m68k build is not there: make m68k";
    // stress-ng --msg makes queues until there is no room: let that be soon.
    const bool is_first = use(
        "real-" + GetParam(), "vax",
        "[[host]]\nname = \"vax\"\narch = \"" + GetParam() +
            "\"\nlogins = { alice = 1001, bob = 1002 }\nmsgmni = 40\n" + fakeroot_types() +
            "[[host]]\nname = \"sun\"\nlogins = { alice = 2001, bob = 1001 }\n"
            "msgmni = 40\n"
            "[[host]]\nname = \"moon\"\nlogins = { alice = 3001, bob = 1001 }\n" +
            (missing_build("s390x").empty() ? "[[host]]\nname = \"star\"\narch = \"s390x\"\nlogins = { alice = 4001 }\n"
                                            : "") +
            "[[keys]]\nrange = [\"all\", \"private\"]\nhome = \"vax\"\n");
    // Ids of the hosts must not be the same numbers by chance.
    for (int i = 0; is_first && i < 3; ++i) cluster_->run("vax", "alice", {"ipcmk", "-Q", "-S", "1"});
  }

  // What a program prints; the test fails if it does not end well.
  std::string run(const std::string& host, std::vector<std::string> program, const std::string& login = "alice") {
    const Cluster::Ran ran = cluster_->run(host, login, program, kLimit);
    EXPECT_EQ(ran.status, 0) << host << ": " << program[0] << "\n" << ran.output;
    return ran.output;
  }

  // Runs it on sun. What it finds wrong it says, and its exit status says so too.
  void stress(const std::string& options) {
    const std::string told =
        run("sun", {"sh", "-c", "cd /tmp; exec stress-ng --verify --timeout 50 " + options + " 2>&1"});
    EXPECT_EQ(told.find("fail"), std::string::npos) << told;
    EXPECT_NE(told.find("successful run completed"), std::string::npos) << told;
  }

  // Calls that the owner has carried out for other hosts.
  long calls_at_the_owner() {
    const std::string line =
        first_line_with(run("vax", {"dipcctl", "status", "--json"}, "root"), "\"calls_received\":");
    return std::strtol(line.substr(line.find(':') + 1).c_str(), nullptr, 10);
  }

  // Objects in the kernel of a host, stand-ins too.
  long count(const std::string& host) {
    std::istringstream lines(run(host, {"ipcs", "-q", "-s"}));
    long rows = 0;
    for (std::string line; std::getline(lines, line);) rows += line.starts_with("0x") ? 1 : 0;
    return rows;
  }

  // The words of a row of ipcs: key, id, owner, mode and what the kind has; none if there is no such key or id.
  std::vector<std::string> row(const std::string& host, const std::string& kind, const std::string& key_or_id) {
    std::istringstream lines(run(host, {"ipcs", kind}));
    for (std::string line; std::getline(lines, line);) {
      std::istringstream text(line);
      std::vector<std::string> words;
      for (std::string word; text >> word;) words.push_back(word);
      if (words.size() > 1 && (words[0] == key_or_id || words[1] == key_or_id)) return words;
    }
    return {};
  }

  // Its server, faked-sysv, runs `there`.
  void fakeroot_on_two_hosts(int key, const std::string& there = "moon",
                             const std::string& program_there = "/usr/bin/faked-sysv");
};

TEST_P(RealPrograms, PerlsQueuesAndSemaphoresAreThoseOfAnotherHost) {
  const std::string script = native_program("tests/cluster/sysv.pl");
  run("sun", {"perl", script, "create", "4096"});
  // On an m68k host this perl has no library of ours: it uses its kernel, whose objects these are.
  const auto server = cluster_->start("vax", "alice", {"perl", script, "serve", "4096"});
  const long before = calls_at_the_owner();
  const auto moon = cluster_->start("moon", "alice", {"perl", script, "wait", "4096"});
  std::string told;
  ASSERT_EQ(moon->wait(kLimit, &told), 0) << told;
  run("sun", {"perl", script, "ask", "4096", "4", "20"});
  EXPECT_GE(calls_at_the_owner() - before, 4 * 20 * 6) << "all that the processes on sun did";
  run("sun", {"perl", script, "remove", "4096"});
  EXPECT_EQ(server->wait(kLimit, &told), 0) << told;
  EXPECT_NE(told.find("80 requests were answered"), std::string::npos) << told;
}

// stress-ng compares each message with what was sent, and values of semaphores with what they must be.
TEST_P(RealPrograms, StressNgFindsNoFaultInQueuesOfAnotherHost) {
  const long objects = count("vax");
  const long stand_ins = count("sun");
  const long before = calls_at_the_owner();
  stress("--msg 1 --msg-ops 400");
  stress("--msg 1 --msg-types 4 --msg-ops 400");
  EXPECT_GE(calls_at_the_owner() - before, 2 * 400) << "a send for each; the receiver may be behind when it ends";
  EXPECT_EQ(count("vax"), objects) << "it removes its queues";
  EXPECT_EQ(count("sun"), stand_ins) << "and their stand-ins go";
}

TEST_P(RealPrograms, StressNgFindsNoFaultInSemaphoresOfAnotherHost) {
  const long objects = count("vax");
  const long stand_ins = count("sun");
  const long before = calls_at_the_owner();
  stress("--sem-sysv 1 --sem-sysv-procs 3 --sem-sysv-ops 400");
  EXPECT_GE(calls_at_the_owner() - before, 400) << "at least one for each";
  EXPECT_EQ(count("vax"), objects) << "it removes its set";
  EXPECT_EQ(count("sun"), stand_ins) << "and its stand-in goes";
}

// The numbers of its counter are big-endian by the script's own doing, so it may run on hosts of both kinds.
TEST_P(RealPrograms, PerlsSharedMemoryIsThatOfAnotherHost) {
  const std::string script = native_program("tests/cluster/memory.pl");
  run("sun", {"perl", script, "create", "4097"});
  const auto moon = cluster_->start("moon", "alice", {"perl", script, "count", "4097", "3", "30"});
  run("sun", {"perl", script, "count", "4097", "3", "30"});
  std::string told;
  ASSERT_EQ(moon->wait(kLimit, &told), 0) << told;
  EXPECT_THAT(run("vax", {"dipcctl", "segments"}, "root"), HasSubstr("0x00001001"));
  run("sun", {"perl", script, "remove", "4097", "180"});
}

TEST_P(RealPrograms, StressNgFindsNoFaultInSegmentsOfAnotherHost) {
  const long before = calls_at_the_owner();
  stress("--shm-sysv 1 --shm-sysv-ops 4 --shm-sysv-bytes 1m --shm-sysv-segs 2");
  EXPECT_GE(calls_at_the_owner() - before, 8) << "at least a shmat for each segment of each";
  EXPECT_THAT(run("vax", {"dipcctl", "segments"}, "root"), HasSubstr("no segments")) << "it removes them";
}

// faked keeps what fakeroot's programs believe of files; they ask it through two queues, one at a time, as a semaphore
// lets them. The structs of its messages are those of x86-64 on both sides; for the owner between them they are bytes.
// Each request has type 1, and the pid in it, which another host's process may have too, only comes back to who has the
// semaphore.
// As bytes they come back as they were sent, if the server is of x86-64 too; declared (examples/types/fakeroot.types)
// they rest on vax in its own form.
void RealPrograms::fakeroot_on_two_hosts(int key, const std::string& there, const std::string& program_there) {
  const auto hexadecimal = [](int number) {
    char text[16];
    std::snprintf(text, sizeof(text), "0x%08x", static_cast<unsigned>(number));
    return std::string(text);
  };
  const SharedFolder folder;
  const auto server = cluster_->start(there, "alice", {program_there, "--foreground", "--key", std::to_string(key)});
  const std::string told = server->read_line(kLimit).value_or("(silent)");
  ASSERT_TRUE(told.starts_with(std::to_string(key) + ":")) << told;
  EXPECT_THAT(row("vax", "-q", hexadecimal(key)), ElementsAre(hexadecimal(key), _, "alice", "600", _, _));
  // As the script fakeroot-sysv does it, but for the server.
  const auto under_fakeroot = [&](const std::string& program) -> std::vector<std::string> {
    return {"sh", "-c",
            "cd " + folder.path() + "; export FAKEROOTKEY=" + std::to_string(key) +
                " LD_PRELOAD=/usr/lib/$(uname -m)-linux-gnu/libfakeroot/"
                "libfakeroot-sysv.so:$LD_PRELOAD; exec sh -c '" +
                program + "'"};
  };
  const std::string seen = run(
      "sun", under_fakeroot("id -u; touch a; chown 12:34 a; chmod 4755 a; mknod b c 1 3; stat -c %n:%u:%g:%a:%F a b"));
  EXPECT_EQ(seen, "0\na:12:34:4755:regular empty file\nb:0:0:644:character special file\n");
  EXPECT_EQ(run("sun", {"stat", "-c", "%u:%F", folder.path() + "/a", folder.path() + "/b"}),
            "2001:regular empty file\n2001:regular empty file\n")
      << "which nobody else believes";
  // The same files on another host: the server tells what it was told by sun.
  EXPECT_EQ(run("moon", under_fakeroot("stat -c %n:%u:%g:%a:%F a b")), seen.substr(2));

  // Clients of both hosts at once. Each chown must be answered to who asked, and remembered for that file.
  const auto chowns = [&](const std::string& host) {
    return under_fakeroot("for i in 1 2 3 4 5 6; do touch " + host + "$i; chown $i:7 " + host +
                          "$i || exit 1; done; stat -c %n:%u:%g " + host + "*");
  };
  const auto moon = cluster_->start("moon", "alice", chowns("moon"));
  std::string expected = run("sun", chowns("sun"));
  EXPECT_EQ(expected, "sun1:1:7\nsun2:2:7\nsun3:3:7\nsun4:4:7\nsun5:5:7\nsun6:6:7\n");
  std::string others;
  EXPECT_EQ(moon->wait(kLimit, &others), 0);
  EXPECT_EQ(others, "moon1:1:7\nmoon2:2:7\nmoon3:3:7\nmoon4:4:7\nmoon5:5:7\nmoon6:6:7\n");

  EXPECT_EQ(first_line_with(run("sun", {"dipcctl", "objects"}, "root"), "note: msg " + hexadecimal(key)).empty(),
            key == kDeclaredKey || GetParam() == "native");
  // It removes queues and semaphore from its signal handler, out of a receive that waits.
  run(there, {"kill", told.substr(told.find(':') + 1)});
  EXPECT_EQ(server->wait(kLimit, nullptr), 0);
  for (const std::string& host : {std::string("vax"), std::string("sun"), std::string("moon"), there}) {
    EXPECT_THAT(row(host, "-q", hexadecimal(key)), IsEmpty()) << host;
    EXPECT_THAT(row(host, "-q", hexadecimal(key + 1)), IsEmpty()) << host;
    EXPECT_THAT(row(host, "-s", hexadecimal(key + 2)), IsEmpty()) << host;
  }
}

TEST_P(RealPrograms, FakerootsServerAndItsClientsAreOnDifferentHosts) { fakeroot_on_two_hosts(0x2000); }

TEST_P(RealPrograms, FakerootsMessagesAreConvertedWhereTheyAreDeclared) { fakeroot_on_two_hosts(kDeclaredKey); }

TEST_P(RealPrograms, FakerootsServerOfTheOtherByteOrderUnderstandsItsClients) {
  if (const std::string missing = missing_build("s390x"); !missing.empty()) GTEST_SKIP() << missing;
  const SharedFolder folder;
  const std::string server = folder.path() + "/faked-sysv";
  std::filesystem::copy_file(DIPC_SYSROOTS "/s390x/bin/faked-sysv", server);
  fakeroot_on_two_hosts(kDeclaredKey, "star", server);
}

TEST_P(RealPrograms, TheScriptFakerootRunsItsServerAndItsProgramOnObjectsOfAnotherHost) {
  const SharedFolder folder;
  const long before = calls_at_the_owner();
  EXPECT_EQ(run("sun", {"/usr/bin/fakeroot-sysv", "sh", "-c",
                        "cd " + folder.path() + "; touch a; chown 12:34 a; stat -c %u:%g a"}),
            "12:34\n");
  EXPECT_GT(calls_at_the_owner() - before, 20);
}

struct Kind {
  const char* ipcs;
  std::vector<std::string> ipcmk;
  const char* ipcrm_id;
  const char* ipcrm_key;
};

const std::vector<Kind>& kinds() {
  static const std::vector<Kind> all = {{"-q", {"ipcmk", "-Q", "-p", "0640"}, "-q", "-Q"},
                                        {"-s", {"ipcmk", "-S", "3", "-p", "0640"}, "-s", "-S"}};
  return all;
}

// "Message queue id: 5"
std::string id_in(const std::string& told) {
  return told.substr(told.find(": ") + 2, told.find('\n') - told.find(": ") - 2);
}

TEST_P(RealPrograms, IpcmkMakesAnObjectWhereTheKeysSayAndIpcrmRemovesItByIdOrByKey) {
  for (const Kind& kind : kinds()) {
    for (const bool by_key : {false, true}) {
      const std::string id = id_in(run("sun", kind.ipcmk));
      // ipcs shows the kernel's list: on sun the stand-in, on vax the object, on moon nothing, where nobody has used
      // it.
      const auto stand_in = row("sun", kind.ipcs, id);
      ASSERT_EQ(stand_in.size(), kind.ipcs == std::string("-q") ? 6u : 5u);
      const std::string key = stand_in[0];
      EXPECT_EQ(stand_in[2] + " " + stand_in[3], "root 0");
      const auto object = row("vax", kind.ipcs, key);
      ASSERT_GE(object.size(), 4u);
      EXPECT_EQ(object[2] + " " + object[3], "alice 640");
      EXPECT_NE(object[1], id) << "each kernel has ids of its own";
      EXPECT_THAT(row("moon", kind.ipcs, key), IsEmpty());
      // What is to be seen of the object itself.
      const std::string line = first_line_with(run("sun", {"dipcctl", "objects"}, "root"), key);
      EXPECT_THAT(line, AllOf(HasSubstr("vax"), HasSubstr("alice"), HasSubstr("640"))) << key;

      const std::vector<std::string> remove = {"ipcrm", by_key ? kind.ipcrm_key : kind.ipcrm_id, by_key ? key : id};
      EXPECT_NE(cluster_->run("sun", "bob", remove).status, 0) << "not by anybody";
      EXPECT_THAT(row("vax", kind.ipcs, key), Not(IsEmpty()));
      run("sun", remove);
      EXPECT_THAT(row("vax", kind.ipcs, key), IsEmpty());
      EXPECT_THAT(row("sun", kind.ipcs, key), IsEmpty()) << "at once";
      EXPECT_NE(cluster_->run("sun", "alice", remove).status, 0) << "it is gone";
    }
  }
}

TEST_P(RealPrograms, IpcrmByKeyReachesAnObjectThatItsHostHasNotUsed) {
  for (const Kind& kind : kinds()) {
    const std::string key = row("sun", kind.ipcs, id_in(run("sun", kind.ipcmk))).at(0);
    run("moon", {"ipcrm", kind.ipcrm_key, key});
    EXPECT_THAT(row("vax", kind.ipcs, key), IsEmpty());
    EXPECT_THAT(row("moon", kind.ipcs, key), IsEmpty());
    const auto until = std::chrono::steady_clock::now() + kLimit;
    while (!row("sun", kind.ipcs, key).empty() && std::chrono::steady_clock::now() < until) {
    }
    EXPECT_THAT(row("sun", kind.ipcs, key), IsEmpty()) << "the referee tells sun";
  }
}

TEST_P(RealPrograms, IpcsOfOneObjectShowsTheStandInAndTheValuesOfTheOwnersSemaphores) {
  const std::string queue = id_in(run("sun", {"ipcmk", "-Q", "-p", "0640"}));
  EXPECT_THAT(run("sun", {"ipcs", "-q", "-i", queue}), HasSubstr("uid=0\tgid=0\tcuid=0\tcgid=0\tmode=0\n"));
  run("sun", {"ipcrm", "-q", queue});

  const std::string set = id_in(run("sun", {"ipcmk", "-S", "3", "-p", "0640"}));
  const std::string key = row("sun", "-s", set).at(0);
  // Perl takes keys above 2^31 as negative numbers only.
  run("vax", {"perl", "-MIPC::Semaphore", "-e",
              "IPC::Semaphore->new(unpack('l', pack('L', " + key + ")), 3, 0)->setval(1, 42) or die"});
  const std::string told = run("sun", {"ipcs", "-s", "-i", set});
  EXPECT_THAT(told, HasSubstr("mode=0, access_perms=0\nnsems = 3\n"));
  EXPECT_THAT(told, HasSubstr("\n1          42 "));
  run("sun", {"ipcrm", "-s", set});
}

TEST_P(RealPrograms, IpcrmOfAllObjectsLeavesThoseOfOtherHostsAlone) {
  const std::string id = id_in(run("sun", {"ipcmk", "-Q", "-p", "0640"}));
  const std::string key = row("sun", "-q", id).at(0);
  run("sun", {"ipcrm", "--all=msg"});
  EXPECT_THAT(row("vax", "-q", key), Not(IsEmpty())) << "alice may not look at stand-ins, so ipcrm passes them over";
  EXPECT_NE(cluster_->run("sun", "root", {"ipcrm", "--all=msg"}).status, 0) << "root of sun is nobody on vax";
  EXPECT_THAT(row("vax", "-q", key), Not(IsEmpty()));
  EXPECT_THAT(row("sun", "-q", key), Not(IsEmpty()));
  run("sun", {"ipcrm", "-q", id});
  EXPECT_THAT(row("vax", "-q", key), IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(Owner, RealPrograms, testing::Values("native", "m68k"),
                         [](const auto& instance) { return instance.param; });

}  // namespace
}  // namespace dipc::test
