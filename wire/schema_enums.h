#pragma once

// The enumerators of peer.capnp and those of the plain structs: the same numbers on both sides, so that a cast will do.
// The last ones are compared, and some between. Seen by the codec only.

#include <kj/debug.h>

#include <type_traits>

#include "wire/messages.h"
#include "wire/peer.capnp.h"

namespace dipc {

template <typename Enum>
constexpr auto number(Enum value) {
  return static_cast<std::underlying_type_t<Enum>>(value);
}

template <typename Schema, typename Plain, Schema kSchemaLast, Plain kPlainLast>
struct SameEnum {
  static_assert(static_cast<unsigned>(kSchemaLast) == static_cast<unsigned>(kPlainLast), "an enumerator is missing");
  static Schema to_schema(Plain value) { return static_cast<Schema>(value); }
  static Plain to_plain(Schema value, const char* what) {
    KJ_REQUIRE(static_cast<unsigned>(value) <= static_cast<unsigned>(kSchemaLast), "unknown enumerator", what,
               static_cast<unsigned>(value));
    return static_cast<Plain>(value);
  }
};

using Kinds = SameEnum<schema::Kind, Kind, schema::Kind::SEGMENT, Kind::kSegment>;
using Errors = SameEnum<schema::Error, Error, schema::Error::STALE, Error::kStale>;
using ByteOrders = SameEnum<schema::Abi::ByteOrder, ByteOrder, schema::Abi::ByteOrder::BIG, ByteOrder::kBig>;
using Commands = SameEnum<schema::Call::Control::Command, ControlCommand, schema::Call::Control::Command::UNLOCK,
                          ControlCommand::kUnlock>;
using Reasons =
    SameEnum<schema::Refusal::Reason, Refusal::Reason, schema::Refusal::Reason::SELF, Refusal::Reason::kSelf>;
using Accesses =
    SameEnum<schema::SegmentReport::Access, PageAccess, schema::SegmentReport::Access::WRITE, PageAccess::kWrite>;
static_assert(number(schema::Error::INVALID) == number(Error::kInvalid));
static_assert(number(schema::Error::NO_SPACE) == number(Error::kNoSpace));
static_assert(number(schema::Call::Control::Command::GET_ALL) == number(ControlCommand::kGetAll));

}  // namespace dipc
