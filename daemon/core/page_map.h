#pragma once

// What is known of each page of a segment, for few of its pages or for nearly all of them: a std::map by PageIndex, as
// far as it goes, that finds a page without comparing. It takes 8 bytes for each kRow pages up to the highest one, and
// for each row that has pages kRow pointers. Like a std::map's, elements stay where they are until they are erased.

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "wire/check.h"
#include "wire/page_messages.h"

namespace dipc {

template <typename T>
class PageMap {
  static constexpr std::uint32_t kRow = 32;
  using Element = std::pair<const PageIndex, T>;
  struct Row {
    std::uint32_t used = 0;  // a bit for each page that is there
    std::array<std::unique_ptr<Element>, kRow> pages;
  };
  using Rows = std::vector<std::unique_ptr<Row>>;
  static constexpr std::uint32_t kEnd = 0xffffffff;

  template <bool kIsConst>
  class Iterator {
   public:
    using iterator_category = std::forward_iterator_tag;
    using value_type = Element;
    using difference_type = std::ptrdiff_t;
    using reference = std::conditional_t<kIsConst, const Element&, Element&>;
    using pointer = std::conditional_t<kIsConst, const Element*, Element*>;

    Iterator() = default;
    reference operator*() const { return *(*rows_)[at_ / kRow]->pages[at_ % kRow]; }
    pointer operator->() const { return &**this; }
    Iterator& operator++() {
      at_ = next(*rows_, at_ + 1);
      return *this;
    }
    Iterator operator++(int) {
      const Iterator before = *this;
      ++*this;
      return before;
    }
    bool operator==(const Iterator& other) const { return at_ == other.at_; }

   private:
    friend class PageMap;
    using Of = std::conditional_t<kIsConst, const Rows, Rows>;
    Iterator(Of& rows, std::uint32_t at) : rows_(&rows), at_(at) {}
    Of* rows_ = nullptr;
    std::uint32_t at_ = kEnd;
  };

 public:
  using value_type = Element;
  using iterator = Iterator<false>;
  using const_iterator = Iterator<true>;

  iterator begin() { return {rows_, next(rows_, 0)}; }
  iterator end() { return {rows_, kEnd}; }
  const_iterator begin() const { return {rows_, next(rows_, 0)}; }
  const_iterator end() const { return {rows_, kEnd}; }

  iterator find(PageIndex page) { return {rows_, has(page) ? number(page) : kEnd}; }
  const_iterator find(PageIndex page) const { return {rows_, has(page) ? number(page) : kEnd}; }
  T& at(PageIndex page) {
    DIPC_CHECK(has(page));
    return find(page)->second;
  }
  const T& at(PageIndex page) const {
    DIPC_CHECK(has(page));
    return find(page)->second;
  }
  T& operator[](PageIndex page) { return try_emplace(page).first->second; }
  std::pair<iterator, bool> try_emplace(PageIndex page) {
    const std::uint32_t index = number(page);
    DIPC_CHECK(index < kPagesMax);
    if (index / kRow >= rows_.size()) rows_.resize(index / kRow + 1);
    std::unique_ptr<Row>& row = rows_[index / kRow];
    if (row == nullptr) row = std::make_unique<Row>();
    std::unique_ptr<Element>& element = row->pages[index % kRow];
    const bool is_new = element == nullptr;
    if (is_new) element = std::make_unique<Element>(std::piecewise_construct, std::tuple(page), std::tuple());
    row->used |= 1U << index % kRow;
    return {iterator(rows_, index), is_new};
  }
  void erase(iterator which) {
    std::unique_ptr<Row>& row = rows_[which.at_ / kRow];
    row->used &= ~(1U << which.at_ % kRow);
    if (row->used == 0) {
      row.reset();
    } else {
      row->pages[which.at_ % kRow].reset();
    }
  }
  void clear() { rows_.clear(); }

 private:
  static constexpr std::uint32_t number(PageIndex page) { return static_cast<std::uint32_t>(page); }
  bool has(PageIndex page) const {
    const std::size_t row = number(page) / kRow;
    return row < rows_.size() && rows_[row] != nullptr && (rows_[row]->used >> number(page) % kRow & 1U) != 0;
  }
  // The first page that is there, from `from` on.
  static std::uint32_t next(const Rows& rows, std::uint32_t from) {
    for (std::size_t row = from / kRow; row < rows.size(); ++row) {
      const std::uint32_t used = rows[row] == nullptr ? 0 : rows[row]->used & (~0U << from % kRow);
      if (used != 0) return static_cast<std::uint32_t>(row) * kRow + static_cast<std::uint32_t>(std::countr_zero(used));
      from = 0;
    }
    return kEnd;
  }

  Rows rows_;
};

}  // namespace dipc
