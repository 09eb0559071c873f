#pragma once

// One line an event on standard error: time, level, then what happened, with host, session and call where they are
// known. The same event again and again is written a few times, then counted: a peer that misbehaves can't fill a disk.

#include <cstdint>
#include <string>
#include <string_view>

#include "wire/result.h"

namespace dipc {

enum class LogLevel : std::uint8_t { kDebug, kInfo, kWarning, kError };

// Everything from `level` on is written. Before the first log line; later calls change the level.
void set_log_level(LogLevel level);

// `topic` names the kind of event ("refused", "peer vax"): lines of one topic and level share one allowance of
// kLinesPerTopic every ten seconds; what is beyond it is counted and the count written with the next line.
void log_event(LogLevel level, std::string_view topic, std::string_view text);

inline void log_info(std::string_view topic, std::string_view text) { log_event(LogLevel::kInfo, topic, text); }
inline void log_warning(std::string_view topic, std::string_view text) { log_event(LogLevel::kWarning, topic, text); }
inline void log_error(std::string_view topic, std::string_view text) { log_event(LogLevel::kError, topic, text); }
// What an administrator changed, with who asked: a warning, written however many such lines there are.
void log_change(std::string_view topic, std::string_view text);
// What happened, and the remedy on the same line.
void log_trouble(LogLevel level, std::string_view topic, const Trouble& trouble);

inline constexpr int kLinesPerTopic = 10;

// Every topic has its whole allowance again: for tests, which are many daemons in one process.
void renew_log_allowances();

}  // namespace dipc
