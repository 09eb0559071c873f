/* Sends and receives structs whose messages are declared (typed_test.cpp has the declarations), on any machine and with
 * or without DIPC. One command a line, one answer a line:
 *
 *   get KEY FLAGS                          -> id
 *   send-every ID TYPE SET                 SET: least, most (of 32-bit machines), wide (a long of 64 bits)
 *   receive-every ID TYPE BYTES FLAGS      -> its values; BYTES -1: sizeof, +N and -N: that much more or less
 *   send-raw ID TYPE BYTES                 a payload of so many bytes
 *   send-ids ID TYPE                       pid and login of this process
 *   receive-ids ID TYPE                    -> mtype, "mine" or the pid, uid, gid
 *   number N                               the next process of this host has pid N (root): goes on in it
 *   serve ID COUNT                         COUNT times: receives an ask (type 1), replies to its pid
 *   ask ID COUNT                           COUNT times: asks, and waits for the reply -> how many were right
 *   pid                                    -> its own
 */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct item {
  char tag;
  long weight;
};

struct every {
  long mtype;
  char c;
  signed char sc;
  unsigned char uc;
  short s;
  unsigned short us;
  _Bool b;
  int i;
  unsigned u;
  long l;
  unsigned long ul;
  long long ll;
  unsigned long long ull;
  float f;
  double d;
  size_t z;
  ssize_t sz;
  time_t t;
  int8_t i8;
  uint16_t u16;
  int32_t i32;
  int64_t i64;
  uint64_t u64;
  char text[5];
  short grid[2][3];
  struct {
    char pad;
    double value;
  } inner[2];
  unsigned short count;
  struct item items[3];
};

struct ids {
  long mtype;
  int tag;
  pid_t pid;
  uid_t uid;
  gid_t gid;
};

struct ask {
  long mtype;
  pid_t client;
  int number;
};

struct answer {
  long mtype; /* the client's pid */
  int number;
  double half;
};

static void answer(long result) {
  if (result < 0) printf("-1 %s\n", strerrorname_np(errno));
  if (result >= 0) printf("%ld\n", result);
  fflush(stdout);
}

static size_t bytes_before_items(void) { return offsetof(struct every, items) - sizeof(long); }

static void fill(struct every* m, const char* set) {
  const int most = strcmp(set, "least") != 0;
  const int wide = strcmp(set, "wide") == 0;
  int i, j;
  memset(m, 0, sizeof *m);
  m->c = 'x';
  m->sc = most ? SCHAR_MAX : SCHAR_MIN;
  m->uc = most ? UCHAR_MAX : 0;
  m->s = most ? SHRT_MAX : SHRT_MIN;
  m->us = most ? USHRT_MAX : 1;
  m->b = most;
  m->i = most ? INT_MAX : INT_MIN;
  m->u = most ? UINT_MAX : 2;
  m->l = wide ? LONG_MAX : most ? INT_MAX : INT_MIN;
  m->ul = wide ? ULONG_MAX : most ? UINT_MAX : 3;
  m->ll = most ? LLONG_MAX : LLONG_MIN;
  m->ull = most ? ULLONG_MAX : 4;
  m->f = most ? 1.5f : -0.25f;
  m->d = most ? 1e300 : -1e-300;
  m->z = most ? UINT_MAX : 5;
  m->sz = most ? INT_MAX : INT_MIN;
  m->t = most ? INT_MAX : INT_MIN;
  m->i8 = most ? INT8_MAX : INT8_MIN;
  m->u16 = most ? UINT16_MAX : 6;
  m->i32 = most ? INT32_MAX : INT32_MIN;
  m->i64 = most ? INT64_MAX : INT64_MIN;
  m->u64 = most ? UINT64_MAX : 7;
  memcpy(m->text, most ? "vwxyz" : "abcde", 5);
  for (i = 0; i < 2; ++i) {
    for (j = 0; j < 3; ++j) m->grid[i][j] = (short)(100 * i + 10 * j + most);
    m->inner[i].pad = (char)('p' + i);
    m->inner[i].value = i + 0.125;
  }
  m->count = most ? 3 : 1;
  for (i = 0; i < 3; ++i) {
    m->items[i].tag = (char)('A' + i);
    m->items[i].weight = most ? INT_MAX - i : INT_MIN + i;
  }
}

static void print(const struct every* m) {
  int i;
  printf("%ld c=%c sc=%d uc=%d s=%d us=%d b=%d i=%d u=%u l=%ld ul=%lu ll=%lld ull=%llu f=%g d=%g z=%zu sz=%zd t=%lld",
         m->mtype, m->c, m->sc, m->uc, m->s, m->us, m->b, m->i, m->u, m->l, m->ul, m->ll, m->ull, (double)m->f, m->d,
         m->z, m->sz, (long long)m->t);
  printf(" i8=%d u16=%d i32=%ld i64=%lld u64=%llu text=%.5s grid=", m->i8, m->u16, (long)m->i32, (long long)m->i64,
         (unsigned long long)m->u64, m->text);
  for (i = 0; i < 6; ++i) printf("%d,", m->grid[i / 3][i % 3]);
  for (i = 0; i < 2; ++i) printf(" %c:%g", m->inner[i].pad, m->inner[i].value);
  printf(" count=%d", m->count);
  for (i = 0; i < m->count && i < 3; ++i) printf(" %c:%ld", m->items[i].tag, m->items[i].weight);
  printf("\n");
  fflush(stdout);
}

static void receive_every(int id, long type, const char* bytes, int flags) {
  struct every m;
  size_t room = sizeof m - sizeof(long);
  long got;
  memset(&m, 0, sizeof m);
  if (bytes[0] == '+' || (bytes[0] == '-' && bytes[1] != '1')) {
    room += (size_t)atol(bytes);
  } else if (bytes[0] != '-') {
    room = (size_t)atol(bytes);
  }
  got = msgrcv(id, &m, room, type, flags);
  if (got < 0) {
    answer(got);
  } else if ((size_t)got < bytes_before_items() + m.count * sizeof(struct item)) {
    printf("%ld bytes\n", got);
    fflush(stdout);
  } else {
    print(&m);
  }
}

static long send_ids(int id, long type) {
  struct ids m;
  memset(&m, 0, sizeof m);
  m.mtype = type;
  m.tag = 7;
  m.pid = getpid();
  m.uid = getuid();
  m.gid = getgid();
  return msgsnd(id, &m, sizeof m - sizeof(long), 0);
}

static void receive_ids(int id, long type) {
  struct ids m;
  const long got = msgrcv(id, &m, sizeof m - sizeof(long), type, 0);
  if (got < 0) {
    answer(got);
    return;
  }
  printf("%ld %d %ld %ld\n", m.mtype, m.pid, (long)m.uid, (long)m.gid);
  fflush(stdout);
}

static void serve(int id, long count) {
  long i;
  for (i = 0; i < count; ++i) {
    struct ask in;
    struct answer out;
    memset(&out, 0, sizeof out);
    if (msgrcv(id, &in, sizeof in - sizeof(long), 1, 0) < 0) break;
    out.mtype = in.client;
    out.number = in.number;
    out.half = in.number / 2.0;
    if (msgsnd(id, &out, sizeof out - sizeof(long), 0) < 0) break;
  }
  if (i < count) i = -1;
  answer(i);
}

/* `first`: of the numbers that it asks with, by which a reply to another client shows. */
static void ask(int id, long count, long first) {
  long i, right = 0;
  for (i = 0; i < count; ++i) {
    struct ask out;
    struct answer in;
    memset(&out, 0, sizeof out);
    out.mtype = 1;
    out.client = getpid();
    out.number = (int)(first + i);
    if (msgsnd(id, &out, sizeof out - sizeof(long), 0) < 0) break;
    if (msgrcv(id, &in, sizeof in - sizeof(long), getpid(), 0) < 0) break;
    if (in.mtype == getpid() && in.number == first + i && in.half == in.number / 2.0) ++right;
  }
  if (i < count) {
    answer(-1);
  } else {
    answer(right);
  }
}

/* Goes on in a child that has this pid; its parent waits for it. */
static void become(long number) {
  FILE* last = fopen("/proc/sys/kernel/ns_last_pid", "w");
  pid_t child;
  int status = 0;
  if (last == NULL || fprintf(last, "%ld", number - 1) < 0 || fclose(last) != 0) {
    answer(-1);
    return;
  }
  child = fork();
  if (child > 0) {
    waitpid(child, &status, 0);
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
  }
  answer(child < 0 ? -1 : getpid());
}

int main(void) {
  char line[256];
  while (fgets(line, sizeof line, stdin) != NULL) {
    char verb[32] = "", word[32] = "";
    long a = 0, b = 0, c = 0;
    struct every m;
    if (sscanf(line, "receive-every %ld %ld %31s %ld", &a, &b, word, &c) == 4) {
      receive_every((int)a, b, word, (int)c);
    } else if (sscanf(line, "send-every %ld %ld %31s", &a, &b, word) == 3) {
      fill(&m, word);
      m.mtype = b;
      answer(msgsnd((int)a, &m, bytes_before_items() + m.count * sizeof(struct item), 0));
    } else if (sscanf(line, "%31s %li %li %li", verb, &a, &b, &c) >= 1) {
      if (strcmp(verb, "get") == 0) {
        answer(msgget((key_t)a, (int)b));
      } else if (strcmp(verb, "send-raw") == 0) {
        fill(&m, "most");
        m.mtype = b;
        answer(msgsnd((int)a, &m, (size_t)c, 0));
      } else if (strcmp(verb, "send-ids") == 0) {
        answer(send_ids((int)a, b));
      } else if (strcmp(verb, "receive-ids") == 0) {
        receive_ids((int)a, b);
      } else if (strcmp(verb, "number") == 0) {
        become(a);
      } else if (strcmp(verb, "serve") == 0) {
        serve((int)a, b);
      } else if (strcmp(verb, "ask") == 0) {
        ask((int)a, b, c);
      } else if (strcmp(verb, "pid") == 0) {
        answer(getpid());
      } else {
        printf("what?\n");
        fflush(stdout);
      }
    }
  }
  return 0;
}
