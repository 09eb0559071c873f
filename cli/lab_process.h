#pragma once

// Starting the processes that hold a lab together, so that none is ever left that nobody knows of: a process waits for
// its record to be on disk before it does anything, and ends by itself if whoever started it dies before it was told to
// stay.

#include <functional>
#include <string>

#include "cli/process.h"
#include "wire/descriptor.h"

namespace dipc {

// Words on the control pipe, one byte each.
inline constexpr char kControlGo = 'g';      // the record is written: begin
inline constexpr char kControlDaemon = 'd';  // holders: start the daemon
inline constexpr char kControlKeep = 'k';    // stay when the pipe closes

// A process of the lab that `up` has started and still answers for: it ends when the pipe closes before kControlKeep.
struct LabProcess {
  ProcessIdentity identity;
  Descriptor control;  // write end
  Descriptor report;   // read end: what the process has to say, then end of file
};

// Forks a process with new namespaces (`clone_flags`, CLONE_NEW*), in a session of its own, with standard input and
// output on /dev/null and no other descriptor than the two pipes. `body(control, report)` runs in it after kControlGo
// and must not return.
Result<LabProcess> start_lab_process(unsigned long long clone_flags, const std::string& record,
                                     const std::function<void(int control, int report)>& body);

// In such a process: waits for kControlKeep; ends the process at the end of the pipe.
void await_keep(int control);

// Says a word on the control pipe.
Result<void> tell(const LabProcess& process, char word);

}  // namespace dipc
