#pragma once

// Tells when processes of this host end, whoever holds copies of their descriptors and whatever they exec: a pidfd each
// (pidfd_open(2), Linux 5.3). Used for the sockets of programs, which a forked child may keep open, and for undo
// groups.

#include <sys/types.h>
#include <uv.h>

#include <functional>
#include <map>
#include <memory>

#include "daemon/io/loop.h"

namespace dipc {

class ProcessWatch {
 public:
  ProcessWatch(uv_loop_t* loop, std::function<void(pid_t)> on_ended);
  ~ProcessWatch();

  // Calls on_ended(pid) once when the process ends. False: it has ended already, or can't be watched.
  bool watch(pid_t pid);
  std::size_t count() const { return entries_.size(); }  // descriptors

 private:
  struct Entry;
  uv_loop_t* loop_;
  std::function<void(pid_t)> on_ended_;
  std::map<pid_t, std::unique_ptr<Entry>> entries_;
};

}  // namespace dipc
