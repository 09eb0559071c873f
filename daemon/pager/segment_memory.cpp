#include "daemon/pager/segment_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "daemon/pager/memory_guard.h"

namespace dipc {
namespace {

constexpr unsigned kNoExecSeal = 8;  // MFD_NOEXEC_SEAL, demanded where vm.memfd_noexec is 2 (Linux 6.3)
constexpr int kPunchTries = 3;       // a program's fault that is under way may bring a page back once

}  // namespace

std::size_t kernel_page_bytes() {
  static const auto bytes = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  return bytes;
}

Result<SegmentMemory> SegmentMemory::make(const std::string& name, std::uint64_t bytes) {
  if (bytes > SIZE_MAX / 2) return trouble(name + ": " + std::to_string(bytes) + " bytes do not fit this machine");
  Descriptor fd(memfd_create(name.c_str(), MFD_CLOEXEC));
  if (!fd && errno == EACCES) fd = Descriptor(memfd_create(name.c_str(), MFD_CLOEXEC | kNoExecSeal));
  if (!fd) return trouble(name + ": memfd_create: " + std::strerror(errno));
  if (fchmod(fd.get(), 0600) != 0) return trouble(name + ": fchmod of a memfd: " + std::strerror(errno));
  if (ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0) {
    return trouble(name + ": " + std::to_string(bytes) + " bytes of memory: " + std::strerror(errno));
  }
  if (!tell_memory_guard(fd.get())) return trouble(name + ": the memory's guard is gone", "start dipcd again");
  return SegmentMemory(std::move(fd), static_cast<std::size_t>(bytes));
}

Descriptor SegmentMemory::share(bool writable) const {
  if (writable) return Descriptor(fcntl(fd_.get(), F_DUPFD_CLOEXEC, 0));
  // A duplicate would be as open for writing as ours.
  const std::string path = "/proc/self/fd/" + std::to_string(fd_.get());
  return Descriptor(open(path.c_str(), O_RDONLY | O_CLOEXEC));
}

bool SegmentMemory::punch(std::uint64_t offset, std::uint64_t length) const {
  return fallocate(fd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                   static_cast<off_t>(length)) == 0;
}

bool SegmentMemory::clear(std::uint64_t offset, std::uint64_t length) const {
  for (int i = 0; i < kPunchTries; ++i) {
    if (!punch(offset, length)) continue;
    const off_t data = lseek(fd_.get(), static_cast<off_t>(offset), SEEK_DATA);
    if (data < 0 || static_cast<std::uint64_t>(data) >= offset + length) return true;
  }
  return false;
}

bool SegmentMemory::is_hole(std::uint64_t offset) const {
  return lseek(fd_.get(), static_cast<off_t>(offset), SEEK_DATA) != static_cast<off_t>(offset);
}

bool SegmentMemory::is_cut() const {
  struct stat status {};
  return fstat(fd_.get(), &status) != 0 || status.st_size < static_cast<off_t>(bytes_);
}

bool SegmentMemory::read(std::uint64_t offset, std::span<std::byte> into) const {
  for (std::size_t done = 0; done < into.size();) {
    const ssize_t got = pread(fd_.get(), into.data() + done, into.size() - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    done += static_cast<std::size_t>(got);
  }
  return true;
}

bool SegmentMemory::write(std::uint64_t offset, const std::byte* from, std::size_t length) const {
  for (std::size_t done = 0; done < length;) {
    const ssize_t put = pwrite(fd_.get(), from + done, length - done, static_cast<off_t>(offset + done));
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return false;
    done += static_cast<std::size_t>(put);
  }
  return true;
}

void SegmentMemory::cut_to_nothing() const {
  if (ftruncate(fd_.get(), 0) != 0) punch(0, bytes_);  // can't fail: it is ours and not sealed
}

}  // namespace dipc
