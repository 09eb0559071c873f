#pragma once

// What is said of pages in a row as one message, and taken apart again where it arrives: with pages that are read ahead
// a message for each would cost more than the page itself. Directory and cache know nothing of it.

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <variant>

#include "wire/messages.h"

namespace dipc {

// Contents of one message: more would have to be there before the first of them is on its way.
inline constexpr std::size_t kRunBytesMax = 128 * 1024;

namespace page_runs {

template <typename Message>
concept OfOnePage = requires(Message message) {
  message.page;
  message.transaction;
}
&&!requires(Message message) { message.contents; };

// The same of the page so many behind it, in the transaction so many later.
template <typename Any>
Any later(Any message, std::uint32_t by) {
  const auto move = [by](auto& of) {
    if constexpr (OfOnePage<std::decay_t<decltype(of)>>) {
      of.page = PageIndex{static_cast<std::uint32_t>(of.page) + by};
      of.transaction = TransactionNumber{static_cast<std::uint64_t>(of.transaction) + by};
    }
  };
  std::visit(move, message);
  return message;
}

template <typename Any>
bool is_of_one_page(const Any& message) {
  return std::visit([](const auto& of) { return OfOnePage<std::decay_t<decltype(of)>>; }, message);
}

template <typename Said>
bool join_said(Said& last, const Said& next) {
  if (!is_of_one_page(last.message) || last.run + next.run > kPagesAtOnceMax) return false;
  Said expected = last;
  expected.message = later(last.message, last.run);
  expected.run = next.run;
  if (!(expected == next)) return false;
  last.run += next.run;
  return true;
}

inline bool join(SegmentReport& last, const SegmentReport& next) { return join_said(last, next); }
inline bool join(SegmentOrder& last, const SegmentOrder& next) { return join_said(last, next); }
inline bool join(HeldPage& last, const HeldPage& next) {
  const std::size_t pages = 1 + last.more.size();
  const PageContents& one = last.data.contents;
  const PageContents& other = next.data.contents;
  if (!next.more.empty() || one == nullptr || other == nullptr || one->size() != other->size()) return false;
  if (pages >= kPagesAtOnceMax || (pages + 1) * one->size() > kRunBytesMax) return false;
  if (last.owner != next.owner || !(last.segment == next.segment)) return false;
  if (static_cast<std::uint32_t>(next.data.page) != static_cast<std::uint32_t>(last.data.page) + pages ||
      static_cast<std::uint64_t>(next.data.transaction) != static_cast<std::uint64_t>(last.data.transaction) + pages) {
    return false;
  }
  last.more.push_back(other);
  return true;
}

}  // namespace page_runs

// True: `last` now says what `next` says, too.
inline bool join(PeerMessage& last, const PeerMessage& next) {
  return std::visit(
      [&next](auto& one) {
        using Said = std::decay_t<decltype(one)>;
        if constexpr (requires { page_runs::join(one, one); }) {
          const auto* other = std::get_if<Said>(&next);
          return other != nullptr && page_runs::join(one, *other);
        } else {
          return false;
        }
      },
      last);
}

// Calls `take` with what is said of each page, a HostPageMessage or OwnerPageMessage, or a PageData.
template <typename Said, typename Take>
requires std::same_as<Said, SegmentReport> || std::same_as<Said, SegmentOrder>
void take_apart(const Said& said, Take&& take) {
  const std::uint32_t run = page_runs::is_of_one_page(said.message) ? said.run : 1;
  for (std::uint32_t i = 0; i < run; ++i) take(page_runs::later(said.message, i));
}
template <typename Take>
void take_apart(const HeldPage& held, Take&& take) {
  PageData data = held.data;
  take(std::as_const(data));
  for (const PageContents& contents : held.more) {
    data.page = PageIndex{static_cast<std::uint32_t>(data.page) + 1};
    data.transaction = TransactionNumber{static_cast<std::uint64_t>(data.transaction) + 1};
    data.contents = contents;
    take(std::as_const(data));
  }
}

}  // namespace dipc
