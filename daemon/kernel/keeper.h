#pragma once

// The keeper: a small process beside a daemon, for what must outlive it. The kernel applies a SEM_UNDO list when the
// last thread that shares it ends, whoever ended it, so a daemon that is killed would release what living processes on
// other hosts hold. Therefore the threads of the undo groups (undo_groups.h) live in the keeper.
//
// It knows no network and no policy; it takes orders from one daemon at a time, of its own uid, over a unix socket in
// the daemon's run folder (keeper_records.h). When its daemon is gone it ends the calls that sleep and keeps the
// groups; a daemon that comes back within `alone_max` is told of them. If none comes the groups end, the kernel undoes,
// and the keeper ends. A keeper without groups ends with its daemon.

#include <sys/types.h>

#include <chrono>
#include <filesystem>

#include "wire/result.h"

namespace dipc::keeper {

struct Options {
  std::filesystem::path socket;                // made by the daemon, mode 0600
  std::chrono::milliseconds alone_max{10000};  // peer_timeout: then others hold our host for lost as well
};

// A keeper that can be spoken to, and how it is reached again when it has died.
struct Reached {
  Options options;
  int connection = -1;  // non-blocking; whoever is given it closes it
};

// The keeper that an earlier daemon left, or one started now: a fork of the calling process, which should not have
// threads, secrets or connections yet. Trouble: no socket or process to be had.
Result<Reached> reach(const Options& options);

}  // namespace dipc::keeper
