// The lab file, however damaged: a cluster whose names are fit for paths, /etc/passwd and /etc/hosts, or a trouble that
// has a place.

#include <algorithm>
#include <cstdint>
#include <set>
#include <string>

#include "cli/lab_file.h"
#include "daemon/core/configuration.h"
#include "daemon/core/ip_address.h"
#include "wire/check.h"

namespace dipc {
namespace {

// Of a login or a group: it ends up between colons.
bool is_word(const std::string& name) {
  return !name.empty() && std::none_of(name.begin(), name.end(), [](char c) {
    return static_cast<unsigned char>(c) <= 0x20 || c == 0x7f || c == ':' || c == '/' || c == ',';
  });
}

void use(const LabFile& lab) {
  DIPC_CHECK(is_word(lab.cluster) && lab.cluster != "." && lab.cluster != "..");
  DIPC_CHECK(!lab.hosts.empty() && lab.host(lab.referee) != nullptr && !lab.host_list().empty());
  std::set<std::string> names, addresses;
  for (const LabHost& host : lab.hosts) {
    DIPC_CHECK(is_host_name(host.name) && names.insert(host.name).second);
    DIPC_CHECK(IpAddress::parse(host.address).has_value() && addresses.insert(host.address).second);
    for (const LabLogin& login : host.logins) DIPC_CHECK(is_word(login.name));
    for (const LabGroup& group : host.groups) {
      DIPC_CHECK(is_word(group.name));
      for (const std::string& member : group.members) DIPC_CHECK(is_word(member));
    }
    for (const auto& [name, value] : host.kernel_limits) {
      DIPC_CHECK(value >= 0 && (name == "msgmax" || name == "msgmnb" || name == "msgmni"));
    }
    for (const auto* lines : {&host.allow, &host.login_map}) {
      for (const std::string& line : *lines) DIPC_CHECK(line.find('\n') == std::string::npos);
    }
  }
}

}  // namespace
}  // namespace dipc

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  const auto lab = dipc::parse_lab_file({reinterpret_cast<const char*>(data), bytes}, "lab.toml");
  if (lab) {
    dipc::use(*lab);
  } else {
    DIPC_CHECK(lab.error().what.starts_with("lab.toml:"));
  }
  return 0;
}
