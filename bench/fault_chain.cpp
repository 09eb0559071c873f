// The baseline of a page fault: the same hops and nothing else. A program touches a page that is missing, a handler in
// another process reads the fault, asks the server of chain.cpp over TLS for a page, and copies it in.
//
//   fault_chain FOLDER HOST ROUNDS   median time of a fault in nanoseconds

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "bench/tls_hop.h"

namespace {

using namespace dipc::bench;

// Never returns; it is killed.
[[noreturn]] void handle_faults(int faults, SSL* ssl) {
  alignas(kPageBytes) static char page[kPageBytes];
  Request request;
  request.operation = Operation::kPage;
  for (;;) {
    uffd_msg message{};
    if (::read(faults, &message, sizeof(message)) != static_cast<ssize_t>(sizeof(message))) die("read");
    SSL_write(ssl, &request, sizeof(request));
    read_all(ssl, page, sizeof(page));
    uffdio_copy copy{};
    copy.dst = message.arg.pagefault.address & ~std::uint64_t{kPageBytes - 1};
    copy.src = reinterpret_cast<std::uintptr_t>(page);
    copy.len = kPageBytes;
    if (::ioctl(faults, UFFDIO_COPY, &copy) != 0) die("UFFDIO_COPY");
  }
}

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 3 ? std::atoi(argv[3]) : 0;
  if (rounds <= 0) {
    std::fprintf(stderr, "usage: fault_chain FOLDER HOST ROUNDS\n");
    return 2;
  }
  std::signal(SIGPIPE, SIG_IGN);
  const std::size_t bytes = static_cast<std::size_t>(rounds) * kPageBytes;
  void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  const int faults = static_cast<int>(::syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY));
  uffdio_api api{};
  api.api = UFFD_API;
  uffdio_register range{};
  range.range = {reinterpret_cast<std::uintptr_t>(memory), bytes};
  range.mode = UFFDIO_REGISTER_MODE_MISSING;
  if (memory == MAP_FAILED || faults < 0 || ::ioctl(faults, UFFDIO_API, &api) != 0 ||
      ::ioctl(faults, UFFDIO_REGISTER, &range) != 0) {
    die("userfaultfd");
  }
  const pid_t handler = ::fork();
  if (handler == 0) {
    const auto context = load_certificates(argv[1]);
    handle_faults(faults, dial(*context, argv[1], argv[2]));
  }
  const volatile char* pages = static_cast<const volatile char*>(memory);
  // The first is answered when the connection stands.
  const double time = median_ns(rounds, [&](int round) { (void)pages[static_cast<std::size_t>(round) * kPageBytes]; });
  ::kill(handler, SIGKILL);
  ::waitpid(handler, nullptr, 0);
  std::printf("%.0f\n", time);
  return 0;
}
