// The baseline of a remote call: the same hops and nothing else. A program asks over a unix socket, a proxy passes it
// on over TLS, a server makes the kernel call, and back. Blocking sockets, TCP_NODELAY, the daemon's TLS settings, no
// allocation for a message. Also the TLS hop alone.
//
//   chain msgsnd|semop|tls ROUNDS [CPU]      median round trip in nanoseconds; with CPU all processes share that one

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <sched.h>
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
class Certificates {
 public:
  Certificates() {
    char path[] = "/tmp/dipc-bench-XXXXXX";
    if (::mkdtemp(path) == nullptr) die("mkdtemp");
    dir_ = path;
    if (!dipc::create_ca(dir_ / "ca", "bench") || !dipc::create_host_key_and_request(dir_ / "tls", "bench")) die("ca");
    const auto request = dipc::read_file(dir_ / "tls" / "host.csr");
    const auto signed_pem = dipc::sign_request(dir_ / "ca", request->value(), "bench");
    if (!signed_pem || !dipc::install_certificate(dir_ / "tls", *signed_pem)) die("sign");
    std::filesystem::copy_file(dir_ / "ca" / "ca.pem", dir_ / "tls" / "ca.pem");
  }
  ~Certificates() { std::filesystem::remove_all(dir_); }
  Certificates(const Certificates&) = delete;
  Certificates& operator=(const Certificates&) = delete;
  std::unique_ptr<dipc::TlsContext> load() const {
    const auto tls = dir_ / "tls";
    auto context = dipc::TlsContext::load({tls / "ca.pem", tls / "host.pem", tls / "host.key"});
    if (!context) die("tls");
    return std::move(*context);
  }

 private:
  std::filesystem::path dir_;
};

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

void serve(const dipc::TlsContext& context, int listener, int queue, int set) {
  SSL* ssl = tls_on(context, ::accept(listener, nullptr, nullptr), true);
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

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc > 2 ? argv[1] : "";
  const int rounds = argc > 2 ? std::atoi(argv[2]) : 0;
  if (rounds <= 0 || (what != "msgsnd" && what != "semop" && what != "tls")) {
    std::fprintf(stderr, "usage: chain msgsnd|semop|tls ROUNDS [CPU]\n");
    return 2;
  }
  if (argc > 3) {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(static_cast<std::size_t>(std::atoi(argv[3])), &one);
    ::sched_setaffinity(0, sizeof(one), &one);
  }
  std::signal(SIGPIPE, SIG_IGN);
  const Certificates certificates;
  const auto context = certificates.load();
  const int queue = ::msgget(IPC_PRIVATE, 0600);
  const int set = ::semget(IPC_PRIVATE, 1, 0600);

  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t address_bytes = sizeof(address);
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (::bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0 || ::listen(listener, 1) != 0) {
    die("listen");
  }
  ::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &address_bytes);
  const pid_t server = ::fork();
  if (server == 0) serve(*context, listener, queue, set);

  const auto dial = [&] {
    const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
    if (::connect(socket, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) die("connect");
    return tls_on(*context, socket, false);
  };
  Request request;
  request.operation = what == "msgsnd" ? 1 : what == "semop" ? 2 : 0;
  char reply[kReplyBytes];
  double median = 0;
  pid_t proxy = 0;
  if (what == "tls") {
    SSL* ssl = dial();
    median = median_ns(rounds, [&] {
      SSL_write(ssl, &request, sizeof(request));
      read_all(ssl, reply, sizeof(reply));
    });
  } else {
    int pair[2];
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) != 0) die("socketpair");
    proxy = ::fork();
    if (proxy == 0) {
      ::close(pair[0]);
      pass_on(dial(), pair[1]);
    }
    ::close(pair[1]);
    median = median_ns(rounds, [&] {
      if (::send(pair[0], &request, sizeof(request), 0) < 0 || ::recv(pair[0], reply, sizeof(reply), 0) <= 0) {
        die("chain");
      }
    });
    ::close(pair[0]);
    ::waitpid(proxy, nullptr, 0);
  }
  std::printf("%.0f\n", median);
  ::kill(server, SIGTERM);
  ::waitpid(server, nullptr, 0);
  ::msgctl(queue, IPC_RMID, nullptr);
  ::semctl(set, 0, IPC_RMID);
  return 0;
}
