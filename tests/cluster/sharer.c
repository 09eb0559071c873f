/* Shares memory with others, as told on standard input; an ordinary program that knows nothing of DIPC. One line in,
 * one line out:
 *
 *   shmget KEY BYTES FLAGS    semget KEY NSEMS FLAGS    semop ID OP
 *   shmat ID FLAGS                      -> number of the attachment, from 0
 *   shmdt N    stat ID    set ID MODE    rm ID    lock ID    unlock ID
 *   times ID                            -> how many seconds ago it was changed, attached, detached; -1: never
 *   put N OFFSET BYTE    get N OFFSET   -> the byte
 *   add N OFFSET SEM TIMES              to the number of two bytes there, low one first; guarded by SEM's semaphore 0
 *   tally N PAGES OWN ALL MS            each of ALL programs counts in a word of its own in each page, and looks at the
 *                                       others' -> how far it came, in all pages; -2: a word went back
 *   word N PAGE I                       -> word I of that page
 *   msgget KEY FLAGS
 *   send N OFFSET QUEUE    receive N OFFSET QUEUE   a message of one byte, which is there; its type just before it
 *   forked COMMAND...                   in a child that has what we have, and ends
 *   herd KEY COUNT SEM TIMES            so many children attach it, each for itself, and `add` to its first two bytes
 *   forks N OFFSET ROUNDS               forks while threads write: each child writes and reads a byte of its own there
 *   closeall                            closes all descriptors but the standard ones
 *
 * Answer: RESULT ERRNO-NAME [details]; "-1 SIGBUS" or "-1 SIGSEGV" where memory says no.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { kAttachmentsMax = 200 };

static void* attachments[kAttachmentsMax];
static int attachment_count;
static sigjmp_buf memory_says_no;

static void on_signal(int number) { siglongjmp(memory_says_no, number); }

static void answer(long result, const char* details) {
  printf("%ld %s%s%s\n", result, result == -1 ? strerrorname_np(errno) : "-", details[0] ? " " : "", details);
  fflush(stdout);
}

/* The next number of the line; the controller always writes enough of them. */
static long next(void) {
  const char* word = strtok(NULL, " \n");
  return word == NULL ? 0 : strtol(word, NULL, 0);
}

static volatile unsigned char* place(void) {
  long number = next();
  if (number < 0 || number >= attachment_count) exit(3);
  return (volatile unsigned char*)attachments[number] + next();
}

static int operate(int set, int by) {
  struct sembuf op = {0, 0, 0};
  op.sem_op = (short)by;
  return semop(set, &op, 1);
}

static int ago(time_t when) { return when == 0 ? -1 : (int)(time(NULL) - when); }

enum { kTallyPagesMax = 64, kTallyWordsMax = 16, kPageWords = 1024 };

static long now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* In words of four bytes: hosts of one byte order. */
static long tally(volatile unsigned* words, long pages, long own, long all, long ms) {
  static unsigned seen[kTallyPagesMax][kTallyWordsMax];
  long until = now_ms() + ms;
  long sum = 0;
  long page;
  long i;
  if (pages > kTallyPagesMax || all > kTallyWordsMax) exit(3);
  memset(seen, 0, sizeof seen);
  while (now_ms() < until) {
    for (page = 0; page < pages; ++page) {
      volatile unsigned* at = words + page * kPageWords;
      for (i = 0; i < all; ++i) {
        unsigned value = at[i];
        if (i == own ? value != seen[page][i] : value < seen[page][i]) return -2;
        seen[page][i] = value;
      }
      at[own] = ++seen[page][own];
      ++sum;
    }
  }
  return sum;
}

static int add(volatile unsigned char* counter, int set, long times) {
  while (times-- > 0) {
    if (operate(set, -1) != 0) return -1;
    if (++counter[0] == 0) ++counter[1];
    if (operate(set, 1) != 0) return -1;
  }
  return 0;
}

/* How many of so many children did not end well. */
static int failed_of(int children) {
  int failed = 0, status = 0;
  while (children-- > 0) {
    if (wait(&status) == -1 || status != 0) ++failed;
  }
  return failed;
}

/* They are all attached before the first one adds. */
static int herd(key_t key, int count, int set, long times) {
  int i, go[2];
  char byte;
  if (pipe(go) != 0) return -1;
  for (i = 0; i < count; ++i) {
    if (fork() != 0) continue;
    {
      const int id = shmget(key, 0, 010000);
      void* at = id == -1 ? (void*)-1 : shmat(id, NULL, 0);
      close(go[1]);
      if (at == (void*)-1 || read(go[0], &byte, 1) != 0) _exit(1);
      _exit(add(at, set, times) == 0 ? 0 : 1);
    }
  }
  close(go[0]);
  printf("herding\n");
  fflush(stdout);
  if (read(0, &byte, 1) != 1) return -1; /* the controller says when */
  close(go[1]);
  return failed_of(count);
}

enum { kWriters = 4, kWritesOfAChild = 20 };
static volatile unsigned char* written;
static volatile int writers_stop;

static void* write_on(void* number) {
  volatile unsigned char* at = written + (long)number;
  unsigned char value = 0;
  while (!writers_stop) {
    *at = ++value;
    if (*at != value) return (void*)at; /* nobody else writes there */
  }
  return NULL;
}

/* The threads have the first bytes there, children those behind. */
static int fork_beside_threads(volatile unsigned char* at, int rounds) {
  pthread_t writers[kWriters];
  void* wrong = NULL;
  int round, failed = 0;
  long i;
  written = at;
  writers_stop = 0;
  for (i = 0; i < kWriters; ++i) {
    if (pthread_create(&writers[i], NULL, write_on, (void*)i) != 0) return -1;
  }
  for (round = 0; round < rounds; ++round) {
    volatile unsigned char* own = at + kWriters + round;
    *own = 1;
    if (fork() == 0) {
      if (*own != 1) _exit(1);
      for (i = 0; i < kWritesOfAChild; ++i) {
        *own = (unsigned char)i;
        sched_yield(); /* the page comes and goes meanwhile */
        if (*own != (unsigned char)i) _exit(1);
      }
      *own = 2;
      _exit(*own == 2 ? 0 : 1);
    }
    failed += failed_of(1);
    if (*own != 2) ++failed;
  }
  writers_stop = 1;
  for (i = 0; i < kWriters; ++i) {
    pthread_join(writers[i], &wrong);
    if (wrong != NULL) ++failed;
  }
  return failed;
}

static void obey(char* line) {
  char details[256] = "";
  const char* verb = strtok(line, " \n");
  volatile long result = -1; /* of what longjmp may leave */
  int number;
  errno = 0;
  if (verb == NULL) return;
  number = sigsetjmp(memory_says_no, 1);
  if (number != 0) {
    printf("-1 %s\n", number == SIGBUS ? "SIGBUS" : "SIGSEGV");
    fflush(stdout);
    return;
  }
  if (strcmp(verb, "shmget") == 0) {
    key_t key = (key_t)next();
    size_t bytes = (size_t)next();
    result = shmget(key, bytes, (int)next());
  } else if (strcmp(verb, "semget") == 0) {
    key_t key = (key_t)next();
    int count = (int)next();
    result = semget(key, count, (int)next());
  } else if (strcmp(verb, "semop") == 0) {
    int set = (int)next();
    result = operate(set, (int)next());
  } else if (strcmp(verb, "shmat") == 0) {
    int id = (int)next();
    void* at = shmat(id, NULL, (int)next());
    if (at != (void*)-1 && attachment_count < kAttachmentsMax) {
      result = attachment_count;
      attachments[attachment_count++] = at;
    }
  } else if (strcmp(verb, "shmdt") == 0) {
    long which = next();
    result = shmdt(attachments[which]);
  } else if (strcmp(verb, "stat") == 0) {
    struct shmid_ds record;
    memset(&record, 0, sizeof record);
    result = shmctl((int)next(), IPC_STAT, &record);
    if (result == 0) {
      snprintf(details, sizeof details, "bytes %lu nattch %lu mode %o cpid %d lpid %d key %x",
               (unsigned long)record.shm_segsz, (unsigned long)record.shm_nattch, (unsigned)record.shm_perm.mode,
               (int)record.shm_cpid, (int)record.shm_lpid, (unsigned)record.shm_perm.__key);
    }
  } else if (strcmp(verb, "set") == 0) {
    struct shmid_ds record;
    int id = (int)next();
    memset(&record, 0, sizeof record);
    record.shm_perm.uid = geteuid();
    record.shm_perm.gid = getegid();
    record.shm_perm.mode = (unsigned short)next();
    result = shmctl(id, IPC_SET, &record);
  } else if (strcmp(verb, "rm") == 0) {
    result = shmctl((int)next(), IPC_RMID, NULL);
  } else if (strcmp(verb, "lock") == 0) {
    result = shmctl((int)next(), SHM_LOCK, NULL);
  } else if (strcmp(verb, "unlock") == 0) {
    result = shmctl((int)next(), SHM_UNLOCK, NULL);
  } else if (strcmp(verb, "times") == 0) {
    struct shmid_ds record;
    memset(&record, 0, sizeof record);
    result = shmctl((int)next(), IPC_STAT, &record);
    if (result == 0) {
      snprintf(details, sizeof details, "changed %d attached %d detached %d", ago(record.shm_ctime),
               ago(record.shm_atime), ago(record.shm_dtime));
    }
  } else if (strcmp(verb, "msgget") == 0) {
    key_t key = (key_t)next();
    result = msgget(key, (int)next());
  } else if (strcmp(verb, "send") == 0) {
    long* message = (long*)(void*)place() - 1;
    *message = 1;
    result = msgsnd((int)next(), message, 1, 0);
  } else if (strcmp(verb, "receive") == 0) {
    long* message = (long*)(void*)place() - 1;
    result = msgrcv((int)next(), message, 1, 0, 0);
  } else if (strcmp(verb, "pid") == 0) {
    result = getpid();
  } else if (strcmp(verb, "put") == 0) {
    volatile unsigned char* at = place();
    *at = (unsigned char)next();
    result = 0;
  } else if (strcmp(verb, "get") == 0) {
    result = *place();
  } else if (strcmp(verb, "add") == 0) {
    volatile unsigned char* counter = place();
    int set = (int)next();
    result = add(counter, set, next());
  } else if (strcmp(verb, "herd") == 0) {
    key_t key = (key_t)next();
    int count = (int)next();
    int set = (int)next();
    result = herd(key, count, set, next());
  } else if (strcmp(verb, "forks") == 0) {
    volatile unsigned char* at = place();
    result = fork_beside_threads(at, (int)next());
  } else if (strcmp(verb, "closeall") == 0) {
    int fd;
    for (fd = 3; fd < 65536; ++fd) close(fd);
    errno = 0;
    result = 0;
  } else if (strcmp(verb, "tally") == 0) {
    long which = next();
    long pages = next();
    long own = next();
    long all = next();
    result = tally((volatile unsigned*)attachments[which], pages, own, all, next());
  } else if (strcmp(verb, "word") == 0) {
    long which = next();
    long page = next();
    result = ((volatile unsigned*)attachments[which])[page * kPageWords + next()];
  } else if (strcmp(verb, "forked") == 0) {
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
      obey(strtok(NULL, "\n"));
      _exit(0);
    }
    if (waitpid(child, &status, 0) != child || status != 0) {
      printf("-1 child %d\n", status);
      fflush(stdout);
    }
    return; /* the child has answered */
  } else {
    printf("unknown verb %s\n", verb);
    fflush(stdout);
    return;
  }
  answer(result, details);
}

int main(void) {
  static char line[4096];
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = on_signal;
  sigaction(SIGBUS, &action, NULL);
  sigaction(SIGSEGV, &action, NULL);
  while (fgets(line, sizeof line, stdin) != NULL) obey(line);
  return 0;
}
