#pragma once

// The machines whose programs we know how to run under qemu's user mode, as data: a new one is a line in the table.

#include <optional>
#include <string>
#include <string_view>

#include "cli/elf.h"

namespace dipc {

struct Machine {
  std::string_view name;     // qemu's, and the lab file's `arch`: "m68k"
  std::string_view triplet;  // Debian's: libraries lie in lib/TRIPLET, and a cross compiler's in /usr/TRIPLET
  ElfIdentity elf;           // of its programs; has_interpreter means nothing here
};

const Machine* machine_named(std::string_view name);  // nullptr: not known
const Machine* machine_of(const ElfIdentity& elf);    // nullptr: not known

// What this program itself was compiled for; nullptr if that is not in the table.
const Machine* native_machine();

// Runs here without qemu: our own machine's programs, and those its kernel runs besides (i386 on x86-64).
bool runs_natively(const ElfIdentity& elf);

// Where a guest's dynamic loader and libraries lie for qemu's -L: $QEMU_LD_PREFIX, or the cross compiler's
// /usr/TRIPLET. Empty: take them from / (multiarch packages).
std::string guest_library_prefix(const Machine& machine);

}  // namespace dipc
