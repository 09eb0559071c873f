#pragma once

// msgget and semget of this host's programs: drives one core GetOperation each, with the referee and the owners.
//
// An object that a get made and whose program can't have it goes again: there is no room for its stand-in here (the
// program gets that error once the object is gone), or it is a private one, which nobody else could ever find, and the
// program has been interrupted or has ended meanwhile.
//
// In: begin(), cancel(), on_*()   Out: PeerOutbox, the callbacks of begin()   Owns: the gets under way.

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "daemon/core/get_operation.h"
#include "daemon/io/loop.h"
#include "daemon/io/peer_outbox.h"
#include "daemon/kernel/identity.h"

namespace dipc {

// Calls of this part are told from programs' calls by this bit of their id.
inline constexpr std::uint64_t kGetCallBit = 1ull << 63;

class Gets {
 public:
  // This host's own objects and stand-ins.
  class Objects {
   public:
    virtual ~Objects() = default;
    // Who owns the name, as far as this host remembers; empty: it does not.
    virtual std::string known_owner(const ObjectName& name) const = 0;
    // `claimant`: the host whose get it is; empty: this one. `process`: whose get it is, there.
    virtual void serve_get(const GetCall& call, const Identity& as, const std::string& claimant, std::int32_t process,
                           std::function<void(Error, const GetReply&)> done) = 0;
    // This host can't have a stand-in of that owner's object now (GetOperation::on_get_reply).
    virtual bool obstructs(const ObjectName& name, const std::string& owner) const = 0;
    // The stand-in's id. kNoSpace, kExists: see make_stand_in().
    virtual tl::expected<std::int32_t, Error> ensure_stand_in(const ObjectName& name, const std::string& owner,
                                                              const GetReply& object) = 0;
  };
  struct Options {
    std::string host;
    std::string referee;
    Duration op_timeout{};
  };
  // What a program gets: the id in this kernel, and whether it is the object itself or a stand-in.
  struct Got {
    Error error = Error::kNone;
    std::int32_t id = 0;
    bool owned = false;
  };
  enum class OperationId : std::uint64_t {};

  // Both borrowed.
  Gets(uv_loop_t* loop, Options options, PeerOutbox& peers, Objects& objects);

  // A new object goes to `home`; empty: here. `done` is called once, later or at once, unless cancel() comes first.
  OperationId begin(const GetCall& call, const Identity& as, const Caller& caller, const std::string& home,
                    std::function<void(const Got&)> done);
  void cancel(OperationId operation);
  bool under_way(OperationId operation) const { return operations_.contains(operation); }

  void on_resolved(const Resolved& resolved);
  // False: not a reply to a call of this part.
  bool on_reply(const std::string& owner, const Reply& reply);
  // The peer certainly has not seen these.
  void on_unwritten(const std::vector<PeerMessage>& unwritten);
  // After on_unwritten().
  void on_session_ended(const std::string& host);

 private:
  struct Operation {
    GetOperation machine;
    GetCall call;
    Identity as;
    Caller caller;
    std::function<void(const Got&)> done;
  };
  struct Asked {  // a call on its way to an owner
    OperationId operation{};
    std::string owner;
    Caller caller;
    GetCall call;
    bool removes = false;       // an object that this get made
    Error then = Error::kNone;  // removes: what the program gets afterwards
  };

  void advance(OperationId id);
  bool act(OperationId id, const GetOperation::Action& action);
  void finish(OperationId id, const GetOperation::Finish& result);
  void end(OperationId id, const Got& got);
  void ask_owner(OperationId id, const std::string& owner, const GetCall& call);
  void remove(Asked asked, const ObjectRef& object);
  void lose_call(CallId call, Error error);
  void lose_referee(OperationId id);
  void on_time();
  void set_timer();

  Options options_;
  PeerOutbox& peers_;
  Objects& objects_;
  Timer timer_;
  std::map<OperationId, Operation> operations_;
  std::map<RequestId, OperationId> resolving_;
  std::map<CallId, Asked> asked_;
  std::uint64_t next_ = 1;  // operations, requests, calls
};

}  // namespace dipc
