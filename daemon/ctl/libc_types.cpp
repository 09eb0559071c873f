#include "daemon/ctl/libc_types.h"

namespace dipc {
namespace {

struct Known {
  std::string_view name, says;
};

// Source: glibc's bits/typesizes.h, bits/types.h, stdint.h and sys/types.h, the same for all our machines where a name
// is given here. int_fast16_t and int_fast32_t are as wide as a register of the machine, as size_t is.
constexpr Known kDeclared[] = {
    {"pid_t", "pid"},
    {"__pid_t", "pid"},
    {"uid_t", "uid"},
    {"__uid_t", "uid"},
    {"gid_t", "gid"},
    {"__gid_t", "gid"},
    {"__time_t", "time_t"},
    {"__time64_t", "int64_t"},
    {"__suseconds64_t", "int64_t"},
    {"dev_t", "uint64_t"},
    {"__dev_t", "uint64_t"},
    {"off64_t", "int64_t"},
    {"__off64_t", "int64_t"},
    {"loff_t", "int64_t"},
    {"__loff_t", "int64_t"},
    {"ino64_t", "uint64_t"},
    {"__ino64_t", "uint64_t"},
    {"rlim64_t", "uint64_t"},
    {"__rlim64_t", "uint64_t"},
    {"blkcnt64_t", "int64_t"},
    {"__blkcnt64_t", "int64_t"},
    {"fsblkcnt64_t", "uint64_t"},
    {"__fsblkcnt64_t", "uint64_t"},
    {"fsfilcnt64_t", "uint64_t"},
    {"__fsfilcnt64_t", "uint64_t"},
    {"wchar_t", "int32_t"},
    {"__ssize_t", "ssize_t"},
    {"register_t", "ssize_t"},
    {"quad_t", "int64_t"},
    {"__quad_t", "int64_t"},
    {"u_quad_t", "uint64_t"},
    {"__u_quad_t", "uint64_t"},
    {"intmax_t", "int64_t"},
    {"__intmax_t", "int64_t"},
    {"uintmax_t", "uint64_t"},
    {"__uintmax_t", "uint64_t"},
    {"int_least8_t", "int8_t"},
    {"uint_least8_t", "uint8_t"},
    {"int_least16_t", "int16_t"},
    {"uint_least16_t", "uint16_t"},
    {"int_least32_t", "int32_t"},
    {"uint_least32_t", "uint32_t"},
    {"int_least64_t", "int64_t"},
    {"uint_least64_t", "uint64_t"},
    {"int_fast8_t", "int8_t"},
    {"uint_fast8_t", "uint8_t"},
    {"int_fast64_t", "int64_t"},
    {"uint_fast64_t", "uint64_t"},
    {"int_fast16_t", "ssize_t"},
    {"uint_fast16_t", "size_t"},
    {"int_fast32_t", "ssize_t"},
    {"uint_fast32_t", "size_t"},
    {"u_int8_t", "uint8_t"},
    {"u_int16_t", "uint16_t"},
    {"u_int32_t", "uint32_t"},
    {"u_int64_t", "uint64_t"},
    {"__int8_t", "int8_t"},
    {"__uint8_t", "uint8_t"},
    {"__int16_t", "int16_t"},
    {"__uint16_t", "uint16_t"},
    {"__int32_t", "int32_t"},
    {"__uint32_t", "uint32_t"},
    {"__int64_t", "int64_t"},
    {"__uint64_t", "uint64_t"},
};

constexpr std::string_view kFileOffset = "has 64 bits on 32-bit machines in programs built with _FILE_OFFSET_BITS=64";
constexpr std::string_view kTime = "has 64 bits on 32-bit machines in programs built with _TIME_BITS=64";
constexpr std::string_view kUnlike = "is an int on some machines and a long on others, whatever their words";
constexpr Known kWarnings[] = {
    {"off_t", kFileOffset},      {"ino_t", kFileOffset},      {"blkcnt_t", kFileOffset},
    {"fsblkcnt_t", kFileOffset}, {"fsfilcnt_t", kFileOffset}, {"rlim_t", kFileOffset},
    {"suseconds_t", kTime},      {"nlink_t", kUnlike},        {"blksize_t", kUnlike},
};

}  // namespace

std::string_view declared_for(std::string_view name) {
  for (const Known& one : kDeclared) {
    if (one.name == name) return one.says;
  }
  return name;
}

std::string_view warning_about(std::string_view name) {
  for (const Known& one : kWarnings) {
    if (one.name == name) return one.says;
  }
  return {};
}

}  // namespace dipc
