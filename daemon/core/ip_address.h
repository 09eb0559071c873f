#pragma once

// Addresses as values: no name service, no socket. An IPv4 address in its IPv6-mapped form (::ffff:10.0.0.3, what a
// dual-stack socket reports, RFC 4291 2.5.5.2) is the IPv4 address, so one line of hosts.allow fits both.

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "wire/result.h"

namespace dipc {

struct IpAddress {
  bool v6 = false;
  std::array<std::uint8_t, 16> bytes{};  // network order; an IPv4 address is the first four, the others are 0
  auto operator<=>(const IpAddress&) const = default;

  static std::optional<IpAddress> parse(std::string_view text);  // "10.0.0.3", "fd00::1"; no zone (%eth0), no brackets
  static IpAddress from_v4(const std::array<std::uint8_t, 4>& bytes);   // in_addr, network order
  static IpAddress from_v6(const std::array<std::uint8_t, 16>& bytes);  // in6_addr; a mapped address becomes IPv4
  bool is_wildcard() const;                                             // 0.0.0.0 or ::
  std::string to_string() const;
};

// An address, or a network such as 10.0.0.0/24. IPv4 and IPv6 never match each other (::/0 holds no IPv4 address).
struct IpNetwork {
  IpAddress base;
  unsigned prefix_bits = 0;  // 0..32 or 0..128
  auto operator<=>(const IpNetwork&) const = default;

  static Result<IpNetwork> parse(std::string_view text);  // Trouble::what has no file and line: the caller knows them
  bool contains(const IpAddress& address) const;
  std::string to_string() const;  // without "/32" for a single address
};

// Where a daemon listens or is dialled: "10.0.0.2:7310", "[fd00::2]:7310".
struct Endpoint {
  IpAddress address;
  std::uint16_t port = 0;  // 1..65535
  auto operator<=>(const Endpoint&) const = default;

  static Result<Endpoint> parse(std::string_view text);
  std::string to_string() const;
};

}  // namespace dipc
