// The baseline of a remote call: the same hops and nothing else. A program asks over a unix socket, a proxy passes it
// on over TLS, a server makes the kernel call, and back. No allocation for a message. Also the TLS hop alone.
//
//   chain serve FOLDER                         the server, of fault_chain.cpp too: writes its port and throw-away
//                                              certificates there, runs until it is ended
//   chain msgsnd|semop|tls FOLDER HOST ROUNDS  median round trip in nanoseconds to the server on HOST
//   chain page FOLDER HOST ROUNDS              as tls, with a page as reply
//   chain stream FOLDER HOST ROUNDS            bytes per second of a stream of kStreamBytes from there, the middle

#include <netinet/in.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "bench/tls_hop.h"
#include "daemon/io/atomic_file.h"

namespace {

using namespace dipc::bench;

void stream(SSL* ssl) {
  static const char data[16384] = {};  // a TLS record
  for (std::size_t sent = 0; sent < kStreamBytes; sent += sizeof(data)) {
    if (SSL_write(ssl, data, sizeof(data)) <= 0) std::exit(0);
  }
}

void answer(const dipc::TlsContext& context, int socket, int queue, int set) {
  SSL* ssl = tls_on(context, socket, true);
  char reply[kPageBytes] = {};
  struct {
    long type;
    char text[kTextBytes];
  } message{};
  for (;;) {
    Request request;
    read_all(ssl, &request, sizeof(request));
    if (request.operation == Operation::kStream) {
      stream(ssl);
      continue;
    }
    if (request.operation == Operation::kMsgsnd) {
      message.type = 1;
      std::memcpy(message.text, request.text, kTextBytes);
      if (::msgsnd(queue, &message, kTextBytes, IPC_NOWAIT) != 0) die("msgsnd");
    } else if (request.operation == Operation::kSemop) {
      sembuf up{0, 1, IPC_NOWAIT};
      if (::semop(set, &up, 1) != 0) die("semop");
    }
    const std::size_t reply_bytes = request.operation == Operation::kPage ? kPageBytes : kReplyBytes;
    if (SSL_write(ssl, reply, static_cast<int>(reply_bytes)) <= 0) std::exit(0);
    // What was done is undone outside the round trip.
    if (request.operation == Operation::kMsgsnd) ::msgrcv(queue, &message, kTextBytes, 0, IPC_NOWAIT);
    if (request.operation == Operation::kSemop) {
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

double time_of_tls(SSL* ssl, Operation operation, int rounds) {
  Request request;
  request.operation = operation;
  char reply[kPageBytes];
  const std::size_t reply_bytes = operation == Operation::kPage ? kPageBytes : kReplyBytes;
  return median_ns(rounds, [&](int) {
    SSL_write(ssl, &request, sizeof(request));
    read_all(ssl, reply, reply_bytes);
  });
}

double speed_of_stream(SSL* ssl, int rounds) {
  Request request;
  request.operation = Operation::kStream;
  std::vector<char> data(kStreamBytes);
  const double time = median_ns(rounds, [&](int) {
    SSL_write(ssl, &request, sizeof(request));
    read_all(ssl, data.data(), data.size());
  });
  return static_cast<double>(kStreamBytes) / time * 1e9;
}

double time_of_chain(const dipc::TlsContext& context, char** argv, Operation operation, int rounds) {
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) != 0) die("socketpair");
  const pid_t proxy = ::fork();
  if (proxy == 0) {
    ::close(pair[0]);
    pass_on(dial(context, argv[2], argv[3]), pair[1]);
  }
  ::close(pair[1]);
  Request request;
  request.operation = operation;
  char reply[kReplyBytes];
  const double time = median_ns(rounds, [&](int) {
    if (::send(pair[0], &request, sizeof(request), 0) < 0 || ::recv(pair[0], reply, sizeof(reply), 0) <= 0) {
      die("chain");
    }
  });
  ::close(pair[0]);
  ::waitpid(proxy, nullptr, 0);
  return time;
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
  if (rounds <= 0 || (what != "msgsnd" && what != "semop" && what != "tls" && what != "page" && what != "stream")) {
    std::fprintf(stderr, "usage: chain serve FOLDER\n       chain msgsnd|semop|tls|page|stream FOLDER HOST ROUNDS\n");
    return 2;
  }
  const auto context = load_certificates(argv[2]);
  if (what == "tls" || what == "page") {
    const Operation operation = what == "page" ? Operation::kPage : Operation::kEcho;
    std::printf("%.0f\n", time_of_tls(dial(*context, argv[2], argv[3]), operation, rounds));
  } else if (what == "stream") {
    std::printf("%.0f\n", speed_of_stream(dial(*context, argv[2], argv[3]), rounds));
  } else {
    const Operation operation = what == "msgsnd" ? Operation::kMsgsnd : Operation::kSemop;
    std::printf("%.0f\n", time_of_chain(*context, argv, operation, rounds));
  }
  return 0;
}
