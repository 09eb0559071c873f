#pragma once

// Memory that is mapped in this process and in no child of it.

#include <sys/mman.h>

#include <cstddef>

namespace dipc {

// Of all of a file. A guard of segments that is started later is a child too, and would keep what has ended since.
// MAP_FAILED, with errno set: as of mmap(2).
inline void* map_for_ourselves(int fd, std::size_t bytes) {
  void* at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (at != MAP_FAILED) madvise(at, bytes, MADV_DONTFORK);
  return at;
}

}  // namespace dipc
