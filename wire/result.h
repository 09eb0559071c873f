#pragma once

// Trouble that comes from outside (a peer, a file, the system), as a value: what happened and what the reader can do.

#include <string>
#include <tl/expected.hpp>

namespace dipc {

struct Trouble {
  std::string what;    // "hosts.allow:3: 10.0.0.300 is not an address"
  std::string remedy;  // "write an IPv4 or IPv6 address, or a network as 10.0.0.0/24"; may be empty
};

template <typename T>
using Result = tl::expected<T, Trouble>;

inline tl::unexpected<Trouble> trouble(std::string what, std::string remedy = {}) {
  return tl::unexpected<Trouble>(Trouble{std::move(what), std::move(remedy)});
}

}  // namespace dipc
