/* Makes one System V call at a time, as told on standard input, and writes what came of it on standard output.
 * An ordinary program: it knows nothing of DIPC. It runs bare and under the shim, on any architecture, so that the two
 * can be compared. One line in, one line out:
 *
 *   msgget KEY FLAGS            semget KEY NSEMS FLAGS
 *   msgsnd ID TYPE SEED BYTES FLAGS                 text is made from SEED
 *   msgrcv ID TYPE BYTES FLAGS                      -> also type and a digest of the text
 *   semop ID N (NUM OP FLAGS)...   semtimedop ID SEC NSEC N (NUM OP FLAGS)...
 *   msgstat ID | msgset ID MODE QBYTES | msgrm ID
 *   semctl ID NUM CMD VALUE        semgetall ID N | semsetall ID N V... | semstat ID | semset ID MODE | semrm ID
 *   pid | ftok PATH ID
 *
 * Answer: RETURN ERRNO-NAME [details]. Numbers of errno differ between machines, so names are written.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <time.h>
#include <unistd.h>

enum { kTextMax = 1 << 20, kOpsMax = 600, kValuesMax = 300 };

union semun {
  int val;
  struct semid_ds* buf;
  unsigned short* array;
};

static struct {
  long type;
  char text[kTextMax];
} message;

static void answer(long result, const char* details) {
  printf("%ld %s%s%s\n", result, result == -1 ? strerrorname_np(errno) : "-", details[0] ? " " : "", details);
  fflush(stdout);
}

static void fill(unsigned seed, size_t bytes) {
  size_t i;
  for (i = 0; i < bytes; ++i) {
    seed = seed * 1103515245u + 12345u;
    message.text[i] = (char)(seed >> 16);
  }
}

static unsigned digest(size_t bytes) {
  unsigned hash = 2166136261u;
  size_t i;
  for (i = 0; i < bytes; ++i) hash = (hash ^ (unsigned char)message.text[i]) * 16777619u;
  return hash;
}

/* The next number of the line; the controller always writes enough of them. */
static long next(void) {
  const char* word = strtok(NULL, " \n");
  return word == NULL ? 0 : strtol(word, NULL, 0);
}

static long do_semop(int timed) {
  static struct sembuf ops[kOpsMax];
  struct timespec timeout = {0, 0};
  int id = (int)next();
  size_t i, count;
  if (timed) {
    timeout.tv_sec = next();
    timeout.tv_nsec = next();
  }
  count = (size_t)next();
  for (i = 0; i < count && i < kOpsMax; ++i) {
    ops[i].sem_num = (unsigned short)next();
    ops[i].sem_op = (short)next();
    ops[i].sem_flg = (short)next();
  }
  return timed ? semtimedop(id, ops, count, &timeout) : semop(id, ops, count);
}

static void obey(char* line) {
  char details[4096] = "";
  const char* verb = strtok(line, " \n");
  long result = -1;
  errno = 0;
  if (verb == NULL) return;
  if (strcmp(verb, "pid") == 0) {
    result = getpid();
  } else if (strcmp(verb, "ftok") == 0) {
    const char* path = strtok(NULL, " \n");
    result = path == NULL ? -1 : ftok(path, (int)next());
  } else if (strcmp(verb, "msgget") == 0) {
    key_t key = (key_t)next();
    result = msgget(key, (int)next());
  } else if (strcmp(verb, "semget") == 0) {
    key_t key = (key_t)next();
    int nsems = (int)next();
    result = semget(key, nsems, (int)next());
  } else if (strcmp(verb, "msgsnd") == 0) {
    int id = (int)next();
    unsigned seed;
    size_t bytes;
    message.type = next();
    seed = (unsigned)next();
    bytes = (size_t)next();
    if (bytes <= kTextMax) fill(seed, bytes);
    result = msgsnd(id, &message, bytes, (int)next());
  } else if (strcmp(verb, "msgrcv") == 0) {
    int id = (int)next();
    long type = next();
    size_t bytes = (size_t)next();
    message.type = 0;
    result = msgrcv(id, &message, bytes, type, (int)next());
    if (result >= 0) snprintf(details, sizeof details, "type %ld text %08x", message.type, digest((size_t)result));
  } else if (strcmp(verb, "semop") == 0) {
    result = do_semop(0);
  } else if (strcmp(verb, "semtimedop") == 0) {
    result = do_semop(1);
  } else if (strcmp(verb, "msgstat") == 0) {
    struct msqid_ds ds;
    memset(&ds, 0, sizeof ds);
    result = msgctl((int)next(), IPC_STAT, &ds);
    if (result == 0) {
      snprintf(details, sizeof details,
               "key %lx mode %o uid %u gid %u cuid %u cgid %u qnum %lu cbytes %lu qbytes %lu spid %d rpid %d",
               (unsigned long)(unsigned)ds.msg_perm.__key, (unsigned)ds.msg_perm.mode, ds.msg_perm.uid, ds.msg_perm.gid,
               ds.msg_perm.cuid, ds.msg_perm.cgid, (unsigned long)ds.msg_qnum, (unsigned long)ds.__msg_cbytes,
               (unsigned long)ds.msg_qbytes, (int)ds.msg_lspid, (int)ds.msg_lrpid);
    }
  } else if (strcmp(verb, "msgset") == 0) {
    struct msqid_ds ds;
    int id = (int)next();
    if (msgctl(id, IPC_STAT, &ds) == 0 || errno == EACCES) {
      ds.msg_perm.uid = geteuid();
      ds.msg_perm.gid = getegid();
      ds.msg_perm.mode = (unsigned short)next();
      ds.msg_qbytes = (msglen_t)next();
      result = msgctl(id, IPC_SET, &ds);
    }
  } else if (strcmp(verb, "msgrm") == 0) {
    result = msgctl((int)next(), IPC_RMID, NULL);
  } else if (strcmp(verb, "semctl") == 0) {
    int id = (int)next(), number = (int)next(), command = (int)next();
    union semun value;
    value.val = (int)next();
    result = semctl(id, number, command, value);
  } else if (strcmp(verb, "semgetall") == 0 || strcmp(verb, "semsetall") == 0) {
    unsigned short values[kValuesMax] = {0};
    int id = (int)next();
    long i, count = next();
    union semun arg;
    size_t used = 0;
    arg.array = values;
    if (verb[3] == 's') {
      for (i = 0; i < count && i < kValuesMax; ++i) values[i] = (unsigned short)next();
    }
    result = semctl(id, 0, verb[3] == 's' ? SETALL : GETALL, arg);
    for (i = 0; result == 0 && verb[3] == 'g' && i < count && i < kValuesMax; ++i) {
      used += (size_t)snprintf(details + used, sizeof details - used, "%s%u", i ? " " : "", values[i]);
    }
  } else if (strcmp(verb, "semstat") == 0 || strcmp(verb, "semset") == 0) {
    struct semid_ds ds;
    union semun arg;
    int id = (int)next();
    memset(&ds, 0, sizeof ds);
    arg.buf = &ds;
    result = semctl(id, 0, IPC_STAT, arg);
    if (verb[3] == 's' && verb[4] == 'e' && (result == 0 || errno == EACCES)) {
      ds.sem_perm.uid = geteuid();
      ds.sem_perm.gid = getegid();
      ds.sem_perm.mode = (unsigned short)next();
      result = semctl(id, 0, IPC_SET, arg);
    } else if (result == 0) {
      snprintf(details, sizeof details, "key %lx mode %o uid %u gid %u cuid %u cgid %u nsems %lu",
               (unsigned long)(unsigned)ds.sem_perm.__key, (unsigned)ds.sem_perm.mode, ds.sem_perm.uid, ds.sem_perm.gid,
               ds.sem_perm.cuid, ds.sem_perm.cgid, (unsigned long)ds.sem_nsems);
    }
  } else if (strcmp(verb, "semrm") == 0) {
    result = semctl((int)next(), 0, IPC_RMID);
  } else {
    fprintf(stderr, "puppet: no such verb: %s\n", verb);
    exit(2);
  }
  answer(result, details);
}

static void on_signal(int number) { (void)number; }

/* Its arguments are for whoever looks for it in /proc. */
int main(void) {
  static char line[65536];
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART; /* System V calls are not restarted all the same, signal(7) */
  sigaction(SIGUSR1, &action, NULL);
  while (fgets(line, sizeof line, stdin) != NULL) obey(line);
  return 0;
}
