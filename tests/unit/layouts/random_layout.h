#pragma once

// Random structs, as declarations and as the same structs in C, with random values in them: what property tests and the
// test against real compilers draw from. The values' bytes are written here one by one, by other code than the
// converter's.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "layouts/declarations.h"
#include "layouts/shape.h"
#include "tests/sim/random.h"

namespace dipc::layout_test {

struct RandomLayout {
  std::string declaration;  // as parse_types() reads it; the last struct is the one that is meant
  std::string c;            // the same for a C compiler, after c_prelude()
  std::string name;         // of the last struct
};

// `prefix` goes before the names of all structs. `is_message`: begins with long mtype.
RandomLayout random_layout(sim::Random& random, const std::string& prefix, bool is_message);

// What the C text needs before it; no headers of a C library. With TIME_HAS_64_BITS defined time_t has 64 bits.
std::string c_prelude();

// A number of a struct, where it lies in a form.
struct Place {
  Scalar scalar;
  std::uint64_t offset = 0;
  std::string path;  // as C writes it: "inner.values[2]"
};
// All of them in their order, `elements` of the open array if there is one. The same list for every form but for the
// offsets.
std::vector<Place> places(const TypeSet& types, std::size_t structure, const Shapes& shapes, std::uint64_t elements);

// A value for each place that fits `form`, extremes more often than not; counters say `elements`.
std::vector<std::uint64_t> random_values(sim::Random& random, const TypeSet& types, std::size_t structure,
                                         const Shapes& shapes, std::uint64_t elements);

// Is there a place in `to` for this value of a scalar?
bool fits(const Scalar& scalar, std::uint64_t value, const Form& to);

// The struct's bytes up to the end of its last field, then `padding` zero bytes.
std::vector<std::byte> bytes_of(const TypeSet& types, std::size_t structure, const Shapes& shapes,
                                std::uint64_t elements, const std::vector<std::uint64_t>& values,
                                std::uint64_t padding);

// Of the struct with that many elements in its open array.
std::uint64_t end_of(const TypeSet& types, std::size_t structure, const Shapes& shapes, std::uint64_t elements);
std::uint64_t padding_of(const TypeSet& types, std::size_t structure, const Shapes& shapes, std::uint64_t elements);

TypeSet parsed(const std::string& text);  // DIPC_CHECK: it is good

}  // namespace dipc::layout_test
