#pragma once

// What a daemon tells dipcctl, as values and as JSON. The two functions of each pair meet nowhere but here, so the
// shape of the JSON is this file's. Fields are only ever added. Kinds are "msg", "sem", "shm"; keys are strings as ipcs
// prints them ("0x00001234"); 64-bit identities are hexadecimal strings, since JSON readers keep 53 bits of a number;
// durations are whole seconds; what is unknown is null.
//
// from_json() takes what to_json() of this or a later version gave; Trouble otherwise. Missing fields are as in the
// struct.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "wire/messages.h"
#include "wire/parsed.h"
#include "wire/result.h"

namespace dipc {

// {"host": "sun", "peers": [{"name": "vax", ...}], ...}: the field names are the members'.
struct StatusReport {
  struct Peer {
    std::string name;
    std::string address;              // "10.0.0.3:7310", the connection's or else the configured one; may be empty
    std::string state;                // "connected", "connecting", "broken" (session waits to be resumed), "dead"
    std::string session;              // hexadecimal; empty: none
    std::string abi;                  // "big-endian, long 4/2": arch's to_string(); empty until the first hello
    std::string machine;              // what people call its ABI: "64-bit little-endian (x86-64, arm64)"
    std::uint64_t waiting_bytes = 0;  // for this peer, not yet written to a connection
    std::uint64_t blocked_calls = 0;  // of this peer, waiting in this host's kernel
    std::string reason = {};          // why it is not connected, as in the log; may be empty
    bool operator==(const Peer&) const = default;
  };
  struct Certificate {
    std::string file;
    std::string subject;
    std::string expires;         // "2026-11-22 16:00:00 UTC"
    std::int64_t days_left = 0;  // negative: expired
    bool operator==(const Certificate&) const = default;
  };

  std::string host;
  std::string cluster;
  std::string referee;
  bool referee_reachable = false;  // also true on the referee itself
  std::string incarnation;         // hexadecimal
  std::string version;             // of the program
  std::uint64_t uptime_s = 0;
  std::vector<std::string> listen;
  std::vector<Peer> peers;
  std::vector<Certificate> certificates;
  std::map<std::string, std::uint64_t> counters;  // "calls_received": 12, ...; names in lower case with '_'
  std::vector<std::string> warnings;              // what an administrator should look at, in sentences
  bool operator==(const StatusReport&) const = default;
};

// {"objects": [{"kind": "msg", "key": "0x00001234", "owner": "vax", "id": 5, ...}], "silent_hosts": [...]}
struct ObjectsReport {
  struct Row {
    ObjectName name;
    std::string owner;    // host
    std::int32_t id = 0;  // on the owner
    // On the host that was asked: the owner's, or its stand-in's; none: not used here.
    std::optional<std::int32_t> local_id;
    std::string login;              // of the object's owner, as the owning host calls it
    std::uint32_t mode = 0;         // nine bits; in JSON a string of octal digits, "660"
    std::uint64_t used_bytes = 0;   // of a queue; of a segment its size
    std::uint64_t messages = 0;     // queues
    std::uint64_t semaphores = 0;   // semaphore sets
    std::uint64_t unconverted = 0;  // queues and segments: see wire's ObjectRow
    bool operator==(const Row&) const = default;
  };
  struct SilentHost {
    std::string name;
    std::string reason;
    bool operator==(const SilentHost&) const = default;
  };
  std::vector<Row> rows;                 // sorted by kind, key, owner, id
  std::vector<SilentHost> silent_hosts;  // their objects are not in the list
  bool operator==(const ObjectsReport&) const = default;
};

// Messages of this host's queues whose delivery stayed in doubt, a piece of the list: {"dead_letters": [{"id": 7,
// "time": "2026-11-22 16:00:00 UTC", ...}], "next": 507}, the field names being the members'. A row of a file that
// can't be read has "id" and "trouble" only.
struct DeadLettersReport {
  struct Row {
    std::uint64_t id = 0;  // of the letter
    std::string time;      // when it became one, as in Certificate::expires
    std::string reason;
    std::string host;              // whose receive had taken the message
    std::string login;             // who received, as that host calls it; empty: not known
    std::int32_t queue = 0;        // its id
    std::int32_t key = 0;          // in JSON as "0x00001234"; 0: IPC_PRIVATE or not known
    std::uint64_t generation = 0;  // of the queue; in JSON hexadecimal; 0: not known
    std::string owner;             // of the queue, a login or a uid
    std::int64_t type = 0;         // mtype; in JSON a string, JSON readers keep 53 bits of a number
    std::uint64_t bytes = 0;       // of text
    bool length_exact = true;      // false: zeros at the end may lack
    std::string trouble = {};      // why the file can't be read; empty: it can
    bool operator==(const Row&) const = default;
  };
  std::vector<Row> rows;              // by id, which is by age
  std::optional<std::uint64_t> next;  // ask for what comes after this id; none: that was all
  bool operator==(const DeadLettersReport&) const = default;
};

// One letter: the fields of its row, and "offset": 0, "text": "68690a". A piece of the text as bytes, which JSON has in
// hexadecimal.
struct DeadLetterText {
  DeadLettersReport::Row row;
  std::uint64_t offset = 0;
  std::string text;
  bool operator==(const DeadLetterText&) const = default;
};

// What hosts did with pages of a segment.
struct PageTraffic {
  std::uint64_t faults = 0;         // of programs, that the owner was asked about
  std::uint64_t read_aheads = 0;    // pages got before they were touched
  std::uint64_t transfers = 0;      // pages that were sent
  std::uint64_t bytes_moved = 0;    // by these
  std::uint64_t invalidations = 0;  // copies that were taken away
  std::uint64_t bounces = 0;        // pages taken from the host that wrote to them
  bool operator==(const PageTraffic&) const = default;
  PageTraffic& operator+=(const PageTraffic& other);
};

// The segments of this host: {"segments": [{"key": "0x00001234", "id": 5, ...}]}, the field names being the members'.
struct SegmentsReport {
  struct Row {
    std::int32_t key = 0;  // 0: IPC_PRIVATE, or removed
    std::int32_t id = 0;
    bool removed = false;  // and still attached
    std::string login;     // of its owner
    std::uint32_t mode = 0;
    std::uint64_t bytes = 0;
    std::uint64_t page_bytes = 0;  // with unit = "segment": all of it
    std::uint64_t pages = 0;
    std::uint64_t attachments = 0;                  // over all hosts
    std::uint64_t written = 0, read = 0, lost = 0;  // pages with a writer, with readers, lost with a host
    PageTraffic traffic;
    bool operator==(const Row&) const = default;
  };
  std::vector<Row> rows;
  bool operator==(const SegmentsReport&) const = default;
};

// One of them, page by page: {"segment": {...}, "map": "w.rr", ...}.
struct PagesReport {
  struct Page {
    std::uint64_t page = 0;
    std::string state;                             // "free", "read", "written", "lost"
    std::vector<std::string> holders;              // hosts
    bool busy = false;                             // on its way
    PageTraffic traffic;                           // of all hosts
    std::map<std::string, std::uint64_t> bounces;  // by host, those with some
    bool operator==(const Page&) const = default;
  };
  SegmentsReport::Row segment;
  // One character for each cell of `cell_pages` pages: what is gravest in it. '.' free, 'r' read, 'w' written, '*' on
  // its way, '!' lost.
  std::string map;
  std::uint64_t cell_pages = 1;
  std::map<std::string, PageTraffic> hosts;
  std::vector<Page> pages;  // that were ever touched; those that bounce most come first, then by number
  std::uint64_t more = 0;   // pages that are not in the list
  bool operator==(const PagesReport&) const = default;
};

// {"done": ["hosts.allow: 3 lines", "session with sun ended"]}, for what changes something.
struct AdminDone {
  std::vector<std::string> done;
  bool operator==(const AdminDone&) const = default;
};

// With Reply.error other than 0: {"troubles": [{"what": "...", "remedy": "..."}]}. After a reload that failed the old
// files stay in force.
struct AdminFailure {
  Troubles troubles;
};

std::string to_json(const StatusReport& report);
std::string to_json(const ObjectsReport& report);
std::string to_json(const DeadLettersReport& report);
std::string to_json(const DeadLetterText& letter);
std::string to_json(const SegmentsReport& report);
std::string to_json(const PagesReport& report);
std::string to_json(const AdminDone& done);
std::string to_json(const AdminFailure& failure);

Result<StatusReport> status_from_json(std::string_view json);
Result<ObjectsReport> objects_from_json(std::string_view json);
Result<DeadLettersReport> dead_letters_from_json(std::string_view json);
Result<DeadLetterText> dead_letter_text_from_json(std::string_view json);
Result<SegmentsReport> segments_from_json(std::string_view json);
Result<PagesReport> pages_from_json(std::string_view json);
Result<AdminDone> done_from_json(std::string_view json);
Result<AdminFailure> failure_from_json(std::string_view json);

}  // namespace dipc
