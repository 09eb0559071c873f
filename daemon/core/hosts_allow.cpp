#include "daemon/core/hosts_allow.h"

#include <algorithm>

#include "daemon/core/configuration.h"
#include "daemon/core/text_lines.h"

namespace dipc {
namespace {

constexpr std::size_t kFingerprintDigits = 64;

std::string join(const std::vector<std::string>& names) {
  std::string result;
  for (const std::string& name : names) result.append(result.empty() ? "" : ", ").append(name);
  return result;
}

}  // namespace

std::optional<std::string> normalize_fingerprint(std::string_view text) {
  const std::string lower = to_lower(text);
  std::string_view rest = lower;
  if (rest.starts_with("sha256:")) rest.remove_prefix(7);
  std::string digits;
  for (std::size_t i = 0; i < rest.size(); ++i) {
    const char c = rest[i];
    if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')) {
      digits.push_back(c);
    } else if (c != ':' || i % 3 != 2 || i + 1 == rest.size()) {  // openssl prints a colon after each byte
      return std::nullopt;
    }
  }
  const bool all_or_no_colons = rest.size() == kFingerprintDigits || rest.size() == kFingerprintDigits / 2 * 3 - 1;
  if (digits.size() != kFingerprintDigits || !all_or_no_colons) return std::nullopt;
  return digits;
}

Parsed<HostsAllow> HostsAllow::parse(std::string_view text, std::string_view file) {
  HostsAllow result;
  result.file_ = file;
  Troubles troubles;
  for (const TextLine& line : split_lines(text)) {
    const auto wrong = [&](const std::string& what, std::string remedy) {
      troubles.push_back(trouble_at(file, line.number, what, std::move(remedy)));
    };
    const std::string form = "a line is: name  address-or-network  [sha256:fingerprint]";
    Rule rule;
    rule.line = line.number;
    rule.host = to_lower(line.words[0]);
    bool good = true;
    if (!is_host_name(rule.host)) {
      wrong(in_quotes(line.words[0]) + " is not a host name",
            rule.host.find('*') != std::string::npos
                ? "write one line for each host: every host is named, patterns are not taken here"
                : form);
      good = false;
    }
    if (line.words.size() < 2) {
      wrong("the address of " + in_quotes(line.words[0]) + " is missing", form);
      continue;
    }
    if (auto network = IpNetwork::parse(line.words[1])) {
      rule.network = *network;
    } else {
      wrong(network.error().what, network.error().remedy);
      good = false;
    }
    if (line.words.size() >= 3) {
      const auto fingerprint =
          to_lower(line.words[2]).starts_with("sha256:") ? normalize_fingerprint(line.words[2]) : std::nullopt;
      if (fingerprint) {
        rule.fingerprint = *fingerprint;
      } else {
        wrong(in_quotes(line.words[2]) + " is not a fingerprint",
              "write sha256: and 64 hexadecimal digits, as `openssl x509 -noout -fingerprint -sha256` shows them");
        good = false;
      }
    }
    if (line.words.size() > 3) {
      wrong("there is more after the fingerprint: " + in_quotes(line.words[3]), form + "; comments begin with #");
      good = false;
    }
    if (good) result.rules_.push_back(std::move(rule));
  }
  if (!troubles.empty()) return tl::unexpected(std::move(troubles));
  return result;
}

HostsAllow::Verdict HostsAllow::check(const PeerIdentity& peer) const {
  const std::string shown = in_quotes(peer.claimed_host);
  // A host that could spell its name in two ways could be two hosts.
  if (!is_host_name(peer.claimed_host)) return {false, 0, shown + " is not a host name in lower case"};
  if (!lists(peer.claimed_host)) return {false, 0, peer.claimed_host + " is not listed in " + file_};
  const bool carried = std::any_of(peer.certificate_names.begin(), peer.certificate_names.end(),
                                   [&](const std::string& name) { return to_lower(name) == peer.claimed_host; });

  Verdict nearest_miss;
  std::string networks;
  for (const Rule& rule : rules_) {
    if (rule.host != peer.claimed_host) continue;
    const std::string place = " (" + file_ + ":" + std::to_string(rule.line) + ")";
    if (!carried) {
      const std::string names = peer.certificate_names.empty() ? "no name" : join(peer.certificate_names);
      return {false, rule.line,
              "the certificate does not carry the name " + peer.claimed_host + ", it carries " + names + place};
    }
    if (!rule.network.contains(peer.address)) {
      networks.append(networks.empty() ? "" : ", ").append(rule.network.to_string()).append(place);
      if (nearest_miss.line == 0) nearest_miss.line = rule.line;
      continue;
    }
    const auto shown_fingerprint = normalize_fingerprint(peer.fingerprint);
    if (rule.fingerprint.empty() || shown_fingerprint == rule.fingerprint) return {true, rule.line, {}};
    // A line that fits the address says more about what is wrong than one that does not.
    nearest_miss.line = rule.line;
    nearest_miss.reason = peer.claimed_host + "'s certificate has the fingerprint " +
                          (shown_fingerprint ? "sha256:" + *shown_fingerprint : in_quotes(peer.fingerprint)) +
                          ", not sha256:" + rule.fingerprint + place;
  }
  if (nearest_miss.reason.empty()) {
    nearest_miss.reason = peer.claimed_host + " is listed, but " + peer.address.to_string() + " is not in " + networks;
  }
  return nearest_miss;
}

bool HostsAllow::may_come_from(const IpAddress& address) const {
  return std::any_of(rules_.begin(), rules_.end(), [&](const Rule& rule) { return rule.network.contains(address); });
}

bool HostsAllow::lists(std::string_view host) const {
  return std::any_of(rules_.begin(), rules_.end(), [&](const Rule& rule) { return rule.host == host; });
}

std::vector<std::string> HostsAllow::lines() const {
  std::vector<std::string> lines;
  for (const Rule& rule : rules_) {
    std::string line = rule.host + " " + rule.network.to_string();
    if (!rule.fingerprint.empty()) line += " sha256:" + rule.fingerprint;
    lines.push_back(std::move(line));
  }
  return lines;
}

}  // namespace dipc
