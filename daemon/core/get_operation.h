#pragma once

// The asking side of one msgget or semget: from what the program asked for to an object on its owner, or an error.
//
//   known owner, or IPC_PRIVATE -> Get there
//   else resolve: absent            -> ENOENT
//                 present           -> Get at the owner, whose kernel judges; EEXIST if it was to be exclusive
//                 "you create it"   -> Get with the claim at `home`
//   Get answered kStale (the owner does not have it any more, or its registration was refused) -> resolve again
//
// A name that this host has seen needs no referee, so an unreachable referee stops gets of new names and nothing else.
// Ends in Finish, the last of its actions, at the latest `op_timeout` after start() with kTimedOut. Get is retried
// freely: without a claim it changes nothing, and a claim is used once. A claim with which nothing was made goes back
// to the referee, whatever the reason, or the name would be nobody's until the claim times out.
//
// Errors in Finish: the owner kernel's own; kNoEntry, kExists; kTimedOut (referee or owner silent); kHostUnreachable
// (the owner can't be reached; nothing was made); kConnectionReset (lost while it may have been making the object).
//
// In: start(), on_*(); the caller numbers requests and routes their answers here. An answer to an operation that is
// over may still be handed to it (or to late_answer()): a claim that nobody wants goes back to the referee.
// Out: take_actions(), deadline().  Owns: nothing outside itself.

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "daemon/core/time.h"
#include "wire/messages.h"

namespace dipc {

struct GetRequest {
  ObjectName name;
  bool create = false;     // IPC_CREAT
  bool exclusive = false;  // IPC_EXCL; without IPC_CREAT it means nothing, as in the kernel
  std::uint32_t mode = 0;
  std::int64_t size = 0;
  std::string home = {};         // where a new object goes: policy's home, else this host
  std::string known_owner = {};  // host that this host's table or stand-in names as the owner; empty: none
};

class GetOperation {
 public:
  // To the referee; answer with on_resolved() or on_referee_unreachable(). `resolve.id` is the caller's to fill in.
  struct SendResolve {
    Resolve resolve;
  };
  // To `owner`, which may be this host; answer with on_get_reply() or on_owner_unreachable().
  struct SendGet {
    std::string owner;
    GetCall call;
  };
  // To the referee, if it can be reached.
  struct SendAbandon {
    Abandon abandon;
  };
  // The end. `owner`, `reply` and `made` are set for kNone: make or reuse the stand-in, unless the owner is this host.
  struct Finish {
    Error error = Error::kNone;
    std::string owner;
    GetReply reply;
    bool made = false;  // by this get: if there is no room for its stand-in, nobody will miss it
  };
  using Action = std::variant<SendResolve, SendGet, SendAbandon, Finish>;

  GetOperation(GetRequest request, Duration op_timeout);

  void start(TimePoint now);
  void on_resolved(TimePoint now, const Resolved& resolved);
  void on_referee_unreachable(TimePoint now);
  // `obstructed`: the owner is another host, and this one can't have a stand-in of the name now, since it still has one
  // of an object of a third host (whose Dropped is on its way), or OwnedObjects::blocks_stand_in() (one of the two is
  // gone or about to be refused). Asked again in a while then. A stand-in of another object of the same owner is no
  // obstacle: it is older, so it goes.
  void on_get_reply(TimePoint now, Error error, const GetReply& reply, bool obstructed = false);
  // `error` says what is known: kHostUnreachable, certainly not executed; kConnectionReset, it may have been.
  void on_owner_unreachable(TimePoint now, Error error);
  void on_cancel(TimePoint now);  // the program was interrupted or died: Finish{kInterrupted}
  void on_time(TimePoint now);

  std::vector<Action> take_actions();
  TimePoint deadline() const;
  bool done() const { return state_ == State::kDone; }

  // What to tell the referee when an answer finds nobody waiting for it.
  static std::optional<Abandon> late_answer(const Resolved& resolved);

 private:
  enum class State : std::uint8_t { kNew, kResolving, kGetting, kPausing, kDone };

  void resolve();
  void get(const std::string& owner, std::optional<ClaimId> claim, bool fail_if_there);
  void pause(TimePoint now);
  void give_claim_back();
  void finish(Error error, std::string owner = {}, GetReply reply = {});
  bool exclusive() const { return request_.create && request_.exclusive; }

  GetRequest request_;
  Duration op_timeout_;
  State state_ = State::kNew;
  TimePoint deadline_ = kNever;        // of the whole operation
  TimePoint resume_ = kNever;          // end of a pause
  Duration pause_{};                   // length of the last one
  std::string owner_;                  // kGetting: asked there
  std::optional<ClaimId> claim_;       // kGetting: handed to owner_
  std::optional<std::uint64_t> made_;  // generation of the object that this operation has made
  bool from_referee_ = false;          // kGetting: owner_ is the referee's word, not a memory
  std::vector<Action> actions_;
};

}  // namespace dipc
