#include "daemon/core/registry_file.h"

#include <cstddef>
#include <cstdio>
#include <optional>
#include <utility>
#include <vector>

#include "daemon/core/id_passage.h"
#include "daemon/core/number_text.h"
#include "daemon/core/object_name.h"

namespace dipc {
namespace {

constexpr std::string_view kMark = "dipc-registry";
constexpr std::string_view kLearning = "learning";
constexpr unsigned kVersion = 1;

// Fowler, Noll, Vo: against cut and damaged files, not against people.
std::uint64_t fnv1a(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : text) {
    hash ^= static_cast<unsigned char>(c);
    hash *= 0x100000001b3u;
  }
  return hash;
}

std::string hex16(std::uint64_t number) {
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(number));
  return text;
}

// An empty word is "%", so that each line has its five words.
std::string escape(std::string_view text) {
  if (text.empty()) return "%";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte > 0x20 && byte < 0x7f && c != '%') {
      out += c;
    } else {
      char code[4];
      std::snprintf(code, sizeof code, "%%%02X", static_cast<unsigned>(byte));
      out += code;
    }
  }
  return out;
}

std::optional<std::string> unescape(std::string_view text) {
  if (text == "%") return std::string();
  std::string out;
  while (!text.empty()) {
    if (text.front() != '%') {
      out += text.front();
      text.remove_prefix(1);
      continue;
    }
    if (text.size() < 3) return std::nullopt;
    const auto byte = parse_number<unsigned char>(text.substr(1, 2), 16);
    if (!byte) return std::nullopt;
    out += static_cast<char>(*byte);
    text.remove_prefix(3);
  }
  return out;
}

std::vector<std::string_view> words(std::string_view line) {
  std::vector<std::string_view> out;
  for (;;) {
    const std::size_t blank = line.find(' ');
    out.push_back(line.substr(0, blank));
    if (blank == std::string_view::npos) return out;
    line.remove_prefix(blank + 1);
  }
}

std::optional<std::pair<ObjectName, RegistryEntry>> parse_entry(std::string_view line) {
  const std::vector<std::string_view> word = words(line);
  if (word.size() != 5) return std::nullopt;
  const auto kind = kind_from_name(word[0]);
  const auto key = parse_key(word[1]);
  const auto generation = parse_number<std::uint64_t>(word[2], 16);
  const auto owner = unescape(word[3]);
  const auto boot = unescape(word[4]);
  if (!kind || !key || *key == 0 || !generation || !owner || !boot) return std::nullopt;
  return std::pair(ObjectName{*kind, *key}, RegistryEntry{*owner, *boot, *generation});
}

std::optional<std::pair<std::string, std::uint16_t>> parse_host(std::string_view line) {
  const std::vector<std::string_view> word = words(line);
  if (word.size() != 3) return std::nullopt;
  const auto host = unescape(word[1]);
  const auto number = parse_number<std::uint16_t>(word[2], 10);
  if (!host || !number || *number == 0 || *number > kHostNumberMax) return std::nullopt;
  return std::pair(*host, *number);
}

}  // namespace

std::string render_registry(const Registry& table, bool complete, const HostNumbers::Table& numbers) {
  std::string text(kMark);
  text += ' ' + std::to_string(kVersion);
  if (!complete) text += ' ' + std::string(kLearning);
  text += '\n';
  for (const auto& [name, entry] : table) {
    text += kind_name(name.kind);
    text += ' ' + format_key(name.key) + ' ' + hex16(entry.generation) + ' ' + escape(entry.owner) + ' ' +
            escape(entry.boot) + '\n';
  }
  for (const auto& [host, number] : numbers) text += "host " + escape(host) + ' ' + std::to_string(number) + '\n';
  const std::string sum = hex16(fnv1a(text));
  text += "end " + std::to_string(table.size() + numbers.size()) + ' ' + sum + '\n';
  return text;
}

Result<RegistryFile> parse_registry(std::string_view file, std::string_view text) {
  const std::string at(file);
  const std::string restore =
      "put a saved copy in its place; or, if there is none, move the file away and start the referee with its hosts "
      "connected, so that they announce their objects again";
  std::size_t start = 0;
  std::size_t line_number = 0;
  const auto next_line = [&]() -> std::optional<std::string_view> {
    const std::size_t end = text.find('\n', start);
    if (end == std::string_view::npos) return std::nullopt;
    const std::string_view line = text.substr(start, end - start);
    start = end + 1;
    ++line_number;
    return line;
  };

  if (text.empty()) return trouble(at + ": the file is empty: it was cut short", restore);
  const std::vector<std::string_view> head = words(text.substr(0, text.find('\n')));
  // 0 is no version; an optional here makes gcc 12 warn falsely (maybe-uninitialized).
  const unsigned version = head.size() >= 2 ? parse_number<unsigned>(head[1], 10).value_or(0) : 0;
  if (head[0] != kMark || version == 0) {
    return trouble(at + ":1: not a table of names: the first line is not '" + std::string(kMark) + " VERSION'",
                   restore);
  }
  if (version > kVersion) {
    return trouble(at + ":1: written in format " + std::to_string(version) + ", this dipcd reads formats up to " +
                       std::to_string(kVersion),
                   "run the dipcd that wrote it, or a newer one");
  }
  const bool learning = head.size() == 3 && head[2] == kLearning;
  if (head.size() != 2 && !learning) return trouble(at + ":1: damaged: unknown words after the version", restore);
  RegistryFile read{{}, !learning};
  std::size_t body_bytes = 0;
  for (bool first = true;; first = false) {
    body_bytes = start;
    const auto line = next_line();
    if (!line) return trouble(at + ": cut short after line " + std::to_string(line_number), restore);
    if (first) continue;  // the version
    if (line->starts_with("end ")) {
      const std::vector<std::string_view> word = words(*line);
      const auto count = word.size() == 3 ? parse_number<std::size_t>(word[1], 10) : std::nullopt;
      const auto sum = word.size() == 3 ? parse_number<std::uint64_t>(word[2], 16) : std::nullopt;
      if (!count || *count != read.table.size() + read.numbers.size() || !sum ||
          *sum != fnv1a(text.substr(0, body_bytes)) || start != text.size()) {
        return trouble(at + ":" + std::to_string(line_number) + ": damaged: count or checksum do not agree", restore);
      }
      return read;
    }
    if (line->starts_with("host ")) {
      const auto number = parse_host(*line);
      if (number && read.numbers.insert(*number).second) continue;
      return trouble(at + ":" + std::to_string(line_number) + ": damaged: not 'host NAME NUMBER', once for each",
                     restore);
    }
    const auto entry = parse_entry(*line);
    if (!entry || !read.table.insert(*entry).second) {
      return trouble(at + ":" + std::to_string(line_number) +
                         ": damaged: " + (entry ? "a name that came before" : "not 'kind key generation owner boot'"),
                     restore);
    }
  }
}

}  // namespace dipc
