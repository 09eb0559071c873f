// What a daemon and its keeper say to each other, damaged: a record or nothing, and what is understood is written as it
// was read.
//
// Input: one packet. Numbers in the corpus are those of x86-64: for other machines most of it is nonsense.

#include <cstdint>
#include <cstring>

#include "daemon/kernel/keeper_records.h"
#include "wire/check.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  dipc::Bytes packet(bytes);
  if (bytes > 0) std::memcpy(packet.data(), data, bytes);
  const auto record = dipc::keeper::decode(packet);
  if (!record) return 0;
  const dipc::Bytes written = dipc::keeper::encode(*record);
  DIPC_CHECK(written.size() <= packet.size());  // a set's number may stand there twice
  const auto again = dipc::keeper::decode(written);
  DIPC_CHECK(again.has_value() && again->index() == record->index());
  DIPC_CHECK(dipc::keeper::encode(*again) == written);
  return 0;
}
