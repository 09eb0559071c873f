#pragma once

// Scripts of System V calls and what came of them. A script is drawn from a seed while it is played on a bare kernel,
// since what can be asked next depends on who is blocked; then it is played again through DIPC.
//
// Compared: every return value (ids as "the queue", "the set"), errno, mtype and text of messages, values, counts,
// modes, owners, creators, keys, sizes and bytes of the status calls, pids (as "which puppet"), who is woken by which
// call, and that nobody else is. Not compared: times (two runs are at two times) and ids as numbers.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tests/kernel/stage.h"
#include "tests/sim/random.h"

namespace dipc::test {

struct Step {
  std::size_t puppet = 0;
  std::string command;  // $Q and $S stand for the ids; "interrupt" for a signal to a blocked puppet
  std::map<std::size_t, std::string> answers;  // normalised
};
using Script = std::vector<Step>;

// Draws and plays `steps` steps, then removes what it made. `key` and `key + 1` are the object's keys. `may_hide`:
// modes that let an object be written and not read occur.
Script record(Stage& bare, std::uint64_t seed, std::size_t steps, std::int32_t key, bool may_hide = true);

// Plays it again; the differences, one line each, empty if there are none.
std::vector<std::string> replay(Stage& stage, const Script& script);

std::string to_string(const Step& step);

}  // namespace dipc::test
