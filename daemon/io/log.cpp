#include "daemon/io/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <chrono>
#include <map>
#include <mutex>

namespace dipc {

namespace {

constexpr auto kAllowanceEvery = std::chrono::seconds(10);
constexpr std::size_t kTopicsMax = 1000;  // topics may carry a peer's words: forget them all rather than grow

struct Allowance {
  std::chrono::steady_clock::time_point since;
  int written = 0;
  std::uint64_t held_back = 0;
};

spdlog::logger& logger() {
  static const auto instance = [] {
    auto made = std::make_shared<spdlog::logger>("dipcd", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made->set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %l %v");
    made->flush_on(spdlog::level::debug);
    return made;
  }();
  return *instance;
}

spdlog::level::level_enum native(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
  }
  return spdlog::level::err;
}

struct Allowances {
  std::mutex mutex;
  std::map<std::pair<LogLevel, std::string>, Allowance> of_topics;
};

Allowances& allowances() {
  static Allowances all;
  return all;
}

// How many lines of this topic were held back since the last one written; -1: this one is held back too.
std::int64_t held_back(LogLevel level, std::string_view topic) {
  Allowances& all = allowances();
  const auto now = std::chrono::steady_clock::now();
  const std::lock_guard lock(all.mutex);
  if (all.of_topics.size() > kTopicsMax) all.of_topics.clear();
  Allowance& allowance = all.of_topics[{level, std::string(topic)}];
  if (now - allowance.since >= kAllowanceEvery) {
    allowance.since = now;
    allowance.written = 0;
  }
  if (allowance.written == kLinesPerTopic) {
    ++allowance.held_back;
    return -1;
  }
  ++allowance.written;
  return static_cast<std::int64_t>(std::exchange(allowance.held_back, 0));
}

// Names and reasons may come from a peer: no line breaks, no terminal sequences.
std::string printable(std::string_view text) {
  std::string clean(text);
  for (char& c : clean) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  }
  return clean;
}

}  // namespace

void renew_log_allowances() {
  const std::lock_guard lock(allowances().mutex);
  allowances().of_topics.clear();
}

void set_log_level(LogLevel level) { logger().set_level(native(level)); }

void log_event(LogLevel level, std::string_view topic, std::string_view text) {
  if (!logger().should_log(native(level))) return;
  const std::int64_t before = held_back(level, topic);
  if (before < 0) return;
  const std::string line = printable(std::string(topic) + ": " + std::string(text));
  if (before > 0) {
    logger().log(native(level), "{} ({} like it were not written)", line, before);
  } else {
    logger().log(native(level), "{}", line);
  }
}

void log_change(std::string_view topic, std::string_view text) {
  logger().warn("{}", printable(std::string(topic) + ": " + std::string(text)));
}

void log_trouble(LogLevel level, std::string_view topic, const Trouble& trouble) {
  log_event(level, topic, trouble.remedy.empty() ? trouble.what : trouble.what + "; " + trouble.remedy);
}

}  // namespace dipc
