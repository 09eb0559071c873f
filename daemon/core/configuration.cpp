#include "daemon/core/configuration.h"

#include <algorithm>
#include <array>
#include <bit>
#include <set>
#include <span>
#include <utility>

#include "daemon/core/ftok_paths.h"
#include "daemon/core/object_name.h"
#include "daemon/core/setting_reader.h"
#include "daemon/core/text_lines.h"

namespace dipc {
namespace {

constexpr std::string_view kRangeForm =
    "write \"0x1000-0x1fff\", \"0x1234\", \"all\" (every key), \"private\" (IPC_PRIVATE), or a list of these";

// Every key there is, by the table it stands in: for what is missing, misspelt or in the wrong place.
std::span<const SettingReader::Section> sections() {
  static const std::array<SettingReader::Section, 7> kSections = {{
      {"", {"cluster", "host", "listen", "referee", "peers", "timing", "limits", "memory", "ftok", "keys", "paths"}},
      {"timing", {"keepalive", "peer_timeout", "op_timeout", "claim_timeout", "busy_poll"}},
      {"limits",
       {"blocked_calls_per_peer", "connections_per_peer", "bytes_per_peer", "calls_per_login", "connections_per_login",
        "bytes_per_login", "session_buffer", "dead_letters", "segment_size", "segments_per_login", "segments_per_peer",
        "attachments_per_login"}},
      {"memory", {"pager"}},
      {"ftok", {"paths"}},
      {"keys", {"range", "kind", "home", "refuse", "unit", "page_size", "hold_time"}},
      {"paths", {"run", "state"}},
  }};
  return kSections;
}

class Reader : private SettingReader {
 public:
  Reader(std::string_view file, const ConfigurationDefaults& defaults) : SettingReader(file, sections()) {
    result_.file = file;
    result_.host = to_lower(defaults.host);
    result_.paths = defaults.paths;
  }

  Parsed<Configuration> read(const toml::table& document) {
    read_table(document, "", [this](std::string_view key, const toml::node& node) {
      if (key == "cluster") read_word(node, "cluster", result_.cluster);
      if (key == "host") read_host(node, "host", result_.host);
      if (key == "listen") read_listen(node);
      if (key == "referee") read_host(node, "referee", result_.referee);
      if (key == "peers") read_peers(node);
      if (key == "timing") read_timing(node);
      if (key == "limits") read_limits(node);
      if (key == "memory") read_memory(node);
      if (key == "ftok") read_ftok(node);
      if (key == "keys") read_keys(node);
      if (key == "paths") read_paths(node);
    });
    check_whole(document);
    Troubles troubles = take_troubles();
    if (troubles.empty()) return std::move(result_);
    return tl::unexpected(std::move(troubles));
  }

 private:
  void read_listen(const toml::node& node) {
    const auto* list = node.as_array();
    if (list == nullptr) return wrong_type(node, "listen", "write a list: listen = [\"10.0.0.2:7310\"]");
    for (const toml::node& element : *list) {
      const auto found = endpoint(element, "listen");
      if (!found) continue;
      if (std::find(result_.listen.begin(), result_.listen.end(), *found) != result_.listen.end()) {
        wrong(line_of(element), "listen names " + found->to_string() + " twice", "take one of them out");
      } else {
        result_.listen.push_back(*found);
      }
    }
  }

  void read_peers(const toml::node& node) {
    const auto* table = node.as_table();
    if (table == nullptr)
      return wrong_type(node, "peers", "write a table: [peers], then lines as vax = \"10.0.0.3:7310\"");
    for (const auto& [key, value] : *table) {
      const std::size_t line = key.source().begin.line;
      const std::string name = to_lower(key.str());
      if (!is_host_name(name)) {
        wrong(line, "peers: " + in_quotes(key.str()) + " is not a host name",
              "write a line as vax = \"10.0.0.3:7310\"");
        continue;
      }
      const auto* inner = value.as_table();
      if (inner != nullptr) {
        // TOML reads sun.example = "..." as a table in a table, in the form that a person would write first.
        wrong(line, "peers: " + in_quotes(key.str()) + " is a table",
              "put a name that has dots in quotes: \"" + name + ".example\" = \"10.0.0.3:7310\"");
        continue;
      }
      const auto found = endpoint(value, "peers: " + name);
      if (!found) continue;
      if (found->address.is_wildcard()) {
        wrong(line, "peers: " + name + ": " + found->to_string() + " is no address to dial",
              "write an address and a port in quotes: \"10.0.0.2:7310\"");
      } else if (!result_.peers.emplace(name, *found).second) {
        wrong(line, "peers: " + name + " stands there twice (letters' case makes no difference)",
              "take one of them out");
      }
    }
  }

  void read_timing(const toml::node& node) {
    const auto* table = node.as_table();
    if (table == nullptr)
      return wrong_type(node, "timing", "write a table: [timing], then lines as keepalive = \"1s\"");
    read_table(*table, "timing", [this](std::string_view key, const toml::node& value) {
      auto& timing = result_.timing;
      constexpr Duration kMin = std::chrono::milliseconds(10), kMax = std::chrono::hours(24);
      if (key == "keepalive") read_duration(value, key, kMin, kMax, timing.keepalive);
      if (key == "peer_timeout") read_duration(value, key, kMin, kMax, timing.peer_timeout);
      if (key == "op_timeout") read_duration(value, key, kMin, kMax, timing.op_timeout);
      if (key == "claim_timeout") read_duration(value, key, kMin, kMax, timing.claim_timeout);
      if (key == "busy_poll")
        read_duration(value, key, Duration::zero(), std::chrono::milliseconds(1), timing.busy_poll);
    });
    // One lost keep-alive must not be a death.
    if (result_.timing.peer_timeout < 2 * result_.timing.keepalive) {
      const toml::node* named = table->get("peer_timeout");
      if (named == nullptr) named = table->get("keepalive");
      wrong(line_of(*named),
            "peer_timeout is less than twice keepalive: a peer would be taken for dead between two of them",
            "make peer_timeout several times keepalive (defaults: 10s and 1s)");
    }
  }

  void read_limits(const toml::node& node) {
    const auto* table = node.as_table();
    if (table == nullptr)
      return wrong_type(node, "limits", "write a table: [limits], then lines as dead_letters = 10000");
    read_table(*table, "limits", [this](std::string_view key, const toml::node& value) {
      auto& limits = result_.limits;
      if (key == "blocked_calls_per_peer") read_count(value, key, 1, 1'000'000, limits.blocked_calls_per_peer);
      if (key == "connections_per_peer") read_count(value, key, 2, 10'000, limits.connections_per_peer);
      if (key == "calls_per_login") read_count(value, key, 1, 1'000'000, limits.calls_per_login);
      if (key == "connections_per_login") read_count(value, key, 1, 1'000'000, limits.connections_per_login);
      // Twice the largest message.
      if (key == "bytes_per_peer") read_size(value, key, "32MiB", "1TiB", limits.bytes_per_peer);
      if (key == "bytes_per_login") read_size(value, key, "32MiB", "1TiB", limits.bytes_per_login);
      if (key == "dead_letters") read_count(value, key, 0, 1'000'000, limits.dead_letters);
      // A session must be able to hold the largest message, whatever kernel.msgmax an owner has.
      if (key == "session_buffer") read_size(value, key, "1MiB", "2GiB", limits.session_buffer_bytes);
      if (key == "segments_per_login") read_count(value, key, 1, 1'000'000, limits.segments_per_login);
      if (key == "segments_per_peer") read_count(value, key, 1, 1'000'000, limits.segments_per_peer);
      if (key == "attachments_per_login") read_count(value, key, 1, 1'000'000, limits.attachments_per_login);
      if (key == "segment_size") read_size(value, key, "4KiB", "1TiB", limits.segment_bytes);
    });
  }

  void read_memory(const toml::node& node) {
    const auto* table = node.as_table();
    if (table == nullptr)
      return wrong_type(node, "memory", "write a table: [memory], then lines as pager = \"sigsegv\"");
    read_table(*table, "memory", [this](std::string_view key, const toml::node& value) {
      constexpr std::string_view kRemedy =
          "write \"userfaultfd\" or \"sigsegv\", or take it out: the best that there is";
      const auto name = text(value, key, kRemedy);
      if (!name) return;
      if (*name == "userfaultfd") {
        result_.memory.pager = PagerChosen::kUserfaultfd;
      } else if (*name == "sigsegv") {
        result_.memory.pager = PagerChosen::kSigsegv;
      } else {
        wrong(line_of(value), std::string(key) + " " + in_quotes(*name) + " does not exist", kRemedy);
      }
    });
  }

  void read_ftok(const toml::node& node) {
    const auto* table = node.as_table();
    if (table == nullptr) return wrong_type(node, "ftok", "write a table: [ftok], then paths = [\"/srv/app\"]");
    read_table(*table, "ftok", [this](std::string_view key, const toml::node& value) {
      const auto* list = value.as_array();
      if (list == nullptr) return wrong_type(value, key, "write a list: paths = [\"/srv/app\"]");
      for (const toml::node& element : *list) read_ftok_path(element);
    });
  }

  void read_ftok_path(const toml::node& node) {
    constexpr std::string_view kRemedy = "write paths in quotes, as realpath prints them";
    const auto path = text(node, "an entry of paths", kRemedy);
    if (!path) return;
    auto& listed = result_.ftok_paths;
    if (const std::string objection = path_objection(*path); !objection.empty()) {
      return wrong(line_of(node), "paths: " + in_quotes(*path) + " " + objection, kRemedy);
    }
    if (std::find(listed.begin(), listed.end(), *path) != listed.end()) {
      return wrong(line_of(node), "paths names " + in_quotes(*path) + " twice", "take one of them out");
    }
    listed.push_back(*path);
    if (const auto twin = ftok_twin(listed)) {
      wrong(line_of(node), "paths: " + in_quotes(*path) + " gets the keys of " + in_quotes(listed[twin->of]),
            "rename one of the two on all hosts: 24 bits of a key are the path's, and these two's are the same");
      listed.pop_back();
    }
  }

  void read_keys(const toml::node& node) {
    constexpr std::string_view kRemedy =
        "write [[keys]] in two pairs of brackets, then lines as range = \"0x1000-0x1fff\"";
    const auto* list = node.as_array();
    if (list == nullptr) return wrong_type(node, "keys", kRemedy);
    for (const toml::node& element : *list) {
      if (const auto* table = element.as_table()) {
        read_key_rule(*table);
      } else {
        wrong_type(element, "an entry of keys", kRemedy);
      }
    }
  }

  void read_key_rule(const toml::table& table) {
    KeyRule rule;
    rule.line = line_of(table);
    rule.kinds = {Kind::kMessageQueue, Kind::kSemaphoreSet, Kind::kSegment};
    read_table(table, "keys", [&](std::string_view key, const toml::node& value) {
      if (key == "range") read_ranges(value, rule.ranges);
      if (key == "kind") read_kinds(value, rule.kinds);
      if (key == "home") read_host(value, key, rule.home);
      if (key == "refuse") read_refuse(value, rule.refuse);
      if (key == "unit") read_unit(value, rule.unit);
      if (key == "page_size") read_page_size(value, rule.page_bytes);
      if (key == "hold_time") {
        Duration hold_time{};
        read_duration(value, key, Duration::zero(), std::chrono::seconds(10), hold_time);
        rule.hold_time = hold_time;
      }
    });
    if (!table.contains("range")) wrong(rule.line, "[[keys]] has no range", kRangeForm);
    const bool segments = std::find(rule.kinds.begin(), rule.kinds.end(), Kind::kSegment) != rule.kinds.end();
    for (const std::string_view key : {"unit", "page_size", "hold_time"}) {
      if (const toml::node* value = table.get(key); value != nullptr && !segments) {
        wrong(line_of(*value), std::string(key) + " is for segments, and kind does not name \"shm\"",
              "take " + std::string(key) + " out, or add \"shm\" to kind");
      } else if (value != nullptr && rule.refuse) {
        wrong(line_of(*value),
              std::string(key) + " is for segments that are shared, and refuse keeps these keys from being so",
              "take out " + std::string(key) + " or refuse");
      }
    }
    if (const toml::node* size = table.get("page_size"); size != nullptr && rule.unit == CoherenceUnit::kSegment) {
      wrong(line_of(*size), "page_size is for segments that are shared by pages, and unit has these as a whole",
            "take out page_size or unit");
    }
    if (const toml::node* home = table.get("home"); home != nullptr && rule.refuse) {
      wrong(line_of(*home), "home is for keys that are distributed, and refuse keeps these from being so",
            "take out home or refuse");
    }
    result_.keys.push_back(std::move(rule));
  }

  void read_ranges(const toml::node& node, std::vector<KeyRange>& into) {
    if (const auto* list = node.as_array()) {
      if (list->empty()) wrong(line_of(node), "range is an empty list", kRangeForm);
      for (const toml::node& element : *list) read_range(element, into);
    } else {
      read_range(node, into);
    }
  }

  void read_range(const toml::node& node, std::vector<KeyRange>& into) {
    const std::size_t line = line_of(node);
    std::string written;
    if (const auto* number = node.as_integer()) {
      written = std::to_string(number->get());
    } else if (const auto* string = node.as_string()) {
      written = string->get();
    } else {
      return wrong_type(node, "range", kRangeForm);
    }
    if (written == "all") return into.push_back({KeyRange::What::kAll, 0, 0});
    if (written == "private") return into.push_back({KeyRange::What::kPrivate, 0, 0});
    const std::size_t dash = written.find('-', 1);
    const auto first = parse_key(trimmed(std::string_view(written).substr(0, dash)));
    const auto last =
        dash == std::string::npos ? first : parse_key(trimmed(std::string_view(written).substr(dash + 1)));
    if (!first || !last) {
      const bool negative = !written.empty() && written.front() == '-';
      return wrong(line, "range " + in_quotes(written) + " is not a key or a range of keys",
                   negative ? "write a negative key as its 32 bits: -1 is \"0xffffffff\"" : kRangeForm);
    }
    const KeyRange range{KeyRange::What::kKeys, static_cast<std::uint32_t>(*first), static_cast<std::uint32_t>(*last)};
    if (range.first > range.last) {
      return wrong(line, "range " + in_quotes(written) + " ends before it begins", "write the smaller key first");
    }
    if (range.first == 0) {
      return wrong(line, "range " + in_quotes(written) + " holds key 0, which is IPC_PRIVATE and names no object",
                   "begin at 1; \"private\" stands for objects made with IPC_PRIVATE");
    }
    into.push_back(range);
  }

  static std::string_view trimmed(std::string_view text) {
    while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
    while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
    return text;
  }

  void read_kinds(const toml::node& node, std::vector<Kind>& into) {
    constexpr std::string_view kRemedy = "write a list of \"msg\", \"sem\", \"shm\"";
    std::set<Kind> kinds;
    bool good = true;
    const auto take = [&](const toml::node& element) {
      const auto value = text(element, "kind", kRemedy);
      const auto kind = value ? kind_from_name(*value) : std::nullopt;
      if (value && !kind) wrong(line_of(element), "kind " + in_quotes(*value) + " does not exist", kRemedy);
      if (kind) kinds.insert(*kind);
      good = good && kind;
    };
    if (const auto* list = node.as_array()) {
      if (list->empty()) {
        wrong(line_of(node), "kind is an empty list", kRemedy);
        good = false;
      }
      for (const toml::node& element : *list) take(element);
    } else {
      take(node);
    }
    if (good) into.assign(kinds.begin(), kinds.end());
  }

  void read_refuse(const toml::node& node, bool& into) {
    if (const auto* value = node.as_boolean()) {
      into = value->get();
    } else {
      wrong_type(node, "refuse", "write true or false, without quotes");
    }
  }

  void read_unit(const toml::node& node, CoherenceUnit& into) {
    constexpr std::string_view kRemedy = "write \"page\" or \"segment\"";
    const auto value = text(node, "unit", kRemedy);
    if (!value) return;
    if (*value == "page") {
      into = CoherenceUnit::kPage;
    } else if (*value == "segment") {
      into = CoherenceUnit::kSegment;
    } else {
      wrong(line_of(node), "unit " + in_quotes(*value) + " does not exist", kRemedy);
    }
  }

  void read_page_size(const toml::node& node, std::uint64_t& into) {
    std::uint64_t bytes = 0;
    read_size(node, "page_size", "4KiB", "16MiB", bytes);
    if (bytes == 0) return;
    if (std::has_single_bit(bytes)) {
      into = bytes;
    } else {
      wrong(line_of(node), "page_size is no power of two",
            "take the next one: \"4KiB\", \"8KiB\", \"16KiB\" and so on");
    }
  }

  void read_paths(const toml::node& node) {
    const auto* table = node.as_table();
    if (table == nullptr) return wrong_type(node, "paths", "write a table: [paths], then lines as run = \"/run/dipc\"");
    read_table(*table, "paths", [this](std::string_view key, const toml::node& value) {
      constexpr std::string_view kRemedy = "write a path that begins with /, in quotes";
      const auto path = text(value, key, kRemedy);
      if (!path) return;
      if (!path->starts_with('/') || path->find('\0') != std::string::npos) {
        return wrong(line_of(value), std::string(key) + " " + in_quotes(*path) + " is not an absolute path", kRemedy);
      }
      (key == "run" ? result_.paths.run : result_.paths.state) = *path;
    });
  }

  // What can only be judged when all of the file has been read.
  void check_whole(const toml::table& document) {
    const auto missing = [&](std::string_view key, std::string_view remedy) {
      if (!document.contains(key)) wrong(1, std::string(key) + " is not set", remedy);
    };
    missing("cluster", "add a line as cluster = \"lab\" at the top: it is the same on every host of the cluster");
    missing(
        "referee",
        "add a line as referee = \"vax\" at the top: the host that keeps the cluster's names, the same on every host");
    if (!document.contains("host") && !is_host_name(result_.host)) {
      wrong(1, "host is not set, and this machine's name " + in_quotes(result_.host) + " can't serve",
            "add a line as host = \"sun\" at the top");
    }
    result_.peers.erase(result_.host);  // one [peers] may be shared by all hosts
    const toml::node* referee = document.get("referee");
    if (referee != nullptr && !result_.referee.empty() && result_.referee != result_.host &&
        !result_.peers.contains(result_.referee) && !document.contains("listen")) {
      wrong(line_of(*referee),
            "the referee " + result_.referee + " is not in [peers], and there is no listen: the two can't meet",
            "add " + result_.referee + " = \"ADDRESS:PORT\" to [peers], or a listen line");
    }
  }

  Configuration result_;
};

}  // namespace

bool KeyRange::contains(std::int32_t key) const {
  switch (what) {
    case What::kKeys:
      return static_cast<std::uint32_t>(key) >= first && static_cast<std::uint32_t>(key) <= last;
    case What::kAll:
      return key != 0;
    case What::kPrivate:
      return key == 0;
  }
  return false;
}

std::string KeyRange::to_string() const {
  if (what == What::kAll) return "all";
  if (what == What::kPrivate) return "private";
  const std::string begin = format_key(static_cast<std::int32_t>(first));
  return first == last ? begin : begin + "-" + format_key(static_cast<std::int32_t>(last));
}

bool KeyRule::speaks_of(Kind kind, std::int32_t key) const {
  return std::find(kinds.begin(), kinds.end(), kind) != kinds.end() &&
         std::any_of(ranges.begin(), ranges.end(), [&](const KeyRange& range) { return range.contains(key); });
}

Configuration::Paths default_paths(std::uint32_t effective_uid, const char* xdg_runtime_dir, const char* home) {
  if (effective_uid == 0) return {"/run/dipc", "/var/lib/dipc"};
  const std::string fallback = "/tmp/dipc-" + std::to_string(effective_uid);
  const auto is_set = [](const char* variable) { return variable != nullptr && *variable == '/'; };
  return {is_set(xdg_runtime_dir) ? std::string(xdg_runtime_dir) + "/dipc" : fallback,
          is_set(home) ? std::string(home) + "/.local/state/dipc" : fallback + "/state"};
}

std::vector<std::string> warnings_of(const Configuration& configuration) {
  std::vector<std::string> warnings;
  for (const KeyRule& rule : configuration.keys) {
    if (rule.home.empty() || rule.home == configuration.host || configuration.peers.contains(rule.home)) continue;
    warnings.push_back(configuration.file + ":" + std::to_string(rule.line) + ": the home " + rule.home +
                       " is neither this host nor in [peers]: gets of such keys fail unless it dials this host");
  }
  return warnings;
}

Parsed<Configuration> parse_configuration(std::string_view text, std::string_view file,
                                          const ConfigurationDefaults& defaults) {
  auto parsed = parse_toml(text, file);
  if (!parsed) return tl::unexpected(std::move(parsed.error()));
  return Reader(file, defaults).read(*parsed);
}

bool is_host_name(std::string_view name) {
  constexpr std::size_t kLengthMax = 64;  // HOST_NAME_MAX of Linux, and of a certificate's common name
  const auto is_edge = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'; };
  return !name.empty() && name.size() <= kLengthMax && is_edge(name.front()) && is_edge(name.back()) &&
         std::all_of(name.begin(), name.end(), [&](char c) { return is_edge(c) || c == '-' || c == '.'; });
}

std::string KeyRule::to_string() const {
  std::string text;
  for (const KeyRange& range : ranges) text.append(text.empty() ? "" : ", ").append(range.to_string());
  std::string of;
  for (const Kind kind : kinds) of.append(of.empty() ? " of " : ", ").append(kind_name(kind));
  text += of;
  if (!home.empty()) text += " at " + home;
  if (refuse) text += " refused";
  if (unit == CoherenceUnit::kSegment) text += " as whole segments";
  if (page_bytes != 0) text += " in pages of " + std::to_string(page_bytes >> 10) + " KiB";
  if (hold_time) {
    text +=
        " held " + std::to_string(std::chrono::duration_cast<std::chrono::microseconds>(*hold_time).count()) + " us";
  }
  return text;
}

}  // namespace dipc
