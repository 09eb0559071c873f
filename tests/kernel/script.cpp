#include "tests/kernel/script.h"

#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>

#include <algorithm>
#include <set>
#include <sstream>

namespace dipc::test {

namespace {

using sim::Random;

constexpr int kMsgNoError = 010000;
constexpr int kMsgExcept = 020000;
constexpr int kMsgCopy = 040000;
constexpr int kSemaphores = 3;

// The ids of the two objects on the stage at hand; -1 before they are made.
struct Ids {
  long queue = -1;
  long set = -1;
};

std::vector<std::string> words_of(const std::string& text) {
  std::istringstream in(text);
  std::vector<std::string> words;
  for (std::string word; in >> word;) words.push_back(word);
  return words;
}

std::string join(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

std::string with_ids(const std::string& command, const Ids& ids) {
  auto words = words_of(command);
  for (std::string& word : words) {
    if (word == "$Q") word = std::to_string(ids.queue);
    if (word == "$S") word = std::to_string(ids.set);
  }
  return join(words);
}

// What two runs must agree on: ids and pids become names.
std::string normalised(const Stage& stage, const std::string& command, const std::string& answer) {
  auto command_words = words_of(command);
  auto words = words_of(answer);
  const std::string& verb = command_words[0];
  if ((verb == "msgget" || verb == "semget") && words[0] != "-1") words[0] = verb == "msgget" ? "the-queue" : "the-set";
  if (verb == "semctl" && command_words[3] == std::to_string(GETPID) && words[0] != "-1") {
    words[0] = stage.name_of_pid(std::stol(words[0]));
  }
  for (std::size_t i = 0; i + 1 < words.size(); ++i) {
    if (words[i] == "spid" || words[i] == "rpid") words[i + 1] = stage.name_of_pid(std::stol(words[i + 1]));
  }
  return join(words);
}

void note_ids(const std::string& command, const std::string& answer, Ids& ids) {
  const std::string verb = words_of(command)[0];
  const long value = std::stol(answer);
  if (verb == "msgget" && value >= 0) ids.queue = value;
  if (verb == "semget" && value >= 0) ids.set = value;
}

class Author {
 public:
  Author(std::uint64_t seed, std::int32_t key, bool may_hide) : random_(seed), key_(key), may_hide_(may_hide) {}

  struct Limits {
    bool may_block = true;
    bool may_block_send = true;
    bool may_set_queue = true;
    bool may_ask_pid = true;
  };
  std::string next(const Limits& limits) {
    switch (random_.below(14)) {
      case 0:
      case 1:
      case 2:
        return send(limits.may_block_send);
      case 3:
      case 4:
      case 5:
        return receive(limits.may_block);
      case 6:
      case 7:
      case 8:
        return operate(limits.may_block);
      case 9:
        return control_set(limits.may_ask_pid);
      case 10:
        return control_all();
      case 11:
        return random_.chance(50) ? "msgstat $Q" : "semstat $S";
      case 12:
        return change(limits.may_set_queue);
      default:
        return get();
    }
  }

 private:
  std::string number(std::uint64_t value) { return std::to_string(value); }

  std::string send(bool may_block) {
    static const std::vector<int> kTypes = {1, 2, 3, 3, 0, -1, 2147483647};
    static const std::vector<long> kSizes = {0, 1, 10, 200, 3000, 8192, 8193, -1};
    const int type = random_.pick(kTypes);
    const long size = random_.pick(kSizes);
    const bool no_wait = !may_block || random_.chance(30);
    const std::uint64_t text = random_.below(100000);
    return "msgsnd $Q " + std::to_string(type) + " " + number(text) + " " + std::to_string(size) + " " +
           std::to_string(no_wait ? IPC_NOWAIT : 0);
  }

  std::string receive(bool may_block) {
    static const std::vector<int> kTypes = {0, 0, 1, 2, 3, -2, -3, 4};
    static const std::vector<long> kSizes = {0, 10, 200, 8192, 8192, -1};
    const int type = random_.pick(kTypes);
    const long size = random_.pick(kSizes);
    int flags = 0;
    if (!may_block || random_.chance(30)) flags |= IPC_NOWAIT;
    if (random_.chance(40)) flags |= kMsgNoError;
    if (random_.chance(15)) flags |= kMsgExcept;
    if (random_.chance(10)) flags |= kMsgCopy;
    return "msgrcv $Q " + std::to_string(type) + " " + std::to_string(size) + " " + std::to_string(flags);
  }

  std::string operate(bool may_block) {
    const bool timed = random_.chance(20);
    std::string command = timed ? "semtimedop $S 0 " + std::string(random_.chance(20) ? "-1" : "0") : "semop $S";
    const std::uint64_t count = random_.chance(3) ? 0 : random_.chance(3) ? 501 : random_.between(1, 3);
    command += " " + number(count);
    for (std::uint64_t i = 0; i < count; ++i) {
      const std::uint64_t semaphore = random_.chance(4) ? kSemaphores : random_.below(kSemaphores);
      const int delta = static_cast<int>(random_.below(5)) - 2;
      int flags = 0;
      if ((!may_block && !timed) || random_.chance(15)) flags |= IPC_NOWAIT;
      if (random_.chance(25)) flags |= SEM_UNDO;
      command += " " + number(semaphore) + " " + std::to_string(delta) + " " + std::to_string(flags);
    }
    return command;
  }

  std::string control_set(bool may_ask_pid) {
    static const std::vector<int> kCommands = {GETVAL, SETVAL, GETPID, GETNCNT, GETZCNT};
    static const std::vector<int> kValues = {0, 1, 2, 3, 32767, 32768, -1};
    int command = random_.pick(kCommands);
    if (command == GETPID && !may_ask_pid) command = GETVAL;
    const std::uint64_t semaphore = random_.chance(5) ? kSemaphores : random_.below(kSemaphores);
    const int value = random_.pick(kValues);
    return "semctl $S " + number(semaphore) + " " + std::to_string(command) + " " + std::to_string(value);
  }

  std::string control_all() {
    if (random_.chance(60)) return "semgetall $S " + std::to_string(kSemaphores);
    std::string command = "semsetall $S " + std::to_string(kSemaphores);
    for (int i = 0; i < kSemaphores; ++i) {
      const std::uint64_t value = random_.chance(5) ? 40000 : random_.below(4);
      command += " " + number(value);
    }
    return command;
  }

  std::string change(bool may_set_queue) {
    static const std::vector<int> kModes = {0666, 0660, 0600, 0644, 0444};
    static const std::vector<int> kModesAndUnreadable = {0666, 0660, 0600, 0644, 0444, 0222};
    static const std::vector<long> kQueueBytes = {16384, 4000, 100, 0, 20000};
    const int mode = random_.pick(may_hide_ ? kModesAndUnreadable : kModes);
    if (random_.chance(40) || !may_set_queue) return "semset $S " + std::to_string(mode);
    return "msgset $Q " + std::to_string(mode) + " " + std::to_string(random_.pick(kQueueBytes));
  }

  std::string get() {
    static const std::vector<int> kFlags = {0, 0600, 0060, IPC_CREAT | 0666, IPC_CREAT | IPC_EXCL | 0666};
    static const std::vector<int> kCounts = {0, kSemaphores, kSemaphores + 1, -1};
    const int flags = random_.pick(kFlags);
    if (random_.chance(50)) return "msgget " + std::to_string(key_) + " " + std::to_string(flags);
    return "semget " + std::to_string(key_ + 1) + " " + std::to_string(random_.pick(kCounts)) + " " +
           std::to_string(flags);
  }

  Random random_;
  std::int32_t key_;
  bool may_hide_;
};

// Of several calls that one call woke the kernel names the last that it carried out, which nobody outside can tell:
// their threads report in any order.
bool pids_in_doubt(const Script& script) {
  return std::any_of(script.begin(), script.end(), [](const Step& step) {
    return step.command.starts_with("sem") && step.answers.size() > 1u + step.answers.count(step.puppet);
  });
}

void play(Stage& bare, Ids& ids, std::size_t puppet, const std::string& command, Script& script) {
  Step step{puppet, command, {}};
  if (command == "interrupt") {
    bare.interrupt(puppet);
    // The signal is on its way until its puppet has answered; nobody else can be woken by it.
    step.answers = bare.answers_of({puppet});
  } else {
    bare.tell(puppet, with_ids(command, ids));
  }
  for (auto& [who, answer] : bare.settle()) step.answers[who] = answer;
  if (command != "interrupt" && step.answers.contains(puppet)) note_ids(command, step.answers[puppet], ids);
  // Answers belong to the commands that their puppets are in: look them up before they are forgotten.
  script.push_back(std::move(step));
}

// Every answer is to the last command of its puppet.
void normalise(const Stage& stage, std::map<std::size_t, std::string>& last, Step& step) {
  if (step.command != "interrupt") last[step.puppet] = step.command;
  for (auto& [who, answer] : step.answers) answer = normalised(stage, last[who], answer);
}

}  // namespace

Script record(Stage& bare, std::uint64_t seed, std::size_t steps, std::int32_t key, bool may_hide) {
  Random random(seed);
  Author author(random.next(), key, may_hide);
  Ids ids;
  Script script;
  const std::string create = std::to_string(IPC_CREAT | 0666);
  play(bare, ids, 0, "msgget " + std::to_string(key) + " " + create, script);
  play(bare, ids, 0, "semget " + std::to_string(key + 1) + " " + std::to_string(kSemaphores) + " " + create, script);
  while (script.size() < steps) {
    std::vector<std::size_t> idle;
    std::vector<std::size_t> blocked;
    for (std::size_t i = 0; i < bare.size(); ++i) (bare.busy(i) ? blocked : idle).push_back(i);
    // Puppet 0 never blocks, so that there is always one to go on with.
    if (!blocked.empty() && random.chance(6)) {
      const std::size_t whom = random.pick(blocked);
      play(bare, ids, whom, "interrupt", script);
      continue;
    }
    const std::size_t who = random.pick(idle);
    // Where the kernel lets those who wait race there is no one answer: room in a queue wakes all who wait to send, and
    // IPC_SET all who wait to receive, who then queue up again (ipc/msg.c, expunge_all()).
    const auto waiting = [&](const std::string& verb) {
      return std::count_if(blocked.begin(), blocked.end(), [&](std::size_t one) {
        const auto last = std::find_if(script.rbegin(), script.rend(), [one](const Step& step) {
          return step.puppet == one && step.command != "interrupt";
        });
        return last->command.starts_with(verb);
      });
    };
    const Author::Limits limits{.may_block = who != 0,
                                .may_block_send = who != 0 && waiting("msgsnd") == 0,
                                .may_set_queue = waiting("msgrcv") < 2,
                                .may_ask_pid = !pids_in_doubt(script)};
    play(bare, ids, who, author.next(limits), script);
  }
  play(bare, ids, 0, "msgrm $Q", script);
  play(bare, ids, 0, "semrm $S", script);
  // Somebody else may own them by now; then the owner removes them.
  for (std::size_t i = 1; i < bare.size(); ++i) {
    if (bare.busy(i)) continue;
    play(bare, ids, i, "msgrm $Q", script);
    play(bare, ids, i, "semrm $S", script);
  }
  std::map<std::size_t, std::string> last;
  for (Step& step : script) normalise(bare, last, step);
  return script;
}

std::vector<std::string> replay(Stage& stage, const Script& script) {
  std::vector<std::string> differences;
  std::map<std::size_t, std::string> last;
  Ids ids;
  for (std::size_t i = 0; i < script.size() && differences.empty(); ++i) {
    const Step& step = script[i];
    const std::string where = "step " + std::to_string(i) + ", " + to_string(step);
    std::set<std::size_t> expected;
    for (const auto& [who, answer] : step.answers) expected.insert(who);
    if (step.command == "interrupt") {
      stage.interrupt(step.puppet);
    } else {
      last[step.puppet] = step.command;
      stage.tell(step.puppet, with_ids(step.command, ids));
      if (!expected.contains(step.puppet) && !stage.wait_until_asleep(step.puppet)) {
        differences.push_back(where + ": should block, and does not");
      }
    }
    auto answers = stage.answers_of(expected);
    for (const std::size_t who : expected) {
      if (!answers.contains(who)) {
        differences.push_back(where + ": puppet " + std::to_string(who) + " should answer \"" + step.answers.at(who) +
                              "\" to \"" + last[who] + "\", and is silent");
        continue;
      }
      if (who == step.puppet && step.command != "interrupt") note_ids(step.command, answers[who], ids);
      const std::string answer = normalised(stage, last[who], answers[who]);
      if (answer != step.answers.at(who)) {
        differences.push_back(where + ": puppet " + std::to_string(who) + " answers \"" + answer + "\", the kernel \"" +
                              step.answers.at(who) + "\" to \"" + last[who] + "\"");
      }
    }
    for (const auto& [who, answer] : stage.surprises()) {
      differences.push_back(where + ": puppet " + std::to_string(who) + " answers \"" + answer +
                            "\", and should block");
    }
  }
  return differences;
}

std::string to_string(const Step& step) {
  return "puppet " + std::to_string(step.puppet) + ": " + step.command.substr(0, 120);
}

}  // namespace dipc::test
