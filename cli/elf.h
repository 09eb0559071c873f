#pragma once

// What the kernel and qemu look at in a program file before they run it: enough of the ELF header to tell whose program
// it is and whether a library can be preloaded into it.
// Source: elf(5).

#include <cstdint>
#include <optional>
#include <string>

#include "arch/abi.h"

namespace dipc {

struct ElfIdentity {
  std::uint16_t machine = 0;  // EM_X86_64, EM_68K, ...
  bool is_64_bit = false;
  ByteOrder byte_order = ByteOrder::kLittle;
  bool has_interpreter = false;  // dynamically linked: only such programs take LD_PRELOAD
};

// Nothing for a file that is no ELF file, is cut short, or can't be read.
std::optional<ElfIdentity> read_elf(const std::string& path);

// Made for the same machine (whether static or not).
bool same_machine(const ElfIdentity& a, const ElfIdentity& b);

}  // namespace dipc
