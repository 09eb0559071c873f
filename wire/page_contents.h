#pragma once

// The contents of one page (unit), as they lie in the memory of the segment's owner. Never changed; copies of this
// share the bytes, and a holder keeps what it has sent. Pages in a row may be pieces of one block, which lasts as long
// as any of them: so they are read, sent and filled in together.

#include <algorithm>
#include <cstddef>
#include <memory>
#include <span>
#include <utility>

#include "wire/bytes.h"

namespace dipc {

class PageContents {
 public:
  using Block = std::shared_ptr<std::byte[]>;

  PageContents() = default;
  PageContents(std::nullptr_t) {}                  // NOLINT(google-explicit-constructor): as of a pointer
  PageContents(std::shared_ptr<const Bytes> page)  // NOLINT(google-explicit-constructor): likewise
      : bytes_(page == nullptr ? std::span<const std::byte>() : std::span<const std::byte>(*page)),
        block_(std::move(page)) {}
  // One of the pages in `block`, which is not written to any more.
  PageContents(Block block, std::size_t offset, std::size_t page_bytes)
      : bytes_(block.get() + offset, page_bytes), block_(std::move(block)) {}

  // Bytes of which nothing is known yet.
  static Block make_block(std::size_t bytes) { return std::make_shared_for_overwrite<std::byte[]>(bytes); }

  explicit operator bool() const { return block_ != nullptr; }
  bool operator==(std::nullptr_t) const { return block_ == nullptr; }
  const std::span<const std::byte>& operator*() const { return bytes_; }
  const std::span<const std::byte>* operator->() const { return &bytes_; }
  void reset() { *this = PageContents(); }

  Bytes copy() const { return {bytes_.begin(), bytes_.end()}; }
  bool is_same(const PageContents& other) const {
    if ((block_ == nullptr) != (other.block_ == nullptr)) return false;
    return bytes_.data() == other.bytes_.data()
               ? bytes_.size() == other.bytes_.size()
               : std::equal(bytes_.begin(), bytes_.end(), other.bytes_.begin(), other.bytes_.end());
  }
  // Its bytes begin where those of `last` end, in one block.
  bool continues(const PageContents& last) const {
    return block_ != nullptr && block_ == last.block_ && bytes_.data() == last.bytes_.data() + last.bytes_.size();
  }

 private:
  std::span<const std::byte> bytes_;
  std::shared_ptr<const void> block_;  // whose bytes they are; null: no contents, which is zeros
};

}  // namespace dipc
