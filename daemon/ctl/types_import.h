#pragma once

// The declaration of a program's struct, from its DWARF debug information. Programs of every architecture are read, so
// one machine with the programs of all declares for all.
// Source: DWARF 5, chapters 5.4 to 5.9; elfutils' libdw reads it.

#include <filesystem>
#include <string>
#include <vector>

#include "wire/parsed.h"

namespace dipc {

struct ImportedType {
  std::string declaration;         // the struct with those it contains, as parse_types() reads it; and the typedef
  std::vector<std::string> notes;  // what whoever uses it should know, a line each
};

// `name`: a struct's tag, or a typedef's name of a struct. Troubles: what can't be read, and by member name all that
// can't be converted (pointers, unions, bit-fields, long double). In a build without libdw (crossed ones) always one.
Parsed<ImportedType> import_type(const std::filesystem::path& program, const std::string& name);

}  // namespace dipc
