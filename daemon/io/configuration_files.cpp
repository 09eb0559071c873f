#include "daemon/io/configuration_files.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <cstdlib>
#include <iterator>
#include <string>

#include "daemon/core/line_changes.h"
#include "daemon/core/text_lines.h"
#include "daemon/io/atomic_file.h"
#include "daemon/io/type_files.h"

namespace dipc {
namespace {

// Files that people write: what is larger is something else.
constexpr std::size_t kFileBytesMax = 4u << 20;

template <typename T>
void keep(Parsed<T>&& parsed, T& into, Troubles& troubles) {
  if (parsed) {
    into = std::move(*parsed);
  } else {
    std::move(parsed.error().begin(), parsed.error().end(), std::back_inserter(troubles));
  }
}

struct Declared {
  QueueLayouts queues;
  SegmentLayouts segments;
};

// Without the folder, or without files in it, nothing is declared.
Parsed<Declared> read_declarations(const std::filesystem::path& folder) {
  std::error_code unknown;
  const bool is_there = std::filesystem::exists(folder, unknown);
  if (!is_there && !unknown) return Declared();
  if (is_there && !std::filesystem::is_directory(folder, unknown)) {
    return tl::unexpected(Troubles{{folder.string() + " is no folder", "make it one, with files *.types in it"}});
  }
  const auto files = type_files_of(folder);
  if (!files) return tl::unexpected(Troubles{files.error()});
  if (files->empty()) return Declared();
  auto types = read_types(*files);
  if (!types) return tl::unexpected(types.error());
  auto segments = SegmentLayouts::of(*types);
  if (!segments) return tl::unexpected(Troubles{segments.error()});
  auto queues = QueueLayouts::of(std::move(*types));
  if (!queues) return tl::unexpected(Troubles{queues.error()});
  return Declared{std::move(*queues), std::move(*segments)};
}

std::string on_one_line(const std::string& text) {
  std::string line;
  for (const char c : text) {
    const bool is_blank = c == '\n' || c == ' ';
    if (!is_blank || (!line.empty() && line.back() != ' ')) line += is_blank ? ' ' : c;
  }
  while (!line.empty() && line.back() == ' ') line.pop_back();
  return line;
}

// A line each of what was declared: structs and the enums in them, bindings. What a struct contains has its own line,
// so that a change of it is said once.
std::vector<std::string> type_lines(const TypeSet& types) {
  std::vector<std::size_t> tagged;
  for (std::size_t i = 0; i < types.structs.size(); ++i) {
    if (types.structs[i].tagged) tagged.push_back(i);
  }
  const std::string structs = to_declaration(types, tagged);
  std::vector<std::string> lines;
  for (std::size_t begin = 0; begin < structs.size();) {
    const std::size_t close = structs.find("\n}", begin);  // those inside are indented
    const std::size_t end = structs.find('\n', close + 1) + 1;
    lines.push_back(on_one_line(structs.substr(begin, end - begin)));
    begin = end;
  }
  for (const Binding& binding : types.bindings) {
    lines.push_back(on_one_line(to_declaration(types, binding, keys_text(binding))));
  }
  return lines;
}

}  // namespace

ConfigurationDefaults defaults_of_this_machine() {
  utsname machine{};
  std::string host;
  if (::uname(&machine) == 0) host = machine.nodename;
  host = to_lower(host.substr(0, host.find('.')));
  return {host, default_paths(::geteuid(), std::getenv("XDG_RUNTIME_DIR"), std::getenv("HOME"))};
}

Parsed<Policy> load_policy(const std::filesystem::path& configuration_file, const ConfigurationDefaults& defaults) {
  Policy policy;
  Troubles troubles;
  const auto text_of = [&](const std::filesystem::path& path) -> std::optional<std::string> {
    auto read = read_file(path, kFileBytesMax);
    if (read) return std::move(*read);
    troubles.push_back(std::move(read.error()));
    return std::nullopt;
  };

  const std::size_t before = troubles.size();
  if (const auto text = text_of(configuration_file)) {
    keep(parse_configuration(*text, configuration_file.string(), defaults), policy.configuration, troubles);
    policy.keys = KeyPolicy(policy.configuration.keys, policy.configuration.file);
  } else if (troubles.size() == before) {
    troubles.push_back({configuration_file.string() + ": there is no such file",
                        "write one (docs/ADMIN.md has an example), or name another with --config"});
  }
  const std::filesystem::path folder = configuration_file.parent_path();
  if (const auto text = text_of(folder / "hosts.allow")) {
    keep(HostsAllow::parse(*text, (folder / "hosts.allow").string()), policy.hosts_allow, troubles);
  }
  if (const auto text = text_of(folder / "logins.map")) {
    keep(LoginsMap::parse(*text, (folder / "logins.map").string()), policy.logins, troubles);
  }
  Declared declared;
  keep(read_declarations(folder / "types.d"), declared, troubles);
  policy.queues = std::move(declared.queues);
  policy.segments = std::move(declared.segments);
  if (!troubles.empty()) return tl::unexpected(std::move(troubles));
  return policy;
}

std::vector<std::string> changes(const Policy& before, const Policy& after) {
  const auto peers = [](const Policy& policy) {
    std::vector<std::string> lines;
    for (const auto& [host, endpoint] : policy.configuration.peers) {
      lines.push_back(host + " = " + endpoint.to_string());
    }
    return lines;
  };
  const auto keys = [](const Policy& policy) {
    std::vector<std::string> lines;
    for (const KeyRule& rule : policy.configuration.keys) lines.push_back(rule.to_string());
    return lines;
  };
  std::vector<std::string> all = line_changes("hosts.allow", before.hosts_allow.lines(), after.hosts_allow.lines());
  const auto add = [&](std::vector<std::string> more) { std::move(more.begin(), more.end(), std::back_inserter(all)); };
  add(line_changes("logins.map", before.logins.lines(), after.logins.lines()));
  add(line_changes("[peers]", peers(before), peers(after)));
  add(line_changes("[[keys]]", keys(before), keys(after)));
  add(line_changes("[ftok]", before.configuration.ftok_paths, after.configuration.ftok_paths));
  add(line_changes("types.d", type_lines(before.queues.types()), type_lines(after.queues.types())));
  return all;
}

std::vector<std::string> warnings_here(const Configuration& configuration) {
  std::vector<std::string> warnings = warnings_of(configuration);
  for (const std::string& path : configuration.ftok_paths) {
    std::error_code absent;
    const std::string resolved = std::filesystem::canonical(path, absent).string();
    const std::string listed = configuration.file + ": [ftok] lists " + path;
    if (absent) {
      warnings.push_back(listed + ", of which ftok fails on this host until it is there: " + absent.message());
    } else if (resolved != path) {
      warnings.push_back(listed + ", which is " + resolved +
                         " here, links resolved: programs' files are known by that, so list it");
    }
  }
  return warnings;
}

std::vector<std::string> keep_until_start(const Configuration& before, Configuration& after) {
  std::vector<std::string> differ;
  const auto keep = [&](const char* name, const auto& old, auto& fresh) {
    if (fresh == old) return;
    differ.emplace_back(name);
    fresh = old;
  };
  keep("cluster", before.cluster, after.cluster);
  keep("host", before.host, after.host);
  keep("referee", before.referee, after.referee);
  keep("listen", before.listen, after.listen);
  keep("[timing]", before.timing, after.timing);
  keep("[limits]", before.limits, after.limits);
  keep("[memory]", before.memory, after.memory);
  keep("[paths]", before.paths, after.paths);
  after.peers.erase(after.host);  // under another name it may have stood there
  return differ;
}

}  // namespace dipc
