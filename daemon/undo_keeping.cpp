#include "daemon/undo_keeping.h"

#include <algorithm>

#include "daemon/io/log.h"

namespace dipc {

UndoKeeping::UndoKeeping(uv_loop_t* loop, PeerOutbox& peers, Executor& executor, Duration peer_timeout,
                         std::function<void()> on_results)
    : peers_(peers),
      executor_(executor),
      peer_timeout_(peer_timeout),
      on_results_(std::move(on_results)),
      timer_(loop, [this] { on_time(); }) {
  for (const std::string& host : executor_.undo_hosts()) {
    log_info("keeper", "has undo lists of " + std::to_string(executor_.undo_holders(host).size()) + " processes of " +
                           host + "; they go on if it is back in time");
    wait_for(host);
  }
}

void UndoKeeping::on_session_began(const std::string& host, const std::string& boot) {
  until_.erase(host);
  executor_.begin_session(host, boot);
  std::vector<ProcessId> holders = executor_.undo_holders(host);
  if (!holders.empty()) peers_.send(host, UndoHolders{std::move(holders)});
  on_results_();
}

void UndoKeeping::on_session_ended(const std::string& host, PeerSessions::EndReason reason) {
  switch (reason) {
    case PeerSessions::EndReason::kTimeout:
      return end_groups(host, "nothing was heard of it");
    case PeerSessions::EndReason::kRefused:
    case PeerSessions::EndReason::kEnded:
      return end_groups(host, "there are no more sessions with it");
    case PeerSessions::EndReason::kPeerRestarted:
    case PeerSessions::EndReason::kSuperseded:
    case PeerSessions::EndReason::kProtocol:
      break;
  }
  if (!executor_.undo_holders(host).empty()) wait_for(host);
}

void UndoKeeping::wait_for(const std::string& host) {
  until_[host] = loop_now() + peer_timeout_;
  set_timer();
}

void UndoKeeping::end_groups(const std::string& host, const std::string& why) {
  until_.erase(host);
  const std::size_t holders = executor_.undo_holders(host).size();
  if (holders == 0) return;
  log_warning("undo",
              "what " + std::to_string(holders) + " processes of " + host + " hold under SEM_UNDO is undone: " + why);
  executor_.end_groups(host);
  on_results_();
}

void UndoKeeping::on_time() {
  const TimePoint now = loop_now();
  std::vector<std::string> late;
  for (const auto& [host, until] : until_) {
    if (until <= now) late.push_back(host);
  }
  for (const std::string& host : late) end_groups(host, "it did not come back in time");
  set_timer();
}

void UndoKeeping::set_timer() {
  TimePoint next = kNever;
  for (const auto& [host, until] : until_) next = std::min(next, until);
  timer_.start_at(next);
}

}  // namespace dipc
