#pragma once

// The descriptors of this process, without allocating anything.

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "wire/descriptor.h"

namespace dipc {

// As the kernel lays it out (getdents(2)).
struct FolderEntry {
  std::uint64_t inode;
  std::int64_t offset;
  std::uint16_t length;
  std::uint8_t type;
  char name[256];
};

// The folder of this process's, opened ahead for one that may find the table full; -1: none.
inline int g_descriptor_folder = -1;

// `each`(number, what /proc calls it), which may close that one. Not told of is the folder.
template <typename Each>
void for_each_descriptor(Each each) {
  const bool is_ahead = g_descriptor_folder >= 0 && lseek(g_descriptor_folder, 0, SEEK_SET) == 0;
  const int folder = is_ahead ? g_descriptor_folder : open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  alignas(FolderEntry) static char buffer[32768];
  for (;;) {
    const long got = syscall(SYS_getdents64, folder, buffer, sizeof buffer);
    if (got <= 0) break;
    for (long at = 0; at < got;) {
      FolderEntry entry;
      std::memcpy(&entry, buffer + at, offsetof(FolderEntry, name));
      const char* name = buffer + at + offsetof(FolderEntry, name);
      at += entry.length;
      int number = 0;
      for (const char* digit = name; *digit >= '0' && *digit <= '9'; ++digit) number = 10 * number + (*digit - '0');
      char target[128] = {};
      if (number == folder || readlinkat(folder, name, target, sizeof target - 1) < 0) continue;
      each(number, static_cast<const char*>(target));
    }
  }
  if (!is_ahead) close(folder);
}

// `name`: how it begins.
inline bool is_memfd_named(const char* target, const char* name) {
  constexpr char kPrefix[] = "/memfd:";
  return std::strncmp(target, kPrefix, sizeof kPrefix - 1) == 0 &&
         std::strncmp(target + sizeof kPrefix - 1, name, std::strlen(name)) == 0;
}

// Whether an eighth of what RLIMIT_NOFILE allows is free: new ones have the lowest number that is.
inline bool has_descriptors_to_spare() {
  rlimit most{};
  const Descriptor next(eventfd(0, EFD_CLOEXEC));
  return next && getrlimit(RLIMIT_NOFILE, &most) == 0 &&
         static_cast<rlim_t>(next.get()) < most.rlim_cur - most.rlim_cur / 8;
}

}  // namespace dipc
