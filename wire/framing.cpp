#include "wire/framing.h"

#include <algorithm>
#include <cstring>

#include "wire/check.h"

namespace dipc {
namespace {

// A record's body should begin at a multiple of this: the codec then reads it where it lies.
constexpr std::size_t kBodyAlign = 8;
// What is waiting is moved to here when it is moved: the body behind the prefix is then aligned (new char arrays are).
constexpr std::size_t kFront = kBodyAlign - kLengthPrefixBytes;
// A larger buffer is given back once it is empty: a connection should not keep what one long message needed.
constexpr std::size_t kKeptBytesMax = 4u << 20;

}  // namespace

void store_length_prefix(std::span<std::byte, kLengthPrefixBytes> where, std::uint32_t length) {
  for (std::size_t i = 0; i < kLengthPrefixBytes; ++i) where[i] = static_cast<std::byte>(length >> (8 * i) & 0xff);
}

std::uint32_t load_length_prefix(std::span<const std::byte, kLengthPrefixBytes> where) {
  std::uint32_t length = 0;
  for (std::size_t i = 0; i < kLengthPrefixBytes; ++i) {
    length |= std::to_integer<std::uint32_t>(where[i]) << (8 * i);
  }
  return length;
}

void FrameReader::make_room(std::size_t bytes_min) {
  const std::size_t waiting = end_ - begin_;
  const bool moves = begin_ != kFront;
  if (waiting == 0 && buffer_.size() > kKeptBytesMax) Bytes().swap(buffer_);
  if (waiting > 0 && !moves && buffer_.size() - end_ >= bytes_min) return;
  if (buffer_.size() >= kFront + waiting + bytes_min) {
    // Once per record at the most: what was moved to the front stays there until next() gives it out.
    if (moves) std::memmove(buffer_.data() + kFront, buffer_.data() + begin_, waiting);
  } else {
    Bytes larger(std::max(kFront + waiting + bytes_min, 2 * buffer_.size()));
    if (waiting > 0) std::memcpy(larger.data() + kFront, buffer_.data() + begin_, waiting);
    buffer_ = std::move(larger);
  }
  begin_ = kFront;
  end_ = begin_ + waiting;
}

std::span<std::byte> FrameReader::room(std::size_t bytes_min) {
  make_room(bytes_min);
  return std::span(buffer_).subspan(end_);
}

void FrameReader::arrived(std::size_t bytes) {
  DIPC_CHECK(bytes <= buffer_.size() - end_);
  end_ += bytes;
}

void FrameReader::feed(std::span<const std::byte> bytes) {
  if (bytes.empty()) return;
  std::memcpy(room(bytes.size()).data(), bytes.data(), bytes.size());
  arrived(bytes.size());
}

Result<std::optional<std::span<const std::byte>>> FrameReader::next() {
  const auto waiting = std::span<const std::byte>(buffer_).subspan(begin_, end_ - begin_);
  if (waiting.size() < kLengthPrefixBytes) return std::nullopt;
  const std::uint32_t length = load_length_prefix(waiting.first<kLengthPrefixBytes>());
  if (length == 0) return trouble("a record of length 0");
  if (length > record_bytes_max_) {
    return trouble("a record of " + std::to_string(length) + " bytes; at most " + std::to_string(record_bytes_max_) +
                   " are allowed");
  }
  if (waiting.size() - kLengthPrefixBytes < length) return std::nullopt;
  begin_ += kLengthPrefixBytes + length;
  return waiting.subspan(kLengthPrefixBytes, length);
}

}  // namespace dipc
