/* A litmus test of memory: several hosts, one thread each, run the same few loads and stores many times, and what they
 * read is held against what strict consistency permits. An ordinary program that knows nothing of DIPC.
 *
 *   litmus TEST HOST HOSTS SECONDS ITERATIONS KEY
 *
 * HOST counts from 0; all HOSTS (2 or 3) of them are started, in any order. It ends after SECONDS, or after ITERATIONS
 * if that is sooner (0: it never is). Host 0 prints each outcome with how often it was seen, and what was forbidden; it
 * exits with 1 if something was.
 *
 * mp, message passing: 0 stores x then y; the last loads y then x. With 3 hosts 1 passes it on: it loads x, and stores
 * y if it saw it (write-to-read causality).
 *
 * sb, store buffering: each stores to its own location, then loads the next one's: not all may miss each other.
 *
 * co, coherence: all load, store, load and load one location: stores have one order, which everybody sees.
 *
 * The tests and their names are those of Maranget, Sarkar and Sewell's "A Tutorial Introduction to the ARM and POWER
 * Relaxed Memory Models" (2012). Each location has a page of its own; a batch is kBatch instances side by side in it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <time.h>
#include <unistd.h>

enum {
  kHostsMax = 3,
  kBatch = 256,
  kApart = 16,         /* bytes between neighbours in a page */
  kRegion = 16384,     /* bytes from location to location: each in a page of its own, if pages are no larger */
  kReadsMax = 3,       /* by one host of one instance */
  kOutcomes = 1 << 18, /* two bits for each read of each host */
  kIpcDipc = 010000
};

/* Bytes, so that it does not matter in which order a machine keeps them. */
static volatile unsigned char* segment;
static int host, hosts, set;

static volatile unsigned char* location(int which, int instance) {
  return segment + (size_t)(1 + which) * kRegion + (size_t)instance * kApart;
}

static volatile unsigned char* result(int of_host, int instance) {
  return segment + (size_t)(1 + kHostsMax + of_host) * kRegion + (size_t)instance * kReadsMax;
}

static void die(const char* what) {
  perror(what);
  exit(2);
}

/* Nobody returns from it before everybody has come to it. */
static void meet(void) {
  struct sembuf arrive[kHostsMax], leave = {0, 0, 0};
  int other, count = 0;
  for (other = 0; other < hosts; ++other) {
    if (other == host) continue;
    arrive[count].sem_num = (unsigned short)other;
    arrive[count].sem_op = 1;
    arrive[count].sem_flg = 0;
    ++count;
  }
  leave.sem_num = (unsigned short)host;
  leave.sem_op = (short)-count;
  if (semop(set, arrive, (size_t)count) != 0 || semop(set, &leave, 1) != 0) die("semop");
}

/* So that hosts meet in the middle of a batch, not one after the other: a page moves some five thousand times a second.
 */
static void dawdle(void) {
  struct timespec time = {0, 0};
  time.tv_nsec = (rand() >> 4) % 60000;
  if (time.tv_nsec < 40000) nanosleep(&time, NULL);
}

static void message_passing(int instance, volatile unsigned char* reads) {
  if (host == 0) {
    *location(0, instance) = 1;
    if (hosts == 2) *location(1, instance) = 1;
  } else if (host == hosts - 1) {
    reads[0] = *location(1, instance);
    reads[1] = *location(0, instance);
  } else {
    reads[0] = *location(0, instance);
    if (reads[0] == 1) *location(1, instance) = 1;
  }
}

static void store_buffering(int instance, volatile unsigned char* reads) {
  *location(host, instance) = 1;
  reads[0] = *location((host + 1) % hosts, instance);
}

static void coherence(int instance, volatile unsigned char* reads) {
  volatile unsigned char* at = location(0, instance);
  reads[0] = *at;
  *at = (unsigned char)(host + 1);
  reads[1] = *at;
  reads[2] = *at;
}

/* So that now one is ahead, now another: what a slow host takes to hear that all have come is a batch of a fast one. */
static void lag(void) {
  struct timespec time = {0, 0};
  time.tv_nsec = (rand() >> 4) % 20000000;
  nanosleep(&time, NULL);
}

/* What each host read, [host][which]. */
typedef unsigned char Reads[kHostsMax][kReadsMax];

static int message_overtaken(Reads reads) { return reads[hosts - 1][0] == 1 && reads[hosts - 1][1] == 0; }

static int all_missed(Reads reads) {
  int i;
  for (i = 0; i < hosts; ++i) {
    if (reads[i][0] != 0) return 0;
  }
  return 1;
}

/* Every value is stored once, so a value that was replaced never comes back. */
static int order_broken(Reads reads) {
  int i, j;
  for (i = 0; i < hosts; ++i) {
    int before = reads[i][0], after = reads[i][1], later = reads[i][2], own = i + 1;
    if (before == own || after == 0 || later == 0) return 1; /* seen too early; lost */
    if (after != own && later == own) return 1;              /* came back */
    if (before != 0 && (after == before || later == before)) return 1;
    for (j = 0; j < hosts; ++j) {
      if (j != i && before == j + 1 && reads[j][0] == own) return 1; /* each the earlier one */
    }
  }
  return 0;
}

struct Test {
  const char* name;
  void (*run)(int instance, volatile unsigned char* reads);
  int (*is_forbidden)(Reads reads);
};

static const struct Test tests[] = {
    {"mp", message_passing, message_overtaken}, {"sb", store_buffering, all_missed}, {"co", coherence, order_broken}};

static const struct Test* find_test(const char* name) {
  size_t i;
  for (i = 0; i < sizeof tests / sizeof tests[0]; ++i) {
    if (strcmp(tests[i].name, name) == 0) return &tests[i];
  }
  fprintf(stderr, "no test %s\n", name);
  exit(2);
}

static long seen[kOutcomes];
static long forbidden, iterations;

static void judge(const struct Test* test) {
  int instance, i, read;
  for (instance = 0; instance < kBatch; ++instance) {
    Reads reads;
    unsigned outcome = 0;
    for (i = 0; i < hosts; ++i) {
      for (read = 0; read < kReadsMax; ++read) {
        reads[i][read] = result(i, instance)[read];
        outcome = outcome << 2 | (reads[i][read] & 3u);
      }
    }
    ++seen[outcome];
    forbidden += test->is_forbidden(reads);
  }
  iterations += kBatch;
}

static void report(const struct Test* test) {
  unsigned outcome;
  int i;
  printf("%s %d hosts %ld iterations %ld forbidden\n", test->name, hosts, iterations, forbidden);
  for (outcome = 0; outcome < kOutcomes; ++outcome) {
    if (seen[outcome] == 0) continue;
    for (i = hosts * kReadsMax - 1; i >= 0; --i) {
      printf("%u%s", outcome >> (2 * i) & 3u, i % kReadsMax == 0 ? " " : "");
    }
    printf("%ld\n", seen[outcome]);
  }
}

int main(int argc, char** argv) {
  const struct Test* test;
  long seconds, most;
  key_t key;
  time_t start = time(NULL);
  struct sembuf last = {0, 0, 0};
  int id, instance, which, i;
  void* at;
  if (argc != 7) {
    fprintf(stderr, "usage: litmus TEST HOST HOSTS SECONDS ITERATIONS KEY\n");
    return 2;
  }
  test = find_test(argv[1]);
  host = atoi(argv[2]);
  hosts = atoi(argv[3]);
  seconds = atol(argv[4]);
  most = atol(argv[5]);
  key = (key_t)strtol(argv[6], NULL, 0);
  if (hosts < 2 || hosts > kHostsMax || host < 0 || host >= hosts) {
    fprintf(stderr, "2 or 3 hosts, counted from 0\n");
    return 2;
  }
  srand((unsigned)host + 1);
  id = shmget(key, (size_t)(1 + 2 * kHostsMax) * kRegion, IPC_CREAT | kIpcDipc | 0600);
  if (id == -1) die("shmget");
  at = shmat(id, NULL, 0);
  if (at == (void*)-1) die("shmat");
  segment = at;
  set = semget(key, kHostsMax + 1, IPC_CREAT | kIpcDipc | 0600);
  if (set == -1) die("semget");
  for (;;) {
    if (host == 0) segment[0] = (time(NULL) - start >= seconds || (most != 0 && iterations >= most)) ? 1 : 0;
    meet();
    if (segment[0] != 0) break;
    lag();
    for (instance = 0; instance < kBatch; ++instance) {
      unsigned char reads[kReadsMax] = {0, 0, 0};
      dawdle();
      test->run(instance, reads);
      for (i = 0; i < kReadsMax; ++i) result(host, instance)[i] = reads[i];
    }
    meet();
    if (host != 0) continue;
    judge(test);
    for (which = 0; which < kHostsMax; ++which) {
      for (instance = 0; instance < kBatch; ++instance) *location(which, instance) = 0;
    }
  }
  /* All are through with it before it is removed. */
  last.sem_num = kHostsMax;
  last.sem_op = (short)(host == 0 ? 1 - hosts : 1);
  if (semop(set, &last, 1) != 0) die("semop");
  if (host != 0) return 0;
  report(test);
  shmctl(id, IPC_RMID, NULL);
  semctl(set, 0, IPC_RMID);
  return forbidden != 0;
}
