#include "daemon/core/status_report.h"

#include <cstdio>

#include "daemon/core/json_reader.h"

namespace dipc {
namespace {

// Bytes that are not UTF-8 (a peer's or a user's) must not throw: they are replaced.
std::string dump(const Json& json) {
  constexpr int kIndent = 2;
  return json.dump(kIndent, ' ', false, Json::error_handler_t::replace) + "\n";
}

Json name_json(const ObjectName& name) { return {{"kind", kind_name(name.kind)}, {"key", format_key(name.key)}}; }

std::string octal(std::uint32_t mode) {
  char text[12];
  std::snprintf(text, sizeof text, "%03o", mode & 0777u);
  return text;
}

Json row_json(const DeadLettersReport::Row& row) {
  if (!row.trouble.empty()) return {{"id", row.id}, {"trouble", row.trouble}};
  return {{"id", row.id},
          {"time", row.time},
          {"reason", row.reason},
          {"host", row.host},
          {"login", row.login},
          {"queue", row.queue},
          {"key", format_key(row.key)},
          {"generation", hexadecimal(row.generation)},
          {"owner", row.owner},
          {"type", std::to_string(row.type)},
          {"bytes", row.bytes},
          {"length_exact", row.length_exact}};
}

void take_row(const JsonReader& from, DeadLettersReport::Row& row) {
  from.take("id", row.id);
  from.take("time", row.time);
  from.take("reason", row.reason);
  from.take("host", row.host);
  from.take("login", row.login);
  from.take("queue", row.queue);
  from.take_key(row.key);
  from.take_written("generation", row.generation);
  from.take("owner", row.owner);
  from.take_written("type", row.type);
  from.take("bytes", row.bytes);
  from.take("length_exact", row.length_exact);
  from.take("trouble", row.trouble);
  // Of a file that can't be read nothing else is known.
  if (!row.trouble.empty()) row = {.id = row.id, .trouble = std::move(row.trouble)};
}

void add_traffic(Json& json, const PageTraffic& traffic) {
  json["faults"] = traffic.faults;
  json["read_aheads"] = traffic.read_aheads;
  json["transfers"] = traffic.transfers;
  json["bytes_moved"] = traffic.bytes_moved;
  json["invalidations"] = traffic.invalidations;
  json["bounces"] = traffic.bounces;
}

void take_traffic(const JsonReader& from, PageTraffic& traffic) {
  from.take("faults", traffic.faults);
  from.take("read_aheads", traffic.read_aheads);
  from.take("transfers", traffic.transfers);
  from.take("bytes_moved", traffic.bytes_moved);
  from.take("invalidations", traffic.invalidations);
  from.take("bounces", traffic.bounces);
}

Json segment_json(const SegmentsReport::Row& row) {
  Json json = {{"key", format_key(row.key)},
               {"id", row.id},
               {"removed", row.removed},
               {"login", row.login},
               {"mode", octal(row.mode)},
               {"bytes", row.bytes},
               {"page_bytes", row.page_bytes},
               {"pages", row.pages},
               {"attachments", row.attachments},
               {"written", row.written},
               {"read", row.read},
               {"lost", row.lost}};
  add_traffic(json, row.traffic);
  return json;
}

void take_segment(const JsonReader& from, SegmentsReport::Row& row) {
  from.take_key(row.key);
  from.take("id", row.id);
  from.take("removed", row.removed);
  from.take("login", row.login);
  from.take_octal("mode", row.mode);
  from.take("bytes", row.bytes);
  from.take("page_bytes", row.page_bytes);
  from.take("pages", row.pages);
  from.take("attachments", row.attachments);
  from.take("written", row.written);
  from.take("read", row.read);
  from.take("lost", row.lost);
  take_traffic(from, row.traffic);
}

// Nesting is bounded by what a reply may hold; a parse error is a value.
template <typename T, typename Function>
Result<T> read(std::string_view text, Function function) {
  const Json json = Json::parse(text, nullptr, false);
  const std::string remedy = "use the dipcctl that came with this dipcd";
  if (json.is_discarded()) return trouble("the daemon's answer is not JSON", remedy);
  std::string error;
  T value;
  function(JsonReader(json, error), value);
  if (!error.empty()) return trouble("the daemon's answer is not understood: " + error, remedy);
  return value;
}

}  // namespace

PageTraffic& PageTraffic::operator+=(const PageTraffic& other) {
  faults += other.faults;
  read_aheads += other.read_aheads;
  transfers += other.transfers;
  bytes_moved += other.bytes_moved;
  invalidations += other.invalidations;
  bounces += other.bounces;
  return *this;
}

std::string to_json(const StatusReport& report) {
  Json json = {{"host", report.host},
               {"cluster", report.cluster},
               {"referee", report.referee},
               {"referee_reachable", report.referee_reachable},
               {"incarnation", report.incarnation},
               {"version", report.version},
               {"uptime_s", report.uptime_s},
               {"listen", report.listen}};
  json["peers"] = Json::array();
  for (const auto& peer : report.peers) {
    Json row = {{"name", peer.name},
                {"address", peer.address},
                {"state", peer.state},
                {"session", peer.session},
                {"abi", peer.abi},
                {"machine", peer.machine},
                {"waiting_bytes", peer.waiting_bytes},
                {"blocked_calls", peer.blocked_calls},
                {"reason", peer.reason}};
    json["peers"].push_back(std::move(row));
  }
  json["certificates"] = Json::array();
  for (const auto& certificate : report.certificates) {
    json["certificates"].push_back({{"file", certificate.file},
                                    {"subject", certificate.subject},
                                    {"expires", certificate.expires},
                                    {"days_left", certificate.days_left}});
  }
  json["counters"] = Json::object();
  for (const auto& [name, value] : report.counters) json["counters"][name] = value;
  json["warnings"] = report.warnings;
  return dump(json);
}

std::string to_json(const ObjectsReport& report) {
  Json json = {{"objects", Json::array()}, {"silent_hosts", Json::array()}};
  for (const auto& row : report.rows) {
    Json object = name_json(row.name);
    object["owner"] = row.owner;
    object["id"] = row.id;
    object["local_id"] = row.local_id ? Json(*row.local_id) : Json(nullptr);
    object["login"] = row.login;
    object["mode"] = octal(row.mode);
    object["used_bytes"] = row.used_bytes;
    object["messages"] = row.messages;
    object["semaphores"] = row.semaphores;
    object["unconverted"] = row.unconverted;
    json["objects"].push_back(std::move(object));
  }
  for (const auto& host : report.silent_hosts) {
    json["silent_hosts"].push_back({{"name", host.name}, {"reason", host.reason}});
  }
  return dump(json);
}

std::string to_json(const DeadLettersReport& report) {
  Json json = {{"dead_letters", Json::array()}};
  for (const auto& row : report.rows) json["dead_letters"].push_back(row_json(row));
  json["next"] = report.next ? Json(*report.next) : Json(nullptr);
  return dump(json);
}

std::string to_json(const DeadLetterText& letter) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  text.reserve(2 * letter.text.size());
  for (const char c : letter.text) {
    const auto byte = static_cast<unsigned char>(c);
    text.push_back(kDigits[byte >> 4]);
    text.push_back(kDigits[byte & 15u]);
  }
  Json json = row_json(letter.row);
  json["offset"] = letter.offset;
  json["text"] = std::move(text);
  return dump(json);
}

std::string to_json(const SegmentsReport& report) {
  Json json = {{"segments", Json::array()}};
  for (const auto& row : report.rows) json["segments"].push_back(segment_json(row));
  return dump(json);
}

std::string to_json(const PagesReport& report) {
  Json json = {{"segment", segment_json(report.segment)}, {"map", report.map}, {"cell_pages", report.cell_pages}};
  json["hosts"] = Json::array();
  for (const auto& [name, traffic] : report.hosts) {
    Json host = {{"name", name}};
    add_traffic(host, traffic);
    json["hosts"].push_back(std::move(host));
  }
  json["pages"] = Json::array();
  for (const auto& page : report.pages) {
    Json row = {{"page", page.page}, {"state", page.state}, {"holders", page.holders}, {"busy", page.busy}};
    add_traffic(row, page.traffic);
    row["bounces_by_host"] = page.bounces;
    json["pages"].push_back(std::move(row));
  }
  json["more"] = report.more;
  return dump(json);
}

std::string to_json(const AdminDone& done) { return dump({{"done", done.done}}); }

std::string to_json(const AdminFailure& failure) {
  Json json = {{"troubles", Json::array()}};
  for (const Trouble& one : failure.troubles) json["troubles"].push_back({{"what", one.what}, {"remedy", one.remedy}});
  return dump(json);
}

Result<StatusReport> status_from_json(std::string_view json) {
  return read<StatusReport>(json, [](const JsonReader& from, StatusReport& report) {
    from.take("host", report.host);
    from.take("cluster", report.cluster);
    from.take("referee", report.referee);
    from.take("referee_reachable", report.referee_reachable);
    from.take("incarnation", report.incarnation);
    from.take("version", report.version);
    from.take("uptime_s", report.uptime_s);
    from.take("listen", report.listen);
    from.objects("peers", report.peers, [](const JsonReader& row, StatusReport::Peer& peer) {
      row.take("name", peer.name);
      row.take("address", peer.address);
      row.take("state", peer.state);
      row.take("reason", peer.reason);
      row.take("session", peer.session);
      row.take("abi", peer.abi);
      row.take("machine", peer.machine);
      row.take("waiting_bytes", peer.waiting_bytes);
      row.take("blocked_calls", peer.blocked_calls);
    });
    from.objects("certificates", report.certificates,
                 [](const JsonReader& row, StatusReport::Certificate& certificate) {
                   row.take("file", certificate.file);
                   row.take("subject", certificate.subject);
                   row.take("expires", certificate.expires);
                   row.take("days_left", certificate.days_left);
                 });
    from.take("counters", report.counters);
    from.take("warnings", report.warnings);
  });
}

Result<ObjectsReport> objects_from_json(std::string_view json) {
  return read<ObjectsReport>(json, [](const JsonReader& from, ObjectsReport& report) {
    from.objects("objects", report.rows, [](const JsonReader& object, ObjectsReport::Row& row) {
      object.take(row.name);
      object.take("owner", row.owner);
      object.take("id", row.id);
      object.take("local_id", row.local_id);
      object.take("login", row.login);
      object.take_octal("mode", row.mode);
      object.take("used_bytes", row.used_bytes);
      object.take("messages", row.messages);
      object.take("semaphores", row.semaphores);
      object.take("unconverted", row.unconverted);
    });
    from.objects("silent_hosts", report.silent_hosts, [](const JsonReader& row, ObjectsReport::SilentHost& host) {
      row.take("name", host.name);
      row.take("reason", host.reason);
    });
  });
}

Result<DeadLettersReport> dead_letters_from_json(std::string_view json) {
  return read<DeadLettersReport>(json, [](const JsonReader& from, DeadLettersReport& report) {
    from.objects("dead_letters", report.rows, take_row);
    from.take("next", report.next);
  });
}

Result<DeadLetterText> dead_letter_text_from_json(std::string_view json) {
  return read<DeadLetterText>(json, [](const JsonReader& from, DeadLetterText& letter) {
    take_row(from, letter.row);
    from.take("offset", letter.offset);
    from.take_bytes("text", letter.text);
  });
}

Result<SegmentsReport> segments_from_json(std::string_view json) {
  return read<SegmentsReport>(json, [](const JsonReader& from, SegmentsReport& report) {
    from.objects("segments", report.rows, take_segment);
  });
}

Result<PagesReport> pages_from_json(std::string_view json) {
  return read<PagesReport>(json, [](const JsonReader& from, PagesReport& report) {
    from.object("segment", [&](const JsonReader& row) { take_segment(row, report.segment); });
    from.take("map", report.map);
    from.take("cell_pages", report.cell_pages);
    std::vector<std::pair<std::string, PageTraffic>> hosts;
    from.objects("hosts", hosts, [](const JsonReader& row, std::pair<std::string, PageTraffic>& host) {
      row.take("name", host.first);
      take_traffic(row, host.second);
    });
    report.hosts.insert(hosts.begin(), hosts.end());
    from.objects("pages", report.pages, [](const JsonReader& row, PagesReport::Page& page) {
      row.take("page", page.page);
      row.take("state", page.state);
      row.take("holders", page.holders);
      row.take("busy", page.busy);
      take_traffic(row, page.traffic);
      row.take("bounces_by_host", page.bounces);
    });
    from.take("more", report.more);
  });
}

Result<AdminDone> done_from_json(std::string_view json) {
  return read<AdminDone>(json, [](const JsonReader& from, AdminDone& done) { from.take("done", done.done); });
}

Result<AdminFailure> failure_from_json(std::string_view json) {
  return read<AdminFailure>(json, [](const JsonReader& from, AdminFailure& failure) {
    from.objects("troubles", failure.troubles, [](const JsonReader& row, Trouble& one) {
      row.take("what", one.what);
      row.take("remedy", one.remedy);
    });
  });
}

}  // namespace dipc
