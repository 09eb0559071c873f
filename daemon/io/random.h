#pragma once

// Random numbers that nobody can guess: incarnations, generations, session numbers. Source: openssl RAND_bytes(3).

#include <cstdint>

namespace dipc {

std::uint64_t random_number();

}  // namespace dipc
