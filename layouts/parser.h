#pragma once

// Reads *.types files: docs/LAYOUTS.md has the grammar.

#include <span>
#include <string>
#include <string_view>

#include "layouts/declarations.h"
#include "wire/parsed.h"

namespace dipc {

struct TypeFile {
  std::string name;  // for messages
  std::string_view text;
};

// The files in the order given are one set: a name declared in one is known in those after it. Errors are all that is
// wrong, at most some twenty, each "chat.types:3:8: what" with its remedy. Bounded for hostile text: 1 MiB a file,
// structs up to 1 GiB, 32 deep, 65,536 places for scalars in a struct with all its nested structs.
Parsed<TypeSet> parse_types(std::span<const TypeFile> files);

}  // namespace dipc
