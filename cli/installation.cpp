#include "cli/installation.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <vector>

namespace dipc {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kShim = "libdipc.so";

bool fits(const fs::path& file, const ElfIdentity& machine) {
  const auto elf = read_elf(file.string());
  return elf && same_machine(*elf, machine);
}

std::string first_that_fits(const std::vector<fs::path>& candidates, const ElfIdentity& machine) {
  for (const fs::path& candidate : candidates) {
    if (fits(candidate, machine)) return candidate.lexically_normal().string();
  }
  return "";
}

std::string triplet_of(const ElfIdentity& machine) {
  const Machine* known = machine_of(machine);
  return known != nullptr ? std::string(known->triplet) : "";
}

// Build folders that may hold programs of `machine`; none if we are not run from a build folder.
std::vector<fs::path> build_folders(const ElfIdentity& machine) {
  std::vector<fs::path> folders;
  const fs::path own = own_path();
  if (own.parent_path().filename() != "cli") return folders;
  const fs::path build = own.parent_path().parent_path();
  folders.push_back(build);
  if (const Machine* known = machine_of(machine); known != nullptr) {
    std::string variable = "DIPC_" + std::string(known->name) + "_BUILD";
    std::transform(variable.begin(), variable.end(), variable.begin(),
                   [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
    if (const char* folder = std::getenv(variable.c_str()); folder != nullptr) folders.emplace_back(folder);
    folders.push_back(build.parent_path() / known->name);
  }
  std::vector<fs::path> siblings;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(build.parent_path(), ignored)) siblings.push_back(entry.path());
  std::sort(siblings.begin(), siblings.end());
  folders.insert(folders.end(), siblings.begin(), siblings.end());
  return folders;
}

}  // namespace

std::string own_path() {
  std::error_code ignored;
  return fs::read_symlink("/proc/self/exe", ignored).string();
}

std::string find_shim_file(const ElfIdentity& program) {
  const std::string triplet = triplet_of(program);
  std::vector<fs::path> candidates;
  const auto add = [&](const fs::path& folder) {
    if (!triplet.empty()) candidates.push_back(folder / triplet / kShim);
    candidates.push_back(folder / kShim);
  };
  if (const char* listed = std::getenv("DIPC_LIBRARY_PATH"); listed != nullptr) {
    const std::string folders = listed;
    for (std::size_t begin = 0; begin < folders.size();) {
      const std::size_t end = std::min(folders.find(':', begin), folders.size());
      if (end > begin) add(folders.substr(begin, end - begin));
      begin = end + 1;
    }
  }
  const fs::path own = own_path();
  for (const fs::path& build : build_folders(program)) candidates.push_back(build / "shim" / kShim);
  add(own.parent_path().parent_path() / "lib");
  add("/usr/local/lib");
  add("/usr/lib");

  return first_that_fits(candidates, program);
}

std::string find_shim(const ElfIdentity& program) {
  const std::string found = find_shim_file(program);
  const Machine* machine = machine_of(program);
  if (machine == nullptr) return found;
  const auto folders = machine->loader_folders();
  for (const std::string& folder : folders) {
    const std::string end = "/" + folder + "/" + std::string(kShim);
    if (!found.ends_with(end)) continue;
    const fs::path prefix = found.substr(0, found.size() - end.size()) + "/";
    const auto is_there = [&](const std::string& one) { return fits(prefix / one / kShim, program); };
    if (std::all_of(folders.begin(), folders.end(), is_there)) return (prefix / "$LIB" / kShim).string();
  }
  return found;
}

std::string find_program(std::string_view name, const ElfIdentity& machine) {
  const fs::path own = own_path();
  const fs::path prefix = own.parent_path().parent_path();
  std::vector<fs::path> candidates;
  for (const fs::path& build : build_folders(machine)) {
    for (const char* folder : {"daemon", "daemon/ctl", "cli"}) candidates.push_back(build / folder / name);
  }
  for (const char* folder : {"bin", "sbin"}) candidates.push_back(prefix / folder / name);
  if (const std::string triplet = triplet_of(machine); !triplet.empty()) {
    candidates.push_back(prefix / "lib" / triplet / "dipc" / name);
  }
  return first_that_fits(candidates, machine);
}

std::string find_emulator(const Machine& machine) {
  const char* path = std::getenv("PATH");
  std::string folders = path != nullptr ? path : "";
  folders += ":/usr/local/bin:/usr/bin";
  if (const fs::path own = own_path(); own.parent_path().filename() == "cli") {
    folders += ":" + (own.parent_path().parent_path().parent_path() / "tools").string();
  }
  // The static one first: it has no libraries that a preload could reach, and it is what Debian's package installs.
  for (const std::string_view suffix : {"-static", ""}) {
    for (std::size_t begin = 0; begin <= folders.size();) {
      const std::size_t end = std::min(folders.find(':', begin), folders.size());
      std::string candidate = folders.substr(begin, end - begin) + "/qemu-";
      candidate.append(machine.name).append(suffix);
      if (end > begin && access(candidate.c_str(), X_OK) == 0) return candidate;
      begin = end + 1;
    }
  }
  return "";
}

}  // namespace dipc
