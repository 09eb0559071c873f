// hosts.allow and logins.map, however damaged: no line lets in more than it says. Both read the same input.

#include <cstdint>
#include <string>
#include <string_view>

#include "daemon/core/hosts_allow.h"
#include "daemon/core/logins_map.h"
#include "wire/check.h"

namespace dipc {
namespace {

void check(const Troubles& troubles, std::string_view file) {
  DIPC_CHECK(!troubles.empty());
  for (const Trouble& one : troubles) DIPC_CHECK(one.what.starts_with(file) && !one.remedy.empty());
}

void use(const HostsAllow& allow) {
  for (const char* address : {"10.0.0.2", "10.0.0.255", "0.0.0.0", "::1", "fd00::2"}) {
    for (const char* host : {"sun", "vax", "nobody.else"}) {
      PeerIdentity peer{{host}, std::string(64, 'a'), *IpAddress::parse(address), host};
      const auto verdict = allow.check(peer);
      DIPC_CHECK(verdict.allowed == verdict.reason.empty());
      if (verdict.allowed) DIPC_CHECK(allow.lists(host) && allow.may_come_from(peer.address) && verdict.line > 0);
      peer.certificate_names = {"another"};
      DIPC_CHECK(!allow.check(peer).allowed);
    }
  }
}

void use(const LoginsMap& map) {
  for (const char* host : {"sun", "vax"}) {
    for (const char* login : {"alice", "root", "nobody", "*", "", "a b", "x@y"}) {
      const auto mapped = map.map(login, host);
      DIPC_CHECK(!map.explain(login, host).empty());
      if (!mapped) continue;
      DIPC_CHECK(is_login_name(login) && is_login_name(mapped->local));
      if (mapped->same_name) DIPC_CHECK(mapped->local == login);
    }
    for (const char* local : {"alice", "root", "nobody", "*"}) {
      const auto login = map.login_at_peer(local, host);
      if (!login) continue;
      const auto back = map.map(*login, host);
      DIPC_CHECK(back.has_value() && back->local == local);
    }
  }
}

}  // namespace
}  // namespace dipc

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  const std::string_view text(reinterpret_cast<const char*>(data), bytes);
  if (const auto allow = dipc::HostsAllow::parse(text, "hosts.allow")) {
    dipc::use(*allow);
  } else {
    dipc::check(allow.error(), "hosts.allow:");
  }
  if (const auto map = dipc::LoginsMap::parse(text, "logins.map")) {
    dipc::use(*map);
  } else {
    dipc::check(map.error(), "logins.map:");
  }
  return 0;
}
