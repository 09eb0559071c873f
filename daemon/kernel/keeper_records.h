#pragma once

// What a daemon and its keeper say to each other, over a unix SEQPACKET socket of this host: one record a packet. Both
// are of one build as a rule; a keeper that an older daemon left behind says so by its version.
//
//   daemon -> keeper   hello, once; then start, cancel, end
//   keeper -> daemon   welcome, then found for each group that it holds; then asleep, done, ended
//
// A connection that closes ends no group: see keeper.h.

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "daemon/kernel/undo_groups.h"
#include "wire/messages.h"

namespace dipc::keeper {

constexpr std::uint32_t kVersion = 1;

struct Hello {
  std::uint32_t version = kVersion;
};
struct Welcome {
  std::uint32_t version = kVersion;
  std::int32_t process = 0;
  UndoGroupNumber last_group{};  // the highest number used so far
  std::uint32_t groups = 0;      // so many `found` follow
};
struct Found {
  UndoGroupNumber group{};
  UndoHolder holder;
  std::set<std::int32_t> sets;  // that it may have operated on
};
struct Start {
  UndoGroupNumber group{};
  UndoHolder holder;
  UndoOperation operation;
};
struct Cancel {
  CallToken token{};
};
struct End {
  UndoGroupNumber group{};
};
// The call sleeps in the kernel, on this thread of the keeper. At most once for each call.
struct Asleep {
  CallToken token{};
  std::int32_t thread = 0;
};
struct Done {
  CallToken token{};
  Outcome outcome;
};
struct Ended {
  UndoGroupNumber group{};
};

using Record = std::variant<Hello, Welcome, Found, Start, Cancel, End, Asleep, Done, Ended>;

Bytes encode(const Record& record);
// Nothing: not a record of this version.
std::optional<Record> decode(const Bytes& packet);

}  // namespace dipc::keeper
