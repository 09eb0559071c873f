#pragma once

// What a guard does with the memory that a killed daemon has written down (memory_record.h): it reads what programs do,
// so that none of them waits for that, and hands all of it to the next daemon, which connects to the guard's socket
// (kept_memory.h). For a process that shares the daemon's table of descriptors and may have been made while that had
// threads: nothing here allocates. One at a time in a process.
//
//   guard -> daemon   kSegment  with its record, its memory and that for reading; its directory, if the record has one
//                     kAttached with the userfaultfds of so many of its attachments, in the order of their slots
//                     kAll
//   daemon -> guard   any byte: all has been taken over. If the connection ends before, nobody knows what is so

#include <sys/types.h>

#include <array>
#include <cstdint>

namespace dipc {

enum class KeptOp : std::uint32_t { kSegment = 1, kAttached, kAll };
struct KeptPacket {
  KeptOp op{};
  std::uint32_t count = 0;
};
inline constexpr std::uint32_t kKeptDescriptorsMax = 200;  // of one packet; the kernel allows 253

// Looks for what there is to be kept. `daemon`: who was killed; what an earlier one has written down is nothing to go
// by. False: nothing.
bool find_kept_memory(pid_t daemon, std::int64_t alone_max_ns);
// Whether that is a descriptor of the memory of a segment that is kept.
bool is_kept_memory(int fd);
// Of the whole table all that is not needed: first what has nothing to do with any segment, then the rest.
enum class Needless : std::uint8_t { kOfNoSegment, kAll };
void close_needless(Needless which, int listener);
// Ends the process once all is handed over. Returns when the time is over or all is in doubt: what is kept is to be
// taken from the programs.
void keep_until_fetched(int listener);
void forget_kept_memory();

}  // namespace dipc
