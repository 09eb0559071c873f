#pragma once

// The declarations of a program's structs, from its DWARF debug information. Programs of every architecture are read,
// so one machine with the programs of all declares for all. Source: DWARF 5, chapters 5.4 to 5.9; elfutils' libdw reads
// it.

#include <filesystem>
#include <string>
#include <vector>

#include "wire/parsed.h"

namespace dipc {

struct ImportedTypes {
  std::string declarations;        // the structs with those they contain, as parse_types() reads it; and the typedefs
  std::vector<std::string> notes;  // what whoever uses them should know, a line each
};

// `names`: of each a struct's tag, or a typedef's name of a struct. Troubles: what can't be read, and by member name
// all that can't be converted (pointers, unions, bit-fields, long double). In a build without libdw (crossed ones)
// always one.
Parsed<ImportedTypes> import_types(const std::filesystem::path& program, const std::vector<std::string>& names);

}  // namespace dipc
