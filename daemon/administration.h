#pragma once

// What dipcctl asks: status, objects of the whole cluster, reload, forget, dead letters. Answers are the JSON of
// core/status_report.h. Reading is for root, the daemon's own user and members of group dipc; changing for the first
// two.

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "daemon/core/admin_command.h"
#include "daemon/core/status_report.h"
#include "daemon/dead_letter_commands.h"
#include "daemon/io/configuration_files.h"
#include "daemon/io/loop.h"
#include "daemon/io/peer_network.h"
#include "daemon/io/shim_server.h"
#include "daemon/io/tls.h"
#include "daemon/kernel/executor.h"
#include "daemon/kernel/users.h"
#include "daemon/naming.h"
#include "daemon/segments.h"
#include "daemon/typed_queues.h"

namespace dipc {

class Administration {
 public:
  struct Parts {  // all borrowed
    const Policy& policy;
    const Hello& own;
    const TlsContext& tls;
    PeerNetwork& network;
    Naming& naming;
    Users& users;
    Executor& executor;
    const Segments& segments;
    const TypedQueues& queues;
    std::function<Parsed<AdminDone>(const std::string& who)> reload;
    std::function<std::map<std::string, std::uint64_t>()> counters;
  };
  Administration(uv_loop_t* loop, Parts parts);
  void attach(ShimServer& programs) { programs_ = &programs; }

  void on_request(const LocalRequest& request);
  void on_client_gone(ClientId client);

  void on_list_objects(const std::string& host, const ListObjects& request);
  void on_object_list(const std::string& host, const ObjectList& list);
  void on_session_ended(const std::string& host);

 private:
  struct Question {  // `objects`, while peers are asked
    ClientId client{};
    std::uint64_t call = 0;
    ObjectsReport report;
    std::set<std::string> silent;
    TimePoint until{};
  };

  bool may_read(const LocalCredentials& credentials);
  static bool may_change(const LocalCredentials& credentials);
  void answer(ClientId client, std::uint64_t call, int error, const std::string& json);
  void fail(const LocalRequest& request, int error, std::string what, std::string remedy = {});
  StatusReport status() const;
  void ask_for_objects(const LocalRequest& request);
  void add_rows(Question& question, const std::string& host, const std::vector<ObjectRow>& rows) const;
  std::vector<ObjectRow> own_rows();
  void finish(RequestId id);
  void reload(const LocalRequest& request);
  void forget(const LocalRequest& request, const ObjectName& name);
  void pages(const LocalRequest& request, const AdminCommand& command);
  template <typename T>
  void answer_or_fail(const LocalRequest& request, const Result<T>& result);
  std::string who(const LocalRequest& request);
  void on_time();
  void set_timer();

  Parts parts_;
  DeadLetterCommands dead_letters_;
  ShimServer* programs_ = nullptr;
  Timer timer_;
  TimePoint started_;
  std::map<RequestId, Question> questions_;
  std::uint64_t next_request_ = 1;
};

}  // namespace dipc
