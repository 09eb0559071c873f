#include "cli/lab_file.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <optional>
#include <set>
#include <sstream>

#include "cli/machines.h"
#include "daemon/core/configuration.h"
#include "daemon/core/text_lines.h"
#include "daemon/core/toml_text.h"

namespace dipc {
namespace {

constexpr std::size_t kNameCharactersMax = 64;  // sethostname(2)
constexpr std::size_t kHostsMax = 200;          // of 254 addresses
constexpr std::string_view kNetwork = "10.77.0.";

// Thrown and caught in this file only: the first mistake ends the reading.
struct Mistake {
  Trouble trouble;
};

bool is_name(const std::string& name) {
  const auto fits = [](unsigned char c) {
    return std::islower(c) || std::isdigit(c) || c == '-' || c == '_' || c == '.';
  };
  return !name.empty() && name.size() <= kNameCharactersMax && std::isalnum(static_cast<unsigned char>(name[0])) &&
         std::all_of(name.begin(), name.end(), fits);
}

bool is_login(const std::string& name) {
  const auto fits = [](unsigned char c) { return std::isalnum(c) || c == '-' || c == '_' || c == '.'; };
  return !name.empty() && name.size() <= 32 && name[0] != '-' && std::all_of(name.begin(), name.end(), fits);
}

class Parser {
 public:
  explicit Parser(std::string file) : file_(std::move(file)) {}

  LabFile parse(const toml::table& root) {
    only(root, {"cluster", "referee", "host", "map", "types", "keys", "timing", "limits", "memory", "ftok"},
         "a lab file");
    LabFile lab;
    lab.cluster = text(root, "cluster", std::nullopt);
    if (!is_name(lab.cluster)) fail(root.get("cluster"), "\"" + lab.cluster + "\" is no cluster name", kNameRemedy);
    const auto* hosts = root.get_as<toml::array>("host");
    if (hosts == nullptr || hosts->empty()) {
      fail(root.get("host") != nullptr ? root.get("host") : &root, "there is no host", "add a [[host]] with a name");
    }
    if (hosts->size() > kHostsMax) fail(hosts, "more than " + std::to_string(kHostsMax) + " hosts", "");
    for (const toml::node& node : *hosts) {
      const auto* table = node.as_table();
      if (table == nullptr) fail(&node, "host is a list of tables", "write [[host]]");
      lab.hosts.push_back(host(*table, root));
      for (std::size_t i = 0; i + 1 < lab.hosts.size(); ++i) {
        if (lab.hosts[i].name == lab.hosts.back().name) {
          fail(table->get("name"), "two hosts are called " + lab.hosts[i].name, "give each a name of its own");
        }
      }
    }
    give_addresses(*hosts, lab);
    lab.referee = text(root, "referee", lab.hosts.front().name);
    if (lab.host(lab.referee) == nullptr) {
      fail(root.get("referee"), "the referee " + lab.referee + " is not a host of this file",
           "its hosts are " + lab.host_list());
    }
    check_homes(root, lab);
    for (LabHost& one : lab.hosts) {
      if (!one.allow.empty()) continue;
      for (const LabHost& other : lab.hosts) one.allow.push_back(other.name + " " + other.address);
    }
    return lab;
  }

 private:
  static constexpr const char* kNameRemedy =
      "write 1 to 64 lower-case letters, digits, '-', '_' or '.', the first a letter or digit";

  std::string place(const toml::node* node) const {
    const auto line = node != nullptr ? node->source().begin.line : 1;
    return file_ + ":" + std::to_string(line);
  }

  [[noreturn]] void fail(const toml::node* where, const std::string& what, const std::string& remedy) const {
    throw Mistake{{place(where) + ": " + what, remedy}};
  }

  void only(const toml::table& table, const std::vector<std::string>& known, const std::string& where) const {
    for (const auto& [key, node] : table) {
      const std::string name(key.str());
      if (std::find(known.begin(), known.end(), name) != known.end()) continue;
      std::string list;
      for (const std::string& one : known) list += (list.empty() ? "" : ", ") + one;
      fail(&node, "\"" + name + "\" means nothing in " + where, "known are: " + list);
    }
  }

  std::string text(const toml::table& table, const std::string& key,
                   const std::optional<std::string>& otherwise) const {
    const toml::node* node = table.get(key);
    if (node == nullptr) {
      if (otherwise) return *otherwise;
      fail(&table, key + " is missing", "write " + key + " = \"...\"");
    }
    const auto value = node->value_exact<std::string>();
    if (!value) fail(node, key + " is a text", "write it in quotes");
    return *value;
  }

  std::vector<std::string> lines(const toml::node* node, const std::string& key) const {
    std::vector<std::string> result;
    const auto* array = node->as_array();
    if (array == nullptr) fail(node, key + " is a list of lines", "write " + key + " = [\"...\"]");
    for (const toml::node& one : *array) {
      const auto line = one.value_exact<std::string>();
      if (!line || line->find('\n') != std::string::npos) fail(&one, key + " is a list of single lines in quotes", "");
      result.push_back(*line);
    }
    return result;
  }

  std::uint32_t id(const toml::node& node, const std::string& what) const {
    if (node.is_string()) fail(&node, what + " needs a number", "write it without quotes");
    const auto value = node.value_exact<std::int64_t>();
    if (!value || *value < 1 || *value > 4294967294 || *value == 65534) {
      fail(&node, what + " needs a number from 1 to 4294967294 (not 65534, which is nobody)", "");
    }
    return static_cast<std::uint32_t>(*value);
  }

  // toml++ keeps tables sorted by key; the file's order decides who is the default login.
  template <typename Each>
  void in_file_order(const toml::table& table, Each each) const {
    std::vector<std::pair<std::string, const toml::node*>> entries;
    for (const auto& [key, node] : table) entries.emplace_back(std::string(key.str()), &node);
    std::stable_sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) {
      const auto& first = a.second->source().begin;
      const auto& second = b.second->source().begin;
      return std::pair(first.line, first.column) < std::pair(second.line, second.column);
    });
    for (const auto& [name, node] : entries) each(name, *node);
  }

  LabHost host(const toml::table& table, const toml::table& root) const {
    only(table,
         {"name", "arch", "logins", "groups", "daemon", "address", "msgmax", "msgmnb", "msgmni", "allow", "map",
          "types", "timing", "limits", "memory", "ftok"},
         "a host");
    LabHost made;
    made.name = text(table, "name", std::nullopt);
    if (!is_name(made.name)) fail(table.get("name"), "\"" + made.name + "\" is no host name", kNameRemedy);
    const std::string arch = text(table, "arch", "native");
    if (arch != "native") {
      if (machine_named(arch) == nullptr) {
        fail(table.get("arch"), "\"" + arch + "\" is no machine that is known here",
             "write native or a name of qemu's: " + machine_names());
      }
      made.machine = arch;
    }
    made.where = place(table.get("arch") != nullptr ? table.get("arch") : table.get("name"));
    made.address = text(table, "address", "");
    if (const toml::node* node = table.get("daemon"); node != nullptr) {
      const auto value = node->value_exact<bool>();
      if (!value) fail(node, "daemon is true or false", "");
      made.has_daemon = *value;
    }
    for (const char* name : {"msgmax", "msgmnb", "msgmni"}) {
      const toml::node* node = table.get(name);
      if (node == nullptr) continue;
      const auto value = node->value_exact<std::int64_t>();
      if (!value || *value < 0 || *value > INT32_MAX) fail(node, std::string(name) + " is a number, 0 or more", "");
      made.kernel_limits[name] = *value;
    }
    logins(table, made);
    groups(table, made);
    if (const toml::node* node = table.get("allow"); node != nullptr) made.allow = lines(node, "allow");
    if (const toml::node* node = table.get("map"); node != nullptr) {
      made.login_map = lines(node, "map");
    } else if (const toml::node* shared = root.get("map"); shared != nullptr) {
      made.login_map = lines(shared, "map");
    }
    if (const toml::node* node = table.get("types"); node != nullptr) {
      made.types = lines(node, "types");
    } else if (const toml::node* shared = root.get("types"); shared != nullptr) {
      made.types = lines(shared, "types");
    }
    made.configuration = configuration(table, root);
    return made;
  }

  void logins(const toml::table& table, LabHost& made) const {
    const toml::node* node = table.get("logins");
    if (node == nullptr) return;
    if (!node->is_table()) fail(node, "logins is a table", "write logins = { alice = 1001 }");
    in_file_order(*node->as_table(), [&](const std::string& name, const toml::node& value) {
      if (!is_login(name)) fail(&value, "\"" + name + "\" is no login name", "use letters, digits, '-', '_' and '.'");
      if (name == "root" || name == "nobody") fail(&value, name + " is on every host already", "leave it out");
      const LabLogin login{name, id(value, name)};
      for (const LabLogin& other : made.logins) {
        if (other.id == login.id) fail(&value, name + " and " + other.name + " have one uid", "give each its own");
      }
      made.logins.push_back(login);
    });
  }

  void groups(const toml::table& table, LabHost& made) const {
    const toml::node* node = table.get("groups");
    if (node == nullptr) return;
    constexpr const char* kRemedy = "write groups = { staff = { gid = 2000, members = [\"alice\"] } }";
    if (!node->is_table()) fail(node, "groups is a table", kRemedy);
    in_file_order(*node->as_table(), [&](const std::string& name, const toml::node& value) {
      const auto* entry = value.as_table();
      if (!is_login(name) || entry == nullptr) fail(&value, "\"" + name + "\" is no group", kRemedy);
      only(*entry, {"gid", "members"}, "a group");
      LabGroup group{name, 0, {}};
      if (entry->get("gid") == nullptr) fail(entry, name + " has no gid", kRemedy);
      group.id = id(*entry->get("gid"), name);
      if (const toml::node* members = entry->get("members"); members != nullptr) {
        group.members = lines(members, "members");
        for (const std::string& member : group.members) {
          if (made.login(member) == nullptr) fail(members, member + " is no login of " + made.name, "");
        }
      }
      made.groups.push_back(std::move(group));
    });
  }

  // A table's settings with what this file says of each: copies of toml++'s nodes forget their lines.
  using Settings = std::map<std::string, const toml::node*>;

  static void add_settings(const toml::node& table, Settings& settings) {
    for (const auto& [key, value] : *table.as_table()) settings[std::string(key.str())] = &value;
  }

  // The part of dipc.toml that is handed on as it is.
  std::string configuration(const toml::table& host_table, const toml::table& root) const {
    std::ostringstream text;
    std::size_t line = 1;
    std::map<std::size_t, const toml::node*> sources;  // by the first line that a node has in `text`
    const auto write = [&](const std::string& what, const toml::node* source) {
      sources[line] = source;
      text << what << '\n';
      line += 1 + static_cast<std::size_t>(std::count(what.begin(), what.end(), '\n'));
    };
    const auto write_table = [&](const std::string& heading, const toml::node* source, const Settings& settings) {
      write(heading, source);
      for (const auto& [key, value] : settings) {
        toml::table setting;
        setting.insert_or_assign(key, *value);
        std::ostringstream entry;
        entry << toml::toml_formatter(setting);
        write(entry.str(), value);
      }
    };
    for (const char* name : {"timing", "limits", "memory", "ftok"}) {
      Settings merged;
      const toml::node* source = nullptr;
      for (const toml::table* from : {&root, &host_table}) {
        const toml::node* node = from->get(name);
        if (node == nullptr) continue;
        if (!node->is_table()) fail(node, std::string(name) + " is a table", "");
        add_settings(*node, merged);
        source = node;
      }
      if (!merged.empty()) write_table("[" + std::string(name) + "]", source, merged);
    }
    if (const toml::node* keys = root.get("keys"); keys != nullptr) {
      if (!keys->is_array_of_tables()) fail(keys, "keys is a list of tables", "write [[keys]]");
      for (const toml::node& rule : *keys->as_array()) {
        Settings settings;
        add_settings(rule, settings);
        write_table("[[keys]]", &rule, settings);
      }
    }
    judge(text.str(), sources);
    return text.str();
  }

  // As dipcd will, but told with the lines of this file.
  void judge(const std::string& text, const std::map<std::size_t, const toml::node*>& sources) const {
    constexpr std::size_t kLinesBefore = 3;
    const auto judged = parse_configuration("cluster = \"x\"\nreferee = \"x\"\nhost = \"x\"\n" + text, "", {});
    if (judged) return;
    const Trouble& first = judged.error().front();  // ":LINE: WHAT"
    const std::size_t line = std::stoul(first.what.substr(1));
    const auto after = sources.upper_bound(line > kLinesBefore ? line - kLinesBefore : 1);
    fail(std::prev(after)->second, first.what.substr(first.what.find(": ", 1) + 2), first.remedy);
  }

  void check_homes(const toml::table& root, const LabFile& lab) const {
    const auto* keys = root.get_as<toml::array>("keys");
    if (keys == nullptr) return;
    for (const toml::node& rule : *keys) {
      const toml::node* node = rule.as_table()->get("home");
      if (node == nullptr) continue;
      const std::string home = to_lower(node->value_or(std::string()));
      if (lab.host(home) == nullptr) {
        fail(node, "the home " + home + " is not a host of this file", "its hosts are " + lab.host_list());
      }
    }
  }

  void give_addresses(const toml::array& tables, LabFile& lab) const {
    std::set<std::string> taken;
    for (std::size_t i = 0; i < lab.hosts.size(); ++i) {
      const std::string& address = lab.hosts[i].address;
      if (address.empty()) continue;
      in_addr parsed{};
      if (!address.starts_with(kNetwork) || inet_pton(AF_INET, address.c_str(), &parsed) != 1 ||
          address == "10.77.0.0" || address == "10.77.0.255") {
        fail(tables[i].as_table()->get("address"), "\"" + address + "\" is no address of a lab",
             "write one from 10.77.0.1 to 10.77.0.254");
      }
      if (!taken.insert(address).second) {
        fail(tables[i].as_table()->get("address"), "two hosts have the address " + address, "");
      }
    }
    int next = 1;
    for (LabHost& host : lab.hosts) {
      while (host.address.empty()) {
        std::string candidate = std::string(kNetwork) + std::to_string(next++);
        if (taken.insert(candidate).second) host.address = candidate;
      }
    }
  }

  std::string file_;
};

}  // namespace

const LabLogin* LabHost::login(const std::string& login_name) const {
  const auto found =
      std::find_if(logins.begin(), logins.end(), [&](const LabLogin& one) { return one.name == login_name; });
  return found == logins.end() ? nullptr : &*found;
}

const LabHost* LabFile::host(const std::string& name) const {
  const auto found = std::find_if(hosts.begin(), hosts.end(), [&](const LabHost& one) { return one.name == name; });
  return found == hosts.end() ? nullptr : &*found;
}

std::string LabFile::host_list() const {
  std::string list;
  for (const LabHost& one : hosts) list += (list.empty() ? "" : ", ") + one.name;
  return list;
}

Result<LabFile> parse_lab_file(const std::string& text, const std::string& name) {
  const auto document = parse_toml(text, name);
  if (!document) return tl::unexpected<Trouble>(document.error().front());
  try {
    return Parser(name).parse(*document);
  } catch (const Mistake& mistake) {
    return tl::unexpected<Trouble>(mistake.trouble);
  }
}

Result<LabFile> read_lab_file(const std::string& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) {
    return trouble(path + " is a folder", "give the path of a lab file");
  }
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();  // fails for an empty file, which is the parser's to judge
  if (!file) {
    return trouble(path + ": can't be read: " + std::strerror(errno), "give the path of a lab file");
  }
  return parse_lab_file(text.str(), path);
}

}  // namespace dipc
