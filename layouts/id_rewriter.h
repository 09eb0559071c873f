#pragma once

// What a conversion asks about numbers that mean something on one host only.

#include <cstdint>

#include "layouts/declarations.h"
#include "wire/errors.h"

namespace dipc {

// Makes a number of one host mean the same on another, for fields declared pid, uid or gid. A conversion asks once for
// each such field, in the order of the payload: leaving a host (to the canonical form) and entering the next (from it).
class IdRewriter {
 public:
  struct Answer {
    Error error = Error::kNone;  // else the conversion ends with it
    std::int64_t value = 0;
  };
  // `value` is the field's, sign-extended if the field is signed; what an unsigned one of 64 bits holds beyond the
  // largest int64_t is negative here, and an answer that is negative means such a number there. It runs between two
  // memory accesses, so it should only look up.
  virtual Answer rewrite(Meaning meaning, std::int64_t value) = 0;

 protected:
  ~IdRewriter() = default;
};

}  // namespace dipc
