#pragma once

// Readers of Cap'n Proto into plain values. Seen by the codec only.

#include "wire/messages.h"
#include "wire/peer.capnp.h"

namespace dipc {

// Throws kj::Exception: what is read is no record, or one of a newer protocol.
Record read(schema::Record::Reader from);

}  // namespace dipc
