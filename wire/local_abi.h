#pragma once

// An Abi as the fixed bytes of local.h's hello: byte order, number of types, then size and alignment of each type in
// CType's order, zeros after them. Header only and constant, for the shim. A side that knows more types than the other
// leaves what it was not told at 0.

#include <stddef.h>
#include <stdint.h>

#include <optional>

#include "arch/abi.h"
#include "wire/local.h"

namespace dipc::local {

struct AbiBytes {
  uint8_t bytes[kAbiBytes] = {};
};
static_assert(2 + 2 * kCTypeCount <= kAbiBytes);

constexpr AbiBytes encode_abi(const Abi& abi) {
  AbiBytes encoded;
  encoded.bytes[0] = static_cast<uint8_t>(abi.byte_order);
  encoded.bytes[1] = static_cast<uint8_t>(kCTypeCount);
  for (size_t i = 0; i < kCTypeCount; ++i) {
    encoded.bytes[2 + 2 * i] = abi.types[i].size_bytes;
    encoded.bytes[3 + 2 * i] = abi.types[i].align_bytes;
  }
  return encoded;
}

// Nothing for bytes that are no Abi.
constexpr std::optional<Abi> decode_abi(const uint8_t (&bytes)[kAbiBytes]) {
  if (bytes[0] > static_cast<uint8_t>(ByteOrder::kBig)) return std::nullopt;
  if (bytes[1] == 0 || 2 + 2 * size_t{bytes[1]} > kAbiBytes) return std::nullopt;
  Abi abi;
  abi.byte_order = static_cast<ByteOrder>(bytes[0]);
  for (size_t i = 0; i < kCTypeCount && i < bytes[1]; ++i) {
    abi.types[i] = TypeShape{bytes[2 + 2 * i], bytes[3 + 2 * i]};
  }
  return abi;
}

}  // namespace dipc::local
