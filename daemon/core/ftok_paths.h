#pragma once

// Keys of ftok(3) for the paths that administrators list: from path and id alone, so that every host that lists a path
// gives the same. libc makes them from the file's device and inode, which are others on every host.
//
// A path is compared as the kernel shows it, with symbolic links resolved (realpath(3)).

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dipc {

// As libc's, the lowest eight bits of `id` are the highest of the key; of 0 POSIX promises nothing. Never IPC_PRIVATE.
std::int32_t ftok_key(std::string_view path, std::int32_t id);

// Why `path` can't be one that a program's file has, as "is ..."; empty: it can.
std::string path_objection(std::string_view path);

// The first path of `listed` (path_objection() has none) that would get the keys of one before it, and which that is.
struct FtokTwin {
  std::size_t index;
  std::size_t of;
};
std::optional<FtokTwin> ftok_twin(const std::vector<std::string>& listed);

// Nothing: the path is not listed, and libc's key is right.
std::optional<std::int32_t> listed_ftok_key(const std::vector<std::string>& listed, std::string_view path,
                                            std::int32_t id);

}  // namespace dipc
