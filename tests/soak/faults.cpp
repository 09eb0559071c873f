#include "tests/soak/faults.h"

#include <algorithm>
#include <stdexcept>
#include <thread>

namespace dipc::soak {

namespace {

constexpr std::size_t kOpenMax = 3;
constexpr std::chrono::milliseconds kLookInterval{20};

}  // namespace

Faults::Faults(const test::Cluster& cluster, Options options, std::function<void(const std::string&)> tell)
    : cluster_(cluster), options_(std::move(options)), tell_(std::move(tell)), random_(options_.seed) {}

void Faults::lab(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += " " + word;
  const auto ran = cluster_.lab(words);
  if (ran.status != 0)
    throw std::runtime_error("dipc lab" + text + ": status " + std::to_string(ran.status) + " " + ran.output);
}

// Short ones must go unnoticed, long ones end sessions.
std::chrono::milliseconds Faults::duration() {
  const auto whole = static_cast<std::uint64_t>(options_.peer_timeout.count());
  const bool is_long = random_.chance(options_.long_percent);
  const std::uint64_t ms = is_long ? random_.between(whole * 12 / 10, whole * 2) : random_.between(50, whole * 6 / 10);
  return std::chrono::milliseconds(ms);
}

bool Faults::has_open_fault(const std::string& host) const {
  return std::any_of(open_.begin(), open_.end(), [&](const Open& one) { return one.daemons.contains(host); });
}

void Faults::begin_one() {
  const Weights& weights = options_.weights;
  const auto choice = random_.below(weights.cuts + weights.resets + weights.stops + weights.kills);
  const std::string host = random_.pick(options_.hosts);
  const std::string other = random_.pick(options_.hosts);
  const auto time = duration();
  const std::string lasting = " for " + std::to_string(time.count()) + " ms";
  if (choice < weights.cuts) {
    const auto way = random_.below(3);
    if (host == other) return;
    std::vector<std::string> cut = {"cut", host, other};
    std::vector<std::string> heal = {"heal", host, other};
    if (way > 0) cut.push_back("--one-way");
    if (way > 0) heal.push_back("--one-way");
    tell_(std::string(way > 0 ? "what " : "") + host + (way > 0 ? " sends to " : " and ") + other +
          (way > 0 ? " is lost" : " are cut off") + lasting);
    ++counts_[way > 0 ? "one-way cuts" : "cuts"];
    lab(cut);
    open_.push_back({Clock::now() + time, {}, {heal}});
  } else if (choice < weights.cuts + weights.resets) {
    if (has_open_fault(host)) return;
    tell_("the connections of " + host + " are reset");
    ++counts_["resets"];
    // SOCK_DESTROY of sock_diag(7).
    cluster_.run(host, "root", {"ss", "-K", "-Htn", "(", "sport", "=", ":7310", "or", "dport", "=", ":7310", ")"});
  } else if (choice < weights.cuts + weights.resets + weights.stops) {
    if (has_open_fault(host)) return;
    tell_(host + "'s dipcd is stopped" + lasting);
    ++counts_["stops"];
    lab({"kill", host, "daemon", "--signal", "STOP"});
    open_.push_back({Clock::now() + time, {host}, {{"kill", host, "daemon", "--signal", "CONT"}}});
  } else {
    if (has_open_fault(host) || spared_.contains(host)) return;
    tell_(host + "'s dipcd is killed" + lasting);
    ++counts_["kills"];
    ++kills_[host];
    lab({"kill", host, "daemon"});
    open_.push_back({Clock::now() + time, {host}, {{"start", host}}});
  }
}

void Faults::end_due(bool all) {
  for (auto one = open_.begin(); one != open_.end();) {
    if (!all && Clock::now() < one->until) {
      ++one;
      continue;
    }
    const auto cure = one->cure;
    one = open_.erase(one);
    for (const auto& words : cure) lab(words);
  }
}

void Faults::run(std::chrono::milliseconds time, const std::function<bool()>& stop) {
  const auto end = Clock::now() + time;
  auto next = Clock::now();
  while (Clock::now() < end && !stop()) {
    end_due(false);
    if (Clock::now() >= next && open_.size() < kOpenMax) {
      begin_one();
      next = Clock::now() + std::chrono::milliseconds(random_.between(50, 1500));
    }
    std::this_thread::sleep_for(kLookInterval);
  }
  end_due(true);
}

}  // namespace dipc::soak
