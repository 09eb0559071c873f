#pragma once

// A program as others write them, in pieces: each scenario makes System V calls and prints what came of them. It is run
// bare and through the shim, and must print the same; so it prints no ids, pids or times.

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/wait.h>
#include <unistd.h>

#include <initializer_list>

#include "shim/dipc.h"

// Bad pointers for which libc's own functions crash bare, where they convert structs (32-bit machines).
inline constexpr bool kLibcConverts = sizeof(long) == 4;

// The tests of a machine under qemu are held against this one's bare kernel where qemu's own system calls are wrong: it
// dies of texts that are readable in part, and finds some errors in another order. Both sides then leave out the
// combinations of more than one mistake.
bool is_held_against_another_machine();

struct Message {
  long type;
  char text[512];
};

// "what: 5" or "what: -1 EAGAIN". Complains where a success changed errno.
template <typename Call>
long show(const char* what, Call call) {
  constexpr int kUntouched = 7777;
  errno = kUntouched;
  long result = static_cast<long>(call());
  int error = errno;
  if (result == -1) {
    const char* name = strerrorname_np(error);
    printf("%s: -1 %s\n", what, name ? name : "?");
  } else {
    printf("%s: %ld%s\n", what, result, error == kUntouched ? "" : " BUT ERRNO CHANGED");
  }
  return result;
}
#define SHOW(call) show(#call, [&] { return call; })

// The call must succeed for the scenario to go on.
template <typename Value>
Value must(Value value, const char* file, int line, const char* what) {
  if (value == (Value)-1) {
    printf("%s:%d: %s failed: %s\n", file, line, what, strerror(errno));
    exit(3);
  }
  return value;
}
#define MUST(call) must(call, __FILE__, __LINE__, #call)

// Objects of one scenario, distributed where there is DIPC; removed at the end.
class Queue {
 public:
  explicit Queue(int mode = 0600) : id_(MUST(msgget(IPC_PRIVATE, IPC_CREAT | IPC_DIPC | mode))), owner_(getpid()) {}
  ~Queue() {
    if (getpid() == owner_) msgctl(id_, IPC_RMID, nullptr);
  }
  operator int() const { return id_; }
  void send(long type, const char* text) const;
  long count() const;  // messages in it
  void fill() const;   // until msgsnd would block

 private:
  int id_;
  pid_t owner_;
};

class Set {
 public:
  explicit Set(int count, int mode = 0600)
      : id_(MUST(semget(IPC_PRIVATE, count, IPC_CREAT | IPC_DIPC | mode))), owner_(getpid()) {}
  ~Set() {
    if (getpid() == owner_) semctl(id_, 0, IPC_RMID);
  }
  operator int() const { return id_; }

 private:
  int id_;
  pid_t owner_;
};

// A SIGALRM every 20 ms from now on: however late a call blocks, one comes after. Handlers without SA_RESTART matter
// least, so it is set.
class Alarms {
 public:
  explicit Alarms(void (*handler)(int), int flags = SA_RESTART);
  ~Alarms();
};

pthread_t start_thread(void* (*body)(void*), void* argument);

// Runs `body` in a child made by fork(2) and prints how it ended.
template <typename Body>
void in_child(const char* name, Body body) {
  fflush(stdout);
  pid_t child = MUST(fork());
  if (child == 0) {
    body();
    fflush(stdout);
    _exit(0);
  }
  int status = 0;
  MUST(waitpid(child, &status, 0));
  printf("%s: ended with %x\n", name, static_cast<unsigned>(status));
}

// Two pages, of which the second can't be touched; `bytes` before the border.
char* before_the_border(size_t bytes);

struct Scenario {
  const char* name;
  void (*run)();
};
extern const Scenario kCallScenarios[], kSignalScenarios[], kProcessScenarios[], kThreadScenarios[], kDipcScenarios[];

// argv of `subject` itself, for the scenarios that execute it again.
extern char** subject_arguments;
