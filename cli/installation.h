#pragma once

// Where our own files lie: beside this program, installed under a prefix or in a build folder, for this machine and for
// guests. Every file found is checked to be of the machine it is wanted for.
//
// Looked at in this order:
//   libraries   DIPC_LIBRARY_PATH (folders, ':' between), each as FOLDER/TRIPLET/ and FOLDER/
//   built       BUILD/cli/dipc: BUILD/{shim,daemon,daemon/ctl}/, for guests the same in $DIPC_M68K_BUILD (and so on, by
//               the machine's name) and in the folders beside BUILD, first the one with the machine's name
//   installed   PREFIX/bin/dipc: PREFIX/lib/TRIPLET/ and PREFIX/lib/; PREFIX/{bin,sbin}/PROGRAM, for guests
//               PREFIX/lib/TRIPLET/dipc/PROGRAM
//   libraries   /usr/local/lib and /usr/lib, each with TRIPLET/ and without

#include <string>

#include "cli/machines.h"

namespace dipc {

// The shim as LD_PRELOAD wants it, empty if there is none. A library in a folder lib/TRIPLET is named through the
// dynamic loader's own $LIB ("/usr/$LIB/libdipc.so"), so that a process of another class that inherits the variable
// takes the shim of its class; provided that it is in every folder that $LIB may mean to a loader of its machine.
std::string find_shim(const ElfIdentity& program);

// The shim's own file, empty if there is none.
std::string find_shim_file(const ElfIdentity& program);

// "dipcd" or "dipcctl" for that machine, empty if there is none.
std::string find_program(std::string_view name, const ElfIdentity& machine);

// qemu's user-mode emulator: qemu-NAME-static or qemu-NAME, looked for in PATH, /usr/local/bin, /usr/bin and in the
// folder `tools` beside the build folder, where set-up puts one that is not installed. Empty: there is none.
std::string find_emulator(const Machine& machine);

// This program's own path.
std::string own_path();

}  // namespace dipc
