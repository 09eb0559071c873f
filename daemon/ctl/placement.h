#pragma once

// Which attributes (packed, aligned) explain where a compiler has put the fields of a struct.

#include <cstdint>
#include <optional>
#include <vector>

#include "layouts/declarations.h"
#include "layouts/shape.h"

namespace dipc {

// What debug information says of one struct's places, in bytes.
struct SeenPlaces {
  std::vector<std::uint64_t> offsets;  // of each field
  std::uint64_t size = 0;
  std::uint64_t align = 0;  // of the struct; 0: not said, as by most
};

// Explains the structs of one program, each after those that it contains.
//
// `#pragma pack(n)` is a maximum for an alignment that is another one on every machine, and aligned(n) a minimum: what
// the first has done is declared only where packed, or packed aligned(2), is the same on all machines.
class Placement {
 public:
  explicit Placement(const Form& form);

  struct Outcome {
    bool good = false;
    // Not good: the field that lies where only #pragma pack(n), n being `aligned`, or another attribute of its own puts
    // it; those differ elsewhere. The number of fields: the struct itself. Nothing: no attributes put them there.
    std::optional<std::size_t> doubtful;
    std::uint64_t aligned = 1;
    bool is_raised = false;  // good: some aligned(n) is the least that explains the places, and could be more
  };
  // Sets the attributes of a struct, whose fields and itself may be `aligned` from the source already, so that the
  // machine's compiler would put its fields where they were seen. None where none are needed, else packed or packed
  // aligned(2) for all, else what each field needs.
  Outcome explain(StructDeclaration& structure, const SeenPlaces& seen);

 private:
  bool is_same_everywhere(const Field& field) const;
  bool has_guess(const Field& field) const;
  bool pack_to_two(StructDeclaration& structure, const SeenPlaces& seen) const;
  Outcome explain_each(StructDeclaration& structure, const SeenPlaces& seen) const;
  bool explain_field(Field& field, std::uint64_t end, std::uint64_t seen) const;

  Shapes shapes_;
  std::vector<Shapes> everywhere_;  // on each machine that is known
  std::vector<bool> is_guessed_;    // per struct: packed is what was found, not what was said; in nested structs too
};

// Would the program's machine place a struct so too if it were under #pragma pack(1), (2) or (4), and another machine
// not? The first field that this is so of. `types`: as explained; `plain`: before; `seen`: of each struct.
std::optional<Difference> hidden_packing(const TypeSet& types, const TypeSet& plain, std::size_t structure,
                                         const Abi& abi, const std::vector<SeenPlaces>& seen);

}  // namespace dipc
