#include "bench/tls_hop.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cstdio>
#include <cstdlib>

#include "daemon/io/atomic_file.h"
#include "daemon/io/certificates.h"

namespace dipc::bench {

void die(const char* what) {
  std::perror(what);
  std::exit(1);
}

void make_certificates(const std::filesystem::path& folder) {
  if (!create_ca(folder / "ca", "bench") || !create_host_key_and_request(folder / "tls", "bench")) die("ca");
  const auto request = read_file(folder / "tls" / "host.csr");
  const auto signed_pem = sign_request(folder / "ca", request->value(), "bench");
  if (!signed_pem || !install_certificate(folder / "tls", *signed_pem)) die("sign");
  std::filesystem::copy_file(folder / "ca" / "ca.pem", folder / "tls" / "ca.pem");
}

std::unique_ptr<TlsContext> load_certificates(const std::filesystem::path& folder) {
  const auto tls = folder / "tls";
  auto context = TlsContext::load({tls / "ca.pem", tls / "host.pem", tls / "host.key"});
  if (!context) die("tls");
  return std::move(*context);
}

SSL* tls_on(const TlsContext& context, int socket, bool accepts) {
  const int on = 1;
  ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  SSL* ssl = SSL_new(context.native());
  SSL_set_fd(ssl, socket);
  if ((accepts ? SSL_accept(ssl) : SSL_connect(ssl)) != 1) die("handshake");
  return ssl;
}

SSL* dial(const TlsContext& context, const std::filesystem::path& folder, const char* host) {
  const auto port = read_file(folder / "port");
  if (!port || !*port) die("the server's port");
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_family = AF_INET;
  addrinfo* found = nullptr;
  if (::getaddrinfo(host, (*port)->c_str(), &hints, &found) != 0) die(host);
  const int socket = ::socket(found->ai_family, SOCK_STREAM, 0);
  if (::connect(socket, found->ai_addr, found->ai_addrlen) != 0) die("connect");
  ::freeaddrinfo(found);
  return tls_on(context, socket, false);
}

void read_all(SSL* ssl, void* into, std::size_t bytes) {
  std::size_t have = 0;
  while (have < bytes) {
    std::size_t more = 0;
    if (SSL_read_ex(ssl, static_cast<char*>(into) + have, bytes - have, &more) != 1) std::exit(0);
    have += more;
  }
}

}  // namespace dipc::bench
