#pragma once

// The machines whose programs we know how to run under qemu's user mode, as data: a new one is a line in the table.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/elf.h"

namespace dipc {

struct Machine {
  std::string_view name;     // qemu's, and the lab file's `arch`: "m68k"
  std::string_view triplet;  // Debian's: libraries lie in lib/TRIPLET
  ElfIdentity elf;           // of its programs; has_interpreter means nothing here
  std::string_view
      compiler;  // Debian's cross compiler is COMPILER-gcc, its libraries lie in /usr/COMPILER; empty: triplet
  std::string_view also_on;  // the machine whose kernel runs its programs besides its own; empty: none
  std::string_view biarch;   // where its libraries lie as a second set of that machine's: "lib32"

  std::string_view compiler_prefix() const { return compiler.empty() ? triplet : compiler; }
  // What $LIB may mean to its dynamic loader, which depends on the package that it came with.
  std::vector<std::string> loader_folders() const;
};

const Machine* machine_named(std::string_view name);  // nullptr: not known
const Machine* machine_of(const ElfIdentity& elf);    // nullptr: not known

std::string machine_names();  // "x86_64, i386, ..."

// What this program itself was compiled for; nullptr if that is not in the table.
const Machine* native_machine();

// Runs here without qemu: our own machine's programs, and those its kernel runs besides (i386 on x86-64).
bool runs_natively(const ElfIdentity& elf);
std::vector<const Machine*> native_machines();

// Where a guest's dynamic loader and libraries lie for qemu's -L: $QEMU_LD_PREFIX, or the cross
// compiler's folder. Empty: take them from / (multiarch packages).
std::string guest_library_prefix(const Machine& machine);

}  // namespace dipc
