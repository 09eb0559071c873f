#pragma once

// What the baselines of `make bench` share: one TLS connection between two hosts with blocking sockets, TCP_NODELAY and
// the daemon's TLS settings, and the middle of many times. What fails ends the program with a message.

#include <openssl/ssl.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <vector>

#include "daemon/io/tls.h"

namespace dipc::bench {

[[noreturn]] void die(const char* what);  // with errno's text

// A throw-away authority and one certificate for both ends, in FOLDER.
void make_certificates(const std::filesystem::path& folder);
std::unique_ptr<TlsContext> load_certificates(const std::filesystem::path& folder);

SSL* tls_on(const TlsContext& context, int socket, bool accepts);
// To the server on `host` that wrote its port into FOLDER.
SSL* dial(const TlsContext& context, const std::filesystem::path& folder, const char* host);
// Ends the program, as a success, when the other end has closed.
void read_all(SSL* ssl, void* into, std::size_t bytes);

// Nanoseconds of `round_trip`, the middle of `rounds`.
template <typename RoundTrip>
double median_ns(int rounds, RoundTrip&& round_trip) {
  std::vector<double> times;
  times.reserve(static_cast<std::size_t>(rounds));
  for (int i = 0; i < rounds; ++i) {
    const auto before = std::chrono::steady_clock::now();
    round_trip(i);
    times.push_back(std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - before).count());
  }
  std::nth_element(times.begin(), times.begin() + rounds / 2, times.end());
  return times[static_cast<std::size_t>(rounds) / 2];
}

// What the server of chain.cpp is asked for.
inline constexpr std::size_t kTextBytes = 64;
inline constexpr std::size_t kRequestBytes = 128;  // a header and the text, as large as a Call of this kind is
inline constexpr std::size_t kReplyBytes = 48;
inline constexpr std::size_t kPageBytes = 4096;
enum class Operation : int {
  kEcho,    // kReplyBytes back
  kMsgsnd,  // likewise
  kSemop,   // likewise
  kPage,    // kPageBytes back
  kStream,  // kStreamBytes back, as fast as they go
};
inline constexpr std::size_t kStreamBytes = std::size_t{64} << 20;

struct Request {
  Operation operation = Operation::kEcho;
  char padding[kRequestBytes - sizeof(Operation) - kTextBytes] = {};
  char text[kTextBytes] = {};
};
static_assert(sizeof(Request) == kRequestBytes);

}  // namespace dipc::bench
