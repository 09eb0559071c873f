#pragma once

// Puppets (puppet.c) that make one System V call at a time, and a controller that sees who is blocked. The same script
// is played on a bare kernel, where what happens is written down, and through DIPC, where it must happen again.

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "tests/cluster/cluster.h"

namespace dipc::test {

struct Puppet {
  std::unique_ptr<Program> program;
  pid_t own_pid = 0;    // in its own PID namespace: what the kernel records
  pid_t outer_pid = 0;  // in the test's
  bool busy = false;
  bool timed = false;  // in a semtimedop: it may sleep for an instant and goes on by itself
};

class Stage {
 public:
  struct Role {
    std::string host;
    std::string login;
    std::string program;  // a puppet for that host's architecture
  };
  // `preload` false: the bare kernel. Each role becomes a puppet.
  Stage(const Cluster& cluster, const std::vector<Role>& roles, bool preload);

  // Gives the command to a puppet that is not busy.
  void tell(std::size_t puppet, const std::string& command);
  void interrupt(std::size_t puppet);  // SIGUSR1, which puppets handle with SA_RESTART

  // Bare kernel only: waits until every busy puppet has answered or sleeps in its call; who answered, with what. One in
  // a timed call answers: time-outs of scripts are zero, for which the kernel sleeps some 50 us (timer slack).
  std::map<std::size_t, std::string> settle();
  // Waits for the answers of exactly these; a puppet that does not answer in time is missing from the result.
  std::map<std::size_t, std::string> answers_of(const std::set<std::size_t>& expected);
  // Waits until the call of a busy puppet is on its way: it sleeps in the kernel. False: it answered or never slept.
  bool wait_until_asleep(std::size_t puppet);
  // Busy puppets that have answered without being asked for: empty in a good run.
  std::map<std::size_t, std::string> surprises();

  bool busy(std::size_t puppet) const { return puppets_[puppet].busy; }
  std::size_t size() const { return puppets_.size(); }
  // Which puppet has that pid (of its own namespace), or "nobody".
  std::string name_of_pid(long pid) const;

 private:
  std::vector<Puppet> puppets_;
};

}  // namespace dipc::test
