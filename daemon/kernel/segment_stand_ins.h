#pragma once

// Stand-ins of segments (stand_ins.h makes and removes them): one page of System V shared memory, mode 0, on every host
// that uses the segment, the owner too. The daemon has it attached: when somebody removes it, the daemon or ipcrm, its
// key is free at once and its id is taken until the daemon lets go (shmctl(2), SHM_DEST), as a real segment's is until
// its last detach.

#include <sys/types.h>

#include <cstdint>

#include <tl/expected.hpp>

#include "wire/messages.h"

namespace dipc {

// Keeps the id of one stand-in taken. Movable.
class SegmentPin {
 public:
  SegmentPin() = default;
  // EINVAL, EIDRM: it is gone; ENOMEM.
  static tl::expected<SegmentPin, Error> take(std::int32_t id);
  SegmentPin(SegmentPin&& other) noexcept;
  SegmentPin& operator=(SegmentPin&& other) noexcept;
  ~SegmentPin();

 private:
  explicit SegmentPin(void* address) : address_(address) {}
  void* address_ = nullptr;
};

}  // namespace dipc
