#pragma once

// Reads *.types files. docs/LAYOUTS.md says what is in them; the parser is in layouts/.

#include <filesystem>
#include <vector>

#include "layouts/declarations.h"
#include "wire/parsed.h"

namespace dipc {

inline constexpr char kTypesFolder[] = "/etc/dipc/types.d";

// The *.types files of a folder, sorted by name; anything else is a file itself. Trouble: it can't be read.
Result<std::vector<std::filesystem::path>> type_files_of(const std::filesystem::path& path);

// The declarations of these files in their order; of a folder those of type_files_of(), of which there
// must be some.
Parsed<TypeSet> read_types(const std::vector<std::filesystem::path>& paths);

}  // namespace dipc
