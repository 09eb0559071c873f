#include "tests/sim/session_world.h"

#include <algorithm>
#include <cstdio>

namespace dipc::sim {
namespace {

using namespace std::chrono_literals;

constexpr Duration kSettle = 20s;               // peer_timeout, a dial that hangs, backoff: then all must be well again
constexpr std::uint64_t kPushBackBytes = 6000;  // programs wait while so much waits already

Duration random_duration(Random& random, Duration least, Duration most) {
  return Duration(static_cast<std::int64_t>(
      random.between(static_cast<std::uint64_t>(least.count()), static_cast<std::uint64_t>(most.count()))));
}

}  // namespace

SessionWorld::SessionWorld(std::uint64_t seed, Defect defect, bool log) : random_(seed), defect_(defect), log_(log) {
  now_ = TimePoint(1000s);
  outcome_.trace_hash = 0xcbf29ce484222325U;
  latency_most_ = random_.chance(70) ? 5ms : 400ms;
  repeat_percent_ = random_.chance(50) ? 5 : 0;
  dial_trouble_percent_ = random_.chance(50) ? 30 : 0;
  fault_pause_ = random_duration(random_, 300ms, 4s);
  send_pause_ = random_duration(random_, 20ms, 1s);
  const std::uint64_t buffer = random_.below(3);
  // The smallest one holds one or two calls, which is too slow a pace where each takes a second there and back.
  buffer_bytes_ = buffer == 0 && latency_most_ < 100ms ? 400 : buffer <= 1 ? 3000 : 1U << 20U;
  faults_end_ = now_ + random_duration(random_, 3s, 40s);
  hosts_[0].name = "amy";
  hosts_[1].name = "bob";
  hosts_[0].address = "10.0.0.1";
  hosts_[1].address = "10.0.0.2";
  const std::uint64_t who_dials = random_.below(5);
  hosts_[0].dials = who_dials != 0;
  hosts_[1].dials = who_dials != 1;
}

SessionWorld::~SessionWorld() = default;

Outcome SessionWorld::run() {
  for (Side side = 0; side < 2; ++side) {
    const Duration late = random_.chance(50) ? 0s : random_duration(random_, 0s, 2s);
    at(now_ + late, [this, side] { start(side); });
    schedule_program(side);
  }
  schedule_fault();
  step_until(faults_end_);
  faults_ = false;
  dial_trouble_percent_ = 0;
  step_until(faults_end_ + kSettle / 2);
  programs_ = false;
  step_until(faults_end_ + kSettle);
  check_agreement();
  if (outcome_.violation.empty()) check_fates();
  return outcome_;
}

// ---- time

void SessionWorld::at(TimePoint when, std::function<void()> what) {
  events_.emplace(std::pair(when, next_event_), std::move(what));
  ++next_event_;
}

void SessionWorld::step_until(TimePoint until) {
  while (outcome_.violation.empty()) {
    TimePoint next = events_.empty() ? kNever : events_.begin()->first.first;
    std::optional<Side> due;
    for (Side side = 0; side < 2; ++side) {
      const Host& host = hosts_[side];
      if (host.machine && !host.stands_still && host.timer < next) {
        next = host.timer;
        due = side;
      }
    }
    if (next > until) break;
    now_ = std::max(now_, next);
    if (due) {
      Host& host = hosts_[*due];
      host.timer_repeats = host.timer_last == now_ ? host.timer_repeats + 1 : 0;
      host.timer_last = now_;
      if (host.timer_repeats > 10) violation("spins: the deadline does not move");
      const std::uint64_t random = random_.next();
      if (defect_ != Defect::kNeverOnTime) host.machine->on_time(now_, random);
      after_input(*due);
    } else {
      const std::function<void()> what = std::move(events_.begin()->second);
      events_.erase(events_.begin());
      what();
    }
  }
  now_ = std::max(now_, until);
}

// What one incarnation of a host's daemon gets to see: now, later if it stands still, or never if it is gone.
void SessionWorld::at_host(Side side, std::uint64_t life, std::function<void()> what) {
  Host& host = hosts_[side];
  if (!host.machine || host.life != life) return;
  if (host.stands_still) {
    host.backlog.emplace_back(std::move(what));
    return;
  }
  what();
  after_input(side);
}

// ---- network

Duration SessionWorld::latency() { return random_duration(random_, 50us, latency_most_); }

void SessionWorld::put(std::size_t connection, Side to, Record record) {
  Stream& stream = connections_[connection].to[to];
  const Duration way = latency();
  if (stream.dead) return;
  stream.last = std::max(stream.last, std::max(now_, blocked_until_[to]) + way);
  stream.flying.emplace_back(std::move(record));
  at(stream.last, [this, connection, to] { arrive(connection, to); });
}

void SessionWorld::arrive(std::size_t connection, Side to) {
  Stream& stream = connections_[connection].to[to];
  if (stream.flying.empty()) return;  // was cut off
  Record record = std::move(stream.flying.front());
  stream.flying.pop_front();
  if (const auto* frame = std::get_if<Frame>(&record)) {
    stream.seen.push_back(*frame);
    if (stream.seen.size() > 6) stream.seen.pop_front();
  }
  read(connection, to, std::move(record));
  if (random_.chance(repeat_percent_) && !stream.seen.empty()) {
    const auto which = static_cast<std::size_t>(random_.below(stream.seen.size()));
    ++outcome_.coverage.counts["frames repeated"];
    read(connection, to, stream.seen[which]);
  }
}

void SessionWorld::read(std::size_t connection, Side to, Record record) {
  const ConnectionId id = connections_[connection].ids[to];
  at_host(to, connections_[connection].lives[to], [this, to, id, record = std::move(record)]() mutable {
    PeerSessions& machine = *hosts_[to].machine;
    if (const auto* hello = std::get_if<Hello>(&record)) {
      machine.on_hello(now_, id, *hello);
    } else if (const auto* refusal = std::get_if<Refusal>(&record)) {
      machine.on_refusal(now_, id, *refusal);
    } else {
      auto& frame = std::get<Frame>(record);
      spoil_frame(to, id, frame);
      if (machine.connection() && *machine.connection() != id)
        ++outcome_.coverage.counts["frames of an old connection"];
      machine.on_frame(now_, id, std::move(frame));
    }
  });
}

// The end of the stream, after what is on its way.
void SessionWorld::tell_closed(std::size_t connection, Side to) {
  Connection& of = connections_[connection];
  const Duration way = latency();
  of.to[to].last = std::max(of.to[to].last, std::max(now_, blocked_until_[to]) + way);
  at(of.to[to].last, [this, to, id = of.ids[to], life = of.lives[to]] {
    at_host(to, life, [this, to, id] { hosts_[to].machine->on_closed(now_, id); });
  });
}

void SessionWorld::cut(std::size_t connection, unsigned notice_percent) {
  Connection& of = connections_[connection];
  of.closed = true;
  for (Side side = 0; side < 2; ++side) {
    Stream& stream = of.to[side];
    const std::uint64_t arrives = random_.below(stream.flying.size() + 1);
    stream.flying.resize(static_cast<std::size_t>(arrives));
    stream.dead = true;
    if (random_.chance(notice_percent)) {
      tell_closed(connection, side);
    } else {
      ++outcome_.coverage.counts["half-open connections"];
    }
  }
}

void SessionWorld::dial(Side from) {
  Host& host = hosts_[from];
  const Side to = 1 - from;
  if (host.dial != 0) violation("session order: dials while it dials");
  host.dial = ++host.dials_made;
  const std::uint64_t dial = host.dial;
  const std::uint64_t life = host.life;
  const auto fail = [this, from, dial, life] {
    at_host(from, life, [this, from, dial] {
      if (hosts_[from].dial != dial) return;
      hosts_[from].dial = 0;
      hosts_[from].machine->on_dial_failed(now_);
    });
  };
  const Duration way = latency();
  if (random_.chance(dial_trouble_percent_)) {
    if (random_.chance(70)) at(now_ + way, fail);  // else nothing is ever heard of it
    return;
  }
  const TimePoint there = std::max({now_, blocked_until_[0], blocked_until_[1]}) + way;
  at(there, [this, from, to, dial, life, fail] {
    if (hosts_[from].life != life || hosts_[from].dial != dial) return;
    const Duration back = latency();
    if (!hosts_[to].machine) {
      at(now_ + back, fail);
      return;
    }
    at_host(to, hosts_[to].life, [this, from, to, dial, life] {
      const std::size_t index = connections_.size();
      Connection& connection = connections_.emplace_back();
      for (Side side = 0; side < 2; ++side) {
        connection.ids[side] = ConnectionId{next_connection_++};
        by_id_[connection.ids[side]] = index;
      }
      connection.lives[from] = life;
      connection.lives[to] = hosts_[to].life;
      hosts_[to].machine->on_accepted(now_, connection.ids[to], hosts_[from].address);
      const Duration way_back = latency();
      at(now_ + way_back, [this, from, to, dial, life, index] {
        at_host(from, life, [this, from, to, dial, index] {
          if (hosts_[from].dial != dial) {
            connections_[index].closed = true;
            tell_closed(index, to);
            return;
          }
          hosts_[from].dial = 0;
          hosts_[from].machine->on_dialled(now_, connections_[index].ids[from], hosts_[to].address);
        });
      });
    });
  });
}

// ---- faults

void SessionWorld::schedule_fault() {
  const Duration pause = random_duration(random_, 1ms, 2 * fault_pause_);
  at(now_ + pause, [this] {
    if (!faults_) return;
    fault();
    schedule_fault();
  });
}

std::optional<std::size_t> SessionWorld::open_connection() {
  std::vector<std::size_t> open;
  for (std::size_t index = 0; index < connections_.size(); ++index) {
    if (!connections_[index].closed) open.push_back(index);
  }
  if (open.empty()) return std::nullopt;
  return random_.chance(70) ? open.back() : random_.pick(open);
}

void SessionWorld::fault() {
  const std::uint64_t which = random_.below(100);
  if (which < 40) {
    if (const auto connection = open_connection()) {
      ++outcome_.coverage.counts["cuts"];
      cut(*connection, random_.chance(70) ? 100 : 50);
    }
  } else if (which < 50) {
    partition(true, true);
  } else if (which < 60) {
    partition(true, false);
  } else if (which < 70) {
    partition(false, true);
  } else if (which < 85) {
    stand_still(static_cast<Side>(random_.below(2)));
  } else {
    crash(static_cast<Side>(random_.below(2)));
  }
}

// Mostly short, some longer than any time-out; over when the faults are.
Duration SessionWorld::length() {
  const std::uint64_t which = random_.below(3);
  const Duration most = which == 0 ? 500ms : which == 1 ? 5s : 15s;
  const Duration drawn = random_duration(random_, 1ms, most);
  return std::min<Duration>(drawn, faults_end_ - now_);
}

void SessionWorld::partition(bool to_amy, bool to_bob) {
  ++outcome_.coverage.counts[to_amy && to_bob ? "partitions" : "one-way partitions"];
  const TimePoint until = now_ + length();
  if (to_amy) blocked_until_[0] = std::max(blocked_until_[0], until);
  if (to_bob) blocked_until_[1] = std::max(blocked_until_[1], until);
  if (!random_.chance(30)) return;
  for (std::size_t index = 0; index < connections_.size(); ++index) {  // as a router that forgets its connections
    if (!connections_[index].closed) cut(index, 0);
  }
}

void SessionWorld::stand_still(Side side) {
  Host& host = hosts_[side];
  if (!host.machine || host.stands_still) return;
  ++outcome_.coverage.counts["standstills"];
  trace(side, "stands still", 0);
  host.stands_still = true;
  const Duration still = length();
  at(now_ + still, [this, side, life = host.life] {
    Host& again = hosts_[side];
    if (again.life != life) return;
    trace(side, "goes on", again.backlog.size());
    again.stands_still = false;
    if (random_.chance(50)) {  // timers first, or what has come
      again.machine->on_time(now_, random_.next());
      after_input(side);
    }
    std::deque<std::function<void()>> backlog = std::move(again.backlog);
    again.backlog.clear();
    for (auto& what : backlog) at_host(side, life, std::move(what));
  });
}

void SessionWorld::crash(Side side) {
  Host& host = hosts_[side];
  if (!host.machine) return;
  ++outcome_.coverage.counts["crashes"];
  trace(side, "crashes", 0);
  for (std::size_t index = 0; index < connections_.size(); ++index) {
    if (connections_[index].lives[side] == host.life && !connections_[index].closed) {
      cut(index, random_.chance(80) ? 100 : 0);
    }
  }
  host.machine.reset();
  host.life = 0;
  host.dial = 0;
  host.stands_still = false;
  host.backlog.clear();
  host.in_session = false;
  host.ended.clear();
  host.held.reset();
  host.recent_calls.clear();
  const Duration down = length();
  if (random_.chance(20)) host.address = "10.0.1." + std::to_string(random_.below(200));
  at(now_ + down, [this, side] { start(side); });
}

void SessionWorld::start(Side side) {
  Host& host = hosts_[side];
  host.life = random_.next() | 1U;
  host.process = next_id_++;
  host.timer_repeats = 0;
  trace(side, "starts", host.life);
  Hello own;
  own.protocol_min = 1;
  own.protocol_max = 1;
  own.cluster = "lab";
  own.referee = "amy";
  own.host = host.name;
  own.incarnation = Incarnation{host.life};
  SessionOptions options;
  options.dials = host.dials;
  options.buffer_bytes = buffer_bytes_;
  host.machine = std::make_unique<PeerSessions>(now_, own, hosts_[1 - side].name, options);
  after_input(side);
}

// ---- programs

void SessionWorld::schedule_program(Side side) {
  const Duration pause = random_duration(random_, 0s, 2 * send_pause_);
  at(now_ + pause, [this, side] {
    if (!programs_) return;
    const Host& host = hosts_[side];
    if (host.machine && !host.stands_still && host.machine->waiting_bytes() < kPushBackBytes) {
      const std::uint64_t burst = random_.chance(20) ? random_.below(6) + 1 : 1;
      for (std::uint64_t i = 0; i < burst; ++i) program(side);
    }
    schedule_program(side);
  });
}

void SessionWorld::program(Side side) {
  Host& host = hosts_[side];
  const std::uint64_t which = random_.below(100);
  if (which < 60 || host.recent_calls.empty()) {
    const std::uint64_t bytes = random_.chance(5) ? random_.below(5000) : random_.below(200);
    MessageSend body;
    body.text.resize(static_cast<std::size_t>(bytes));
    const std::uint64_t id = next_id_++;
    send(side, Call{CallId{id}, Caller{"alice", {static_cast<std::int32_t>(host.process), 0}}, std::move(body)});
    host.recent_calls.push_back(id);
    if (host.recent_calls.size() > 4) host.recent_calls.pop_front();
  } else if (which < 70) {
    send(side, Reply{CallId{next_id_++}, Error::kNone, 0, {}});
  } else if (which < 77) {
    send(side, Taken{CallId{next_id_++}});
  } else if (which < 80) {
    send(side, Returned{CallId{next_id_++}});
  } else if (which < 85) {
    send(side, ProcessEnded{ProcessId{static_cast<std::int32_t>(host.process), 0}});
    host.process = next_id_++;
  } else {
    const auto index = static_cast<std::ptrdiff_t>(random_.below(host.recent_calls.size()));
    const std::uint64_t id = host.recent_calls[static_cast<std::size_t>(index)];
    host.recent_calls.erase(host.recent_calls.begin() + index);
    if (which < 94) {
      send(side, Cancel{CallId{id}});
    } else if (host.machine->withdraw(CallId{id})) {
      ++outcome_.coverage.counts["withdrawn"];
      Sent& sent = sent_.at(key_of(PeerMessage(Call{CallId{id}, {}, {}})));
      if (sent.settled() || sent.written_in != SessionNumber{})
        violation("reported wrongly: withdrawn after it was written");
      sent.withdrawn = true;
    }
  }
}

void SessionWorld::send(Side side, PeerMessage message) {
  Host& host = hosts_[side];
  const MessageKey key = key_of(message);
  const auto* call = std::get_if<Call>(&message);
  const auto process = call == nullptr ? 0 : static_cast<std::uint64_t>(call->caller.process.pid);
  const bool accepted = host.machine->send(now_, std::move(message));
  trace(side, accepted ? "sends" : "can't send", key.first, key.second);
  if (accepted) {
    Sent& sent = sent_[key];
    sent.from = side;
    sent.life = host.life;
    sent.order = ++next_event_;
    if (process != 0) calls_of_[process].push_back(key.second);
  } else {
    ++outcome_.coverage.counts["unreachable at once"];
  }
  after_input(side);
}

}  // namespace dipc::sim
