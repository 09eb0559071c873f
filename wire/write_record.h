#pragma once

// Plain values into a builder of Cap'n Proto. Seen by the codec only.

#include "wire/messages.h"
#include "wire/peer.capnp.h"

namespace dipc {

// DIPC_CHECK: no list is longer than kRecordBytesMax.
void write(schema::Record::Builder to, const Record& from);

}  // namespace dipc
