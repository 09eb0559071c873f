#pragma once

// The cluster's name service, on the host that is the referee: core's Referee and the numbers of hosts with their file,
// their hosts and their clock.
//
// What a host is told is on disk before. While the registry can't be written nothing that depends on it is sent, and
// no more questions for names are taken: to who asks, this referee is one that can't be reached (ETIMEDOUT). Writing is
// tried again every second; what was held back is sent then. What one host makes this one hold back is bounded.
//
// In: on_*(), forget()   Out: PeerOutbox   Owns: the registry and its file.

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "daemon/core/host_numbers.h"
#include "daemon/core/referee.h"
#include "daemon/io/loop.h"
#include "daemon/io/peer_outbox.h"

namespace dipc {

class RefereeService {
 public:
  struct Options {
    std::string host;  // this one
    std::string boot;
    Incarnation incarnation{};
    std::string state_dir;
    bool ran_before = false;  // on this host, so that there should be a registry
    Duration claim_timeout{};
    Duration grace = RefereeOptions{}.grace;
  };
  // Reads the registry and writes it. Trouble: it can't be understood (nothing is overwritten then) or written.
  static Result<std::unique_ptr<RefereeService>> open(uv_loop_t* loop, Options options, PeerOutbox& peers);

  // Whether this is something that hosts say to their referee.
  static bool is_for_referee(const PeerMessage& message);
  // `host` has a session, as this host itself has from open() on.
  void on_message(const std::string& host, const PeerMessage& message);
  void on_session_began(const std::string& host, const std::string& boot);
  void on_session_ended(const std::string& host);
  // The administrator's word; false: there is no such name.
  bool forget(const ObjectName& name);

  const Registry& registry() const { return referee_.table(); }
  // Why the registry can't be written, while it can't.
  const std::optional<Trouble>& trouble() const { return trouble_; }

 private:
  struct Numbered {
    std::string host;
    HostNumber message;
  };
  using Outgoing = std::variant<Referee::Answer, Referee::Broadcast, Numbered>;

  RefereeService(uv_loop_t* loop, Options options, PeerOutbox& peers, Referee referee, HostNumbers numbers);
  void give_number(const std::string& host, std::uint16_t had);
  void advance();
  bool write();
  void send(const Outgoing& outgoing);

  Options options_;
  PeerOutbox& peers_;
  Timer timer_;
  Referee referee_;
  HostNumbers numbers_;
  // New hosts while those that had numbers may still say which: answered when the grace time is over.
  std::set<std::string> unnumbered_;
  std::set<std::string> sessions_;               // hosts that have one with us
  std::vector<Outgoing> held_;                   // not sent yet, in order
  std::map<std::string, std::size_t> held_for_;  // since the trouble began: so many came of a host's messages
  bool changed_ = false;                         // the registry is not on disk as it is here
  std::optional<Trouble> trouble_;
  TimePoint retry_at_ = kNever;
};

}  // namespace dipc
