#include "layouts/page_swaps.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <set>
#include <utility>

#include "wire/check.h"

namespace dipc {
namespace {

using Parts = std::vector<SwapPart>;

constexpr std::uint64_t kScalarBytesMax = 8;

// ---- what is to be done

class Writer {
 public:
  Writer(const TypeSet& types, const Shapes& shapes) : types_(types), shapes_(shapes) {}

  // All fields but an open array.
  void fields(std::size_t structure, std::uint64_t begin) {
    const std::vector<Field>& declared = types_.structs[structure].fields;
    for (std::size_t i = 0; i < declared.size(); ++i) {
      if (declared[i].extent != Field::Extent::kFixed) break;
      elements(declared[i].type, declared[i].elements(), begin + shapes_[structure].fields[i].offset);
    }
  }

  void elements(const TypeUse& type, std::uint64_t count, std::uint64_t begin) {
    if (!type.is_struct) return scalars(shapes_.form().shape(type.scalar).size_bytes, count, begin);
    if (count == 1) return fields(type.structure, begin);
    Writer inside(types_, shapes_);
    inside.fields(type.structure, 0);
    Parts body = inside.take();
    if (body.empty()) return;
    const std::uint64_t stride = shapes_[type.structure].size;
    const SwapPart& first = body.front();
    if (body.size() == 1 && first.body.empty() && first.offset == 0 && first.end() == stride) {
      scalars(first.stride, count * first.count, begin);
    } else {
      parts_.push_back({begin, count, stride, std::move(body)});
    }
  }

  Parts take() { return std::move(parts_); }

 private:
  void scalars(std::uint64_t width, std::uint64_t count, std::uint64_t begin) {
    if (width == 1) return;
    SwapPart* before = parts_.empty() ? nullptr : &parts_.back();
    if (before != nullptr && before->body.empty() && before->stride == width && before->end() == begin) {
      before->count += count;
    } else {
      parts_.push_back({begin, count, width, {}});
    }
  }

  const TypeSet& types_;
  const Shapes& shapes_;
  Parts parts_;
};

// The first part that does not end at `place` or before. Parts lie behind each other.
Parts::const_iterator first_behind(const Parts& parts, std::uint64_t place) {
  return std::partition_point(parts.begin(), parts.end(), [place](const SwapPart& one) { return one.end() <= place; });
}

// ---- doing it

template <typename T>
void turn(std::byte* at, std::uint64_t count) {
  for (; count != 0; --count, at += sizeof(T)) {
    T value;
    std::memcpy(&value, at, sizeof value);
    if constexpr (sizeof(T) == 2) value = __builtin_bswap16(value);
    if constexpr (sizeof(T) == 4) value = __builtin_bswap32(value);
    if constexpr (sizeof(T) == 8) value = __builtin_bswap64(value);
    std::memcpy(at, &value, sizeof value);
  }
}

void turn(std::byte* at, std::uint64_t width, std::uint64_t count) {
  if (width == 2) return turn<std::uint16_t>(at, count);
  if (width == 4) return turn<std::uint32_t>(at, count);
  DIPC_CHECK(width == 8);
  turn<std::uint64_t>(at, count);
}

// All of an element.
void run_whole(const Parts& parts, std::byte* element) {
  for (const SwapPart& part : parts) {
    std::byte* at = element + part.offset;
    if (part.body.empty()) {
      turn(at, part.stride, part.count);
    } else {
      for (std::uint64_t i = 0; i < part.count; ++i, at += part.stride) run_whole(part.body, at);
    }
  }
}

struct Window {
  std::uint64_t begin = 0, end = 0;  // of the segment
  std::byte* contents = nullptr;     // from `begin` on
};

void run_window(const Parts& parts, std::uint64_t base, const Window& window);

void run_elements(const SwapPart& part, std::uint64_t first_element, const Window& window) {
  std::uint64_t i = window.begin <= first_element ? 0 : (window.begin - first_element) / part.stride;
  for (; i < part.count; ++i) {
    const std::uint64_t element = first_element + i * part.stride;
    if (element >= window.end) return;
    if (element >= window.begin && element + part.stride <= window.end) {
      run_whole(part.body, window.contents + (element - window.begin));
    } else {
      run_window(part.body, element, window);
    }
  }
}

// Those scalars that the window has as a whole.
void run_scalars(const SwapPart& part, std::uint64_t first_scalar, const Window& window) {
  const std::uint64_t width = part.stride;
  const std::uint64_t first = window.begin <= first_scalar ? 0 : (window.begin - first_scalar + width - 1) / width;
  const std::uint64_t last = std::min(part.count, (window.end - first_scalar) / width);
  if (first >= last) return;
  turn(window.contents + (first_scalar + first * width - window.begin), width, last - first);
}

void run_window(const Parts& parts, std::uint64_t base, const Window& window) {
  const std::uint64_t begin = window.begin < base ? 0 : window.begin - base;
  for (auto part = first_behind(parts, begin); part != parts.end(); ++part) {
    const std::uint64_t at = base + part->offset;
    if (at >= window.end) return;
    if (part->body.empty()) {
      run_scalars(*part, at, window);
    } else {
      run_elements(*part, at, window);
    }
  }
}

// ---- scalars in two pages

struct ScalarPlace {
  std::uint64_t begin = 0, end = 0;
};

// Looks at page ends alone, and once at all the elements of an array that lie alike in their pages: a segment may have
// very many of either, and this is done at every shmat, on the daemon's only thread.
class StraddlerSearch {
 public:
  StraddlerSearch(std::uint64_t segment_bytes, std::uint64_t unit_bytes)
      : segment_bytes_(segment_bytes), unit_bytes_(unit_bytes) {}

  // The first scalar with a page end inside; `base`: where the parts' element begins.
  std::optional<ScalarPlace> first(const Parts& parts, std::uint64_t base) {
    std::uint64_t page_end = next_page_end(base);
    while (page_end < segment_bytes_) {
      const auto part = first_behind(parts, page_end - base);
      if (part == parts.end()) return std::nullopt;
      const std::uint64_t begin = base + part->offset;
      if (begin < page_end) {
        const auto found = part->body.empty() ? first_scalar(*part, begin) : first_in_elements(*part, begin);
        if (found) return found;
        page_end = next_page_end(base + part->end());
      } else {
        page_end = next_page_end(begin);
      }
    }
    return std::nullopt;
  }

 private:
  std::uint64_t next_page_end(std::uint64_t place) const { return (place / unit_bytes_ + 1) * unit_bytes_; }

  // All page ends are multiples of a scalar's width, so the first one is inside of a scalar if any is.
  std::optional<ScalarPlace> first_scalar(const SwapPart& part, std::uint64_t begin) const {
    const std::uint64_t page_end = next_page_end(begin);
    const std::uint64_t scalar = page_end - (page_end - begin) % part.stride;
    if (scalar == page_end) return std::nullopt;
    return ScalarPlace{scalar, scalar + part.stride};
  }

  std::optional<ScalarPlace> first_in_elements(const SwapPart& part, std::uint64_t begin) {
    const std::uint64_t alike_after = unit_bytes_ / std::gcd(part.stride, unit_bytes_);
    const std::uint64_t count = std::min(part.count, alike_after);
    std::uint64_t page_end = next_page_end(begin);
    while (page_end < segment_bytes_) {
      const std::uint64_t i = (page_end - begin) / part.stride;
      if (i >= count) return std::nullopt;
      const std::uint64_t element = begin + i * part.stride;
      // Arrays of arrays would multiply: an element may have been seen in another one of those around it.
      if (seen_.emplace(&part, element % unit_bytes_).second) {
        if (const auto found = first(part.body, element)) return found;
      }
      page_end = next_page_end(element + part.stride);
    }
    return std::nullopt;
  }

  const std::uint64_t segment_bytes_;
  const std::uint64_t unit_bytes_;
  std::set<std::pair<const SwapPart*, std::uint64_t>> seen_;  // elements' begins in their pages, nothing found
};

}  // namespace

PageSwaps::PageSwaps(const TypeSet& types, std::size_t structure, const Shapes& shapes, std::uint64_t segment_bytes,
                     std::uint64_t unit_bytes)
    : segment_bytes_(segment_bytes), unit_bytes_(unit_bytes) {
  DIPC_CHECK(unit_bytes != 0 && unit_bytes % kScalarBytesMax == 0);
  Writer writer(types, shapes);
  writer.fields(structure, 0);
  const Field& last = types.structs[structure].fields.back();
  const FieldShape& place = shapes[structure].fields.back();
  if (last.extent != Field::Extent::kFixed && place.offset < segment_bytes) {
    const std::uint64_t left = segment_bytes - place.offset;
    writer.elements(last.type, (left + place.element_bytes - 1) / place.element_bytes, place.offset);
  }
  parts_ = writer.take();
}

std::optional<std::uint64_t> PageSwaps::straddler() const {
  const auto found = StraddlerSearch(segment_bytes_, unit_bytes_).first(parts_, 0);
  if (!found || found->end > segment_bytes_) return std::nullopt;
  return found->begin;
}

void PageSwaps::run(std::uint64_t page, std::span<std::byte> contents) const {
  const std::uint64_t begin = page * unit_bytes_;
  const Window window{begin, std::min(begin + contents.size(), segment_bytes_), contents.data()};
  if (window.begin < window.end) run_window(parts_, 0, window);
}

}  // namespace dipc
