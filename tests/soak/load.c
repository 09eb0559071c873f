// The load of a soak: ordinary System V programs, many processes of them, that write down what became of every call.
// They know nothing of DIPC but the flag IPC_DIPC. What they write is judged by others (ledger.h).
//
//   load make KEY...                makes the lasting objects: a queue for each key below 0x6000, a set for each other
//   load crew FOLDER FIRST SECONDS SEED ROLE:KEY:COUNT...
//                                   runs so many processes of each role, the first with the number FIRST; ends when all
//                                   have ended. Processes of the mortal roles (crew.c has all) are interrupted and
//                                   killed at random, and replaced. Says "started N killed K interrupted I"
//   load stop KEY COUNT             sends so many messages that end a receiver each
//   load drain FOLDER NUMBER KEY    receives what is left in the queue
//   load send KEY SELF COUNT        sends so many messages as the sender of that number
//   load receive KEY COUNT          receives so many, each sender's in order, and then none
//   load values KEY                 prints the values of the set
//   load sweep KEY COUNT            removes the objects of so many keys, if they are there

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>

#include "load.h"

enum { kSendersMax = 16 }; /* of `receive` */

static int fail(const char* call, int key) {
  printf("%s %#x: %s\n", call, (unsigned)key, strerror(errno));
  return 1;
}

/* May be asked again when the answer of the first time was lost. */
static int make(int count, char** keys) {
  int i;
  for (i = 0; i < count; ++i) {
    int key = (int)strtol(keys[i], NULL, 0);
    unsigned short values[kSemaphores];
    union semun all;
    int id, n;
    if (key < kFirstSetKey) {
      if (msgget(key, IPC_CREAT | 0600) < 0) return fail("msgget", key);
      continue;
    }
    for (n = 0; n < kSemaphores; ++n) values[n] = n < kUndone ? kCapacity : kBookStart;
    all.array = values;
    id = semget(key, kSemaphores, IPC_CREAT | 0600);
    if (id < 0 || semctl(id, 0, SETALL, all) != 0) return fail("semget", key);
  }
  return 0;
}

static int stop_receivers(int key, int count) {
  int id = msgget(key, 0);
  if (id < 0) return fail("msgget", key);
  message.type = 1;
  memcpy(message.text, "stop", 4);
  while (count-- > 0) {
    if (msgsnd(id, &message, 4, IPC_NOWAIT) != 0 && errno != EAGAIN) return fail("msgsnd", key);
  }
  return 0;
}

static int drain(const char* folder, unsigned self, int key) {
  int id = msgget(key, 0), error;
  if (id < 0) return fail("msgget", key);
  if (!open_notes(folder, self, "drain", key)) return fail(folder, key);
  for (;;) {
    unsigned sender, number;
    ssize_t bytes = msgrcv(id, &message, kTextMax, 0, IPC_NOWAIT);
    if (bytes < 0) break;
    if (bytes == 4 && memcmp(message.text, "stop", 4) == 0) continue;
    if (understand((size_t)bytes, &sender, &number)) {
      note("r %u %u\n", sender, number);
    } else {
      note("! a text of %ld bytes that nobody sent\n", (long)bytes);
    }
  }
  error = errno;
  note("end\n");
  errno = error;
  return error == ENOMSG ? 0 : fail("msgrcv", key);
}

static int send_all(int key, unsigned self, unsigned count) {
  unsigned number;
  int id = msgget(key, 0);
  if (id < 0) return fail("msgget", key);
  dice = self;
  for (number = 1; number <= count; ++number) {
    size_t bytes = 40 + roll(200);
    fill(self, number, bytes);
    message.type = 1 + self % 5;
    if (msgsnd(id, &message, bytes, 0) != 0) return fail("msgsnd", key);
  }
  return 0;
}

static int receive_all(int key, unsigned count) {
  static unsigned last[kSendersMax];
  int id = msgget(key, 0);
  if (id < 0) return fail("msgget", key);
  while (count-- > 0) {
    unsigned sender, number;
    ssize_t bytes = msgrcv(id, &message, kTextMax, 0, 0);
    if (bytes < 0) return fail("msgrcv", key);
    if (!understand((size_t)bytes, &sender, &number) || sender >= kSendersMax) {
      printf("a text of %ld bytes that nobody sent\n", (long)bytes);
      return 1;
    }
    if (number != last[sender] + 1) {
      printf("of sender %u message %u came after %u\n", sender, number, last[sender]);
      return 1;
    }
    last[sender] = number;
  }
  if (msgrcv(id, &message, kTextMax, 0, IPC_NOWAIT) >= 0) {
    printf("there is one more\n");
    return 1;
  }
  return errno == ENOMSG ? 0 : fail("msgrcv", key);
}

static int print_values(int key) {
  unsigned short values[kSemaphores];
  union semun all;
  int i, id = semget(key, 0, 0);
  all.array = values;
  if (id < 0 || semctl(id, 0, GETALL, all) != 0) return fail("semctl", key);
  for (i = 0; i < kSemaphores; ++i) printf("%d%c", values[i], i + 1 < kSemaphores ? ' ' : '\n');
  return 0;
}

static int sweep(int first_key, int count) {
  int key;
  for (key = first_key; key < first_key + count; ++key) {
    int id = msgget(key, kIpcDipc);
    if (id >= 0 ? msgctl(id, IPC_RMID, NULL) != 0 : errno != ENOENT) return fail("queue", key);
    id = semget(key, 0, kIpcDipc);
    if (id >= 0 ? semctl(id, 0, IPC_RMID) != 0 : errno != ENOENT) return fail("set", key);
  }
  return 0;
}

int main(int count, char** words) {
  const char* verb = count > 1 ? words[1] : "";
  heed_signals();
  if (strcmp(verb, "crew") == 0 && count > 6) return run_crew(count - 2, words + 2);
  if (strcmp(verb, "make") == 0) return make(count - 2, words + 2);
  if (strcmp(verb, "stop") == 0 && count == 4) return stop_receivers((int)strtol(words[2], NULL, 0), atoi(words[3]));
  if (strcmp(verb, "drain") == 0 && count == 5) {
    return drain(words[2], (unsigned)strtoul(words[3], NULL, 0), (int)strtol(words[4], NULL, 0));
  }
  if (strcmp(verb, "send") == 0 && count == 5) {
    return send_all((int)strtol(words[2], NULL, 0), (unsigned)atoi(words[3]), (unsigned)atoi(words[4]));
  }
  if (strcmp(verb, "receive") == 0 && count == 4) {
    return receive_all((int)strtol(words[2], NULL, 0), (unsigned)atoi(words[3]));
  }
  if (strcmp(verb, "values") == 0 && count == 3) return print_values((int)strtol(words[2], NULL, 0));
  if (strcmp(verb, "sweep") == 0 && count == 4) return sweep((int)strtol(words[2], NULL, 0), atoi(words[3]));
  fprintf(stderr, "load: what it takes is at the top of load.c\n");
  return 2;
}
