#pragma once

// Which objects there are, who owns them, and which of this kernel's ids stand for them: gives core's OwnedObjects its
// kernel and its peers, keeps the stand-ins, and leads what hosts say about names to gets and to the referee.
//
// In: get(), serve_get(), on_*()   Out: PeerOutbox, the callbacks of get() and serve_get()
// Owns: the table of owned objects, the stand-ins, the state file, and on the referee's host the name service.

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "daemon/core/owned_objects.h"
#include "daemon/core/state_file.h"
#include "daemon/gets.h"
#include "daemon/io/loop.h"
#include "daemon/io/peer_outbox.h"
#include "daemon/kernel/identity.h"
#include "daemon/kernel/objects.h"
#include "daemon/kernel/segment_stand_ins.h"
#include "daemon/referee_service.h"

namespace dipc {

class Naming final : private Gets::Objects {
 public:
  // The segments of this host, of which the kernel has the stand-ins alone.
  class Segments {
   public:
    virtual ~Segments() = default;
    // shmget without IPC_CREAT, and with IPC_CREAT|IPC_EXCL. Errors are shmget's. `host`, `process`: whose it is.
    virtual tl::expected<ObjectMade, Error> look(const ObjectRef& segment, const GetCall& call, const Identity& as) = 0;
    virtual tl::expected<ObjectMade, Error> make(const GetCall& call, std::uint64_t generation, const Identity& as,
                                                 const std::string& host, std::int32_t process) = 0;
    virtual void unmake(const ObjectRef& segment) = 0;  // no program has its id
    virtual void on_stand_in_gone(const ObjectRef& segment) = 0;
  };

  struct Options {
    std::string host;
    std::string referee;
    std::string boot;
    Incarnation incarnation{};
    std::string state_dir;
    Duration op_timeout{};
    Duration claim_timeout{};
    Identity own;  // the daemon's
    // This host's number, at open() if it has one, and when the referee has said it; null: nobody asks.
    std::function<void(std::uint16_t)> numbered = nullptr;
  };
  // Reads the state file and, on the referee's host, the registry. Trouble: one of them can't be understood or written;
  // nothing is overwritten then.
  static Result<std::unique_ptr<Naming>> open(uv_loop_t* loop, Options options, PeerOutbox& peers);
  ~Naming() override;

  // Before start(). Without it segments are not served (ENOSYS).
  void attach(Segments& segments) { segments_ = &segments; }

  // Once, before start(). Ends the segments of the state file but those that go on: of the others nobody knows any more
  // where their pages are.
  void end_segments_but(const std::set<ObjectRef>& kept);

  // Carries on with what the state file said: objects that are gone are dropped, the referee (if it is here) is told.
  void start();

  // Gets of this host's programs.
  Gets& gets() { return gets_; }

  // A get by another host, which we own or are to own.
  void serve_get(const GetCall& call, const Identity& as, const std::string& claimant, std::int32_t process,
                 std::function<void(Error, const GetReply&)> done) override;

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
  // It has removed it, by a call from here: as on_gone_there() for all but segments, whose ids outlive their names.
  void on_removed_there(const std::string& owner, const ObjectRef& ref);

  // Messages of the naming part of the protocol, and replies to gets. False: not for this part.
  bool on_peer_message(const std::string& host, const PeerMessage& message);
  void on_session_began(const std::string& host, const std::string& boot);
  // `restarted`: another daemon runs there, since the same boot.
  void on_session_ended(const std::string& host, const std::vector<PeerMessage>& unwritten, bool restarted);
  void on_unreachable(const std::string& host, const std::vector<PeerMessage>& unwritten);

  // Why the state file could not be written; nothing: it says how things are. It is tried again every second; until
  // then nothing new is made here or gets a stand-in (ENOSPC), since a restarted daemon would not know it.
  const std::optional<Trouble>& trouble() const { return trouble_; }

  // The name service; nullptr: another host is the referee.
  RefereeService* referee() { return referee_.get(); }

 private:
  struct Served {
    Identity as;
    std::string host;
    std::int32_t process = 0;
    std::function<void(Error, const GetReply&)> done;
  };

  Naming(uv_loop_t* loop, Options options, PeerOutbox& peers, const DaemonState& state,
         std::unique_ptr<RefereeService> referee);

  // Gets::Objects
  std::string known_owner(const ObjectName& name) const override;
  bool obstructs(const ObjectName& name, const std::string& owner) const override;
  tl::expected<std::int32_t, Error> ensure_stand_in(const ObjectName& name, const std::string& owner,
                                                    const GetReply& object) override;

  void drop_stand_in(const StandIn& stand_in, bool lingers = false);
  void pin(const StandIn& stand_in);
  void on_dropped(const Dropped& dropped);
  void advance();
  void carry_out(const OwnedObjects::Action& action);
  void announce();
  void sweep();
  void ask_number();
  void on_number(std::uint16_t number);
  tl::expected<ObjectMade, Error> kernel_get(const OwnedObjects::KernelGet& get);
  bool write_down(const ObjectName& name, std::uint32_t uid);  // that it is being made
  tl::expected<ObjectMade, Error> make_object(const GetCall& call, std::uint64_t generation, const Served& who);
  void remove_leftovers();
  bool save();  // true: what is in the state file is on disk
  void on_time();
  void lose_referee(const std::string& host);
  void set_timer();

  Options options_;
  PeerOutbox& peers_;
  Timer timer_;
  OwnedObjects objects_;
  Gets gets_;
  std::unique_ptr<RefereeService> referee_;
  Segments* segments_ = nullptr;
  std::map<std::pair<Kind, std::int32_t>, StandIn> stand_ins_;
  // Of segments that are removed and may still be attached somewhere: they have lost their keys here, too.
  std::map<std::int32_t, StandIn> lingering_;
  std::map<std::int32_t, SegmentPin> pins_;     // of all stand-ins of segments, by id
  std::map<ObjectName, std::uint32_t> making_;  // as whose uid; at start what a daemon that was killed was making
  std::map<OwnedObjects::GetId, Served> served_;
  std::uint16_t number_ = 0;
  std::uint64_t next_get_ = 1;
  TimePoint sweep_at_ = kNever;
  TimePoint save_at_ = kNever;  // again
  std::optional<Trouble> trouble_;
  bool advancing_ = false;
};

// Whether this kernel still has the object, whoever may use it.
bool object_is_there(Kind kind, std::int32_t id);

}  // namespace dipc
