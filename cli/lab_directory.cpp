#include "cli/lab_directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace dipc {
namespace fs = std::filesystem;

LabDirectory::LabDirectory(std::string cluster) : cluster_(std::move(cluster)) {
  path_ = std::string(kLabRoot) + "/" + cluster_;
}

bool LabDirectory::exists() const {
  std::error_code ignored;
  return fs::exists(path_, ignored);
}

Result<void> LabDirectory::create() {
  if (mkdir(kLabRoot, 0700) != 0 && errno != EEXIST) {
    return trouble(std::string(kLabRoot) + ": can't be made: " + error_text(errno));
  }
  if (mkdir(path_.c_str(), 0700) != 0) {
    if (errno == EEXIST) {
      return trouble("a lab called " + cluster_ + " is up already, or what a crash left of it",
                     "take it down first: dipc lab --name " + cluster_ + " down");
    }
    return trouble(path_ + ": can't be made: " + error_text(errno));
  }
  if (mkdir((path_ + "/hosts").c_str(), 0700) != 0) return trouble(path_ + ": " + error_text(errno));
  return {};
}

Result<Descriptor> LabDirectory::lock() const {
  Descriptor folder(open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder) return trouble("there is no lab called " + cluster_, "start one: dipc lab up FILE");
  while (flock(folder.get(), LOCK_EX) != 0) {
    if (errno != EINTR) return trouble(path_ + ": " + error_text(errno));
  }
  return folder;
}

Result<LabFile> LabDirectory::read() const {
  auto lab = read_lab_file(lab_file());
  if (!lab) {
    return trouble("the lab " + cluster_ + " never came up: " + lab.error().what,
                   "dipc lab --name " + cluster_ + " down");
  }
  return lab;
}

DaemonRecord LabDirectory::daemon_record(const std::string& name) const {
  std::ifstream file(host(name) + "/daemon");
  std::string word;
  DaemonRecord record;
  if (file >> word) {
    record.was_started = true;
    if (word == "runs") file >> record.pid;
    if (word == "ended") file >> record.exit_status;
  }
  return record;
}

std::vector<ProcessIdentity> LabDirectory::processes() const {
  std::vector<ProcessIdentity> found;
  const auto add = [&](const std::string& record) {
    if (const auto process = read_identity(record); process && is_alive(*process)) found.push_back(*process);
  };
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(path_ + "/hosts", ignored)) add(entry.path().string() + "/holder");
  add(switch_record());
  return found;
}

Result<std::string> LabDirectory::keep_logs() const {
  std::string place = "/tmp/dipc-lab-" + cluster_ + "-XXXXXX";
  if (mkdtemp(place.data()) == nullptr) return trouble(place + ": " + error_text(errno));
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(path_ + "/hosts", ignored)) {
    const std::string name = entry.path().filename().string();
    fs::copy_file(entry.path() / "log", place + "/" + name + ".log", ignored);
    fs::copy_file(entry.path() / "etc/dipc.toml", place + "/" + name + ".dipc.toml", ignored);
  }
  return place;
}

Result<void> LabDirectory::remove() const {
  std::error_code error;
  fs::remove_all(path_, error);
  if (error) return trouble(path_ + ": can't be removed: " + error.message());
  rmdir(kLabRoot);  // stays while there are other labs
  return {};
}

std::vector<std::string> LabDirectory::clusters() {
  std::vector<std::string> names;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(kLabRoot, ignored)) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace dipc
