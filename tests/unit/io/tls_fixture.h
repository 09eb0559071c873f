#pragma once

// Authorities and hosts' certificates on disk for one test, made by the code that dipcctl uses; the folder goes with
// it.

#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>

#include "daemon/io/certificates.h"
#include "daemon/io/tls.h"

namespace dipc::testing_tls {

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "dipc-test-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) std::abort();
    path_ = name;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

inline std::string contents(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

inline void write(const std::filesystem::path& path, const std::string& text) { std::ofstream(path) << text; }

class Certificates {
 public:
  // The authority `name`, made at its first use.
  std::filesystem::path authority(const std::string& name) {
    const auto dir = folder_.path() / ("ca-" + name);
    if (!std::filesystem::exists(dir / "ca.pem")) {
      const auto made = create_ca(dir, name);
      EXPECT_TRUE(made.has_value()) << made.error().what;
    }
    return dir;
  }

  // A new folder with key and certificate of `host`, signed by `authority_name` at `now`, and the ca.pem that it
  // trusts.
  TlsFiles host(const std::string& host, const std::string& authority_name = "lab",
                std::chrono::system_clock::time_point now = std::chrono::system_clock::now(),
                const std::string& trusts = "") {
    const auto dir = folder_.path() / (host + std::to_string(++count_));
    const auto requested = create_host_key_and_request(dir, host);
    EXPECT_TRUE(requested.has_value()) << requested.error().what;
    const auto pem = sign_request(authority(authority_name), contents(dir / "host.csr"), host, 30, now);
    EXPECT_TRUE(pem.has_value()) << pem.error().what;
    const auto installed = install_certificate(dir, *pem);
    EXPECT_TRUE(installed.has_value()) << installed.error().what;
    const auto ca = trusts.empty() ? authority_name : trusts;
    std::filesystem::copy_file(authority(ca) / "ca.pem", dir / "ca.pem");
    return {dir / "ca.pem", dir / "host.pem", dir / "host.key"};
  }

  // A host of "lab" with a good certificate, made once: keys take time under an emulator.
  TlsFiles standard(const std::string& name) {
    const auto known = standard_.find(name);
    return known != standard_.end() ? known->second : standard_.emplace(name, host(name)).first->second;
  }

  std::unique_ptr<TlsContext> context(const TlsFiles& files) {
    auto loaded = TlsContext::load(files);
    EXPECT_TRUE(loaded.has_value()) << loaded.error().what;
    return loaded ? std::move(*loaded) : nullptr;
  }

  const std::filesystem::path& path() const { return folder_.path(); }

 private:
  TemporaryFolder folder_;
  std::map<std::string, TlsFiles> standard_;
  int count_ = 0;
};

}  // namespace dipc::testing_tls
