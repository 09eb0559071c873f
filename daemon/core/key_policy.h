#pragma once

// Which keys are distributed, and where their objects live: the [[keys]] tables of dipc.toml. Where tables overlap the
// first that speaks of the kind and key decides, so exceptions stand before the rule that they are exceptions of.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/core/configuration.h"

namespace dipc {

class KeyPolicy {
 public:
  enum class Outcome : std::uint8_t {
    kLocal,        // not ours: the kernel of the host alone
    kDistributed,  // through the referee
    kRefused,      // asked for with IPC_DIPC, and the administrator keeps the key undistributed: EACCES
  };
  struct Decision {
    Outcome outcome = Outcome::kLocal;
    std::string home;      // kDistributed: the host where it is made; empty = the creator's
    std::size_t line = 0;  // of the [[keys]] table that decided; 0 = none did
  };

  KeyPolicy() = default;  // IPC_DIPC alone distributes
  KeyPolicy(std::vector<KeyRule> rules, std::string_view file);

  // `key` 0 is IPC_PRIVATE. `ipc_dipc`: the get flags carry IPC_DIPC.
  Decision decide(Kind kind, std::int32_t key, bool ipc_dipc) const;

  // How a segment of that key is shared: of the first table that speaks of it. 0 is IPC_PRIVATE.
  struct Sharing {
    CoherenceUnit unit = CoherenceUnit::kPage;
    std::uint64_t page_bytes = 0;  // at least; a power of two, at most kUnitBytesMax
    Duration hold_time = std::chrono::milliseconds(2);
  };
  Sharing sharing(std::int32_t key) const;

  // For the log: "msg 0x00001234 is refused (dipc.toml:31)".
  std::string explain(Kind kind, std::int32_t key, bool ipc_dipc) const;

  // May another host have this (kind, key) made here or reached here? False where a refusing table speaks of it.
  bool serves(Kind kind, std::int32_t key) const;

 private:
  const KeyRule* first_that_fits(Kind kind, std::int32_t key) const;
  std::vector<KeyRule> rules_;
  std::string file_ = "dipc.toml";
};

}  // namespace dipc
