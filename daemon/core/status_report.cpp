#include "daemon/core/status_report.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <limits>
#include <nlohmann/json.hpp>

#include "daemon/core/number_text.h"
#include "daemon/core/object_name.h"

namespace dipc {
namespace {

// Members stay in the order in which they were written: people read this too.
using Json = nlohmann::ordered_json;

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

// ---- reading: nothing here throws, and the first field of a wrong type is remembered

class Reader {
 public:
  explicit Reader(const Json& object, std::string& error) : object_(object), error_(error) {
    if (!object.is_object()) error_ = "an object is expected";
  }

  void take(const char* name, std::string& into) const {
    if (const Json* field = find(name)) {
      if (field->is_string())
        into = field->get<std::string>();
      else
        wrong(name);
    }
  }
  void take(const char* name, bool& into) const {
    if (const Json* field = find(name)) {
      if (field->is_boolean())
        into = field->get<bool>();
      else
        wrong(name);
    }
  }
  void take(const char* name, std::uint64_t& into) const {
    if (const Json* field = find(name)) {
      if (field->is_number_unsigned())
        into = field->get<std::uint64_t>();
      else
        wrong(name);
    }
  }
  void take(const char* name, std::int64_t& into) const {
    if (const Json* field = find(name)) {
      const bool fits = field->is_number_integer() &&
                        (!field->is_number_unsigned() ||
                         field->get<std::uint64_t>() <= std::uint64_t{std::numeric_limits<std::int64_t>::max()});
      if (fits)
        into = field->get<std::int64_t>();
      else
        wrong(name);
    }
  }
  void take(const char* name, std::int32_t& into) const {
    std::int64_t wide = into;
    take(name, wide);
    if (wide >= std::numeric_limits<std::int32_t>::min() && wide <= std::numeric_limits<std::int32_t>::max()) {
      into = static_cast<std::int32_t>(wide);
    } else {
      wrong(name);
    }
  }
  template <typename T>
  void take(const char* name, std::optional<T>& into) const {
    if (const Json* field = find(name); field != nullptr && !field->is_null()) {
      T value{};
      take(name, value);
      into = value;
    }
  }
  void take(const char* name, std::vector<std::string>& into) const {
    each(name, [&](const Json& element) {
      if (element.is_string())
        into.push_back(element.get<std::string>());
      else
        wrong(name);
    });
  }
  void take(const char* name, std::map<std::string, std::uint64_t>& into) const {
    const Json* field = find(name);
    if (field == nullptr) return;
    if (!field->is_object()) return wrong(name);
    for (const auto& [key, value] : field->items()) {
      if (value.is_number_unsigned())
        into[key] = value.get<std::uint64_t>();
      else
        wrong(name);
    }
  }
  void take(ObjectName& into) const {
    std::string kind, key;
    take("kind", kind);
    take("key", key);
    const auto known_kind = kind_from_name(kind);
    const auto known_key = parse_key(key);
    if (!known_kind) return wrong("kind");
    if (!known_key) return wrong("key");
    into = ObjectName{*known_kind, *known_key};
  }
  void take_key(std::int32_t& into) const {
    std::string text = format_key(into);
    take("key", text);
    if (const auto key = parse_key(text)) {
      into = *key;
    } else {
      wrong("key");
    }
  }
  // A number in a string, since it may have more than 53 bits.
  template <typename T>
  void take_written(const char* name, T& into) const {
    if (find(name) == nullptr) return;
    std::string text;
    take(name, text);
    if (const auto number = parse_prefixed_number<T>(text)) {
      into = *number;
    } else {
      wrong(name);
    }
  }
  void take_bytes(const char* name, std::string& into) const {
    std::string text;
    take(name, text);
    into.clear();
    for (std::size_t i = 0; i < text.size(); i += 2) {
      unsigned char byte = 0;
      const char* const pair = text.data() + i;
      if (i + 2 > text.size() || std::from_chars(pair, pair + 2, byte, 16).ptr != pair + 2) return wrong(name);
      into.push_back(static_cast<char>(byte));
    }
  }
  void take_octal(const char* name, std::uint32_t& into) const {
    std::string text;
    take(name, text);
    const auto number = parse_number<std::uint32_t>(text, 8);
    if (number && *number <= 0777) {
      into = *number;
    } else {
      wrong(name);
    }
  }
  template <typename Function>
  void each(const char* name, Function function) const {
    const Json* field = find(name);
    if (field == nullptr) return;
    if (!field->is_array()) return wrong(name);
    for (const Json& element : *field) function(element);
  }
  template <typename Function>
  void object(const char* name, Function function) const {
    if (const Json* field = find(name)) function(Reader(*field, error_));
  }
  template <typename T, typename Function>
  void objects(const char* name, std::vector<T>& into, Function function) const {
    each(name, [&](const Json& element) {
      T value;
      function(Reader(element, error_), value);
      into.push_back(std::move(value));
    });
  }

 private:
  const Json* find(const char* name) const {
    if (!object_.is_object()) return nullptr;
    const auto found = object_.find(name);
    return found == object_.end() ? nullptr : &*found;
  }
  void wrong(const char* name) const {
    if (error_.empty()) error_ = std::string("field '") + name + "' is missing or of another type";
  }

  const Json& object_;
  std::string& error_;
};

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

void take_row(const Reader& from, DeadLettersReport::Row& row) {
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

void take_traffic(const Reader& from, PageTraffic& traffic) {
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

void take_segment(const Reader& from, SegmentsReport::Row& row) {
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
  function(Reader(json, error), value);
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
  return read<StatusReport>(json, [](const Reader& from, StatusReport& report) {
    from.take("host", report.host);
    from.take("cluster", report.cluster);
    from.take("referee", report.referee);
    from.take("referee_reachable", report.referee_reachable);
    from.take("incarnation", report.incarnation);
    from.take("version", report.version);
    from.take("uptime_s", report.uptime_s);
    from.take("listen", report.listen);
    from.objects("peers", report.peers, [](const Reader& row, StatusReport::Peer& peer) {
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
    from.objects("certificates", report.certificates, [](const Reader& row, StatusReport::Certificate& certificate) {
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
  return read<ObjectsReport>(json, [](const Reader& from, ObjectsReport& report) {
    from.objects("objects", report.rows, [](const Reader& object, ObjectsReport::Row& row) {
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
    from.objects("silent_hosts", report.silent_hosts, [](const Reader& row, ObjectsReport::SilentHost& host) {
      row.take("name", host.name);
      row.take("reason", host.reason);
    });
  });
}

Result<DeadLettersReport> dead_letters_from_json(std::string_view json) {
  return read<DeadLettersReport>(json, [](const Reader& from, DeadLettersReport& report) {
    from.objects("dead_letters", report.rows, take_row);
    from.take("next", report.next);
  });
}

Result<DeadLetterText> dead_letter_text_from_json(std::string_view json) {
  return read<DeadLetterText>(json, [](const Reader& from, DeadLetterText& letter) {
    take_row(from, letter.row);
    from.take("offset", letter.offset);
    from.take_bytes("text", letter.text);
  });
}

Result<SegmentsReport> segments_from_json(std::string_view json) {
  return read<SegmentsReport>(
      json, [](const Reader& from, SegmentsReport& report) { from.objects("segments", report.rows, take_segment); });
}

Result<PagesReport> pages_from_json(std::string_view json) {
  return read<PagesReport>(json, [](const Reader& from, PagesReport& report) {
    from.object("segment", [&](const Reader& row) { take_segment(row, report.segment); });
    from.take("map", report.map);
    from.take("cell_pages", report.cell_pages);
    std::vector<std::pair<std::string, PageTraffic>> hosts;
    from.objects("hosts", hosts, [](const Reader& row, std::pair<std::string, PageTraffic>& host) {
      row.take("name", host.first);
      take_traffic(row, host.second);
    });
    report.hosts.insert(hosts.begin(), hosts.end());
    from.objects("pages", report.pages, [](const Reader& row, PagesReport::Page& page) {
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
  return read<AdminDone>(json, [](const Reader& from, AdminDone& done) { from.take("done", done.done); });
}

Result<AdminFailure> failure_from_json(std::string_view json) {
  return read<AdminFailure>(json, [](const Reader& from, AdminFailure& failure) {
    from.objects("troubles", failure.troubles, [](const Reader& row, Trouble& one) {
      row.take("what", one.what);
      row.take("remedy", one.remedy);
    });
  });
}

}  // namespace dipc
