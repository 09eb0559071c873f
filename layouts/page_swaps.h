#pragma once

// Pages of a segment between machines that place its struct alike and write numbers the other way round: every scalar
// of a page is turned round where it is; padding, what is behind the struct, and single bytes stay. Made once for a
// segment, then run on its pages in any order, without allocating. Running it twice changes nothing.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "layouts/declarations.h"
#include "layouts/shape.h"

namespace dipc {

// Scalars of one width side by side, or the elements of an array of structs.
struct SwapPart {
  std::uint64_t offset = 0;  // from the begin of the segment, or of the element that it is a part of
  std::uint64_t count = 0;
  std::uint64_t stride = 0;    // from one to the next; of scalars their width
  std::vector<SwapPart> body;  // of an element, in the order of their places; empty: they are scalars
  std::uint64_t end() const { return offset + count * stride; }
};

class PageSwaps {
 public:
  // Of a segment that holds one `structure`, whose open array fills the rest of it; what its end cuts off stays as it
  // is. `unit_bytes`: of a page, a multiple of 8.
  PageSwaps(const TypeSet& types, std::size_t structure, const Shapes& shapes, std::uint64_t segment_bytes,
            std::uint64_t unit_bytes);

  // The first scalar that lies in two pages, which travel apart: its offset, as for path_at(). Nothing: there is none,
  // and run() turns round all there is. Each array of structs takes at most as many looks as it has pages, or as a
  // page has bytes, whichever is less.
  std::optional<std::uint64_t> straddler() const;

  bool empty() const { return parts_.empty(); }  // nothing is to be turned round
  // `contents`: page number `page` of the segment, as a whole.
  void run(std::uint64_t page, std::span<std::byte> contents) const;

 private:
  std::uint64_t segment_bytes_;
  std::uint64_t unit_bytes_;
  std::vector<SwapPart> parts_;
};

}  // namespace dipc
