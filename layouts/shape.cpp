#include "layouts/shape.h"

#include <algorithm>
#include <bit>

namespace dipc {
namespace {

constexpr std::uint64_t round_up(std::uint64_t value, std::uint64_t align) {
  return (value + align - 1) / align * align;
}

CType c_type_of(ScalarKind kind) {
  switch (kind) {
    case ScalarKind::kByte:
      return CType::kChar;
    case ScalarKind::kShort:
      return CType::kShort;
    case ScalarKind::kInt:
      return CType::kInt;
    case ScalarKind::kLong:
      return CType::kLong;
    case ScalarKind::kLongLong:
      return CType::kLongLong;
    case ScalarKind::kInt64:
      return CType::kInt64;
    case ScalarKind::kSize:
      return CType::kSize;
    case ScalarKind::kTime:
      return CType::kTime;
    case ScalarKind::kFloat:
      return CType::kFloat;
    case ScalarKind::kDouble:
      break;
  }
  return CType::kDouble;
}

std::string dimensions_text(const Field& field) {
  std::string text;
  if (field.extent == Field::Extent::kOpen) text += "[]";
  if (field.extent == Field::Extent::kCounted) text += "[" + field.counter_text + "]";
  for (const std::uint32_t dimension : field.dimensions) text += "[" + std::to_string(dimension) + "]";
  return text;
}

// "[2][3]" of element 11 of [4][4]; "[11]" of an open array without further dimensions.
std::string index_text(const Field& field, std::uint64_t element) {
  std::string text;
  for (auto dimension = field.dimensions.rbegin(); dimension != field.dimensions.rend(); ++dimension) {
    text.insert(0, "[" + std::to_string(element % *dimension) + "]");
    element /= *dimension;
  }
  if (field.extent != Field::Extent::kFixed) text.insert(0, "[" + std::to_string(element) + "]");
  return text;
}

void append_rows(const TypeSet& types, std::size_t structure, const Shapes& shapes, const std::string& prefix,
                 unsigned depth, std::uint64_t base, std::vector<PlacedField>& rows) {
  const StructDeclaration& declared = types.structs[structure];
  const StructShape& shape = shapes[structure];
  for (std::size_t i = 0; i < declared.fields.size(); ++i) {
    const Field& field = declared.fields[i];
    const FieldShape& at = shape.fields[i];
    const bool is_last = i + 1 == declared.fields.size();
    PlacedField row;
    row.path = prefix + field.name + dimensions_text(field);
    row.type = field.type.text;
    row.depth = depth;
    row.offset = base + at.offset;
    row.bytes = field.extent == Field::Extent::kFixed ? at.bytes : at.element_bytes * field.elements();
    const std::uint64_t next = is_last ? shape.size : shape.fields[i + 1].offset;
    if (field.extent == Field::Extent::kFixed) row.padding = next - (at.offset + at.bytes);
    rows.push_back(row);
    if (field.type.is_struct) {
      append_rows(types, field.type.structure, shapes, prefix + field.name + index_text(field, 0) + ".", depth + 1,
                  base + at.offset, rows);
    }
  }
}

std::optional<Difference> difference(const TypeSet& types, std::size_t structure, const Shapes& a, const Shapes& b,
                                     const std::string& prefix) {
  const std::vector<Field>& fields = types.structs[structure].fields;
  for (std::size_t i = 0; i < fields.size(); ++i) {
    const FieldShape& on_a = a[structure].fields[i];
    const FieldShape& on_b = b[structure].fields[i];
    const std::string path = prefix + fields[i].name;
    Difference found{path, on_a.offset, on_b.offset, on_a.element_bytes, on_b.element_bytes};
    if (on_a.offset != on_b.offset) return found;
    if (fields[i].type.is_struct) {
      auto inside = difference(types, fields[i].type.structure, a, b, path + ".");
      if (inside) {
        inside->offset_a += on_a.offset;
        inside->offset_b += on_b.offset;
        return inside;
      }
    }
    if (on_a.element_bytes != on_b.element_bytes) return found;
  }
  return std::nullopt;
}

}  // namespace

Abi with_time_bits(Abi abi, unsigned bits) {
  abi[CType::kTime] = bits == 64 ? abi[CType::kInt64] : abi[CType::kInt];
  return abi;
}

Result<Form> Form::native(const Abi& abi) {
  constexpr unsigned kAlignMax = 16;
  struct Width {
    CType type;
    std::string_view name;
    unsigned low, high;
  };
  constexpr Width kWidths[] = {
      {CType::kChar, "char", 1, 1},     {CType::kShort, "short", 2, 2},        {CType::kInt, "int", 4, 4},
      {CType::kLong, "long", 4, 8},     {CType::kLongLong, "long long", 8, 8}, {CType::kInt64, "int64_t", 8, 8},
      {CType::kSize, "size_t", 4, 8},   {CType::kTime, "time_t", 4, 8},        {CType::kFloat, "float", 4, 4},
      {CType::kDouble, "double", 8, 8},
  };
  if (abi.byte_order != ByteOrder::kLittle && abi.byte_order != ByteOrder::kBig) {
    return trouble("an ABI of unknown byte order can't be converted for");
  }
  for (const Width& width : kWidths) {
    const TypeShape shape = abi[width.type];
    if ((shape.size_bytes != width.low && shape.size_bytes != width.high) ||
        !std::has_single_bit(static_cast<unsigned>(shape.align_bytes)) || shape.align_bytes > kAlignMax) {
      return trouble("an ABI whose " + std::string(width.name) + " has " + std::to_string(shape.size_bytes) +
                     " bytes, aligned to " + std::to_string(shape.align_bytes) + ", can't be converted for");
    }
  }
  Form form;
  form.abi_ = abi;
  return form;
}

Form Form::canonical() {
  Form form = largest();
  form.canonical_ = true;
  for (TypeShape& shape : form.abi_.types) shape.align_bytes = 1;
  return form;
}

Form Form::largest() {
  Form form;
  form.has_wide_ids_ = true;
  form.abi_.byte_order = ByteOrder::kLittle;
  for (TypeShape& shape : form.abi_.types) shape = {8, 8};
  form.abi_[CType::kChar] = {1, 1};
  form.abi_[CType::kShort] = {2, 2};
  form.abi_[CType::kInt] = {4, 4};
  form.abi_[CType::kFloat] = {4, 4};
  return form;
}

TypeShape Form::shape(const Scalar& scalar) const {
  if (has_wide_ids_ && scalar.meaning != Meaning::kNumber) return abi_[CType::kInt64];
  return abi_[c_type_of(scalar.kind)];
}

Shapes::Shapes(const TypeSet& types, const Form& form) : form_(form) {
  for (const StructDeclaration& structure : types.structs) add(structure);
}

FieldShape Shapes::next_field(const Field& field, std::uint64_t end, bool packed, std::uint64_t& align) const {
  FieldShape at;
  if (field.type.is_struct) {
    at.element_bytes = structs_[field.type.structure].size;
    align = structs_[field.type.structure].align;
  } else {
    const TypeShape scalar = form_.shape(field.type.scalar);
    at.element_bytes = scalar.size_bytes;
    align = scalar.align_bytes;
  }
  if (form_.is_canonical() || field.packed || packed) align = 1;
  if (!form_.is_canonical()) align = std::max<std::uint64_t>(align, field.aligned);
  at.offset = round_up(end, align);
  at.bytes = field.extent == Field::Extent::kFixed ? at.element_bytes * field.elements() : 0;
  return at;
}

StructShape Shapes::shape_of(const StructDeclaration& structure) const {
  StructShape shape;
  if (!form_.is_canonical()) shape.align = structure.aligned;
  for (const Field& field : structure.fields) {
    std::uint64_t align = 1;
    const FieldShape at = next_field(field, shape.end, structure.packed, align);
    shape.end = at.offset + at.bytes;
    shape.align = std::max(shape.align, align);
    shape.fields.push_back(at);
  }
  shape.size = round_up(shape.end, shape.align);
  return shape;
}

void Shapes::add(const StructDeclaration& structure) { structs_.push_back(shape_of(structure)); }

std::vector<PlacedField> placed_fields(const TypeSet& types, std::size_t structure, const Shapes& shapes) {
  std::vector<PlacedField> rows;
  append_rows(types, structure, shapes, {}, 0, 0, rows);
  return rows;
}

std::string path_at(const TypeSet& types, std::size_t structure, const Shapes& shapes, std::uint64_t offset) {
  std::string path;
  for (;;) {
    const std::vector<FieldShape>& places = shapes[structure].fields;
    std::size_t i = 0;
    while (i + 1 < places.size() && places[i + 1].offset <= offset) ++i;
    const Field& field = types.structs[structure].fields[i];
    offset -= std::min(offset, places[i].offset);
    path += (path.empty() ? "" : ".") + field.name;
    std::uint64_t element = offset / places[i].element_bytes;
    if (field.extent == Field::Extent::kFixed) element = std::min(element, field.elements() - 1);
    path += index_text(field, element);
    if (!field.type.is_struct) return path;
    offset -= element * places[i].element_bytes;
    structure = field.type.structure;
  }
}

std::optional<Difference> first_difference(const TypeSet& types, std::size_t structure, const Shapes& a,
                                           const Shapes& b) {
  auto found = difference(types, structure, a, b, {});
  const StructShape& on_a = a[structure];
  const StructShape& on_b = b[structure];
  if (!found && on_a.size != on_b.size) found = Difference{{}, 0, 0, on_a.size, on_b.size};
  return found;
}

}  // namespace dipc
