#include "daemon/ctl/tables.h"

#include <algorithm>
#include <cinttypes>
#include <cstdio>

#include "daemon/core/number_text.h"
#include "daemon/core/object_name.h"
#include "daemon/ctl/printable.h"

namespace dipc {
namespace {

std::size_t width_of(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0u) != 0x80u; }));
}

// The first characters of UTF-8, so many at most.
std::string_view clipped(std::string_view text, std::size_t columns) {
  std::size_t end = 0;
  for (; end < text.size(); ++end) {
    if ((static_cast<unsigned char>(text[end]) & 0xc0u) != 0x80u && columns-- == 0) break;
  }
  return text.substr(0, end);
}

std::string tenths(double value, const char* unit) {
  char text[40];
  std::snprintf(text, sizeof text, "%.1f %s", value, unit);
  return text;
}

std::string dash_if_empty(const std::string& text) { return text.empty() ? "-" : text; }

std::string count(std::uint64_t number, const char* one, const char* many) {
  return std::to_string(number) + " " + (number == 1 ? one : many);
}

std::string key_of(const DeadLettersReport::Row& row) { return row.key == 0 ? "-" : format_key(row.key); }

std::string receiver_of(const DeadLettersReport::Row& row) {
  return printable(row.login.empty() ? row.host : row.login + "@" + row.host);
}

// "00000010  68 65 6c 6c 6f                                    |hello|", as hexdump -C has it; at most sixteen bytes.
std::string hex_line(std::uint64_t offset, std::string_view bytes) {
  constexpr std::size_t kHexWidth = 16 * 3 + 1;
  char place[24];
  std::snprintf(place, sizeof place, "%08" PRIx64 " ", offset);
  std::string hex, seen;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const auto byte = static_cast<unsigned char>(bytes[i]);
    char pair[8];
    std::snprintf(pair, sizeof pair, i == 8 ? "  %02x" : " %02x", byte);
    hex.append(pair);
    seen.push_back(byte >= 0x20 && byte < 0x7f ? bytes[i] : '.');
  }
  hex.resize(kHexWidth, ' ');
  return place + hex + "  |" + seen + "|\n";
}

std::string key_of(const ObjectName& name) { return name.key == 0 ? "private" : format_key(name.key); }

}  // namespace

std::string format_table(const std::vector<std::vector<std::string>>& rows, const std::vector<std::size_t>& right) {
  std::vector<std::size_t> widths;
  for (const auto& row : rows) {
    if (widths.size() < row.size()) widths.resize(row.size());
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width_of(row[i]));
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::string padding(widths[i] - width_of(row[i]), ' ');
      const bool to_the_right = std::find(right.begin(), right.end(), i) != right.end();
      if (i > 0) line.append("  ");
      line.append(to_the_right ? padding + row[i] : row[i] + padding);
    }
    while (!line.empty() && line.back() == ' ') line.pop_back();
    text.append(line).append("\n");
  }
  return text;
}

// In one piece and without clearing all first, or it would flicker.
std::string redraw(std::string_view text, std::size_t columns, std::size_t rows) {
  std::string picture = "\033[H";  // to the upper left; [K: the rest of a line is empty, [J: all below
  for (std::size_t row = 1; row < rows && !text.empty(); ++row) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    picture.append("\033[K").append(clipped(text.substr(0, end), columns)).append("\n");
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return picture.append("\033[J");
}

std::string show(const StatusReport& report) {
  std::string text = "host " + report.host + " of cluster " + report.cluster + ", referee " + report.referee;
  if (report.referee == report.host) {
    text.append(" (this host)\n");
  } else {
    text.append(report.referee_reachable ? " (reachable)\n" : " (NOT REACHABLE: no new names)\n");
  }
  text.append("dipcd " + report.version + ", up " + show_duration(report.uptime_s) + ", incarnation " +
              report.incarnation + "\n");
  std::string listen;
  for (const std::string& address : report.listen) listen.append(listen.empty() ? "" : ", ").append(address);
  text.append("listening on " + (listen.empty() ? "nothing: this host only dials" : listen) + "\n");

  text.append("\n");
  if (report.peers.empty()) {
    text.append("no peers\n");
  } else {
    std::vector<std::vector<std::string>> rows = {
        {"PEER", "ADDRESS", "STATE", "TO BE SENT", "WAITING CALLS", "MACHINE"}};
    for (const auto& peer : report.peers) {
      rows.push_back({printable(peer.name), dash_if_empty(printable(peer.address)), printable(peer.state),
                      show_bytes(peer.waiting_bytes), std::to_string(peer.blocked_calls),
                      dash_if_empty(printable(peer.machine))});
    }
    text.append(format_table(rows, {3, 4}));
    for (const auto& peer : report.peers) {
      if (!peer.reason.empty()) text.append(printable(peer.name + ": " + peer.reason)).append("\n");
    }
  }

  if (!report.certificates.empty()) {
    std::vector<std::vector<std::string>> rows = {{"CERTIFICATE", "OF", "EXPIRES", "DAYS LEFT"}};
    for (const auto& one : report.certificates) {
      rows.push_back(
          {printable(one.file), printable(one.subject), printable(one.expires), std::to_string(one.days_left)});
    }
    text.append("\n").append(format_table(rows, {3}));
  }
  if (!report.counters.empty()) {
    std::vector<std::vector<std::string>> rows;
    for (const auto& [name, value] : report.counters) {
      std::string label = printable(name);
      std::replace(label.begin(), label.end(), '_', ' ');
      rows.push_back({label, std::to_string(value)});
    }
    text.append("\n").append(format_table(rows, {1}));
  }
  if (!report.warnings.empty()) text.append("\n");
  for (const std::string& warning : report.warnings) text.append("warning: " + printable(warning) + "\n");
  return text;
}

std::string show(const ObjectsReport& report) {
  std::string text;
  if (report.rows.empty()) {
    text = "no distributed objects\n";
  } else {
    std::vector<std::vector<std::string>> rows = {
        {"KIND", "KEY", "OWNER", "ID", "ID HERE", "LOGIN", "PERMS", "USED-BYTES", "MESSAGES", "NSEMS"}};
    for (const auto& row : report.rows) {
      const bool queue = row.name.kind == Kind::kMessageQueue, set = row.name.kind == Kind::kSemaphoreSet;
      char permissions[8];
      std::snprintf(permissions, sizeof permissions, "%03o", row.mode & 0777u);
      rows.push_back({std::string(kind_name(row.name.kind)), key_of(row.name), printable(row.owner),
                      std::to_string(row.id), row.local_id ? std::to_string(*row.local_id) : "-",
                      dash_if_empty(printable(row.login)), permissions, set ? "-" : std::to_string(row.used_bytes),
                      queue ? std::to_string(row.messages) : "-", set ? std::to_string(row.semaphores) : "-"});
    }
    text = format_table(rows, {3, 4, 7, 8, 9});
  }
  for (const auto& row : report.rows) {
    if (row.unconverted == 0) continue;
    const std::string count = std::to_string(row.unconverted);
    text.append("note: " + std::string(kind_name(row.name.kind)) + " " + key_of(row.name) + " of " +
                printable(row.owner) + ": " +
                (row.name.kind == Kind::kSegment
                     ? count + " shmat by programs of unlike machines, which share it as bytes"
                     : count + " messages went between unlike machines as bytes") +
                "; unless they are text, declare them (LAYOUTS.md)\n");
  }
  for (const auto& host : report.silent_hosts) {
    text.append("warning: objects of " + printable(host.name) + " are not listed: " + printable(host.reason) + "\n");
  }
  return text;
}

std::string show(const DeadLettersReport& report) {
  if (report.rows.empty()) return "no dead letters\n";
  std::vector<std::vector<std::string>> rows = {{"ID", "TIME", "KEY", "QUEUE", "TYPE", "BYTES", "FOR", "REASON"}};
  for (const auto& row : report.rows) {
    if (!row.trouble.empty()) {
      rows.push_back({std::to_string(row.id), "-", "-", "-", "-", "-", "-", "NOT READABLE: " + printable(row.trouble)});
      continue;
    }
    rows.push_back({std::to_string(row.id), printable(row.time), key_of(row), std::to_string(row.queue),
                    std::to_string(row.type), std::to_string(row.bytes), receiver_of(row), printable(row.reason)});
  }
  return format_table(rows, {0, 3, 4, 5});
}

std::string show(const DeadLetterText& letter) {
  const DeadLettersReport::Row& row = letter.row;
  std::vector<std::vector<std::string>> rows = {
      {"letter", std::to_string(row.id)},
      {"time", printable(row.time)},
      {"reason", printable(row.reason)},
      {"for", receiver_of(row)},
      {"queue", std::to_string(row.queue)},
      {"key", key_of(row)},
      {"generation", row.generation == 0 ? "not known" : hexadecimal(row.generation)},
      {"owner", dash_if_empty(printable(row.owner))},
      {"type", std::to_string(row.type)},
      {"bytes", std::to_string(row.bytes) + (row.length_exact ? "" : " at least: zeros at the end may lack")}};
  std::string text = format_table(rows);
  if (!letter.text.empty()) text.append("\n");
  constexpr std::size_t kLine = 16;
  for (std::size_t begin = 0; begin < letter.text.size(); begin += kLine) {
    text.append(hex_line(letter.offset + begin, std::string_view(letter.text).substr(begin, kLine)));
  }
  return text;
}

std::string show(const AdminDone& done) {
  std::string text;
  for (const std::string& line : done.done) text.append(printable(line)).append("\n");
  return text;
}

std::string show(const AdminFailure& failure) {
  std::string text;
  for (const Trouble& one : failure.troubles) {
    text.append(printable(one.what)).append("\n");
    if (!one.remedy.empty()) text.append("  ").append(printable(one.remedy)).append("\n");
  }
  return text;
}

std::string show_duration(std::uint64_t seconds) {
  const std::uint64_t minutes = seconds / 60, hours = minutes / 60, days = hours / 24;
  if (days > 0) return count(days, "day", "days") + " " + std::to_string(hours % 24) + " h";
  if (hours > 0) return std::to_string(hours) + " h " + std::to_string(minutes % 60) + " min";
  if (minutes > 0) return std::to_string(minutes) + " min " + std::to_string(seconds % 60) + " s";
  return std::to_string(seconds) + " s";
}

std::string show_bytes(std::uint64_t bytes) {
  const char* const kUnits[] = {"KiB", "MiB", "GiB", "TiB"};
  if (bytes < 1024) return std::to_string(bytes) + " B";
  double value = static_cast<double>(bytes) / 1024;
  std::size_t unit = 0;
  while (value >= 1024 && unit + 1 < std::size(kUnits)) {
    value /= 1024;
    ++unit;
  }
  return tenths(value, kUnits[unit]);
}

}  // namespace dipc
