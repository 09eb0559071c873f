// Segments and their pages as people read them (tables.h).

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <utility>

#include "daemon/core/object_name.h"
#include "daemon/ctl/printable.h"
#include "daemon/ctl/tables.h"

namespace dipc {
namespace {

constexpr std::size_t kBouncersShown = 10;
constexpr std::size_t kLabelWidth = 12;  // of a line of the map

std::string key_of(const SegmentsReport::Row& row) {
  if (row.removed) return "removed";
  return row.key == 0 ? "private" : format_key(row.key);
}

std::vector<std::string> cells_of(const PageTraffic& traffic) {
  return {std::to_string(traffic.faults),  std::to_string(traffic.read_aheads),   std::to_string(traffic.transfers),
          show_bytes(traffic.bytes_moved), std::to_string(traffic.invalidations), std::to_string(traffic.bounces)};
}

std::string map_of(const PagesReport& report, std::size_t width) {
  const std::size_t room = width > kLabelWidth + 8 ? width - kLabelWidth : 8;
  std::string text;
  for (std::size_t at = 0; at < report.map.size(); at += room) {
    char label[24];
    const std::uint64_t page = at * report.cell_pages;
    std::snprintf(label, sizeof label, "%10" PRIu64 "  ", page);
    text.append(label).append(printable(report.map.substr(at, room))).append("\n");
  }
  return text;
}

// One after the other, in as many lines as it takes; a piece that is wider than a line has one of its own.
std::string in_lines(const std::vector<std::string>& pieces, const std::string& between, std::size_t indent,
                     std::size_t width) {
  std::string text, line;
  for (const std::string& piece : pieces) {
    const bool fits = line.empty() || indent + line.size() + between.size() + piece.size() <= width;
    if (!fits) text.append(indent, ' ').append(std::exchange(line, {})).append("\n");
    line.append(line.empty() ? "" : between).append(piece);
  }
  return text.append(indent, ' ').append(line).append("\n");
}

std::string legend_of(const PagesReport& report, std::size_t width) {
  std::vector<std::string> signs = {". free", "r read", "w written", "* on its way", "! lost"};
  if (report.cell_pages > 1) signs.push_back("(" + std::to_string(report.cell_pages) + " pages each)");
  return in_lines(signs, "   ", kLabelWidth, width);
}

}  // namespace

std::string show(const SegmentsReport& report) {
  if (report.rows.empty()) return "no segments live on this host\n";
  std::vector<std::vector<std::string>> rows = {{"KEY", "ID", "LOGIN", "PERMS", "SIZE", "PAGE", "NATTCH", "WRITTEN",
                                                 "READ", "LOST", "FAULTS", "AHEAD", "SENT", "MOVED", "TAKEN",
                                                 "BOUNCES"}};
  for (const auto& row : report.rows) {
    char permissions[8];
    std::snprintf(permissions, sizeof permissions, "%03o", row.mode & 0777u);
    rows.push_back({key_of(row), std::to_string(row.id), row.login.empty() ? "-" : printable(row.login), permissions,
                    show_bytes(row.bytes), show_bytes(row.page_bytes), std::to_string(row.attachments),
                    std::to_string(row.written), std::to_string(row.read), std::to_string(row.lost)});
    for (std::string& cell : cells_of(row.traffic)) rows.back().push_back(std::move(cell));
  }
  return format_table(rows, {1, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15});
}

std::string show(const PagesReport& report, std::size_t width) {
  const SegmentsReport::Row& segment = report.segment;
  const std::string pages = std::to_string(segment.pages) + (segment.pages == 1 ? " page of " : " pages of ") +
                            show_bytes(segment.page_bytes);
  std::string text = in_lines(
      {"segment " + key_of(segment) + ", id " + std::to_string(segment.id) + ": " + show_bytes(segment.bytes), pages,
       std::to_string(segment.attachments) + (segment.attachments == 1 ? " attachment" : " attachments")},
      ", ", 0, width);
  text.append("\n").append(map_of(report, width)).append(legend_of(report, width));
  if (!report.hosts.empty()) {
    std::vector<std::vector<std::string>> rows = {{"HOST", "FAULTS", "AHEAD", "SENT", "MOVED", "TAKEN", "BOUNCES"}};
    for (const auto& [name, traffic] : report.hosts) {
      rows.push_back({printable(name)});
      for (std::string& cell : cells_of(traffic)) rows.back().push_back(std::move(cell));
    }
    text.append("\n").append(format_table(rows, {1, 2, 3, 4, 5, 6}));
  }
  std::vector<std::vector<std::string>> rows = {{"PAGE", "STATE", "HELD BY", "FAULTS", "SENT", "TAKEN", "BOUNCES", ""}};
  for (const auto& page : report.pages) {
    if (rows.size() > kBouncersShown || page.traffic.bounces == 0) break;
    std::string holders, fighters;
    for (const std::string& host : page.holders) holders.append(holders.empty() ? "" : " ").append(printable(host));
    for (const auto& [host, count] : page.bounces) {
      fighters.append(fighters.empty() ? "" : ", ").append(printable(host) + " " + std::to_string(count));
    }
    rows.push_back({std::to_string(page.page), printable(page.state), holders.empty() ? "-" : holders,
                    std::to_string(page.traffic.faults), std::to_string(page.traffic.transfers),
                    std::to_string(page.traffic.invalidations), std::to_string(page.traffic.bounces), fighters});
  }
  if (rows.size() > 1) {
    text.append("\npages that hosts take from each other most:\n").append(format_table(rows, {0, 3, 4, 5, 6}));
  }
  return text;
}

}  // namespace dipc
