#pragma once

#include <sys/types.h>
#include <time.h>

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace dipc {

// The C types whose shape differs between the machines of a cluster. The numbers travel: append only.
enum class CType : std::uint8_t {
  kChar,
  kShort,
  kInt,
  kLong,
  kLongLong,
  kPointer,
  kFloat,
  kDouble,
  kLongDouble,
  kSize,   // size_t
  kTime,   // time_t as this library was compiled; a program built with 64-bit time has another
  kInt64,  // int64_t: its alignment is 2 on m68k and 4 on i386
};
inline constexpr std::size_t kCTypeCount = 12;

// Size and alignment in bytes. The alignment is that of a struct member, which is what decides where data lies.
struct TypeShape {
  std::uint8_t size_bytes = 0;
  std::uint8_t align_bytes = 0;
  friend constexpr bool operator==(const TypeShape&, const TypeShape&) = default;
};

enum class ByteOrder : std::uint8_t { kLittle = 0, kBig = 1 };

// How a compiler lays out C data: a value, sent in every hello, so that nothing asks for a machine by its name.
// Two machines with equal values (x86-64 and arm64) exchange structs unchanged. Plain bytes, no pointers:
// it may be copied into a record as it is.
struct Abi {
  ByteOrder byte_order = ByteOrder::kLittle;
  std::array<TypeShape, kCTypeCount> types{};

  constexpr const TypeShape& operator[](CType type) const { return types[static_cast<std::size_t>(type)]; }
  constexpr TypeShape& operator[](CType type) { return types[static_cast<std::size_t>(type)]; }
  friend constexpr bool operator==(const Abi&, const Abi&) = default;
};
static_assert(sizeof(Abi) == 1 + 2 * kCTypeCount);

namespace detail {
template <typename T>
constexpr TypeShape shape_of() {
  struct Probe {  // alignof() names the preferred alignment on some compilers, an offset can't
    char before;
    T member;
  };
  return {static_cast<std::uint8_t>(sizeof(T)), static_cast<std::uint8_t>(offsetof(Probe, member))};
}
}  // namespace detail

// The ABI this code is compiled for. Header only and constant: the shim takes it without linking anything.
constexpr Abi measured_abi() {
  Abi abi;
  abi.byte_order = std::endian::native == std::endian::big ? ByteOrder::kBig : ByteOrder::kLittle;
  abi[CType::kChar] = detail::shape_of<char>();
  abi[CType::kShort] = detail::shape_of<short>();
  abi[CType::kInt] = detail::shape_of<int>();
  abi[CType::kLong] = detail::shape_of<long>();
  abi[CType::kLongLong] = detail::shape_of<long long>();
  abi[CType::kPointer] = detail::shape_of<void*>();
  abi[CType::kFloat] = detail::shape_of<float>();
  abi[CType::kDouble] = detail::shape_of<double>();
  abi[CType::kLongDouble] = detail::shape_of<long double>();
  abi[CType::kSize] = detail::shape_of<std::size_t>();
  abi[CType::kTime] = detail::shape_of<time_t>();
  abi[CType::kInt64] = detail::shape_of<std::int64_t>();
  return abi;
}

// What people call the machine this code is compiled for; for logs and status only. It is not a function of
// the ABI, since several machines share one. "unknown" where we have no name.
constexpr std::string_view machine_name() {
#if defined(__x86_64__) && !defined(__ILP32__)
  return "x86-64";
#elif defined(__i386__)
  return "i386";
#elif defined(__m68k__)
  return "m68k";
#elif defined(__s390x__)
  return "s390x";
#elif defined(__aarch64__) && defined(__LP64__) && !defined(__AARCH64EB__)
  return "arm64";
#else
  return "unknown";
#endif
}

// The machines whose ABI is known here, at hand or not.
inline constexpr std::string_view kKnownMachines[] = {"x86-64", "i386", "m68k", "s390x", "arm64"};

// The ABI of one of them (Linux, Debian's compiler); nothing for another name.
std::optional<Abi> known_abi(std::string_view machine);

// One line for logs: "big-endian, long 4/2, long long 8/2, ..." (size/alignment).
std::string to_string(const Abi& abi);

}  // namespace dipc
