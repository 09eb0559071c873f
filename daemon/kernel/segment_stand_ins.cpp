#include "daemon/kernel/segment_stand_ins.h"

#include <sys/ipc.h>
#include <sys/shm.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace dipc {
namespace {

bool set_mode(std::int32_t id, unsigned short mode) {
  shmid_ds record{};  // uid, gid and mode count (shmctl(2))
  record.shm_perm.uid = geteuid();
  record.shm_perm.gid = getegid();
  record.shm_perm.mode = mode;
  return shmctl(id, IPC_SET, &record) == 0;
}

}  // namespace

SegmentPin::SegmentPin(SegmentPin&& other) noexcept : address_(std::exchange(other.address_, nullptr)) {}

SegmentPin& SegmentPin::operator=(SegmentPin&& other) noexcept {
  std::swap(address_, other.address_);
  return *this;
}

SegmentPin::~SegmentPin() {
  if (address_ != nullptr) shmdt(address_);
}

tl::expected<SegmentPin, Error> SegmentPin::take(std::int32_t id) {
  const auto failed = [](const void* address) { return reinterpret_cast<std::intptr_t>(address) == -1; };
  void* address = shmat(id, nullptr, 0);
  if (failed(address) && errno == EACCES && set_mode(id, 0600)) {
    // Without root mode 0 is for nobody, the owner neither.
    address = shmat(id, nullptr, 0);
    const int error = errno;
    set_mode(id, 0);
    errno = error;
  }
  if (failed(address)) return tl::unexpected(from_errno(errno));
  return SegmentPin(address);
}

}  // namespace dipc
