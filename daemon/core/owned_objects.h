#pragma once

// The owner's side of gets: the table of distributed objects that live in this host's kernel, and the making of new
// ones.
//
// get of a name in the table -> kernel get as the caller, without IPC_CREAT: the kernel judges permission and size. Not
//                               there, or another id: removed behind our back -> Removed, kStale
// get with a claim           -> kernel get with IPC_CREAT|IPC_EXCL -> register -> answer. Refused: remove, kStale.
//                               EEXIST: an undistributed object has the key; EEXIST, logged
// get of a name not in it    -> kStale
// get of IPC_PRIVATE         -> kernel get; no referee
//
// One object of a name is made at a time: further gets of it wait. A name of which this host still has a stand-in waits
// for that to be dropped (the claim says that its object is gone, so Dropped is on its way). Waiting and registering
// end after `op_timeout` with kTimedOut; what was made is removed then.
//
// In: begin() and on_*().  Out: take_actions(), to be carried out in order, deadline().
// Owns: the table. objects() belongs in the state file: written at each Save before the actions after it are carried
// out, given to restore() at the next start within the same boot.

#include <compare>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "daemon/core/time.h"
#include "wire/messages.h"

namespace dipc {

struct OwnedObject {
  enum class State : std::uint8_t {
    kRegistering,  // made; the referee has not accepted it yet, and no program knows its id
    kLive,
    kFenced,  // the name is another host's: contents kept, every call on it is EIDRM
  };
  ObjectName name;  // key 0: IPC_PRIVATE
  ObjectRef ref;
  std::int64_t size = 0;  // nsems
  State state = State::kLive;
  bool operator==(const OwnedObject&) const = default;
};

class OwnedObjects {
 public:
  // Chosen by the caller, unique among the gets that are not answered.
  enum class GetId : std::uint64_t {};

  // msgget/semget as the user whose get it is, with the mode and size of `call`; `create` means IPC_CREAT|IPC_EXCL, or
  // IPC_CREAT alone for key 0, and its absence neither, whatever `call` says. Then on_kernel_get().
  struct KernelGet {
    GetId get{};
    GetCall call;
    bool create = false;
    std::uint64_t generation = 0;  // create: of what is made
  };
  // IPC_RMID with the daemon's own rights; no program has the id. Nothing to report.
  struct KernelRemove {
    ObjectName name;
    ObjectRef ref;
  };
  struct Save {};  // objects() changed
  // To the referee. on_registered() with the answer; at once, and not accepted, if it can't be sent.
  struct SendRegister {
    Register registration;
  };
  struct SendRemoved {
    Removed removed;
  };
  struct Answer {
    GetId get{};
    Error error = Error::kNone;
    GetReply reply;  // for kNone
  };
  struct Log {
    ObjectName name;
    std::string text;
  };
  using Action = std::variant<KernelGet, KernelRemove, Save, SendRegister, SendRemoved, Answer, Log>;

  explicit OwnedObjects(Duration op_timeout) : op_timeout_(op_timeout) {}

  // Before all else: what the state file of this boot lists. Objects whose registration was open are removed.
  void restore(const std::vector<OwnedObject>& objects);

  // `generation` is random, for the object that this get may make. `has_stand_in`: this host has a stand-in of the
  // name. `claimant`: the host whose get it is, which the referee is told with its claim; empty: this one.
  void begin(TimePoint now, GetId get, const GetCall& call, std::uint64_t generation, bool has_stand_in,
             std::string claimant);
  void on_kernel_get(TimePoint now, GetId get, Error error, std::int32_t id);
  void on_registered(TimePoint now, const Registered& registered);
  // Stand-ins that come and go while gets wait.
  void on_stand_in_made(TimePoint now, const ObjectName& name);
  void on_stand_in_dropped(TimePoint now, const ObjectName& name);
  // The session with the referee ended: what is not accepted is removed. The next one begins with announcements().
  void on_referee_lost(TimePoint now);
  void on_announced(TimePoint now, const Announced& announced);
  // The referee's word to all. About an object that is here and well it means that an administrator made the referee
  // forget it: the object is fenced, since the name may go to another host at any moment.
  void on_dropped(TimePoint now, const Dropped& dropped);
  // An object was removed by a call of ours, or a sweep did not find it. No such object: nothing happens.
  void on_gone(TimePoint now, const ObjectRef& ref);
  void on_time(TimePoint now);

  std::vector<Action> take_actions();
  TimePoint deadline() const;

  // Fenced objects are found too, those not registered yet are not. nullptr: not ours (any more), or of another
  // generation. Valid until the next input.
  const OwnedObject* find(const ObjectName& name) const;
  const OwnedObject* find(const ObjectRef& ref) const;
  const OwnedObject* find(Kind kind, std::int32_t id) const;
  std::vector<OwnedObject> objects() const;
  // This host is making an object of that name, or has a live one, so another host's can't have its stand-in here now
  // (GetOperation::on_get_reply, obstructed). Fenced objects don't count: they may stay for ever, EEXIST is the answer.
  bool blocks_stand_in(const ObjectName& name) const;

  // What to send first in each new session with the referee; `used` is what this host has stand-ins of.
  std::vector<Announce> announcements(const std::vector<NamedObject>& used) const;

 private:
  using KernelId = std::pair<Kind, std::int32_t>;
  enum class Stage : std::uint8_t { kWaiting, kLooking, kCreating, kRegistering };
  struct Get {
    GetCall call;
    std::string claimant;
    std::uint64_t generation = 0;
    TimePoint deadline;
    Stage stage = Stage::kWaiting;
    ObjectRef looked_for;  // kLooking
    RequestId request{};   // kRegistering
    ObjectRef made;        // kRegistering
  };

  void consider(GetId id);
  void create(GetId id, Get& get);
  void looked(GetId id, Error error, std::int32_t kernel_id);
  void created(GetId id, Error error, std::int32_t kernel_id);
  void unmake(const OwnedObject& object, bool tell_referee);
  void wake(const ObjectName& name);
  bool fence(const NamedObject& object, const std::string& reason);  // false: we have no such object
  void answer(GetId id, Error error, const OwnedObject* object = nullptr);
  OwnedObject* at(const ObjectRef& ref);
  void forget(const ObjectRef& ref, bool tell_referee);

  Duration op_timeout_;
  std::map<KernelId, OwnedObject> objects_;
  std::map<ObjectName, KernelId> by_name_;
  std::map<GetId, Get> gets_;
  std::set<std::pair<TimePoint, GetId>> by_deadline_;  // gets_, all of them
  std::map<ObjectName, GetId> making_;                 // kCreating or kRegistering, names only
  std::map<ObjectName, std::deque<GetId>> waiting_;
  std::map<RequestId, GetId> registering_;
  std::set<ObjectName> stand_ins_;
  std::uint64_t next_request_ = 1;
  std::vector<Action> actions_;
};

}  // namespace dipc
