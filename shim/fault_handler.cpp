#include "shim/fault_handler.h"

#include <string.h>
#include <unistd.h>

#include "shim/calls.h"
#include "shim/paged_memory.h"

#define DIPC_EXPORT extern "C" [[gnu::visibility("default")]]

namespace dipc::shim {
namespace {

constinit NextFunction<int(int, const struct sigaction*, struct sigaction*)> next_sigaction{"sigaction"};
constinit NextFunction<int(int, const sigset_t*, sigset_t*)> next_sigprocmask{"sigprocmask"};
constinit NextFunction<int(int, const sigset_t*, sigset_t*)> next_pthread_sigmask{"pthread_sigmask"};
using Handler = void (*)(int);
constinit NextFunction<Handler(int, Handler)> next_signal{"signal"};
constinit NextFunction<Handler(int, Handler)> next_sysv_signal{"sysv_signal"};

[[gnu::constructor]] void set_up() {
  next_sigaction.get();
  next_sigprocmask.get();
  next_pthread_sigmask.get();
  next_signal.get();
  next_sysv_signal.get();
}

// What the program has asked for SIGSEGV. A new one takes the next place, so that a handler that is reading one is not
// overtaken by a change before there have been as many again.
constexpr uint32_t kKept = 16;
constinit struct sigaction g_programs[kKept] = {};
constinit std::atomic<uint32_t> g_current{0};
constinit std::atomic<bool> g_taken{false};

const struct sigaction& programs() { return g_programs[g_current.load(std::memory_order_acquire) % kKept]; }

void keep(const struct sigaction& action) {
  uint32_t place = g_current.load(std::memory_order_relaxed) + 1;
  g_programs[place % kKept] = action;
  g_current.store(place, std::memory_order_release);
}

void restore_default() {
  struct sigaction fresh {};
  fresh.sa_handler = SIG_DFL;
  next_sigaction.get()(SIGSEGV, &fresh, nullptr);
}

// As the kernel would have delivered it.
void pass_on(int signal, siginfo_t* info, void* context) {
  struct sigaction action = programs();
  bool was_sent = info->si_code <= 0;
  if (action.sa_handler == SIG_IGN && was_sent) return;
  if (action.sa_handler == SIG_DFL || action.sa_handler == SIG_IGN) {
    restore_default();  // the instruction is tried again, and ends the process
    if (was_sent) raw(SYS_tgkill, current_pid(), raw(SYS_gettid), signal);
    return;
  }
  if ((action.sa_flags & static_cast<int>(SA_RESETHAND)) != 0) {
    struct sigaction fresh {};
    fresh.sa_handler = SIG_DFL;
    keep(fresh);
  }
  sigset_t mask = action.sa_mask;
  sigdelset(&mask, SIGSEGV);  // its handler may touch what we page
  raw(SYS_rt_sigprocmask, SIG_BLOCK, &mask, nullptr, kKernelSigsetBytes);
  if ((action.sa_flags & SA_SIGINFO) != 0) {
    action.sa_sigaction(signal, info, context);
  } else {
    action.sa_handler(signal);
  }
}  // the mask is the interrupted code's again when we return

// What the thread was let go on with.
struct LastFault {
  const PagedMemory* memory = nullptr;
  uintptr_t address = 0;
  uint32_t readable_as = 0;
};
constinit thread_local LastFault t_last;

bool could_read_all_the_time(const PagedMemory& memory, uintptr_t address) {
  return t_last.readable_as != 0 && t_last.memory == &memory && t_last.address == address &&
         t_last.readable_as == readable_as(memory, address);
}

bool note_whether_it_can_read(const PagedMemory& memory, uintptr_t address) {
  t_last = {&memory, address, readable_as(memory, address)};
  return t_last.readable_as != 0;
}

// False: it can't be served. Where the machine does not tell a store from a load, a thread that faults where it can
// read wants to write; it must have been able to all the time since it was let go on, as pages come and go.
bool serve(PagedMemory* memory, uintptr_t address, const void* context) {
  FaultedAccess access = faulted_access(context);
  bool is_told = access != FaultedAccess::kUnknown;
  if (!is_told) access = could_read_all_the_time(*memory, address) ? FaultedAccess::kStore : FaultedAccess::kLoad;
  if (access == FaultedAccess::kStore && !memory->writable) return false;
  if (!is_told && access == FaultedAccess::kLoad && note_whether_it_can_read(*memory, address)) return true;
  if (!await_access(memory, address, access)) return false;
  if (!is_told) note_whether_it_can_read(*memory, address);
  return true;
}

void on_fault(int signal, siginfo_t* info, void* context) {
  int saved = errno;
  uintptr_t address = reinterpret_cast<uintptr_t>(info->si_addr);
  PagedMemory* memory = info->si_code > 0 && has_paged_memory() ? paged_memory_at(address) : nullptr;
  if (!memory || !serve(memory, address, context)) pass_on(signal, info, context);
  errno = saved;
}

// 0: SIGSEGV is not in it, or nobody cares.
const sigset_t* without_ours(const sigset_t* set, sigset_t* copy) {
  if (!has_paged_memory() || !set || sigismember(set, SIGSEGV) != 1) return set;
  *copy = *set;
  sigdelset(copy, SIGSEGV);
  return copy;
}

int change_action(int signal, const struct sigaction* action, struct sigaction* before) {
  if (!g_taken.load(std::memory_order_acquire)) return next_sigaction.get()(signal, action, before);
  if (signal != SIGSEGV) {
    struct sigaction copy;
    if (action) {
      copy = *action;
      sigdelset(&copy.sa_mask, SIGSEGV);
    }
    return next_sigaction.get()(signal, action ? &copy : nullptr, before);
  }
  struct sigaction asked {};
  if (action) asked = *action;  // before *before is written: they may be the same
  if (before) *before = programs();
  if (action) keep(asked);
  return 0;
}

// As change_action() has it from now on: of the handlers that the program has by now, none blocks SIGSEGV.
void unblock_in_handlers() {
  int saved = errno;
  for (int signal = 1; signal < NSIG; ++signal) {
    struct sigaction action {};
    if (signal == SIGSEGV || next_sigaction.get()(signal, nullptr, &action) != 0) continue;
    if (action.sa_handler == SIG_DFL || action.sa_handler == SIG_IGN) continue;
    if (sigismember(&action.sa_mask, SIGSEGV) != 1) continue;
    sigdelset(&action.sa_mask, SIGSEGV);
    next_sigaction.get()(signal, &action, nullptr);
  }
  errno = saved;
}

Handler change_handler(Handler handler, int flags) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = flags;
  struct sigaction before {};
  change_action(SIGSEGV, &action, &before);
  return before.sa_handler;
}

}  // namespace

bool take_faults() {
  static constinit std::atomic<bool> is_under_way{false};
  if (g_taken.load(std::memory_order_acquire) || is_under_way.exchange(true)) return true;
  struct sigaction action {};
  struct sigaction before {};
  action.sa_sigaction = on_fault;
  // On the alternate stack where the program has one; nested, if its own handler touches what we page.
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER | SA_RESTART;
  if (next_sigaction.get()(SIGSEGV, nullptr, &before) != 0) return false;
  keep(before);
  if (next_sigaction.get()(SIGSEGV, &action, nullptr) != 0) return false;
  g_taken.store(true, std::memory_order_release);
  unblock_in_handlers();
  return true;
}

}  // namespace dipc::shim

using namespace dipc::shim;

DIPC_EXPORT int sigaction(int signal, const struct sigaction* action, struct sigaction* before) noexcept {
  return change_action(signal, action, before);
}

DIPC_EXPORT Handler signal(int number, Handler handler) noexcept {
  if (number != SIGSEGV || !g_taken.load(std::memory_order_acquire)) return next_signal.get()(number, handler);
  return change_handler(handler, SA_RESTART);
}

DIPC_EXPORT Handler sysv_signal(int number, Handler handler) noexcept {
  if (number != SIGSEGV || !g_taken.load(std::memory_order_acquire)) return next_sysv_signal.get()(number, handler);
  return change_handler(handler, static_cast<int>(SA_RESETHAND | SA_NODEFER));
}

DIPC_EXPORT Handler __sysv_signal(int number, Handler handler) noexcept { return sysv_signal(number, handler); }

DIPC_EXPORT int sigprocmask(int how, const sigset_t* set, sigset_t* before) noexcept {
  sigset_t copy;
  return next_sigprocmask.get()(how, how == SIG_UNBLOCK ? set : without_ours(set, &copy), before);
}

DIPC_EXPORT int pthread_sigmask(int how, const sigset_t* set, sigset_t* before) noexcept {
  sigset_t copy;
  return next_pthread_sigmask.get()(how, how == SIG_UNBLOCK ? set : without_ours(set, &copy), before);
}
