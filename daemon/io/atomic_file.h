#pragma once

// Small files that must be whole or not there: the daemon's state, the referee's table. The new contents go to a file
// beside the old one, reach the disk, and take its place in one step; then the folder's entry reaches the disk too.
// After a crash at any point the name has either the old contents or the new. Blocks for as long as the disk does. One
// writer at a time for each path: the file beside is always .NAME.new, so that crashes leave no litter. Source:
// rename(2), fsync(2) (a file's fsync does not cover its folder).

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include <sys/types.h>

#include "wire/result.h"

namespace dipc {

// Trouble names path and system error; a full disk, quota or read-only file system says what to free. The old contents
// are then as they were.
Result<void> write_file_atomically(const std::filesystem::path& path, std::string_view contents, mode_t mode = 0600);

// All of a regular file. Empty optional: there is none. Trouble: not to be read, no regular file, or more than
// `bytes_max`.
Result<std::optional<std::string>> read_file(const std::filesystem::path& path, std::size_t bytes_max = 64u << 20);

}  // namespace dipc
