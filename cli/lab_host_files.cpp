#include "cli/lab_host_files.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>

#include "cli/installation.h"
#include "cli/machines.h"
#include "daemon/io/certificates.h"

namespace dipc {
namespace fs = std::filesystem;
namespace {

Result<void> write_file(const std::string& path, const std::string& text, mode_t mode = 0644) {
  std::ofstream file(path);
  file << text;
  if (!file.flush() || chmod(path.c_str(), mode) != 0) return trouble(path + ": " + error_text(errno));
  return {};
}

Result<void> make_folder(const std::string& path, mode_t mode = 0755) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error || chmod(path.c_str(), mode) != 0) return trouble(path + ": can't be made: " + error_text(errno));
  return {};
}

std::string joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return text;
}

std::string hosts_text(const LabFile& lab) {
  std::string text = "127.0.0.1 localhost\n";
  for (const LabHost& host : lab.hosts) text += host.address + " " + host.name + "\n";
  return text;
}

Result<void> make_certificate(const LabDirectory& directory, const LabHost& host) {
  const fs::path tls = directory.host(host.name) + "/etc/tls";
  if (auto made = create_host_key_and_request(tls, host.name); !made) return made;
  std::ifstream file(tls / "host.csr");
  const std::string request((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const auto certificate = sign_request(directory.ca(), request, host.name);
  if (!certificate) return tl::unexpected(certificate.error());
  if (auto installed = install_certificate(tls, *certificate); !installed) return installed;
  std::error_code error;
  fs::copy_file(fs::path(directory.ca()) / "ca.pem", tls / "ca.pem", error);
  if (error) return trouble((tls / "ca.pem").string() + ": " + error.message());
  return {};
}

// The machine whose programs the host's daemon is of.
Result<const Machine*> machine_of_host(const LabHost& host) {
  const Machine* machine = host.machine.empty() ? native_machine() : machine_named(host.machine);
  if (machine == nullptr)
    return trouble("this machine is not one that the lab knows", "name another arch for " + host.name);
  return machine;
}

// Some part of our own that the host can't do without is not there for its machine.
Trouble not_built(const std::string& part, const LabHost& host, const Machine& machine) {
  const std::string name(machine.name);
  std::string variable = "DIPC_" + name + "_BUILD";
  std::transform(variable.begin(), variable.end(), variable.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return {host.where + ": there is no " + part + " for " + host.name + ", a host of " + name,
          "build it for " + name + " (docs/PORTING.md says how), or name its build folder in " + variable};
}

}  // namespace

std::string passwd_text(const LabHost& host) {
  std::string text =
      "root:x:0:0:root:/root:/bin/sh\n"
      "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n";
  for (const LabLogin& login : host.logins) {
    const std::string id = std::to_string(login.id);
    text += login.name + ":x:" + id + ":" + id + ":" + login.name + ":" + kInsideHome + "/" + login.name + ":/bin/sh\n";
  }
  return text;
}

std::string group_text(const LabHost& host) {
  std::string text = "root:x:0:\nnogroup:x:65534:\n";
  for (const LabLogin& login : host.logins) {
    const auto named = [&](const LabGroup& group) { return group.name == login.name || group.id == login.id; };
    if (std::any_of(host.groups.begin(), host.groups.end(), named)) continue;
    text += login.name + ":x:" + std::to_string(login.id) + ":\n";
  }
  for (const LabGroup& group : host.groups) {
    std::string members;
    for (const std::string& member : group.members) members += (members.empty() ? "" : ",") + member;
    text += group.name + ":x:" + std::to_string(group.id) + ":" + members + "\n";
  }
  return text;
}

std::string configuration_text(const LabFile& lab, const LabHost& host) {
  const std::string port = ":" + std::to_string(kLabPort);
  std::string text = "cluster = \"" + lab.cluster + "\"\nhost = \"" + host.name + "\"\nlisten = [\"" + host.address +
                     port + "\"]\nreferee = \"" + lab.referee + "\"\n";
  text += "[paths]\nrun = \"/run/dipc\"\nstate = \"/run/lab/state\"\n[peers]\n";
  for (const LabHost& other : lab.hosts) {
    if (other.name != host.name && other.has_daemon) {
      text += "\"" + other.name + "\" = \"" + other.address + port + "\"\n";
    }
  }
  return text + host.configuration;
}

Result<void> make_authority(const LabDirectory& directory, const LabFile& lab) {
  return create_ca(directory.ca(), lab.cluster);
}

Result<void> write_host_files(const LabDirectory& directory, const LabFile& lab, const LabHost& host) {
  const std::string base = directory.host(host.name);
  for (const char* name : {"", "/etc", "/etc/tls", "/bin", "/root"}) {
    if (auto made = make_folder(base + name); !made) return made;
  }
  if (auto made = make_folder(base + "/state", 0700); !made) return made;
  const std::vector<std::pair<std::string, std::string>> files = {
      {"/etc/passwd", passwd_text(host)},       {"/etc/group", group_text(host)},
      {"/etc/hosts", hosts_text(lab)},          {"/etc/dipc.toml", configuration_text(lab, host)},
      {"/etc/hosts.allow", joined(host.allow)},
  };
  for (const auto& [name, text] : files) {
    if (auto written = write_file(base + name, text); !written) return written;
  }
  if (!host.login_map.empty()) {
    if (auto written = write_file(base + "/etc/logins.map", joined(host.login_map)); !written) return written;
  }
  if (!host.types.empty()) {
    if (auto made = make_folder(base + "/etc/types.d"); !made) return made;
    if (auto written = write_file(base + "/etc/types.d/lab.types", joined(host.types)); !written) return written;
  }
  if (host.has_daemon) return make_certificate(directory, host);
  return {};
}

Result<void> write_boot_files(const LabDirectory& directory, const LabHost& host) {
  const std::string base = directory.host(host.name);
  std::error_code ignored;
  fs::remove_all(base + "/run", ignored);
  if (auto made = make_folder(base + "/run"); !made) return made;
  fs::remove(base + "/daemon", ignored);
  fs::remove(directory.killed_record(host.name), ignored);
  std::ifstream random("/proc/sys/kernel/random/uuid");
  std::string boot_id;
  std::getline(random, boot_id);
  return write_file(base + "/boot_id", boot_id + "\n");
}

Result<HolderPlan> plan_holder(const LabDirectory& directory, const LabHost& host) {
  HolderPlan plan{.host = host, .directory = directory.host(host.name), .files = {}, .daemon = {}};
  const auto machine = machine_of_host(host);
  if (!machine) return tl::unexpected(machine.error());
  const ElfIdentity elf = (*machine)->elf;
  const bool guest = !runs_natively(elf);

  plan.files.emplace_back(own_path(), "bin/dipc");
  // Every process takes the shim of its own class through $LIB, so all that can run here are there.
  std::vector<const Machine*> machines = native_machines();
  if (guest) machines.push_back(*machine);
  for (const Machine* one : machines) {
    const std::string shim = find_shim_file(one->elf);
    if (shim.empty()) continue;
    for (const std::string& folder : one->loader_folders()) plan.files.emplace_back(shim, folder + "/libdipc.so");
  }

  if (host.has_daemon && find_shim_file(elf).empty()) return tl::unexpected(not_built("libdipc.so", host, **machine));
  std::vector<std::string> emulator;
  if (guest) {
    const std::string qemu = find_emulator(**machine);
    if (qemu.empty()) {
      return trouble(
          host.where + ": qemu-" + host.machine + " is not installed, and " + host.name + " is of that machine",
          "install the package qemu-user-static");
    }
    // Where every login can reach it, wherever it lies.
    const std::string inside = "bin/" + fs::path(qemu).filename().string();
    plan.files.emplace_back(qemu, inside);
    emulator = {"/run/lab/" + inside};
    if (const std::string prefix = guest_library_prefix(**machine); !prefix.empty()) {
      emulator.insert(emulator.end(), {"-L", prefix});
    }
  }
  if (!host.has_daemon) return plan;
  for (const char* name : {"dipcd", "dipcctl"}) {
    const std::string program = find_program(name, elf);
    if (program.empty()) return tl::unexpected(not_built(name, host, **machine));
    if (!guest) {
      plan.files.emplace_back(program, std::string("bin/") + name);
      continue;
    }
    plan.files.emplace_back(program, std::string("programs/") + name);
    std::string script = "#!/bin/sh\nexec";
    for (const std::string& word : emulator) script += " " + word;
    const std::string path = plan.directory + "/bin/" + name;
    if (auto written = write_file(path, script + " /run/lab/programs/" + name + " \"$@\"\n", 0755); !written) {
      return tl::unexpected(written.error());
    }
    plan.files.emplace_back(path, std::string("bin/") + name);
  }
  plan.daemon = emulator;
  plan.daemon.push_back(guest ? "/run/lab/programs/dipcd" : "/run/lab/bin/dipcd");
  plan.daemon.insert(plan.daemon.end(), {"--config", "/run/lab/etc/dipc.toml"});
  return plan;
}

}  // namespace dipc
