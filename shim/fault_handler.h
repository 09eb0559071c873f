#pragma once

// The process's SIGSEGV, once it has memory that it pages itself: ours first, then the program's, which thinks that it
// has the signal for itself. Faults on other memory, and SIGSEGVs that somebody sends, end as they would without us.
//
// A thread that blocks SIGSEGV would be killed by a fault; so as long as there is paged memory the signal is left out
// of what programs block (sigprocmask, pthread_sigmask, the masks of handlers), and so it is of what the thread that
// attaches and the handlers block already. What other threads have blocked before the first attachment stays so.

#include <signal.h>

namespace dipc::shim {

// Puts our handler in front of the program's; again does nothing. False: the kernel does not let us.
bool take_faults();

}  // namespace dipc::shim
