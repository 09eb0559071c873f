#pragma once

// The arithmetic of a segment's pages, and which of them a message is about.

#include <cstdint>
#include <optional>
#include <variant>

#include "wire/page_messages.h"

namespace dipc {

// Of a segment of so many bytes; the last one may be more than is left. `unit_bytes` is not 0.
constexpr std::uint64_t page_count(std::uint64_t segment_bytes, std::uint64_t unit_bytes) {
  return (segment_bytes + unit_bytes - 1) / unit_bytes;
}

// To whole units.
constexpr std::uint64_t round_up(std::uint64_t bytes, std::uint64_t unit_bytes) {
  return page_count(bytes, unit_bytes) * unit_bytes;
}

// The page that the owner speaks about; none: about the segment.
inline std::optional<PageIndex> page_of(const OwnerPageMessage& message) {
  return std::visit(
      [](const auto& what) -> std::optional<PageIndex> {
        if constexpr (requires { what.page; }) {
          return what.page;
        } else {
          return std::nullopt;
        }
      },
      message);
}

}  // namespace dipc
