#pragma once

// The referee's tables and their form on disk: which host owns the object of each name, which number each host has.
// Pure text in and out; the caller writes it with an atomic rename and reads it at start.
//
//   dipc-registry 1                                        or: dipc-registry 1 learning
//   msg 0x00001234 00f3a96c11d0b7e2 sun 5e1c4b7a-...      kind, key, generation (hexadecimal), owner, owner's boot id
//   host sun 5                                            the number of a host (host_numbers.h)
//   end 2 8c0f9a3d5b7e6621                                number of entries, FNV-1a (64 bits) of all lines before
//
// The number in the first line is the version of the format: a file of a newer one is not read. "learning" says that an
// earlier table was lost and its grace time was not over when this was written: more objects may exist than it lists,
// so a referee that starts with it needs a grace time of its own. The last line tells a cut file from a whole one.
// Blanks, control characters, bytes above 0x7e and '%' in owner and boot id are written %XX.

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "daemon/core/host_numbers.h"
#include "wire/messages.h"
#include "wire/result.h"

namespace dipc {

struct RegistryEntry {
  std::string owner;             // host name
  std::string boot;              // boot id of the owner (Hello::boot) when it registered the object
  std::uint64_t generation = 0;  // given by the owner
  bool operator==(const RegistryEntry&) const = default;
};

using Registry = std::map<ObjectName, RegistryEntry>;

struct RegistryFile {
  Registry table;
  bool complete = true;  // false: "learning"
  HostNumbers::Table numbers = {};
  bool operator==(const RegistryFile&) const = default;
};

// `complete` is !Referee::in_grace().
std::string render_registry(const Registry& table, bool complete, const HostNumbers::Table& numbers = {});

// Trouble: not a registry, a newer version, cut short, damaged; `what` begins with `file` (and the line). The caller
// leaves the file as it is then, since starting with an empty table would let a name get a second owner.
Result<RegistryFile> parse_registry(std::string_view file, std::string_view text);

}  // namespace dipc
