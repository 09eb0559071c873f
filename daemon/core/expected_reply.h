#pragma once

// What the success of one call looks like, so that a peer's reply is judged before anything is made of it: the peer may
// be broken, of a version to come, or hostile. Errors carry nothing and always fit.
//
//   get                      the object, of the kind that was asked for
//   msgrcv                   a message, no longer than the program's room, of a type that its long can hold. One in
//                            the form that was asked for is judged once it is converted
//   IPC_STAT                 the record
//   GETALL                   as many values as the set has semaphores
//   shmat                    a segment of at least a byte, whose pages are powers of two and not smaller than the
//   host's all others               nothing

#include <cstdint>
#include <optional>
#include <string>

#include "wire/messages.h"

namespace dipc {

class ExpectedReply {
 public:
  // `semaphores`: of the set that the call is about.
  explicit ExpectedReply(const CallBody& call, std::int64_t semaphores = 0);

  // What is wrong with it, for the log; nothing: it fits.
  std::optional<std::string> objection(const Reply& reply) const;

 private:
  enum class What : std::uint8_t { kNothing, kObject, kMessage, kStat, kValues, kSegment };
  What what_ = What::kNothing;
  Kind kind_{};
  std::uint64_t bytes_max_ = 0;
  bool narrow_type_ = false;  // 32 bits
  std::uint64_t layout_ = 0;  // as in MessageReceive
  std::uint64_t values_ = 0;
  std::uint32_t page_bytes_ = 0;
};

}  // namespace dipc
