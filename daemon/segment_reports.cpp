#include "daemon/segment_reports.h"

#include <algorithm>
#include <string_view>
#include <tuple>

namespace dipc {
namespace {

using PageState = PageDirectory::PageState;

constexpr std::uint64_t kCellsMax = 4096;    // of a map
constexpr std::size_t kPagesListed = 10000;  // one by one

PageTraffic traffic_of(const PageCounts& counts) {
  return {counts.faults,      counts.read_aheads,   counts.transfers,
          counts.bytes_moved, counts.invalidations, counts.bounces};
}

std::string name_of(PageState state) {
  switch (state) {
    case PageState::kFree:
      return "free";
    case PageState::kRead:
      return "read";
    case PageState::kWritten:
      return "written";
    case PageState::kLost:
      return "lost";
  }
  return {};
}

char sign_of(PageState state, bool busy) {
  if (state == PageState::kLost) return '!';
  if (busy) return '*';
  if (state == PageState::kWritten) return 'w';
  return state == PageState::kRead ? 'r' : '.';
}

char graver(char one, char other) {
  constexpr std::string_view kGravity = ".rw*!";
  return kGravity.find(one) < kGravity.find(other) ? other : one;
}

SegmentsReport::Row row_of(const OwnedSegments::View& view, Users& users) {
  const PageDirectory& directory = *view.directory;
  SegmentsReport::Row row;
  row.key = view.key;
  row.id = view.ref.id;
  row.removed = directory.removed();
  row.login = users.login_of(view.permissions.uid);
  row.mode = view.permissions.mode;
  row.bytes = view.bytes;
  row.page_bytes = view.unit_bytes;
  row.pages = view.page_count;
  row.attachments = directory.attachments();
  for (const PageIndex page : directory.asked_for()) {
    const PageState state = directory.state(page);
    if (state == PageState::kWritten) ++row.written;
    if (state == PageState::kRead) ++row.read;
    if (state == PageState::kLost) ++row.lost;
    for (const auto& [host, counts] : directory.counts(page)) row.traffic += traffic_of(counts);
  }
  return row;
}

}  // namespace

SegmentsReport report_segments(const Segments& segments, Users& users) {
  SegmentsReport report;
  for (const OwnedSegments::View& view : segments.owned().views()) report.rows.push_back(row_of(view, users));
  return report;
}

std::optional<ObjectRef> segment_of_key(const Segments& segments, std::int32_t key) {
  for (const OwnedSegments::View& view : segments.owned().views()) {
    if (view.key == key) return view.ref;
  }
  return std::nullopt;
}

std::optional<PagesReport> report_pages(const Segments& segments, Users& users, const ObjectRef& segment) {
  for (const OwnedSegments::View& view : segments.owned().views()) {
    if (view.ref != segment) continue;
    const PageDirectory& directory = *view.directory;
    PagesReport report;
    report.segment = row_of(view, users);
    report.cell_pages = (view.page_count + kCellsMax - 1) / kCellsMax;
    const auto cells = static_cast<std::size_t>((view.page_count + report.cell_pages - 1) / report.cell_pages);
    report.map.assign(cells, '.');
    for (const PageIndex index : directory.asked_for()) {
      PagesReport::Page page;
      page.page = static_cast<std::uint32_t>(index);
      page.state = name_of(directory.state(index));
      page.busy = directory.busy(index);
      char& cell = report.map[static_cast<std::size_t>(page.page / report.cell_pages)];
      cell = graver(cell, sign_of(directory.state(index), page.busy));
      for (const HostId host : directory.holders(index)) page.holders.push_back(segments.hosts().name(host));
      for (const auto& [host, counts] : directory.counts(index)) {
        const std::string& name = segments.hosts().name(host);
        page.traffic += traffic_of(counts);
        report.hosts[name] += traffic_of(counts);
        if (counts.bounces != 0) page.bounces.emplace(name, counts.bounces);
      }
      report.pages.push_back(std::move(page));
    }
    std::sort(report.pages.begin(), report.pages.end(), [](const auto& one, const auto& other) {
      return std::tuple(~one.traffic.bounces, one.page) < std::tuple(~other.traffic.bounces, other.page);
    });
    if (report.pages.size() > kPagesListed) {
      report.more = report.pages.size() - kPagesListed;
      report.pages.resize(kPagesListed);
    }
    return report;
  }
  return std::nullopt;
}

std::optional<ObjectRow> row_of_segment(const Segments& segments, Users& users, const OwnedObject& object) {
  for (const OwnedSegments::View& view : segments.owned().views()) {
    if (view.ref != object.ref) continue;
    return ObjectRow{.name = object.name,
                     .id = object.ref.id,
                     .generation = object.ref.generation,
                     .owner_login = users.login_of(view.permissions.uid),
                     .mode = view.permissions.mode,
                     .used_bytes = view.bytes,
                     .unconverted = view.unconverted};
  }
  return std::nullopt;
}

}  // namespace dipc
