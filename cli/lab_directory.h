#pragma once

// What a running lab leaves on disk, all of it below one folder that only root can enter:
//
//   /run/dipc-lab/CLUSTER/   lab.toml (as `up` read it)  switch (its process)  ca/  hosts/HOST/
//   hosts/HOST/              holder (its process)  daemon (see DaemonRecord)  killed (if by `lab kill`)  log  boot_id
//                            etc/ (dipc.toml hosts.allow logins.map types.d tls passwd group hosts)  run/ state/ root/
//
// Inside the host the same things are seen as a machine has them:
//   /etc/passwd /etc/group /etc/hosts   of its own
//   /run/dipc/dipcd.sock                the daemon's socket
//   /run/lab/{etc,state,home,bin,lib}   configuration, state, home folders, our programs, libdipc.so by machine

#include <optional>
#include <string>
#include <vector>

#include "cli/lab_file.h"
#include "cli/process.h"
#include "wire/descriptor.h"

namespace dipc {

inline constexpr const char* kLabRoot = "/run/dipc-lab";
inline constexpr const char* kInsideSocket = "/run/dipc/dipcd.sock";
inline constexpr const char* kInsideBin = "/run/lab/bin";
inline constexpr const char* kInsideLib = "/run/lab/lib";
inline constexpr const char* kInsideHome = "/run/lab/home";

// What the holder last noted of its daemon.
struct DaemonRecord {
  pid_t pid = 0;        // as the host sees it; 0: has ended, or was never started
  int exit_status = 0;  // 128 + signal for a killed one
  bool was_started = false;
};

class LabDirectory {
 public:
  explicit LabDirectory(std::string cluster);

  const std::string& cluster() const { return cluster_; }
  const std::string& path() const { return path_; }
  std::string lab_file() const { return path_ + "/lab.toml"; }
  std::string switch_record() const { return path_ + "/switch"; }
  std::string ca() const { return path_ + "/ca"; }
  std::string host(const std::string& name) const { return path_ + "/hosts/" + name; }
  std::string holder_record(const std::string& name) const { return host(name) + "/holder"; }
  std::string log(const std::string& name) const { return host(name) + "/log"; }
  std::string killed_record(const std::string& name) const { return host(name) + "/killed"; }
  std::string socket(const std::string& name) const { return host(name) + "/run/dipcd.sock"; }

  bool exists() const;
  Result<void> create();  // trouble if it exists
  // Held while the lab is changed: two `up`s, or an `up` and a `down`, take turns.
  Result<Descriptor> lock() const;
  Result<LabFile> read() const;
  DaemonRecord daemon_record(const std::string& name) const;
  // Every process that `up` recorded and that still lives.
  std::vector<ProcessIdentity> processes() const;

  // Copies logs and configurations to a folder that stays; its path.
  Result<std::string> keep_logs() const;
  Result<void> remove() const;

  static std::vector<std::string> clusters();  // that have a folder, sorted

 private:
  std::string cluster_;
  std::string path_;
};

}  // namespace dipc
