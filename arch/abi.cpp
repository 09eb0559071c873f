#include "arch/abi.h"

namespace dipc {
namespace {

constexpr std::array<std::string_view, kCTypeCount> kCTypeNames = {
    "char",  "short",  "int",         "long",   "long long", "pointer",
    "float", "double", "long double", "size_t", "time_t",    "int64_t",
};

// Shapes as gcc 12 on Debian 12 measures them, in CType's order.
constexpr std::array<TypeShape, kCTypeCount> kLp64Types = {{
    {1, 1},
    {2, 2},
    {4, 4},
    {8, 8},
    {8, 8},
    {8, 8},
    {4, 4},
    {8, 8},
    {16, 16},
    {8, 8},
    {8, 8},
    {8, 8},
}};

constexpr std::array<TypeShape, kCTypeCount> kI386Types = {{
    {1, 1},
    {2, 2},
    {4, 4},
    {4, 4},
    {8, 4},
    {4, 4},
    {4, 4},
    {8, 4},
    {12, 4},
    {4, 4},
    {4, 4},
    {8, 4},
}};

constexpr std::array<TypeShape, kCTypeCount> kM68kTypes = {{
    {1, 1},
    {2, 2},
    {4, 2},
    {4, 2},
    {8, 2},
    {4, 2},
    {4, 2},
    {8, 2},
    {12, 2},
    {4, 2},
    {4, 2},
    {8, 2},
}};

constexpr std::array<TypeShape, kCTypeCount> s390x_types() {
  auto types = kLp64Types;
  types[static_cast<std::size_t>(CType::kLongDouble)] = {16, 8};
  return types;
}

}  // namespace

std::optional<Abi> known_abi(std::string_view machine) {
  if (machine == "x86-64" || machine == "arm64") return Abi{ByteOrder::kLittle, kLp64Types};
  if (machine == "i386") return Abi{ByteOrder::kLittle, kI386Types};
  if (machine == "m68k") return Abi{ByteOrder::kBig, kM68kTypes};
  if (machine == "s390x") return Abi{ByteOrder::kBig, s390x_types()};
  return std::nullopt;
}

std::string to_string(const Abi& abi) {
  std::string text = abi.byte_order == ByteOrder::kBig ? "big-endian" : "little-endian";
  for (std::size_t i = 0; i < kCTypeCount; ++i) {
    text += ", ";
    text += kCTypeNames[i];
    text += ' ' + std::to_string(abi.types[i].size_bytes) + '/' + std::to_string(abi.types[i].align_bytes);
  }
  return text;
}

}  // namespace dipc
