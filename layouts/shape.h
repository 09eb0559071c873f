#pragma once

// Where the fields of declared structs lie: on the machine that an ABI value describes, as its C compiler lays them
// out, and in the canonical form that travels. All sizes and offsets are bytes.
// Source: each field at the next multiple of its alignment, the struct's size a multiple of the largest (System V ABI,
// "Aggregates and Unions", in the supplements of all our machines); `packed` makes a field's alignment 1, `aligned(n)`
// at least n, and a packed struct packs all its fields (GCC manual, "Common Variable Attributes", "Common Type
// Attributes"). tests/types asks the compilers.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "arch/abi.h"
#include "layouts/declarations.h"
#include "wire/result.h"

namespace dipc {

// The same machine with a time_t of 32 or 64 bits: on 32-bit machines that is a choice of the program that is built.
Abi with_time_bits(Abi abi, unsigned bits);

// A way to write C's scalars down: a machine's, or the canonical one (packed, little-endian, fixed widths: long, size_t
// and time_t have 64 bits, and so have pid, uid and gid, whatever they are in C, since what stands for them on the way
// may need more than the field has).
class Form {
 public:
  // Trouble: not an ABI that we convert for (values come from peers): no 2-4-8 integers, no IEEE floats.
  static Result<Form> native(const Abi& abi);
  static Form canonical();
  // No machine's: nothing is larger in any other form whose alignments are 8 or less. For limits.
  static Form largest();

  TypeShape shape(const Scalar& scalar) const;
  ByteOrder byte_order() const { return abi_.byte_order; }
  bool is_canonical() const { return canonical_; }

 private:
  Abi abi_;
  bool canonical_ = false;
  bool has_wide_ids_ = false;  // pid, uid and gid have 8 bytes
};

struct FieldShape {
  std::uint64_t offset = 0;
  std::uint64_t element_bytes = 0;  // of one element, its own tail padding included
  std::uint64_t bytes = 0;          // elements() of them; 0 where open or counted
};

struct StructShape {
  std::vector<FieldShape> fields;  // as declared
  std::uint64_t align = 1;
  std::uint64_t end = 0;   // of the last field
  std::uint64_t size = 0;  // sizeof: with tail padding
};

// More than fits no message, and is no segment that somebody declares field by field.
inline constexpr std::uint64_t kStructBytesMax = std::uint64_t{1} << 30U;

// Every struct of `types` in one form. Borrows nothing.
class Shapes {
 public:
  Shapes(const TypeSet& types, const Form& form);
  // Places one more struct of `types`, after those before it: for a parser that is not done yet.
  void add(const StructDeclaration& structure);
  // As before the structs from this one on were added.
  void forget_from(std::size_t structure) { structs_.resize(structure); }
  // The same as add() without adding it.
  StructShape shape_of(const StructDeclaration& structure) const;
  // Where a field would lie in a struct whose fields so far end at `end`; `packed`: the struct is. Sets `align` to the
  // field's.
  FieldShape next_field(const Field& field, std::uint64_t end, bool packed, std::uint64_t& align) const;

  const StructShape& operator[](std::size_t structure) const { return structs_[structure]; }
  std::size_t size() const { return structs_.size(); }
  const Form& form() const { return form_; }

 private:
  Form form_;
  std::vector<StructShape> structs_;
};

// One line of a table of a struct: a field, those of nested structs after it. Of an array of structs the first element.
struct PlacedField {
  std::string path;  // "header.count", "items[8]", "items[0].weight", "text[]"
  std::string type;  // "unsigned long"; "struct point" for the line before its fields
  unsigned depth = 0;
  std::uint64_t offset = 0;   // from the outermost struct's begin
  std::uint64_t bytes = 0;    // all elements; one element where open or counted
  std::uint64_t padding = 0;  // after it, before the next field or the end of its struct; 0 where open or counted
};
// The same lines in the same order for every form.
std::vector<PlacedField> placed_fields(const TypeSet& types, std::size_t structure, const Shapes& shapes);

// The scalar that has the byte at `offset` (of the struct's begin): "items[3].weight"; "name[7]". Padding belongs to
// the field before it, what is behind the end to the last field.
std::string path_at(const TypeSet& types, std::size_t structure, const Shapes& shapes, std::uint64_t offset);

// The first field that two forms place or size differently, or the struct's own size if all fields agree: why a segment
// can't be shared between two machines. Byte order does not count. Nothing: every byte has the same meaning on both.
struct Difference {
  std::string path;  // empty: the size of the whole struct
  std::uint64_t offset_a = 0, offset_b = 0;
  std::uint64_t bytes_a = 0, bytes_b = 0;  // of one element, or of the whole struct
};
std::optional<Difference> first_difference(const TypeSet& types, std::size_t structure, const Shapes& a,
                                           const Shapes& b);

}  // namespace dipc
