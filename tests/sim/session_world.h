#pragma once

// Two hosts, the sessions between them and a network that does to connections what real ones do, by a seed: one seed is
// one history, on every architecture. Checks the promises of daemon/core/session.h while it runs.
//
// The network: a connection is two ordered streams. It may be cut with part of what is on its way delivered, and either
// end may or may not notice; a partition holds data back in one or both directions and lets it go later, also when the
// connection has long been replaced; frames are repeated; dials fail, hang, or meet halfway. A host may stand still
// (as if stopped) and then see all that has come at once, or lose its daemon and get a new incarnation, perhaps at
// another address.
//
// The checks, each named as the violation that it reports:
//   delivered twice, wrong order, wrong session   every delivery
//   delivered and reported unwritten, reported twice, reported wrongly, lost
//                                                 a message accepted by send() has exactly one fate
//   session order                                 Began and Ended alternate, no number twice, nothing delivered outside
//   no agreement, fresh message lost              after the faults: one session, one connection, messages get through
//   spins                                         a deadline that on_time() does not move

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "daemon/core/session.h"
#include "tests/sim/random.h"

namespace dipc::sim {

// A defect put between the machine and the world, to see that the checks find it.
enum class Defect : std::uint8_t {
  kNone,
  kNoDeduplication,
  kNoRetransmission,
  kAcknowledgesTooEarly,
  kHearsOldConnections,
  kReorders,
  kCancelOvertakesCall,
  kReportsWrittenAsUnwritten,
  kReportsUnwrittenAsWritten,
  kForgetsTheUnwritten,
  kForgetsTheUnacknowledged,
  kReportsTwice,
  kDeliversLate,
  kDialsOnce,
  kNeverOnTime,
};

// What happened in a run or in many: proof that the faults do reach the code that is there for them.
struct Coverage {
  std::map<std::string, std::uint64_t> counts;
  void add(const Coverage& other) {
    for (const auto& [what, count] : other.counts) counts[what] += count;
  }
};

struct Outcome {
  std::string violation;  // empty: none
  std::uint64_t trace_hash = 0;
  Coverage coverage;
};

class SessionWorld {
 public:
  // `log`: every action is printed, for the replay of a seed.
  SessionWorld(std::uint64_t seed, Defect defect, bool log);
  ~SessionWorld();
  SessionWorld(const SessionWorld&) = delete;
  SessionWorld& operator=(const SessionWorld&) = delete;

  Outcome run();

 private:
  using Side = std::size_t;                                  // 0: amy, 1: bob; the other one is 1 - side
  using MessageKey = std::pair<std::size_t, std::uint64_t>;  // kind and id

  struct Stream {
    TimePoint last{};  // the latest arrival promised: order is kept
    std::deque<Record> flying;
    std::deque<Frame> seen;  // the latest that arrived, to repeat
    bool dead = false;       // nothing more gets in
  };
  struct Connection {
    std::array<ConnectionId, 2> ids{};
    std::array<std::uint64_t, 2> lives{};  // incarnation at each end
    std::array<Stream, 2> to;              // to[side]: what that side will read
    bool closed = false;
  };
  struct Host {
    std::string name;
    std::string address;
    std::unique_ptr<PeerSessions> machine;  // none while the daemon is down
    std::uint64_t life = 0;
    bool dials = false;
    std::uint64_t dial = 0;  // counts dials; 0 is none under way
    std::uint64_t dials_made = 0;
    TimePoint timer = kNever;
    unsigned timer_repeats = 0;
    TimePoint timer_last{};
    bool stands_still = false;
    std::deque<std::function<void()>> backlog;
    // by Began and Ended
    bool in_session = false;
    SessionNumber session{};
    std::set<SessionNumber> ended;
    std::uint64_t last_ordered = 0;  // of the messages delivered here in this session
    std::uint64_t last_settling = 0;
    // the program
    std::uint64_t process = 0;
    std::deque<std::uint64_t> recent_calls;
    // defects
    std::uint64_t highest_received = 0;
    std::uint64_t highest_written = 0;
    std::optional<PeerMessage> held;
  };
  struct Sent {
    Side from = 0;
    std::uint64_t life = 0;
    std::uint64_t order = 0;
    SessionNumber written_in{};
    bool delivered = false;
    bool unwritten = false;
    bool unacknowledged = false;
    bool withdrawn = false;
    bool settled() const { return delivered || unwritten || unacknowledged || withdrawn; }
  };

  // time
  void at(TimePoint when, std::function<void()> what);
  void step_until(TimePoint until);
  void at_host(Side side, std::uint64_t life, std::function<void()> what);
  // network
  Duration latency();
  void put(std::size_t connection, Side to, Record record);
  void arrive(std::size_t connection, Side to);
  void read(std::size_t connection, Side to, Record record);
  void tell_closed(std::size_t connection, Side to);
  void cut(std::size_t connection, unsigned notice_percent);
  void dial(Side from);
  // faults
  void schedule_fault();
  void fault();
  void partition(bool to_amy, bool to_bob);
  Duration length();
  std::optional<std::size_t> open_connection();
  void stand_still(Side side);
  void crash(Side side);
  void start(Side side);
  // programs
  void schedule_program(Side side);
  void program(Side side);
  void send(Side side, PeerMessage message);
  // machines
  void after_input(Side side);
  void act(Side side, PeerSessions::Action& action);
  void deliver(Side side, const PeerMessage& message);
  void report(Side side, const PeerMessage& message, bool written);
  void spoil(Side side, std::vector<PeerSessions::Action>& actions);
  void spoil_frame(Side side, ConnectionId connection, const Frame& frame);
  // checks
  void violation(const std::string& what);
  void check_agreement();
  void check_fates();
  static MessageKey key_of(const PeerMessage& message);
  void trace(Side side, const char* what, std::uint64_t a, std::uint64_t b = 0, std::uint64_t c = 0);

  Random random_;
  Defect defect_;
  bool log_;
  TimePoint now_{};
  std::uint64_t next_event_ = 0;
  std::map<std::pair<TimePoint, std::uint64_t>, std::function<void()>> events_;
  std::array<Host, 2> hosts_;
  std::deque<Connection> connections_;
  std::map<ConnectionId, std::size_t> by_id_;
  std::array<TimePoint, 2> blocked_until_{};  // data to that side
  std::map<MessageKey, Sent> sent_;
  std::map<std::uint64_t, std::vector<std::uint64_t>> calls_of_;  // a process's calls that were accepted
  std::uint64_t next_id_ = 1;
  std::uint64_t next_connection_ = 1;
  bool faults_ = true;
  bool programs_ = true;
  TimePoint faults_end_{};
  // drawn once
  Duration latency_most_{};
  unsigned repeat_percent_ = 0;
  unsigned dial_trouble_percent_ = 0;
  Duration fault_pause_{};
  Duration send_pause_{};
  std::uint64_t buffer_bytes_ = 0;

  Outcome outcome_;
};

}  // namespace dipc::sim
