#include "daemon/ctl/placement.h"

#include "wire/check.h"

namespace dipc {
namespace {

bool is_seen(const StructDeclaration& structure, const Shapes& shapes, const SeenPlaces& seen) {
  const StructShape shape = shapes.shape_of(structure);
  for (std::size_t i = 0; i < seen.offsets.size(); ++i) {
    if (shape.fields[i].offset != seen.offsets[i]) return false;
  }
  return shape.size == seen.size;
}

// Finds the least attributes with which this field, behind one that ends at `end`, lies where it was seen.
bool explain_field(Field& field, const Shapes& shapes, std::uint64_t end, std::uint64_t seen) {
  std::uint64_t align = 1;
  const std::uint32_t own = field.aligned;
  for (const bool packed : {false, true}) {
    field.packed = packed;
    for (field.aligned = own; field.aligned <= kAlignedMax; field.aligned *= 2) {
      if (shapes.next_field(field, end, false, align).offset == seen) return true;
    }
  }
  return false;
}

}  // namespace

bool explain_places(StructDeclaration& structure, const Shapes& shapes, const SeenPlaces& seen) {
  DIPC_CHECK(seen.offsets.size() == structure.fields.size() && structure.aligned > 0);
  if (is_seen(structure, shapes, seen)) return true;
  structure.packed = true;
  if (is_seen(structure, shapes, seen)) return true;
  structure.packed = false;
  std::uint64_t end = 0;
  for (std::size_t i = 0; i < structure.fields.size(); ++i) {
    if (!explain_field(structure.fields[i], shapes, end, seen.offsets[i])) return false;
    std::uint64_t align = 1;
    end = seen.offsets[i] + shapes.next_field(structure.fields[i], end, false, align).bytes;
  }
  for (; structure.aligned <= kAlignedMax; structure.aligned *= 2) {
    if (is_seen(structure, shapes, seen)) return true;
  }
  return false;
}

}  // namespace dipc
