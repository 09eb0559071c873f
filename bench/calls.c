/* Times System V calls of an ordinary program: run it bare, under the shim on the owner, and on another host.
 *
 *   calls local_msg|local_sem|remote_msgsnd|remote_semop ROUNDS
 *
 * Writes the median time of one round in nanoseconds. local_*: batches of 1000 calls that need no other process (a
 * msgsnd with its msgrcv, a semop up with a semop down). remote_*: each call by itself.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>

#include "timing.h"

enum { kBatch = 1000, kTextBytes = 64, kKept = 100 };
#define KEY ((key_t)0x1be0)

int main(int argc, char** argv) {
  struct {
    long type;
    char text[kTextBytes];
  } message = {1, "a message of sixty-four bytes, as a small request would be"};
  struct sembuf up = {0, 1, 0}, down = {0, -1, 0};
  int rounds = argc > 2 ? atoi(argv[2]) : 0, is_local, is_msg, i, k, queue, set;
  double* times;
  if (rounds <= 0) {
    fprintf(stderr, "usage: calls local_msg|local_sem|remote_msgsnd|remote_semop ROUNDS\n");
    return 2;
  }
  is_local = strncmp(argv[1], "local", 5) == 0;
  is_msg = strstr(argv[1], "msg") != NULL;
  times = calloc((size_t)rounds, sizeof *times);
  queue = msgget(KEY, IPC_CREAT | 0600);
  set = semget(KEY, 1, IPC_CREAT | 0600);
  if (queue == -1 || set == -1) die("get");
  for (i = 0; i < rounds; ++i) {
    const double before = now_ns();
    for (k = 0; k < (is_local ? kBatch : 1); ++k) {
      if (is_msg) {
        if (msgsnd(queue, &message, kTextBytes, 0) == -1) die("msgsnd");
        if (is_local && msgrcv(queue, &message, kTextBytes, 0, 0) == -1) die("msgrcv");
      } else {
        if (semop(set, &up, 1) == -1) die("semop");
        if (is_local && semop(set, &down, 1) == -1) die("semop");
      }
    }
    times[i] = (now_ns() - before) / (is_local ? kBatch : 1);
    if (is_local) continue;
    /* Seldom, or each send would be timed together with the news that the last message has arrived. */
    for (k = 0; is_msg && (i + 1) % kKept == 0 && k < kKept; ++k) {
      if (msgrcv(queue, &message, kTextBytes, 0, 0) == -1) die("msgrcv");
    }
    if (!is_msg && semop(set, &down, 1) == -1) die("semop");
  }
  printf("%.0f\n", median(times, (size_t)rounds));
  if (msgctl(queue, IPC_RMID, NULL) == -1 || semctl(set, 0, IPC_RMID) == -1) die("IPC_RMID");
  return 0;
}
