#include "layouts/page_swaps.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "wire/check.h"

namespace dipc {
namespace {

using Parts = std::vector<SwapPart>;

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

// Every scalar at a multiple of its width, so that no page can end inside of one. `strides`: of the arrays around, all
// their bits.
bool is_aligned(const SwapPart& part, std::uint64_t base, std::uint64_t strides) {
  const std::uint64_t at = base + part.offset;
  if (part.body.empty()) return ((at | strides) & (part.stride - 1)) == 0;
  return std::all_of(part.body.begin(), part.body.end(),
                     [&](const SwapPart& one) { return is_aligned(one, at, strides | part.stride); });
}

struct ScalarPlace {
  std::uint64_t begin = 0, end = 0;
};

// The scalar that begins before `boundary` and ends behind it.
std::optional<ScalarPlace> scalar_across(const Parts& parts, std::uint64_t base, std::uint64_t boundary) {
  if (boundary <= base) return std::nullopt;
  const auto part = first_behind(parts, boundary - base);
  if (part == parts.end() || base + part->offset >= boundary) return std::nullopt;
  const std::uint64_t first = base + part->offset;
  const std::uint64_t begin = first + (boundary - first) / part->stride * part->stride;
  if (!part->body.empty()) return scalar_across(part->body, begin, boundary);
  if (begin == boundary) return std::nullopt;
  return ScalarPlace{begin, begin + part->stride};
}

}  // namespace

PageSwaps::PageSwaps(const TypeSet& types, std::size_t structure, const Shapes& shapes, std::uint64_t segment_bytes,
                     std::uint64_t unit_bytes)
    : segment_bytes_(segment_bytes), unit_bytes_(unit_bytes) {
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

// Of an array it is enough to look at as many page ends as it takes until an element lies in its page as the first one
// does.
std::optional<std::uint64_t> PageSwaps::straddler() const {
  for (const SwapPart& part : parts_) {
    if (is_aligned(part, 0, unit_bytes_)) continue;
    const std::uint64_t period = part.stride / std::gcd(part.stride, unit_bytes_) * unit_bytes_;
    const std::uint64_t end = std::min({part.end(), segment_bytes_, part.offset + period + unit_bytes_});
    for (std::uint64_t at = (part.offset / unit_bytes_ + 1) * unit_bytes_; at < end; at += unit_bytes_) {
      const auto found = scalar_across(parts_, 0, at);
      if (found && found->end <= segment_bytes_) return found->begin;
    }
  }
  return std::nullopt;
}

void PageSwaps::run(std::uint64_t page, std::span<std::byte> contents) const {
  const std::uint64_t begin = page * unit_bytes_;
  const Window window{begin, std::min(begin + contents.size(), segment_bytes_), contents.data()};
  if (window.begin < window.end) run_window(parts_, 0, window);
}

}  // namespace dipc
