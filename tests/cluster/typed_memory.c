/* Shares structs in memory with others, which typed_memory_test.cpp declares; an ordinary program that knows nothing of
 * DIPC, for any machine. One command a line, one answer a line:
 *
 *   get KEY BYTES FLAGS           -> id
 *   attach ID FLAGS               -> 0; -1 and the errno
 *   put ROW SET                   SET: least, most
 *   show ROW                      -> its values
 *   poke AT BYTE   peek AT        a byte of the segment
 *   add ID TIMES                  to `count`, guarded by the semaphore of that set
 *   count                         -> it
 *   semget KEY FLAGS   semop ID N
 *   longs SET   show-longs        the same of `struct longs` at the begin
 */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <time.h>

enum colour { RED = -7, BLUE = 2000000000 };

/* At the same places on all machines: what is larger stands first. Its size is no divisor of a page's. */
struct row {
  double d;
  long long ll;
  unsigned long long ull;
  int64_t i64;
  uint64_t u64;
  float f;
  int i;
  unsigned u;
  int32_t i32;
  uint32_t u32;
  short s;
  unsigned short us;
  uint16_t u16;
  char c;
  signed char sc;
  unsigned char uc;
  _Bool b;
  char text[6];
  short grid[2][3];
  struct {
    float x;
    short y;
    char tag[2];
  } inner[2];
  enum colour colour;
  int last;
};

struct table {
  int count;
  int spare;
  struct row rows[];
};

/* Only machines whose longs are alike share these. */
struct longs {
  long l;
  unsigned long ul;
  size_t z;
  time_t t;
};

static union {
  struct table* table;
  struct longs* longs;
  unsigned char* bytes;
} memory;

static void answer(long result) {
  if (result == -1) {
    printf("-1 %s\n", strerrorname_np(errno));
  } else {
    printf("%ld\n", result);
  }
}

/* The next number of the line; the controller always writes enough of them. */
static long next(void) {
  const char* word = strtok(NULL, " \n");
  return word == NULL ? 0 : strtol(word, NULL, 0);
}

static void put(struct row* row, int most) {
  int i;
  row->d = most ? 1e300 : -1e-300;
  row->ll = most ? LLONG_MAX : LLONG_MIN;
  row->ull = most ? ULLONG_MAX : 1;
  row->i64 = most ? INT64_MAX : INT64_MIN;
  row->u64 = most ? UINT64_MAX - 1 : 2;
  row->f = most ? 1.5f : -0.25f;
  row->i = most ? INT_MAX : INT_MIN;
  row->u = most ? UINT_MAX : 3;
  row->i32 = most ? INT32_MAX - 1 : INT32_MIN + 1;
  row->u32 = most ? UINT32_MAX - 1 : 4;
  row->s = most ? SHRT_MAX : SHRT_MIN;
  row->us = most ? USHRT_MAX : 5;
  row->u16 = most ? UINT16_MAX - 1 : 6;
  row->c = 'x';
  row->sc = most ? SCHAR_MAX : SCHAR_MIN;
  row->uc = most ? UCHAR_MAX : 0;
  row->b = most ? 1 : 0;
  memcpy(row->text, most ? "uvwxyz" : "abcdef", 6);
  for (i = 0; i < 6; ++i) row->grid[i / 3][i % 3] = (short)((most ? 1000 : -1000) + i);
  for (i = 0; i < 2; ++i) {
    row->inner[i].x = (float)i + 0.125f;
    row->inner[i].y = (short)(most ? 300 + i : -300 - i);
    memcpy(row->inner[i].tag, i == 0 ? "pq" : "rs", 2);
  }
  row->colour = most ? BLUE : RED;
  row->last = most ? 0x01020304 : -2;
}

static void show(const struct row* row) {
  int i;
  printf("d=%g ll=%lld ull=%llu i64=%lld u64=%llu f=%g i=%d u=%u i32=%d u32=%u ", row->d, row->ll, row->ull,
         (long long)row->i64, (unsigned long long)row->u64, (double)row->f, row->i, row->u, (int)row->i32,
         (unsigned)row->u32);
  printf("s=%d us=%u u16=%u c=%c sc=%d uc=%u b=%d text=%.6s grid=", row->s, row->us, row->u16, row->c, row->sc, row->uc,
         row->b, row->text);
  for (i = 0; i < 6; ++i) printf("%d,", row->grid[i / 3][i % 3]);
  for (i = 0; i < 2; ++i) printf(" %g/%d/%.2s", (double)row->inner[i].x, row->inner[i].y, row->inner[i].tag);
  printf(" colour=%d last=%d\n", (int)row->colour, row->last);
}

static int operate(int set, int by) {
  struct sembuf op = {0, 0, 0};
  op.sem_op = (short)by;
  return semop(set, &op, 1);
}

static void add(int set, long times) {
  while (times-- > 0) {
    if (operate(set, -1) != 0) return answer(-1);
    ++*(volatile int*)&memory.table->count;
    if (operate(set, 1) != 0) return answer(-1);
  }
  answer(0);
}

static void obey(char* line) {
  const char* verb = strtok(line, " \n");
  if (verb == NULL) return;
  errno = 0;
  if (strcmp(verb, "get") == 0) {
    const key_t key = (key_t)next();
    const size_t bytes = (size_t)next();
    answer(shmget(key, bytes, (int)next()));
  } else if (strcmp(verb, "attach") == 0) {
    const int id = (int)next();
    void* at = shmat(id, NULL, (int)next());
    if (at == (void*)-1) return answer(-1);
    memory.bytes = at;
    answer(0);
  } else if (strcmp(verb, "put") == 0) {
    struct row* row = &memory.table->rows[next()];
    put(row, strcmp(strtok(NULL, " \n"), "most") == 0);
    answer(0);
  } else if (strcmp(verb, "show") == 0) {
    show(&memory.table->rows[next()]);
  } else if (strcmp(verb, "poke") == 0) {
    unsigned char* at = memory.bytes + next();
    *at = (unsigned char)next();
    answer(0);
  } else if (strcmp(verb, "peek") == 0) {
    answer(memory.bytes[next()]);
  } else if (strcmp(verb, "add") == 0) {
    const int set = (int)next();
    add(set, next());
  } else if (strcmp(verb, "count") == 0) {
    answer(memory.table->count);
  } else if (strcmp(verb, "semget") == 0) {
    const key_t key = (key_t)next();
    answer(semget(key, 1, (int)next()));
  } else if (strcmp(verb, "semop") == 0) {
    const int set = (int)next();
    answer(operate(set, (int)next()));
  } else if (strcmp(verb, "longs") == 0) {
    const int most = strcmp(strtok(NULL, " \n"), "most") == 0;
    memory.longs->l = most ? LONG_MAX : LONG_MIN;
    memory.longs->ul = most ? ULONG_MAX : 1;
    memory.longs->z = most ? SIZE_MAX : 2;
    memory.longs->t = (time_t)(most ? INT32_MAX : INT32_MIN);
    answer(0);
  } else if (strcmp(verb, "show-longs") == 0) {
    printf("l=%ld ul=%lu z=%lu t=%lld\n", memory.longs->l, memory.longs->ul, (unsigned long)memory.longs->z,
           (long long)memory.longs->t);
  } else {
    printf("? %s\n", verb);
  }
}

int main(void) {
  char line[256];
  setvbuf(stdout, NULL, _IOLBF, 0);
  while (fgets(line, sizeof line, stdin) != NULL) {
    obey(line);
    fflush(stdout);
  }
  return 0;
}
