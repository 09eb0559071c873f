#pragma once

// The cluster's name service and the judge of who may create: (kind, key) -> owner. It runs on one host, the referee's
// host, which takes part through the same calls as all others.
//
// A host that asks to create a name that nobody has gets a claim: a number with which the new object must be registered
// before the claim times out, by the asker, or by the host that it named as the object's home, for a get of the asker.
// The number is no secret: who is who is told by the sessions, and to all others it is worth nothing. Others who ask
// for the name meanwhile wait for the outcome, in order. So no two hosts ever hold registered objects of one name, and
// an id may go to a program once the registration is accepted, not before.
//
// An entry goes by its owner's Removed with the same generation, by the owner's Announce that does not list it, by a
// new boot id of the owner, or by an administrator; never because a host can't be reached.
//
// In: on_*(), each with the host whose session it came through. on_host() begins a session, on_host_lost() ends it;
// messages of a host that has no session are a bug of the caller. on_time() at deadline(); extra calls do nothing.
// Out: take_actions() after every on_*(), to be carried out in order: a Persist must be on disk before what follows it
// is sent (one write may serve for all of a batch, if nothing of the batch is sent before it). If the write fails, the
// batch and all that follows it wait until it succeeds: a name must not be promised that a restart would not know.
// Owns: the table; claims and waiting requests, both bounded per host.
//
// Lost table (`table_lost`): for `grace` nothing is answered "absent" or "you create it"; owners announce what they
// have when they connect. What may go wrong: the object of an owner that does not connect within the grace time is not
// known, so its name may be given to another; that owner's object is refused when it does come, and fenced there.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "daemon/core/registry_file.h"
#include "daemon/core/time.h"
#include "wire/messages.h"

namespace dipc {

struct RefereeOptions {
  Duration claim_timeout = std::chrono::seconds(5);
  Duration grace = std::chrono::seconds(15);  // session lost after 10 s, dialled again within 2 s, and some
  // The file should have been there and was not, or it was written within a grace time (RegistryFile::complete).
  bool table_lost = false;
  // What one host can make this one remember. Beyond: a request is not answered (the asker's op_timeout ends it), a
  // registration is refused; both are logged.
  std::size_t waiting_per_host_max = 10000;
  std::size_t claims_per_host_max = 1024;
  std::size_t entries_per_host_max = 100000;  // three kinds of 32768, the kernel's IPCMNI
};

class Referee {
 public:
  // What changed in the table; no entry = the name is free.
  struct Persist {
    ObjectName name;
    std::optional<RegistryEntry> entry;
  };
  // The grace time is over: the file is to be written as complete.
  struct GraceOver {};
  struct Answer {
    std::string host;
    std::variant<Resolved, Registered, Announced, Dropped> message;
  };
  // To every host that has a session, the owner and this host included.
  struct Broadcast {
    Dropped message;
  };
  // A refused or conflicting request; for the log, whatever its volume: the logger limits the rate.
  struct Log {
    std::string host;
    ObjectName name;
    std::string text;
  };
  using Action = std::variant<Persist, GraceOver, Answer, Broadcast, Log>;

  // `table` is what the file held; `incarnation` makes claim numbers unique over restarts.
  Referee(TimePoint now, Incarnation incarnation, RefereeOptions options, Registry table);

  void on_host(TimePoint now, const std::string& host, const std::string& boot);
  void on_host_lost(TimePoint now, const std::string& host);

  void on_resolve(TimePoint now, const std::string& host, const Resolve& resolve);
  void on_register(TimePoint now, const std::string& host, const Register& registration);
  void on_abandon(TimePoint now, const std::string& host, const Abandon& abandon);
  void on_removed(TimePoint now, const std::string& host, const Removed& removed);
  void on_announce(TimePoint now, const std::string& host, const Announce& announce);

  bool on_forget(TimePoint now, const ObjectName& name);  // the administrator's word; false: there was no entry
  void on_time(TimePoint now);

  std::vector<Action> take_actions();
  TimePoint deadline() const;  // kNever = nothing is timed

  const Registry& table() const { return table_; }
  bool in_grace() const { return in_grace_; }
  std::size_t open_claims() const { return claims_.size(); }
  std::size_t waiting_requests() const;

 private:
  struct Claim {
    ObjectName name;
    std::string host;  // who asked, and was told
    std::string home;  // who may register
    TimePoint deadline;
  };
  struct Waiter {
    std::string host;
    Resolve resolve;
  };
  // A host with a session.
  struct Host {
    std::string boot;
    std::size_t waiting = 0;
    std::size_t claims = 0;
    bool announced_all = false;
    std::set<ObjectName> announced;  // until announced_all: entries of this host known to be real
    std::vector<NamedObject> used;   // announced in the grace time, judged at its end
  };

  Host& session_of(const std::string& host);
  void forget_session(const std::string& host);
  void answer_present(const std::string& host, RequestId id, const RegistryEntry& entry);
  void wait(const std::string& host, const Resolve& resolve);
  // False: too many open claims of that host; nothing was answered.
  bool grant(TimePoint now, const std::string& host, const Resolve& resolve);
  void close_claim(ClaimId id);
  // The name is registered, or its claim is over, or the grace time is: answers those who wait.
  void settle(TimePoint now, const ObjectName& name);
  bool may_register(const std::string& host, const Register& registration, const Claim& claim);
  bool has_room(const std::string& owner) const;
  void enter(const ObjectName& name, const std::string& owner, std::uint64_t generation);
  void drop(const ObjectName& name);
  bool announce_one(TimePoint now, const std::string& host, const NamedObject& object);
  void answer_dropped_unless_present(const std::string& host, const NamedObject& object);
  void end_grace(TimePoint now);
  void log(const std::string& host, const ObjectName& name, std::string text);

  RefereeOptions options_;
  Registry table_;
  std::map<std::string, std::set<ObjectName>> owned_;  // table_ by owner
  std::map<std::string, Host> hosts_;
  std::map<ClaimId, Claim> claims_;  // in the order of their deadlines: numbers and times both only grow
  std::map<ObjectName, ClaimId> claim_of_;
  std::map<ObjectName, std::deque<Waiter>> waiting_;  // behind a claim, or for the end of the grace time
  std::uint64_t next_claim_;
  bool in_grace_;
  TimePoint grace_end_;
  std::vector<Action> actions_;
};

}  // namespace dipc
