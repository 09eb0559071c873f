#pragma once

// Calls of other hosts' programs on objects of this host: who the caller is here, whether the object is one that peers
// may use, then the executor; and its results back on the session. What policy refuses is logged with rule and line.
//
// In: on_*()   Out: PeerOutbox   Owns: of the calls only who made those that remove an object, and what typed_queues.h
// needs; the executor has the rest.

#include <functional>
#include <map>
#include <optional>
#include <string>

#include "daemon/core/key_policy.h"
#include "daemon/core/logins_map.h"
#include "daemon/io/peer_outbox.h"
#include "daemon/kernel/executor.h"
#include "daemon/kernel/users.h"
#include "daemon/naming.h"
#include "daemon/segments.h"
#include "daemon/typed_queues.h"

namespace dipc {

class RemoteCalls {
 public:
  struct Policy {
    LoginsMap logins;
    KeyPolicy keys;
  };
  // All borrowed; `policy` and `types` may change between calls (reload).
  RemoteCalls(PeerOutbox& peers, Naming& naming, Executor& executor, Users& users, const Policy& policy,
              const HostTypes& types)
      : peers_(peers),
        naming_(naming),
        executor_(executor),
        users_(users),
        policy_(policy),
        queues_(users, policy.logins, types) {}

  // Segments are not the executor's. Before the first call; without it calls on them get ESTALE's likes (kStale).
  void attach(Segments& segments) { segments_ = &segments; }

  void on_call(const std::string& host, const Call& call);
  void on_cancel(const std::string& host, CallId call) {
    executor_.cancel({host, call});
    send_results();
  }
  void on_taken(const std::string& host, CallId call) { executor_.taken({host, call}); }
  void on_returned(const std::string& host, const Returned& returned);
  void on_ask_layout(const std::string& host, const AskLayout& question);
  void on_process_ended(const std::string& host, const ProcessId& process);
  void on_session_began(const std::string& host, const Hello& hello) { queues_.on_session_began(host, hello.abi); }
  void on_session_ended(const std::string& host);

  // Sends what the executor has finished. After every turn in which its wakeup_fds() were readable.
  void send_results();

  std::uint64_t received() const { return received_; }
  const TypedQueues& queues() const { return queues_; }

 private:
  std::optional<Identity> identity_of(const std::string& host, const Caller& caller);
  void answer(const std::string& host, CallId call, Error error);
  bool translate_permissions(const std::string& host, CallBody& body);
  void call_segment(const std::string& host, const Identity& as, const Call& call, const CallBody& body);
  void send_result(Finished finished);
  void name_the_ids(const std::string& host, Stat& stat);

  PeerOutbox& peers_;
  Naming& naming_;
  Executor& executor_;
  Users& users_;
  const Policy& policy_;
  TypedQueues queues_;
  Segments* segments_ = nullptr;
  std::map<CallKey, ObjectRef> removals_;                // IPC_RMID on its way through the executor
  std::map<std::string, std::uint64_t> sessions_ended_;  // by host: an answer is for the session of its call alone
  std::uint64_t received_ = 0;
};

}  // namespace dipc
