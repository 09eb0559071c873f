#pragma once

// Parts of records, for read_record.cpp and read_pages.cpp. All throw kj::Exception where read_record.h does.

#include <kj/debug.h>

#include <string>

#include "wire/messages.h"
#include "wire/peer.capnp.h"
#include "wire/schema_enums.h"

namespace dipc {

inline std::string string(capnp::Text::Reader from) { return {from.begin(), from.size()}; }

inline ObjectRef read(schema::ObjectRef::Reader from) {
  return {Kinds::to_plain(from.getKind(), "kind"), from.getId(), from.getGeneration()};
}

// Kernel ids of different kinds are the same numbers: an operation on an object that peers may use, said of another
// kind, would reach one that they may not.
inline ObjectRef read(schema::ObjectRef::Reader from, Kind kind) {
  const ObjectRef object = read(from);
  KJ_REQUIRE(object.kind == kind, "not an object of the right kind");
  return object;
}

SegmentReport read(schema::SegmentReport::Reader from);
SegmentOrder read(schema::SegmentOrder::Reader from);
HeldPage read(schema::HeldPage::Reader from);

}  // namespace dipc
