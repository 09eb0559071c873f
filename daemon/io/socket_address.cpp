#include "daemon/io/socket_address.h"

#include <netinet/in.h>

#include <array>
#include <cstdint>
#include <cstring>

namespace dipc {
namespace {

Endpoint to_endpoint(const sockaddr_storage& storage) {
  Endpoint endpoint;
  if (storage.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(storage);
    std::array<std::uint8_t, 16> bytes{};
    std::memcpy(bytes.data(), &v6.sin6_addr, bytes.size());
    endpoint.address = IpAddress::from_v6(bytes);
    endpoint.port = ntohs(v6.sin6_port);
  } else if (storage.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(storage);
    std::array<std::uint8_t, 4> bytes{};
    std::memcpy(bytes.data(), &v4.sin_addr, bytes.size());
    endpoint.address = IpAddress::from_v4(bytes);
    endpoint.port = ntohs(v4.sin_port);
  }
  return endpoint;
}

template <typename Get>
Endpoint name_of(const uv_tcp_t& tcp, Get get) {
  sockaddr_storage storage{};
  int bytes = sizeof(storage);
  if (get(&tcp, reinterpret_cast<sockaddr*>(&storage), &bytes) != 0) return {};
  return to_endpoint(storage);
}

}  // namespace

sockaddr_storage to_socket_address(const Endpoint& endpoint) {
  sockaddr_storage storage{};
  if (endpoint.address.v6) {
    auto& v6 = reinterpret_cast<sockaddr_in6&>(storage);
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(endpoint.port);
    std::memcpy(&v6.sin6_addr, endpoint.address.bytes.data(), 16);
  } else {
    auto& v4 = reinterpret_cast<sockaddr_in&>(storage);
    v4.sin_family = AF_INET;
    v4.sin_port = htons(endpoint.port);
    std::memcpy(&v4.sin_addr, endpoint.address.bytes.data(), 4);
  }
  return storage;
}

Endpoint local_endpoint(const uv_tcp_t& tcp) { return name_of(tcp, uv_tcp_getsockname); }
Endpoint remote_endpoint(const uv_tcp_t& tcp) { return name_of(tcp, uv_tcp_getpeername); }

}  // namespace dipc
