#pragma once

// The description of a cluster on one machine, as people write it (TOML):
//
//   cluster = "demo"
//   referee = "vax"                          # default: the first host
//   map     = ["alice@amiga alicia"]         # lines of every host's logins.map; default: same name, root is nobody
//   types   = ["struct note {...};", ...]    # lines of every host's types.d/lab.types; default: no file
//   [[host]]
//   name    = "vax"
//   arch    = "native"                       # or qemu's name of a machine: "m68k", "i386"; default native
//   logins  = { alice = 1001, bob = 1002 }   # uid and gid
//   groups  = { staff = { gid = 2000, members = ["alice"] } }
//   daemon  = true                           # false: a bare host, the kernel alone, no shim
//   address = "10.77.0.9"                    # default: 10.77.0.1 and up, in the order of the file
//   msgmax  = 1048576                        # also msgmnb, msgmni: the kernel's limits of this host
//   allow   = ["vax 10.77.0.1"]              # lines of this host's hosts.allow; default: every host of the file
//   map     = [...]                          # instead of the file's; types likewise
//   timing  = { keepalive = "100ms" }        # over the file's; limits, memory, ftok likewise
//   [[keys]]  [timing]  [limits]  [memory]  [ftok]   # handed to every host's dipc.toml as they are
//
// Errors name file and line.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "wire/result.h"

namespace dipc {

struct LabLogin {
  std::string name;
  std::uint32_t id = 0;  // uid and gid
};

struct LabGroup {
  std::string name;
  std::uint32_t id = 0;
  std::vector<std::string> members;
};

struct LabHost {
  std::string name;
  std::string machine;  // name of a Machine; empty: native
  std::string where;    // file and line of what says so, for those who find that it can't be had
  std::string address;
  bool has_daemon = true;
  std::vector<LabLogin> logins;  // in the order of the file; the first is exec's default
  std::vector<LabGroup> groups;
  std::map<std::string, std::int64_t> kernel_limits;  // msgmax -> value, for /proc/sys/kernel
  std::vector<std::string> allow;                     // lines of hosts.allow
  std::vector<std::string> login_map;                 // lines of logins.map; empty: no file
  std::vector<std::string> types;                     // lines of types.d/lab.types; empty: no file
  std::string configuration;                          // keys, timing, limits, memory and ftok as TOML, for dipc.toml

  const LabLogin* login(const std::string& login_name) const;  // nullptr: none of that name
};

struct LabFile {
  std::string cluster;
  std::string referee;
  std::vector<LabHost> hosts;  // at least one

  const LabHost* host(const std::string& name) const;
  std::string host_list() const;  // "vax, amiga"
};

inline constexpr int kLabPort = 7310;
inline constexpr int kLabPrefixBits = 24;

Result<LabFile> read_lab_file(const std::string& path);
// `name` is how errors call the text.
Result<LabFile> parse_lab_file(const std::string& text, const std::string& name);

}  // namespace dipc
