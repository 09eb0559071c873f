#pragma once

// Between the records of programs on this host (wire/local.h, native numbers, the client's own ABI) and the calls that
// hosts exchange (wire/messages.h). Pure functions. User and group numbers are left to the caller, who has the user
// database.

#include <optional>

#include "daemon/io/shim_server.h"
#include "wire/local.h"
#include "wire/messages.h"

namespace dipc {

// The call that a kSend, kReceive, kOperate, kControl or kAttach request asks for, on `object`. Nothing if the request
// is none of these, is nothing that objects of this kind have, or makes no sense (the shim has a bug, or is not the
// shim).
std::optional<CallBody> call_of(const LocalRequest& request, const ObjectRef& object);

// What the program of `abi` gets for `reply`. A message is `long mtype` of that ABI and the text.
struct LocalAnswer {
  local::Reply header;
  Bytes payload;
};
LocalAnswer answer_of(const Reply& reply, std::uint64_t call, const Abi& abi);
LocalAnswer answer_of(Error error, std::uint64_t call);

// IPC_STAT's record, with numbers as they stand in `stat`.
local::StatRecord record_of(const Stat& stat);

}  // namespace dipc
