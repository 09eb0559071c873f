// Hostile peers: whatever comes over a connection, in pieces of any size, is a record or a trouble, and what is
// understood is understood again when it is written anew.
//
// Input: the size of the pieces, then the bytes of the connection.

#include <algorithm>
#include <cstdint>
#include <span>

#include "wire/check.h"
#include "wire/codec.h"
#include "wire/framing.h"

namespace dipc {
namespace {

// The program's own limit would have it allocate what a length prefix says and never comes.
constexpr std::uint32_t kRecordBytesMaxHere = 1u << 20;

void use(std::span<const std::byte> bytes) {
  const auto record = decode(bytes);
  if (!record) {
    DIPC_CHECK(!record.error().what.empty());
    return;
  }
  const Bytes written = encode(*record);
  const auto again = decode(std::span(written).subspan(kLengthPrefixBytes));
  DIPC_CHECK(again.has_value());
  DIPC_CHECK(*again == *record);
}

void run(std::span<const std::byte> input) {
  if (input.empty()) return;
  const std::size_t piece = std::to_integer<std::size_t>(input[0]) + 1;
  input = input.subspan(1);
  // A record on its own: a fuzzer that has to find a length first learns little else.
  use(input);
  FrameReader reader(kRecordBytesMaxHere);
  for (std::size_t at = 0; at < input.size(); at += piece) {
    reader.feed(input.subspan(at, std::min(piece, input.size() - at)));
    for (;;) {
      const auto next = reader.next();
      if (!next) return;  // the connection would be closed
      if (!*next) break;
      use(**next);
    }
    DIPC_CHECK(reader.pending_bytes() <= input.size());
  }
}

}  // namespace
}  // namespace dipc

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  dipc::run({reinterpret_cast<const std::byte*>(data), bytes});
  return 0;
}
