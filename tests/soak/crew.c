// The processes of a crew, and what they do in their roles. Each writes into FOLDER/NUMBER-ROLE-KEY what became of
// every call, a line a call, last "end" unless it is killed:
//
//   sender, mortal-sender           "s N ok" or "s N ERRNO" for the N-th message, from 1
//   receiver, mortal-receiver       "r SENDER N", or "e ERRNO"
//   account                         mortal. Takes from semaphores 0..3 of a set and gives back, all under SEM_UNDO:
//                                   "t", or "e ERRNO"
//   book                            mortal. Adds to and takes from semaphores 4..7 without SEM_UNDO: "b NUM OP", and
//                                   then "b ok" or "b ERRNO"
//   churn                           mortal. Makes, uses and removes queues and sets of eight keys from KEY: "c", or
//                                   "e ERRNO"
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "load.h"

enum { kChurnKeys = 8, kProcessesMax = 64 };

/* What a lost host, a killed daemon or a signal may give any call. */
static int is_trouble(int number) {
  return number == EHOSTUNREACH || number == ECONNRESET || number == ETIMEDOUT || number == EINTR;
}

/* The lasting object of that key; -1 when time is over first. */
static int find(int key) {
  for (;;) {
    int id = key < kFirstSetKey ? msgget(key, 0) : semget(key, 0, 0);
    if (id >= 0) return id;
    if (is_trouble(errno)) {
      note_error();
    } else {
      note("! a get of key %#x fails with %s\n", (unsigned)key, strerrorname_np(errno));
    }
    if (is_over()) return -1;
    pause_ms(20);
  }
}

/* ---- roles */

static void be_sender(unsigned self, int key, int mortal) {
  int id = find(key);
  unsigned number = 0, burst = 0;
  if (id < 0) return;
  while (!is_over()) {
    unsigned kind = roll(100);
    size_t bytes = 40 + (kind < 90 ? roll(160) : kind < 99 ? roll(2000) : roll(kTextMax - 40));
    fill(self, ++number, bytes);
    message.type = 1 + self % 5;
    if (msgsnd(id, &message, bytes, mortal && roll(4) == 0 ? IPC_NOWAIT : 0) == 0) {
      note("s %u ok\n", number);
    } else {
      note("s %u %s\n", number, strerrorname_np(errno));
      if (errno == EHOSTUNREACH || errno == ETIMEDOUT || errno == EAGAIN) pause_ms(5);
    }
    if (burst-- == 0) {
      burst = roll(40);
      pause_ms(20 + roll(60));
    }
  }
}

static void be_receiver(int key, int mortal) {
  int id = find(key);
  if (id < 0) return;
  while (!mortal || !is_over()) {
    unsigned kind = roll(10), sender, number;
    long type = kind < 7 ? 0 : kind == 7 ? 1 + (long)roll(5) : kind == 8 ? -5 : 0;
    ssize_t bytes;
    message.type = 0;
    bytes = msgrcv(id, &message, kTextMax, type, kind < 7 ? 0 : IPC_NOWAIT);
    if (bytes < 0) {
      note_error();
      if (errno == ENOMSG) pause_ms(1);
      if (errno == EHOSTUNREACH || errno == ETIMEDOUT) pause_ms(10);
    } else if (bytes == 4 && memcmp(message.text, "stop", 4) == 0) {
      break;
    } else if (!understand((size_t)bytes, &sender, &number)) {
      note("! a text of %ld bytes that nobody sent\n", (long)bytes);
    } else if (message.type != 1 + (long)(sender % 5)) {
      note("! message %u of %u has the type %ld\n", number, sender, message.type);
    } else {
      note("r %u %u\n", sender, number);
    }
  }
}

static int operate(int id, struct sembuf* ops, size_t count) {
  struct timespec limit;
  limit.tv_sec = 0;
  limit.tv_nsec = (long)(1 + roll(200)) * 1000000;
  return roll(2) == 0 ? semop(id, ops, count) : semtimedop(id, ops, count, &limit);
}

/* Gives back what it took. What it is not sure to hold it leaves to its end, when the kernel undoes all. */
static void be_account(int key) {
  int id = find(key);
  if (id < 0) return;
  while (!is_over()) {
    struct sembuf ops[2];
    size_t i, count = 1 + roll(2);
    int given = 0;
    for (i = 0; i < count; ++i) {
      ops[i].sem_num = (unsigned short)((roll(kUndone / 2)) + i * (kUndone / 2));
      ops[i].sem_op = (short)-(1 + (int)roll(2));
      ops[i].sem_flg = (short)(SEM_UNDO | (roll(4) == 0 ? IPC_NOWAIT : 0));
    }
    if (operate(id, ops, count) != 0) {
      note_error();
      if (errno == EHOSTUNREACH || errno == ETIMEDOUT) pause_ms(10);
      continue;
    }
    note("t\n");
    if (roll(3) == 0) pause_ms(roll(30));
    for (i = 0; i < count; ++i) {
      ops[i].sem_op = (short)-ops[i].sem_op;
      ops[i].sem_flg = SEM_UNDO;
    }
    while (!given && !is_over()) {
      given = semop(id, ops, count) == 0 || errno == ECONNRESET;
      if (!given) {
        note_error();
        pause_ms(10);
      }
    }
  }
}

static void be_bookkeeper(int key) {
  int id = find(key);
  if (id < 0) return;
  while (!is_over()) {
    struct sembuf op;
    unsigned short values[kSemaphores];
    union semun all;
    int i;
    op.sem_num = (unsigned short)(kUndone + roll(kSemaphores - kUndone));
    op.sem_op = (short)(roll(2) == 0 ? 1 : -1);
    op.sem_flg = 0;
    note("b %d %d\n", op.sem_num, op.sem_op);
    note("b %s\n", operate(id, &op, 1) == 0 ? "ok" : strerrorname_np(errno));
    if (roll(20) == 0) {
      all.array = values;
      if (semctl(id, 0, GETALL, all) != 0) {
        note_error();
      } else {
        for (i = 0; i < kUndone; ++i) {
          if (values[i] > kCapacity) note("! semaphore %d of key %#x is %d\n", i, (unsigned)key, values[i]);
        }
      }
    }
    pause_ms(roll(20));
  }
}

/* errno values that the creation and removal of objects by others gives, besides those of trouble. */
static int is_churn(int number) {
  return number == EEXIST || number == ENOENT || number == EIDRM || number == EINVAL || number == EAGAIN ||
         number == ENOMSG;
}

static void check_churn(const char* call, long result) {
  if (result >= 0) {
    note("c\n");
  } else if (is_trouble(errno) || is_churn(errno)) {
    note_error();
  } else {
    note("! %s of a passing object fails with %s\n", call, strerrorname_np(errno));
  }
}

static void be_churner(unsigned self, int first_key) {
  while (!is_over()) {
    int key = first_key + (int)roll(kChurnKeys);
    int flags = 0600 | (roll(2) == 0 ? kIpcDipc : 0) | (roll(3) != 0 ? IPC_CREAT : 0) | (roll(4) == 0 ? IPC_EXCL : 0);
    int id, i;
    if (roll(2) == 0) {
      id = msgget(key, flags);
      check_churn("msgget", id);
      for (i = (int)roll(4); id >= 0 && i > 0; --i) {
        fill(self, (unsigned)i, 60);
        message.type = 1;
        check_churn("msgsnd", msgsnd(id, &message, 60, IPC_NOWAIT));
        check_churn("msgrcv", msgrcv(id, &message, kTextMax, 0, IPC_NOWAIT));
      }
      if (id >= 0 && roll(2) == 0) check_churn("msgctl", msgctl(id, IPC_RMID, NULL));
    } else {
      id = semget(key, 2, flags);
      check_churn("semget", id);
      for (i = (int)roll(4); id >= 0 && i > 0; --i) {
        struct sembuf op = {(unsigned short)roll(2), (short)(roll(2) == 0 ? 1 : -1), SEM_UNDO};
        struct timespec limit = {0, 30000000};
        check_churn("semtimedop", semtimedop(id, &op, 1, &limit));
      }
      if (id >= 0 && roll(2) == 0) check_churn("semctl", semctl(id, 0, IPC_RMID));
    }
    pause_ms(roll(30));
  }
}

/* ---- the crew */

struct member {
  pid_t pid;
  const char* role;
  int key;
  int mortal;
};
static struct member members[kProcessesMax];
static unsigned member_count;

static void start(struct member* one, const char* folder, unsigned self, unsigned long seed) {
  one->pid = fork();
  if (one->pid < 0) {
    printf("fork: %s\n", strerror(errno));
    exit(1);
  }
  if (one->pid != 0) return;
  dice = seed * 1000003ull + self;
  roll(2);
  if (!open_notes(folder, self, one->role, one->key)) _exit(3);
  if (strcmp(one->role, "sender") == 0 || strcmp(one->role, "mortal-sender") == 0) {
    be_sender(self, one->key, one->mortal);
  } else if (strcmp(one->role, "receiver") == 0 || strcmp(one->role, "mortal-receiver") == 0) {
    be_receiver(one->key, one->mortal);
  } else if (strcmp(one->role, "account") == 0) {
    be_account(one->key);
  } else if (strcmp(one->role, "book") == 0) {
    be_bookkeeper(one->key);
  } else if (strcmp(one->role, "churn") == 0) {
    be_churner(self, one->key);
  } else {
    note("! there is no role %s\n", one->role);
  }
  note("end\n");
  _exit(0);
}

/* Reaps `one`, waiting if `options` is 0. */
static int reap(struct member* one, int options, int may_be_killed) {
  int status = 0;
  if (waitpid(one->pid, &status, options) != one->pid) return 0;
  one->pid = 0;
  if (!(WIFEXITED(status) && WEXITSTATUS(status) == 0) &&
      !(may_be_killed && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)) {
    printf("a %s ended with status %#x\n", one->role, (unsigned)status);
    exit(1);
  }
  return 1;
}

int run_crew(int count, char** words) {
  const char* folder = words[0];
  unsigned next = (unsigned)strtoul(words[1], NULL, 0);
  unsigned long seed = strtoul(words[3], NULL, 0);
  unsigned i, killed = 0, interrupted = 0, alive, first = next;
  int word;
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  end_time = now.tv_sec + strtol(words[2], NULL, 0);
  dice = seed;
  for (word = 4; word < count; ++word) {
    const char* role = strtok(words[word], ":");
    int key = (int)strtol(strtok(NULL, ":"), NULL, 0);
    unsigned n = (unsigned)strtoul(strtok(NULL, ":"), NULL, 0);
    while (n-- > 0 && member_count < kProcessesMax) {
      struct member* one = &members[member_count++];
      one->role = role;
      one->key = key;
      one->mortal = strcmp(role, "sender") != 0 && strcmp(role, "receiver") != 0;
      start(one, folder, next++, seed);
    }
  }
  while (!is_over()) {
    struct member* one = &members[roll(member_count)];
    pause_ms(10 + roll(150));
    if (!one->mortal || one->pid == 0) continue;
    if (roll(3) != 0) {
      kill(one->pid, SIGUSR1);
      ++interrupted;
    } else {
      kill(one->pid, SIGKILL);
      reap(one, 0, 1);
      ++killed;
      start(one, folder, next++, seed);
    }
  }
  do { /* A signal may come just before the call that it is to end. */
    alive = 0;
    for (i = 0; i < member_count; ++i) {
      if (members[i].pid == 0 || reap(&members[i], WNOHANG, 0)) continue;
      if (members[i].mortal) kill(members[i].pid, SIGTERM);
      ++alive;
    }
    if (alive > 0) pause_ms(50);
  } while (alive > 0);
  printf("started %u killed %u interrupted %u\n", next - first, killed, interrupted);
  return 0;
}
