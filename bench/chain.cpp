// The baseline of a remote call: the same hops and nothing else. A program asks over a unix socket, a proxy passes it
// on over TLS, a server makes the kernel call, and back. Blocking sockets, TCP_NODELAY, the daemon's TLS settings, no
// allocation for a message. Also the TLS hop alone.
//
//   chain serve FOLDER                         the server: writes its port and throw-away certificates there, runs
//                                              until it is ended
//   chain msgsnd|semop|tls FOLDER HOST ROUNDS  median round trip in nanoseconds to the server on HOST

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "daemon/io/atomic_file.h"
#include "daemon/io/certificates.h"
#include "daemon/io/tls.h"

namespace {

constexpr std::size_t kTextBytes = 64;
constexpr std::size_t kRequestBytes = 128;  // a header and the text, as large as a Call of this kind is
constexpr std::size_t kReplyBytes = 48;

[[noreturn]] void die(const char* what) {
  std::perror(what);
  std::exit(1);
}

struct Request {
  int operation = 0;  // 0 echo, 1 msgsnd, 2 semop
  char padding[kRequestBytes - sizeof(int) - kTextBytes] = {};
  char text[kTextBytes] = {};
};
static_assert(sizeof(Request) == kRequestBytes);

// A throw-away authority and one certificate for both ends.
void make_certificates(const std::filesystem::path& folder) {
  if (!dipc::create_ca(folder / "ca", "bench") || !dipc::create_host_key_and_request(folder / "tls", "bench"))
    die("ca");
  const auto request = dipc::read_file(folder / "tls" / "host.csr");
  const auto signed_pem = dipc::sign_request(folder / "ca", request->value(), "bench");
  if (!signed_pem || !dipc::install_certificate(folder / "tls", *signed_pem)) die("sign");
  std::filesystem::copy_file(folder / "ca" / "ca.pem", folder / "tls" / "ca.pem");
}

std::unique_ptr<dipc::TlsContext> load_certificates(const std::filesystem::path& folder) {
  const auto tls = folder / "tls";
  auto context = dipc::TlsContext::load({tls / "ca.pem", tls / "host.pem", tls / "host.key"});
  if (!context) die("tls");
  return std::move(*context);
}

SSL* tls_on(const dipc::TlsContext& context, int socket, bool accepts) {
  const int on = 1;
  ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  SSL* ssl = SSL_new(context.native());
  SSL_set_fd(ssl, socket);
  if ((accepts ? SSL_accept(ssl) : SSL_connect(ssl)) != 1) die("handshake");
  return ssl;
}

void read_all(SSL* ssl, void* into, int bytes) {
  int have = 0;
  while (have < bytes) {
    const int n = SSL_read(ssl, static_cast<char*>(into) + have, bytes - have);
    if (n <= 0) std::exit(0);  // the other end is done
    have += n;
  }
}

void answer(const dipc::TlsContext& context, int socket, int queue, int set) {
  SSL* ssl = tls_on(context, socket, true);
  char reply[kReplyBytes] = {};
  struct {
    long type;
    char text[kTextBytes];
  } message{};
  for (;;) {
    Request request;
    read_all(ssl, &request, sizeof(request));
    if (request.operation == 1) {
      message.type = 1;
      std::memcpy(message.text, request.text, kTextBytes);
      if (::msgsnd(queue, &message, kTextBytes, IPC_NOWAIT) != 0) die("msgsnd");
    } else if (request.operation == 2) {
      sembuf up{0, 1, IPC_NOWAIT};
      if (::semop(set, &up, 1) != 0) die("semop");
    }
    if (SSL_write(ssl, reply, sizeof(reply)) <= 0) std::exit(0);
    // What was done is undone outside the round trip.
    if (request.operation == 1) ::msgrcv(queue, &message, kTextBytes, 0, IPC_NOWAIT);
    if (request.operation == 2) {
      sembuf down{0, -1, IPC_NOWAIT};
      ::semop(set, &down, 1);
    }
  }
}

void pass_on(SSL* ssl, int socket) {
  Request request;
  char reply[kReplyBytes];
  while (::recv(socket, &request, sizeof(request), 0) == static_cast<ssize_t>(sizeof(request))) {
    if (SSL_write(ssl, &request, sizeof(request)) <= 0) break;
    read_all(ssl, reply, sizeof(reply));
    if (::send(socket, reply, sizeof(reply), 0) < 0) break;
  }
  std::exit(0);
}

template <typename RoundTrip>
double median_ns(int rounds, RoundTrip&& round_trip) {
  std::vector<double> times;
  times.reserve(static_cast<std::size_t>(rounds));
  for (int i = 0; i < rounds; ++i) {
    const auto before = std::chrono::steady_clock::now();
    round_trip();
    times.push_back(std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - before).count());
  }
  std::nth_element(times.begin(), times.begin() + rounds / 2, times.end());
  return times[static_cast<std::size_t>(rounds) / 2];
}

volatile std::sig_atomic_t g_is_over = 0;

void serve(const std::filesystem::path& folder) {
  make_certificates(folder);
  const auto context = load_certificates(folder);
  const int queue = ::msgget(IPC_PRIVATE, 0600);
  const int set = ::semget(IPC_PRIVATE, 1, 0600);
  const int listener = ::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;  // and so for IPv4 too
  socklen_t address_bytes = sizeof(address);
  if (::bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0 || ::listen(listener, 1) != 0) {
    die("listen");
  }
  ::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &address_bytes);
  struct sigaction action {};
  action.sa_handler = [](int) { g_is_over = 1; };  // no SA_RESTART: accept ends
  ::sigaction(SIGTERM, &action, nullptr);
  ::sigaction(SIGINT, &action, nullptr);
  if (!dipc::write_file_atomically(folder / "port", std::to_string(ntohs(address.sin6_port)))) die("port");
  while (g_is_over == 0) {
    const int socket = ::accept(listener, nullptr, nullptr);
    if (socket < 0) continue;
    if (::fork() == 0) answer(*context, socket, queue, set);
    ::close(socket);
    while (::wait(nullptr) < 0 && errno == EINTR && g_is_over == 0) {
    }
  }
  ::msgctl(queue, IPC_RMID, nullptr);
  ::semctl(set, 0, IPC_RMID);
}

SSL* dial(const dipc::TlsContext& context, const std::filesystem::path& folder, const char* host) {
  const auto port = dipc::read_file(folder / "port");
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

double time_of_tls(SSL* ssl, int rounds) {
  Request request;
  char reply[kReplyBytes];
  return median_ns(rounds, [&] {
    SSL_write(ssl, &request, sizeof(request));
    read_all(ssl, reply, sizeof(reply));
  });
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc > 2 ? argv[1] : "";
  const int rounds = argc > 4 ? std::atoi(argv[4]) : 0;
  std::signal(SIGPIPE, SIG_IGN);
  if (what == "serve") {
    serve(argv[2]);
    return 0;
  }
  if (rounds <= 0 || (what != "msgsnd" && what != "semop" && what != "tls")) {
    std::fprintf(stderr, "usage: chain serve FOLDER\n       chain msgsnd|semop|tls FOLDER HOST ROUNDS\n");
    return 2;
  }
  const auto context = load_certificates(argv[2]);
  if (what == "tls") {
    std::printf("%.0f\n", time_of_tls(dial(*context, argv[2], argv[3]), rounds));
    return 0;
  }
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) != 0) die("socketpair");
  const pid_t proxy = ::fork();
  if (proxy == 0) {
    ::close(pair[0]);
    pass_on(dial(*context, argv[2], argv[3]), pair[1]);
  }
  ::close(pair[1]);
  Request request;
  request.operation = what == "msgsnd" ? 1 : 2;
  char reply[kReplyBytes];
  std::printf(
      "%.0f\n", median_ns(rounds, [&] {
        if (::send(pair[0], &request, sizeof(request), 0) < 0 || ::recv(pair[0], reply, sizeof(reply), 0) <= 0) {
          die("chain");
        }
      }));
  ::close(pair[0]);
  ::waitpid(proxy, nullptr, 0);
  return 0;
}
