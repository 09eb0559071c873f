#include "daemon/ctl/placement.h"

#include <algorithm>

#include "arch/abi.h"
#include "wire/check.h"

namespace dipc {
namespace {

bool is_seen(const StructShape& shape, const SeenPlaces& seen) {
  for (std::size_t i = 0; i < seen.offsets.size(); ++i) {
    if (shape.fields[i].offset != seen.offsets[i]) return false;
  }
  return shape.size == seen.size && (seen.align == 0 || shape.align == seen.align);
}

std::uint64_t align_of(const Field& field, const Shapes& shapes) {
  std::uint64_t align = 1;
  shapes.next_field(field, 0, false, align);
  return align;
}

// As if the whole program were under #pragma pack(n).
Shapes shapes_under_pack(const TypeSet& plain, Abi abi, std::uint8_t n) {
  for (TypeShape& type : abi.types) type.align_bytes = std::min(type.align_bytes, n);
  return Shapes(plain, *Form::native(abi));
}

}  // namespace

Placement::Placement(const Form& form) : shapes_({}, form) {
  for (const std::string_view machine : kKnownMachines)
    everywhere_.emplace_back(TypeSet(), *Form::native(*known_abi(machine)));
}

// Is #pragma pack(n) the same for it as packed aligned(n)? If no machine aligns it to less.
bool Placement::is_same_everywhere(const Field& field) const {
  Field plain = field;
  plain.packed = false;
  plain.aligned = 1;
  return std::all_of(everywhere_.begin(), everywhere_.end(),
                     [&](const Shapes& shapes) { return align_of(plain, shapes) >= field.aligned; });
}

bool Placement::has_guess(const Field& field) const {
  return field.packed || (field.type.is_struct && is_guessed_[field.type.structure]);
}

// What #pragma pack(2) does: every type of more than a byte is aligned to 2 at least on every machine.
bool Placement::pack_to_two(StructDeclaration& structure, const SeenPlaces& seen) const {
  StructDeclaration packed = structure;
  for (Field& field : packed.fields) {
    const bool is_more = std::any_of(everywhere_.begin(), everywhere_.end(),
                                     [&](const Shapes& shapes) { return align_of(field, shapes) > 2; });
    if (!is_more) continue;
    if (field.aligned > 2) return false;
    field.packed = true;
    field.aligned = 2;
    if (!is_same_everywhere(field)) return false;
  }
  if (!is_seen(shapes_.shape_of(packed), seen)) return false;
  structure = std::move(packed);
  return true;
}

// Finds the least attributes with which this field, behind one that ends at `end`, lies where it was seen.
bool Placement::explain_field(Field& field, std::uint64_t end, std::uint64_t seen) const {
  std::uint64_t align = 1;
  const std::uint32_t own = field.aligned;
  for (const bool packed : {false, true}) {
    field.packed = packed;
    for (field.aligned = own; field.aligned <= kAlignedMax; field.aligned *= 2) {
      if (shapes_.next_field(field, end, false, align).offset == seen) return true;
    }
  }
  return false;
}

Placement::Outcome Placement::explain_each(StructDeclaration& structure, const SeenPlaces& seen) const {
  Outcome outcome;
  std::uint64_t end = 0;
  bool any_guess = false;
  for (std::size_t i = 0; i < structure.fields.size(); ++i) {
    Field& field = structure.fields[i];
    const std::uint32_t own = field.aligned;
    if (!explain_field(field, end, seen.offsets[i])) return {};
    any_guess = any_guess || has_guess(field);
    const bool is_raised = field.aligned > own;
    outcome.is_raised = outcome.is_raised || is_raised;
    // A packed struct inside may be one of #pragma pack(n), whose alignment is lower elsewhere.
    const bool is_doubtful = is_raised && has_guess(field) && field.aligned > 2;
    if (is_doubtful && !(field.packed && is_same_everywhere(field))) return {false, i, field.aligned, false};
    std::uint64_t align = 1;
    end = seen.offsets[i] + shapes_.next_field(field, end, false, align).bytes;
  }
  const std::uint32_t own = structure.aligned;
  for (; structure.aligned <= kAlignedMax; structure.aligned *= 2) {
    if (!is_seen(shapes_.shape_of(structure), seen)) continue;
    const bool is_raised = structure.aligned > own;
    if (is_raised && any_guess && structure.aligned > 2)
      return {false, structure.fields.size(), structure.aligned, false};
    outcome.is_raised = outcome.is_raised || is_raised;
    outcome.good = true;
    return outcome;
  }
  return {};
}

Placement::Outcome Placement::explain(StructDeclaration& structure, const SeenPlaces& seen) {
  DIPC_CHECK(seen.offsets.size() == structure.fields.size() && structure.aligned > 0);
  Outcome outcome;
  outcome.good = is_seen(shapes_.shape_of(structure), seen);
  if (!outcome.good) {
    structure.packed = true;
    outcome.good = is_seen(shapes_.shape_of(structure), seen);
  }
  if (!outcome.good) {
    structure.packed = false;
    outcome.good = pack_to_two(structure, seen);
  }
  if (!outcome.good) outcome = explain_each(structure, seen);
  shapes_.add(structure);
  for (Shapes& shapes : everywhere_) shapes.add(structure);
  is_guessed_.push_back(structure.packed || std::any_of(structure.fields.begin(), structure.fields.end(),
                                                        [this](const Field& field) { return has_guess(field); }));
  return outcome;
}

std::optional<Difference> hidden_packing(const TypeSet& types, const TypeSet& plain, std::size_t structure,
                                         const Abi& abi, const std::vector<SeenPlaces>& seen) {
  for (const std::uint8_t n : {std::uint8_t{1}, std::uint8_t{2}, std::uint8_t{4}}) {
    const Shapes here = shapes_under_pack(plain, abi, n);
    bool is_possible = true;
    for (std::size_t i = 0; i < seen.size(); ++i) is_possible = is_possible && is_seen(here[i], seen[i]);
    if (!is_possible) continue;
    for (const std::string_view machine : kKnownMachines) {
      const Abi other = *known_abi(machine);
      const Shapes declared(types, *Form::native(other));
      if (auto found = first_difference(types, structure, declared, shapes_under_pack(plain, other, n))) return found;
    }
  }
  return std::nullopt;
}

}  // namespace dipc
