#pragma once

// Which objects there are, who owns them, and which of this kernel's ids stand for them: gives core's machines (gets,
// owned objects, the referee where this host is it) their kernel, their files and their peers.
//
// In: get(), on_*()   Out: PeerOutbox, the callbacks of get() and serve_get()
// Owns: the table of owned objects, the stand-ins, the state file, and on the referee's host the registry.

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "daemon/core/get_operation.h"
#include "daemon/core/owned_objects.h"
#include "daemon/core/referee.h"
#include "daemon/core/state_file.h"
#include "daemon/io/loop.h"
#include "daemon/io/peer_outbox.h"
#include "daemon/kernel/identity.h"

namespace dipc {

class Naming {
 public:
  struct Options {
    std::string host;
    std::string referee;
    std::string boot;
    Incarnation incarnation{};
    std::string state_dir;
    Duration op_timeout{};
    Duration claim_timeout{};
    Identity own;  // the daemon's
  };
  // Reads the state file and, on the referee's host, the registry. Trouble: one of them can't be understood or written;
  // nothing is overwritten then.
  static Result<std::unique_ptr<Naming>> open(uv_loop_t* loop, Options options, PeerOutbox& peers);
  ~Naming();

  // Carries on with what the state file said: objects that are gone are dropped, the referee (if it is here) is told.
  void start();

  // What a program of this host gets: the id in this kernel, and whether it is the object itself or a stand-in.
  struct Got {
    Error error = Error::kNone;
    std::int32_t id = 0;
    bool owned = false;
  };
  enum class OperationId : std::uint64_t {};
  // msgget or semget of a distributed key by a program of this host. `done` is called once, later or at once, unless
  // cancel_get() comes first.
  OperationId get(const GetCall& call, const Identity& as, const Caller& caller, const std::string& home,
                  std::function<void(const Got&)> done);
  void cancel_get(OperationId operation);
  bool under_way(OperationId operation) const { return operations_.contains(operation); }

  // A get by another host, which we own or are to own.
  void serve_get(const GetCall& call, const Identity& as, std::function<void(Error, const GetReply&)> done);
  // Policy refuses it: its claim, if it has one, goes back to the referee, so that others need not wait for its end.
  void refuse_get(const GetCall& call);

  const StandIn* stand_in(Kind kind, std::int32_t id) const;
  // True: somebody has removed it (ipcrm). Its id is nobody's any more; the next get makes another.
  bool forget_lost_stand_in(const StandIn& stand_in);
  // nullptr: not ours, not yet a program's, or of another generation.
  const OwnedObject* owned(const ObjectRef& ref) const { return objects_.find(ref); }
  const OwnedObject* owned(Kind kind, std::int32_t id) const { return objects_.find(kind, id); }
  std::vector<OwnedObject> owned_objects() const { return objects_.objects(); }
  std::vector<StandIn> stand_ins() const;

  // An object of ours was removed through the daemon, or a program says that it removed one through the kernel.
  void on_removed_here(const ObjectRef& ref);
  // The owner has no such object any more.
  void on_gone_there(const std::string& owner, const ObjectRef& ref);

  // Messages of the naming part of the protocol, and replies to gets. False: not for this part.
  bool on_peer_message(const std::string& host, const PeerMessage& message);
  void on_session_began(const std::string& host, const std::string& boot);
  void on_session_ended(const std::string& host, const std::vector<PeerMessage>& unwritten);
  void on_unreachable(const std::string& host, const std::vector<PeerMessage>& unwritten);

  // The administrator's word on the referee's host; false: not the referee, or no such name.
  bool forget(const ObjectName& name);
  const Registry* registry() const { return referee_ ? &referee_->table() : nullptr; }

 private:
  struct Operation {
    GetOperation machine;
    GetCall call;
    Identity as;
    Caller caller;
    std::function<void(const Got&)> done;
  };
  struct Served {
    Identity as;
    std::function<void(Error, const GetReply&)> done;
  };
  struct Asked {  // a Get on its way to an owner
    OperationId operation{};
    std::string owner;
  };

  Naming(uv_loop_t* loop, Options options, PeerOutbox& peers, DaemonState state, std::unique_ptr<Referee> referee);
  void advance(OperationId id);
  bool act(OperationId id, const GetOperation::Action& action);
  void finish(OperationId id, const GetOperation::Finish& result);
  void ask_owner(OperationId id, const std::string& owner, const GetCall& call);
  void lose_get(CallId call, Error error);
  void lose_referee(OperationId id);
  void advance_objects();
  void advance_referee();
  void for_referee(const std::string& host, const PeerMessage& message);
  tl::expected<std::int32_t, Error> ensure_stand_in(const Operation& operation, const std::string& owner,
                                                    const GetReply& reply);
  void drop_stand_in(const StandIn& stand_in);
  void on_dropped(const Dropped& dropped);
  void announce();
  void sweep();
  void save();
  void on_time();
  void set_timer();
  bool is_referee() const { return referee_ != nullptr; }

  Options options_;
  PeerOutbox& peers_;
  Timer timer_;
  OwnedObjects objects_;
  std::unique_ptr<Referee> referee_;  // null unless this host is the referee
  std::map<std::pair<Kind, std::int32_t>, StandIn> stand_ins_;
  std::set<std::string> sessions_;  // hosts that have one with us
  std::map<OperationId, Operation> operations_;
  std::map<RequestId, OperationId> resolving_;
  std::map<CallId, Asked> asked_;
  std::map<OwnedObjects::GetId, Served> served_;
  std::uint64_t next_ = 1;  // operations, requests, gets
  TimePoint sweep_at_ = kNever;
  bool advancing_objects_ = false;
  bool advancing_referee_ = false;
};

// Whether this kernel still has the object, whoever may use it.
bool object_is_there(Kind kind, std::int32_t id);

// Calls of this part are told from programs' calls by this bit of their id.
inline constexpr std::uint64_t kGetCallBit = 1ull << 63;

}  // namespace dipc
