/* Preloaded before the shim, as fakeroot and its like are: wraps what people wrap, makes a System V call in each
 * wrapper, and tells at the end how often the wrappers were reached. The shim must not come through here. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

static int reached;
static int depth;

static void call(void) {
  ++reached;
  if (depth++ == 0) msgget(0x7fffffff, 0);
  --depth;
}

// NOLINTBEGIN(bugprone-macro-parentheses): types and parameter lists take none
#define WRAP(result, name, parameters, arguments)               \
  result wrap_##name parameters __asm__(#name);                 \
  result wrap_##name parameters {                               \
    static result(*next) parameters;                            \
    if (next == NULL) *(void**)&next = dlsym(RTLD_NEXT, #name); \
    call();                                                     \
    return next arguments;                                      \
  }
// NOLINTEND(bugprone-macro-parentheses)
WRAP(int, close, (int descriptor), (descriptor))
WRAP(int, socket, (int domain, int type, int protocol), (domain, type, protocol))
WRAP(int, connect, (int descriptor, const struct sockaddr* address, socklen_t bytes), (descriptor, address, bytes))
WRAP(ssize_t, sendmsg, (int descriptor, const struct msghdr* message, int flags), (descriptor, message, flags))
WRAP(ssize_t, recvmsg, (int descriptor, struct msghdr* message, int flags), (descriptor, message, flags))
WRAP(ssize_t, recv, (int descriptor, void* buffer, size_t bytes, int flags), (descriptor, buffer, bytes, flags))
WRAP(int, fstat, (int descriptor, struct stat* status), (descriptor, status))
WRAP(int, stat, (const char* path, struct stat* status), (path, status))
WRAP(int, fcntl, (int descriptor, int command, long argument), (descriptor, command, argument))
WRAP(pid_t, getpid, (void), ())
WRAP(uid_t, geteuid, (void), ())
WRAP(gid_t, getegid, (void), ())
WRAP(int, clock_gettime, (clockid_t clock, struct timespec* now), (clock, now))
WRAP(int, sigprocmask, (int how, const void* set, void* before), (how, set, before))

__attribute__((destructor)) static void tell(void) {
  char text[40];
  int bytes = snprintf(text, sizeof text, "wrappers reached %d times\n", reached);
  if (write(STDOUT_FILENO, text, (size_t)bytes) != bytes) _exit(9);
}
