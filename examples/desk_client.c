/* Asks the information desk, then reads how many questions it has answered so far. The last client clears up.
 * An ordinary System V client: it knows two keys, and nothing of where the desk runs.
 *
 *   desk_client [--last] QUESTION...
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "desk.h"

static void die(const char* what) {
  perror(what);
  exit(1);
}

static int wait_for_the_desk(void) {
  const struct timespec nap = {0, 100000000};
  struct sembuf until_open = {DESK_OPEN, -1, 0}, still_open = {DESK_OPEN, 1, 0};
  int tries, sems;
  for (tries = 0; (sems = semget(DESK_SEMS, DESK_SEM_COUNT, 0)) == -1; ++tries) {
    if (errno != ENOENT || tries == 100) die("semget");
    nanosleep(&nap, NULL); /* the desk has not come to work yet */
  }
  if (semop(sems, &until_open, 1) == -1 || semop(sems, &still_open, 1) == -1) die("semop");
  return sems;
}

static double milliseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

int main(int argc, char** argv) {
  /* SEM_UNDO: a client that dies in its turn does not keep the others waiting. */
  struct sembuf my_turn = {DESK_TURN, -1, SEM_UNDO}, next_please = {DESK_TURN, 1, SEM_UNDO};
  int last = argc > 1 && strcmp(argv[1], "--last") == 0;
  int i, sems, queue;
  struct utsname me;

  if (argc < 2 + last) {
    fprintf(stderr, "usage: desk_client [--last] QUESTION...\n");
    return 2;
  }
  uname(&me);
  sems = wait_for_the_desk();
  queue = msgget(DESK_QUEUE, 0);
  if (queue == -1) die("msgget");
  if (semop(sems, &my_turn, 1) == -1) die("semop");
  for (i = 1 + last; i < argc; ++i) {
    struct desk_message message;
    double before = milliseconds();
    ssize_t bytes;
    message.type = DESK_QUESTION;
    snprintf(message.text, sizeof message.text, "%ld %s %s", (long)getpid() + DESK_QUESTION, me.nodename, argv[i]);
    if (msgsnd(queue, &message, strlen(message.text), 0) == -1) die("msgsnd");
    bytes = msgrcv(queue, &message, sizeof message.text - 1, (long)getpid() + DESK_QUESTION, 0);
    if (bytes == -1) die("msgrcv");
    message.text[bytes] = '\0';
    printf("client on %-6s  told: %s (%.1f ms)\n", me.nodename, message.text, milliseconds() - before);
  }
  if (semop(sems, &next_please, 1) == -1) die("semop");
  printf("client on %-6s  the desk has answered %d questions\n", me.nodename, semctl(sems, DESK_ANSWERED, GETVAL));
  if (last && (msgctl(queue, IPC_RMID, NULL) == -1 || semctl(sems, 0, IPC_RMID) == -1)) die("IPC_RMID");
  return 0;
}
