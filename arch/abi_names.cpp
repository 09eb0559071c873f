#include "arch/abi_names.h"

namespace dipc {

std::string spoken(const Abi& abi) {
  std::string machines;
  for (const std::string_view machine : kKnownMachines) {
    if (known_abi(machine) == abi) machines.append(machines.empty() ? "" : ", ").append(machine);
  }
  std::string text = std::to_string(abi[CType::kPointer].size_bytes * 8) + "-bit ";
  text += abi.byte_order == ByteOrder::kBig ? "big-endian" : "little-endian";
  return machines.empty() ? text : text + " (" + machines + ")";
}

}  // namespace dipc
