#pragma once

// How many bytes a message of a queue may have for one receiver, who has it converted: that depends on what it is,
// which its type says.

#include <algorithm>
#include <cstdint>
#include <vector>

namespace dipc {

struct ReceiveRoom {
  struct Types {
    std::int64_t first = 0;
    std::int64_t last = 0;  // included
    std::uint64_t bytes = 0;
  };
  std::vector<Types> types;     // without overlaps
  std::uint64_t otherwise = 0;  // all others
  bool cut = false;             // MSG_NOERROR: what is longer is received as a whole, to be cut after conversion

  std::uint64_t of(std::int64_t type) const {
    for (const Types& one : types) {
      if (one.first <= type && type <= one.last) return one.bytes;
    }
    return otherwise;
  }
  std::uint64_t least() const {
    std::uint64_t bytes = otherwise;
    for (const Types& one : types) bytes = std::min(bytes, one.bytes);
    return bytes;
  }
  // The next more than `bytes` that some message may have; `bytes` itself: none may have more.
  std::uint64_t next_above(std::uint64_t bytes) const {
    std::uint64_t found = otherwise > bytes ? otherwise : UINT64_MAX;
    for (const Types& one : types) {
      if (one.bytes > bytes) found = std::min(found, one.bytes);
    }
    return found == UINT64_MAX ? bytes : found;
  }
};

}  // namespace dipc
