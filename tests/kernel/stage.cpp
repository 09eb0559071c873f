#include "tests/kernel/stage.h"

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <stdexcept>

namespace dipc::test {

namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kAnswerLimit =
    std::chrono::seconds(20);  // a guest under qemu on a busy machine; never reached in a good run

bool sleeps_in_system_v(pid_t pid) {
  const long number = sleeping_in(pid);
  return number == SYS_msgsnd || number == SYS_msgrcv || number == SYS_semop || number == SYS_semtimedop;
}

// /proc has the numbers of the machine that a program is for, if this kernel runs it; under qemu this machine's.
bool sleeps_in_ppoll(pid_t pid) {
  constexpr long kI386Ppoll = 309;
  constexpr long kI386PpollTime64 = 414;
  const long number = sleeping_in(pid);
  return number == SYS_ppoll || number == kI386Ppoll || number == kI386PpollTime64;
}

}  // namespace

Stage::Stage(const Cluster& cluster, const std::vector<Role>& roles, bool preload) {
  static int stages = 0;
  const std::string stage = "stage" + std::to_string(::getpid()) + "." + std::to_string(++stages);
  for (std::size_t i = 0; i < roles.size(); ++i) {
    const std::string token = stage + "." + std::to_string(i);
    Puppet puppet;
    puppet.program = cluster.start(roles[i].host, roles[i].login, {roles[i].program, token}, preload);
    puppet.program->write_line("pid");
    const auto answer = puppet.program->read_line(kAnswerLimit);
    if (!answer) throw std::runtime_error("puppet " + token + " does not start");
    puppet.own_pid = static_cast<pid_t>(std::stol(*answer));
    puppet.outer_pid = outer_pid(token, puppet.own_pid);
    if (puppet.outer_pid == 0) throw std::runtime_error("puppet " + token + " is not in /proc");
    puppets_.push_back(std::move(puppet));
  }
}

void Stage::tell(std::size_t puppet, const std::string& command) {
  if (puppets_[puppet].busy) throw std::logic_error("told to a busy puppet");
  puppets_[puppet].busy = true;
  puppets_[puppet].timed = command.starts_with("semtimedop ");
  puppets_[puppet].program->write_line(command);
}

void Stage::interrupt(std::size_t puppet) { ::kill(puppets_[puppet].outer_pid, SIGUSR1); }

std::map<std::size_t, std::string> Stage::settle() {
  std::map<std::size_t, std::string> answers;
  const auto until = Clock::now() + kAnswerLimit;
  for (bool again = true; again;) {
    if (Clock::now() > until) throw std::runtime_error("a puppet neither answers nor sleeps in its call");
    again = false;
    for (std::size_t i = 0; i < puppets_.size(); ++i) {
      Puppet& puppet = puppets_[i];
      if (!puppet.busy) continue;
      const auto line = puppet.program->read_line(std::chrono::milliseconds(0));
      if (line) {
        answers[i] = *line;
        puppet.busy = false;
        again = true;  // what it did may have woken another
      } else if (puppet.timed || !sleeps_in_system_v(puppet.outer_pid)) {
        again = true;
      }
    }
  }
  return answers;
}

std::map<std::size_t, std::string> Stage::answers_of(const std::set<std::size_t>& expected) {
  std::map<std::size_t, std::string> answers;
  for (const std::size_t i : expected) {
    const auto line = puppets_[i].program->read_line(kAnswerLimit);
    if (!line) continue;
    answers[i] = *line;
    puppets_[i].busy = false;
  }
  return answers;
}

bool Stage::wait_until_asleep(std::size_t puppet) {
  const auto until = Clock::now() + kAnswerLimit;
  while (Clock::now() < until) {
    // Under the shim a call waits in ppoll; without it in the System V call itself. Between calls a puppet reads.
    const pid_t pid = puppets_[puppet].outer_pid;
    if (sleeps_in_ppoll(pid) || sleeps_in_system_v(pid)) return true;
    if (puppets_[puppet].program->has_output()) return false;
  }
  return false;
}

std::map<std::size_t, std::string> Stage::surprises() {
  std::map<std::size_t, std::string> found;
  for (std::size_t i = 0; i < puppets_.size(); ++i) {
    if (!puppets_[i].busy || !puppets_[i].program->has_output()) continue;
    found[i] = puppets_[i].program->read_line(std::chrono::milliseconds(0)).value_or("(gone)");
  }
  return found;
}

std::string Stage::name_of_pid(long pid) const {
  for (std::size_t i = 0; i < puppets_.size(); ++i) {
    if (puppets_[i].own_pid == pid) return "puppet" + std::to_string(i);
  }
  return pid == 0 ? "nobody" : "stranger";
}

}  // namespace dipc::test
