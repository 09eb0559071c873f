#pragma once

// Parts of records, for write_record.cpp and write_pages.cpp.

#include <string>

#include "wire/messages.h"
#include "wire/overloaded.h"
#include "wire/peer.capnp.h"
#include "wire/schema_enums.h"

namespace dipc {

inline kj::StringPtr text(const std::string& value) { return {value.c_str(), value.size()}; }

inline void write(schema::ObjectRef::Builder to, const ObjectRef& from) {
  to.setKind(Kinds::to_schema(from.kind));
  to.setId(from.id);
  to.setGeneration(from.generation);
}

void write(schema::SegmentReport::Builder to, const SegmentReport& from);
void write(schema::SegmentOrder::Builder to, const SegmentOrder& from);
void write(schema::HeldPage::Builder to, const HeldPage& from);

}  // namespace dipc
