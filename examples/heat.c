/* Heat spreads over a plate: Jacobi's method, by forked workers on several hosts that share the plate. Plain System V
 * IPC.
 *
 *   heat HOST HOSTS WORKERS
 *
 * Started once on each host, HOST counted from 0, in any order. Each forks WORKERS. Host 0 shows the plate at the end,
 * and holds it against what one process makes of it alone: exit status 0 if every number is the same. The numbers are
 * doubles as the machine has them, so all hosts must be of one architecture.
 *
 * A row is a page. A worker writes its own rows and reads those of its neighbours next to them: two pages travel from
 * host to host in a step, all others stay where they are.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <unistd.h>

#define HEAT_KEY ((key_t)0x1998)
#ifndef IPC_DIPC
#define IPC_DIPC 010000 /* the key is the cluster's; the kernel ignores it */
#endif

enum { kRows = 64, kColumns = 512, kSteps = 400, kBarriers = 3 };

typedef double Plate[kRows][kColumns];

union semun {
  int val;
  struct semid_ds* buf;
  unsigned short* array;
};

static int set;

static void die(const char* what) {
  perror(what);
  exit(2);
}

static void change(int semaphore, int by) {
  struct sembuf op = {0, 0, 0};
  op.sem_num = (unsigned short)semaphore;
  op.sem_op = (short)by;
  if (semop(set, &op, 1) != 0) die("semop");
}

/* Nobody goes on before all have come. Of three semaphores one is counted down, and the one after it is made ready:
 * nobody waits for that one any more. */
static void meet(int step, int rank, int workers) {
  union semun all;
  all.val = workers;
  if (rank == 0 && semctl(set, (step + 1) % kBarriers, SETVAL, all) != 0) die("semctl");
  change(step % kBarriers, -1);
  change(step % kBarriers, 0);
}

static void spread(Plate from, Plate to, int first, int end) {
  int row, column;
  for (row = first; row < end; ++row) {
    for (column = 1; column < kColumns - 1; ++column) {
      to[row][column] =
          (from[row - 1][column] + from[row + 1][column] + from[row][column - 1] + from[row][column + 1]) / 4;
    }
  }
}

/* Hot along a part of the upper edge and a part of the lower one, cold elsewhere. */
static void set_up(Plate plate) {
  int column;
  memset(plate, 0, sizeof(Plate));
  for (column = kColumns / 8; column < kColumns / 2; ++column) {
    plate[0][column] = 100;
    plate[kRows - 1][kColumns - 1 - column] = 100;
  }
}

static void work(Plate* plates, int rank, int workers) {
  const int rows = kRows - 2, first = 1 + rows * rank / workers, end = 1 + rows * (rank + 1) / workers;
  int step;
  for (step = 0; step < kSteps; ++step) {
    spread(plates[step % 2], plates[1 - step % 2], first, end);
    meet(step, rank, workers);
  }
}

static void show(Plate plate) {
  static const char shades[] = " .:-=+*#%@";
  int row, column;
  for (row = 1; row < kRows; row += 4) {
    fputs("  |", stdout);
    for (column = kColumns / 128; column < kColumns; column += kColumns / 64) {
      putchar(shades[(int)(plate[row][column] / 100.01 * 10)]);
    }
    puts("|");
  }
}

static int differ(Plate a, Plate b) {
  int row, column;
  for (row = 0; row < kRows; ++row) {
    for (column = 0; column < kColumns; ++column) {
      if (a[row][column] != b[row][column]) return 1;
    }
  }
  return 0;
}

int main(int argc, char** argv) {
  const int host = argc == 4 ? atoi(argv[1]) : -1, hosts = argc == 4 ? atoi(argv[2]) : 0;
  const int own = argc == 4 ? atoi(argv[3]) : 0;
  int segment, worker, status, failed = 0;
  Plate* plates;
  if (host < 0 || host >= hosts || own < 1 || hosts * own > kRows - 2) {
    fprintf(stderr, "usage: heat HOST HOSTS WORKERS\n");
    return 2;
  }
  segment = shmget(HEAT_KEY, 2 * sizeof(Plate), IPC_CREAT | IPC_DIPC | 0600);
  set = semget(HEAT_KEY, kBarriers + 1, IPC_CREAT | IPC_DIPC | 0600);
  if (segment == -1 || set == -1) die("get");
  plates = shmat(segment, NULL, 0);
  if ((intptr_t)plates == -1) die("shmat");
  if (host == 0) {
    union semun all;
    set_up(plates[0]);
    set_up(plates[1]);
    all.val = hosts * own;
    if (semctl(set, 0, SETVAL, all) != 0) die("semctl");
    change(kBarriers, hosts - 1); /* the others may begin */
  } else {
    change(kBarriers, -1);
  }
  for (worker = 0; worker < own; ++worker) {
    const pid_t child = fork();
    if (child == -1) die("fork");
    if (child == 0) {
      work(plates, host * own + worker, hosts * own);
      _exit(0);
    }
  }
  while (wait(&status) > 0) failed |= status;
  if (host != 0) {
    change(kBarriers, 1);
    return failed != 0;
  }
  change(kBarriers, 1 - hosts); /* the others have ended */
  {
    static Plate alone[2];
    int step;
    set_up(alone[0]);
    set_up(alone[1]);
    for (step = 0; step < kSteps; ++step) spread(alone[step % 2], alone[1 - step % 2], 1, kRows - 1);
    show(plates[kSteps % 2]);
    failed |= differ(alone[kSteps % 2], plates[kSteps % 2]);
    printf("%d steps by %d workers on %d host%s: %s\n", kSteps, hosts * own, hosts, hosts == 1 ? "" : "s",
           failed ? "NOT what one process alone makes of it" : "every number as one process alone makes it");
  }
  if (shmctl(segment, IPC_RMID, NULL) != 0 || semctl(set, 0, IPC_RMID) != 0) die("IPC_RMID");
  return failed != 0;
}
