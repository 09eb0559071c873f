#pragma once

// Calls of this host's programs on objects that other hosts own: from a local request to a Call on the owner's session,
// and from its Reply back to the program. Every call is answered exactly once, whatever happens to the owner:
//
//   reply came                         the kernel's own answer
//   session died, frame never written  EHOSTUNREACH: certainly not executed
//   session died otherwise             ECONNRESET: outcome unknown
//   cancelled, frame never written     EINTR at once
//
// A reply that can't be one to its call ends the session: a peer that says such things is not to be trusted with more.
//
// A message that a program did not get (its reply stayed unread, or it had given the call up) is returned to the owner;
// one that it got is confirmed with Taken.
//
// Calls on a queue wait here, in their order, until its owner has said what its messages are (typed_calls.h).
//
// In: begin(), on_*()   Out: PeerOutbox, ShimServer::reply   Owns: the calls under way, which process has undo groups.

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "daemon/core/expected_reply.h"
#include "daemon/io/peer_outbox.h"
#include "daemon/io/process_watch.h"
#include "daemon/io/shim_server.h"
#include "daemon/kernel/users.h"
#include "daemon/typed_calls.h"
#include "wire/messages.h"

namespace dipc {

class LocalCalls {
 public:
  // All borrowed. `calls_max`: under way for one login, with those that were given up and are not answered yet; more
  // get ENOMEM. `object_gone` is called when an owner says that it has no such object any more (the error says how),
  // and before the program that removed it (kNone) hears so: the referee, from whom other hosts hear, does not know
  // objects without a key.
  LocalCalls(uv_loop_t* loop, PeerOutbox& peers, Users& users, const HostTypes& types, std::size_t calls_max,
             std::function<void(const std::string& owner, const ObjectRef&, Error)> object_gone);
  void attach(ShimServer& programs) { programs_ = &programs; }
  // An owner has granted a shmat: who answers the program from here on. `call`: the client's number; nothing: the
  // program is gone.
  struct Granted {
    std::string owner;
    ObjectRef segment;
    AttachReply shape;
    bool writable = false;
    uid_t uid = 0;         // the program's
    std::int32_t key = 0;  // as in begin()
    Abi abi;               // the program's
    ClientId client{};
    std::optional<std::uint64_t> call;
  };
  void on_granted(std::function<void(const Granted&)> granted) { granted_ = std::move(granted); }

  // `semaphores`: of the object, if it is a set. `key`: its own, by which this host's administrator knows it.
  void begin(const LocalRequest& request, const std::string& owner, const ObjectRef& object, std::int64_t semaphores,
             std::int32_t key = 0);
  void on_cancel(ClientId client, std::uint64_t call);
  void on_client_gone(ClientId client);
  void on_reply_taken(ClientId client, std::uint64_t call);
  void on_reply_unread(ClientId client, std::uint64_t call);

  void on_reply(const std::string& owner, const Reply& reply);
  void on_declarations(const std::string& owner, const QueueDeclarations& declarations);
  void on_declarations_changed(const std::string& owner) { queues_.on_changed(owner); }
  // This host declares something else now.
  void on_reload() { queues_.on_reload(); }
  // Whose undo groups the owner has: processes of ours that used them under an earlier daemon are watched again.
  void on_undo_holders(const std::string& owner, const UndoHolders& holders);
  void on_session_began(const std::string& owner, const std::string& boot);
  // `unwritten`: what the session never gave to a connection.
  void on_session_ended(const std::string& owner, const std::vector<PeerMessage>& unwritten);

  std::size_t under_way() const { return calls_.size(); }

 private:
  struct Outstanding {
    ClientId client{};
    std::uint64_t call = 0;  // the client's number
    std::string login;
    std::string owner;
    ObjectRef object;
    std::int32_t key = 0;
    Abi abi;
    std::int64_t semaphores = 0;
    ExpectedReply expected;
    TypedCalls::Expected typed = {};
    bool consumes_message = false;
    bool removes = false;
    bool writable = false;  // of a shmat
    uid_t uid = 0;
    bool uses_undo = false;
    pid_t process = 0;
    bool cancelled = false;
    bool abandoned = false;  // nobody waits for the answer any more
  };
  struct Delivered {  // a message in a program's socket
    std::string owner;
    CallId id{};
  };
  struct UndoHolder {
    ProcessId process;
    std::map<std::string, bool> owners;  // that it called with SEM_UNDO, and whether one of these calls succeeded
  };
  using ClientCall = std::pair<ClientId, std::uint64_t>;

  using QueueKey = std::pair<std::string, ObjectRef>;

  void send(Call call);
  void send_held(const QueueKey& queue);
  bool withdraw(CallId id, const Outstanding& call);
  static TypedCalls::Queue queue_of(const Outstanding& call) { return {call.owner, call.object, call.key}; }
  std::optional<ProcessId> process_of(const LocalRequest& request);
  bool translate_permissions(CallBody& body) const;
  void answer(ClientId client, const LocalRequest& request, Error error);
  bool may_begin(const std::string& login) const;
  Outstanding take_out(std::map<CallId, Outstanding>::iterator found);
  void end_call(std::map<CallId, Outstanding>::iterator found, const Reply& reply);
  void cancel_there(CallId id, Outstanding& call);
  bool holds_undo(const ProcessId& process, const std::string& owner) const;
  void note_undo(const Outstanding& call, Error error);
  void finish(const Outstanding& call, const Reply& reply);
  void finish_typed(const Outstanding& call, Reply reply);
  void deliver(const Outstanding& call, const Reply& reply);
  void on_process_ended(pid_t pid);

  PeerOutbox& peers_;
  Users& users_;
  std::function<void(const std::string&, const ObjectRef&, Error)> object_gone_;
  std::function<void(const Granted&)> granted_;
  ShimServer* programs_ = nullptr;
  ProcessWatch processes_;
  std::uint64_t next_call_ = 1;
  const std::size_t calls_max_;
  std::map<CallId, Outstanding> calls_;
  TypedCalls queues_;
  std::map<QueueKey, std::map<CallId, Call>> held_;  // until it is known what the queue's messages are
  std::map<std::string, std::size_t> calls_of_login_;
  std::map<ClientCall, CallId> by_client_;
  // The socket goes with its process, so the pid is not reused meanwhile.
  std::map<ClientId, ProcessId> process_of_client_;
  std::map<ClientCall, Delivered> delivered_;
  std::map<pid_t, UndoHolder> undo_holders_;
  std::map<std::string, std::string> boots_;  // of owners, as their latest sessions said
  std::set<std::string> told_holders_;        // owners that have said theirs in this session
};

}  // namespace dipc
