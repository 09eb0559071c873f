#pragma once

// Reports of the daemon as people read them: aligned columns, what needs attention last, where the eye rests. Pure.
// Text from other hosts is shown without control characters, so that it can't play with the terminal.

#include <string>
#include <string_view>
#include <vector>

#include "daemon/core/status_report.h"

namespace dipc {

// Columns as wide as their widest cell, two blanks apart; those in `right` (column numbers) aligned to the right. Width
// counts characters of UTF-8. Ends in a newline.
std::string format_table(const std::vector<std::vector<std::string>>& rows, const std::vector<std::size_t>& right = {});

std::string show(const StatusReport& report);
std::string show(const ObjectsReport& report);
std::string show(const DeadLettersReport& report);
// All facts, then the text: sixteen bytes a line, in hexadecimal and as what is printable of them.
std::string show(const DeadLetterText& letter);
std::string show(const SegmentsReport& report);
// The map, who moves how much, and the pages that bounce most. `width`: columns of the terminal.
std::string show(const PagesReport& report, std::size_t width = 80);
// As much of a text as a terminal of that size has room for, in the place of what it shows now. One row is the
// cursor's.
std::string redraw(std::string_view text, std::size_t columns, std::size_t rows);
std::string show(const AdminDone& done);
std::string show(const AdminFailure& failure);  // "what" and "  remedy" lines

std::string show_duration(std::uint64_t seconds);  // "3 days 4 h", "2 h 13 min", "45 s"
std::string show_bytes(std::uint64_t bytes);       // "12 B", "3.4 KiB", "64.0 MiB"

}  // namespace dipc
