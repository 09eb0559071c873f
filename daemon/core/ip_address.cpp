#include "daemon/core/ip_address.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstring>

#include "daemon/core/number_text.h"
#include "daemon/core/text_lines.h"

namespace dipc {
namespace {

constexpr std::array<std::uint8_t, 12> kMappedPrefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
constexpr std::size_t kMappedBits = kMappedPrefix.size() * 8;

std::optional<unsigned> parse_number_to(std::string_view text, unsigned max) {
  const auto value = parse_number<unsigned>(text);
  return value && *value <= max ? value : std::nullopt;
}

// The address as it is written: a mapped one stays IPv6, so that the prefix of a network can be judged.
std::optional<IpAddress> parse_as_written(std::string_view text) {
  const std::string copy(text);  // inet_pton wants a terminated string; an embedded NUL must not cut it short
  if (copy.empty() || copy.find('\0') != std::string::npos) return std::nullopt;
  IpAddress address;
  if (inet_pton(AF_INET, copy.c_str(), address.bytes.data()) == 1) return address;
  address = IpAddress{};
  if (inet_pton(AF_INET6, copy.c_str(), address.bytes.data()) == 1) {
    address.v6 = true;
    return address;
  }
  return std::nullopt;
}

bool is_mapped(const IpAddress& address) {
  return address.v6 && std::equal(kMappedPrefix.begin(), kMappedPrefix.end(), address.bytes.begin());
}

IpAddress without_host_bits(IpAddress address, unsigned prefix_bits) {
  for (std::size_t i = 0; i < address.bytes.size(); ++i) {
    const unsigned before = static_cast<unsigned>(i) * 8;
    const unsigned kept = prefix_bits <= before ? 0 : std::min(8u, prefix_bits - before);
    const unsigned mask = (0xff00u >> kept) & 0xffu;
    address.bytes[i] = static_cast<std::uint8_t>(address.bytes[i] & mask);
  }
  return address;
}

}  // namespace

std::optional<IpAddress> IpAddress::parse(std::string_view text) {
  const auto written = parse_as_written(text);
  if (!written) return std::nullopt;
  return written->v6 ? from_v6(written->bytes) : *written;
}

IpAddress IpAddress::from_v4(const std::array<std::uint8_t, 4>& bytes) {
  IpAddress address;
  std::copy(bytes.begin(), bytes.end(), address.bytes.begin());
  return address;
}

IpAddress IpAddress::from_v6(const std::array<std::uint8_t, 16>& bytes) {
  IpAddress address{true, bytes};
  if (!is_mapped(address)) return address;
  std::array<std::uint8_t, 4> v4{};
  std::copy(bytes.begin() + kMappedPrefix.size(), bytes.end(), v4.begin());
  return from_v4(v4);
}

bool IpAddress::is_wildcard() const {
  return std::all_of(bytes.begin(), bytes.end(), [](std::uint8_t byte) { return byte == 0; });
}

std::string IpAddress::to_string() const {
  char text[INET6_ADDRSTRLEN] = {};
  inet_ntop(v6 ? AF_INET6 : AF_INET, bytes.data(), text, sizeof text);
  return text;
}

Result<IpNetwork> IpNetwork::parse(std::string_view text) {
  const std::string remedy = "write an address (10.0.0.3, fd00::3) or a network (10.0.0.0/24, fd00::/64)";
  const std::size_t slash = text.find('/');
  const auto written = parse_as_written(text.substr(0, slash));
  if (!written) return trouble(in_quotes(text.substr(0, slash)) + " is not an IPv4 or IPv6 address", remedy);
  unsigned prefix_bits = written->v6 ? 128 : 32;
  if (slash != std::string_view::npos) {
    const auto number = parse_number_to(text.substr(slash + 1), prefix_bits);
    if (!number) {
      return trouble(
          in_quotes(text) + ": the prefix length after '/' is not a number from 0 to " + std::to_string(prefix_bits),
          remedy);
    }
    prefix_bits = *number;
  }
  IpNetwork network{*written, prefix_bits};
  if (is_mapped(network.base) && prefix_bits >= kMappedBits) {
    network.base = IpAddress::from_v6(network.base.bytes);
    network.prefix_bits = prefix_bits - static_cast<unsigned>(kMappedBits);
  }
  const IpNetwork proper{without_host_bits(network.base, network.prefix_bits), network.prefix_bits};
  if (proper.base != network.base) {
    return trouble(
        in_quotes(text) + " has bits set beyond its prefix, so it is neither one address nor a network",
        "write " + proper.to_string() + " for the network, or " + network.base.to_string() + " for the one address");
  }
  return network;
}

bool IpNetwork::contains(const IpAddress& address) const {
  return address.v6 == base.v6 && without_host_bits(address, prefix_bits) == base;
}

std::string IpNetwork::to_string() const {
  if (prefix_bits == (base.v6 ? 128u : 32u)) return base.to_string();
  return base.to_string() + "/" + std::to_string(prefix_bits);
}

Result<Endpoint> Endpoint::parse(std::string_view text) {
  std::string_view host, port;
  const std::string remedy = "write an address and a port: \"10.0.0.2:7310\" or \"[fd00::2]:7310\"";
  if (!text.empty() && text.front() == '[') {
    const std::size_t end = text.find(']');
    if (end == std::string_view::npos || end + 1 >= text.size() || text[end + 1] != ':') {
      return trouble(in_quotes(text) + " is not an address and a port", remedy);
    }
    host = text.substr(1, end - 1);
    port = text.substr(end + 2);
    const auto inside = parse_as_written(host);
    if (inside && !inside->v6) return trouble(in_quotes(text) + ": brackets are for IPv6 addresses", remedy);
  } else {
    if (IpAddress::parse(text)) return trouble(in_quotes(text) + " has no port", remedy);
    const std::size_t colon = text.rfind(':');
    if (colon == std::string_view::npos) return trouble(in_quotes(text) + " is not an address and a port", remedy);
    host = text.substr(0, colon);
    port = text.substr(colon + 1);
    if (host.empty() || host == "*") {
      return trouble(in_quotes(text) + " names no address",
                     "write the address; every address of this host is \"0.0.0.0:7310\" or \"[::]:7310\", written out");
    }
    if (host.find(':') != std::string_view::npos) {
      return trouble(in_quotes(text) + ": an IPv6 address stands in brackets", remedy);
    }
  }
  const auto address = IpAddress::parse(host);
  if (!address) {
    return trouble(in_quotes(host) + " is not an IPv4 or IPv6 address", remedy + "; names are not looked up");
  }
  const auto number = parse_number_to(port, 65535);
  if (!number || *number == 0) {
    return trouble(in_quotes(text) + ": the port is not a number from 1 to 65535", remedy);
  }
  return Endpoint{*address, static_cast<std::uint16_t>(*number)};
}

std::string Endpoint::to_string() const {
  const std::string number = ":" + std::to_string(port);
  return address.v6 ? "[" + address.to_string() + "]" + number : address.to_string() + number;
}

}  // namespace dipc
