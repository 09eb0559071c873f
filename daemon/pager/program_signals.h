#pragma once

// Signals to programs whose number comes from a fault's message or from before: in another PID namespace it names
// another process, and when its process has ended it may be given to a new one. So only those of one user are reached,
// the user who attached: who lies harms himself.

#include <sys/types.h>

#include <optional>

namespace dipc {

// The process's real uid, proc(5); nothing: there is none of that number.
std::optional<uid_t> real_uid_of(pid_t pid);

// `uid`: the signal goes to that user's programs only; 0: to anybody's. False: it was not sent.
bool send_signal(pid_t process, uid_t uid, int signal);
bool send_signal_to_thread(pid_t thread, uid_t uid, int signal);

}  // namespace dipc
