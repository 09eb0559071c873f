#include "daemon/core/logins_map.h"

#include <algorithm>

#include "daemon/core/configuration.h"
#include "daemon/core/text_lines.h"

namespace dipc {
namespace {

constexpr std::string_view kRoot = "root";
constexpr std::string_view kNobody = "nobody";
constexpr std::string_view kSameName = "*";

bool is_login_character(char c) {
  return static_cast<unsigned char>(c) > ' ' && c != '\x7f' &&
         std::string_view("/:,@*").find(c) == std::string_view::npos;
}

// `text` without its '*' could be a name, or it has nothing but '*'.
bool is_login_pattern(std::string_view text) {
  return !text.empty() && text.size() <= kLoginBytesMax && text.front() != '-' &&
         std::all_of(text.begin(), text.end(), [](char c) { return c == '*' || is_login_character(c); });
}

bool is_host_pattern(std::string_view text) {
  std::string as_name(text);
  std::replace(as_name.begin(), as_name.end(), '*', 'x');
  return is_host_name(as_name);
}

bool is_pattern(std::string_view text) { return text.find('*') != std::string_view::npos; }

}  // namespace

bool is_login_name(std::string_view login) {
  return !login.empty() && login.size() <= kLoginBytesMax && login.front() != '-' &&
         std::all_of(login.begin(), login.end(), is_login_character);
}

LoginsMap::LoginsMap()
    : file_("logins.map"), rules_{{std::string(kRoot), "*", std::string(kNobody), 0}, {"*", "*", "*", 0}} {}

Parsed<LoginsMap> LoginsMap::parse(std::string_view text, std::string_view file) {
  LoginsMap result;
  result.file_ = file;
  result.rules_.clear();
  Troubles troubles;
  for (const TextLine& line : split_lines(text)) {
    const auto wrong = [&](const std::string& what, std::string remedy) {
      troubles.push_back(trouble_at(file, line.number, what, std::move(remedy)));
    };
    const std::string form = "a line is: login@host  local-login";
    Rule rule;
    rule.line = line.number;
    bool good = true;
    const std::string_view from = line.words[0];
    const std::size_t at = from.find('@');
    if (at == std::string_view::npos) {
      wrong(in_quotes(from) + " is not login@host", form + "; login@* is that login on every host");
      good = false;
    } else {
      rule.login = from.substr(0, at);
      rule.host = to_lower(from.substr(at + 1));
      if (!is_login_pattern(rule.login)) {
        wrong(in_quotes(rule.login) + " before the @ is not a login or a pattern",
              form + ", where * stands for any characters");
        good = false;
      }
      if (!is_host_pattern(rule.host)) {
        wrong(in_quotes(from.substr(at + 1)) + " after the @ is not a host name or a pattern",
              form + ", where * stands for any characters");
        good = false;
      }
    }
    if (line.words.size() < 2) {
      wrong("the local login for " + in_quotes(from) + " is missing", form + "; * as the local login is the same name");
      continue;
    }
    rule.local = line.words[1];
    if (rule.local != kSameName && !is_login_name(rule.local)) {
      wrong(in_quotes(rule.local) + " is not a local login", "write one login, or * alone for the same name");
      good = false;
    }
    if (line.words.size() > 2) {
      wrong("there is more after the local login: " + in_quotes(line.words[2]), form + "; comments begin with #");
      good = false;
    }
    if (good) result.rules_.push_back(std::move(rule));
  }
  if (!troubles.empty()) return tl::unexpected(std::move(troubles));
  return result;
}

std::optional<LoginsMap::Mapped> LoginsMap::map(std::string_view login, std::string_view host) const {
  if (!is_login_name(login)) return std::nullopt;
  for (const Rule& rule : rules_) {
    if (!fits_pattern(rule.login, login) || !fits_pattern(rule.host, host)) continue;
    if (rule.local != kSameName) return Mapped{rule.local, rule.line, false};
    return Mapped{std::string(login == kRoot ? kNobody : login), rule.line, login != kRoot};
  }
  return std::nullopt;
}

std::optional<std::string> LoginsMap::login_at_peer(std::string_view local, std::string_view host) const {
  const auto leads_here = [&](std::string_view login) {
    if (login == kRoot && local != kRoot) return false;  // what nobody owns here is not root's there
    const auto mapped = map(login, host);
    return mapped && mapped->local == local;
  };
  for (const Rule& rule : rules_) {
    if (!is_pattern(rule.login) && rule.local == local && fits_pattern(rule.host, host) && leads_here(rule.login)) {
      return rule.login;
    }
  }
  if (leads_here(local)) return std::string(local);
  return std::nullopt;
}

std::string LoginsMap::explain(std::string_view login, std::string_view host) const {
  std::string who(login);
  if (!is_login_name(login)) return in_quotes(login) + " of " + std::string(host) + " is not a login name";
  who.append("@").append(host);
  const auto mapped = map(login, host);
  if (!mapped) return who + " matches no line of " + file_;
  const std::string place =
      mapped->line == 0 ? "built-in rule, no " + file_ : file_ + ":" + std::to_string(mapped->line);
  return who + " maps to " + mapped->local + " (" + place + ")";
}

std::vector<std::string> LoginsMap::lines() const {
  std::vector<std::string> lines;
  for (const Rule& rule : rules_) lines.push_back(rule.login + "@" + rule.host + " " + rule.local);
  return lines;
}

}  // namespace dipc
