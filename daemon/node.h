#pragma once

// One host of the cluster: takes what programs and peers say to the part that it is for. No decisions of its own.

#include <map>
#include <memory>
#include <string>

#include "daemon/administration.h"
#include "daemon/io/configuration_files.h"
#include "daemon/io/peer_network.h"
#include "daemon/io/shim_server.h"
#include "daemon/io/tls.h"
#include "daemon/kernel/executor.h"
#include "daemon/kernel/users.h"
#include "daemon/local_calls.h"
#include "daemon/naming.h"
#include "daemon/pager/memory_guard.h"
#include "daemon/remote_calls.h"
#include "daemon/segment_calls.h"
#include "daemon/segments.h"
#include "daemon/undo_keeping.h"

namespace dipc {

// The keeper that an earlier daemon with this run folder left, or a new one: a fork of this process, which has no
// threads, secrets or connections yet.
Result<keeper::Reached> reach_keeper(const Configuration& configuration);

class Node final : public ShimServer::Handler, public PeerNetwork::Handler, public PeerOutbox {
 public:
  // Trouble: a file of the state, a certificate, an address in use; what and remedy.
  // `keeper`: of reach_keeper(); without it undo groups end with this process.
  static Result<std::unique_ptr<Node>> start(uv_loop_t* loop, std::string configuration_file, Policy policy,
                                             std::optional<keeper::Reached> keeper = std::nullopt);
  ~Node() override;

  // Reads the administrator's files again: all of them count from now on, or none. `who` goes into the log.
  Parsed<AdminDone> reload(const std::string& who);
  // Ends the sessions, tells peers why, removes the socket file. Programs that wait get EHOSTUNREACH or ECONNRESET.
  void stop(const std::string& why);

 private:
  Node(uv_loop_t* loop, std::string configuration_file, Policy policy, std::unique_ptr<TlsContext> tls,
       Incarnation incarnation, std::string boot);

  Result<void> start_executor(uv_loop_t* loop, std::optional<keeper::Reached> keeper);
  void start_segments(uv_loop_t* loop);
  bool start_guard(uv_loop_t* loop, const GuardOptions& options);

  // ShimServer::Handler
  void on_request(LocalRequest request) override;
  void on_cancel(ClientId client, std::uint64_t call) override;
  void on_reply_taken(ClientId client, std::uint64_t call) override;
  void on_reply_unread(ClientId client, std::uint64_t call) override;
  void on_client_gone(ClientId client) override;

  // PeerNetwork::Handler
  void on_peer_message(const std::string& host, PeerMessage message) override;
  void on_session_began(const std::string& host, const Hello& hello) override;
  void on_session_ended(const std::string& host, PeerSessions::EndReason reason,
                        const std::vector<PeerMessage>& unwritten) override;
  void on_unreachable(const std::string& host, const std::vector<PeerMessage>& unwritten) override;

  // PeerOutbox: to the network, for the parts that are made before it.
  bool send(const std::string& host, PeerMessage message) override;
  bool withdraw(const std::string& host, CallId call) override;
  bool takes_answers(const std::string& host) const override;
  void end_session(const std::string& host, const std::string& why) override;

  void get(const LocalRequest& request);
  void look_up(const LocalRequest& request);
  void call(const LocalRequest& request, Kind kind);
  void note_removed(const LocalRequest& request);
  void caller_pids(const LocalRequest& request);
  void ftok(const LocalRequest& request);
  std::map<std::string, std::uint64_t> counters() const;
  void reply(const LocalRequest& request, Error error, std::int64_t value = 0,
             local::Where where = local::Where::kLocal);

  std::string configuration_file_;
  Policy policy_;
  RemoteCalls::Policy remote_policy_;
  std::unique_ptr<TlsContext> tls_;
  Hello own_;
  Users users_;
  HostTypes types_;
  std::unique_ptr<Executor> executor_;
  std::vector<std::unique_ptr<ReadPoll>> executor_polls_;
  std::unique_ptr<AfterPoll> executor_turn_;
  std::unique_ptr<Naming> naming_;
  std::unique_ptr<LocalCalls> local_calls_;
  std::unique_ptr<Segments> segments_;
  std::unique_ptr<SegmentCalls> segment_calls_;
  std::unique_ptr<RemoteCalls> remote_calls_;
  std::unique_ptr<UndoKeeping> undo_keeping_;
  std::unique_ptr<PeerNetwork> network_;
  std::unique_ptr<Administration> administration_;
  std::unique_ptr<ShimServer> programs_;
  std::map<std::pair<ClientId, std::uint64_t>, Gets::OperationId> gets_;
  Descriptor guard_;  // readable when the guard of segments has ended; none: it is not to be had that way
  std::unique_ptr<ReadPoll> guard_poll_;
  std::unique_ptr<Timer> guard_timer_;
  bool guard_is_missing_ = false;  // and the log says so
  bool can_page_ = false;          // programs' memory of distributed segments
  bool stopping_ = false;
};

}  // namespace dipc
