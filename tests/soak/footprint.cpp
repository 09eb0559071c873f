#include "tests/soak/footprint.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace dipc::soak {
namespace fs = std::filesystem;

namespace {

constexpr std::array<std::pair<const char*, long Footprint::*>, 3> kMeasures = {{
    {"memory", &Footprint::memory_kib},
    {"threads", &Footprint::threads},
    {"descriptors", &Footprint::descriptors},
}};

struct Thirds {
  std::vector<long> first;  // sorted
  std::vector<long> last;
};

Thirds thirds_of(const std::vector<Footprint>& looks, long Footprint::*measure) {
  const std::size_t warm_up = std::min(FootprintSeries::kWarmUp, looks.size() - 1);
  const std::size_t third = std::max<std::size_t>((looks.size() - warm_up) / 3, 1);
  Thirds thirds;
  for (std::size_t i = 0; i < third; ++i) {
    thirds.first.push_back(looks[warm_up + i].*measure);
    thirds.last.push_back(looks[looks.size() - third + i].*measure);
  }
  std::sort(thirds.first.begin(), thirds.first.end());
  std::sort(thirds.last.begin(), thirds.last.end());
  return thirds;
}

long middle(const std::vector<long>& sorted) { return sorted[sorted.size() / 2]; }

std::string change(const Thirds& thirds) {
  return std::to_string(middle(thirds.first)) + " -> " + std::to_string(middle(thirds.last));
}

// The number after `field` in a file of proc(5).
std::optional<long> field_of(const std::string& text, const std::string& field) {
  const std::size_t at = text.find("\n" + field);
  if (at == std::string::npos) return std::nullopt;
  return std::atol(text.c_str() + at + 1 + field.size());
}

std::string contents(const fs::path& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace

std::optional<Footprint> footprint_of(pid_t pid) {
  const fs::path folder = "/proc/" + std::to_string(pid);
  const std::string status = contents(folder / "status");
  const auto memory = field_of(status, "RssAnon:");
  const auto threads = field_of(status, "Threads:");
  std::error_code error;
  long descriptors = 0;
  for (fs::directory_iterator entry(folder / "fd", error), end; !error && entry != end; entry.increment(error)) {
    ++descriptors;
  }
  if (error || !memory || !threads) return std::nullopt;
  return Footprint{*memory, *threads, descriptors};
}

std::string FootprintSeries::growth() const {
  if (!can_be_judged()) return "";
  std::string grown;
  for (const auto& [name, measure] : kMeasures) {
    const Thirds thirds = thirds_of(looks_, measure);
    if (thirds.last.front() <= thirds.first.back()) continue;
    if (middle(thirds.last) - middle(thirds.first) <= allowed_.*measure) continue;
    grown += (grown.empty() ? "" : ", ") + std::string(name) + " " + change(thirds);
  }
  return grown;
}

std::string FootprintSeries::summary() const {
  if (looks_.empty()) return "never looked at";
  return "memory " + change(thirds_of(looks_, &Footprint::memory_kib)) + " KiB, threads " +
         change(thirds_of(looks_, &Footprint::threads)) + ", descriptors " +
         change(thirds_of(looks_, &Footprint::descriptors));
}

HostProcesses processes_of(const std::string& host_folder) {
  HostProcesses found;
  pid_t holder = 0;
  std::ifstream(host_folder + "/holder") >> holder;
  std::string runs;
  pid_t inner = 0;
  std::ifstream(host_folder + "/daemon") >> runs >> inner;
  std::error_code ignored;
  const fs::path its_namespace = fs::read_symlink("/proc/" + std::to_string(holder) + "/ns/pid", ignored);
  if (its_namespace.empty()) return found;
  for (fs::directory_iterator entry("/proc", ignored), end; !ignored && entry != end; entry.increment(ignored)) {
    const pid_t pid = std::atoi(entry->path().filename().c_str());
    std::error_code gone;
    if (pid <= 0 || fs::read_symlink(entry->path() / "ns/pid", gone) != its_namespace) continue;
    const std::string status = contents(entry->path() / "status");
    if (status.starts_with("Name:\tdipc-keeper\n")) found.keeper = pid;
    const std::size_t at = status.find("\nNSpid:");
    if (at == std::string::npos) continue;
    std::istringstream numbers(status.substr(at + 7, status.find('\n', at + 1) - at - 7));
    pid_t last = 0;
    for (pid_t one = 0; numbers >> one;) last = one;
    if (runs == "runs" && last == inner) found.daemon = pid;
  }
  return found;
}

}  // namespace dipc::soak
