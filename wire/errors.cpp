#include "wire/errors.h"

#include <array>
#include <cerrno>

namespace dipc {
namespace {

struct Row {
  Error error;
  int native;
  std::string_view name;
};

constexpr std::array<Row, 22> kRows = {{
    {Error::kNone, 0, "success"},
    {Error::kTooBig, E2BIG, "E2BIG"},
    {Error::kAccess, EACCES, "EACCES"},
    {Error::kAgain, EAGAIN, "EAGAIN"},
    {Error::kExists, EEXIST, "EEXIST"},
    {Error::kFault, EFAULT, "EFAULT"},
    {Error::kFileTooBig, EFBIG, "EFBIG"},
    {Error::kRemoved, EIDRM, "EIDRM"},
    {Error::kInterrupted, EINTR, "EINTR"},
    {Error::kInvalid, EINVAL, "EINVAL"},
    {Error::kNoEntry, ENOENT, "ENOENT"},
    {Error::kNoMemory, ENOMEM, "ENOMEM"},
    {Error::kNoMessage, ENOMSG, "ENOMSG"},
    {Error::kNoSpace, ENOSPC, "ENOSPC"},
    {Error::kNotImplemented, ENOSYS, "ENOSYS"},
    {Error::kOverflow, EOVERFLOW, "EOVERFLOW"},
    {Error::kNotPermitted, EPERM, "EPERM"},
    {Error::kRange, ERANGE, "ERANGE"},
    {Error::kTimedOut, ETIMEDOUT, "ETIMEDOUT"},
    {Error::kHostUnreachable, EHOSTUNREACH, "EHOSTUNREACH"},
    {Error::kConnectionReset, ECONNRESET, "ECONNRESET"},
    {Error::kStale, EIDRM, "EIDRM"},  // after kRemoved, so that EIDRM is read as kRemoved
}};

constexpr bool rows_stand_at_their_numbers() {
  for (std::size_t i = 0; i < kRows.size(); ++i) {
    if (static_cast<std::size_t>(kRows[i].error) != i) return false;
  }
  return true;
}
static_assert(rows_stand_at_their_numbers());

const Row& row(Error error) {
  const auto index = static_cast<std::size_t>(error);
  return kRows[index < kRows.size() ? index : static_cast<std::size_t>(Error::kInvalid)];
}

}  // namespace

int to_errno(Error error) { return row(error).native; }

Error from_errno(int native) {
  for (const Row& candidate : kRows) {
    if (candidate.native == native) return candidate.error;
  }
  return Error::kInvalid;
}

std::string_view errno_name(Error error) { return row(error).name; }

}  // namespace dipc
