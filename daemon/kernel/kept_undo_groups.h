#pragma once

// The undo groups of a daemon: in its keeper (keeper.h), so that they outlive it.
//
// What the keeper says of a call is as old as its packet: a call that it reported asleep may have been woken since. So
// asleep() looks at the keeper's thread itself, then takes what has come.
//
// A keeper that dies takes all groups with it: see take_lost(). The next call starts another keeper.

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "daemon/kernel/keeper.h"
#include "daemon/kernel/packet_socket.h"
#include "daemon/kernel/undo_groups.h"
#include "wire/descriptor.h"
#include "wire/result.h"

namespace dipc {

class KeptUndoGroups : public UndoGroups {
 public:
  using Log = std::function<void(const std::string&)>;  // one line

  // Waits for the keeper's welcome. The connection is taken over, `signs` and `completions` are borrowed.
  // Trouble: no answer, or the keeper of another version.
  static Result<std::unique_ptr<KeptUndoGroups>> open(keeper::Reached keeper, const Log& log, SleepSigns& signs,
                                                      Completions& completions);
  // The groups stay with the keeper.
  ~KeptUndoGroups() override;

  std::shared_ptr<RunningCall> start(UndoGroupNumber group, const UndoHolder& holder, UndoOperation operation) override;
  void end(UndoGroupNumber group) override;
  pid_t process() const override { return process_; }
  std::vector<Found> take_found() override { return std::exchange(found_, {}); }
  UndoGroupNumber last_group() const override { return last_group_; }
  int fd() const override { return poll_fd_; }
  void receive() override;
  bool take_lost() override { return std::exchange(lost_, false); }

 private:
  class Call;
  KeptUndoGroups(const keeper::Reached& keeper, Log log, SleepSigns& signs, Completions& completions);
  void adopt(int connection);
  Result<void> greet();
  bool take_packet(const Bytes& packet);
  void on_keeper_lost();
  void await_end();

  const keeper::Options options_;
  const Log log_;
  SleepSigns& signs_;
  Completions& completions_;
  const int poll_fd_;  // an epoll instance with the socket in it, which may become another one
  std::unique_ptr<PacketSocket> socket_;
  pid_t process_ = 0;
  pid_t dead_ = 0;    // the keeper before
  Descriptor pidfd_;  // of the one or the other
  UndoGroupNumber last_group_{};
  std::size_t found_to_come_ = 0;
  bool welcomed_ = false;
  bool lost_ = false;
  std::vector<Found> found_;
  std::map<CallToken, std::shared_ptr<Call>> calls_;
};

}  // namespace dipc
