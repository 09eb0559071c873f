#pragma once

// A model cluster around the naming machines of daemon/core: hosts with a kernel each, sessions that carry messages in
// order and break, daemons that restart, hosts that boot again, programs that get and remove, and people who use ipcrm.
// Everything happens in one queue of events; the seed decides all of it.
//
// The checkers (referee_history) see every event. A broken machine is made by a Fault: the glue then does one thing
// wrong, and the checker that is there for it must notice.

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "daemon/core/get_operation.h"
#include "daemon/core/owned_objects.h"
#include "daemon/core/referee.h"
#include "tests/sim/random.h"
#include "tests/sim/referee_history.h"

namespace dipc::sim {

enum class Fault {
  kNone,
  kTakesRefusedForAccepted,  // owners keep what the referee refused, and the referee thinks it accepted
  kLosesTime,                // gets never look at the clock
  kAnswersEarly,             // owners do not wait for the referee
  kKeepsRemovalsSecret,      // owners do not report removals
  kSkipsPersists,            // one change of the table in ten is not written
  kSaysAbsent,               // the referee denies names now and then
  kSharesExclusive,          // an exclusive create is given what is there
  kTrustsItsStandIns,        // a stand-in is as good as the owner's word
  kInventsEEXIST,            // an exclusive create of a free name fails now and then
  kKeepsClaims,              // no claim is ever given back
};

// The System V part of a kernel: keys, ids, and whose object it is.
class ModelKernel {
 public:
  struct Object {
    ObjectName name;
    int user = 0;
    bool stand_in = false;
    bool undistributed = false;
    std::uint64_t serial = 0;  // the model's own number; never used twice in a run
  };
  struct Got {
    Error error = Error::kNone;
    std::int32_t id = -1;
  };
  Got get(const Object& as, bool create);  // create: IPC_CREAT|IPC_EXCL; `as` is what to make
  bool remove(Kind kind, std::int32_t id);
  const Object* find(Kind kind, std::int32_t id) const;
  std::vector<std::pair<std::int32_t, Object>> all() const;
  void boot();

 private:
  std::map<std::pair<Kind, std::int32_t>, Object> objects_;
  std::map<ObjectName, std::int32_t> keys_;
  std::map<ObjectName, std::int32_t>
      last_id_;  // a key made again has another id, as the kernel's sequence numbers see to
  std::int32_t next_ = 0;
};

class World {
 public:
  World(std::uint64_t seed, Fault fault, bool trace);

  // Runs it all; what is wrong, or "".
  std::string run();
  const History& history() const { return history_; }

 private:
  static constexpr int kHosts = 4;
  static constexpr int kReferee = 0;

  struct StandIn {
    std::int32_t id = -1;
    std::uint64_t generation = 0;
    int owner = 0;
  };
  struct Operation {
    std::optional<GetOperation> machine;
    History::Get record;
    GetRequest request;
    int user = 0;
  };
  struct Served {
    int from = 0;
    std::uint64_t epoch = 0;  // of the link it came by
    CallId call{};
    int user = 0;
    std::uint64_t generation = 0;
  };
  struct Asked {
    std::uint64_t operation = 0;
    int owner = 0;
  };
  struct Host {
    bool up = false;
    bool announced = false;  // to the referee of now
    int boots = 0;
    std::uint64_t run = 0;  // counts runs of the daemon: events of an earlier one are void
    ModelKernel kernel;
    std::optional<OwnedObjects> owned;
    std::vector<OwnedObject> state_file;
    std::map<ObjectName, StandIn> stand_ins;
    std::map<std::uint64_t, Operation> operations;
    std::map<RequestId, std::uint64_t> resolving;
    std::map<CallId, Asked> asked;
    std::map<OwnedObjects::GetId, Served> served;
    TimePoint alarm = kNever;
  };
  // What one side thinks of its session with the other: 0 is none.
  struct Link {
    std::uint64_t epoch = 0;  // of the session that really is; in flight with another: lost
    std::array<std::uint64_t, 2> side{};
    bool opening = false;
    std::array<TimePoint, 2> last{};  // messages stay in order
  };

  void at(TimePoint when, std::function<void()> what);
  void after(Duration delay, std::function<void()> what) { at(now_ + delay, std::move(what)); }
  void on_host(int host, Duration delay, std::function<void()> what);  // void if the daemon has restarted since
  void run_until(TimePoint end);
  void drain();
  Duration milliseconds(std::uint64_t low, std::uint64_t high);
  void trace(const std::string& text);

  // links
  Link& link(int a, int b) { return links_[{std::min(a, b), std::max(a, b)}]; }
  static std::size_t side(int of, int other) { return of < other ? 0 : 1; }
  bool send(int from, int to, const PeerMessage& message);
  void deliver(int from, int to, std::uint64_t epoch, const PeerMessage& message);
  void cut(int a, int b);
  void notice_loss(int host, int peer);
  void open_later(int a, int b);
  void session_began(int host, int peer);
  bool in_trouble() const;  // a daemon or a session is away, or the referee waits for owners

  // daemons
  void start_daemon(int host);
  void stop_daemon(int host, bool reboot);
  void advance(int host);  // until no machine of the host has anything to do
  bool advance_operations(int host);
  bool advance_owned(int host);
  bool advance_referee();
  void on_alarm(int host);
  void set_alarm(int host);
  void on_operation(int host, std::uint64_t id, const GetOperation::Action& action);
  void on_owned(int host, const OwnedObjects::Action& action);
  void on_referee(const Referee::Action& action);
  void serve(int host, Served served, const GetCall& call);
  void kernel_get(int host, const OwnedObjects::KernelGet& get);
  void answer(int host, const OwnedObjects::Answer& answer);
  void on_reply(int host, int from, CallId call, Error error, const GetReply& reply);
  void on_dropped(int host, const Dropped& dropped);
  void finish(int host, std::uint64_t id, GetOperation::Finish result);
  Error ensure_stand_in(int host, const ObjectName& name, int owner, std::uint64_t generation);
  void drop_stand_in(int host, const ObjectName& name);
  void announce(int host);
  void sweep(int host);
  void start_referee();

  // programs and people
  void random_step();
  void begin_get(int host, const ObjectName& name, bool create, bool exclusive, int user);
  void remove_some(int host);
  void remove_behind_our_back(int host);
  void make_undistributed(int host);
  void kernel_removed(int host, Kind kind, std::int32_t id);
  void settle_down();
  void check_end();
  void remove_all();
  void expect_get(int host, const ObjectName& name, bool create, bool exclusive, Error expected);

  bool alive(std::uint64_t generation) const;
  // Both: in any kernel; the first also in the table.
  bool is_occupied(const ObjectName& name) const;
  bool is_undistributed(const ObjectName& name) const;
  const std::vector<OwnedObject> objects_of(int host) const;
  void check_unique(const ObjectName& name);
  static std::string host_name(int host) { return std::string(1, static_cast<char>('a' + host)); }
  static int host_index(const std::string& name) { return name[0] - 'a'; }
  std::string boot_of(int host) const;

  Random random_;
  Fault fault_;
  bool trace_;
  TimePoint now_{};
  std::map<std::pair<TimePoint, std::uint64_t>, std::function<void()>> events_;
  std::uint64_t event_count_ = 0;
  std::uint64_t next_ = 1;  // requests, calls, gets, serials, operations
  std::array<Host, kHosts> hosts_;
  std::map<std::pair<int, int>, Link> links_;
  std::optional<Referee> referee_;
  RegistryFile disk_;
  History history_;
  std::vector<ObjectName> names_;
  std::map<ObjectName, int> homes_;
  // what kind of run this is
  bool calm_ = false;  // the end: nothing breaks any more
  Duration claim_timeout_{};
  bool rough_ = false;  // something is broken nearly always
  unsigned slow_percent_ = 0;
  bool loses_table_ = false;
  bool forgets_ = false;
  struct Made {
    int host = 0;
    std::int32_t id = -1;
    std::uint64_t serial = 0;
  };
  std::map<std::uint64_t, Made> made_;                    // by generation
  std::map<std::uint64_t, std::uint64_t> generation_of_;  // by serial
  std::optional<Error> last_error_;                       // of the get that ended last
  TimePoint trouble_until_{};                             // the last that has been, or the arrival of a slow message
};

}  // namespace dipc::sim
