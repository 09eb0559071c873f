#pragma once

// Records on a byte stream: a length of four bytes, little-endian, then that many bytes. What they hold is the codec's
// business.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "wire/messages.h"
#include "wire/result.h"

namespace dipc {

inline constexpr std::size_t kLengthPrefixBytes = 4;
// A record's length without its prefix. Well below a session's buffer (64 MiB), so that any one frame fits there.
inline constexpr std::uint32_t kRecordBytesMax = 32u << 20;
// The longest text of one message, the room that a record keeps for everything else being generous. A program's longer
// message is refused by its own daemon (kernel.msgmax is 8 KiB unless an administrator raised it).
inline constexpr std::uint32_t kTextBytesMax = 16u << 20;

void store_length_prefix(std::span<std::byte, kLengthPrefixBytes> where, std::uint32_t length);
std::uint32_t load_length_prefix(std::span<const std::byte, kLengthPrefixBytes> where);

// Cuts a stream into records. It allocates as bytes arrive, not as a length promises.
//
//   std::span<std::byte> room = reader.room(n);   // read up to room.size() bytes into it
//   reader.arrived(count);
//   while (record = reader.next()) ...
class FrameReader {
 public:
  explicit FrameReader(std::uint32_t record_bytes_max = kRecordBytesMax) : record_bytes_max_(record_bytes_max) {}

  // At least `bytes_min` bytes to write into; valid until the next call. Spans that next() gave end here.
  std::span<std::byte> room(std::size_t bytes_min);
  // So many bytes were written into room().
  void arrived(std::size_t bytes);
  // Both in one, with a copy.
  void feed(std::span<const std::byte> bytes);

  // The next complete record without its prefix, nothing if more bytes are needed. The span is valid until room() or
  // feed(). A long record begins at an address that is a multiple of eight, as the codec likes it.
  // Trouble: a length of 0 or above the limit; it stays so, the stream can't be understood any further.
  Result<std::optional<std::span<const std::byte>>> next();

  // Bytes that wait for the rest of their record.
  std::size_t pending_bytes() const { return end_ - begin_; }

 private:
  void make_room(std::size_t bytes_min);

  std::uint32_t record_bytes_max_;
  Bytes buffer_;
  std::size_t begin_ = 0;  // of the bytes not yet given out
  std::size_t end_ = 0;
};

}  // namespace dipc
