#pragma once

// What people call an ABI, for logs and status: "64-bit little-endian (x86-64, arm64)". The machines are those we have
// a table of; several may share one, and an ABI that none of them has is given by width and byte order alone.

#include <string>

#include "arch/abi.h"

namespace dipc {

std::string spoken(const Abi& abi);

}  // namespace dipc
