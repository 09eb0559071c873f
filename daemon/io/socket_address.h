#pragma once

// Between the addresses of the configuration and those of the socket calls.

#include <sys/socket.h>
#include <uv.h>

#include "daemon/core/ip_address.h"

namespace dipc {

sockaddr_storage to_socket_address(const Endpoint& endpoint);

// Of a socket's two ends. Endpoint{}, that is 0.0.0.0:0: there is none any more.
Endpoint local_endpoint(const uv_tcp_t& tcp);
Endpoint remote_endpoint(const uv_tcp_t& tcp);

}  // namespace dipc
