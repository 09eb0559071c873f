#include "tests/soak/round.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <thread>

#include "daemon/core/status_report.h"
#include "daemon/kernel/dead_letters.h"

namespace dipc::soak {
namespace fs = std::filesystem;
using namespace std::chrono_literals;

namespace {

// As in load.h.
constexpr int kUndone = 4;
constexpr int kSemaphores = 8;
constexpr long kCapacity = 6;
constexpr long kBookStart = 10000;
constexpr unsigned kProcessesOfCrew = 10000;  // numbers that a crew may use

constexpr auto kEndLimit = 90s;   // for all processes to come to their end once all is whole
constexpr auto kTaskLimit = 60s;  // m68k's under qemu, on a busy machine
constexpr auto kQuietLimit = 30s;

std::string key_text(int key) {
  char text[32];
  std::snprintf(text, sizeof text, "%#x", static_cast<unsigned>(key));
  return text;
}

std::string contents(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string text_of(const Message& message) {
  return {reinterpret_cast<const char*>(message.text.data()), message.text.size()};
}

std::string role_text(const char* role, int key, int count) {
  return std::string(role) + ":" + key_text(key) + ":" + std::to_string(count);
}

}  // namespace

const std::set<int>& Places::ordered() {
  static const std::set<int> keys = {kOrderedNative, kOrderedM68k};
  return keys;
}
const std::set<int>& Places::queues() {
  static const std::set<int> keys = {kOrderedNative, kRoughNative, kOrderedM68k, kRoughM68k};
  return keys;
}
const std::set<int>& Places::sets() {
  static const std::set<int> keys = {kSetNative, kSetM68k};
  return keys;
}

std::vector<std::string> Rounds::mixed_workers() {
  using P = Places;
  return {role_text("sender", P::kOrderedNative, 1),
          role_text("sender", P::kOrderedM68k, 1),
          role_text("mortal-sender", P::kRoughNative, 1),
          role_text("mortal-sender", P::kRoughM68k, 1),
          role_text("mortal-receiver", P::kRoughNative, 1),
          role_text("mortal-receiver", P::kRoughM68k, 1),
          role_text("account", P::kSetNative, 2),
          role_text("account", P::kSetM68k, 1),
          role_text("book", P::kSetNative, 1),
          role_text("book", P::kSetM68k, 1),
          role_text("churn", P::kPassing, 1)};
}

std::vector<std::string> Rounds::mixed_listeners() {
  return {role_text("receiver", Places::kOrderedNative, 1), role_text("receiver", Places::kOrderedM68k, 1)};
}

Rounds::Rounds(const test::Cluster& cluster, Faults& faults, Options options, std::function<bool()> stop)
    : cluster_(cluster), faults_(faults), options_(std::move(options)), stop_(std::move(stop)) {}

std::string Rounds::program(const Host& host) const {
  return host.is_m68k ? test::m68k_program("tests/soak/load") : test::native_program("tests/soak/load");
}

void Rounds::wait(std::chrono::milliseconds time) const {
  const auto end = Faults::Clock::now() + time;
  while (Faults::Clock::now() < end && !stop_()) std::this_thread::sleep_for(50ms);
}

test::Cluster::Ran Rounds::task(const Host& host, const std::vector<std::string>& words,
                                std::chrono::seconds limit) const {
  std::vector<std::string> command = {program(host)};
  command.insert(command.end(), words.begin(), words.end());
  const auto end = Faults::Clock::now() + limit;
  test::Cluster::Ran ran;
  do {
    ran = cluster_.run(host.name, "alice", command, limit);
    if (ran.status != 0) wait(200ms);
  } while (ran.status != 0 && Faults::Clock::now() < end && !stop_());
  return ran;
}

void Rounds::make_objects() {
  std::vector<std::string> words = {"make"};
  for (const int key : Places::queues()) words.push_back(key_text(key));
  for (const int key : Places::sets()) {
    words.push_back(key_text(key));
    for (int i = kUndone; i < kSemaphores; ++i) book_[{key, i}] = kBookStart;
  }
  // Their owners may just be starting.
  const auto made = task(options_.hosts[0], words, kTaskLimit);
  if (made.status != 0) throw std::runtime_error("the objects can't be made: " + made.output);
}

Rounds::Crew Rounds::start_crew(const Host& host, unsigned first_process, const std::vector<std::string>& roles) {
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(options_.load_time).count();
  std::vector<std::string> command = {
      program(host),           "crew",
      options_.folder,         std::to_string(first_process),
      std::to_string(seconds), std::to_string((options_.seed + first_process) % 1000000007)};
  command.insert(command.end(), roles.begin(), roles.end());
  crews_[first_process] = host.name;
  return cluster_.start(host.name, "alice", command);
}

// False if `limit` passed first, or one ended badly.
bool Rounds::await_all(std::vector<Crew>& crews, std::chrono::seconds limit, const std::function<void()>& meanwhile) {
  const auto end = Faults::Clock::now() + limit;
  const auto is_ready = [](const Crew& crew) { return crew->has_output(); };
  while (!std::all_of(crews.begin(), crews.end(), is_ready)) {
    if (stop_()) return true;
    if (Faults::Clock::now() >= end) return false;
    meanwhile();
    wait(100ms);
  }
  for (const Crew& crew : crews) {
    std::string said;
    if (crew->wait(10s, &said) == 0) continue;
    std::printf("a crew failed: %s\n", said.c_str());
    return false;
  }
  return true;
}

bool Rounds::end_receivers(std::vector<Crew>& receivers) {
  auto next = Faults::Clock::now();
  return await_all(receivers, kEndLimit, [&] {
    if (Faults::Clock::now() < next) return;
    for (const int key : Places::ordered()) {
      task(options_.hosts[0], {"stop", key_text(key), std::to_string(2 * options_.hosts.size())}, 10s);
    }
    next = Faults::Clock::now() + 2s;
  });
}

void Rounds::tell_where_they_hang() const {
  for (const Host& host : options_.hosts) {
    std::printf("-- %s\n%s%s", host.name.c_str(),
                cluster_.run(host.name, "root", {"ps", "-eo", "pid,ppid,stat,wchan:24,args"}).output.c_str(),
                cluster_.run(host.name, "root", {"dipcctl", "status"}).output.c_str());
  }
}

void Rounds::await_quiet(std::vector<std::string>& violations) const {
  const auto end = Faults::Clock::now() + kQuietLimit;
  for (const Host& host : options_.hosts) {
    for (;;) {
      auto status = status_from_json(cluster_.run(host.name, "root", {"dipcctl", "status", "--json"}).output);
      if (stop_()) return;
      if (status && status->counters["calls_waiting"] == 0 && status->counters["calls_under_way"] == 0) break;
      if (Faults::Clock::now() < end) continue;
      violations.push_back(host.name +
                           (status ? ": " + std::to_string(status->counters["calls_waiting"]) +
                                         " calls wait here and " + std::to_string(status->counters["calls_under_way"]) +
                                         " are under way, though no program is left"
                                   : ": no status: " + status.error().what));
      break;
    }
  }
}

void Rounds::drain(std::vector<std::string>& violations) {
  for (const int key : Places::queues()) {
    const Host& host = options_.hosts[static_cast<std::size_t>(key) % options_.hosts.size()];
    const auto end = Faults::Clock::now() + kTaskLimit;
    for (;;) {
      const auto ran = cluster_.run(
          host.name, "alice", {program(host), "drain", options_.folder, std::to_string(next_process_++), key_text(key)},
          kTaskLimit);
      if (ran.status == 0 || stop_()) break;
      if (Faults::Clock::now() < end) continue;
      violations.push_back("queue " + key_text(key) + " can't be emptied: " + ran.output);
      break;
    }
  }
}

void Rounds::take_letters(std::vector<std::string>& violations) {
  for (const Host& host : options_.hosts) {
    std::error_code none;
    const fs::path folder = fs::path(cluster_.folder()) / "hosts" / host.name / "state" / "dead-letters";
    for (const auto& entry : fs::directory_iterator(folder, none)) {
      const auto name = std::pair(host.name, entry.path().filename().string());
      if (letters_.contains(name) || !dead_letter_number(name.second)) continue;
      const auto letter = decode_dead_letter(contents(entry.path()));
      const bool is_lasting = letter && Places::queues().contains(letter->key);
      const std::string text = letter ? text_of(letter->message) : "";
      const auto message = name_of_text(text);
      const bool is_stop = text == "stop";
      letters_[name] = is_lasting && message ? *message : MessageName{};
      if (!letter) violations.push_back(host.name + ": " + name.second + ": " + letter.error().what);
      if (is_lasting && !message && !is_stop)
        violations.push_back(host.name + ": nobody sent this:\n" + contents(entry.path()));
    }
  }
}

// `emulated_kills`: of daemons under qemu.
Ledger Rounds::read_logs(unsigned emulated_kills) const {
  Ledger ledger;
  for (const int key : options_.emulated) ledger.excuse(key, emulated_kills);
  for (const auto& entry : fs::directory_iterator(options_.folder)) {
    const std::string name = entry.path().filename().string();  // NUMBER-ROLE-KEY
    const std::size_t first = name.find('-');
    const std::size_t last = name.rfind('-');
    ledger.add_log(static_cast<unsigned>(std::stoul(name)), name.substr(first + 1, last - first - 1),
                   std::stoi(name.substr(last + 1), nullptr, 0), contents(entry.path()));
  }
  for (const auto& [file, message] : letters_) {
    if (message != MessageName{}) ledger.add_dead_letter(message);
  }
  return ledger;
}

void Rounds::check_semaphores(const Ledger& ledger, std::vector<std::string>& violations) {
  for (const int key : Places::sets()) {
    const auto ran = task(options_.hosts[0], {"values", key_text(key)}, kTaskLimit);
    std::istringstream numbers(ran.output);
    for (int i = 0; i < kSemaphores; ++i) {
      long value = -1;
      numbers >> value;
      const std::string what = "semaphore " + std::to_string(i) + " of " + key_text(key) + " is " +
                               (value < 0 ? "not to be read: " + ran.output : std::to_string(value));
      if (i < kUndone) {
        if (value != kCapacity) violations.push_back(what + ", its account should be " + std::to_string(kCapacity));
        continue;
      }
      long& before = book_[{key, i}];
      const auto range = ledger.book(key, i);
      if (value < before + range.least || value > before + range.greatest) {
        violations.push_back(what + ", by the books it should be " + std::to_string(before + range.least) + " to " +
                             std::to_string(before + range.greatest));
      }
      before = value;
    }
  }
}

// The passing objects go without a trace: no kernel has anything but the lasting ones, or their stand-ins, once each.
void Rounds::check_passing(std::vector<std::string>& violations) const {
  const auto swept =
      task(options_.hosts[0], {"sweep", key_text(Places::kPassing), std::to_string(Places::kPassingCount)}, kTaskLimit);
  if (swept.status != 0) violations.push_back("the passing objects can't be removed: " + swept.output);
  for (const Host& host : options_.hosts) {
    const auto end = Faults::Clock::now() + kQuietLimit;
    for (;;) {
      const std::string text =
          cluster_.run(host.name, "root", {"tail", "-qn", "+2", "/proc/sysvipc/msg", "/proc/sysvipc/sem"}).output;
      std::istringstream lines(text);
      std::set<int> left;
      for (std::string line; std::getline(lines, line);) {
        const int key = std::atoi(line.c_str());
        const bool is_lasting = Places::queues().contains(key) || Places::sets().contains(key);
        if (!is_lasting || !left.insert(key).second) left.insert(-1);
      }
      if (!left.contains(-1) || stop_()) break;
      if (Faults::Clock::now() < end) continue;
      violations.push_back(host.name + "'s kernel has objects that should have gone:\n" + text);
      break;
    }
  }
}

Rounds::Outcome Rounds::run(unsigned number) {
  Outcome outcome;
  const auto emulated_kills = [&] {
    unsigned kills = 0;
    for (const Host& host : options_.hosts) {
      const auto of_host = faults_.kills().find(host.name);
      if (host.is_m68k && of_host != faults_.kills().end()) kills += of_host->second;
    }
    return kills;
  };
  const unsigned kills_before = emulated_kills();
  std::vector<Crew> crews;
  std::vector<Crew> receivers;
  for (const Host& host : options_.hosts) {
    for (const bool listens : {true, false}) {
      const auto& roles = listens ? options_.listeners : options_.workers;
      if (roles.empty()) continue;
      (listens ? receivers : crews).push_back(start_crew(host, next_process_, roles));
      next_process_ += kProcessesOfCrew;
    }
  }
  faults_.run(options_.load_time, stop_);
  if (!await_all(crews, kEndLimit, [] {}) || !end_receivers(receivers)) {
    outcome.violations.push_back("round " + std::to_string(number) + ": not all processes come to their end");
    tell_where_they_hang();
  }
  crews.clear();
  receivers.clear();
  await_quiet(outcome.violations);
  wait(options_.idle_time);
  drain(outcome.violations);
  take_letters(outcome.violations);
  Ledger ledger = read_logs(emulated_kills() - kills_before);
  auto found = ledger.violations(Places::ordered());
  if (!found.empty()) {  // a letter may still have been on its way
    wait(2 * options_.peer_timeout);
    drain(outcome.violations);
    take_letters(outcome.violations);
    ledger = read_logs(emulated_kills() - kills_before);
    found = ledger.violations(Places::ordered());
  }
  outcome.violations.insert(outcome.violations.end(), found.begin(), found.end());
  check_semaphores(ledger, outcome.violations);
  const auto is_churn = [](const std::string& role) { return role.starts_with("churn"); };
  if (std::any_of(options_.workers.begin(), options_.workers.end(), is_churn)) check_passing(outcome.violations);
  outcome.figures = ledger.figures();
  for (const auto& [who, count] : ledger.successes()) {
    const auto crew = crews_.upper_bound(who.first);
    if (crew == crews_.begin()) continue;
    const auto& [first, host] = *std::prev(crew);
    if (who.first - first < kProcessesOfCrew) outcome.successes[{host, who.second}] += count;
  }
  return outcome;
}

void Rounds::clean_up() {
  for (const auto& [file, message] : letters_) {
    const std::string number = std::to_string(*dead_letter_number(file.second));
    cluster_.run(file.first, "root", {"dipcctl", "deadletters", "drop", number});
  }
  letters_.clear();
  crews_.clear();
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(options_.folder, ignored)) fs::remove(entry.path(), ignored);
}

}  // namespace dipc::soak
