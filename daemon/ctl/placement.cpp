#include "daemon/ctl/placement.h"

namespace dipc {
namespace {

bool is_seen(const StructDeclaration& structure, Shapes shapes, const SeenPlaces& seen) {
  shapes.add(structure);
  const StructShape& shape = shapes[shapes.size() - 1];
  for (std::size_t i = 0; i < seen.offsets.size(); ++i) {
    if (shape.fields[i].offset != seen.offsets[i]) return false;
  }
  return shape.size == seen.size;
}

constexpr std::uint32_t kAlignedMax = 4096;

// `set` tries one attribute after the other until the struct so far, up to field `last`, is as it was seen.
template <typename Set>
bool first_alignment_that_fits(std::uint32_t from, Set&& fits) {
  for (std::uint32_t aligned = from; aligned <= kAlignedMax; aligned *= 2) {
    if (fits(aligned)) return true;
  }
  return false;
}

bool field_is_seen(const StructDeclaration& structure, std::size_t field, const Shapes& before,
                   const SeenPlaces& seen) {
  Shapes shapes = before;
  StructDeclaration so_far = structure;
  so_far.fields.resize(field + 1);
  shapes.add(so_far);
  return shapes[shapes.size() - 1].fields.back().offset == seen.offsets[field];
}

}  // namespace

bool explain_places(TypeSet& types, const Shapes& shapes, const SeenPlaces& seen) {
  StructDeclaration& structure = types.structs.back();
  if (is_seen(structure, shapes, seen)) return true;
  structure.packed = true;
  if (is_seen(structure, shapes, seen)) return true;
  structure.packed = false;
  for (std::size_t i = 0; i < structure.fields.size(); ++i) {
    Field& field = structure.fields[i];
    if (field_is_seen(structure, i, shapes, seen)) continue;
    const std::uint32_t own = field.aligned;
    const auto with = [&](std::uint32_t aligned) {
      field.aligned = aligned;
      return field_is_seen(structure, i, shapes, seen);
    };
    if (first_alignment_that_fits(own, with)) continue;
    field.packed = true;
    if (!first_alignment_that_fits(own, with)) return false;
  }
  if (is_seen(structure, shapes, seen)) return true;
  return first_alignment_that_fits(structure.aligned, [&](std::uint32_t aligned) {
    structure.aligned = aligned;
    return is_seen(structure, shapes, seen);
  });
}

}  // namespace dipc
