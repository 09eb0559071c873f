#pragma once

// Records as bytes and back: the one place where Cap'n Proto (peer.capnp) meets the plain structs, and the only one
// that catches its exceptions. A record is the same bytes whatever machine encodes it.

#include <cstddef>
#include <span>

#include "wire/framing.h"
#include "wire/messages.h"
#include "wire/result.h"

namespace dipc {

// Appends the record with its length prefix. DIPC_CHECK: it is not longer than kRecordBytesMax, which holds if texts
// are at most kTextBytesMax.
void encode(const Record& record, Bytes& into);
Bytes encode(const Record& record);

// One record without its prefix, as FrameReader gives it. Trouble: not Cap'n Proto, cut short, a message or an
// enumerator of a newer protocol. Any bytes may be given; memory use is bounded by their length.
Result<Record> decode(std::span<const std::byte> bytes);

}  // namespace dipc
