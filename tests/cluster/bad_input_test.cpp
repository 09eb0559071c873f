// What comes from outside and is wrong: the end that is asked says what, the end that asked learns it, and the session
// that was there all along is never touched. One cluster for all tests: vax and sun work together; from moon, a host
// without a daemon of its own, comes everything bad.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "daemon/core/status_report.h"
#include "daemon/io/certificates.h"
#include "tests/cluster/cluster.h"
#include "wire/messages.h"

namespace dipc::test {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using namespace std::chrono_literals;

constexpr auto kLimit = 30s;

std::string contents(const fs::path& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

// Configuration, certificates, socket and state of one more daemon, in a folder that goes with the test.
class DaemonFolder {
 public:
  // As `host`, at `address`.
  DaemonFolder(const Cluster& cluster, const std::string& host, const std::string& address) : host_(host) {
    char path[] = "/tmp/dipc-daemon-XXXXXX";
    if (::mkdtemp(path) == nullptr) throw std::runtime_error("mkdtemp");
    path_ = path;
    write("dipc.toml", "cluster = \"" + cluster.name() + "\"\nhost = \"" + host +
                           "\"\nreferee = \"vax\"\nlisten = [\"" + address + ":7310\"]\n[paths]\nrun = \"" + path_ +
                           "/run\"\nstate = \"" + path_ + "/state\"\n[peers]\nvax = \"10.77.0.1:7310\"\n");
    write("hosts.allow", "vax 10.77.0.1\n");
  }
  ~DaemonFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  DaemonFolder(const DaemonFolder&) = delete;
  DaemonFolder& operator=(const DaemonFolder&) = delete;

  void write(const std::string& name, const std::string& text) const { std::ofstream(path_ + "/" + name) << text; }
  void append(const std::string& name, const std::string& text) const {
    std::ofstream(path_ + "/" + name, std::ios::app) << text;
  }
  // Key and certificate by the authority in `ca`, good for 30 days from `now` on.
  void certify(const fs::path& ca, std::chrono::system_clock::time_point now = std::chrono::system_clock::now()) const {
    const fs::path tls = path_ + "/tls";
    const auto requested = create_host_key_and_request(tls, host_);
    ASSERT_TRUE(requested) << requested.error().what;
    const auto certificate = sign_request(ca, contents(tls / "host.csr"), host_, 30, now);
    ASSERT_TRUE(certificate) << certificate.error().what;
    const auto installed = install_certificate(tls, *certificate);
    ASSERT_TRUE(installed) << installed.error().what;
    fs::copy_file(ca / "ca.pem", tls / "ca.pem");
  }
  // The command that runs the daemon, its log on standard output. The shim is for programs.
  std::vector<std::string> command() const {
    return {"sh", "-c",
            "exec env -u LD_PRELOAD " + native_program("daemon/dipcd") + " --config " + path_ + "/dipc.toml 2>&1"};
  }
  const std::string& path() const { return path_; }

 private:
  std::string host_;
  std::string path_;
};

class BadInput : public testing::Test {
 protected:
  void SetUp() override {
    if (!am_root()) GTEST_SKIP() << "needs root: a lab has namespaces";
    if (!cluster()) {
      cluster() = std::make_unique<Cluster>(
          "bad", "vax",
          "[[host]]\nname = \"vax\"\nlogins = { alice = 1001 }\n"
          "allow = [\"vax 10.77.0.1\", \"sun 10.77.0.0/24\", \"moon 10.77.0.3\", \"comet 10.77.0.99\"]\n"
          "[[host]]\nname = \"sun\"\nlogins = { alice = 2001 }\nallow = [\"vax 10.77.0.1\"]\n"
          "[[host]]\nname = \"moon\"\ndaemon = false\nlogins = { alice = 3001 }\n"
          "[[keys]]\nrange = \"all\"\nhome = \"vax\"\n[timing]\nclaim_timeout = \"60s\"\n");
    }
    alice_ = lab().start("sun", "alice", {native_program("tests/kernel/puppet")});
    queue_ = ask("msgget 1 950");
    queue_ = queue_.substr(0, queue_.find(' '));
    session_ = session();
    ASSERT_NE(session_, "");
  }

  // Whatever happened: the programs of the two hosts noticed nothing.
  void TearDown() override {
    if (!alice_) return;
    EXPECT_EQ(ask("msgsnd " + queue_ + " 1 1 10 2048"), "0 -");
    EXPECT_THAT(ask("msgrcv " + queue_ + " 0 10 2048"), HasSubstr("10 -"));
    EXPECT_EQ(session(), session_) << "the session of vax and sun was disturbed\n" << lab().log_of("vax");
  }
  static void TearDownTestSuite() { cluster().reset(); }

  static std::unique_ptr<Cluster>& cluster() {
    static std::unique_ptr<Cluster> one;
    return one;
  }
  static Cluster& lab() { return *cluster(); }

  std::string ask(const std::string& command) { return test::ask(*alice_, command); }
  // Number of the session of vax with sun.
  static std::string session() {
    const auto report = status_from_json(lab().run("vax", "root", {"dipcctl", "status", "--json"}).output);
    if (!report) return "";
    for (const auto& peer : report->peers) {
      if (peer.name == "sun") return peer.session;
    }
    return "";
  }
  static testing::AssertionResult logs(const std::string& host, const std::string& text) {
    const auto until = std::chrono::steady_clock::now() + kLimit;
    while (std::chrono::steady_clock::now() < until) {
      if (lab().log_of(host).find(text) != std::string::npos) return testing::AssertionSuccess();
    }
    return testing::AssertionFailure() << "\"" << text << "\" is not in the log of " << host << ":\n"
                                       << lab().log_of(host);
  }
  static testing::AssertionResult says(Program& program, const std::string& text) {
    std::string all;
    while (const auto line = program.read_line(kLimit)) {
      if (line->find(text) != std::string::npos) return testing::AssertionSuccess();
      all += *line + "\n";
    }
    return testing::AssertionFailure() << "\"" << text << "\" is not in:\n" << all;
  }
  static fs::path authority() { return lab().folder() + "/ca"; }

  std::unique_ptr<Program> alice_;
  std::string queue_;
  std::string session_;
};

TEST_F(BadInput, OfTwoHostsWithOneNameTheSecondIsRefusedAndBothLogsSaySo) {
  const DaemonFolder folder(lab(), "sun", "10.77.0.3");
  folder.certify(authority());
  const auto second = lab().start("moon", "root", folder.command(), false);
  EXPECT_TRUE(says(*second, "\"sun\" is connected from 10.77.0.2: two hosts have one name"));
  EXPECT_TRUE(logs("vax", "refused a connection: \"sun\" is connected from 10.77.0.2: two hosts have one name"));
}

TEST_F(BadInput, ACertificateOfAnotherAuthorityIsRefusedAtBothEnds) {
  const DaemonFolder folder(lab(), "moon", "10.77.0.3");
  const auto made = create_ca(folder.path() + "/ca", "other");
  ASSERT_TRUE(made) << made.error().what;
  folder.certify(folder.path() + "/ca");
  const auto stranger = lab().start("moon", "root", folder.command(), false);
  EXPECT_TRUE(says(*stranger, "is not signed by this cluster's authority"));
  EXPECT_TRUE(logs("vax", "the peer refuses our certificate"));
}

TEST_F(BadInput, AnExpiredCertificateIsRefusedWithItsDate) {
  const DaemonFolder folder(lab(), "moon", "10.77.0.3");
  folder.certify(authority(), std::chrono::system_clock::now() - std::chrono::hours(24 * 60));
  const auto late = lab().start("moon", "root", folder.command(), false);
  EXPECT_TRUE(says(*late, "the peer refuses our certificate: expired"));
  EXPECT_TRUE(logs("vax", "the peer's certificate ('moon', signed by '" + lab().name() + "') expired on "));
}

TEST_F(BadInput, AnUnknownHostIsRefusedByNameAndToldSo) {
  const DaemonFolder folder(lab(), "ghost", "10.77.0.3");
  folder.certify(authority());
  const auto ghost = lab().start("moon", "root", folder.command(), false);
  EXPECT_TRUE(says(*ghost, "not allowed here; ask the administrator of vax"));
  EXPECT_TRUE(logs("vax", "ghost is not listed in"));
}

TEST_F(BadInput, TheRightNameFromTheWrongAddressIsRefusedWithTheLine) {
  const DaemonFolder folder(lab(), "comet", "10.77.0.3");
  folder.certify(authority());
  const auto comet = lab().start("moon", "root", folder.command(), false);
  EXPECT_TRUE(says(*comet, "not allowed here; ask the administrator of vax"));
  EXPECT_TRUE(logs("vax", "comet is listed, but 10.77.0.3 is not in 10.77.0.99 (/run/lab/etc/hosts.allow:4)"));
}

TEST_F(BadInput, ANameThatTheCertificateDoesNotCarryIsRefused) {
  const DaemonFolder folder(lab(), "sun", "10.77.0.3");
  folder.certify(authority());
  // The certificate of sun, the words of moon.
  std::string as_moon = contents(folder.path() + "/dipc.toml");
  as_moon.replace(as_moon.find("\"sun\""), 5, "\"moon\"");
  folder.write("dipc.toml", as_moon);
  const auto liar = lab().start("moon", "root", folder.command(), false);
  EXPECT_TRUE(logs("vax", "the certificate does not carry the name moon, it carries sun"));
}

TEST_F(BadInput, PlainTextOnTheTlsPortIsNamedInTheLog) {
  const auto ran = lab().run(
      "moon", "root",
      {"bash", "-c", "exec 3<>/dev/tcp/10.77.0.1/7310; printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3; echo over"});
  EXPECT_THAT(ran.output, HasSubstr("over")) << "the connection was not closed";
  EXPECT_TRUE(logs("vax", "the peer does not speak TLS; only dipcd may connect to this port"));
}

TEST_F(BadInput, APortThatIsTakenEndsTheDaemonWithAddressAndRemedy) {
  const DaemonFolder folder(lab(), "moon", "10.77.0.1");
  folder.certify(authority());
  const auto ran = lab().run("vax", "root", folder.command());
  EXPECT_EQ(ran.status, 1);
  EXPECT_THAT(ran.output,
              AllOf(HasSubstr("10.77.0.1:7310: address already in use"), HasSubstr("another program listens there")));
}

TEST_F(BadInput, AMistakeInAnyConfigurationFileEndsTheStartWithFileAndLine) {
  const DaemonFolder folder(lab(), "moon", "10.77.0.3");
  folder.certify(authority());
  folder.append("dipc.toml", "[limits]\ndead_letters = \"many\"\n");
  folder.write("hosts.allow", "vax 10.77.0.1\nsun 10.77.0.300\n");
  folder.write("logins.map", "# who is who\n\nalice@sun\n");
  const auto ran = lab().run("moon", "root", folder.command());
  EXPECT_EQ(ran.status, 1);
  EXPECT_THAT(ran.output,
              AllOf(HasSubstr("dipc.toml:11: "), HasSubstr("hosts.allow:2: "), HasSubstr("logins.map:3: ")));
}

// Certificates have no lines.
TEST_F(BadInput, AFileThatIsNoCertificateEndsTheStartWithItsName) {
  const DaemonFolder folder(lab(), "moon", "10.77.0.3");
  folder.certify(authority());
  folder.write("tls/host.pem", "not a certificate\n");
  const auto ran = lab().run("moon", "root", folder.command());
  EXPECT_EQ(ran.status, 1);
  EXPECT_THAT(ran.output, HasSubstr(folder.path() + "/tls/host.pem"));
}

// A file with other contents, until the test is over.
class Edit {
 public:
  Edit(const std::string& path, const std::string& text)
      : path_(path), existed_(fs::exists(path)), before_(contents(path)) {
    std::ofstream(path) << text;
  }
  ~Edit() {
    if (existed_) {
      std::ofstream(path_) << before_;
    } else {
      fs::remove(path_);
    }
  }
  Edit(const Edit&) = delete;
  Edit& operator=(const Edit&) = delete;

 private:
  std::string path_;
  bool existed_;
  std::string before_;
};

TEST_F(BadInput, AReloadWithAMistakeNamesFileAndLineAndChangesNothing) {
  const std::string folder = lab().folder() + "/hosts/vax/etc";
  const struct {
    const char* file;
    const char* text;
  } mistakes[] = {{"dipc.toml", "nonsense\n"}, {"hosts.allow", "sun 10.77.0.300\n"}, {"logins.map", "alice@sun\n"}};
  for (const auto& mistake : mistakes) {
    const std::string path = folder + "/" + mistake.file;
    const std::string before = contents(path);
    const auto lines = std::count(before.begin(), before.end(), '\n');
    const std::string place = std::string(mistake.file) + ":" + std::to_string(lines + 1) + ": ";
    const Edit edit(path, before + mistake.text);
    const auto ran = lab().run("vax", "root", {"sh", "-c", "dipcctl reload 2>&1"});
    EXPECT_EQ(ran.status, 1) << mistake.file;
    EXPECT_THAT(ran.output, HasSubstr(place));
    EXPECT_TRUE(logs("vax", place));
  }
  const auto good = lab().run("vax", "root", {"sh", "-c", "dipcctl reload 2>&1"});
  EXPECT_EQ(good.status, 0) << good.output;
}

TEST_F(BadInput, AKeyThatTheOwnerRefusesIsEaccesAndItsLogNamesTheLine) {
  const std::string path = lab().folder() + "/hosts/vax/etc/dipc.toml";
  std::string text = contents(path);
  const std::size_t keys = text.find("[[keys]]");
  ASSERT_NE(keys, std::string::npos);
  const auto line = std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(keys), '\n') + 1;
  text.insert(keys, "[[keys]]\nrange = \"0x7001\"\nrefuse = true\n");
  {
    const Edit edit(path, text);
    ASSERT_EQ(lab().run("vax", "root", {"dipcctl", "reload"}).status, 0);
    EXPECT_EQ(ask("msgget 28673 950"), "-1 EACCES");
  }
  EXPECT_TRUE(logs("vax", "alice@sun: "));
  EXPECT_TRUE(logs("vax", "dipc.toml:" + std::to_string(line)));
  ASSERT_EQ(lab().run("vax", "root", {"dipcctl", "reload"}).status, 0);
  // The refusal gave the claim back: the name is free at once, not when the claim's time is over.
  EXPECT_NE(ask("msgget 28673 950").substr(0, 2), "-1");
}

// Certificate, name and address are good; it says of everything that is another's what might do harm.
TEST_F(BadInput, AHostThatIsLetInAndLiesGetsNothingThatIsNotItsOwn) {
  const DaemonFolder folder(lab(), "moon", "10.77.0.3");
  folder.certify(authority());
  // alice waits on sun in a receive.
  const auto waiting = lab().start("sun", "alice", {native_program("tests/kernel/puppet")});
  waiting->write_line("msgget 1 950");
  ASSERT_NE(waiting->read_line(kLimit).value_or("-1").substr(0, 2), "-1");
  waiting->write_line("msgrcv " + queue_ + " 77 10 0");
  const auto ran = lab().run(
      "moon", "root",
      {native_program("tests/cluster/rogue"), "10.77.0.1:7310", folder.path() + "/tls", lab().name(), "moon", "1"});
  const std::string eperm = std::to_string(static_cast<int>(Error::kNotPermitted));
  const std::string eacces = std::to_string(static_cast<int>(Error::kAccess));
  const std::string stale = std::to_string(static_cast<int>(Error::kStale));
  EXPECT_EQ(ran.output, "get 0\npresent 1\nannounced, refused 2\nregistered 0\nremove " + eperm + "\nremove " + eacces +
                            "\nremove " + eacces + "\nremove " + eacces + "\nremove " + eacces + "\nstale " + stale +
                            "\nstill there 0\n")
      << lab().log_of("vax");
  EXPECT_TRUE(logs("vax", "peer moon: speaks as if it were the referee, which is vax"));
  EXPECT_FALSE(waiting->has_output()) << "alice's receive goes on";
  EXPECT_EQ(ask("msgsnd " + queue_ + " 77 1 10 2048"), "0 -");
  EXPECT_THAT(waiting->read_line(kLimit).value_or("(silent)"), HasSubstr("10 -"));
}

// Its machine has pages of 64 KiB, so those of the segment are that large, on all hosts.
TEST_F(BadInput, AHostThatClaimsPagesOfASegmentIsRefusedAndNobodyReadsWhatItSays) {
  const DaemonFolder folder(lab(), "moon", "10.77.0.3");
  folder.certify(authority());
  const auto rogue = lab().start("moon", "root",
                                 {native_program("tests/cluster/rogue"), "10.77.0.1:7310", folder.path() + "/tls",
                                  lab().name(), "moon", "0x50", "pages"});
  ASSERT_EQ(rogue->read_line(kLimit), "there 0");
  const auto vax = lab().start("vax", "alice", {native_program("tests/cluster/sharer")});
  const auto sun = lab().start("sun", "alice", {native_program("tests/cluster/sharer")});
  for (Program* program : {vax.get(), sun.get()}) {
    const std::string id = first_word(test::ask(*program, "shmget 0x50 131072 011600"));
    ASSERT_EQ(test::ask(*program, "shmat " + id + " 0"), "0 -") << id;
  }
  EXPECT_EQ(test::ask(*vax, "put 0 0 7"), "0 -");
  EXPECT_EQ(test::ask(*sun, "get 0 65535"), "0 -");
  EXPECT_EQ(test::ask(*sun, "get 0 0"), "7 -");
  EXPECT_THAT(lab().run("vax", "root", {"dipcctl", "segments"}).output, HasSubstr("64.0 KiB"));
  ASSERT_EQ(rogue->read_line(kLimit), "attach 0");
  int value = 0;
  for (; !rogue->has_output(); value = (value + 1) % 50) {
    ASSERT_EQ(test::ask(*sun, "put 0 65536 " + std::to_string(value)), "0 -");
    ASSERT_EQ(test::ask(*vax, "get 0 65536"), std::to_string(value) + " -") << "99 is the rogue's";
  }
  std::string said;
  rogue->wait(kLimit, &said);
  EXPECT_EQ(said, "refused 1\n");
  EXPECT_TRUE(logs("vax", "it has installed page 0 without a grant"));
  EXPECT_EQ(test::ask(*sun, "get 0 0"), "7 -");
  EXPECT_EQ(test::ask(*vax, "put 0 65536 8"), "0 -");
  EXPECT_EQ(test::ask(*sun, "get 0 65536"), "8 -");
}

}  // namespace
}  // namespace dipc::test
