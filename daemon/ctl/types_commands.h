#pragma once

// `dipcctl types`: are declarations good, where does a struct lie on a machine, what would the declaration of a
// program's struct be. Text for people comes out; docs/LAYOUTS.md tells the story.

#include <filesystem>
#include <string>
#include <vector>

#include "arch/abi.h"
#include "daemon/io/type_files.h"
#include "layouts/declarations.h"
#include "wire/parsed.h"

namespace dipc {

// What was declared in these files and folders, one line each.
Parsed<std::string> check_types(const std::vector<std::filesystem::path>& paths);

// "m68k", "x86-64": machines that known_abi() knows; "i386/time64" is one whose program has a time_t of 64 bits.
Result<Abi> abi_named(const std::string& name);

// Offsets, sizes and padding of structs and all they contain; for two machines side by side, with a * where they
// differ. `machines`: one or two names.
Parsed<std::string> show_types(const std::vector<std::filesystem::path>& paths, const std::vector<std::string>& names,
                               const std::vector<std::string>& machines);

}  // namespace dipc
