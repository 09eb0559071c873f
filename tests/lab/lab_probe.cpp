// Run inside a host of the lab: does one thing and prints what came of it.
//   lab_probe listen PORT            prints "listening", takes one connection, prints what it reads
//   lab_probe connect ADDRESS PORT TEXT [MS]   prints "sent", or why not within MS milliseconds (default 5000)
//   lab_probe msgget KEY [create]    prints the id, or the error
//   lab_probe machine                prints the byte order: "big" or "little"
//   lab_probe shim                   prints whether the shim was preloaded: "shim: yes" or "shim: no"
//   lab_probe linger                 starts a child in its session that ignores SIGTERM, prints "lingering", sleeps
#include <arpa/inet.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/socket.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace {

int failed(const char* what) {
  std::printf("%s: %s\n", what, std::strerror(errno));
  return 1;
}

int listen_on(int port) {
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  if (bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) return failed("bind");
  if (listen(listener, 1) != 0) return failed("listen");
  std::printf("listening\n");
  std::fflush(stdout);
  const int connection = accept(listener, nullptr, nullptr);
  if (connection < 0) return failed("accept");
  char buffer[256];
  for (ssize_t count; (count = read(connection, buffer, sizeof buffer)) > 0;) {
    std::fwrite(buffer, 1, static_cast<std::size_t>(count), stdout);
  }
  return 0;
}

int connect_to(const char* host, int port, const std::string& text, int limit_ms) {
  const int connection = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  inet_pton(AF_INET, host, &address.sin_addr);
  if (connect(connection, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 && errno != EINPROGRESS) {
    return failed("connect");
  }
  pollfd entry{connection, POLLOUT, 0};
  if (poll(&entry, 1, limit_ms) == 0) {
    errno = ETIMEDOUT;
    return failed("connect");
  }
  int error = 0;
  socklen_t error_bytes = sizeof error;
  getsockopt(connection, SOL_SOCKET, SO_ERROR, &error, &error_bytes);
  if (error != 0) {
    errno = error;
    return failed("connect");
  }
  if (write(connection, text.data(), text.size()) != static_cast<ssize_t>(text.size())) return failed("write");
  std::printf("sent\n");
  return 0;
}

int linger_on() {
  if (fork() == 0) {
    signal(SIGTERM, SIG_IGN);
    for (;;) pause();
  }
  std::printf("lingering\n");
  std::fflush(stdout);
  for (;;) pause();
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  const std::string verb = words.empty() ? "" : words[0];
  if (verb == "listen") return listen_on(std::stoi(words.at(1)));
  if (verb == "connect") {
    return connect_to(argv[2], std::stoi(words.at(2)), words.at(3), words.size() > 4 ? std::stoi(words[4]) : 5000);
  }
  if (verb == "msgget") {
    const int id = msgget(static_cast<key_t>(std::stoi(words.at(1))), words.size() > 2 ? IPC_CREAT | 0600 : 0);
    if (id < 0) return failed("msgget");
    std::printf("%d\n", id);
    return 0;
  }
  if (verb == "machine") {
    std::printf("%s\n", std::endian::native == std::endian::big ? "big" : "little");
    return 0;
  }
  if (verb == "shim") {
    // Whose msgget is it? The next one after this program's in the order of the libraries.
    Dl_info found{};
    const bool known = dladdr(dlsym(RTLD_NEXT, "msgget"), &found) != 0;
    const bool ours = known && std::string(found.dli_fname).find("libdipc.so") != std::string::npos;
    std::printf("shim: %s\n", ours ? "yes" : "no");
    return 0;
  }
  if (verb == "linger") return linger_on();
  std::fprintf(stderr, "usage: see the source\n");
  return 2;
}
