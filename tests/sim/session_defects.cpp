// Machines that are broken on purpose: between the right one and the world, so that the checks can be seen to find it.

#include <algorithm>

#include "tests/sim/session_world.h"

namespace dipc::sim {
namespace {

using Sessions = PeerSessions;

bool is_urgent(const Frame& frame) {
  return !frame.message || std::holds_alternative<Cancel>(*frame.message) ||
         std::holds_alternative<Taken>(*frame.message) || std::holds_alternative<Returned>(*frame.message) ||
         std::holds_alternative<ProcessEnded>(*frame.message);
}

void spoil_report(Defect defect, Sessions::Ended& ended) {
  const auto move_all = [](std::vector<PeerMessage>& from, std::vector<PeerMessage>& to) {
    to.insert(to.end(), from.begin(), from.end());
    from.clear();
  };
  if (defect == Defect::kReportsWrittenAsUnwritten) move_all(ended.unacknowledged, ended.unwritten);
  if (defect == Defect::kReportsUnwrittenAsWritten) move_all(ended.unwritten, ended.unacknowledged);
  if (defect == Defect::kForgetsTheUnwritten) ended.unwritten.clear();
  if (defect == Defect::kForgetsTheUnacknowledged) ended.unacknowledged.clear();
  if (defect == Defect::kReportsTwice && !ended.unacknowledged.empty()) {
    ended.unacknowledged.push_back(ended.unacknowledged.front());
  }
}

}  // namespace

// Before the machine hears a frame: what one would deliver that does not know repetitions, or does not ask by which
// connection a frame has come.
void SessionWorld::spoil_frame(Side side, ConnectionId connection, const Frame& frame) {
  Host& host = hosts_[side];
  if (!frame.message) return;
  const bool current = host.machine->connection() == connection;
  if (defect_ == Defect::kHearsOldConnections && !current && host.in_session) deliver(side, *frame.message);
  if (defect_ == Defect::kNoDeduplication && current) {
    if (frame.sequence <= host.highest_received) deliver(side, *frame.message);
    host.highest_received = std::max(host.highest_received, frame.sequence);
  }
}

void SessionWorld::spoil(Side side, std::vector<Sessions::Action>& actions) {
  if (defect_ == Defect::kNone) return;
  Host& host = hosts_[side];
  const Host& other = hosts_[1 - side];
  const bool same_session = host.in_session && other.in_session && host.session == other.session;
  std::vector<Sessions::Action> spoilt;
  for (Sessions::Action& action : actions) {
    if (auto* ended = std::get_if<Sessions::Ended>(&action)) spoil_report(defect_, *ended);
    if (auto* transmit = std::get_if<Sessions::Transmit>(&action)) {
      Frame& frame = transmit->frame;
      if (defect_ == Defect::kNoRetransmission && frame.message && frame.sequence <= host.highest_written) continue;
      if (defect_ == Defect::kAcknowledgesTooEarly && same_session) frame.acknowledged = other.highest_written;
      if (auto* before = spoilt.empty() ? nullptr : std::get_if<Sessions::Transmit>(&spoilt.back())) {
        const bool cancel = frame.message && std::holds_alternative<Cancel>(*frame.message);
        if ((defect_ == Defect::kReorders && !is_urgent(frame) && !is_urgent(before->frame)) ||
            (defect_ == Defect::kCancelOvertakesCall && cancel && before->frame.message)) {
          std::swap(frame.message, before->frame.message);
        }
      }
    }
    if (auto* hello = std::get_if<Sessions::SendHello>(&action);
        hello != nullptr && defect_ == Defect::kAcknowledgesTooEarly && same_session) {
      hello->hello.last_received = other.highest_written;
    }
    if (defect_ == Defect::kDialsOnce && std::holds_alternative<Sessions::Dial>(action) && host.dials_made != 0)
      continue;
    if (auto* delivery = std::get_if<Sessions::Deliver>(&action);
        delivery != nullptr && defect_ == Defect::kDeliversLate) {
      std::optional<PeerMessage> earlier = std::exchange(host.held, std::move(delivery->message));
      if (!earlier) continue;
      delivery->message = std::move(*earlier);
    }
    spoilt.emplace_back(std::move(action));
  }
  actions = std::move(spoilt);
}

}  // namespace dipc::sim
