#pragma once

// The daemon of the shim's tests in two parts: how programs are served (test_daemon.cpp), and what their calls do in
// this host's kernel (test_daemon_calls.cpp).

#include <sys/socket.h>
#include <sys/types.h>

#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "shim/dipc.h"
#include "shim/id_table.h"
#include "wire/local.h"

namespace dipc::test {

using namespace dipc::local;
using dipc::shim::Kind;

struct Options {
  bool owned = false;
  bool foreign = false;
  bool silent = false;
  bool touch = false;
  bool trace = false;
  uint32_t op_timeout_ms = 2000;
};
inline Options g_options;

struct Object {
  uint32_t semaphores = 0;
  int32_t sender = 0, receiver = 0;  // pids of the last callers
  std::map<int, int32_t> operators;  // of each semaphore
};
inline std::mutex g_lock;
inline std::map<std::pair<uint32_t, int>, Object> g_objects;  // the distributed ones

// Back from a caller's effective ids.
void unbecome();

class Client {
 public:
  explicit Client(int socket) : socket_(socket) {}
  void serve();

 private:
  struct Call {
    Request request;
    std::vector<char> payload;
    bool complete = false;  // all declared bytes came
    ucred who{};
  };
  ssize_t read_record(std::vector<char>& record, int* memfd, ucred* who);
  void hello(const std::vector<char>& record);
  void perform(Call call);
  void end_call(bool cancel);
  void answer(const Request& request, Reply reply, const void* payload, size_t payload_bytes);
  Reply get(const Call& call);
  Reply lookup(const Call& call);
  Reply send(Call& call);
  Reply operate(Call& call);
  Reply control(Call& call, std::vector<char>* payload);
  void receive(Call& call);

  void work();

  int socket_;
  std::thread worker_;  // makes the calls, so that this one can hear of a cancellation
  std::atomic<pid_t> worker_thread_{0};
  std::mutex hand_over_;
  std::condition_variable changed_;
  std::optional<Call> next_;  // guarded by hand_over_, as is the following
  bool ended_ = false;
  std::atomic<bool> done_{true};     // the call has been made
  std::atomic<bool> replied_{true};  // and its reply sent
  // The message in the last reply; put back if it was never read.
  int last_queue_ = -1;
  std::vector<char> last_message_;
};

}  // namespace dipc::test
