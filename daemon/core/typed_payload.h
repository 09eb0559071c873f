#pragma once

// A queue's payloads, from a program's own form to the one that travels and back: what leaving() and entering() do on
// the sender's host, on the owner's, and on the receiver's. Pure.

#include <cstdint>
#include <string>
#include <tl/expected.hpp>

#include "daemon/core/id_passage.h"
#include "daemon/core/receive_room.h"
#include "layouts/queue_layout.h"
#include "wire/messages.h"

namespace dipc {

// Why a message can't be what it is declared to be, on one of the two sides.
struct Unfit {
  Error error = Error::kInvalid;  // kInvalid, kOverflow; kTooBig: no room; kHostUnreachable: see pid_leaving()
  Trouble why;                    // with field and value
};

// `type` and `text` of a program of `abi` become what travels; the answer is their form. Messages of types without a
// struct stay bytes.
tl::expected<PayloadForm, Unfit> leaving(const QueueLayout& layout, const Abi& abi, std::int64_t& type, Bytes& text,
                                         IdsLeaving& ids);
// The reverse. `form` is what came with them, from a peer: whatever it says. `room_bytes`: of the result, whose padding
// is left out if only that does not fit.
tl::expected<void, Unfit> entering(const QueueLayout& layout, const Abi& abi, const PayloadForm& form,
                                   std::int64_t& type, Bytes& text, IdsEntering& ids, std::uint64_t room_bytes);

// What MSG_NOERROR leaves of a message for which there is too little room.
inline void cut(Bytes& text, std::uint64_t room_bytes) {
  if (text.size() > room_bytes) text.resize(static_cast<std::size_t>(room_bytes));
}

// msgrcv's msgtyp, likewise. `structure` is what messages of that type are, as in MessageReceive. kInvalid: a pid can't
// be asked for by a range of types.
tl::expected<void, Unfit> type_leaving(const QueueLayout& layout, MessageReceive& receive, std::uint16_t own_number);
tl::expected<void, Unfit> type_entering(const QueueLayout& layout, MessageReceive& receive, std::uint16_t own_number);

// How much of each message that `receive` may get there is room for, in bytes of this machine (`own`), where the
// receiver, of another (`theirs`), has max_bytes for it. Call after type_entering(). Nothing: an ABI that is none.
std::optional<ReceiveRoom> room_for(const QueueLayout& layout, const Abi& own, const Abi& theirs,
                                    const MessageReceive& receive);

}  // namespace dipc
