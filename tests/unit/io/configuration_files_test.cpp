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
  const fs::path path = fs::path(__FILE__).parent_path() / "../../../docs/ADMIN.md";
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

}  // namespace
}  // namespace dipc
