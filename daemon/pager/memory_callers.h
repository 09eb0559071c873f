#pragma once

// Programs that use a descriptor of a segment's memory in a system call. No program has to: the memory is there to be
// mapped. write(2) into it holds the memory's lock until it has what it writes, and if that is a page that only we can
// bring, punching a hole for it would wait for ourselves.

#include <sys/types.h>

#include <vector>

namespace dipc {

// Processes other than ours of which a thread sleeps in such a call now, as proc(5) has it, those that wait for the
// lock included. `memory`: a descriptor of ours.
std::vector<pid_t> callers_on(int memory);

}  // namespace dipc
