#pragma once

// The settings of one dipc.toml, whatever they are: each read_*() takes a value of one kind, reports what is wrong with
// it and with what remedy, and then leaves what was there. In a header because all that includes toml++ is one source
// file (toml_text.h).

#include <algorithm>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "daemon/core/configuration.h"
#include "daemon/core/number_text.h"
#include "daemon/core/text_lines.h"
#include "daemon/core/toml_text.h"
#include "wire/nearest.h"

namespace dipc {

inline std::string type_name(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::string:
      return "a string";
    case toml::node_type::integer:
    case toml::node_type::floating_point:
      return "a number";
    case toml::node_type::boolean:
      return "true or false";
    case toml::node_type::array:
      return "a list";
    case toml::node_type::table:
      return "a table";
    default:
      return "a date or time";
  }
}

inline std::size_t line_of(const toml::node& node) { return node.source().begin.line; }

class SettingReader {
 public:
  // Every key there is, by the table it stands in: for what is missing, misspelt or in the wrong place.
  struct Section {
    std::string_view name;  // empty: above the first table
    std::vector<std::string_view> keys;
  };

  SettingReader(std::string_view file, std::span<const Section> sections) : file_(file), sections_(sections) {}

  // In the order of the file's lines. Empty: nothing was wrong.
  Troubles take_troubles() {
    // toml++ keeps tables by name; people read files by line.
    std::stable_sort(troubles_.begin(), troubles_.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    Troubles sorted;
    for (auto& [line, found] : troubles_) sorted.push_back(std::move(found));
    return sorted;
  }

  void wrong(std::size_t line, const std::string& what, std::string_view remedy) {
    troubles_.emplace_back(line, trouble_at(file_, line, what, std::string(remedy)));
  }

  void wrong_type(const toml::node& node, std::string_view key, std::string_view remedy) {
    wrong(line_of(node), std::string(key) + " is " + type_name(node), remedy);
  }

  // Calls `take` for the keys that the section has; reports the others.
  void read_table(const toml::table& table, std::string_view section,
                  const std::function<void(std::string_view, const toml::node&)>& take) {
    const auto& here = *std::find_if(sections_.begin(), sections_.end(),
                                     [&](const Section& candidate) { return candidate.name == section; });
    for (const auto& [key, node] : table) {
      if (std::find(here.keys.begin(), here.keys.end(), key.str()) != here.keys.end()) {
        take(key.str(), node);
      } else {
        unknown_key(key, here);
      }
    }
  }

  void unknown_key(const toml::key& key, const Section& here) {
    const std::string where = here.name.empty() ? "above the first table" : "in " + heading(here.name);
    const std::string what = in_quotes(key.str()) + " is no setting " + where;
    std::string remedy;
    for (const Section& other : sections_) {
      if (std::find(other.keys.begin(), other.keys.end(), key.str()) == other.keys.end()) continue;
      remedy = std::string(key.str()) + " belongs " +
               (other.name.empty() ? "above the first table" : "into " + heading(other.name));
    }
    if (remedy.empty()) {
      const std::string meant = nearest(key.str(), here.keys);
      if (!meant.empty()) {
        remedy = "did you mean " + meant + "?";
      } else {
        for (const std::string_view known : here.keys)
          remedy.append(remedy.empty() ? "known are: " : ", ").append(known);
      }
    }
    wrong(key.source().begin.line, what, remedy);
  }

  std::optional<std::string> text(const toml::node& node, std::string_view key, std::string_view remedy) {
    if (const auto* value = node.as_string()) return value->get();
    wrong_type(node, key, remedy);
    return std::nullopt;
  }

  void read_word(const toml::node& node, std::string_view key, std::string& into) {
    constexpr std::string_view kRemedy = "write a name in quotes: letters, digits, '-', '_', '.', at most 64";
    const auto value = text(node, key, kRemedy);
    if (!value) return;
    if (is_host_name(to_lower(*value))) {
      into = *value;
    } else {
      wrong(line_of(node), std::string(key) + " " + in_quotes(*value) + " is not a name", kRemedy);
    }
  }

  void read_host(const toml::node& node, std::string_view key, std::string& into) {
    constexpr std::string_view kRemedy = "write a host name in quotes: letters, digits, '-', '_', '.', at most 64";
    const auto value = text(node, key, kRemedy);
    if (!value) return;
    const std::string name = to_lower(*value);
    if (is_host_name(name)) {
      into = name;
    } else {
      wrong(line_of(node), std::string(key) + " " + in_quotes(*value) + " is not a host name", kRemedy);
    }
  }

  std::optional<Endpoint> endpoint(const toml::node& node, std::string_view key) {
    const auto value = text(node, key, kEndpointForm);
    if (!value) return std::nullopt;
    auto parsed = Endpoint::parse(*value);
    if (parsed) return *parsed;
    wrong(line_of(node), std::string(key) + ": " + parsed.error().what, parsed.error().remedy);
    return std::nullopt;
  }

  void read_duration(const toml::node& node, std::string_view key, Duration min, Duration max, Duration& into) {
    constexpr std::string_view kRemedy =
        "write a number and its unit in quotes: \"500ms\", \"1.5s\", \"2m\" (us, ms, s, m, h)";
    const auto value = text(node, key, kRemedy);
    if (!value) return;
    const auto duration = parse_duration(*value);
    if (!duration) {
      wrong(line_of(node), std::string(key) + " " + in_quotes(*value) + " is not a duration", kRemedy);
    } else if (*duration < min || *duration > max) {
      wrong(line_of(node), std::string(key) + " " + in_quotes(*value) + " is out of bounds",
            "take a value between " + show(min) + " and " + show(max));
    } else {
      into = *duration;
    }
  }

  static std::string show(Duration duration) {
    const auto us = std::chrono::duration_cast<std::chrono::microseconds>(duration).count();
    if (us != 0 && us % 3'600'000'000 == 0) return std::to_string(us / 3'600'000'000) + "h";
    if (us % 1'000'000 == 0) return std::to_string(us / 1'000'000) + "s";
    if (us % 1'000 == 0) return std::to_string(us / 1'000) + "ms";
    return std::to_string(us) + "us";
  }

  void read_count(const toml::node& node, std::string_view key, std::int64_t min, std::int64_t max,
                  std::uint32_t& into) {
    const std::string remedy =
        "write a number from " + std::to_string(min) + " to " + std::to_string(max) + ", without quotes";
    const auto* value = node.as_integer();
    if (value == nullptr) return wrong_type(node, key, remedy);
    if (value->get() < min || value->get() > max) {
      return wrong(line_of(node), std::string(key) + " " + std::to_string(value->get()) + " is out of bounds", remedy);
    }
    into = static_cast<std::uint32_t>(value->get());
  }

  void read_size(const toml::node& node, std::string_view key, std::string_view min, std::string_view max,
                 std::uint64_t& into) {
    constexpr std::string_view kRemedy = "write a number and its unit in quotes: \"64MiB\" (B, KiB, MiB, GiB, TiB)";
    const auto value = text(node, key, kRemedy);
    if (!value) return;
    const auto bytes = parse_size(*value);
    if (!bytes) {
      wrong(line_of(node), std::string(key) + " " + in_quotes(*value) + " is not a size", kRemedy);
    } else if (*bytes < *parse_size(min) || *bytes > *parse_size(max)) {
      wrong(line_of(node), std::string(key) + " " + in_quotes(*value) + " is out of bounds",
            "take a value between " + std::string(min) + " and " + std::string(max));
    } else {
      into = *bytes;
    }
  }

 private:
  static constexpr std::string_view kEndpointForm = "write an address and a port in quotes: \"10.0.0.2:7310\"";

  static std::string heading(std::string_view section) {
    if (section == "keys") return "[[keys]]";
    return "[" + std::string(section) + "]";
  }

  std::string file_;
  std::span<const Section> sections_;
  std::vector<std::pair<std::size_t, Trouble>> troubles_;
};

}  // namespace dipc
