#pragma once

// Which attributes (packed, aligned) explain where a compiler has put the fields of a struct.

#include <cstdint>
#include <vector>

#include "layouts/declarations.h"
#include "layouts/shape.h"

namespace dipc {

// What debug information says of one struct's places, in bytes.
struct SeenPlaces {
  std::vector<std::uint64_t> offsets;  // of each field
  std::uint64_t size = 0;
};

// Sets the attributes of a struct, whose fields and itself may be `aligned` from the source already, so that the ABI's
// compiler would put its fields where they were seen; `shapes` are those of the structs before it. None where none are
// needed, else packed for the whole struct, else what each field needs. False: no attributes do.
bool explain_places(StructDeclaration& structure, const Shapes& shapes, const SeenPlaces& seen);

}  // namespace dipc
