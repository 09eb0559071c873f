#pragma once

// Who may take part: hosts.allow, one line a host and address.
//
//   # name   address or network   [sha256:fingerprint of its certificate]
//   vax      10.0.0.3
//   sun      10.0.1.0/24          sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
//
// A host may have several lines; one that fits is enough. Names are host names, written out: a certificate of the
// cluster's CA alone lets nobody in. A file without lines lets nobody in.

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/core/ip_address.h"
#include "wire/parsed.h"

namespace dipc {

// What a handshake showed of the other side. The certificate's chain has been verified before.
struct PeerIdentity {
  std::vector<std::string> certificate_names;  // DNS names of its subject alternative name
  std::string fingerprint;   // SHA-256 of the certificate's DER form, in any form of normalize_fingerprint()
  IpAddress address;         // where the connection comes from, or goes to
  std::string claimed_host;  // Hello.host; for one who dials, also the host that it dialled
};

class HostsAllow {
 public:
  struct Verdict {
    bool allowed = false;
    std::size_t line = 0;  // the line that let it in, or the nearest one that did not; 0 = none
    // For the log, empty if allowed: "sun is listed, but 10.0.0.9 is not in 10.0.0.3 (hosts.allow:2)".
    std::string reason;
  };

  HostsAllow() = default;  // lets nobody in
  static Parsed<HostsAllow> parse(std::string_view text, std::string_view file);

  // The claimed name must be lower case, as configurations keep it: one host has one spelling.
  Verdict check(const PeerIdentity& peer) const;

  // Does any line hold this address? For a listener that wants to close early, before a handshake is paid for.
  bool may_come_from(const IpAddress& address) const;
  bool lists(std::string_view host) const;
  std::size_t line_count() const { return rules_.size(); }
  // The rules as lines that say the same, without comments: "sun 10.0.1.0/24 sha256:9f86...".
  std::vector<std::string> lines() const;

 private:
  struct Rule {
    std::string host;
    IpNetwork network;
    std::string fingerprint;  // empty: any certificate that carries the name
    std::size_t line = 0;
  };
  std::string file_ = "hosts.allow";
  std::vector<Rule> rules_;
};

// "sha256:AB:CD:...", "AB:CD:..." or plain digits, to 64 lower-case hexadecimal digits. Empty: not a fingerprint.
std::optional<std::string> normalize_fingerprint(std::string_view text);

}  // namespace dipc
