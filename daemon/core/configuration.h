#pragma once

// dipc.toml as a value. parse_configuration() is pure; daemon/io/configuration_files.h reads the file.
//
// Host names are kept in lower case everywhere, so that "Vax" in one file and "vax" in another are one host, and two
// spellings can never be two hosts.
//
// A wildcard address (0.0.0.0, [::]) is accepted in `listen` only because it stands there written out; there is no
// short form for it and no default. Addresses are numbers, never names: who may be dialled must not hang on a name
// service.

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/core/ip_address.h"
#include "daemon/core/time.h"
#include "wire/messages.h"
#include "wire/parsed.h"

namespace dipc {

// Keys that one [[keys]] table speaks of. Keys are compared as unsigned numbers: 0x80000000 and up are the negative
// key_t values.
struct KeyRange {
  enum class What : std::uint8_t { kKeys, kAll, kPrivate };  // kAll: every key but IPC_PRIVATE, which is no key
  What what = What::kKeys;
  std::uint32_t first = 0;  // kKeys: first..last, both included, never 0
  std::uint32_t last = 0;
  bool operator==(const KeyRange&) const = default;

  bool contains(std::int32_t key) const;
  std::string to_string() const;  // as written in the file: "0x1000-0x1fff", "all", "private"
};

enum class CoherenceUnit : std::uint8_t { kPage, kSegment };

// How segments are brought to programs page by page (daemon/pager/pager.h). kBest: userfaultfd where this host has it.
enum class PagerChosen : std::uint8_t { kBest, kUserfaultfd, kSigsegv };

// One [[keys]] table.
struct KeyRule {
  std::vector<KeyRange> ranges;               // at least one
  std::vector<Kind> kinds;                    // in the order of Kind, at least one; default all
  std::string home;                           // empty: the creator's host
  bool refuse = false;                        // these keys stay on this host, and a get with IPC_DIPC is EACCES
  CoherenceUnit unit = CoherenceUnit::kPage;  // segments only
  std::uint64_t page_bytes = 0;               // segments only: at least so large, a power of two; 0: as hosts have them
  std::optional<Duration> hold_time;          // segments only
  std::size_t line = 0;                       // where the table begins, for the log

  bool speaks_of(Kind kind, std::int32_t key) const;
  // All that it says in one line: "all, private of msg, sem at vax", "all of msg refused".
  std::string to_string() const;
};

struct Configuration {
  std::string file;  // as the log names it
  std::string cluster;
  std::string host;
  std::vector<Endpoint> listen;
  std::string referee;                    // may be this host
  std::map<std::string, Endpoint> peers;  // where to dial; never this host itself

  struct Timing {
    Duration keepalive = std::chrono::seconds(1);        // idle time after which a keep-alive is sent
    Duration peer_timeout = std::chrono::seconds(10);    // silence after which a peer is dead
    Duration op_timeout = std::chrono::seconds(5);       // wait for a referee, or for a daemon that restarts
    Duration claim_timeout = std::chrono::seconds(5);    // a claim to create that is not registered ends
    Duration busy_poll = std::chrono::microseconds(50);  // how long to look for work before sleeping, while that pays
    bool operator==(const Timing&) const = default;
  } timing;

  struct Limits {
    std::uint32_t blocked_calls_per_peer = 10000;
    std::uint32_t connections_per_peer = 16;           // from one address, with those that have not said who they are
    std::uint64_t bytes_per_peer = 256ull << 20;       // of its messages here, and of answers that it does not take
    std::uint32_t calls_per_login = 10000;             // of this host's programs, under way to other hosts
    std::uint32_t connections_per_login = 10000;       // one for each thread that uses distributed objects
    std::uint64_t bytes_per_login = 256ull << 20;      // of calls under way and of answers not yet read
    std::uint64_t session_buffer_bytes = 64ull << 20;  // unacknowledged, per session
    std::uint32_t dead_letters = 10000;
    std::uint64_t segment_bytes = 4ull << 30;
    std::uint32_t segments_per_login = 1000;      // that live here, of the login that made them
    std::uint32_t segments_per_peer = 1000;       // likewise, of the host
    std::uint32_t attachments_per_login = 10000;  // of this host's programs, with those of forked children
    bool operator==(const Limits&) const = default;
  } limits;

  struct Memory {
    PagerChosen pager = PagerChosen::kBest;
    bool operator==(const Memory&) const = default;
  } memory;

  std::vector<std::string> ftok_paths;  // for which ftok gives the same keys on every host (ftok_paths.h)

  std::vector<KeyRule> keys;  // in the order of the file: the first that fits decides

  struct Paths {
    std::string run;    // socket, slots
    std::string state;  // what a restart needs
    bool operator==(const Paths&) const = default;
  } paths;
};

// What the file need not say.
struct ConfigurationDefaults {
  std::string host;  // the machine's name, without its domain
  Configuration::Paths paths;
};

// /run/dipc and /var/lib/dipc for root; else $XDG_RUNTIME_DIR/dipc and $HOME/.local/state/dipc. An unset variable (null
// or empty) gives /tmp/dipc-UID and /tmp/dipc-UID/state: both are made with mode 0700 by the daemon.
Configuration::Paths default_paths(std::uint32_t effective_uid, const char* xdg_runtime_dir, const char* home);

// `file` is how errors name the text ("dipc.toml"). Every Trouble is "file:line: what is wrong" with a remedy; a key
// that does not exist is an error too, with the nearest one that does.
Parsed<Configuration> parse_configuration(std::string_view text, std::string_view file,
                                          const ConfigurationDefaults& defaults);

// What is no mistake by itself and yet hardly meant: a `home` that is neither this host nor one that it dials. Each
// with file and line.
std::vector<std::string> warnings_of(const Configuration& configuration);

// Letters, digits, '-', '_' and '.', not first or last a '-' or '.', at most 64 characters: what may stand in a
// certificate, in hosts.allow and in logins.map alike. Lower case only.
bool is_host_name(std::string_view name);

}  // namespace dipc
