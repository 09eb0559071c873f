#include "daemon/io/configuration_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>

namespace dipc {
namespace {

using testing::HasSubstr;
using testing::StartsWith;
namespace fs = std::filesystem;

class ConfigurationFiles : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "dipc-conf-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { fs::remove_all(folder_); }
  void write(const std::string& file, const std::string& text) const { std::ofstream(folder_ / file) << text; }
  Parsed<Policy> load() const { return load_policy(folder_ / "dipc.toml", {"sun", {"/run/dipc", "/var/lib/dipc"}}); }

  fs::path folder_;
};

TEST_F(ConfigurationFiles, AreReadTogether) {
  write("dipc.toml", "cluster = 'lab'\nreferee = 'sun'\n[[keys]]\nrange = 'all'\n");
  write("hosts.allow", "vax 10.0.0.3\n");
  write("logins.map", "alice@vax alicia\n");
  const auto policy = load();
  ASSERT_TRUE(policy) << policy.error()[0].what;
  EXPECT_EQ(policy->configuration.cluster, "lab");
  EXPECT_TRUE(policy->hosts_allow.lists("vax"));
  EXPECT_EQ(policy->logins.map("alice", "vax")->local, "alicia");
  EXPECT_FALSE(policy->logins.map("bob", "vax"));
  EXPECT_EQ(policy->keys.decide(Kind::kMessageQueue, 1, false).outcome, KeyPolicy::Outcome::kDistributed);
}

TEST_F(ConfigurationFiles, OnlyTheFirstMustBeThere) {
  write("dipc.toml", "cluster = 'lab'\nreferee = 'sun'\n");
  const auto policy = load();
  ASSERT_TRUE(policy) << policy.error()[0].what;
  EXPECT_EQ(policy->hosts_allow.line_count(), 0u);
  EXPECT_EQ(policy->logins.map("bob", "vax")->local, "bob");
  fs::remove(folder_ / "dipc.toml");
  const auto none = load();
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error()[0].what, (folder_ / "dipc.toml").string() + ": there is no such file");
}

TEST_F(ConfigurationFiles, TroublesOfAllFilesAreToldAtOnce) {
  write("dipc.toml", "cluster = 'lab'\n");
  write("hosts.allow", "\nvax\n");
  write("logins.map", "alice\n");
  const auto policy = load();
  ASSERT_FALSE(policy);
  ASSERT_EQ(policy.error().size(), 4u);
  EXPECT_THAT(policy.error()[0].what, StartsWith((folder_ / "dipc.toml").string() + ":1:"));
  EXPECT_THAT(policy.error()[1].what, StartsWith((folder_ / "hosts.allow").string() + ":2:"));
  EXPECT_THAT(policy.error()[2].what, StartsWith((folder_ / "logins.map").string() + ":1:"));
}

TEST_F(ConfigurationFiles, DeclarationsAreThoseOfAllFilesInTypesD) {
  write("dipc.toml", "cluster = 'lab'\nreferee = 'sun'\n");
  EXPECT_EQ(load()->queues.find(0x10), nullptr) << "there is no folder";
  fs::create_directory(folder_ / "types.d");
  EXPECT_EQ(load()->queues.find(0x10), nullptr) << "there is nothing in it";
  write("types.d/a.types", "struct point { int x, y; };\nbind shm 0x10 to point;\n");
  write("types.d/b.types", "struct note { long mtype; struct point at; };\nbind msg 0x10 to note;\n");
  write("types.d/c.types.old", "struct {");
  const auto policy = load();
  ASSERT_TRUE(policy) << policy.error()[0].what;
  ASSERT_NE(policy->queues.find(0x10), nullptr);
  EXPECT_EQ(policy->queues.find(0x10)->text(),
            "struct point {\n  int x;\n  int y;\n};\nstruct note {\n  long mtype;\n  struct point at;\n};\n"
            "bind msg all to note;\n");
  EXPECT_EQ(policy->queues.find(0x11), nullptr);
  ASSERT_NE(policy->segments.find(0x10), nullptr);
  EXPECT_EQ(policy->segments.find(0x10)->text(), "struct point {\n  int x;\n  int y;\n};\nbind shm all to point;\n");
  EXPECT_EQ(policy->segments.find(0x11), nullptr);
}

TEST_F(ConfigurationFiles, AMistakeInADeclarationIsToldWithTheOthersAndNothingIsTaken) {
  write("dipc.toml", "cluster = 'lab'\n");
  fs::create_directory(folder_ / "types.d");
  write("types.d/a.types", "struct note {\n  long mtype;\n  char *text;\n};\n");
  const auto policy = load();
  ASSERT_FALSE(policy);
  ASSERT_EQ(policy.error().size(), 2u);
  EXPECT_THAT(policy.error()[1].what, StartsWith((folder_ / "types.d" / "a.types").string() + ":3:"));
  EXPECT_NE(policy.error()[1].remedy, "");
}

TEST_F(ConfigurationFiles, AFileInPlaceOfTheFolderIsTrouble) {
  write("dipc.toml", "cluster = 'lab'\nreferee = 'sun'\n");
  write("types.d", "struct note { long mtype; };\n");
  const auto policy = load();
  ASSERT_FALSE(policy);
  EXPECT_THAT(policy.error()[0].what, HasSubstr("types.d is no folder"));
}

TEST_F(ConfigurationFiles, ChangesOfDeclarationsAreNamed) {
  write("dipc.toml", "cluster = 'lab'\nreferee = 'sun'\n");
  fs::create_directory(folder_ / "types.d");
  write("types.d/a.types", "struct note { long mtype; int n; };\nbind msg 0x10 to note;\n");
  const auto before = load();
  write("types.d/a.types", "struct note { long mtype; short n; };\nbind msg 0x10-0x11 to { 1: note; };\n");
  const auto after = load();
  ASSERT_TRUE(before && after);
  EXPECT_THAT(changes(*before, *after),
              testing::ElementsAre("types.d: removed struct note { long mtype; int n; };",
                                   "types.d: removed bind msg 0x00000010 to note;",
                                   "types.d: added struct note { long mtype; short n; };",
                                   "types.d: added bind msg 0x00000010-0x00000011 to { 1: note; };"));
  EXPECT_THAT(changes(*after, *after), testing::IsEmpty());
}

TEST_F(ConfigurationFiles, AChangeInsideOfAnotherStructIsNamedOnce) {
  write("dipc.toml", "cluster = 'lab'\nreferee = 'sun'\n");
  fs::create_directory(folder_ / "types.d");
  const std::string rest =
      "struct note { long mtype; struct point at; struct { short a; } in; enum color paint; };\nbind msg 1 to note;\n";
  write("types.d/a.types", "enum color { red, blue };\nstruct point { int x; };\n" + rest);
  const auto before = load();
  write("types.d/a.types", "enum color { red, green };\nstruct point { int x, y; } packed;\n" + rest);
  const auto after = load();
  ASSERT_TRUE(before && after);
  EXPECT_THAT(changes(*before, *after), testing::ElementsAre("types.d: removed struct point { int x; };",
                                                             "types.d: removed enum color { red = 0, blue = 1, };",
                                                             "types.d: added struct point { int x; int y; } packed;",
                                                             "types.d: added enum color { red = 0, green = 1, };"));
}

TEST_F(ConfigurationFiles, AListedPathThatIsALinkOrNotThereIsWarnedOf) {
  const fs::path folder = fs::canonical(folder_);
  fs::create_directory(folder / "real");
  fs::create_directory_symlink(folder / "real", folder / "link");
  write("dipc.toml", "cluster = 'lab'\nreferee = 'sun'\nhost = 'sun'\n[ftok]\npaths = ['" + (folder / "real").string() +
                         "', '" + (folder / "link").string() + "', '/not/there']\n");
  const auto policy = load();
  ASSERT_TRUE(policy) << policy.error()[0].what;
  EXPECT_THAT(warnings_here(policy->configuration),
              testing::ElementsAre(HasSubstr("/link, which is " + (folder / "real").string() + " here"),
                                   HasSubstr("lists /not/there, of which ftok fails on this host until it is there")));
}

TEST_F(ConfigurationFiles, AFolderInPlaceOfAFileIsTrouble) {
  write("dipc.toml", "cluster = 'lab'\nreferee = 'sun'\n");
  fs::create_directory(folder_ / "hosts.allow");
  const auto policy = load();
  ASSERT_FALSE(policy);
  EXPECT_THAT(policy.error()[0].what, HasSubstr("is no regular file"));
}

TEST_F(ConfigurationFiles, DefaultsComeFromTheMachine) {
  const ConfigurationDefaults defaults = defaults_of_this_machine();
  EXPECT_EQ(defaults.host.find('.'), std::string::npos);
  EXPECT_FALSE(defaults.paths.run.empty());
}

// The examples of the manual are files that work: each code block that follows "`dipc.toml`:" and so on is read.
TEST_F(ConfigurationFiles, ExamplesOfTheManualAreAccepted) {
  const fs::path path = DIPC_DOCS "/ADMIN.md";
  std::ifstream manual(path);
  ASSERT_TRUE(manual) << path;
  std::string line, file, text;
  bool inside = false;
  std::size_t examples = 0;
  while (std::getline(manual, line)) {
    const bool fence =
        std::string_view(line).substr(std::min(line.size(), line.find_first_not_of(" "))).starts_with("```");
    if (!inside && fence) {
      for (const char* name : {"dipc.toml", "hosts.allow", "logins.map"}) {
        if (line.find(name) != std::string::npos) file = name;
      }
      inside = true;
      text.clear();
    } else if (inside && fence) {
      inside = false;
      if (file.empty()) continue;
      ++examples;
      SCOPED_TRACE(text);
      Troubles troubles;
      if (file == "dipc.toml") {
        const auto parsed = parse_configuration(text, file, {"sun", {}});
        if (!parsed) troubles = parsed.error();
      } else if (file == "hosts.allow") {
        const auto parsed = HostsAllow::parse(text, file);
        if (!parsed) troubles = parsed.error();
      } else {
        const auto parsed = LoginsMap::parse(text, file);
        if (!parsed) troubles = parsed.error();
      }
      for (const Trouble& trouble : troubles) ADD_FAILURE() << trouble.what << "\n  " << trouble.remedy;
      file.clear();
    } else if (inside) {
      text += line + "\n";
    }
  }
  EXPECT_GE(examples, 7u);
}

TEST_F(ConfigurationFiles, WhatChangedBetweenTwoReadingsIsNamedByContent) {
  write("dipc.toml", "cluster = 'lab'\nreferee = 'sun'\n[peers]\nvax = '10.0.0.3:7310'\n[[keys]]\nrange = 'all'\n");
  write("hosts.allow", "vax 10.0.0.3\nmoon 10.0.0.4 # gone soon\n");
  const auto before = load();
  ASSERT_TRUE(before);
  write("hosts.allow", "# a comment, and blanks\n  vax   10.0.0.3\n");
  EXPECT_THAT(changes(*before, *load()), testing::ElementsAre("hosts.allow: removed moon 10.0.0.4"));
  write("dipc.toml",
        "cluster = 'lab'\nreferee = 'sun'\n[peers]\nvax = '10.0.0.5:7310'\n"
        "[[keys]]\nrange = ['0x10-0x20', 'private']\nkind = ['msg']\nhome = 'vax'\n"
        "[[keys]]\nrange = 'all'\nrefuse = true\n");
  write("hosts.allow", "vax 10.0.0.0/24 sha256:" + std::string(64, 'A') + "\nmoon 10.0.0.4\n");
  write("logins.map", "alice@vax alicia\n*@* *\n");
  const auto after = load();
  ASSERT_TRUE(after) << after.error()[0].what;
  EXPECT_THAT(changes(*before, *after),
              testing::ElementsAre("hosts.allow: removed vax 10.0.0.3",
                                   "hosts.allow: added vax 10.0.0.0/24 sha256:" + std::string(64, 'a'),
                                   "logins.map: removed root@* nobody", "logins.map: added alice@vax alicia",
                                   "[peers]: removed vax = 10.0.0.3:7310", "[peers]: added vax = 10.0.0.5:7310",
                                   "[[keys]]: removed all of msg, sem, shm",
                                   "[[keys]]: added 0x00000010-0x00000020, private of msg at vax",
                                   "[[keys]]: added all of msg, sem, shm refused"));
  EXPECT_TRUE(changes(*after, *load()).empty());
}

TEST_F(ConfigurationFiles, WhatCountsFromTheNextStartStaysAsItIsUntilThen) {
  write("dipc.toml", "cluster = 'lab'\nreferee = 'sun'\nlisten = ['10.0.0.2:7310']\n[peers]\nvax = '10.0.0.3:7310'\n");
  const Configuration before = load()->configuration;
  write("dipc.toml",
        "cluster = 'other'\nreferee = 'vax'\nhost = 'moon'\nlisten = ['10.0.0.9:7310']\n[timing]\nkeepalive = '2s'\n"
        "peer_timeout = '60s'\n[limits]\ndead_letters = 5\n[memory]\npager = 'sigsegv'\n[paths]\nrun = '/r'\nstate = "
        "'/s'\n"
        "[peers]\nvax = '10.0.0.4:7310'\nsun = '10.0.0.2:7310'\n");
  auto fresh = load();
  ASSERT_TRUE(fresh) << fresh.error()[0].what;
  Configuration after = fresh->configuration;
  EXPECT_THAT(keep_until_start(before, after), testing::ElementsAre("cluster", "host", "referee", "listen", "[timing]",
                                                                    "[limits]", "[memory]", "[paths]"));
  EXPECT_EQ(after.cluster, "lab");
  EXPECT_EQ(after.host, "sun");
  EXPECT_EQ(after.referee, "sun");
  EXPECT_EQ(after.listen, before.listen);
  EXPECT_EQ(after.timing, before.timing);
  EXPECT_EQ(after.limits, before.limits);
  EXPECT_EQ(after.memory, before.memory);
  EXPECT_EQ(after.paths, before.paths);
  EXPECT_EQ(after.peers.at("vax").to_string(), "10.0.0.4:7310");
  EXPECT_FALSE(after.peers.contains("sun")) << "a host does not dial itself";
  EXPECT_THAT(keep_until_start(before, after), testing::IsEmpty());
}

}  // namespace
}  // namespace dipc
