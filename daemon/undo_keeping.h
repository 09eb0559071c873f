#pragma once

// How long undo groups of other hosts' processes outlive a session with their host, and this daemon.
//
//   the host was silent for peer_timeout, or is no longer wanted     they end at once
//   it was started again, or ended the session in order to begin
//   anew; or this daemon was started again                           they go on for peer_timeout; if the host is back
//                                                                    by then, with the same boot, for as long as their
//                                                                    processes: it is told of them, and watches them
//
// A process that may live on though its group has ended is told by an ECONNRESET on its next call, once.

#include <uv.h>

#include <functional>
#include <map>
#include <string>

#include "daemon/core/session.h"
#include "daemon/io/loop.h"
#include "daemon/io/peer_outbox.h"
#include "daemon/kernel/executor.h"

namespace dipc {

class UndoKeeping {
 public:
  // All borrowed. `on_results`: the executor may have finished calls.
  UndoKeeping(uv_loop_t* loop, PeerOutbox& peers, Executor& executor, Duration peer_timeout,
              std::function<void()> on_results);

  void on_session_began(const std::string& host, const std::string& boot);
  void on_session_ended(const std::string& host, PeerSessions::EndReason reason);

 private:
  void wait_for(const std::string& host);
  void end_groups(const std::string& host, const std::string& why);
  void on_time();
  void set_timer();

  PeerOutbox& peers_;
  Executor& executor_;
  const Duration peer_timeout_;
  const std::function<void()> on_results_;
  std::map<std::string, TimePoint> until_;  // by host that is away
  Timer timer_;
};

}  // namespace dipc
