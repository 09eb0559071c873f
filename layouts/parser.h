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

inline constexpr std::size_t kTypesFileBytesMax = std::size_t{1} << 20U;

// The files in the order given are one set: a name declared in one is known in those after it. Errors are all that is
// wrong, at most some twenty, each "chat.types:3:8: what" with its remedy. Bounded for hostile text: files up to
// kTypesFileBytesMax, structs up to kStructBytesMax on every machine and in the canonical form, and the limits of
// declarations.h; time and memory grow with the text's length, but for sorting.
Parsed<TypeSet> parse_types(std::span<const TypeFile> files);

}  // namespace dipc
